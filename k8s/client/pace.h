/* How fast: waits that double after each failure, and a token bucket that gives way to a server
 * which says that it is asked too much.  Pure: time and randomness come in.
 *
 * Units: ns; rates in tokens a second.  Errors: none.  Ownership: plain values.  Threads: none. */
#ifndef RK_K8S_CLIENT_PACE_H
#define RK_K8S_CLIENT_PACE_H

#include "k8s/client/draw.h"

#include <stdbool.h>
#include <stdint.h>

struct backoff {
    uint64_t first, most; /* bounds of the wait before jitter */
    uint64_t healthy;     /* failures further apart than this start again at `first` */
    uint64_t wait;        /* of the next failure; 0: none so far */
    uint64_t failed_at;
};

/* The wait after a failure at `now`: the doubled one of the last, times 1 to 2 by chance, and never
 * over `most`. */
uint64_t backoff_fail(struct backoff *backoff, uint64_t now, struct draw *draw);
void backoff_reset(struct backoff *backoff);

struct throttle {
    double full_rate, burst; /* as asked for */
    double rate;             /* now: less after a refusal */
    double tokens;
    uint64_t filled_at;
    uint64_t paused_until; /* as a refusal said */
    uint64_t slowed_at;    /* 0: never */
};

void throttle_init(struct throttle *throttle, double rate, double burst, uint64_t now);

/* Takes a token and returns 0, or returns when to ask again (> now). */
uint64_t throttle_take(struct throttle *throttle, uint64_t now);

/* The server refused for being asked too much (429): nothing for `wait`, then at half the rate,
 * but at least one a second.  Refusals within a second, of what was sent together, halve once. */
void throttle_refused(struct throttle *throttle, uint64_t now, uint64_t wait);

/* The server answered: the rate climbs back, by a hundredth of the full one each time. */
void throttle_accepted(struct throttle *throttle);

#endif
