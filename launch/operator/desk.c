/* One job: when it is looked at, what is asked for, what came of it; see controller.h.
 *
 * While calls of a plan are under way no other plan is made.  A plan whose calls all went well is
 * followed by the next when a watch shows something; one that failed is made anew after a wait that
 * doubles.  What is seen may be older than what was just done: each call can stand that. */
#include "launch/operator/controller.h"

#include "common/log.h"
#include "common/secret.h"
#include "k8s/client/object.h"
#include "k8s/manifest/mpijob.h"
#include "k8s/render/names.h"
#include "launch/pods/objects.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BETWEEN (50 * RK_MS) /* two plans of one job, so that a storm of its pods is one plan */
#define WAIT_FIRST (200 * RK_MS)
#define WAIT_MOST (60 * RK_S)
#define NOT_OURS 3u /* creates that meet another's object: it is no remnant that is about to go */
#define ANY_ENDPOINT "tcp://0.0.0.0:1" /* agents listen, and the coordinator knows where it is */

struct desk;

struct call {
    struct desk *desk;
    enum plan_kind kind;
    const char *plural; /* literal */
    struct write *write;
    struct call *next;
};

struct desk {
    struct controller *controller;
    char *namespace, *name;
    struct timer timer; /* of the next look */
    uint64_t looked_at;
    struct call *calls; /* under way */
    uint64_t again;     /* time alone makes it worth a look then; PLAN_NEVER */
    bool changed;       /* since the last look */
    bool failed;        /* one of the calls did */
    bool sending;       /* calls are being started: an end of one is not the last */
    struct backoff backoff;
    unsigned met; /* creates in a row that met another's object */
    json_t *mpijob;
    struct plan_event event[PLAN_MAX_EVENTS]; /* to be said when the status is taken */
    size_t events;
};

/* ---- the tree -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct desk *one = a;
    const struct desk *other = b;
    int order = strcmp(one->namespace, other->namespace);

    return order != 0 ? order : strcmp(one->name, other->name);
}

static struct desk *find(const struct controller *controller, const char *namespace,
                         const char *name)
{
    struct desk key = {.namespace = (char *)(uintptr_t) namespace, .name = (char *)(uintptr_t)name};
    struct desk **found = tfind(&key, (void *const *)&controller->desks, compare);

    return found != NULL ? *found : NULL;
}

static void look(void *who);

static void free_desk(struct desk *desk)
{
    while (desk->calls != NULL) {
        struct call *call = desk->calls;

        desk->calls = call->next;
        write_cancel(call->write);
        free(call);
    }
    timers_stop(&desk->controller->timers, &desk->timer);
    json_decref(desk->mpijob);
    free(desk->namespace);
    free(desk->name);
    free(desk);
}

static struct desk *new_desk(struct controller *controller, const char *namespace, const char *name)
{
    struct desk *desk = calloc(1, sizeof *desk);

    if (desk == NULL)
        return NULL;
    desk->controller = controller;
    desk->namespace = strdup(namespace);
    desk->name = strdup(name);
    desk->timer = (struct timer){.fire = look, .who = desk};
    desk->backoff = (struct backoff){.first = WAIT_FIRST, .most = WAIT_MOST, .healthy = WAIT_MOST};
    if (desk->namespace != NULL && desk->name != NULL &&
        tsearch(desk, &controller->desks, compare) != NULL)
        return desk;
    free_desk(desk);
    return NULL;
}

/* ---- when ------------------------------------------------------------------------------------ */

static void look_at(struct desk *desk, uint64_t due)
{
    if (desk->controller->leads && desk->calls == NULL &&
        (!desk->timer.set || due < desk->timer.due))
        timers_set(&desk->controller->timers, &desk->timer, due);
}

static void touch(struct desk *desk)
{
    uint64_t due = desk->looked_at != 0 ? desk->looked_at + BETWEEN : 0;

    desk->changed = true;
    if (!desk->failed)
        look_at(desk, due > desk->controller->now ? due : desk->controller->now);
}

void desk_touch(struct controller *controller, const char *namespace, const char *name)
{
    struct desk *desk = find(controller, namespace, name);
    struct plan_seen seen;

    if (desk == NULL && stock_look(controller, namespace, name, &seen) &&
        plan_takes(&controller->given.plan, seen.mpijob)) {
        desk = new_desk(controller, namespace, name);
        if (desk == NULL)
            rk_error_log("no memory for job %s/%s: it is looked at later", namespace, name);
    }
    if (desk != NULL)
        touch(desk);
}

void desk_drop(struct controller *controller, const char *namespace, const char *name)
{
    struct desk *desk = find(controller, namespace, name);

    if (desk == NULL)
        return;
    tdelete(desk, &controller->desks, compare);
    free_desk(desk);
}

void desk_touch_all(struct controller *controller)
{
    struct store_walk walk = {0};
    const json_t *mpijob;

    while ((mpijob = store_next(watch_store(controller->stock[STOCK_MPIJOBS].watch), &walk)) !=
           NULL)
        desk_touch(controller, object_namespace(mpijob), object_name(mpijob));
}

