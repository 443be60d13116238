/* For tests: the invariants of the core, on demand. */
#ifndef RK_COORDINATOR_CORE_CHECK_H
#define RK_COORDINATOR_CORE_CHECK_H

#include "coordinator/core/core.h"

/* The first broken invariant of core.c's opening comment, in words, or NULL.  `limit` workers are
 * walked, from where the last check stopped; UINT32_MAX: all, and the sums over them. */
const char *core_check(struct core *core, uint32_t limit);

#endif
