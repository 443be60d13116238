/* A document to a job; see mpijob.h. */
#include "k8s/manifest/mpijob.h"

#include "common/error.h"
#include "k8s/manifest/job_schema.h"
#include "k8s/manifest/settings.h"

#include <stdlib.h>
#include <string.h>

void mpijob_free(struct mpijob *job)
{
    if (job == NULL)
        return;
    json_decref(job->object);
    json_decref((json_t *)(uintptr_t)job->settings.program);
    free(job);
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* MPIJOB_UNSET where there is no number. */
static int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? (int64_t)json_integer_value(value) : MPIJOB_UNSET;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* Where a word that passed stands in its list. */
static int index_of(const char *const *words, const json_t *object, const char *key)
{
    const char *text = text_of(object, key);
    int index = 0;

    while (words[index + 1] != NULL && (text == NULL || strcmp(words[index], text) != 0))
        index++;
    return index;
}

static void read_replicas(const json_t *types, const char *name, struct mpijob_replicas *replicas)
{
    const json_t *given = json_object_get(types, name);

    if (!json_is_object(given))
        return;
    replicas->replicas = (uint32_t)number_of(given, "replicas");
    replicas->restart = (enum mpijob_restart)index_of(job_restarts, given, "restartPolicy");
    replicas->template = json_object_get(given, "template");
}

static void read_scheduling(const struct mpijob *job, const json_t *run_policy,
                            struct mpijob_scheduling *scheduling)
{
    const json_t *given = json_object_get(run_policy, "schedulingPolicy");
    const char *queue = text_of(given, "queue");
    const char *priority_class = text_of(given, "priorityClass");
    const json_t *resources = json_object_get(given, "minResources");
    int64_t timeout = number_of(given, "scheduleTimeoutSeconds");

    scheduling->given = json_is_object(given);
    scheduling->min_available = number_of(given, "minAvailable");
    if (scheduling->min_available == MPIJOB_UNSET)
        scheduling->min_available = (int64_t)job->worker.replicas + 1;
    scheduling->queue = queue != NULL ? queue : "";
    scheduling->priority_class = priority_class != NULL ? priority_class : "";
    scheduling->min_resources = json_is_object(resources) ? resources : NULL;
    scheduling->timeout_s = timeout == MPIJOB_UNSET ? 0 : timeout;
}

/* The object passed its checks and has its defaults. */
static void take_fields(struct mpijob *job)
{
    const json_t *metadata = json_object_get(job->object, "metadata");
    const json_t *spec = json_object_get(job->object, "spec");
    const json_t *run_policy = json_object_get(spec, "runPolicy");
    const json_t *types = json_object_get(spec, "mpiReplicaSpecs");
    int64_t slots = number_of(spec, "slotsPerWorker");

    job->name = text_of(metadata, "name");
    job->namespace = text_of(metadata, "namespace");
    job->implementation =
        (enum mpijob_implementation)index_of(job_implementations, spec, "mpiImplementation");
    job->slots = slots > 0 ? (uint32_t)slots : 1;
    job->launcher_is_worker = is_true(spec, "runLauncherAsWorker");
    job->creation = (enum mpijob_creation)index_of(job_creations, spec, "launcherCreationPolicy");
    job->ssh_path = text_of(spec, "sshAuthMountPath");
    read_replicas(types, "Launcher", &job->launcher);
    read_replicas(types, "Worker", &job->worker);
    job->clean = (enum mpijob_clean)index_of(job_cleans, run_policy, "cleanPodPolicy");
    job->ttl_s = number_of(run_policy, "ttlSecondsAfterFinished");
    job->deadline_s = number_of(run_policy, "activeDeadlineSeconds");
    job->backoff_limit = number_of(run_policy, "backoffLimit");
    job->suspend = is_true(run_policy, "suspend");
    job->managed_by = text_of(run_policy, "managedBy");
    read_scheduling(job, run_policy, &job->scheduling);
}

static void check(const struct yaml_node *document, const struct path *path, struct faults *faults,
                  struct mpijob_settings *settings)
{
    struct checking checking = {.faults = faults};
    struct path metadata_path = {path, "metadata", 0};
    struct path annotations_path = {&metadata_path, "annotations", 0};

    migration_check(&checking, document, path);
    schema_check(&checking, &job_schema, document, path);
    settings_read(&checking, yaml_member(yaml_member(document, "metadata"), "annotations"),
                  &annotations_path, settings);
    job_check(&checking, document, path, settings);
}

int mpijob_read(const struct yaml_node *document, const struct path *path, struct faults *faults,
                struct mpijob **out, struct rk_why *why)
{
    struct mpijob *job = calloc(1, sizeof *job);
    size_t errors = faults->errors;
    int rc;

    *out = NULL;
    if (job == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a job");
    check(document, path, faults, &job->settings);
    rc = faults_rc(faults, why);
    if (rc == 0 && faults->errors == errors) {
        job->object = json_incref(document->value);
        rc = schema_fill(&job_schema, job->object);
        if (rc != 0)
            rk_fail(why, rc, "no memory for the defaults of a job");
    }
    if (rc != 0 || job->object == NULL) {
        mpijob_free(job);
        return rc;
    }
    take_fields(job);
    *out = job;
    return 0;
}

int mpijob_of(json_t *object, struct faults *faults, struct mpijob **out, struct rk_why *why)
{
    struct yaml_tree *tree;
    int rc = yaml_tree_of(object, &tree, why);

    *out = NULL;
    if (rc != 0)
        return rc;
    rc = mpijob_read(yaml_tree_first(tree), NULL, faults, out, why);
    yaml_tree_free(tree);
    return rc;
}
