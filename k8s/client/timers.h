/* Timers of one loop: a pairing heap (Fredman et al. 1986) of timers that lie in their owners'
 * structs, so that setting one cannot fail.
 *
 * Units: ns of the loop's clock.  Errors: none.  Ownership: a timer belongs to whoever embeds it
 * and is stopped before that memory goes.  Threads: one. */
#ifndef RK_K8S_CLIENT_TIMERS_H
#define RK_K8S_CLIENT_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#define TIMERS_NEVER UINT64_MAX

struct timer {
    uint64_t due;
    void (*fire)(void *who); /* the timer is no longer set when this is called */
    void *who;
    bool set;
    struct timer *child, *next, *back; /* back: the sibling before, or the parent */
};

struct timers {
    struct timer *root;
};

/* Sets `timer`, whose fire and who are filled in, or moves it. */
void timers_set(struct timers *timers, struct timer *timer, uint64_t due);
void timers_stop(struct timers *timers, struct timer *timer);

/* When the first one is due, TIMERS_NEVER without any. */
uint64_t timers_due(const struct timers *timers);

/* Calls one that is due at `now`; false: there was none. */
bool timers_fire(struct timers *timers, uint64_t now);

#endif
