/* Worker pods, alike whether they are rendered, submitted or made by the coordinator later. */
#include "k8s/render/parts.h"

#include <inttypes.h>
#include <stdio.h>

uint32_t render_worker_count(const struct mpijob *job)
{
    return job->worker.template == NULL ? 0 : job->worker.replicas + job->settings.spares;
}

/* The coordinator counts 1 + place + places * serial, and its first serial is 1. */
uint32_t render_ticket(const struct mpijob *job, uint32_t place)
{
    return 1 + place + job->settings.max_workers + job->settings.spares + 2 * mpijob_own(job);
}

static void annotate(struct pod *pod, const struct render_worker *worker)
{
    struct build *build = &pod->render->build;
    uint32_t shift = mpijob_own(pod->render->job);
    char number[16];

    snprintf(number, sizeof number, "%" PRIu32, worker->place + shift);
    build_text(build, pod->labels, LABEL_INDEX, number);
    snprintf(number, sizeof number, "%" PRIu32, worker->place);
    build_text(build, pod->annotations, ANNOTATION_PLACE, number);
    snprintf(number, sizeof number, "%" PRIu32, worker->ticket);
    build_text(build, pod->annotations, ANNOTATION_TICKET, number);
}

static void fill(struct pod *pod, const struct render_worker *worker, const char *name)
{
    struct build *build = &pod->render->build;

    annotate(pod, worker);
    pod_name_host(pod, name);
    pod_env(pod, "K_MPI_JOB_ROLE", "worker");
    pod_env_identity(pod);
    pod_secret(pod, false);
    pod_checkpoints(pod);
    pod_port(pod);
    command_agent(pod, worker);
    if (worker->avoids != NULL && worker->avoids[0] != '\0')
        pod_avoid(pod, worker->avoids);
    /* A container that the kubelet starts again comes back with a past that nobody knows.  What
     * OnFailure asks for is met by a new pod in the same place. */
    build_text(build, pod->spec, "restartPolicy", "Never");
    pod_default(pod, "automountServiceAccountToken", json_false());
}

int render_worker(const struct mpijob *job, const struct render_options *options,
                  const struct render_worker *worker, json_t **pod_out, struct rk_why *why)
{
    struct render render;
    struct pod pod;
    json_t *object = NULL;
    json_t *metadata;
    char suffix[48];
    char name[NAME_SIZE];

    render_begin(&render, job, options, why);
    if (worker->life == 0)
        snprintf(suffix, sizeof suffix, "-worker-%" PRIu32, worker->place);
    else
        snprintf(suffix, sizeof suffix, "-worker-%" PRIu32 "-%" PRIu32, worker->place,
                 worker->life);
    pod_begin(&pod, &render, &job->worker, "Worker", "worker");
    if (render.build.rc == 0) {
        object = render_object(&render, "v1", "Pod", suffix);
        metadata = json_object_get(object, "metadata");
        snprintf(name, sizeof name, "%s%s", job->name, suffix);
        fill(&pod, worker, name);
        build_set(&render.build, metadata, "labels", json_incref(pod.labels));
        build_set(&render.build, metadata, "annotations", json_incref(pod.annotations));
        build_set(&render.build, object, "spec", json_incref(pod.spec));
    }
    pod_done(&pod);
    return render_end(&render, object, pod_out);
}
