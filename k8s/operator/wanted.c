/* The objects that a job should have; see inside.h.
 *
 * They are those of k8s/render, which `reknit render` prints, but for their owner.  There the Job
 * owns all, since nothing else is there; here the MPIJob does, so that the Job can be made anew for
 * an MPIJob that was edited while it was suspended, and the coordinator's record stays. */
#include "k8s/operator/inside.h"

#include "k8s/client/object.h"
#include "k8s/reconcile/pod_json.h"
#include "k8s/render/names.h"
#include "k8s/render/parts.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *wanted_owner(const struct making *making)
{
    return json_pack("{s:s,s:s,s:s,s:s}", "apiVersion", "kubeflow.org/v2beta1", "kind", MPIJOB_KIND,
                     "name", making->name, "uid", making->uid);
}

/* What brings the agent into the pod of a Job that is there. */
static const char *image_of_job(const json_t *job)
{
    const json_t *template = json_object_get(json_object_get(job, "spec"), "template");
    const json_t *list = json_object_get(json_object_get(template, "spec"), "initContainers");
    size_t index;
    json_t *container;

    json_array_foreach(list, index, container)
    {
        if (strcmp(condition_text(container, "name"), CONTAINER_NAME) == 0)
            return json_string_value(json_object_get(container, "image"));
    }
    return NULL;
}

/* An operator's own image changes when it is upgraded.  A job that is there keeps the one it has,
 * so that its workers never have an agent of another version than its coordinator is. */
static const char *image_of(const struct making *making)
{
    const struct plan_options *options = making->options;
    const char *kept;

    if (options->image != NULL || options->own_image == NULL || making->job->settings.image != NULL)
        return options->image;
    kept = image_of_job(making->seen->job);
    return kept != NULL ? kept : options->own_image;
}

static struct render_options options_of(const struct making *making)
{
    return (struct render_options){
        .namespace = object_namespace(making->seen->mpijob),
        .image = image_of(making),
        .gang = making->options->gang,
        .job_uid = making->job_uid,
        .mpijob_uid = making->uid,
    };
}

void wanted_fingerprint(const json_t *job, char text[20])
{
    json_t *copy = json_deep_copy(json_object_get(job, "spec"));
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a (Fowler, Noll, Vo) */
    char *words;

    json_object_del(copy, "suspend");
    words = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    for (const char *c = words; c != NULL && *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    snprintf(text, 20, "%016" PRIx64, hash);
    free(words);
    json_decref(copy);
}

/* A Job that went by itself would be taken for one that was never made, and made again: the time
 * to live is the whole MPIJob's, and the operator's to keep. */
static void finish_job(struct making *making, json_t *job)
{
    json_t *metadata = json_object_get(job, "metadata");
    json_t *spec = json_object_get(job, "spec");
    json_t *annotations = json_object_get(metadata, "annotations");
    char fingerprint[20];

    json_object_del(spec, "ttlSecondsAfterFinished");
    json_object_del(spec, "suspend"); /* a Job is made when it is to run */
    wanted_fingerprint(job, fingerprint);
    if (annotations == NULL)
        json_object_set_new(metadata, "annotations", annotations = json_object());
    if (json_object_set_new(annotations, ANNOTATION_FINGERPRINT, json_string(fingerprint)) != 0)
        making_fail(making, RK_ENOMEM);
}

static void own(struct making *making, json_t *object)
{
    if (json_object_set_new(json_object_get(object, "metadata"), "ownerReferences",
                            json_pack("[o]", wanted_owner(making))) != 0)
        making_fail(making, RK_ENOMEM);
}

static json_t *sort_by_kind(struct making *making, json_t *list)
{
    json_t *objects = json_object();
    size_t index;
    json_t *object;

    json_array_foreach(list, index, object)
    {
        const char *kind = object_kind(object);

        if (strcmp(kind, "Pod") == 0)
            continue;
        if (strcmp(kind, "Job") == 0)
            finish_job(making, object);
        else
            own(making, object);
        if (json_object_set(objects, kind, object) != 0)
            making_fail(making, RK_ENOMEM);
    }
    return objects;
}

bool wanted_is_gang(const struct making *making)
{
    return gang_of(making->job, making->options->gang) >= RENDER_GANG_VOLCANO;
}

/* A suspended job is rendered without its workers, of which there may be thousands and which the
 * coordinator makes; so it counts as one unless its PodGroup, which depends on that, is wanted. */
json_t *wanted_objects(struct making *making)
{
    struct render_options options = options_of(making);
    struct mpijob bare = *making->job;
    json_t *list = NULL;
    json_t *objects = NULL;
    int rc = making->rc;

    if (!wanted_is_gang(making) || making->seen->group != NULL)
        bare.suspend = true;
    if (rc == 0)
        rc = render_job(&bare, &options, &list, making->why);
    if (rc == 0)
        objects = sort_by_kind(making, list);
    else if (making->rc == 0)
        making->rc = rc;
    json_decref(list);
    return objects;
}

/* ---- a gang ---------------------------------------------------------------------------------- */

/* Marks the places that have a pod, whatever became of it: another one is the coordinator's. */
static void mark_places(const struct making *making, bool *taken, uint32_t count)
{
    const char *name;
    json_t *pod;

    json_object_foreach((json_t *)(uintptr_t)making->seen->pods, name, pod)
    {
        struct pod_seen seen;

        if (tally_is_worker(pod) && pod_json_read(pod, &seen) && seen.place < count)
            taken[seen.place] = true;
    }
}

static void create_worker(struct making *making, uint32_t place)
{
    struct render_options options = options_of(making);
    struct render_worker worker = {.place = place, .ticket = render_ticket(making->job, place)};
    json_t *pod = NULL;
    int rc = render_worker(making->job, &options, &worker, &pod, making->why);

    if (rc == 0)
        making_create(making, "v1", "pods", pod);
    else if (making->rc == 0)
        making->rc = rc;
}

void wanted_gang_pods(struct making *making)
{
    uint32_t count = render_worker_count(making->job);
    bool *taken = calloc(count + 1, sizeof *taken);

    if (taken == NULL) {
        making_fail(making, RK_ENOMEM);
        return;
    }
    mark_places(making, taken, count);
    for (uint32_t place = 0; place < count && making->rc == 0; place++)
        if (!taken[place])
            create_worker(making, place);
    free(taken);
}

/* ---- the coordinator's account --------------------------------------------------------------- */

static json_t *named(const char *version, const char *kind, const char *namespace)
{
    return json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", version, "kind", kind, "metadata",
                     "name", SERVICE_ACCOUNT, "namespace", namespace);
}

/* They belong to the namespace and not to a job, so they have no owner and stay. */
void wanted_account(struct making *making)
{
    static const char group[] = "rbac.authorization.k8s.io";
    const char *namespace = object_namespace(making->seen->mpijob);
    json_t *binding;

    if (making->options->coordinator_role == NULL)
        return;
    making_create(making, "v1", "serviceaccounts", named("v1", "ServiceAccount", namespace));
    binding = named("rbac.authorization.k8s.io/v1", "RoleBinding", namespace);
    if (json_object_update_new(binding, json_pack("{s:{s:s,s:s,s:s},s:[{s:s,s:s,s:s}]}", "roleRef",
                                                  "apiGroup", group, "kind", "ClusterRole", "name",
                                                  making->options->coordinator_role, "subjects",
                                                  "kind", "ServiceAccount", "name", SERVICE_ACCOUNT,
                                                  "namespace", namespace)) != 0)
        making_fail(making, RK_ENOMEM);
    making_create(making, "rbac.authorization.k8s.io/v1", "rolebindings", binding);
}
