/* Leader election: a lease (lease.h) on an api.
 *
 * Units: ns.  Errors: none are told but by not leading; `trouble` says why.
 * Ownership: texts are copied.  May be closed from its callbacks.  Threads: one. */
#ifndef RK_K8S_CLIENT_ELECTOR_H
#define RK_K8S_CLIENT_ELECTOR_H

#include "k8s/client/api.h"
#include "k8s/client/lease.h"

struct elector;

struct elector_spec {
    const char *namespace, *name;
    const char *identity; /* of this process, never used twice: pod's name and uid */
    struct lease_rules rules;
    /* Whether we lead from now on.  With false, all that only a leader does must stop at once. */
    void (*changed)(void *who, bool leading);
    void (*trouble)(void *who, const char *why); /* may be NULL */
    void *who;
};

int elector_open(struct api *api, const struct elector_spec *spec, struct elector **out,
                 struct rk_why *why);

/* Leads no more, and tries to tell the server, so that another need not wait.  `gone` is called
 * when that has been tried; the elector is then to be closed. */
void elector_step_down(struct elector *elector, void (*gone)(void *who));

void elector_close(struct elector *elector);

bool elector_leads(const struct elector *elector);
const char *elector_holder(const struct elector *elector);

#endif
