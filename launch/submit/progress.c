/* What is worth saying about a job; see progress.h. */
#include "launch/submit/progress.h"

#include "k8s/client/object.h"
#include "k8s/reconcile/pod_json.h"
#include "k8s/reconcile/sentence.h"
#include "k8s/render/names.h"
#include "launch/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DETAIL 256
#define ALONE 2u /* so many changes of one kind are still told by name */

enum state { CREATED, WAITING, RUNNING, SUCCEEDED, LOST, LEAVING };

/* What is said of a pod that gets into a state. */
static const struct words {
    const char *event, *one, *many; /* of the pod; of several */
    enum screen_tone tone;
} words[] = {
    [CREATED] = {"pod_created", "is created", "are created", SCREEN_PLAIN},
    [WAITING] = {"pod_pending", "is pending", "are pending", SCREEN_BAD},
    [RUNNING] = {"pod_running", "runs", "run", SCREEN_GOOD},
    [SUCCEEDED] = {"pod_succeeded", "has finished", "have finished", SCREEN_PLAIN},
    [LOST] = {"pod_lost", "is lost", "are lost", SCREEN_BAD},
    [LEAVING] = {"pod_deleted", "goes", "go", SCREEN_QUIET},
};

struct progress {
    char *job;
    char uid[64];    /* of the Job; "": not seen yet */
    json_t *pods;    /* {NAME: {uid, state, detail, worker, place}} */
    json_t *places;  /* {PLACE: {name, created} of the last pod there} */
    json_t *events;  /* {NAME: {}} of Events that were said */
    json_t *changes; /* what is to be said */
    enum progress_end end;
    bool suspended;
};

struct progress *progress_new(const char *job)
{
    struct progress *progress = calloc(1, sizeof *progress);

    if (progress == NULL)
        return NULL;
    progress->job = strdup(job);
    progress->pods = json_object();
    progress->places = json_object();
    progress->events = json_object();
    progress->changes = json_array();
    if (progress->job == NULL || progress->pods == NULL || progress->places == NULL ||
        progress->events == NULL || progress->changes == NULL) {
        progress_free(progress);
        return NULL;
    }
    return progress;
}

void progress_free(struct progress *progress)
{
    if (progress == NULL)
        return;
    free(progress->job);
    json_decref(progress->pods);
    json_decref(progress->places);
    json_decref(progress->events);
    json_decref(progress->changes);
    free(progress);
}

/* ---- pods ----------------------------------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static bool is_worker(const json_t *pod)
{
    const json_t *labels = json_object_get(json_object_get(pod, "metadata"), "labels");

    return strcmp(text_at(labels, LABEL_ROLE), "worker") == 0;
}

/* Waiting for these is what every pod does. */
static bool is_usual(const char *reason)
{
    return *reason == '\0' || strcmp(reason, "ContainerCreating") == 0 ||
           strcmp(reason, "PodInitializing") == 0;
}

static void put_reason(char *detail, const char *reason, const char *message)
{
    char clean[DETAIL];

    text_append(detail, DETAIL, "%s", reason);
    sentence_clean(clean, sizeof clean, message);
    if (clean[0] != '\0')
        text_append(detail, DETAIL, "%s%s", reason[0] != '\0' ? ": " : "", clean);
}

static void put_end(char *detail, const struct pod_seen *seen)
{
    if (seen->reason[0] != '\0')
        put_reason(detail, seen->reason, seen->message);
    else if (seen->ended && seen->signal > 0)
        text_append(detail, DETAIL, "signal %d", seen->signal);
    else if (seen->ended)
        text_append(detail, DETAIL, "exit code %d", seen->exit_code);
    if (seen->ended && strcmp(seen->end_reason, "OOMKilled") == 0)
        text_append(detail, DETAIL, ", out of memory");
}

