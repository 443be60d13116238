/* The objects of a job, put together; see render.h. */
#include "k8s/render/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef REKNIT_VERSION
#define REKNIT_VERSION "0.1.0"
#endif
#define USUAL_DOMAIN "cluster.local"

const char *render_default_image(void)
{
    return "reknit:" REKNIT_VERSION;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    if (a != NULL)
        return a;
    return b != NULL ? b : c;
}

void render_begin(struct render *render, const struct mpijob *job,
                  const struct render_options *options, struct rk_why *why)
{
    *render = (struct render){.job = job, .options = options, .build = {.why = why}};
    render->namespace = first_of(options->namespace, job->namespace, "default");
    render->image = first_of(options->image, job->settings.image, render_default_image());
    render->gang = gang_of(job, options->gang);
    if (options->namespace != NULL && job->namespace != NULL &&
        strcmp(options->namespace, job->namespace) != 0)
        build_fail(&render->build, RK_EDATA,
                   "metadata.namespace: the manifest says '%s', but '%s' is wanted; leave one out",
                   job->namespace, options->namespace);
}

int render_end(struct render *render, json_t *whole, json_t **result)
{
    json_t *sorted = render->build.rc == 0 ? build_sorted(&render->build, whole) : NULL;

    json_decref(whole);
    if (render->build.rc != 0) {
        json_decref(sorted);
        return render->build.rc;
    }
    *result = sorted;
    return 0;
}

/* Owned, but not controlled: the Job's controller lets go of any pod that it controls and whose
 * labels are not its own.  Nothing is blocked either, since that needs a right to finalizers. */
void render_own(struct render *render, json_t *metadata)
{
    char job[NAME_SIZE];

    snprintf(job, sizeof job, "%s-launcher", render->job->name);
    build_set(&render->build, metadata, "ownerReferences",
              json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "batch/v1", "kind", "Job", "name",
                        job, "uid", render->options->job_uid));
}

/* The Job is the MPIJob's as upstream's is, for whoever follows that reference. */
static void own_job(struct render *render, json_t *metadata)
{
    build_set(&render->build, metadata, "ownerReferences",
              json_pack("[{s:s, s:s, s:s, s:s, s:b, s:b}]", "apiVersion", "kubeflow.org/v2beta1",
                        "kind", "MPIJob", "name", render->job->name, "uid",
                        render->options->mpijob_uid, "controller", 1, "blockOwnerDeletion", 1));
}

json_t *render_object(struct render *render, const char *api_version, const char *kind,
                      const char *suffix)
{
    struct build *build = &render->build;
    json_t *object = build_made(build, json_object());
    json_t *metadata = build_child(build, object, "metadata", kind);
    json_t *labels = build_child(build, metadata, "labels", kind);
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s%s", render->job->name, suffix);
    build_text(build, object, "apiVersion", api_version);
    build_text(build, object, "kind", kind);
    build_text(build, metadata, "name", name);
    build_text(build, metadata, "namespace", render->namespace);
    build_text(build, labels, "app", render->job->name);
    build_text(build, labels, LABEL_JOB, render->job->name);
    if (strcmp(kind, "Job") != 0 && render->options->job_uid != NULL)
        render_own(render, metadata);
    if (strcmp(kind, "Job") == 0 && render->options->mpijob_uid != NULL)
        own_job(render, metadata);
    return object;
}

void render_host(const struct mpijob *job, const char *namespace, const char *pod,
                 char host[NAME_SIZE])
{
    const char *domain = job->settings.cluster_domain;
    bool usual = strcmp(domain, USUAL_DOMAIN) == 0;

    snprintf(host, NAME_SIZE, "%s.%s.%s.svc%s%s", pod, job->name, namespace, usual ? "" : ".",
             usual ? "" : domain);
}

/* Headless.  Addresses are published at once: a name that resolves only when a pod is ready makes
 * launchers wait for readiness, and a negative answer is kept for a while. */
static json_t *service(struct render *render)
{
    json_t *object = render_object(render, "v1", "Service", "");

    build_set(&render->build, object, "spec",
              json_pack("{s:s, s:b, s:{s:s, s:s}}", "clusterIP", "None", "publishNotReadyAddresses",
                        1, "selector", LABEL_OPERATOR, OPERATOR_NAME, LABEL_JOB_NAME,
                        render->job->name));
    return object;
}

/* The MPIJob as the coordinator is to see it: with what the options say, and without what changes
 * by itself (status, versions) or says everything once more. */
static char *mpijob_text(struct render *render)
{
    struct build *build = &render->build;
    json_t *copy = build_sorted(build, render->job->object);
    json_t *from = json_object_get(copy, "metadata");
    json_t *metadata = build_made(build, json_object());
    json_t *annotations = build_made(build, json_object());
    json_t *labels = json_object_get(from, "labels");
    char *text;

    if (json_object_update(annotations, json_object_get(from, "annotations")) != 0 &&
        json_object_get(from, "annotations") != NULL)
        build_made(build, NULL);
    json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
    if (render->options->image != NULL)
        build_text(build, annotations, ANNOTATION_IMAGE, render->options->image);
    build_text(build, metadata, "name", render->job->name);
    build_text(build, metadata, "namespace", render->namespace);
    if (labels != NULL)
        build_set(build, metadata, "labels", json_incref(labels));
    build_set(build, metadata, "annotations", annotations);
    build_drop_empty(metadata, "annotations");
    build_set(build, copy, "metadata", metadata);
    json_object_del(copy, "status");
    text = json_dumps(copy, JSON_SORT_KEYS | JSON_INDENT(2));
    json_decref(copy);
    return text;
}

/* Takes the text. */
static void set_file(struct build *build, json_t *data, const char *name, char *text)
{
    if (text == NULL)
        build_made(build, NULL);
    else
        build_text(build, data, name, text);
    free(text);
}

static json_t *config(struct render *render)
{
    struct build *build = &render->build;
    const struct mpijob *job = render->job;
    size_t workers = job->worker.template != NULL ? job->worker.replicas : 0;
    json_t *object = render_object(render, "v1", "ConfigMap", "-config");
    json_t *data = build_child(build, object, "data", "ConfigMap");

    set_file(build, data, "hostfile", render_hostfile(job, render->namespace, NULL, workers));
    set_file(build, data, "discover_hosts.sh",
             render_discover_hosts(job, render->namespace, NULL, 0));
    set_file(build, data, "mpijob.json", mpijob_text(render));
    return object;
}

static void add_workers(struct render *render, json_t *objects)
{
    for (uint32_t place = 0; place < render_worker_count(render->job) && render->build.rc == 0;
         place++) {
        struct render_worker worker = {.place = place, .ticket = render_ticket(render->job, place)};
        json_t *pod = NULL;
        int rc = render_worker(render->job, render->options, &worker, &pod, render->build.why);

        if (rc != 0)
            render->build.rc = rc;
        else
            build_push(&render->build, objects, pod);
    }
}

int render_job(const struct mpijob *job, const struct render_options *options, json_t **objects,
               struct rk_why *why)
{
    struct render render;
    json_t *all = json_array();
    json_t *group;

    render_begin(&render, job, options, why);
    build_push(&render.build, all, launcher_job(&render));
    build_push(&render.build, all, service(&render));
    build_push(&render.build, all, config(&render));
    group = job->suspend ? NULL : gang_group(&render);
    if (group != NULL)
        build_push(&render.build, all, group);
    if (!job->suspend)
        add_workers(&render, all);
    return render_end(&render, all, objects);
}
