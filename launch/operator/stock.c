/* What the cluster has of the jobs, by watches; see controller.h.
 *
 * All but MPIJobs are watched by the label reknit.dev/job, so what others have is never seen.
 * Secrets are not watched at all. */
#include "launch/operator/controller.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/render/names.h"

#include <stdio.h>
#include <string.h>

#define KEY_SIZE 640

static const struct kind {
    const char *version, *plural;
    const char *suffix; /* of the name, behind the job's */
} kinds[STOCK_KINDS] = {
    [STOCK_MPIJOBS] = {"kubeflow.org/v2beta1", "mpijobs", ""},
    [STOCK_JOBS] = {"batch/v1", "jobs", "-launcher"},
    [STOCK_PODS] = {"v1", "pods", NULL},
    [STOCK_SERVICES] = {"v1", "services", ""},
    [STOCK_MAPS] = {"v1", "configmaps", "-config"},
    [STOCK_GROUPS] = {"scheduling.volcano.sh/v1beta1", "podgroups", ""},
};

static const char *job_of(const struct stock *stock, const json_t *object)
{
    const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");

    if (stock->kind == STOCK_MPIJOBS)
        return object_name(object);
    return json_string_value(json_object_get(labels, LABEL_JOB));
}

/* ---- pods by job ----------------------------------------------------------------------------- */

static const char *key_of(const char *namespace, const char *job, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s/%s", namespace, job);
    return key;
}

static void index_pod(struct controller *controller, const json_t *pod, const char *job)
{
    char key[KEY_SIZE];
    json_t *pods = json_object_get(controller->pods, key_of(object_namespace(pod), job, key));

    if (pods == NULL) {
        pods = json_object();
        if (json_object_set_new(controller->pods, key, pods) != 0)
            pods = NULL;
    }
    if (json_object_set(pods, object_name(pod), (json_t *)(uintptr_t)pod) != 0)
        rk_error_log("no memory for pod %s/%s: it is not counted", object_namespace(pod),
                     object_name(pod));
}

static void unindex_pod(struct controller *controller, const json_t *pod, const char *job)
{
    char key[KEY_SIZE];
    json_t *pods = json_object_get(controller->pods, key_of(object_namespace(pod), job, key));

    json_object_del(pods, object_name(pod));
    if (pods != NULL && json_object_size(pods) == 0)
        json_object_del(controller->pods, key);
}

/* ---- what the watches tell ------------------------------------------------------------------- */

static void on_upsert(void *who, const json_t *object, const json_t *old)
{
    struct stock *stock = who;
    const char *job = job_of(stock, object);
    const char *was = old != NULL ? job_of(stock, old) : NULL;

    if (stock->kind == STOCK_PODS && was != NULL && (job == NULL || strcmp(job, was) != 0))
        unindex_pod(stock->controller, old, was);
    if (job == NULL)
        return;
    if (stock->kind == STOCK_PODS)
        index_pod(stock->controller, object, job);
    desk_touch(stock->controller, object_namespace(object), job);
}

static void on_delete(void *who, const json_t *old)
{
    struct stock *stock = who;
    const char *job = job_of(stock, old);

    if (job == NULL)
        return;
    if (stock->kind == STOCK_PODS)
        unindex_pod(stock->controller, old, job);
    if (stock->kind == STOCK_MPIJOBS)
        desk_drop(stock->controller, object_namespace(old), job);
    else
        desk_touch(stock->controller, object_namespace(old), job);
}

static bool all_known(const struct controller *controller)
{
    if (!controller->image_known)
        return false;
    for (int kind = 0; kind < STOCK_GROUPS; kind++)
        if (!watch_is_synced(controller->stock[kind].watch))
            return false;
    return true;
}

void stock_settle(struct controller *controller)
{
    if (controller->synced || !all_known(controller))
        return;
    controller->synced = true;
    rk_info("the cluster is known: %zu MPIJobs",
            store_count(watch_store(controller->stock[STOCK_MPIJOBS].watch)));
    desk_touch_all(controller);
}

static void on_listed(void *who)
{
    struct stock *stock = who;
    struct controller *controller = stock->controller;

    if (stock->kind == STOCK_GROUPS)
        controller->has_groups = true;
    if (controller->synced && stock->kind == STOCK_GROUPS)
        desk_touch_all(controller);
    stock_settle(controller);
}

static void on_trouble(void *who, int code, const char *why)
{
    const struct stock *stock = who;

    if (stock->kind == STOCK_GROUPS && (code == 404 || code == 403))
        rk_debug("no PodGroups here: %s", why);
    else
        rk_warn("the watch of %s: %s%s", kinds[stock->kind].plural, why,
                code == 403 ? "; the operator's role lacks it, see k8s/deploy" : "");
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int open_watch(struct controller *controller, enum stock_kind kind, struct rk_why *why)
{
    struct stock *stock = &controller->stock[kind];
    const char *version = kinds[kind].version;
    struct watch_spec spec = {
        .labels = kind != STOCK_MPIJOBS ? LABEL_JOB : NULL,
        .events = {NULL, on_upsert, on_delete, on_listed, on_trouble},
        .who = stock,
    };

    if (kind == STOCK_GROUPS && controller->given.plan.gang == RENDER_GANG_SCHEDULER_PLUGINS)
        version = "scheduling.x-k8s.io/v1alpha1";
    *stock = (struct stock){.controller = controller, .kind = kind};
    spec.path = api_path(version, controller->namespace, kinds[kind].plural, NULL, NULL);
    return watch_open(controller->api, &spec, &stock->watch, why);
}

int stock_open(struct controller *controller, struct rk_why *why)
{
    int rc = 0;

    controller->pods = json_object();
    if (controller->pods == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the pods of jobs");
    for (int kind = 0; kind < STOCK_KINDS && rc == 0; kind++)
        if (kind != STOCK_GROUPS || controller->given.plan.gang != RENDER_GANG_NONE)
            rc = open_watch(controller, (enum stock_kind)kind, why);
    return rc;
}

void stock_close(struct controller *controller)
{
    for (int kind = 0; kind < STOCK_KINDS; kind++)
        watch_close(controller->stock[kind].watch);
    json_decref(controller->pods);
}

static const json_t *get(const struct controller *controller, enum stock_kind kind,
                         const char *namespace, const char *job, const char *suffix)
{
    char name[KEY_SIZE];

    if (controller->stock[kind].watch == NULL)
        return NULL;
    snprintf(name, sizeof name, "%s%s", job, suffix != NULL ? suffix : kinds[kind].suffix);
    return store_get(watch_store(controller->stock[kind].watch), namespace, name);
}

bool stock_look(const struct controller *controller, const char *namespace, const char *name,
                struct plan_seen *seen)
{
    char key[KEY_SIZE];

    *seen = (struct plan_seen){
        .mpijob = get(controller, STOCK_MPIJOBS, namespace, name, NULL),
        .job = get(controller, STOCK_JOBS, namespace, name, NULL),
        .service = get(controller, STOCK_SERVICES, namespace, name, NULL),
        .config = get(controller, STOCK_MAPS, namespace, name, NULL),
        .record = get(controller, STOCK_MAPS, namespace, name, "-record"),
        .group = get(controller, STOCK_GROUPS, namespace, name, NULL),
        .pods = json_object_get(controller->pods, key_of(namespace, name, key)),
        .groups_known = controller->has_groups,
        .wall = controller->wall,
    };
    return seen->mpijob != NULL;
}
