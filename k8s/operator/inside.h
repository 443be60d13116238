/* What the files of this folder share: the plan in the making, and what was read for it.
 *
 *   plan.c     what is decided        wanted.c     the objects that there should be
 *   calls.c    the list of calls      tally.c      the pods counted, what ended the lost one
 *   status.c   the whole status       condition.c  one condition
 *
 * Errors: `rc` of a struct making is the first one; after it nothing is added. */
#ifndef RK_K8S_OPERATOR_INSIDE_H
#define RK_K8S_OPERATOR_INSIDE_H

#include "k8s/manifest/mpijob.h"
#include "k8s/operator/plan.h"

#define ANNOTATION_FINGERPRINT "reknit.dev/fingerprint"

/* Pods of one role. */
struct tally {
    uint32_t active, succeeded, failed; /* phases, as upstream counts them */
    uint32_t live;                      /* there is, or may be, a process */
    uint32_t steady;                    /* run, and nobody wants them to end; one a place */
    uint64_t again;                     /* a pod that nobody confirms counts as ended then */
};

struct making {
    const struct plan_options *options;
    const struct plan_seen *seen;
    struct plan *plan;
    struct rk_why *why;
    int rc;

    struct mpijob *job;     /* NULL: not valid, and nothing older is known either */
    bool is_valid;          /* `job` is the spec as it is now */
    char fault[PLAN_NOTE];  /* what is wrong with it */
    const char *name, *uid; /* of the MPIJob */
    const char *job_uid;    /* of the Job; NULL: there is none */
    struct tally launcher, worker;
    char loss[PLAN_NOTE]; /* what became of the pod that was lost last; "" */
    char reason[64];      /* that the coordinator's pod failed with; "" */
};

/* ---- calls.c --------------------------------------------------------------------------------- */

void making_fail(struct making *making, int rc);
/* `body` is taken; NULL there means no memory. */
void making_create(struct making *making, const char *version, const char *plural, json_t *body);
void making_secret(struct making *making);
/* Under the version of `object`; `change` is taken. */
void making_patch(struct making *making, const char *version, const char *plural,
                  const json_t *object, json_t *change);
void making_delete(struct making *making, const char *version, const char *plural,
                   const json_t *object);
void making_status(struct making *making, json_t *status);
void making_event(struct making *making, bool warning, const char *reason, const char *note);
/* Look again at that time at the latest. */
void making_again(struct making *making, uint64_t wall);

/* ---- wanted.c -------------------------------------------------------------------------------- */

/* The objects of the job with their owners: an object {kind: object}, Pods left out.  NULL with rc
 * set: it cannot be rendered. */
json_t *wanted_objects(struct making *making);
bool wanted_is_gang(const struct making *making);
/* Worker pods that a gang's scheduler must see before it starts any. */
void wanted_gang_pods(struct making *making);
/* The account of the coordinator's pod, and its rights. */
void wanted_account(struct making *making);
/* The same text as long as a Job would be made the same; suspended or not is no difference. */
void wanted_fingerprint(const json_t *job, char text[20]);
/* {apiVersion, kind, name, uid} of the MPIJob; a new reference. */
json_t *wanted_owner(const struct making *making);

/* ---- tally.c --------------------------------------------------------------------------------- */

void tally_pods(struct making *making);
/* Whether its processes may still run: neither ended, nor to be taken for lost. */
bool tally_is_live(const json_t *pod, uint64_t wall, uint64_t *again);
bool tally_is_worker(const json_t *pod);

/* ---- condition.c ----------------------------------------------------------------------------- */

const json_t *condition_of(const json_t *status, const char *type);
bool condition_is(const json_t *status, const char *type);
const char *condition_text(const json_t *condition, const char *key);
/* Sets it in a status that is ours to change; times move only when something else does.  True when
 * its status has changed, or it is new. */
bool condition_set(struct making *making, json_t *status, const char *type, bool is,
                   const char *reason, const char *message);

/* ---- status.c -------------------------------------------------------------------------------- */

/* Adds a STATUS where what is seen differs from what should be. */
void status_of_job(struct making *making);
void status_invalid(struct making *making);
/* The job is over: only pods are counted. */
void status_after(struct making *making);

/* A Job's condition that is true; NULL. */
const json_t *status_job_ended(const json_t *job, const char *type);

#endif
