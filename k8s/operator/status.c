/* The status of an MPIJob; see inside.h.
 *
 * Conditions and reasons are mpi-operator's, and so are the rules but for these:
 *
 * - Running is reached when the coordinator runs with all workers, or with `min-workers` where that
 *   is given; it is lost, and comes again, at `min-workers`.  There it never goes by itself.
 * - Restarting, which is declared there and never set, is true while a job that ran is without one
 *   of its pods; its message says what became of the last one, and stays when the pod is gone.
 * - Failed says what the coordinator has noted down of the end, beside what the pods show; what is
 *   noted stays when they are gone.
 * - Created says when an edit is not valid, or its number of workers cannot be, and so is not
 *   followed.
 *
 * The conditions are written whole, under the version that was seen: lists are not merged by all
 * servers.  An old CRD drops observedGeneration: that it is absent is no reason to write it. */
#include "k8s/operator/inside.h"

#include "common/number.h"
#include "k8s/client/notices.h"
#include "k8s/client/object.h"
#include "k8s/client/when.h"

#include <stdio.h>
#include <string.h>

#define RESTARTING "MPIJobRestarting"
#define MOST_OF_END 330 /* bytes of each of two causes */

static const json_t *member(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

const json_t *status_job_ended(const json_t *job, const char *type)
{
    const json_t *status = member(job, "status");

    return condition_is(status, type) ? condition_of(status, type) : NULL;
}

static json_t *begin(struct making *making)
{
    const json_t *seen = member(making->seen->mpijob, "status");
    json_t *status = json_is_object(seen) ? json_deep_copy(seen) : json_object();

    if (status == NULL)
        making_fail(making, RK_ENOMEM);
    return status;
}

static void set(struct making *making, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
        making_fail(making, RK_ENOMEM);
}

static void set_now(struct making *making, json_t *status, const char *key)
{
    char now[WHEN_SIZE];

    set(making, status, key, json_string(when_seconds(making->seen->wall, now)));
}

/* Takes the status; writes it where it differs. */
static void finish(struct making *making, json_t *status)
{
    const json_t *seen = member(making->seen->mpijob, "status");
    const json_t *generation = member(member(making->seen->mpijob, "metadata"), "generation");
    const json_t *observed = member(seen, "observedGeneration");

    if (making->rc == 0 && json_equal(status, seen) &&
        (observed == NULL || generation == NULL || json_equal(observed, generation))) {
        json_decref(status);
        making->plan->events = 0;
        return;
    }
    set_now(making, status, "lastReconcileTime");
    if (generation != NULL)
        set(making, status, "observedGeneration", json_copy((json_t *)(uintptr_t)generation));
    making_status(making, status);
}

/* ---- counts ---------------------------------------------------------------------------------- */

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(member(object, key));
}

/* `least`: what was counted before, of pods that may be gone by now. */
static json_t *counts(const struct tally *tally, const json_t *least)
{
    json_int_t succeeded = tally->succeeded;
    json_int_t failed = tally->failed;

    if (number(least, "succeeded") > succeeded)
        succeeded = number(least, "succeeded");
    if (number(least, "failed") > failed)
        failed = number(least, "failed");
    return json_pack("{s:i,s:I,s:I}", "active", (int)tally->active, "succeeded", succeeded,
                     "failed", failed);
}

static void set_counts(struct making *making, json_t *status, bool over)
{
    const json_t *before = member(status, "replicaStatuses");
    const json_t *job = member(making->seen->job, "status");
    const json_t *types = member(member(making->seen->mpijob, "spec"), "mpiReplicaSpecs");
    struct tally launcher = making->launcher;
    json_t *all = json_object();

    if (job != NULL) {
        launcher.succeeded = (uint32_t)number(job, "succeeded");
        launcher.failed = (uint32_t)number(job, "failed");
    }
    set(making, all, "Launcher", counts(&launcher, over ? member(before, "Launcher") : NULL));
    if (member(types, "Worker") != NULL)
        set(making, all, "Worker", counts(&making->worker, over ? member(before, "Worker") : NULL));
    set(making, status, "replicaStatuses", all);
}

/* ---- conditions ------------------------------------------------------------------------------ */

static const char *sentence(const struct making *making, const char *what, char text[PLAN_NOTE])
{
    snprintf(text, PLAN_NOTE, "MPIJob %s/%s %s.", object_namespace(making->seen->mpijob),
             making->name, what);
    return text;
}

/* Sets a condition, and says so where it became true. */
static void become(struct making *making, json_t *status, const char *type, bool warning,
                   const char *reason, const char *message)
{
    if (condition_set(making, status, type, true, reason, message))
        making_event(making, warning, reason, message);
}

