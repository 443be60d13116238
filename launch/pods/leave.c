/* SIGTERM to a coordinator's pod; see shell.h.
 *
 * The pod may be drained, evicted or deleted, and then another one takes over: the workers go on.
 * Or the job is suspended: a checkpoint is written and all workers go, and it goes on from there
 * when it is resumed.  Or the job is deleted: whatever it owns goes with it.  The Job says which.
 */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "k8s/client/address.h"

#include <signal.h>
#include <stdio.h>

#define ANSWER_WITHIN (5 * RK_S)

static void suspend(struct shell *shell)
{
    rk_info("job %s is suspended: a checkpoint is written and its workers go", shell->job->name);
    shell->suspended = true;
    if (shell->coordinator.relayed.process.pid > 0)
        kill(shell->coordinator.relayed.process.pid, SIGTERM);
    else if (shell->line != NULL)
        shell_end(shell, 128 + SIGTERM, "it is suspended; its command runs anew when it goes on");
    else
        shell_end(shell, 128 + SIGTERM, "suspended before it began");
}

static void on_job(void *who, const struct response *response)
{
    struct shell *shell = who;
    const json_t *spec = json_object_get(response->body, "spec");
    const json_t *metadata = json_object_get(response->body, "metadata");

    shell->request = NULL;
    if (response->rc == 0 && json_object_get(metadata, "deletionTimestamp") == NULL &&
        json_is_true(json_object_get(spec, "suspend")))
        suspend(shell);
    else if (response->rc == RK_ENOENT)
        shell_leave(shell, "the job was deleted");
    else
        shell_leave(shell, "the pod is asked to end");
}

void leave_start(struct shell *shell)
{
    char name[256];
    struct request_spec spec = {
        .verb = VERB_GET, .deadline = ANSWER_WITHIN, .done = on_job, .who = shell};
    struct rk_why why = {""};

    snprintf(name, sizeof name, "%s-launcher", shell->job->name);
    spec.path = api_path("batch/v1", shell->namespace, "jobs", name, NULL);
    request_cancel(shell->request);
    if (api_send(shell->api, &spec, &shell->request, &why) != 0)
        shell_leave(shell, why.text);
}
