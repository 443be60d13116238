/* What the files of this folder share: the job being rendered, and the parts of which both kinds of
 * pods are made. */
#ifndef RK_K8S_RENDER_PARTS_H
#define RK_K8S_RENDER_PARTS_H

#include "k8s/render/build.h"
#include "k8s/render/names.h"
#include "k8s/render/render.h"

#include <stdbool.h>

#define NAME_SIZE 320 /* bytes of a name made from a job's and a few numbers, or of a host */

struct render {
    const struct mpijob *job;
    const struct render_options *options;
    const char *namespace;
    const char *image;
    enum render_gang gang; /* never AUTO */
    struct build build;
};

/* Settles what options and manifest say together. */
void render_begin(struct render *render, const struct mpijob *job,
                  const struct render_options *options, struct rk_why *why);
/* Ends a rendering: `whole` is taken; *result is it with keys in order, or the fault is returned.
 */
int render_end(struct render *render, json_t *whole, json_t **result);

/* {apiVersion, kind, metadata: {name, namespace, labels}}; of JOB with `suffix` behind it.  Owned
 * by the Job where that is known, unless `kind` is Job. */
json_t *render_object(struct render *render, const char *api_version, const char *kind,
                      const char *suffix);
void render_own(struct render *render, json_t *metadata);

/* "POD.JOB.NAMESPACE.svc", and the cluster's domain where it is not the usual one. */
void render_host(const struct mpijob *job, const char *namespace, const char *pod,
                 char host[NAME_SIZE]);

/* ---- pods (pod.c): a PodTemplateSpec that grows ------------------------------------------------
 */

struct pod {
    struct render *render;
    const char *path;                           /* of its spec in the manifest, for sentences */
    json_t *whole;                              /* owned: {metadata, spec} */
    json_t *labels, *annotations, *spec, *main; /* of whole; main is the first container */
};

/* Starts from the template of `replica` ("Launcher", "Worker"), with what both kinds have: names,
 * labels, the bundle, the secret.  `role` is upstream's word for it. */
void pod_begin(struct pod *pod, struct render *render, const struct mpijob_replicas *replicas,
               const char *replica, const char *role);
void pod_done(struct pod *pod);
/* Sets the host name (where it can be one) and the domain in which the pods find each other. */
void pod_name_host(struct pod *pod, const char *name);

/* A volume of ours, `source` (taken) under `kind`, and where the main container sees it. */
void pod_volume(struct pod *pod, const char *name, const char *kind, json_t *source);
void pod_mount(struct pod *pod, const char *name, const char *path, const char *subpath,
               bool read_only);
/* Variables of the main container; one of the user's with the same name gives way. */
void pod_env(struct pod *pod, const char *name, const char *value);
void pod_env_field(struct pod *pod, const char *name, const char *field_path);
/* The identity that an agent or a coordinator shows: name, UID, address, node. */
void pod_env_identity(struct pod *pod);
/* The secret with the job's token and keys: of a worker's what agents may know, and the pod waits
 * for it; of the coordinator's pod, which makes it where it is missing, all of it. */
void pod_secret(struct pod *pod, bool coordinator);
void pod_checkpoints(struct pod *pod);
/* Keeps it off these nodes, and says so in an annotation (avoid.c).  A template that names its node
 * is left as it is. */
void pod_avoid(struct pod *pod, const char *nodes);
/* The port where the agent listens. */
void pod_port(struct pod *pod);
/* spec[key] = value, taken, unless the user has said something there. */
void pod_default(struct pod *pod, const char *key, json_t *value);

/* Brings the bundle by an init container (inject.c). */
void pod_inject(struct pod *pod);

/* ---- commands (command.c) ----------------------------------------------------------------------
 */

/* command and args of a container as one list, which the caller owns; empty: neither is given. */
json_t *command_words(struct build *build, const json_t *container);
/* Gives the worker's main container its agent; `worker` says which. */
void command_agent(struct pod *pod, const struct render_worker *worker);

/* ---- gang scheduling (gang.c) ------------------------------------------------------------------
 */

/* What is meant where AUTO is wanted; the name on the command line; its PodGroup's API. */
enum render_gang gang_of(const struct mpijob *job, enum render_gang wanted);
const char *gang_name(enum render_gang gang);
const char *gang_api_version(enum render_gang gang);
void gang_decorate(struct pod *pod);
/* The job's PodGroup; NULL: none is wanted, or a fault was noted. */
json_t *gang_group(struct render *render);

/* ---- the coordinator's pod (launcher.c) --------------------------------------------------------
 */

json_t *launcher_job(struct render *render);

#endif
