/* Objects as a test needs them; see stage.h. */
#include "tests/operator/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char job_text[] =
    "{'apiVersion': 'kubeflow.org/v2beta1', 'kind': 'MPIJob',"
    " 'metadata': {'namespace': 'n', 'uid': 'u-mpijob', 'resourceVersion': '1', 'generation': 1},"
    " 'spec': {'runPolicy': {}, 'mpiReplicaSpecs': {"
    "  'Launcher': {'template': {'spec': {'containers': [{'name': 'm', 'image': 'i:1',"
    "    'command': ['mpirun', 'x']}]}}},"
    "  'Worker': {'template': {'spec': {'containers': [{'name': 'm', 'image': 'i:1'}]}}}}}}";

static json_t *parse(const char *text)
{
    char *copy = strdup(text);
    json_t *value;

    for (char *c = copy; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    value = json_loads(copy, 0, NULL);
    free(copy);
    assert_non_null(value);
    return value;
}

json_t *stage_mpijob(const char *name, uint32_t workers)
{
    json_t *object = parse(job_text);

    stage_set(object, "metadata.name", json_string(name));
    stage_set(object, "spec.mpiReplicaSpecs.Worker.replicas", json_integer(workers));
    return object;
}

void stage_open(struct stage *stage, uint32_t workers)
{
    *stage = (struct stage){.options = {.gang = RENDER_GANG_NONE, .coordinator_role = "role"}};
    stage->seen.mpijob = stage_mpijob("j", workers);
    stage->seen.pods = json_object();
    stage->seen.wall = STAGE_WALL;
    stage->plan.again = PLAN_NEVER;
}

static void drop(const json_t *object)
{
    json_decref((json_t *)(uintptr_t)object);
}

void stage_close(struct stage *stage)
{
    plan_done(&stage->plan);
    drop(stage->seen.mpijob);
    drop(stage->seen.job);
    drop(stage->seen.service);
    drop(stage->seen.config);
    drop(stage->seen.record);
    drop(stage->seen.group);
    drop(stage->seen.pods);
}

void stage_look(struct stage *stage)
{
    struct rk_why why = {""};

    plan_done(&stage->plan);
    assert_int_equal(plan_make(&stage->options, &stage->seen, &stage->plan, &why), 0);
}

/* ---- paths ----------------------------------------------------------------------------------- */

const json_t *stage_get(const json_t *object, const char *path)
{
    char key[64];

    while (object != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");

        snprintf(key, sizeof key, "%.*s", (int)length, path);
        object = json_object_get(object, key);
        path += length + (path[length] == '.');
    }
    return object;
}

void stage_set(const json_t *object, const char *path, json_t *value)
{
    json_t *at = (json_t *)(uintptr_t)object;
    char key[64];

    for (;;) {
        size_t length = strcspn(path, ".");

        snprintf(key, sizeof key, "%.*s", (int)length, path);
        path += length;
        if (*path == '\0')
            break;
        path++;
        if (json_object_get(at, key) == NULL)
            json_object_set_new(at, key, json_object());
        at = json_object_get(at, key);
    }
    json_object_set_new(at, key, value);
}

void stage_merge(json_t *object, const json_t *patch)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)patch, key, value)
    {
        json_t *there = json_object_get(object, key);

        if (json_is_null(value))
            json_object_del(object, key);
        else if (json_is_object(value) && json_is_object(there))
            stage_merge(there, value);
        else
            json_object_set_new(object, key, json_deep_copy(value));
    }
}

/* ---- doing what a plan says ------------------------------------------------------------------ */

static const json_t **place_of(struct stage *stage, const struct plan_call *call)
{
    struct plan_seen *seen = &stage->seen;

    if (strcmp(call->plural, "jobs") == 0)
        return &seen->job;
    if (strcmp(call->plural, "services") == 0)
        return &seen->service;
    if (strcmp(call->plural, "podgroups") == 0)
        return &seen->group;
    if (strcmp(call->plural, "mpijobs") == 0)
        return &seen->mpijob;
    if (strcmp(call->plural, "configmaps") == 0)
        return strcmp(call->name, "j-record") == 0 ? &seen->record : &seen->config;
    return NULL;
}

