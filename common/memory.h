/* Memory for this process: what the machine and the cgroups it is in have, and pages of it. */
#ifndef RK_COMMON_MEMORY_H
#define RK_COMMON_MEMORY_H

#include <stdbool.h>
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

/* Opens what rk_memory_kills reads, about this process's own cgroup; -1: nothing says so here. */
int rk_memory_kills_open(void);
/* Processes of that cgroup that the kernel has killed for want of memory so far: it counts one
 * before it kills it.  0 for -1.  Some microseconds. */
uint64_t rk_memory_kills(int fd);

/* Gives this process the pages that lie wholly within `bytes` bytes at `from`, so that nothing
 * stops at each of them later: for writing where `write`, else for reading.  Changes no byte.  What
 * cannot be populated is left as it is. */
void rk_memory_populate(const void *from, uint64_t bytes, bool write);

/* Memory whose pages may be as large as this lies at a multiple of it, in its file and in the
 * process. */
#define RK_MEMORY_LARGE (UINT64_C(2) << 20)

/* Address space of `bytes` bytes at such a place, without memory, to be mapped over; NULL: none. */
void *rk_memory_place(uint64_t bytes);

/* Makes large pages of what lies wholly within `bytes` bytes at `from`, of which every byte has its
 * memory already: a process that ends gives up one large page as fast as one small one.  Changes no
 * byte.  Where the kernel has none to give, or cannot (before 6.1), all stays as it is. */
void rk_memory_enlarge(const void *from, uint64_t bytes);

#endif
