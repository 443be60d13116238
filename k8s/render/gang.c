/* Gang scheduling: the PodGroup of a job, and what ties its pods to it, as mpi-operator has them
 * for Volcano and for the coscheduling plug-in of scheduler-plugins.
 *
 * Priority classes are objects of the cluster that a pure function cannot read, so where fewer pods
 * than all are the minimum, workers are those that are left out. */
#include "k8s/render/parts.h"
#include "k8s/render/quantity.h"

#include <string.h>

static const struct gang {
    const char *name;
    const char *scheduler; /* of pods that name none */
    const char *api_version;
} gangs[] = {
    [RENDER_GANG_VOLCANO] = {"volcano", "volcano", "scheduling.volcano.sh/v1beta1"},
    [RENDER_GANG_SCHEDULER_PLUGINS] = {"scheduler-plugins", "scheduler-plugins-scheduler",
                                       "scheduling.x-k8s.io/v1alpha1"},
};

const char *gang_name(enum render_gang gang)
{
    return gang < RENDER_GANG_VOLCANO ? "none" : gangs[gang].name;
}

const char *gang_api_version(enum render_gang gang)
{
    return gangs[gang].api_version;
}

static const char *text_of(const json_t *template, const char *key)
{
    const json_t *spec = json_object_get(template, "spec");
    const char *text = json_string_value(json_object_get(spec, key));

    return text != NULL ? text : "";
}

enum render_gang gang_of(const struct mpijob *job, enum render_gang wanted)
{
    if (wanted != RENDER_GANG_AUTO)
        return wanted;
    if (strcmp(text_of(job->launcher.template, "schedulerName"), "volcano") == 0 ||
        strcmp(text_of(job->worker.template, "schedulerName"), "volcano") == 0)
        return RENDER_GANG_VOLCANO;
    return RENDER_GANG_NONE;
}

void gang_decorate(struct pod *pod)
{
    struct build *build = &pod->render->build;
    const char *job = pod->render->job->name;

    if (pod->render->gang == RENDER_GANG_VOLCANO) {
        build_text(build, pod->annotations, "scheduling.k8s.io/group-name", job);
        build_text(build, pod->spec, "schedulerName", gangs[RENDER_GANG_VOLCANO].scheduler);
    } else if (pod->render->gang == RENDER_GANG_SCHEDULER_PLUGINS) {
        build_text(build, pod->labels, "scheduling.x-k8s.io/pod-group", job);
        pod_default(pod, "schedulerName",
                    json_string(gangs[RENDER_GANG_SCHEDULER_PLUGINS].scheduler));
    }
}

/* Adds what one container asks for, `times` over, to the sums, by resource. */
static void add_resource(struct build *build, json_t *sums, const char *name, const json_t *value,
                         uint32_t times)
{
    struct quantity sum = {0, false};
    struct quantity quantity;
    json_t *before = json_object_get(sums, name);
    char text[QUANTITY_TEXT];
    struct rk_why why = {""};
    int rc = before != NULL ? quantity_parse(before, &sum, &why) : 0;

    if (rc == 0)
        rc = quantity_parse(value, &quantity, &why);
    if (rc == 0)
        rc = quantity_add(&sum, &quantity, times, &why);
    if (rc != 0)
        build_fail(build, rc, "resources of a container, %s: %s", name, why.text);
    else
        build_text(build, sums, name, quantity_print(&sum, text));
}

/* A container without a request asks for its limit. */
static void add_container(struct build *build, json_t *sums, const json_t *container,
                          uint32_t times)
{
    const json_t *resources = json_object_get(container, "resources");
    json_t *requests = json_object_get(resources, "requests");
    json_t *limits = json_object_get(resources, "limits");
    const char *name;
    json_t *value;

    json_object_foreach(requests, name, value) add_resource(build, sums, name, value, times);
    json_object_foreach(limits, name, value)
    {
        if (json_object_get(requests, name) == NULL)
            add_resource(build, sums, name, value, times);
    }
}