static void move_version(const json_t *object)
{
    const char *before = json_string_value(stage_get(object, "metadata.resourceVersion"));
    char next[24];

    snprintf(next, sizeof next, "%ld", before != NULL ? strtol(before, NULL, 10) + 1 : 1);
    stage_set(object, "metadata.resourceVersion", json_string(next));
}

static void take_create(struct stage *stage, const struct plan_call *call)
{
    const json_t **place = place_of(stage, call);
    json_t *copy = json_deep_copy(call->body);
    char uid[40];

    snprintf(uid, sizeof uid, "u-%.30s", call->name);
    stage_set(copy, "metadata.uid", json_string(uid));
    move_version(copy);
    if (strcmp(call->plural, "pods") == 0)
        json_object_set((json_t *)(uintptr_t)stage->seen.pods, call->name, copy);
    if (place != NULL && *place == NULL)
        *place = json_incref(copy);
    json_decref(copy);
}

static void take(struct stage *stage, const struct plan_call *call)
{
    const json_t **place = place_of(stage, call);

    switch (call->kind) {
    case PLAN_CREATE:
        take_create(stage, call);
        break;
    case PLAN_PATCH:
        assert_string_equal(json_string_value(stage_get(call->body, "metadata.resourceVersion")),
                            json_string_value(stage_get(*place, "metadata.resourceVersion")));
        stage_merge((json_t *)(uintptr_t)*place, call->body);
        move_version(*place);
        break;
    case PLAN_STATUS:
        stage_set(stage->seen.mpijob, "status", json_deep_copy(call->body));
        move_version(stage->seen.mpijob);
        break;
    case PLAN_DELETE:
        if (place == NULL) {
            json_object_del((json_t *)(uintptr_t)stage->seen.pods, call->name);
        } else {
            drop(*place);
            *place = NULL;
        }
        break;
    default:
        break;
    }
}

void stage_do(struct stage *stage)
{
    for (size_t i = 0; i < stage->plan.count; i++)
        take(stage, &stage->plan.call[i]);
    if (stage->seen.mpijob != NULL)
        stage_look(stage);
}

void stage_settle(struct stage *stage)
{
    stage_look(stage);
    for (int turn = 0; stage->plan.count > 0; turn++) {
        assert_true(turn < 20);
        stage_do(stage);
    }
}

/* ---- looking at it --------------------------------------------------------------------------- */

size_t stage_count(const struct stage *stage, enum plan_kind kind, const char *plural)
{
    size_t count = 0;

    for (size_t i = 0; i < stage->plan.count; i++)
        count +=
            stage->plan.call[i].kind == kind && strcmp(stage->plan.call[i].plural, plural) == 0;
    return count;
}

const struct plan_call *stage_call(const struct stage *stage, enum plan_kind kind,
                                   const char *plural)
{
    for (size_t i = 0; i < stage->plan.count; i++)
        if (stage->plan.call[i].kind == kind && strcmp(stage->plan.call[i].plural, plural) == 0)
            return &stage->plan.call[i];
    return NULL;
}

json_t *stage_pod(struct stage *stage, const char *name, int place, const char *phase)
{
    json_t *pod =
        json_pack("{s:s,s:{s:s,s:s,s:s+,s:{s:s,s:s}},s:{s:s},s:{s:s}}", "kind", "Pod", "metadata",
                  "name", name, "namespace", "n", "uid", "u-", name, "labels", "reknit.dev/job",
                  "j", "training.kubeflow.org/job-role", place < 0 ? "launcher" : "worker", "spec",
                  "nodeName", "node-7", "status", "phase", phase);
    char text[16];

    assert_non_null(pod);
    if (place >= 0) {
        snprintf(text, sizeof text, "%d", place);
        json_object_set_new(json_object_get(pod, "metadata"), "annotations",
                            json_pack("{s:s}", "reknit.dev/place", text));
    }
    json_object_set_new((json_t *)(uintptr_t)stage->seen.pods, name, pod);
    return pod;
}

const char *stage_condition(const struct stage *stage, const char *type, const char *key)
{
    const json_t *conditions = stage_get(stage->seen.mpijob, "status.conditions");

    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *one = json_array_get(conditions, i);
        const char *text = json_string_value(json_object_get(one, key));

        if (strcmp(json_string_value(json_object_get(one, "type")), type) == 0)
            return text != NULL ? text : "";
    }
    return "";
}
