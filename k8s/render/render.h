/* From an MPIJob to the Kubernetes objects that run it.
 *
 * Pure: no input or output, no clock, nothing random.  The same job and options give the same
 * objects, keys in order, whatever the order of keys in the manifest.  The job's secret is random
 * and so is never among them.
 *
 * Errors: RK_EDATA with a sentence that begins with the field's path, where the job cannot be
 * rendered; RK_ENOMEM.  Ownership: results are the caller's, to be given to json_decref; arguments
 * are only read. */
#ifndef RK_K8S_RENDER_RENDER_H
#define RK_K8S_RENDER_RENDER_H

#include "common/error.h"
#include "k8s/manifest/mpijob.h"

#include <stdbool.h>
#include <stddef.h>

/* Who keeps a job from starting with half of its pods. */
enum render_gang {
    RENDER_GANG_AUTO, /* volcano, where a template's schedulerName says so; else none */
    RENDER_GANG_NONE,
    RENDER_GANG_VOLCANO,
    RENDER_GANG_SCHEDULER_PLUGINS,
};

struct render_options {
    const char *namespace; /* NULL: the manifest's, or "default" */
    const char *image;     /* that brings the agent; NULL: the manifest's, or the default */
    enum render_gang gang;
    const char *job_uid;    /* of the Job NAME-launcher, which owns all else; NULL: not there yet,
                               and no owner is named */
    const char *mpijob_uid; /* of the MPIJob, which owns the Job; NULL: the cluster has none */
};

/* One worker pod. */
struct render_worker {
    uint32_t place;     /* from 0 */
    uint32_t ticket;    /* of this launch; render_ticket for the first */
    uint32_t life;      /* 0: the place's first pod, NAME-worker-PLACE; n: NAME-worker-PLACE-n */
    const char *avoids; /* names of nodes that it must not be bound to, a space between two; NULL or
                           "": none */
};

/* An array: the Job NAME-launcher, the Service, the ConfigMap, the PodGroup of a gang scheduler,
 * the worker pods.  A suspended job has neither of the last two. */
int render_job(const struct mpijob *job, const struct render_options *options, json_t **objects,
               struct rk_why *why);

/* One worker pod, as render_job has it for life 0. */
int render_worker(const struct mpijob *job, const struct render_options *options,
                  const struct render_worker *worker, json_t **pod, struct rk_why *why);

/* How large a job is to its gang scheduler, as a merge patch for its PodGroup NAME of *version (a
 * literal); *patch NULL: it has none. */
int render_group_size(const struct mpijob *job, const struct render_options *options,
                      const char **version, json_t **patch, struct rk_why *why);

/* An array: ServiceAccount, Role and RoleBinding `reknit`, the coordinator's rights in a namespace
 * (NULL: "default").  `gang` adds the right to that scheduler's PodGroups. */
int render_rbac(const char *namespace, enum render_gang gang, json_t **objects, struct rk_why *why);

/* Where checkpoints are in the pods of the job; NULL: there are none. */
const char *render_checkpoint_dir(const struct mpijob *job);
/* How many worker pods a job begins with, spares among them. */
uint32_t render_worker_count(const struct mpijob *job);
/* The ticket of the first launch at a place of a pod, as the coordinator counts them: its places
 * are one more, and later by one, where the launcher is a worker. */
uint32_t render_ticket(const struct mpijob *job, uint32_t place);

/* The hostfile of `count` places: of the coordinator's own pod first where it is a worker, then of
 * pod[i], or of NAME-worker-i where pod is NULL.  A text to be freed; NULL: no memory. */
char *render_hostfile(const struct mpijob *job, const char *namespace, const char *const *pod,
                      size_t count);
/* `discover_hosts.sh` of the same and of the pods that run, in this order.  A text to be freed;
 * NULL: no memory. */
char *render_discover_hosts(const struct mpijob *job, const char *namespace, const char *const *pod,
                            size_t count);

/* What a job's pods are started from when nothing else is said: "reknit:VERSION". */
const char *render_default_image(void);

#endif
