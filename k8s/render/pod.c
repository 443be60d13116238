/* What worker pods and the coordinator's pod have in common: the user's template, kept as it is,
 * and what we add to it.
 *
 * A user's container gets variables, mounts and a port from us and nothing else: no security
 * context, since filling one in would break images that run as root, and nothing of ours needs any
 * privilege, so that a template that keeps Pod Security's `restricted` still does.
 *
 * That the template uses none of our names for something else was seen to by validation, which has
 * them in k8s/manifest/reserved.h. */
#include "k8s/render/parts.h"

#include <stdio.h>
#include <string.h>

static const char *name_of(const json_t *item)
{
    const char *name = json_string_value(json_object_get(item, "name"));

    return name != NULL ? name : "";
}

/* "/etc/mpi/" mounts where "/etc/mpi" does. */
static bool same_path(const char *a, const char *b)
{
    size_t length = strlen(a);

    while (length > 1 && a[length - 1] == '/')
        length--;
    return strlen(b) == length && strncmp(a, b, length) == 0;
}

static void refuse_path(struct pod *pod, const char *ours)
{
    size_t index;
    json_t *mount;

    json_array_foreach(json_object_get(pod->main, "volumeMounts"), index, mount)
    {
        const char *path = json_string_value(json_object_get(mount, "mountPath"));

        if (path != NULL && same_path(path, ours))
            build_fail(&pod->render->build, RK_EDATA,
                       "%s.containers[0].volumeMounts[%zu].mountPath: reknit itself mounts "
                       "something at %s; choose another place",
                       pod->path, index, ours);
    }
}

/* Labels and annotations are all that a template's metadata gives a pod. */
static void take_template(struct pod *pod, const json_t *template)
{
    struct build *build = &pod->render->build;
    json_t *copy = build_sorted(build, template);
    json_t *metadata = build_child(build, copy, "metadata", "template");
    json_t *kept = build_made(build, json_object());

    pod->whole = build_made(build, json_object());
    build_set(build, kept, "labels",
              json_incref(build_child(build, metadata, "labels", "template.metadata")));
    build_set(build, kept, "annotations",
              json_incref(build_child(build, metadata, "annotations", "template.metadata")));
    build_set(build, pod->whole, "metadata", kept);
    build_set(build, pod->whole, "spec", json_incref(build_child(build, copy, "spec", "template")));
    pod->labels = json_object_get(kept, "labels");
    pod->annotations = json_object_get(kept, "annotations");
    pod->spec = json_object_get(pod->whole, "spec");
    pod->main = json_array_get(json_object_get(pod->spec, "containers"), 0);
    if (!json_is_object(pod->main))
        build_fail(build, RK_EDATA, "%s.containers: there must be a container", pod->path);
    json_decref(copy);
}

void pod_begin(struct pod *pod, struct render *render, const struct mpijob_replicas *replicas,
               const char *replica, const char *role)
{
    struct build *build = &render->build;

    *pod = (struct pod){.render = render};
    pod->path = strcmp(replica, "Worker") == 0 ? "spec.mpiReplicaSpecs.Worker.template.spec"
                                               : "spec.mpiReplicaSpecs.Launcher.template.spec";
    if (replicas->template == NULL)
        build_fail(build, RK_EDATA, "spec.mpiReplicaSpecs.%s.template: it is missing", replica);
    take_template(pod, replicas->template);
    if (build->rc != 0)
        return;
    build_text(build, pod->labels, LABEL_OPERATOR, OPERATOR_NAME);
    build_text(build, pod->labels, LABEL_JOB_NAME, render->job->name);
    build_text(build, pod->labels, LABEL_ROLE, role);
    build_text(build, pod->labels, LABEL_JOB, render->job->name);
    pod_default(pod, "terminationGracePeriodSeconds", json_integer(GRACE_SECONDS));
    /* The last lines of what failed stand in the pod's status: no right to logs is needed. */
    if (json_object_get(pod->main, LAST_WORDS) == NULL)
        build_text(build, pod->main, LAST_WORDS, LAST_WORDS_LOG);
    pod_inject(pod);
    gang_decorate(pod);
}

void pod_done(struct pod *pod)
{
    json_decref(pod->whole);
    pod->whole = NULL;
}

static void search_domain(struct pod *pod)
{
    struct build *build = &pod->render->build;
    const struct mpijob *job = pod->render->job;
    json_t *config = build_child(build, pod->spec, "dnsConfig", pod->path);
    json_t *searches = build_list(build, config, "searches", "dnsConfig");
    char domain[NAME_SIZE];
    size_t index;
    json_t *search;

    snprintf(domain, sizeof domain, "%s.%s.svc.%s", job->name, pod->render->namespace,
             job->settings.cluster_domain);
    json_array_foreach(searches, index, search)
    {
        if (json_is_string(search) && strcmp(json_string_value(search), domain) == 0)
            return;
    }
    build_word(build, searches, domain);
}

void pod_name_host(struct pod *pod, const char *name)
{
    struct build *build = &pod->render->build;

    if (strlen(name) <= HOST_NAME_MOST)
        build_text(build, pod->spec, "hostname", name);
    else
        json_object_del(pod->spec, "hostname");
    build_text(build, pod->spec, "subdomain", pod->render->job->name);
    /* Without this a pod on the host's network asks the host's resolver, which knows no pods. */
    if (json_is_true(json_object_get(pod->spec, "hostNetwork")))
        build_text(build, pod->spec, "dnsPolicy", "ClusterFirstWithHostNet");
    search_domain(pod);
}

