/* Threads of our own, in programs that are not. */
#ifndef RK_COMMON_THREAD_H
#define RK_COMMON_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Starts a thread that runs `run(argument)` and that no signal reaches but those of its own faults:
 * handlers run in the threads of the program, or in that of the loop.  `stack` bytes, 0: the usual
 * size, which it also has where thread-local variables leave no room in a small one.
 * Returns 0 or an errno value. */
int rk_thread_begin(pthread_t *thread, size_t stack, void *(*run)(void *), void *argument);

#endif
