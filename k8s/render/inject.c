/* The init container that brings the agent into a user's image: it copies the self-contained bundle
 * into a volume that the main container sees, read-only.
 *
 * It may do no harm to what the user has arranged:
 *  - Pod Security: it keeps every rule of `restricted`.  Its image has a numeric user (65532), so
 *    the user is left to the pod and the image, and platforms that choose a range of their own may;
 *    only where the pod says root is the image's user named.
 *  - Quotas, LimitRanges, quality of service: for CPU, memory and ephemeral storage it asks for
 * what the main container asks for.  A pod needs the larger of what its init containers and its
 *    containers need, so nothing is added to that; a LimitRange that takes the one takes the other;
 *    and a pod whose containers are all Guaranteed, or all without limits, remains so.  Devices are
 *    not asked for. */
#include "k8s/render/parts.h"

#include <string.h>

#define IMAGE_USER 65532

static const char *const resources[] = {"cpu", "memory", "ephemeral-storage"};

/* limits or requests of the main container, as far as they concern an init container. */
static void copy_resources(struct pod *pod, json_t *to, const char *kind)
{
    struct build *build = &pod->render->build;
    const json_t *from = json_object_get(json_object_get(pod->main, "resources"), kind);

    for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++) {
        json_t *value = json_object_get(from, resources[i]);

        if (value != NULL)
            build_set(build, build_child(build, to, kind, "resources"), resources[i],
                      json_incref(value));
    }
}

static json_t *security(struct pod *pod)
{
    struct build *build = &pod->render->build;
    const json_t *of_pod = json_object_get(pod->spec, "securityContext");
    const json_t *user = json_object_get(of_pod, "runAsUser");
    json_t *context = build_made(
        build, json_pack("{s:b, s:b, s:b, s:{s:[s]}, s:{s:s}}", "allowPrivilegeEscalation", 0,
                         "readOnlyRootFilesystem", 1, "runAsNonRoot", 1, "capabilities", "drop",
                         "ALL", "seccompProfile", "type", "RuntimeDefault"));

    if (json_is_integer(user) && json_integer_value(user) == 0) {
        build_set(build, context, "runAsUser", json_integer(IMAGE_USER));
        build_set(build, context, "runAsGroup", json_integer(IMAGE_USER));
    }
    return context;
}

static json_t *container(struct pod *pod)
{
    struct build *build = &pod->render->build;
    json_t *init = build_made(build, json_pack("{s:s, s:s, s:[s,s], s:[{s:s, s:s}]}", "name",
                                               CONTAINER_NAME, "image", pod->render->image,
                                               "command", PATH_INSTALL, PATH_TARGET, "volumeMounts",
                                               "name", VOLUME_BUNDLE, "mountPath", PATH_TARGET));
    json_t *wanted = build_made(build, json_object());

    build_set(build, init, "securityContext", security(pod));
    copy_resources(pod, wanted, "limits");
    copy_resources(pod, wanted, "requests");
    build_text(build, init, LAST_WORDS, LAST_WORDS_LOG);
    if (json_object_size(wanted) > 0)
        build_set(build, init, "resources", wanted);
    else
        json_decref(wanted);
    return init;
}

static bool has_item(const json_t *list, const char *key, const char *value)
{
    size_t index;
    const json_t *item;

    json_array_foreach(list, index, item)
    {
        const char *its = json_string_value(json_object_get(item, key));

        if (its != NULL && strcmp(its, value) == 0)
            return true;
    }
    return false;
}

/* Every MPI keeps its sessions there; a read-only root has no /tmp unless the manifest mounts one.
 */
static void give_temporary(struct pod *pod)
{
    const json_t *context = json_object_get(pod->main, "securityContext");

    if (json_is_true(json_object_get(context, "readOnlyRootFilesystem")) &&
        !has_item(json_object_get(pod->main, "volumeMounts"), "mountPath", "/tmp") &&
        !has_item(json_object_get(pod->main, "env"), "name", "TMPDIR"))
        pod_env(pod, "TMPDIR", PATH_RUN);
}

/* Ours comes first: a pod that cannot have the agent should say so before anything else runs. */
void pod_inject(struct pod *pod)
{
    struct build *build = &pod->render->build;
    json_t *list = build_list(build, pod->spec, "initContainers", pod->path);

    if (json_array_insert_new(list, 0, container(pod)) != 0)
        build_made(build, NULL);
    pod_volume(pod, VOLUME_BUNDLE, "emptyDir", json_object());
    pod_mount(pod, VOLUME_BUNDLE, PATH_BUNDLE, NULL, true);
    /* Sockets and logs: the root of the image may be read-only. */
    pod_volume(pod, VOLUME_RUN, "emptyDir", json_object());
    pod_mount(pod, VOLUME_RUN, PATH_RUN, NULL, false);
    give_temporary(pod);
}
