/* The endpoints that are dialled: each once.
 *
 * Threads: one. */
#ifndef RK_COORDINATOR_DIALS_H
#define RK_COORDINATOR_DIALS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

#define DIALS_KNOWN 1 /* dials_add: it was there */

struct dial;
struct dials {
    void *by_endpoint; /* tsearch(3) */
    struct dial *first;
};

/* RK_EINVAL: not tcp://ADDRESS:PORT with a numeric address (a name would be looked up, and that can
 * take its time).  RK_ENOMEM.  DIALS_KNOWN. */
int dials_add(struct dials *dials, const char *endpoint, struct rk_why *why);
/* False: it was not there.  `endpoint` may be what dials_unmarked gave. */
bool dials_remove(struct dials *dials, const char *endpoint);
/* The connection to `endpoint`: its descriptor, -1 when there is none. */
void dials_connected(struct dials *dials, const char *endpoint, int fd);
int dials_connection(const struct dials *dials, const char *endpoint);
/* Marks these and no others. */
void dials_mark(struct dials *dials, char *const *endpoint, size_t count);
/* Some endpoint without a mark, borrowed, or NULL. */
const char *dials_unmarked(const struct dials *dials);
void dials_done(struct dials *dials);

#endif
