/* Status objects; see status.h. */
#include "k8s/client/status.h"

#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

void status_read(struct response *response)
{
    const json_t *wait;

    response->reason = response->message = "";
    if (strcmp(text_of(response->body, "kind"), "Status") != 0)
        return;
    response->reason = text_of(response->body, "reason");
    response->message = text_of(response->body, "message");
    wait = json_object_get(json_object_get(response->body, "details"), "retryAfterSeconds");
    if (response->retry_after == 0 && json_integer_value(wait) > 0 &&
        json_integer_value(wait) < 100000)
        response->retry_after = (uint64_t)json_integer_value(wait) * RK_S;
}

int status_code(const struct response *response)
{
    switch (response->code) {
    case 400:
    case 415:
    case 422:
        return RK_EINVAL;
    case 401:
    case 403:
        return RK_EACCES;
    case 404:
        return RK_ENOENT;
    case 409:
        return strcmp(response->reason, "AlreadyExists") == 0 ? RK_EEXIST : RK_ESTATE;
    case 504:
        return RK_ETIMEDOUT;
    default:
        return response->code == 410 || response->code == 429 || response->code >= 500
                   ? RK_EUNAVAILABLE
                   : RK_EPROTO;
    }
}

bool status_has_cause(const json_t *status, const char *reason)
{
    const json_t *causes = json_object_get(json_object_get(status, "details"), "causes");

    for (size_t i = 0; i < json_array_size(causes); i++)
        if (strcmp(text_of(json_array_get(causes, i), "reason"), reason) == 0)
            return true;
    return false;
}