static void drop_whole(void *node)
{
    free_desk(node);
}

void desk_close(struct controller *controller)
{
    tdestroy(controller->desks, drop_whole);
    controller->desks = NULL;
}

void desk_halt(struct controller *controller)
{
    desk_close(controller);
}

static void count_one(const void *node, VISIT visit, void *count)
{
    (void)node;
    *(uint64_t *)count += visit == postorder || visit == leaf;
}

uint64_t desk_count(const struct controller *controller)
{
    uint64_t count = 0;

    twalk_r(controller->desks, count_one, &count);
    return count;
}

/* ---- what came of it ------------------------------------------------------------------------- */

static void say(struct desk *desk)
{
    struct rk_why why = {""};

    for (size_t i = 0; i < desk->events; i++) {
        const struct plan_event *event = &desk->event[i];
        struct notice notice = {.regarding = desk->mpijob,
                                .warning = event->warning,
                                .reason = event->reason,
                                .action = "Reconcile",
                                .note = event->note};

        rk_log(event->warning ? RK_LOG_WARN : RK_LOG_INFO, "job %s/%s %s: %s", desk->namespace,
               desk->name, event->reason, event->note);
        desk->controller->created += strcmp(event->reason, "MPIJobCreated") == 0;
        desk->controller->succeeded += strcmp(event->reason, "MPIJobSucceeded") == 0;
        desk->controller->failed += strcmp(event->reason, "MPIJobFailed") == 0;
        if (notices_say(desk->controller->notices, &notice, &why) != 0)
            rk_warn("job %s/%s: %s", desk->namespace, desk->name, why.text);
    }
    desk->events = 0;
}

/* All calls of the plan have come to an end. */
static void conclude(struct desk *desk)
{
    struct controller *controller = desk->controller;

    if (desk->failed) {
        look_at(desk,
                controller->now + backoff_fail(&desk->backoff, controller->now, &controller->draw));
        return;
    }
    backoff_reset(&desk->backoff);
    desk->met = 0;
    if (desk->changed)
        touch(desk);
    if (desk->again != PLAN_NEVER)
        look_at(desk, desk->again);
}

static void unlink_call(struct call *call)
{
    struct call **at = &call->desk->calls;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
}

/* An object that is ours by name and uid, and yet mpi-operator's. */
static bool is_foreign(const struct call *call, const struct response *response)
{
    const json_t *labels = json_object_get(json_object_get(response->body, "metadata"), "labels");

    return call->kind == PLAN_CREATE && strcmp(call->plural, "jobs") == 0 && response->rc == 0 &&
           json_object_get(labels, LABEL_JOB) == NULL;
}

static void take_failure(struct call *call, const struct response *response)
{
    struct desk *desk = call->desk;

    desk->failed = true;
    if (response->rc == RK_EEXIST)
        desk->met++;
    rk_warn("job %s/%s: %s %s: %s%s", desk->namespace, desk->name, plan_kind_name(call->kind),
            call->plural, response->why,
            response->code == 403 ? "; is that a right of the operator, see k8s/deploy?" : "");
}

static bool is_fine(const struct call *call, const struct response *response)
{
    if (response->rc == 0)
        return true;
    if (call->kind == PLAN_SECRET)
        return response->rc == RK_EEXIST;
    if (call->kind == PLAN_PATCH || call->kind == PLAN_STATUS)
        return response->rc == RK_ESTATE || response->rc == RK_ENOENT;
    return false;
}

static void on_done(void *who, const struct response *response)
{
    struct call *call = who;
    struct desk *desk = call->desk;

    if (is_foreign(call, response)) {
        desk->met = NOT_OURS;
        desk->failed = true;
    } else if (!is_fine(call, response)) {
        take_failure(call, response);
    } else if (call->kind == PLAN_STATUS && response->rc == 0) {
        say(desk);
    }
    unlink_call(call);
    free(call);
    if (desk->calls == NULL && !desk->sending)
        conclude(desk);
}

