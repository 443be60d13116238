/* What memory there is for this process: of the machine, and of the cgroups it is in. */
#ifndef RK_COMMON_MEMORY_H
#define RK_COMMON_MEMORY_H

#include <stdint.h>

/* Bytes; UINT64_MAX where nothing says so. */
struct rk_memory {
    uint64_t machine; /* available on the machine, free swap included */
    uint64_t limit;   /* the smallest limit of a cgroup */
    uint64_t room;    /* what may still be taken: the least that machine and cgroups leave */
};

/* Reads /proc and /sys.  Only this process's own cgroup and those above it that are mounted here
 * can be seen, v1 or v2.  File cache counts as free. */
void rk_memory_look(struct rk_memory *memory);

#endif
