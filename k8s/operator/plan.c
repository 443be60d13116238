/* What is decided about one MPIJob; see plan.h. */
#include "k8s/operator/plan.h"

#include "common/clock.h"
#include "k8s/client/object.h"
#include "k8s/client/when.h"
#include "k8s/manifest/faults.h"
#include "k8s/operator/inside.h"
#include "k8s/render/names.h"
#include "k8s/render/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *member(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

static const json_t *run_policy(const json_t *mpijob)
{
    return member(member(mpijob, "spec"), "runPolicy");
}

static bool is_deleting(const json_t *object)
{
    return member(member(object, "metadata"), "deletionTimestamp") != NULL;
}

bool plan_takes(const struct plan_options *options, const json_t *mpijob)
{
    const char *manager = condition_text(run_policy(mpijob), "managedBy");

    if (strcmp(manager, PLAN_MANAGER) == 0)
        return true;
    return !options->only_ours &&
           (*manager == '\0' || strcmp(manager, "kubeflow.org/mpi-operator") == 0);
}

/* ---- reading the job ------------------------------------------------------------------------- */

/* The MPIJob as a user would have written it; values are shared, maps on the way are copies. */
static json_t *bare(const json_t *mpijob)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)mpijob);
    json_t *metadata = json_copy((json_t *)(uintptr_t)member(mpijob, "metadata"));
    json_t *spec = json_copy((json_t *)(uintptr_t)member(mpijob, "spec"));
    json_t *policy = json_copy((json_t *)(uintptr_t)run_policy(mpijob));

    json_object_del(copy, "status");
    json_object_del(metadata, "managedFields");
    if (strcmp(condition_text(policy, "managedBy"), PLAN_MANAGER) == 0)
        json_object_del(policy, "managedBy");
    if (policy != NULL)
        json_object_set_new(spec, "runPolicy", policy);
    if (spec != NULL)
        json_object_set_new(copy, "spec", spec);
    json_object_set_new(copy, "metadata", metadata);
    return copy;
}

static void tell_fault(struct making *making, const struct faults *faults)
{
    char more[64] = "";

    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->fault[i];

        if (fault->severity != FAULT_ERROR)
            continue;
        if (faults->errors > 1)
            snprintf(more, sizeof more, " (and %zu more: `reknit validate`)", faults->errors - 1);
        snprintf(making->fault, sizeof making->fault, "%.400s: %.400s%s%.100s%s", fault->path,
                 fault->sentence, fault->remedy[0] != '\0' ? "; " : "", fault->remedy, more);
        return;
    }
}

static void read_object(struct making *making, json_t *object)
{
    struct faults faults;
    int rc;

    faults_init(&faults);
    rc = object != NULL ? mpijob_of(object, &faults, &making->job, making->why) : RK_ENOMEM;
    if (rc == RK_EFULL)
        snprintf(making->fault, sizeof making->fault, "%s", making->why->text);
    else if (rc != 0)
        making_fail(making, rc);
    else if (making->job == NULL)
        tell_fault(making, &faults);
    faults_done(&faults);
    json_decref(object);
}

/* Where an edit is not valid, a job that is there goes on as the last valid one said, but for
 * being suspended, which must not depend on the rest. */
static void read_job(struct making *making)
{
    const json_t *suspend = member(run_policy(making->seen->mpijob), "suspend");
    const json_t *text = member(member(making->seen->config, "data"), "mpijob.json");
    char fault[PLAN_NOTE];

    read_object(making, bare(making->seen->mpijob));
    making->is_valid = making->job != NULL;
    if (making->rc != 0 || making->is_valid || making->seen->job == NULL || text == NULL)
        return;
    snprintf(fault, sizeof fault, "%s", making->fault);
    read_object(making, json_loads(json_string_value(text), 0, NULL));
    snprintf(making->fault, sizeof making->fault, "%s", fault);
    if (making->job != NULL)
        making->job->suspend = json_is_true(suspend);
}

/* ---- what stands around the Job -------------------------------------------------------------- */

static bool has_config(const struct plan_seen *seen, const json_t *wanted)
{
    return json_equal(member(member(seen->config, "data"), "mpijob.json"),
                      member(member(wanted, "data"), "mpijob.json"));
}

/* Only the text of the job: the hostfile is the coordinator's as soon as that runs. */
static void sync_config(struct making *making, const json_t *wanted)
{
    const json_t *text = member(member(wanted, "data"), "mpijob.json");

    if (making->seen->config == NULL)
        making_create(making, "v1", "configmaps", json_deep_copy(wanted));
    else if (!is_deleting(making->seen->config) && !has_config(making->seen, wanted))
        making_patch(making, "v1", "configmaps", making->seen->config,
                     json_pack("{s:{s:O}}", "data", "mpijob.json", text));
}

static const char *group_version(const struct making *making)
{
    return gang_api_version(gang_of(making->job, making->options->gang));
}

