/* One MPIJob: what is wanted and what is there in, calls to the API server out.
 *
 *     plan_make(options, seen) -> calls, Events, when to look again
 *
 * Pure: no input or output, no clock (`wall` is told), nothing random; and it remembers nothing, so
 * an operator that was killed at any point goes on where it was.  Each call may be done twice, or
 * against a state that is older than the server's: creates name their objects, patches carry the
 * version that they were made from, deletes the uid.
 *
 * Units:     ns since 1970; seconds where the name says so.
 * Errors:    RK_ENOMEM: the plan is empty, and all of it is to be made again later.
 * Ownership: a plan owns its bodies (plan_done); what is seen is borrowed for the call.
 * Threads:   none. */
#ifndef RK_K8S_OPERATOR_PLAN_H
#define RK_K8S_OPERATOR_PLAN_H

#include "common/error.h"
#include "k8s/render/render.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_MANAGER "reknit.dev/operator"
#define PLAN_NEVER UINT64_MAX
#define PLAN_MAX_EVENTS 8u
#define PLAN_NOTE 1024 /* bytes of a condition's message, and of an Event's note */

struct plan_options {
    const char *image;     /* that brings the agent; NULL: the job's, or one of these: */
    const char *own_image; /* the operator's; NULL: the default */
    enum render_gang gang;
    const char *coordinator_role; /* a ClusterRole bound to the jobs' account; NULL: nothing is */
    bool only_ours;               /* leaves the jobs that mpi-operator takes to it */
};

/* What the API server is known to have of one job; NULL: it is not there. */
struct plan_seen {
    const json_t *mpijob;
    const json_t *job;     /* Job NAME-launcher */
    const json_t *service; /* NAME */
    const json_t *config;  /* ConfigMap NAME-config */
    const json_t *record;  /* ConfigMap NAME-record, the coordinator's */
    const json_t *group;   /* PodGroup NAME */
    const json_t *pods;    /* {name: Pod}: those with the label reknit.dev/job=NAME */
    bool groups_known;     /* `group` can be believed: the cluster has that kind, and was listed */
    bool taken;            /* an object has one of the job's names and is not ours */
    uint64_t wall;
};

enum plan_kind {
    PLAN_CREATE, /* body; that it exists is success */
    PLAN_SECRET, /* as CREATE of the job's Secret, whose owner is `uid`: random, so not made here */
    PLAN_PATCH,  /* body, a merge patch; that another was faster is success: what follows is seen */
    PLAN_DELETE, /* uid; that it is gone is success */
    PLAN_STATUS, /* body, the whole status, of the version that was seen */
};

struct plan_call {
    enum plan_kind kind;
    const char *version, *plural; /* literals */
    char name[320];
    char uid[40];
    json_t *body; /* owned; NULL: none */
};

/* To be said when the plan's STATUS has been taken, and not before, so that it is said once. */
struct plan_event {
    bool warning;
    const char *reason; /* a literal */
    char note[PLAN_NOTE];
};

struct plan {
    struct plan_call *call;
    size_t count;
    struct plan_event event[PLAN_MAX_EVENTS];
    size_t events;
    uint64_t again; /* look again then, whatever happens; PLAN_NEVER */
};

/* Whether this operator is the one for a job.  mpi-operator takes those whose managedBy is empty or
 * its own name; with `only_ours` we take none of these, and both never act on one job. */
bool plan_takes(const struct plan_options *options, const json_t *mpijob);

int plan_make(const struct plan_options *options, const struct plan_seen *seen, struct plan *plan,
              struct rk_why *why);
void plan_done(struct plan *plan);

const char *plan_kind_name(enum plan_kind kind);

#endif
