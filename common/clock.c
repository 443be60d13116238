/* The only place that asks the kernel for the time; see clock.h. */
#include "common/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * RK_S + (uint64_t)now.tv_nsec;
}

uint64_t rk_clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t rk_clock_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}
