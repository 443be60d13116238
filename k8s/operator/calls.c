/* The list of calls in the making; see inside.h. */
#include "k8s/operator/inside.h"

#include "k8s/client/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void making_fail(struct making *making, int rc)
{
    if (making->rc == 0)
        making->rc = rk_fail(making->why, rc, "no memory for what a job needs");
}

/* `body` is taken; it may be NULL only where there is none. */
static void add(struct making *making, struct plan_call call)
{
    struct plan *plan = making->plan;
    struct plan_call *grown = NULL;

    if (making->rc == 0)
        grown = realloc(plan->call, (plan->count + 1) * sizeof *grown);
    if (grown == NULL) {
        json_decref(call.body);
        making_fail(making, RK_ENOMEM);
        return;
    }
    plan->call = grown;
    grown[plan->count++] = call;
}

static struct plan_call begin(enum plan_kind kind, const char *version, const char *plural,
                              const char *name)
{
    struct plan_call call = {.kind = kind, .version = version, .plural = plural};

    snprintf(call.name, sizeof call.name, "%s", name);
    return call;
}

static void add_with_body(struct making *making, struct plan_call call, json_t *body)
{
    call.body = body;
    if (body == NULL)
        making_fail(making, RK_ENOMEM);
    else
        add(making, call);
}

void making_create(struct making *making, const char *version, const char *plural, json_t *body)
{
    add_with_body(making, begin(PLAN_CREATE, version, plural, object_name(body)), body);
}

void making_secret(struct making *making)
{
    struct plan_call call = begin(PLAN_SECRET, "v1", "secrets", "");

    snprintf(call.name, sizeof call.name, "%s-reknit", making->name);
    snprintf(call.uid, sizeof call.uid, "%s", making->uid);
    add(making, call);
}

void making_patch(struct making *making, const char *version, const char *plural,
                  const json_t *object, json_t *change)
{
    json_t *metadata = json_object_get(change, "metadata");

    if (metadata == NULL && change != NULL) {
        metadata = json_object();
        if (json_object_set_new(change, "metadata", metadata) != 0)
            making_fail(making, RK_ENOMEM);
    }
    if (json_object_set_new(metadata, "resourceVersion", json_string(object_version(object))) != 0)
        making_fail(making, RK_ENOMEM);
    add_with_body(making, begin(PLAN_PATCH, version, plural, object_name(object)), change);
}

void making_delete(struct making *making, const char *version, const char *plural,
                   const json_t *object)
{
    struct plan_call call = begin(PLAN_DELETE, version, plural, object_name(object));

    if (json_object_get(json_object_get(object, "metadata"), "deletionTimestamp") != NULL)
        return;
    snprintf(call.uid, sizeof call.uid, "%s", object_uid(object));
    add(making, call);
}

void making_status(struct making *making, json_t *status)
{
    add_with_body(making, begin(PLAN_STATUS, "kubeflow.org/v2beta1", "mpijobs", making->name),
                  status);
}

void making_event(struct making *making, bool warning, const char *reason, const char *note)
{
    struct plan *plan = making->plan;

    if (plan->events == PLAN_MAX_EVENTS)
        return;
    plan->event[plan->events].warning = warning;
    plan->event[plan->events].reason = reason;
    snprintf(plan->event[plan->events++].note, PLAN_NOTE, "%s", note);
}

void making_again(struct making *making, uint64_t wall)
{
    if (wall < making->plan->again)
        making->plan->again = wall;
}
