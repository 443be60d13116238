/* Objects of the job that nobody owns yet; see shell.h.
 *
 * What `reknit submit` or the operator makes names the Job as its owner.  What `reknit render` has
 * printed cannot: the Job's uid was not known.  So the Service, the ConfigMap and those worker pods
 * that were applied with them are given to the Job here, before anything looks at pods. */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "k8s/client/address.h"
#include "k8s/client/object.h"
#include "k8s/client/write.h"
#include "k8s/render/names.h"

#include <stdio.h>
#include <string.h>

#define DEADLINE (60 * RK_S)
#define MOST_AT_ONCE 32u

/* 0: it is ours and has no owner: it is given one. */
static int give(void *who, json_t *object)
{
    struct shell *shell = who;
    json_t *metadata = json_object_get(object, "metadata");
    const char *job =
        json_string_value(json_object_get(json_object_get(metadata, "labels"), LABEL_JOB));
    json_t *owners;

    if (job == NULL || strcmp(job, shell->job->name) != 0 ||
        json_array_size(json_object_get(metadata, "ownerReferences")) > 0)
        return WRITE_NOTHING;
    /* no controller: a Job releases pods that it controls and does not know */
    owners = json_pack("[{s:s,s:s,s:s+,s:s}]", "apiVersion", "batch/v1", "kind", "Job", "name",
                       shell->job->name, "-launcher", "uid", shell->owner);
    return json_object_set_new(metadata, "ownerReferences", owners) == 0 ? 0 : RK_ENOMEM;
}

static void one_done(struct shell *shell)
{
    if (--shell->adopting == 0 && shell->step == SETUP_ADOPT)
        setup_next(shell);
}

/* One that is not there is no fault, and one that stays without an owner is none for the job. */
static void on_given(void *who, const struct response *response)
{
    if (response->rc < 0 && response->rc != RK_ENOENT)
        rk_warn("an object of the job has no owner and stays when the job is deleted: %s",
                response->why);
    one_done(who);
}

static void adopt(struct shell *shell, const char *plural, const char *name)
{
    const struct write_spec spec = {.version = "v1",
                                    .namespace = shell->namespace,
                                    .plural = plural,
                                    .name = name,
                                    .deadline = DEADLINE,
                                    .done = on_given,
                                    .who = shell};
    struct rk_why why = {""};

    shell->adopting++;
    if (write_edit(shell->api, &spec, give, NULL, &why) != 0) {
        shell->adopting--;
        shell_end(shell, 69, why.text);
    }
}

static void on_pods(void *who, const struct response *response)
{
    struct shell *shell = who;
    size_t i;
    json_t *pod;

    shell->request = NULL;
    if (response->rc != 0) {
        setup_fail(shell, response->rc, "the job's pods", response);
        return;
    }
    json_array_foreach(json_object_get(response->body, "items"), i, pod)
    {
        const json_t *metadata = json_object_get(pod, "metadata");

        if (json_array_size(json_object_get(metadata, "ownerReferences")) == 0)
            adopt(shell, "pods", object_name(pod));
    }
    one_done(shell);
}

/* A rendering that is applied again brings pods of a job that runs; those that nobody wants go. */
void adopt_pod(struct shell *shell, const json_t *pod)
{
    const json_t *metadata = json_object_get(pod, "metadata");

    if (json_array_size(json_object_get(metadata, "ownerReferences")) == 0 && !shell->ended &&
        shell->adopting < MOST_AT_ONCE)
        adopt(shell, "pods", object_name(pod));
}

void adopt_start(struct shell *shell)
{
    struct request_spec spec = {
        .verb = VERB_GET, .deadline = DEADLINE, .done = on_pods, .who = shell};
    struct rk_why why = {""};
    char text[256];

    shell->adopting = 1; /* the list of pods */
    snprintf(text, sizeof text, "%s-config", shell->job->name);
    adopt(shell, "configmaps", text);
    adopt(shell, "services", shell->job->name);
    snprintf(text, sizeof text, LABEL_JOB "=%s," LABEL_ROLE "=worker", shell->job->name);
    spec.path = api_path("v1", shell->namespace, "pods", NULL, NULL);
    api_query(&spec.path, "labelSelector", text);
    if (api_send(shell->api, &spec, &shell->request, &why) != 0)
        shell_end(shell, 69, why.text);
}