static void sync_group(struct making *making, const json_t *wanted)
{
    if (!wanted_is_gang(making) || !making->seen->groups_known)
        return;
    if (making->job->suspend && making->seen->group != NULL)
        making_delete(making, group_version(making), "podgroups", making->seen->group);
    else if (!making->job->suspend && making->seen->group == NULL && wanted != NULL)
        making_create(making, group_version(making), "podgroups", json_deep_copy(wanted));
}

static void sync_around(struct making *making, const json_t *objects)
{
    if (making->seen->service == NULL)
        making_create(making, "v1", "services", json_deep_copy(member(objects, "Service")));
    sync_config(making, member(objects, "ConfigMap"));
    sync_group(making, member(objects, "PodGroup"));
}

/* ---- the Job --------------------------------------------------------------------------------- */

static void patch_suspend(struct making *making, bool suspend)
{
    making_patch(making, "batch/v1", "jobs", making->seen->job,
                 json_pack("{s:{s:b}}", "spec", "suspend", suspend));
}

/* The coordinator watches its Job, and follows. */
static bool sync_size(struct making *making, const json_t *wanted)
{
    const json_t *seen = member(member(making->seen->job, "metadata"), "annotations");
    const json_t *now = member(member(wanted, "metadata"), "annotations");
    const json_t *size = member(now, ANNOTATION_WORKERS);

    if (size == NULL || json_equal(member(seen, ANNOTATION_WORKERS), size))
        return false;
    making_patch(making, "batch/v1", "jobs", making->seen->job,
                 json_pack("{s:{s:{s:O}}}", "metadata", "annotations", ANNOTATION_WORKERS, size));
    return true;
}

static bool is_job_as(const struct making *making, const json_t *wanted)
{
    const json_t *seen = member(member(making->seen->job, "metadata"), "annotations");
    const json_t *now = member(member(wanted, "metadata"), "annotations");

    return json_equal(member(seen, ANNOTATION_FINGERPRINT), member(now, ANNOTATION_FINGERPRINT));
}

/* Most of a Job cannot be changed, so another one is made.  What the coordinator keeps in the
 * cluster must not go with it, and so is the MPIJob's first. */
static void replace_job(struct making *making)
{
    const json_t *record = making->seen->record;
    const json_t *owners = member(member(record, "metadata"), "ownerReferences");
    json_t *more;

    if (record == NULL || object_is_owned_by(record, making->uid)) {
        making_delete(making, "batch/v1", "jobs", making->seen->job);
        return;
    }
    more = owners != NULL ? json_copy((json_t *)(uintptr_t)owners) : json_array();
    if (json_array_append_new(more, wanted_owner(making)) != 0)
        making_fail(making, RK_ENOMEM);
    making_patch(making, "v1", "configmaps", record,
                 json_pack("{s:{s:o}}", "metadata", "ownerReferences", more));
}

static void delete_pods(struct making *making, bool workers, bool ended)
{
    const char *name;
    json_t *pod;

    json_object_foreach((json_t *)(uintptr_t)making->seen->pods, name, pod)
    {
        uint64_t again = PLAN_NEVER;
        bool live = tally_is_live(pod, making->seen->wall, &again);

        if (tally_is_worker(pod) == workers && (live || ended))
            making_delete(making, "v1", "pods", pod);
    }
}

/* The coordinator sees its workers off and writes a checkpoint.  What is left when it is gone, and
 * what a coordinator that could not do so left, goes here. */
static void sync_suspended(struct making *making, const json_t *objects)
{
    const json_t *config = member(objects, "ConfigMap");

    if (making->launcher.live > 0)
        return;
    delete_pods(making, true, false);
    if (making->job->suspend || making->worker.live > 0 || objects == NULL)
        return;
    if (!is_job_as(making, member(objects, "Job")))
        replace_job(making);
    else if (has_config(making->seen, config))
        patch_suspend(making, false);
}

static void create_job(struct making *making, const json_t *objects)
{
    wanted_account(making);
    making_secret(making);
    making_create(making, "batch/v1", "jobs", json_deep_copy(member(objects, "Job")));
}

static bool has_ended(const json_t *job)
{
    return status_job_ended(job, "Complete") != NULL || status_job_ended(job, "Failed") != NULL;
}

static void sync_job(struct making *making, const json_t *objects)
{
    const json_t *job = making->seen->job;
    bool suspended = json_is_true(member(member(job, "spec"), "suspend"));

    if (job == NULL) {
        if (!making->job->suspend && objects != NULL)
            create_job(making, objects);
    } else if (is_deleting(job) || has_ended(job)) {
        ; /* the one is to go first, of the other the status tells */
    } else if (making->job->suspend && !suspended) {
        patch_suspend(making, true);
    } else if (suspended) {
        sync_suspended(making, objects);
    } else if (has_config(making->seen, member(objects, "ConfigMap")) &&
               sync_size(making, member(objects, "Job"))) {
        ; /* the manifest first, for a coordinator that starts just now */
    } else if (wanted_is_gang(making) && making->seen->group != NULL &&
               making->launcher.steady + making->launcher.succeeded == 0) {
        wanted_gang_pods(making);
    }
}

