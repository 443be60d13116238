/* The two clocks.  Loops ask them once a turn; nobody below a loop does (tests/house checks). */
#ifndef RK_COMMON_CLOCK_H
#define RK_COMMON_CLOCK_H

#include <stdint.h>

#define RK_US UINT64_C(1000)
#define RK_MS UINT64_C(1000000)
#define RK_S UINT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t rk_clock_now(void);
/* CLOCK_REALTIME in nanoseconds since the epoch of 1970. */
uint64_t rk_clock_wall(void);

#endif