/* Sets a condition false where it is there at all. */
static void no_more(struct making *making, json_t *status, const char *type, const char *reason,
                    const char *message)
{
    if (condition_of(status, type) != NULL)
        condition_set(making, status, type, false, reason, message);
}

/* What the coordinator has written beside its record; "" without. */
static const char *noted(const struct making *making, const char *key)
{
    return condition_text(member(making->seen->record, "data"), key);
}

/* The coordinator has seen the number of workers as it is now, and goes on with another one. */
static bool is_refused(const struct making *making)
{
    char replicas[16];

    snprintf(replicas, sizeof replicas, "%u", making->job->worker.replicas);
    return noted(making, "refused")[0] != '\0' && strcmp(noted(making, "asked"), replicas) == 0;
}

static void set_created(struct making *making, json_t *status)
{
    const char *seen = condition_text(condition_of(status, "Created"), "message");
    char text[PLAN_NOTE];

    if (making->is_valid && is_refused(making)) {
        if (strcmp(seen, noted(making, "refused")) != 0)
            making_event(making, true, "WorkersNotResized", noted(making, "refused"));
        condition_set(making, status, "Created", true, "MPIJobCreated", noted(making, "refused"));
        return;
    }
    if (making->is_valid) {
        become(making, status, "Created", false, "MPIJobCreated",
               sentence(making, "is created", text));
        return;
    }
    snprintf(text, sizeof text, "The job goes on as it was: an edit of it is not valid: %.900s",
             making->fault);
    if (strcmp(seen, text) != 0)
        making_event(making, true, "ValidationError", text);
    condition_set(making, status, "Created", true, "MPIJobCreated", text);
}

static void set_suspended(struct making *making, json_t *status)
{
    char text[PLAN_NOTE];

    if (making->job->suspend) {
        sentence(making, "is suspended", text);
        become(making, status, "Suspended", false, "MPIJobSuspended", text);
        no_more(making, status, "Running", "MPIJobSuspended", text);
        no_more(making, status, "Restarting", "MPIJobSuspended", text);
    } else if (condition_is(status, "Suspended")) {
        sentence(making, "is resumed", text);
        condition_set(making, status, "Suspended", false, "MPIJobResumed", text);
        making_event(making, false, "MPIJobResumed", text);
        set_now(making, status, "startTime");
    }
    if (!making->job->suspend && member(status, "startTime") == NULL)
        set_now(making, status, "startTime");
}

/* Whether the job has run since it was last started or resumed. */
static bool has_run(const json_t *status)
{
    const json_t *running = condition_of(status, "Running");

    return condition_is(status, "Running") ||
           strcmp(condition_text(running, "reason"), RESTARTING) == 0;
}

static uint32_t workers_wanted(const struct making *making)
{
    uint64_t size;

    if (is_refused(making) && rk_number_parse(noted(making, "workers"), 1, UINT32_MAX, &size))
        return (uint32_t)size;
    return making->job->worker.template != NULL ? making->job->worker.replicas : 0;
}

/* How many workers make the job run. */
static uint32_t workers_needed(const struct making *making, bool ran)
{
    const json_t *metadata = member(making->seen->mpijob, "metadata");
    bool given = member(member(metadata, "annotations"), "reknit.dev/min-workers") != NULL;
    uint32_t wanted = workers_wanted(making);
    uint32_t own = mpijob_own(making->job);
    uint32_t least = making->job->settings.min_workers;

    least = least > own ? least - own : 0; /* the launcher is asked for anyway */
    return (ran || given) && least < wanted ? least : wanted;
}

/* What became of the pod that was lost last, also when it is gone: the last line, less its time. */
static void last_loss(const struct making *making, char text[PLAN_NOTE])
{
    const char *line = noted(making, "losses");
    const char *next = line;

    if (making->loss[0] != '\0') {
        snprintf(text, PLAN_NOTE, "%s", making->loss);
        return;
    }
    for (; *next != '\0'; next += strcspn(next, "\n"), next += *next == '\n')
        line = next;
    line += strcspn(line, " \n");
    line += *line == ' ';
    snprintf(text, PLAN_NOTE, "%.*s", (int)strcspn(line, "\n"), line);
}

/* How much of a text to print; characters stay whole. */
static int at_most(const char *text, size_t most)
{
    return (int)notice_cut(text, most);
}