/* ---- a job that goes on ---------------------------------------------------------------------- */

static json_t *objects_of(struct making *making)
{
    json_t *objects = making->is_valid ? wanted_objects(making) : NULL;

    if (making->rc == RK_EDATA) {
        making->rc = 0;
        making->is_valid = false;
        snprintf(making->fault, sizeof making->fault, "%s", making->why->text);
    }
    return objects;
}

static void tell_taken(struct making *making)
{
    char text[PLAN_NOTE];

    snprintf(text, sizeof text,
             "an object named as one of this job's is not ours: delete it, or give the job another "
             "name; where mpi-operator runs too, start this one with --beside-mpi-operator");
    making_event(making, true, "ErrResourceExists", text);
}

static void go_on(struct making *making)
{
    json_t *objects = making->job != NULL ? objects_of(making) : NULL;
    bool there = making->seen->job != NULL;

    if (making->rc == 0 && !making->is_valid && !there) {
        status_invalid(making);
    } else if (making->rc == 0 && making->job != NULL) {
        if (objects != NULL && (there || !making->job->suspend))
            sync_around(making, objects);
        sync_job(making, objects);
        status_of_job(making);
    }
    json_decref(objects);
}

/* ---- a job that is over ---------------------------------------------------------------------- */

static bool is_over(const json_t *status)
{
    const json_t *failed = condition_of(status, "Failed");

    if (condition_is(status, "Succeeded"))
        return true;
    return condition_is(status, "Failed") &&
           strcmp(condition_text(failed, "reason"), "ValidationError") != 0;
}

/* With None pods stay, and those that still run end when they see that nobody leads them.  Past its
 * deadline a job may not be active, so there they are not left to that. */
static void clean_pods(struct making *making, const json_t *status)
{
    const char *policy = condition_text(run_policy(making->seen->mpijob), "cleanPodPolicy");
    const char *reason = condition_text(condition_of(status, "Failed"), "reason");
    bool all = strcmp(policy, "All") == 0;

    if (all || strcmp(policy, "Running") == 0 || strcmp(reason, "DeadlineExceeded") == 0)
        delete_pods(making, true, all);
    if (all)
        delete_pods(making, false, true);
}

/* When it ended; now where that is not told. */
static uint64_t end_of(const struct making *making, const json_t *status)
{
    const char *text = condition_text(status, "completionTime");
    uint64_t end;

    return when_parse(text, &end) ? end : making->seen->wall;
}

static void live_out(struct making *making, const json_t *status)
{
    const json_t *ttl = member(run_policy(making->seen->mpijob), "ttlSecondsAfterFinished");
    uint64_t due;

    if (!json_is_integer(ttl) || json_integer_value(ttl) < 0)
        return;
    due = end_of(making, status) + (uint64_t)json_integer_value(ttl) * RK_S;
    if (making->seen->wall >= due)
        making_delete(making, "kubeflow.org/v2beta1", "mpijobs", making->seen->mpijob);
    else
        making_again(making, due);
}

static void wind_up(struct making *making, const json_t *status)
{
    const json_t *group = making->seen->group;

    clean_pods(making, status);
    if (group != NULL)
        making_delete(
            making,
            condition_text(group, "apiVersion")[0] != '\0' &&
                    strncmp(condition_text(group, "apiVersion"), "scheduling.x-k8s.io", 19) == 0
                ? gang_api_version(RENDER_GANG_SCHEDULER_PLUGINS)
                : gang_api_version(RENDER_GANG_VOLCANO),
            "podgroups", group);
    status_after(making);
    live_out(making, status);
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void decide(struct making *making)
{
    const json_t *status = member(making->seen->mpijob, "status");

    tally_pods(making);
    if (is_deleting(making->seen->mpijob))
        return;
    if (is_over(status)) {
        wind_up(making, status);
        return;
    }
    if (making->seen->taken) {
        tell_taken(making);
        return;
    }
    read_job(making);
    if (making->rc == 0)
        go_on(making);
    if (!making->is_valid && condition_is(status, "Failed"))
        live_out(making, status);
}

int plan_make(const struct plan_options *options, const struct plan_seen *seen, struct plan *plan,
              struct rk_why *why)
{
    struct rk_why unheard = {""};
    struct making making = {
        .options = options,
        .seen = seen,
        .plan = plan,
        .why = why != NULL ? why : &unheard,
        .name = object_name(seen->mpijob),
        .uid = object_uid(seen->mpijob),
        .job_uid = seen->job != NULL ? object_uid(seen->job) : NULL,
    };

    *plan = (struct plan){.again = PLAN_NEVER};
    decide(&making);
    mpijob_free(making.job);
    if (making.rc != 0)
        plan_done(plan);
    return making.rc;
}

void plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        json_decref(plan->call[i].body);
    free(plan->call);
    *plan = (struct plan){.again = PLAN_NEVER};
}

const char *plan_kind_name(enum plan_kind kind)
{
    static const char *const names[] = {"create", "create", "patch", "delete", "status"};

    return names[kind];
}
