/* Reads a Pod object; see pod_json.h.  The main container is the first of the spec: its status is
 * found by name, since statuses stand in an order of their own. */
#include "k8s/reconcile/pod_json.h"

#include "common/number.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_GRACE_S 30

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static int64_t number_of(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static int32_t code_of(const json_t *object, const char *key)
{
    int64_t code = number_of(object, key, 0);

    return code >= 0 && code <= INT32_MAX ? (int32_t)code : 0;
}

static uint32_t annotation(const json_t *annotations, const char *key, uint32_t otherwise)
{
    uint64_t value;

    return rk_number_parse(text_of(annotations, key), 0, UINT32_MAX - 1, &value) ? (uint32_t)value
                                                                                 : otherwise;
}

/* ---- times -------------------------------------------------------------------------------------
 */

/* Days since 1970 of a date of the Gregorian calendar: months are counted from March, so that a
 * leap day is a year's last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* `width` digits followed by `end`; -1 when they are not. */
static int64_t digits(const char **text, int width, char end)
{
    int64_t value = 0;

    for (int i = 0; i < width; i++) {
        char c = (*text)[i];

        if (c < '0' || c > '9')
            return -1;
        value = 10 * value + (c - '0');
    }
    *text += width;
    if (end != '\0' && **text != end)
        return -1;
    *text += end != '\0';
    return value;
}

int64_t pod_json_time(const char *text)
{
    static const struct {
        int width;
        char end;
        int64_t least, most;
    } parts[6] = {{4, '-', 1970, 9999}, {2, '-', 1, 12}, {2, 'T', 1, 31},
                  {2, ':', 0, 23},      {2, ':', 0, 59}, {2, '\0', 0, 60}};
    int64_t part[6];

    for (int i = 0; i < 6; i++) {
        part[i] = digits(&text, parts[i].width, parts[i].end);
        if (part[i] < parts[i].least || part[i] > parts[i].most)
            return 0;
    }
    if (*text != 'Z' && *text != '.')
        return 0;
    return ((days_of(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4]) * 60 + part[5];
}

/* ---- containers --------------------------------------------------------------------------------
 */

static void read_end(const json_t *terminated, struct pod_seen *seen)
{
    int64_t finished = pod_json_time(text_of(terminated, "finishedAt"));

    seen->ended = true;
    seen->exit_code = code_of(terminated, "exitCode");
    seen->signal = code_of(terminated, "signal");
    seen->end_reason = text_of(terminated, "reason");
    seen->end_message = text_of(terminated, "message");
    if (finished > 0)
        seen->ended_s = finished;
}

static void read_wait(const json_t *state, struct pod_seen *seen)
{
    const json_t *waiting = json_object_get(state, "waiting");

    if (!json_is_object(waiting))
        return;
    seen->wait_reason = text_of(waiting, "reason");
    seen->wait_message = text_of(waiting, "message");
}

static const json_t *status_named(const json_t *statuses, const char *name)
{
    size_t i;
    const json_t *status;

    json_array_foreach(statuses, i, status)
    {
        if (strcmp(text_of(status, "name"), name) == 0)
            return status;
    }
    return NULL;
}

static void read_main(const json_t *spec, const json_t *status, struct pod_seen *seen)
{
    const json_t *first = json_array_get(json_object_get(spec, "containers"), 0);
    const json_t *container =
        status_named(json_object_get(status, "containerStatuses"), text_of(first, "name"));
    const json_t *state = json_object_get(container, "state");
    const json_t *terminated = json_object_get(state, "terminated");
    const json_t *before = json_object_get(json_object_get(container, "lastState"), "terminated");

    seen->running = json_is_object(json_object_get(state, "running"));
    seen->restarted = number_of(container, "restartCount", 0) > 0 || json_is_object(before);
    read_wait(state, seen);
    if (json_is_object(terminated))
        read_end(terminated, seen);
    else if (json_is_object(before))
        read_end(before, seen);
}

static bool init_is_well(const json_t *container)
{
    const json_t *state = json_object_get(container, "state");
    const json_t *terminated = json_object_get(state, "terminated");

    return json_is_object(json_object_get(state, "running")) ||
           (json_is_object(terminated) && code_of(terminated, "exitCode") == 0);
}

/* The first init container that is not done says why the pod waits, or how it failed. */
static void read_init(const json_t *status, struct pod_seen *seen)
{
    size_t i;
    const json_t *container;

    json_array_foreach(json_object_get(status, "initContainerStatuses"), i, container)
    {
        const json_t *state = json_object_get(container, "state");
        const json_t *terminated = json_object_get(state, "terminated");

        if (init_is_well(container))
            continue;
        if (json_is_object(terminated) && seen->phase == SEEN_FAILED && !seen->ended)
            read_end(terminated, seen);
        if (json_is_object(json_object_get(state, "waiting")))
            read_wait(state, seen);
        return;
    }
}

/* ---- the pod -----------------------------------------------------------------------------------
 */

static void read_condition(const json_t *condition, struct pod_seen *seen)
{
    const char *type = text_of(condition, "type");
    bool is_true = strcmp(text_of(condition, "status"), "True") == 0;

    if (strcmp(type, "Ready") == 0) {
        seen->ready = is_true;
    } else if (strcmp(type, "DisruptionTarget") == 0 && is_true) {
        seen->disrupted = true;
        seen->disruption = text_of(condition, "reason");
        seen->disruption_message = text_of(condition, "message");
    } else if (strcmp(type, "PodScheduled") == 0 && !is_true) {
        seen->wait_reason = text_of(condition, "reason");
        seen->wait_message = text_of(condition, "message");
    }
}

static enum seen_phase phase_of(const char *text)
{
    static const char *const names[] = {"Pending", "Running", "Succeeded", "Failed", "Unknown"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum seen_phase)i;
    return SEEN_PENDING;
}

static void read_metadata(const json_t *metadata, struct pod_seen *seen)
{
    const json_t *annotations = json_object_get(metadata, "annotations");
    size_t i;
    const json_t *owner;

    seen->name = text_of(metadata, "name");
    seen->uid = text_of(metadata, "uid");
    seen->ticket = annotation(annotations, POD_TICKET, 0);
    seen->place = annotation(annotations, POD_PLACE, SEEN_NO_PLACE);
    seen->avoids = text_of(annotations, POD_AVOIDS);
    seen->deleting = text_of(metadata, "deletionTimestamp")[0] != '\0';
    seen->deleting_s = pod_json_time(text_of(metadata, "deletionTimestamp"));
    seen->ended_s = pod_json_time(text_of(metadata, "creationTimestamp"));
    seen->owner = "";
    json_array_foreach(json_object_get(metadata, "ownerReferences"), i, owner)
    {
        if (i == 0 || json_is_true(json_object_get(owner, "controller")))
            seen->owner = text_of(owner, "uid");
    }
}

static uint32_t grace_of(const json_t *metadata, const json_t *spec)
{
    int64_t grace = number_of(spec, "terminationGracePeriodSeconds", DEFAULT_GRACE_S);

    grace = number_of(metadata, "deletionGracePeriodSeconds", grace);
    return grace < 0 ? 0 : grace > INT32_MAX ? INT32_MAX : (uint32_t)grace;
}

bool pod_json_read(const json_t *pod, struct pod_seen *seen)
{
    const json_t *metadata = json_object_get(pod, "metadata");
    const json_t *spec = json_object_get(pod, "spec");
    const json_t *status = json_object_get(pod, "status");
    size_t i;
    const json_t *condition;

    *seen = (struct pod_seen){.disruption = "",
                              .disruption_message = "",
                              .end_reason = "",
                              .end_message = "",
                              .wait_reason = "",
                              .wait_message = ""};
    read_metadata(metadata, seen);
    seen->node = text_of(spec, "nodeName");
    seen->address = text_of(status, "podIP");
    seen->phase = phase_of(text_of(status, "phase"));
    seen->reason = text_of(status, "reason");
    seen->message = text_of(status, "message");
    seen->grace_s = grace_of(metadata, spec);
    json_array_foreach(json_object_get(status, "conditions"), i, condition)
    {
        read_condition(condition, seen);
    }
    read_main(spec, status, seen);
    read_init(status, seen);
    return seen->name[0] != '\0' && seen->uid[0] != '\0';
}

/* ---- what of it is worth keeping ---------------------------------------------------------------
 */

/* `names`: ended by NULL. */
static void keep_only(json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, key, value)
    {
        size_t i = 0;

        while (names[i] != NULL && strcmp(names[i], key) != 0)
            i++;
        if (names[i] == NULL)
            json_object_del(object, key);
    }
}

static void trim_metadata(json_t *metadata)
{
    static const char *const kept[] = {"name",
                                       "namespace",
                                       "uid",
                                       "resourceVersion",
                                       "annotations",
                                       "creationTimestamp",
                                       "deletionTimestamp",
                                       "deletionGracePeriodSeconds",
                                       "ownerReferences",
                                       NULL};
    static const char *const annotations[] = {POD_TICKET, POD_PLACE, NULL};
    static const char *const owner[] = {"uid", "controller", NULL};
    json_t *owners = json_object_get(metadata, "ownerReferences");

    keep_only(metadata, kept);
    keep_only(json_object_get(metadata, "annotations"), annotations);
    for (size_t i = 0; i < json_array_size(owners); i++)
        keep_only(json_array_get(owners, i), owner);
}

static void trim_spec(json_t *spec)
{
    static const char *const kept[] = {"nodeName", "terminationGracePeriodSeconds", "containers",
                                       NULL};
    static const char *const container[] = {"name", NULL};
    json_t *containers = json_object_get(spec, "containers");

    keep_only(spec, kept);
    while (json_array_size(containers) > 1)
        json_array_remove(containers, json_array_size(containers) - 1);
    keep_only(json_array_get(containers, 0), container);
}

static void trim_conditions(json_t *conditions)
{
    static const char *const kept[] = {"type", "status", "reason", "message", NULL};
    size_t i = 0;

    while (i < json_array_size(conditions)) {
        json_t *condition = json_array_get(conditions, i);
        const char *type = text_of(condition, "type");
        bool scheduled =
            strcmp(type, "PodScheduled") == 0 && strcmp(text_of(condition, "status"), "True") == 0;

        keep_only(condition, kept);
        if (scheduled || (strcmp(type, "Ready") != 0 && strcmp(type, "DisruptionTarget") != 0 &&
                          strcmp(type, "PodScheduled") != 0))
            json_array_remove(conditions, i);
        else
            i++;
    }
}

static void trim_init(json_t *statuses)
{
    size_t i = 0;

    while (i < json_array_size(statuses))
        if (init_is_well(json_array_get(statuses, i)))
            json_array_remove(statuses, i);
        else
            i++;
}

static void trim_containers(json_t *statuses)
{
    static const char *const kept[] = {"name", "state", "lastState", "restartCount", NULL};
    static const char *const nothing[] = {NULL};

    for (size_t i = 0; i < json_array_size(statuses); i++) {
        json_t *status = json_array_get(statuses, i);

        keep_only(status, kept);
        if (json_object_size(json_object_get(status, "lastState")) == 0)
            json_object_del(status, "lastState");
        keep_only(json_object_get(json_object_get(status, "state"), "running"), nothing);
    }
}

void pod_json_trim(json_t *pod)
{
    static const char *const kept[] = {"metadata", "spec", "status", NULL};
    static const char *const status[] = {"phase",
                                         "podIP",
                                         "reason",
                                         "message",
                                         "conditions",
                                         "containerStatuses",
                                         "initContainerStatuses",
                                         NULL};
    json_t *told = json_object_get(pod, "status");

    keep_only(pod, kept);
    trim_metadata(json_object_get(pod, "metadata"));
    trim_spec(json_object_get(pod, "spec"));
    keep_only(told, status);
    trim_conditions(json_object_get(told, "conditions"));
    trim_containers(json_object_get(told, "containerStatuses"));
    trim_init(json_object_get(told, "initContainerStatuses"));
    trim_containers(json_object_get(told, "initContainerStatuses"));
}