static void set_running(struct making *making, json_t *status)
{
    bool ran = has_run(status);
    uint32_t there = making->worker.steady + (ran ? making->worker.succeeded : 0);
    uint32_t wanted = workers_wanted(making);
    bool led = making->launcher.steady > 0 || (ran && making->launcher.succeeded > 0);
    const char *before = condition_text(condition_of(status, "Restarting"), "message");
    char text[PLAN_NOTE];
    char last[PLAN_NOTE];
    char loss[PLAN_NOTE];

    last_loss(making, last);
    snprintf(loss, sizeof loss, "%s%u of %u workers run%s%.*s",
             led ? "" : "the coordinator does not run; ", there < wanted ? there : wanted, wanted,
             last[0] != '\0' ? "; " : "", at_most(last, 900), last);
    if (led && there >= workers_needed(making, ran))
        become(making, status, "Running", false, "MPIJobRunning",
               sentence(making, "is running", text));
    else if (ran)
        condition_set(making, status, "Running", false, RESTARTING, loss);
    if (ran && (!led || there < wanted))
        become(making, status, "Restarting", true, RESTARTING, loss);
    else if (condition_is(status, "Restarting")) {
        snprintf(text, sizeof text, "%s", before);
        condition_set(making, status, "Restarting", false, "MPIJobRunning", text);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void set_succeeded(struct making *making, json_t *status)
{
    const json_t *at = member(member(making->seen->job, "status"), "completionTime");
    char text[PLAN_NOTE];

    sentence(making, "has finished", text);
    become(making, status, "Succeeded", false, "MPIJobSucceeded", text);
    no_more(making, status, "Running", "MPIJobSucceeded", text);
    no_more(making, status, "Restarting", "MPIJobSucceeded", text);
    if (json_is_string(at))
        set(making, status, "completionTime", json_copy((json_t *)(uintptr_t)at));
    else
        set_now(making, status, "completionTime");
}

static void set_failed(struct making *making, json_t *status, const json_t *failed)
{
    const char *why = condition_text(failed, "reason");
    const char *end = noted(making, "end");
    char reason[200];
    char last[PLAN_NOTE];
    char text[PLAN_NOTE];

    last_loss(making, last);
    snprintf(reason, sizeof reason, "%.100s%s%s", *why != '\0' ? why : "MPIJobFailed",
             making->reason[0] != '\0' && strcmp(why, "BackoffLimitExceeded") == 0 ? "/" : "",
             strcmp(why, "BackoffLimitExceeded") == 0 ? making->reason : "");
    snprintf(text, sizeof text, "MPIJob %s/%s has failed: %.160s%s%.*s%s%.*s",
             object_namespace(making->seen->mpijob), making->name,
             condition_text(failed, "message"), *end != '\0' ? "; " : "",
             at_most(end, last[0] != '\0' ? MOST_OF_END : 2 * MOST_OF_END), end,
             last[0] != '\0' ? "; " : "",
             at_most(last, *end != '\0' ? MOST_OF_END : 2 * MOST_OF_END), last);
    if (condition_set(making, status, "Failed", true, reason, text))
        making_event(making, true, "MPIJobFailed", text);
    no_more(making, status, "Running", reason, text);
    no_more(making, status, "Restarting", reason, text);
    set_now(making, status, "completionTime");
}

/* A job that could not be read once and can be now has not ended after all. */
static void forgive(struct making *making, json_t *status)
{
    char text[PLAN_NOTE];

    if (!condition_is(status, "Failed"))
        return;
    condition_set(making, status, "Failed", false, "MPIJobCreated",
                  sentence(making, "is valid", text));
    json_object_del(status, "completionTime");
}

/* ---- whole ----------------------------------------------------------------------------------- */

void status_of_job(struct making *making)
{
    json_t *status = begin(making);
    const json_t *failed = status_job_ended(making->seen->job, "Failed");

    forgive(making, status);
    set_created(making, status);
    set_counts(making, status, false);
    if (status_job_ended(making->seen->job, "Complete") != NULL) {
        set_succeeded(making, status);
    } else if (failed != NULL) {
        set_failed(making, status, failed);
    } else {
        set_suspended(making, status);
        if (!making->job->suspend)
            set_running(making, status);
    }
    finish(making, status);
}

void status_invalid(struct making *making)
{
    json_t *status = begin(making);
    bool before = condition_is(status, "Failed");
    const char *seen = condition_text(condition_of(status, "Failed"), "message");

    if (strcmp(seen, making->fault) != 0)
        making_event(making, true, "ValidationError", making->fault);
    condition_set(making, status, "Failed", true, "ValidationError", making->fault);
    if (!before)
        set_now(making, status, "completionTime");
    finish(making, status);
}

void status_after(struct making *making)
{
    json_t *status = begin(making);

    set_counts(making, status, true);
    finish(making, status);
}