static void add_replicas(struct build *build, json_t *sums, const struct mpijob_replicas *replicas,
                         uint32_t count)
{
    const json_t *spec = json_object_get(replicas->template, "spec");
    size_t index;
    json_t *container;

    json_array_foreach(json_object_get(spec, "containers"), index, container)
        add_container(build, sums, container, count);
}

static int64_t least_members(const struct mpijob *job)
{
    if (job->scheduling.given && job->scheduling.min_available >= 0)
        return job->scheduling.min_available;
    return (int64_t)job->worker.replicas + 1;
}

/* What the group's least members ask for together; NULL: nothing. */
static json_t *least_resources(struct render *render, int64_t members)
{
    const struct mpijob *job = render->job;
    uint32_t workers = job->worker.template != NULL ? job->worker.replicas : 0;
    json_t *sums;

    if (job->scheduling.min_resources != NULL)
        return build_sorted(&render->build, job->scheduling.min_resources);
    if (members == 0)
        return NULL;
    if ((int64_t)workers > members - 1)
        workers = (uint32_t)(members - 1);
    sums = build_made(&render->build, json_object());
    add_replicas(&render->build, sums, &job->launcher, 1);
    add_replicas(&render->build, sums, &job->worker, workers);
    return sums;
}

/* Queue and priority class, which only Volcano's PodGroup has. */
static void set_volcano(struct render *render, json_t *spec)
{
    const struct mpijob *job = render->job;
    const json_t *metadata = json_object_get(job->object, "metadata");
    const json_t *annotations = json_object_get(metadata, "annotations");
    const char *queue =
        json_string_value(json_object_get(annotations, "scheduling.volcano.sh/queue-name"));
    const char *class = text_of(job->launcher.template, "priorityClassName");

    if (job->scheduling.given && job->scheduling.queue[0] != '\0')
        queue = job->scheduling.queue;
    if (queue != NULL && *queue != '\0')
        build_text(&render->build, spec, "queue", queue);
    if (*class == '\0')
        class = text_of(job->worker.template, "priorityClassName");
    if (job->scheduling.given && job->scheduling.priority_class[0] != '\0')
        class = job->scheduling.priority_class;
    if (*class != '\0')
        build_text(&render->build, spec, "priorityClassName", class);
}

static void set_size(struct render *render, json_t *spec)
{
    int64_t members = least_members(render->job);
    json_t *resources = least_resources(render, members);

    build_set(&render->build, spec, "minMember", json_integer(members));
    if (resources != NULL)
        build_set(&render->build, spec, "minResources", resources);
    build_drop_empty(spec, "minResources");
}

int render_group_size(const struct mpijob *job, const struct render_options *options,
                      const char **version, json_t **patch, struct rk_why *why)
{
    struct render render;
    json_t *whole;

    *patch = NULL;
    render_begin(&render, job, options, why);
    if (render.gang < RENDER_GANG_VOLCANO)
        return 0;
    *version = gangs[render.gang].api_version;
    whole = json_object();
    set_size(&render, build_child(&render.build, whole, "spec", "PodGroup"));
    return render_end(&render, whole, patch);
}

json_t *gang_group(struct render *render)
{
    struct build *build = &render->build;
    const struct mpijob *job = render->job;
    json_t *group;
    json_t *spec;

    if (render->gang < RENDER_GANG_VOLCANO)
        return NULL;
    group = render_object(render, gangs[render->gang].api_version, "PodGroup", "");
    spec = build_child(build, group, "spec", "PodGroup");
    set_size(render, spec);
    if (render->gang == RENDER_GANG_VOLCANO)
        set_volcano(render, spec);
    else
        build_set(build, spec, "scheduleTimeoutSeconds",
                  json_integer(job->scheduling.given && job->scheduling.timeout_s > 0
                                   ? job->scheduling.timeout_s
                                   : 0));
    return group;
}