/* The state, and what is to be said with it. */
static enum state state_of(const struct pod_seen *seen, char detail[DETAIL])
{
    detail[0] = '\0';
    if (seen->deleting) {
        if (seen->disrupted)
            put_reason(detail, seen->disruption, seen->disruption_message);
        return LEAVING;
    }
    if (seen->phase == SEEN_FAILED) {
        put_end(detail, seen);
        return LOST;
    }
    if (seen->phase == SEEN_SUCCEEDED)
        return SUCCEEDED;
    if (seen->phase == SEEN_RUNNING && (seen->running || is_usual(seen->wait_reason))) {
        if (seen->node[0] != '\0')
            text_append(detail, DETAIL, "on %s", seen->node);
        return RUNNING;
    }
    if (is_usual(seen->wait_reason))
        return CREATED;
    put_reason(detail, seen->wait_reason, seen->wait_message);
    return WAITING;
}

static void add_change(struct progress *progress, json_t *pod, enum state state, const char *name,
                       const char *detail)
{
    json_t *change =
        json_pack("{s:i,s:b,s:s,s:s}", "state", (int)state, "worker",
                  json_is_true(json_object_get(pod, "worker")), "pod", name, "detail", detail);

    if (json_object_get(pod, "replaces") != NULL && state != LEAVING)
        json_object_set(change, "replaces", json_object_get(pod, "replaces"));
    json_object_del(pod, "replaces"); /* told once */
    json_array_append_new(progress->changes, change);
}

/* The last pod at a place; one that was made later takes over from it. */
static void take_place(struct progress *progress, const json_t *object, const struct pod_seen *seen,
                       json_t *pod)
{
    const char *created = text_at(json_object_get(object, "metadata"), "creationTimestamp");
    const json_t *before;
    char place[16];

    snprintf(place, sizeof place, "%u", seen->place);
    before = json_object_get(progress->places, place);
    if (before != NULL && strcmp(created, text_at(before, "created")) < 0)
        return;
    if (before != NULL && strcmp(text_at(before, "name"), seen->name) != 0)
        json_object_set(pod, "replaces", json_object_get(before, "name"));
    json_object_set_new(progress->places, place,
                        json_pack("{s:s,s:s}", "name", seen->name, "created", created));
}

static json_t *new_pod(struct progress *progress, const json_t *object, const struct pod_seen *seen)
{
    json_t *pod = json_pack("{s:s,s:i,s:s,s:b}", "uid", seen->uid, "state", -1, "detail", "",
                            "worker", is_worker(object));

    if (pod == NULL || json_object_set_new(progress->pods, seen->name, pod) != 0)
        return NULL;
    if (is_worker(object) && seen->place != SEEN_NO_PLACE)
        take_place(progress, object, seen, pod);
    return pod;
}

void progress_pod(struct progress *progress, const json_t *object)
{
    struct pod_seen seen;
    char detail[DETAIL];
    enum state state;
    json_int_t before;
    json_t *pod;

    if (!pod_json_read(object, &seen))
        return;
    pod = json_object_get(progress->pods, seen.name);
    if (pod == NULL || strcmp(text_at(pod, "uid"), seen.uid) != 0)
        pod = new_pod(progress, object, &seen);
    if (pod == NULL)
        return;
    state = state_of(&seen, detail);
    before = json_integer_value(json_object_get(pod, "state"));
    if (before == (json_int_t)state &&
        (state != WAITING || strcmp(text_at(pod, "detail"), detail) == 0))
        return;
    if (state == LEAVING && (before == LOST || before == SUCCEEDED))
        return; /* only its object goes */
    json_object_set_new(pod, "state", json_integer(state));
    json_object_set_new(pod, "detail", json_string(detail));
    add_change(progress, pod, state, seen.name, detail);
}

void progress_pod_gone(struct progress *progress, const json_t *object)
{
    const char *name = object_name(object);
    json_t *pod = json_object_get(progress->pods, name);
    json_int_t state = json_integer_value(json_object_get(pod, "state"));

    if (pod == NULL || strcmp(text_at(pod, "uid"), object_uid(object)) != 0)
        return;
    if (state == CREATED || state == WAITING || state == RUNNING)
        add_change(progress, pod, LEAVING, name, "");
    json_object_del(progress->pods, name);
}

