/* One condition of an MPIJob's status; see inside.h. */
#include "k8s/operator/inside.h"

#include "k8s/client/notices.h"
#include "k8s/client/when.h"

#include <string.h>

const char *condition_text(const json_t *condition, const char *key)
{
    const char *text = json_string_value(json_object_get(condition, key));

    return text != NULL ? text : "";
}

const json_t *condition_of(const json_t *status, const char *type)
{
    const json_t *conditions = json_object_get(status, "conditions");

    for (size_t i = 0; i < json_array_size(conditions); i++) {
        const json_t *condition = json_array_get(conditions, i);

        if (strcmp(condition_text(condition, "type"), type) == 0)
            return condition;
    }
    return NULL;
}

bool condition_is(const json_t *status, const char *type)
{
    return strcmp(condition_text(condition_of(status, type), "status"), "True") == 0;
}

static int put(json_t *condition, const char *key, const char *text)
{
    return json_object_set_new(condition, key, json_string(text));
}

static json_t *append(struct making *making, json_t *status, const char *type)
{
    json_t *conditions = json_object_get(status, "conditions");
    json_t *condition = json_pack("{s:s}", "type", type);

    if (!json_is_array(conditions)) {
        conditions = json_array();
        if (json_object_set_new(status, "conditions", conditions) != 0)
            making_fail(making, RK_ENOMEM);
    }
    if (making->rc != 0 || json_array_append_new(conditions, condition) != 0) {
        making_fail(making, RK_ENOMEM);
        return NULL;
    }
    return condition;
}

bool condition_set(struct making *making, json_t *status, const char *type, bool is,
                   const char *reason, const char *message)
{
    json_t *condition = (json_t *)(uintptr_t)condition_of(status, type);
    const char *value = is ? "True" : "False";
    char text[PLAN_NOTE + 1];
    char now[WHEN_SIZE];
    size_t length = notice_cut(message, PLAN_NOTE);
    bool moved;
    int rc;

    memcpy(text, message, length);
    text[length] = '\0';
    when_seconds(making->seen->wall, now);
    moved = strcmp(condition_text(condition, "status"), value) != 0;
    if (!moved && strcmp(condition_text(condition, "reason"), reason) == 0 &&
        strcmp(condition_text(condition, "message"), text) == 0)
        return false;
    if (condition == NULL)
        condition = append(making, status, type);
    rc = put(condition, "status", value) | put(condition, "reason", reason) |
         put(condition, "message", text) | put(condition, "lastUpdateTime", now);
    if (moved)
        rc |= put(condition, "lastTransitionTime", now);
    if (rc != 0)
        making_fail(making, RK_ENOMEM);
    return moved;
}
