/* For tests: the invariants of the reconciler, on demand. */
#ifndef RK_K8S_RECONCILE_CHECK_H
#define RK_K8S_RECONCILE_CHECK_H

#include "k8s/reconcile/pods.h"

/* The first broken invariant of pods.c's opening comment, in words, or NULL.  `limit` entries are
 * walked, from where the last check stopped; UINT32_MAX: all, and the sums over them. */
const char *pods_check(struct pods *pods, uint32_t limit);

#endif