/* ---- the Job -------------------------------------------------------------------------------- */

static void add_text(struct progress *progress, const char *event, enum screen_tone tone,
                     const char *text)
{
    json_array_append_new(progress->changes, json_pack("{s:s,s:i,s:s}", "event", event, "tone",
                                                       (int)tone, "text", text));
}

static bool is_true(const json_t *status, const char *type)
{
    size_t at;
    json_t *condition;

    json_array_foreach(json_object_get(status, "conditions"), at, condition)
    {
        if (strcmp(text_at(condition, "type"), type) == 0)
            return strcmp(text_at(condition, "status"), "True") == 0;
    }
    return false;
}

void progress_job(struct progress *progress, const json_t *job)
{
    const json_t *status = json_object_get(job, "status");
    bool suspended = json_is_true(json_object_get(json_object_get(job, "spec"), "suspend"));
    char text[200];

    snprintf(progress->uid, sizeof progress->uid, "%s", object_uid(job));
    if (is_true(status, "Complete"))
        progress->end = PROGRESS_SUCCEEDED;
    else if (is_true(status, "Failed"))
        progress->end = PROGRESS_FAILED;
    if (suspended == progress->suspended)
        return;
    progress->suspended = suspended;
    snprintf(text, sizeof text, "job %.120s is %s", progress->job,
             suspended ? "suspended: no pods run until it is resumed" : "resumed");
    add_text(progress, suspended ? "job_suspended" : "job_resumed", SCREEN_PLAIN, text);
}

void progress_job_gone(struct progress *progress, const json_t *job)
{
    if (strcmp(progress->uid, object_uid(job)) == 0 && progress->end == PROGRESS_RUNS)
        progress->end = PROGRESS_DELETED;
}

enum progress_end progress_end(const struct progress *progress)
{
    return progress->end;
}

/* ---- Events --------------------------------------------------------------------------------- */

/* Of the Job itself: warnings of anybody, and all that the coordinator says. */
static bool is_worth_saying(const struct progress *progress, const json_t *event)
{
    const json_t *about = json_object_get(event, "involvedObject");

    if (progress->uid[0] == '\0' || strcmp(text_at(about, "uid"), progress->uid) != 0)
        return false;
    return strcmp(text_at(event, "type"), "Warning") == 0 ||
           strncmp(text_at(event, "reportingComponent"), "reknit.dev/", 11) == 0;
}

