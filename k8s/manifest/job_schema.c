/* The tables of an MPIJob; see job_schema.h. */
#include "k8s/manifest/job_schema.h"

#include "k8s/manifest/pod_schema.h"

/* In two pieces, or it would look like a path of this machine. */
#define DEFAULT_SSH \
    "\"/root"       \
    "/.ssh\""

const char *const job_implementations[] = {"OpenMPI", "Intel", "MPICH", NULL};
const char *const job_cleans[] = {"None", "Running", "All", NULL};
const char *const job_creations[] = {"AtStartup", "WaitForWorkersReady", NULL};
const char *const job_restarts[] = {"Never", "OnFailure", NULL};
static const char *const managers[] = {"kubeflow.org/mpi-operator", "kueue.x-k8s.io/multikueue",
                                       "reknit.dev/operator", NULL};

static void check_path(const struct checking *checking, const struct yaml_node *node,
                       const struct path *path)
{
    if (json_string_value(node->value)[0] != '/')
        schema_error(checking, node, path, "write a path that starts with '/'",
                     "it is not an absolute path");
}

static const struct field scheduling_rows[] = {
    ROW("minAvailable", INTEGER,
        .help = "Pods that a gang scheduler must place at once. Default: workers + 1."),
    ROW("queue", TEXT, .help = "The gang scheduler's queue."),
    ROW("minResources", QUANTITIES,
        .help = "Resources that it must have at once. Default: the sum over those pods."),
    ROW("priorityClass", TEXT,
        .help = "The group's. Default: the launcher's `priorityClassName`, else the worker's."),
    ROW("scheduleTimeoutSeconds", INTEGER,
        .help = "How long the scheduler may take (scheduler-plugins)."),
};
static const struct schema scheduling = {SCHEMA_ROWS(scheduling_rows)};

static const struct field run_policy_rows[] = {
    ROW("cleanPodPolicy", TEXT, .words = job_cleans, .fallback = "\"None\"",
        .help = "What goes when the job ends: no pod; those that run or wait; all, the launcher's "
                "too."),
    ROW("ttlSecondsAfterFinished", INTEGER,
        .help = "The job and all that is its own go so long after its end."),
    ROW("activeDeadlineSeconds", INTEGER, .min = 0, .max = INT64_MAX,
        .help = "A job that runs longer fails with `DeadlineExceeded`."),
    ROW("backoffLimit", INTEGER, .help = "Times that the launcher is tried again."),
    ROW("suspend", BOOLEAN, .fallback = "false",
        .help = "No pods until it is false; a job that runs writes a checkpoint and goes on there "
                "later."),
    ROW("managedBy", TEXT, .words = managers, .help = "Another controller runs the job."),
    ROW("schedulingPolicy", OBJECT, .of = &scheduling,
        .help = "Gang scheduling: all pods of the job or none."),
};
static const struct schema run_policy = {SCHEMA_ROWS(run_policy_rows)};

static const struct field launcher_rows[] = {
    ROW("replicas", INTEGER, .min = 1, .max = 1, .fallback = "1",
        .remedy = "write replicas: 1, or take the line out; a job has one launcher",
        .help = "A job has one launcher."),
    ROW("restartPolicy", TEXT, .words = job_restarts, .fallback = "\"OnFailure\"",
        .help = "Of the launcher's pod; stands above the template's."),
    ROW("template", OBJECT, .of = &pod_template_schema, .required = true,
        .remedy = "add template: with spec: and its containers"),
};
static const struct schema launcher = {SCHEMA_ROWS(launcher_rows)};

static const struct field worker_rows[] = {
    ROW("replicas", INTEGER, .required = true, .min = 1, .max = INT32_MAX,
        .remedy = "write replicas: and how many workers, at least 1; without it there are none",
        .help = "Worker pods; can be changed while the job runs."),
    ROW("restartPolicy", TEXT, .words = job_restarts, .fallback = "\"Never\"",
        .help = "Of the worker pods; stands above the template's."),
    ROW("template", OBJECT, .of = &pod_template_schema, .required = true,
        .remedy = "add template: with spec: and its containers"),
};
static const struct schema worker = {SCHEMA_ROWS(worker_rows)};

static const struct field replica_types_rows[] = {
    ROW("Launcher", OBJECT, .of = &launcher, .required = true,
        .remedy = "add Launcher: with a template; its pod is where the job is led from",
        .help = "The pod that leads the job. The first container is the main one."),
    ROW("Worker", OBJECT, .of = &worker, .help = "The pods in which the ranks run."),
};
static const struct schema replica_types = {SCHEMA_ROWS(replica_types_rows), .closed = true};

static const struct field spec_rows[] = {
    ROW("slotsPerWorker", INTEGER, .fallback = "1",
        .help = "Ranks of each worker; 0 is taken as 1."),
    ROW("runLauncherAsWorker", BOOLEAN, .fallback = "false",
        .help = "The launcher's pod is a worker too, the first in the hostfile; of a program an "
                "agent runs in it."),
    ROW("sshAuthMountPath", TEXT, .fallback = DEFAULT_SSH, .check = check_path,
        .help = "Where images look for keys. Nothing here needs any, so nothing is mounted."),
    ROW("launcherCreationPolicy", TEXT, .words = job_creations, .fallback = "\"AtStartup\"",
        .help = "Whether the launcher's command starts at once or when every worker is ready."),
    ROW("mpiImplementation", TEXT, .words = job_implementations, .fallback = "\"OpenMPI\"",
        .help = "Whose variables and hostfile the launcher gets."),
    ROW("mpiReplicaSpecs", OBJECT, .of = &replica_types, .required = true,
        .remedy = "add mpiReplicaSpecs: with Launcher: and Worker:", .help = "The pods."),
    ROW("runPolicy", OBJECT, .of = &run_policy, .fallback = "{}", .help = "How the job ends."),
};
static const struct schema spec = {SCHEMA_ROWS(spec_rows), .elsewhere = migration_knows};

static const struct field metadata_rows[] = {
    ROW("name", TEXT),
    ROW("generateName", TEXT),
    ROW("namespace", TEXT, .check = check_label_name),
    ROW("labels", TEXT_MAP, .check = check_labels),
    ROW("annotations", TEXT_MAP, .check = check_annotation_names),
    ROW("creationTimestamp", TEXT),
    ROW("deletionGracePeriodSeconds", INTEGER, .min = INT64_MIN, .max = INT64_MAX),
    ROW("deletionTimestamp", TEXT),
    ROW("finalizers", TEXTS),
    ROW("generation", INTEGER, .min = INT64_MIN, .max = INT64_MAX),
    ROW("managedFields", ARRAY),
    ROW("ownerReferences", ARRAY),
    ROW("resourceVersion", TEXT),
    ROW("selfLink", TEXT),
    ROW("uid", TEXT),
};
static const struct schema metadata = {SCHEMA_ROWS(metadata_rows)};

static const struct field job_rows[] = {
    ROW("apiVersion", TEXT),
    ROW("kind", TEXT),
    ROW("metadata", OBJECT, .of = &metadata, .required = true,
        .remedy = "add metadata: with a name"),
    ROW("spec", OBJECT, .of = &spec, .required = true, .remedy = "add spec: with mpiReplicaSpecs"),
    ROW("status", OBJECT),
};
const struct schema job_schema = {SCHEMA_ROWS(job_rows)};

void job_schema_print(FILE *out)
{
    fprintf(out, "| field | value | default | what happens |\n| --- | --- | --- | --- |\n");
    schema_print(&spec, "spec.", out);
}
