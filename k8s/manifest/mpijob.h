/* An MPIJob (kubeflow.org/v2beta1) that passed validation: its fields with their defaults filled
 * in, and what the annotations reknit.dev/... say.
 *
 * Units: seconds as the API has them; UNSET where a field that may be absent is absent.
 * Ownership: everything in a struct mpijob belongs to it and goes with mpijob_free; JSON values are
 * borrowed from `object` unless said otherwise, and are not changed by readers. */
#ifndef RK_K8S_MANIFEST_MPIJOB_H
#define RK_K8S_MANIFEST_MPIJOB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct faults;
struct path;
struct rk_why;
struct yaml_node;

#define MPIJOB_KIND "MPIJob"
#define MPIJOB_UNSET (-1)

enum mpijob_implementation { MPIJOB_OPENMPI, MPIJOB_INTEL, MPIJOB_MPICH };
enum mpijob_clean { MPIJOB_CLEAN_NONE, MPIJOB_CLEAN_RUNNING, MPIJOB_CLEAN_ALL };
enum mpijob_creation { MPIJOB_AT_STARTUP, MPIJOB_WAIT_FOR_WORKERS_READY };
enum mpijob_restart { MPIJOB_NEVER, MPIJOB_ON_FAILURE };

/* What happens to a worker's own command. */
enum mpijob_worker_command {
    MPIJOB_WORKER_AUTO,  /* empty, or sshd: the agent takes its place; else as WRAP */
    MPIJOB_WORKER_AGENT, /* the agent takes its place, whatever it is */
    MPIJOB_WORKER_WRAP,  /* the command runs, and finds an `sshd` in its PATH that is the agent */
};

/* The pods of one replica type; `template` is NULL where the manifest has none. */
struct mpijob_replicas {
    uint32_t replicas;
    enum mpijob_restart restart;
    const json_t *template; /* PodTemplateSpec */
};

/* spec.runPolicy.schedulingPolicy */
struct mpijob_scheduling {
    bool given;
    int64_t min_available;       /* default: workers + 1 */
    const char *queue;           /* "" : none */
    const json_t *min_resources; /* NULL: none given */
    const char *priority_class;  /* "" : none */
    int64_t timeout_s;
};

/* The annotations; the table is in k8s/README.md. */
struct mpijob_settings {
    uint32_t min_workers, max_workers; /* defaults: 1, spec's workers */
    const json_t *program;             /* array of strings, owned by the job; NULL: none, the
                                          launcher's own command runs */
    const char *checkpoint_dir;        /* NULL: none */
    const char *checkpoint_claim;      /* PersistentVolumeClaim mounted there, NULL: none */
    const char *checkpoint_interval;   /* as --checkpoint-interval: "auto" */
    uint32_t keep;                     /* 3 */
    const char *backend;               /* "auto" */
    const char *reduction;             /* "exact" */
    uint32_t shards;                   /* 0: chosen by the coordinator */
    uint32_t max_restarts;             /* 100 */
    uint32_t spares;                   /* 0 */
    uint64_t gather_ns;                /* as --gather: 0 */
    uint64_t stall_ns;                 /* as --stall-timeout: 0, never */
    const char *image;                 /* that brings the agent; NULL: the default */
    uint16_t port;                     /* where agents listen: 7465 */
    const char *cluster_domain;        /* "cluster.local" */
    enum mpijob_worker_command worker_command;
};

struct mpijob {
    json_t *object; /* owned: the whole MPIJob, unknown fields too, defaults filled in */
    const char *name;
    const char *namespace; /* NULL: not given in the manifest */
    enum mpijob_implementation implementation;
    uint32_t slots; /* at least 1: 0 in the manifest means 1 */
    bool launcher_is_worker;
    enum mpijob_creation creation;
    const char *ssh_path;
    struct mpijob_replicas launcher, worker;
    enum mpijob_clean clean;
    int64_t ttl_s, deadline_s, backoff_limit; /* MPIJOB_UNSET */
    bool suspend;
    const char *managed_by; /* NULL: not given */
    struct mpijob_scheduling scheduling;
    struct mpijob_settings settings;
};

/* Workers that are no pods of Worker: the launcher, where it is one, in the first place. */
static inline uint32_t mpijob_own(const struct mpijob *job)
{
    return job->launcher_is_worker ? 1 : 0;
}

/* Checks a document of kind MPIJob, whose path in its file is `path` (NULL: a document of its own),
 * and reads it.  What is wrong is added to `faults`; with an error among it *out is NULL.  The job
 * shares the document's values, and fills its defaults in there.  RK_ENOMEM. */
int mpijob_read(const struct yaml_node *document, const struct path *path, struct faults *faults,
                struct mpijob **out, struct rk_why *why);

/* The same for an object of the API server, which is left as it is; the faults have no places.
 * RK_ENOMEM, RK_EFULL (larger than any manifest may be). */
int mpijob_of(json_t *object, struct faults *faults, struct mpijob **out, struct rk_why *why);

void mpijob_free(struct mpijob *job);

#endif
