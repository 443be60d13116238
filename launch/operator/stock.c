/* What the cluster has of the jobs, by watches; see shell.h.
 *
 * All but MPIJobs are watched by the label reknit.dev/job, so what others have is never seen.
 * Secrets are not watched at all. */
#include "launch/operator/shell.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"

#include <stdio.h>
#include <string.h>

#define LABEL "reknit.dev/job"
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
    return json_string_value(json_object_get(labels, LABEL));
}

/* ---- pods by job ----------------------------------------------------------------------------- */

static const char *key_of(const char *namespace, const char *job, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s/%s", namespace, job);
    return key;
}

static void index_pod(struct shell *shell, const json_t *pod, const char *job)
{
    char key[KEY_SIZE];
    json_t *pods = json_object_get(shell->pods, key_of(object_namespace(pod), job, key));

    if (pods == NULL) {
        pods = json_object();
        if (json_object_set_new(shell->pods, key, pods) != 0)
            pods = NULL;
    }
    if (json_object_set(pods, object_name(pod), (json_t *)(uintptr_t)pod) != 0)
        rk_error_log("no memory for pod %s/%s: it is not counted", object_namespace(pod),
                     object_name(pod));
}

static void unindex_pod(struct shell *shell, const json_t *pod, const char *job)
{
    char key[KEY_SIZE];
    json_t *pods = json_object_get(shell->pods, key_of(object_namespace(pod), job, key));

    json_object_del(pods, object_name(pod));
    if (pods != NULL && json_object_size(pods) == 0)
        json_object_del(shell->pods, key);
}

/* ---- what the watches tell ------------------------------------------------------------------- */

static void on_upsert(void *who, const json_t *object, const json_t *old)
{
    struct stock *stock = who;
    const char *job = job_of(stock, object);
    const char *was = old != NULL ? job_of(stock, old) : NULL;

    if (stock->kind == STOCK_PODS && was != NULL && (job == NULL || strcmp(job, was) != 0))
        unindex_pod(stock->shell, old, was);
    if (job == NULL)
        return;
    if (stock->kind == STOCK_PODS)
        index_pod(stock->shell, object, job);
    desk_touch(stock->shell, object_namespace(object), job);
}

static void on_delete(void *who, const json_t *old)
{
    struct stock *stock = who;
    const char *job = job_of(stock, old);

    if (job == NULL)
        return;
    if (stock->kind == STOCK_PODS)
        unindex_pod(stock->shell, old, job);
    if (stock->kind == STOCK_MPIJOBS)
        desk_drop(stock->shell, object_namespace(old), job);
    else
        desk_touch(stock->shell, object_namespace(old), job);
}

static bool all_synced(const struct shell *shell)
{
    for (int kind = 0; kind < STOCK_GROUPS; kind++)
        if (!watch_is_synced(shell->stock[kind].watch))
            return false;
    return true;
}

static void on_listed(void *who)
{
    struct stock *stock = who;
    struct shell *shell = stock->shell;

    if (stock->kind == STOCK_GROUPS)
        shell->has_groups = true;
    if (shell->synced && stock->kind != STOCK_GROUPS)
        return;
    if (!shell->synced && all_synced(shell)) {
        shell->synced = true;
        rk_info("the cluster is known: %zu MPIJobs",
                store_count(watch_store(shell->stock[STOCK_MPIJOBS].watch)));
    }
    desk_touch_all(shell);
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

static int open_watch(struct shell *shell, enum stock_kind kind, struct rk_why *why)
{
    struct stock *stock = &shell->stock[kind];
    const char *version = kinds[kind].version;
    struct watch_spec spec = {
        .labels = kind != STOCK_MPIJOBS ? LABEL : NULL,
        .events = {NULL, on_upsert, on_delete, on_listed, on_trouble},
        .who = stock,
    };

    if (kind == STOCK_GROUPS && shell->given.plan.gang == RENDER_GANG_SCHEDULER_PLUGINS)
        version = "scheduling.x-k8s.io/v1alpha1";
    *stock = (struct stock){.shell = shell, .kind = kind};
    spec.path = api_path(version, shell->namespace, kinds[kind].plural, NULL, NULL);
    return watch_open(shell->api, &spec, &stock->watch, why);
}

int stock_open(struct shell *shell, struct rk_why *why)
{
    int rc = 0;

    shell->pods = json_object();
    if (shell->pods == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the pods of jobs");
    for (int kind = 0; kind < STOCK_KINDS && rc == 0; kind++)
        if (kind != STOCK_GROUPS || shell->given.plan.gang != RENDER_GANG_NONE)
            rc = open_watch(shell, (enum stock_kind)kind, why);
    return rc;
}

void stock_close(struct shell *shell)
{
    for (int kind = 0; kind < STOCK_KINDS; kind++)
        watch_close(shell->stock[kind].watch);
    json_decref(shell->pods);
}

static const json_t *get(const struct shell *shell, enum stock_kind kind, const char *namespace,
                         const char *job, const char *suffix)
{
    char name[KEY_SIZE];

    if (shell->stock[kind].watch == NULL)
        return NULL;
    snprintf(name, sizeof name, "%s%s", job, suffix != NULL ? suffix : kinds[kind].suffix);
    return store_get(watch_store(shell->stock[kind].watch), namespace, name);
}

bool stock_look(const struct shell *shell, const char *namespace, const char *name,
                struct plan_seen *seen)
{
    char key[KEY_SIZE];

    *seen = (struct plan_seen){
        .mpijob = get(shell, STOCK_MPIJOBS, namespace, name, NULL),
        .job = get(shell, STOCK_JOBS, namespace, name, NULL),
        .service = get(shell, STOCK_SERVICES, namespace, name, NULL),
        .config = get(shell, STOCK_MAPS, namespace, name, NULL),
        .record = get(shell, STOCK_MAPS, namespace, name, "-record"),
        .group = get(shell, STOCK_GROUPS, namespace, name, NULL),
        .pods = json_object_get(shell->pods, key_of(namespace, name, key)),
        .groups_known = shell->has_groups,
        .wall = shell->wall,
    };
    return seen->mpijob != NULL;
}
