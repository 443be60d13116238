/* A word in shared memory by which the kernel tells at once that a process begins to end.
 *
 * A pidfd tells of an end when the kernel has taken the process down as a whole, which takes a
 * tenth of a second for each gigabyte that it had.  A futex of a thread's robust list is set, and a
 * waiter woken, before any of that.  So a process gets a thread that does nothing but hold such a
 * futex; it sleeps, and a signal that kills the process wakes it.
 *
 *   0           nobody's, or its owner let go of it
 *   otherwise   number of the thread that holds it; life_is_over() of it when that thread is gone,
 *               as it is when its process ends, in whatever way, or executes another program */
#ifndef RK_COLLECTIVES_LIFE_H
#define RK_COLLECTIVES_LIFE_H

#include "common/error.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct life;

/* Starts this process's thread on `word`, which must stay mapped where it is as long as the thread
 * lives, and returns when it holds it.  RK_ENOMEM: no thread is to be had. */
int life_begin(_Atomic uint32_t *word, struct life **life);
/* Ends the thread, sets the word to 0 and frees; takes NULL. */
void life_end(struct life *life);

static inline bool life_is_over(uint32_t word)
{
    return (word & FUTEX_OWNER_DIED) != 0;
}

#endif
