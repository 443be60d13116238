/* What becomes of a job: its Job, its pods and its Events are watched until it is over; see
 * submit.h.  Nothing is changed here. */
#include "launch/submit/submit.h"

#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/client/watch.h"
#include "k8s/render/names.h"
#include "launch/submit/progress.h"

#include <stdio.h>
#include <string.h>

#define TURN RK_S

enum watched { WATCHED_JOB, WATCHED_PODS, WATCHED_EVENTS, WATCHED_KINDS };

struct following {
    struct submit *submit;
    struct progress *progress;
    const char *namespace, *name;
    struct watch *watch[WATCHED_KINDS]; /* NULL: not open */
    char trouble[200];                  /* the last one told, so that it is told once */
    struct outcome outcome;
    bool blind; /* events may not be watched, as was told */
};

static void on_job(void *who, const json_t *object, const json_t *old)
{
    struct following *following = who;

    (void)old;
    progress_job(following->progress, object);
}

static void on_job_gone(void *who, const json_t *old)
{
    struct following *following = who;

    progress_job_gone(following->progress, old);
}

/* "" before the Job was seen. */
static const char *job_uid(const struct following *following)
{
    struct store_walk walk = {0};

    return object_uid(store_next(watch_store(following->watch[WATCHED_JOB]), &walk));
}

static void on_pod(void *who, const json_t *object, const json_t *old)
{
    struct following *following = who;

    (void)old;
    progress_pod(following->progress, object);
    if (object_is_owned_by(object, job_uid(following)))
        outcome_see(&following->outcome, object);
}

static void on_pod_gone(void *who, const json_t *old)
{
    struct following *following = who;

    progress_pod_gone(following->progress, old);
}

static void on_event(void *who, const json_t *object, const json_t *old)
{
    struct following *following = who;

    (void)old;
    progress_event(following->progress, object);
}

/* It goes on by itself. */
static void on_trouble(void *who, int code, const char *why)
{
    struct following *following = who;

    (void)code;
    if (strncmp(following->trouble, why, sizeof following->trouble - 1) == 0)
        return;
    snprintf(following->trouble, sizeof following->trouble, "%s", why);
    submit_say(following->submit, SCREEN_QUIET, "trouble", NULL, "%s; trying again", why);
}

/* Events are a help: without the right to see them it goes on without, and that was told. */
static void on_no_events(void *who, int code, const char *why)
{
    struct following *following = who;

    if (code == 403)
        following->blind = true;
    else
        on_trouble(who, code, why);
}

/* ---- watches -------------------------------------------------------------------------------- */

static const struct watched_kind {
    const char *version, *plural;
    const char *label, *field; /* one of them is the job's name, with a suffix */
    const char *suffix;
    struct watch_events events;
} kinds[WATCHED_KINDS] = {
    [WATCHED_JOB] = {.version = "batch/v1",
                     .plural = "jobs",
                     .field = "metadata.name",
                     .suffix = "-launcher",
                     .events = {NULL, on_job, on_job_gone, NULL, on_trouble}},
    [WATCHED_PODS] = {.version = "v1",
                      .plural = "pods",
                      .label = LABEL_JOB,
                      .suffix = "",
                      .events = {NULL, on_pod, on_pod_gone, NULL, on_trouble}},
    [WATCHED_EVENTS] = {.version = "v1",
                        .plural = "events",
                        .field = "involvedObject.name",
                        .suffix = "-launcher",
                        .events = {NULL, on_event, NULL, NULL, on_no_events}},
};

static int open_watch(struct following *following, enum watched which, struct rk_why *why)
{
    const struct watched_kind *kind = &kinds[which];
    char selector[SUBMIT_NAME + 32];
    struct watch_spec spec = {
        .path = api_path(kind->version, following->namespace, kind->plural, NULL, NULL),
        .labels = kind->label != NULL ? selector : NULL,
        .fields = kind->field != NULL ? selector : NULL,
        .events = kind->events,
        .who = following,
    };

    snprintf(selector, sizeof selector, "%s=%s%s", kind->label != NULL ? kind->label : kind->field,
             following->name, kind->suffix);
    return watch_open(following->submit->api, &spec, &following->watch[which], why);
}

/* The Job is known before anything is said of pods and Events, which may be of an earlier one. */
static int open_others(struct following *following, struct rk_why *why)
{
    int rc = 0;

    if (following->watch[WATCHED_PODS] != NULL || !watch_is_synced(following->watch[WATCHED_JOB]))
        return 0;
    if (store_count(watch_store(following->watch[WATCHED_JOB])) == 0)
        return rk_fail(why, RK_ENOENT, "there is no job %s in namespace %s", following->name,
                       following->namespace);
    rc = open_watch(following, WATCHED_PODS, why);
    return rc == 0 ? open_watch(following, WATCHED_EVENTS, why) : rc;
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void say_lines(struct following *following)
{
    struct progress_line line;
    char summary[160];

    while (progress_take(following->progress, &line))
        submit_say(following->submit, line.tone, line.event, line.fields, "%s", line.text);
    if (following->submit->screen != NULL)
        screen_live(following->submit->screen,
                    progress_summary(following->progress, summary, sizeof summary),
                    following->submit->now);
}

static void close_blind(struct following *following)
{
    if (!following->blind)
        return;
    watch_close(following->watch[WATCHED_EVENTS]);
    following->watch[WATCHED_EVENTS] = NULL;
    following->blind = false;
}

static int watch_it(struct following *following, struct rk_why *why)
{
    int rc = open_watch(following, WATCHED_JOB, why);

    while (rc == 0 && progress_end(following->progress) == PROGRESS_RUNS) {
        rc = submit_turn(following->submit, TURN, why);
        if (rc == 0)
            rc = open_others(following, why);
        close_blind(following);
        if (rc == 0)
            outcome_keep(following->submit, following->namespace, &following->outcome);
        say_lines(following);
    }
    if (following->submit->screen != NULL)
        screen_clear(following->submit->screen);
    return rc;
}

static int tell_end(struct following *following, int *exit_code)
{
    struct submit *submit = following->submit;
    struct store_walk walk = {0};

    if (progress_end(following->progress) == PROGRESS_DELETED) {
        submit_say(submit, SCREEN_BAD, "job_deleted", json_pack("{s:s}", "job", following->name),
                   "job %s was deleted", following->name);
        *exit_code = SUBMIT_FAILED;
        return 0;
    }
    *exit_code = outcome_tell(submit, following->namespace, following->name,
                              store_next(watch_store(following->watch[WATCHED_JOB]), &walk),
                              &following->outcome);
    return 0;
}

int follow_job(struct submit *submit, const char *namespace, const char *name, int *exit_code,
               struct rk_why *why)
{
    struct following following = {
        .submit = submit, .namespace = namespace, .name = name, .progress = progress_new(name)};
    int rc = following.progress != NULL ? watch_it(&following, why)
                                        : rk_fail(why, RK_ENOMEM, "no memory to follow the job");

    if (rc == 0)
        rc = tell_end(&following, exit_code);
    for (int which = WATCHED_KINDS - 1; which >= 0; which--)
        watch_close(following.watch[which]);
    progress_free(following.progress);
    return rc;
}