/* An account may be there already, whoever made it. */
static void on_shared(void *who, const struct response *response)
{
    struct response fine = *response;

    if (fine.rc == RK_EEXIST)
        fine.rc = 0;
    on_done(who, &fine);
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static json_t *secret_of(const struct desk *desk, const char *uid, struct rk_why *why)
{
    struct mpijob named = {.name = desk->name};
    struct secret secret;
    json_t *object = NULL;

    if (secret_make(&secret, ANY_ENDPOINT, why) == 0)
        object = objects_secret(&named, desk->namespace, uid, &secret);
    explicit_bzero(&secret, sizeof secret);
    if (json_object_set_new(json_object_get(object, "metadata"), "ownerReferences",
                            json_pack("[{s:s,s:s,s:s,s:s}]", "apiVersion", "kubeflow.org/v2beta1",
                                      "kind", MPIJOB_KIND, "name", desk->name, "uid", uid)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static int create(struct desk *desk, struct write_spec *spec, const struct plan_call *planned,
                  struct write **write, struct rk_why *why)
{
    const json_t *metadata = json_object_get(planned->body, "metadata");
    const json_t *owner = json_array_get(json_object_get(metadata, "ownerReferences"), 0);
    const char *uid = json_string_value(json_object_get(owner, "uid"));

    if (uid == NULL)
        spec->done = on_shared;
    return write_create(desk->controller->api, spec, planned->body, uid, write, why);
}

static int create_secret(struct desk *desk, const struct write_spec *spec, const char *uid,
                         struct write **write, struct rk_why *why)
{
    json_t *secret = secret_of(desk, uid, why);
    int rc = secret != NULL ? write_create(desk->controller->api, spec, secret, NULL, write, why)
                            : rk_fail(why, RK_ENOMEM, "no memory for the job's secret");

    json_decref(secret);
    return rc;
}

static int patch_status(struct desk *desk, struct write_spec *spec, const json_t *wanted,
                        struct write **write, struct rk_why *why)
{
    const json_t *seen = json_object_get(desk->mpijob, "status");
    json_t *none = json_object();
    json_t *patch =
        json_pack("{s:{s:s},s:o}", "metadata", "resourceVersion", object_version(desk->mpijob),
                  "status", write_difference(seen != NULL ? seen : none, wanted));
    int rc;

    spec->subresource = "status";
    rc = patch != NULL
             ? write_patch(desk->controller->api, spec, TYPE_MERGE_PATCH, patch, write, why)
             : rk_fail(why, RK_ENOMEM, "no memory for a status");
    json_decref(patch);
    json_decref(none);
    return rc;
}

static int send_call(struct desk *desk, const struct plan_call *planned, struct call *call,
                     struct rk_why *why)
{
    struct api *api = desk->controller->api;
    struct write_delete how = {.uid = planned->uid, .grace_s = -1, .propagation = "Background"};
    struct write_spec spec = {.version = planned->version,
                              .namespace = desk->namespace,
                              .plural = planned->plural,
                              .name = planned->name,
                              .done = on_done,
                              .who = call};

    switch (planned->kind) {
    case PLAN_CREATE:
        return create(desk, &spec, planned, &call->write, why);
    case PLAN_SECRET:
        return create_secret(desk, &spec, planned->uid, &call->write, why);
    case PLAN_PATCH:
        return write_patch(api, &spec, TYPE_MERGE_PATCH, planned->body, &call->write, why);
    case PLAN_DELETE:
        return write_delete(api, &spec, &how, &call->write, why);
    default:
        return patch_status(desk, &spec, planned->body, &call->write, why);
    }
}

static void start(struct desk *desk, const struct plan_call *planned)
{
    struct call *call = malloc(sizeof *call);
    struct rk_why why = {"no memory for a call"};

    if (call != NULL) {
        *call = (struct call){
            .desk = desk, .kind = planned->kind, .plural = planned->plural, .next = desk->calls};
        desk->calls = call;
        if (send_call(desk, planned, call, &why) == 0)
            return;
        unlink_call(call);
        free(call);
    }
    desk->failed = true;
    rk_warn("job %s/%s: %s %s: %s", desk->namespace, desk->name, plan_kind_name(planned->kind),
            planned->plural, why.text);
}

static bool has_status(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->call[i].kind == PLAN_STATUS)
            return true;
    return false;
}

/* `wall` of a plan as a time of the loop's clock. */
static uint64_t when(const struct controller *controller, uint64_t wall)
{
    return wall > controller->wall ? controller->now + (wall - controller->wall) : controller->now;
}

static void follow(struct desk *desk, const struct plan *plan)
{
    desk->sending = true;
    desk->events = plan->events;
    memcpy(desk->event, plan->event, plan->events * sizeof plan->event[0]);
    for (size_t i = 0; i < plan->count; i++)
        start(desk, &plan->call[i]);
    if (!has_status(plan))
        say(desk);
    desk->sending = false;
    desk->again = plan->again != PLAN_NEVER ? when(desk->controller, plan->again) : PLAN_NEVER;
    if (desk->calls == NULL)
        conclude(desk);
}

static void look(void *who)
{
    struct desk *desk = who;
    struct controller *controller = desk->controller;
    struct rk_why why = {""};
    struct plan_seen seen;
    struct plan plan;

    if (!controller->synced || !controller->leads || desk->calls != NULL ||
        !stock_look(controller, desk->namespace, desk->name, &seen))
        return;
    desk->looked_at = controller->now;
    desk->changed = desk->failed = false;
    if (!plan_takes(&controller->given.plan, seen.mpijob))
        return;
    seen.taken = desk->met >= NOT_OURS;
    desk->met -= seen.taken; /* the next time it is tried again */
    json_decref(desk->mpijob);
    desk->mpijob = json_incref((json_t *)(uintptr_t)seen.mpijob);
    if (plan_make(&controller->given.plan, &seen, &plan, &why) != 0) {
        rk_error_log("job %s/%s: %s", desk->namespace, desk->name, why.text);
        desk->failed = true;
    }
    desk->failed |= seen.taken;
    follow(desk, &plan);
    plan_done(&plan);
}