void pod_volume(struct pod *pod, const char *name, const char *kind, json_t *source)
{
    struct build *build = &pod->render->build;
    json_t *volume = build_made(build, json_object());

    build_text(build, volume, "name", name);
    build_set(build, volume, kind, source);
    build_push(build, build_list(build, pod->spec, "volumes", pod->path), volume);
}

void pod_mount(struct pod *pod, const char *name, const char *path, const char *subpath,
               bool read_only)
{
    struct build *build = &pod->render->build;
    json_t *mount = build_made(build, json_object());

    build_text(build, mount, "name", name);
    build_text(build, mount, "mountPath", path);
    if (subpath != NULL)
        build_text(build, mount, "subPath", subpath);
    if (read_only)
        build_set(build, mount, "readOnly", json_true());
    build_push(build, build_list(build, pod->main, "volumeMounts", pod->path), mount);
}

/* Of two variables of one name the last counts, but tools that merge lists by name refuse such a
 * pod: so ours stands where the user's stood. */
static void put_env(struct pod *pod, const char *name, json_t *variable)
{
    struct build *build = &pod->render->build;
    json_t *list = build_list(build, pod->main, "env", pod->path);
    size_t index;
    json_t *item;

    build_text(build, variable, "name", name);
    json_array_foreach(list, index, item)
    {
        if (strcmp(name_of(item), name) == 0) {
            if (json_array_set_new(list, index, variable) != 0)
                build_made(build, NULL);
            return;
        }
    }
    build_push(build, list, variable);
}

void pod_env(struct pod *pod, const char *name, const char *value)
{
    json_t *variable = build_made(&pod->render->build, json_object());

    build_text(&pod->render->build, variable, "value", value);
    put_env(pod, name, variable);
}

void pod_env_field(struct pod *pod, const char *name, const char *field_path)
{
    struct build *build = &pod->render->build;
    json_t *variable = build_made(build, json_object());
    json_t *from = build_child(build, variable, "valueFrom", "env");

    build_text(build, build_child(build, from, "fieldRef", "env"), "fieldPath", field_path);
    put_env(pod, name, variable);
}

void pod_env_identity(struct pod *pod)
{
    pod_env_field(pod, "REKNIT_POD_NAME", "metadata.name");
    pod_env_field(pod, "REKNIT_POD_UID", "metadata.uid");
    pod_env_field(pod, "REKNIT_POD_IP", "status.podIP");
    pod_env_field(pod, "REKNIT_NODE_NAME", "spec.nodeName");
}

/* A secret's files belong to root and to the pod's fsGroup.  With one, the group may read them and
 * nobody else; without one, a container that is not root could read nothing but what all may. */
static int secret_mode(const struct pod *pod)
{
    const json_t *context = json_object_get(pod->spec, "securityContext");

    return json_is_integer(json_object_get(context, "fsGroup")) ? 0440 : 0444;
}

void pod_secret(struct pod *pod, bool coordinator)
{
    struct build *build = &pod->render->build;
    json_t *source = build_made(build, json_object());
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s-reknit", pod->render->job->name);
    build_text(build, source, "secretName", name);
    build_set(build, source, "defaultMode", json_integer(secret_mode(pod)));
    if (coordinator)
        build_set(build, source, "optional", json_true());
    else
        build_set(build, source, "items",
                  json_pack("[{s:s, s:s}]", "key", SECRET_KEY, "path", SECRET_KEY));
    pod_volume(pod, VOLUME_SECRET, "secret", source);
    pod_mount(pod, VOLUME_SECRET, PATH_SECRET, NULL, true);
}

const char *render_checkpoint_dir(const struct mpijob *job)
{
    const struct mpijob_settings *settings = &job->settings;

    if (settings->checkpoint_dir == NULL && settings->checkpoint_claim != NULL)
        return PATH_CHECKPOINTS;
    return settings->checkpoint_dir;
}

void pod_checkpoints(struct pod *pod)
{
    struct build *build = &pod->render->build;
    const struct mpijob_settings *settings = &pod->render->job->settings;
    const char *path = render_checkpoint_dir(pod->render->job);
    json_t *source;

    if (settings->checkpoint_claim == NULL)
        return;
    refuse_path(pod, path);
    source = build_made(build, json_object());
    build_text(build, source, "claimName", settings->checkpoint_claim);
    pod_volume(pod, VOLUME_CHECKPOINTS, "persistentVolumeClaim", source);
    pod_mount(pod, VOLUME_CHECKPOINTS, path, NULL, false);
}

/* Declared, so that on the host's network the scheduler keeps two agents off one node. */
void pod_port(struct pod *pod)
{
    struct build *build = &pod->render->build;
    json_t *list = build_list(build, pod->main, "ports", pod->path);
    json_t *port = build_made(build, json_object());
    size_t index;
    json_t *item;

    json_array_foreach(list, index, item)
    {
        bool same = json_integer_value(json_object_get(item, "containerPort")) ==
                    pod->render->job->settings.port;

        if (same || strcmp(name_of(item), PORT_NAME) == 0)
            build_fail(build, RK_EDATA,
                       "%s.containers[0].ports[%zu]: agents listen on port %u, named %s; choose "
                       "another, or annotation reknit.dev/port",
                       pod->path, index, pod->render->job->settings.port, PORT_NAME);
    }
    build_text(build, port, "name", PORT_NAME);
    build_text(build, port, "protocol", "TCP");
    build_set(build, port, "containerPort", json_integer(pod->render->job->settings.port));
    build_push(build, list, port);
}

void pod_default(struct pod *pod, const char *key, json_t *value)
{
    if (json_object_get(pod->spec, key) == NULL)
        build_set(&pod->render->build, pod->spec, key, value);
    else
        json_decref(value);
}
