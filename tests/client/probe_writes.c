/* The writes of client_probe. */
#include "k8s/client/write.h"
#include "tests/client/client_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct write_spec spec_of(struct probe_task *task, const json_t *command)
{
    return (struct write_spec){.version = probe_text(command, "version"),
                               .namespace = probe_text(command, "namespace"),
                               .plural = probe_text(command, "plural"),
                               .name = probe_text(command, "name"),
                               .subresource = probe_text(command, "subresource"),
                               .manager = probe_text(command, "manager"),
                               .dry_run = json_is_true(json_object_get(command, "dry_run")),
                               .deadline = probe_number(command, "deadline_ms") * RK_MS,
                               .done = probe_say_response,
                               .who = task};
}

void probe_do_create(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    struct rk_why why = {""};

    probe_check(task,
                write_create(task->probe->api, &spec, json_object_get(command, "object"),
                             probe_text(command, "owner"), &task->write, &why),
                &why);
}

void probe_do_replace(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    struct rk_why why = {""};

    probe_check(task,
                write_replace(task->probe->api, &spec, json_object_get(command, "object"),
                              &task->write, &why),
                &why);
}

void probe_do_patch(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    const char *kind = probe_text(command, "kind");
    const char *type =
        kind != NULL && strcmp(kind, "json") == 0 ? TYPE_JSON_PATCH : TYPE_MERGE_PATCH;
    struct rk_why why = {""};

    probe_check(task,
                write_patch(task->probe->api, &spec, type, json_object_get(command, "patch"),
                            &task->write, &why),
                &why);
}

void probe_do_apply(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    struct rk_why why = {""};

    probe_check(task,
                write_apply(task->probe->api, &spec, json_object_get(command, "object"),
                            json_is_true(json_object_get(command, "force")), &task->write, &why),
                &why);
}

/* Adds 1 to data.count, as text, and merges in what is wanted. */
static int change(void *who, json_t *object)
{
    struct probe_task *task = who;
    json_t *data = json_object_get(object, "data");
    json_t *add = json_object_get(task->wanted, "add");
    const char *count = json_string_value(json_object_get(data, "count"));
    char text[32];

    probe_say(task, "change", NULL);
    if (json_is_true(json_object_get(task->wanted, "nothing")))
        return WRITE_NOTHING;
    if (add != NULL) {
        snprintf(text, sizeof text, "%ld",
                 (count != NULL ? atol(count) : 0) + (long)json_integer_value(add));
        json_object_set_new(data, "count", json_string(text));
    }
    json_object_update_recursive(object, json_object_get(task->wanted, "merge"));
    return 0;
}

void probe_do_edit(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    struct rk_why why = {""};

    task->wanted = json_incref((json_t *)(uintptr_t)command);
    probe_check(task, write_edit(task->probe->api, &spec, change, &task->write, &why), &why);
}

void probe_do_delete(struct probe_task *task, const json_t *command)
{
    struct write_spec spec = spec_of(task, command);
    const json_t *grace = json_object_get(command, "grace_s");
    struct write_delete how = {.uid = probe_text(command, "uid"),
                               .version = probe_text(command, "resource_version"),
                               .grace_s = grace != NULL ? json_integer_value(grace) : -1,
                               .propagation = probe_text(command, "propagation")};
    struct rk_why why = {""};

    probe_check(task, write_delete(task->probe->api, &spec, &how, &task->write, &why), &why);
}