void progress_event(struct progress *progress, const json_t *event)
{
    const char *name = object_name(event);
    char clean[DETAIL + 128];
    char text[sizeof clean + 128];

    if (!is_worth_saying(progress, event) || json_object_get(progress->events, name) != NULL)
        return;
    json_object_set_new(progress->events, name, json_true());
    sentence_clean(clean, sizeof clean, text_at(event, "message"));
    snprintf(text, sizeof text, "%.100s: %s", text_at(event, "reason"), clean);
    add_text(progress, "cluster_event",
             strcmp(text_at(event, "type"), "Warning") == 0 ? SCREEN_BAD : SCREEN_PLAIN, text);
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* Two changes that one line can tell: the same state for the same reason.  On which node a pod runs
 * is no reason. */
static bool are_alike(const json_t *a, const json_t *b)
{
    const json_t *state = json_object_get(a, "state");

    if (state == NULL || !json_equal(state, json_object_get(b, "state")) ||
        !json_equal(json_object_get(a, "worker"), json_object_get(b, "worker")) ||
        json_object_get(a, "replaces") != NULL || json_object_get(b, "replaces") != NULL)
        return false;
    return json_integer_value(state) == RUNNING ||
           json_equal(json_object_get(a, "detail"), json_object_get(b, "detail"));
}

/* Those of `changes` that are like the first one. */
static json_t *gather(const json_t *changes)
{
    const json_t *first = json_array_get(changes, 0);
    json_t *alike = json_array();
    size_t at;
    json_t *change;

    json_array_foreach(changes, at, change)
    {
        if (are_alike(first, change))
            json_array_append(alike, json_object_get(change, "pod"));
    }
    return alike;
}

static void remove_alike(json_t *changes, json_t *first)
{
    for (size_t at = json_array_size(changes); at-- > 0;) {
        const json_t *change = json_array_get(changes, at);

        if (change != first && are_alike(first, change))
            json_array_remove(changes, at);
    }
}

static void tell_one(const json_t *change, const struct words *say, struct progress_line *line)
{
    const char *replaces = text_at(change, "replaces");

    snprintf(line->text, sizeof line->text, "%s pod %s %s",
             json_is_true(json_object_get(change, "worker")) ? "worker" : "coordinator",
             text_at(change, "pod"), say->one);
    if (*replaces != '\0')
        text_append(line->text, sizeof line->text, " in place of %s", replaces);
}

/* Several that are alike are one line; up to ALONE of them are told one by one. */
static void tell_pods(struct progress *progress, json_t *change, struct progress_line *line)
{
    const struct words *say = &words[json_integer_value(json_object_get(change, "state"))];
    json_t *alike = gather(progress->changes);
    size_t count = json_array_size(alike);
    const char *detail = text_at(change, "detail");

    line->event = say->event;
    line->tone = say->tone;
    if (count <= ALONE) {
        tell_one(change, say, line);
        line->fields = json_pack("{s:s,s:s,s:O}", "pod", text_at(change, "pod"), "detail", detail,
                                 "worker", json_object_get(change, "worker"));
    } else {
        snprintf(line->text, sizeof line->text, "%zu %s pods %s", count,
                 json_is_true(json_object_get(change, "worker")) ? "worker" : "coordinator",
                 say->many);
        line->fields = json_pack("{s:O,s:s,s:O}", "pods", alike, "detail", detail, "worker",
                                 json_object_get(change, "worker"));
        remove_alike(progress->changes, change);
        if (say == &words[RUNNING])
            detail = "";
    }
    json_decref(alike);
    if (*detail != '\0')
        text_append(line->text, sizeof line->text, "%s%s", say == &words[RUNNING] ? " " : ": ",
                    detail);
}

bool progress_take(struct progress *progress, struct progress_line *line)
{
    json_t *change = json_incref(json_array_get(progress->changes, 0));

    if (change == NULL)
        return false;
    *line = (struct progress_line){.event = ""};
    if (json_object_get(change, "state") != NULL) {
        tell_pods(progress, change, line);
    } else {
        snprintf(line->text, sizeof line->text, "%s", text_at(change, "text"));
        line->tone = (enum screen_tone)json_integer_value(json_object_get(change, "tone"));
        line->event = strcmp(text_at(change, "event"), "cluster_event") == 0   ? "cluster_event"
                      : strcmp(text_at(change, "event"), "job_suspended") == 0 ? "job_suspended"
                                                                               : "job_resumed";
    }
    json_array_remove(progress->changes, 0);
    json_decref(change);
    return true;
}

const char *progress_summary(const struct progress *progress, char *out, size_t size)
{
    unsigned running = 0;
    unsigned workers = 0;
    const char *coordinator = "is awaited";
    const char *name;
    json_t *pod;

    json_object_foreach(progress->pods, name, pod)
    {
        json_int_t state = json_integer_value(json_object_get(pod, "state"));
        bool runs = state == RUNNING;

        if (json_is_true(json_object_get(pod, "worker"))) {
            workers += state <= RUNNING;
            running += runs;
        } else if (runs) {
            coordinator = "runs";
        }
    }
    out[0] = '\0';
    text_append(out, size, "%u/%u workers run, the coordinator %s%s", running, workers, coordinator,
                progress->suspended ? ", suspended" : "");
    return out;
}
