/* Who leads, by a Lease (coordination.k8s.io/v1): the decisions, without clock or network.
 *
 * A holder that renews moves the object's version; whoever waits times that with its own clock,
 * from when it saw the last change, and never believes the times that stand in the object: clocks
 * differ. A holder that could not renew for `renew` knows that it leads no more before anybody else
 * may take the lease, which is after `duration`.
 *
 * Units: ns.  Errors: none; what cannot be read counts as not read.
 * Ownership: a lease owns its texts and its copy of the object.  Threads: none. */
#ifndef RK_K8S_CLIENT_LEASE_H
#define RK_K8S_CLIENT_LEASE_H

#include "k8s/client/draw.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct lease_rules {
    uint64_t duration; /* 0: 15 s */
    uint64_t renew;    /* 0: 10 s; less than duration */
    uint64_t retry;    /* 0: 2 s, times 1 to 1.2 by chance */
};

enum lease_want {
    LEASE_REST,   /* nothing before lease_due */
    LEASE_READ,   /* GET, then lease_read */
    LEASE_CREATE, /* POST of lease_body, then lease_written */
    LEASE_WRITE,  /* PUT of lease_body, then lease_written */
};

struct lease {
    struct lease_rules rules;
    struct draw draw;
    const char *namespace, *name, *identity; /* borrowed */
    json_t *object;                          /* as last seen; NULL: there was none */
    bool fresh;                              /* `object` was read or written since the last wait */
    bool asking;                             /* an answer is awaited */
    uint64_t asked_at;
    uint64_t due;
    uint64_t changed_at; /* when another version was seen */
    bool leading;
    uint64_t renewed_at; /* when the write that was the last success was sent */
};

void lease_init(struct lease *lease, const struct lease_rules *rules, uint64_t seed);
void lease_done(struct lease *lease);

/* What to do at `now`.  Ends the lead when it is too old. */
enum lease_want lease_next(struct lease *lease, uint64_t now);

/* When lease_next has something new to say. */
uint64_t lease_due(const struct lease *lease);

/* The object to be written; `wall` since 1970.  NULL: no memory.  The caller drops it. */
json_t *lease_body(const struct lease *lease, uint64_t wall);

/* As lease_body, for a leader that leaves: nobody holds it. */
json_t *lease_release_body(const struct lease *lease, uint64_t wall);

/* Answers.  `object` NULL: there is no such lease. */
void lease_read(struct lease *lease, const json_t *object, uint64_t now);
void lease_written(struct lease *lease, const json_t *object, uint64_t now);
/* Another was faster, or nothing came back. */
void lease_failed(struct lease *lease, uint64_t now);

/* Who holds it, "" for nobody or unknown. */
const char *lease_holder(const struct lease *lease);

#endif
