/* The hostfile that a command may name, /etc/mpi/hostfile, as this pod sees it; see line.h.
 *
 * It is in a ConfigMap's volume, and the kubelet looks after that more than a minute later, but at
 * once when the pod itself changes.  A run whose mpirun read the hosts of the last one would wait
 * for a worker that is no more: so it starts when the volume knows those of this run. */
#include "launch/pods/line_state.h"

#include "common/log.h"
#include "k8s/render/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE (20 * RK_S)
#define DEADLINE (10 * RK_S)
#define HOST_END " :\t\r\n"

void volume_await(struct line *line)
{
    line->settle_until = line->shell->now + PATIENCE;
}

/* Beside the job's own file; NULL: the command cannot name it either. */
static FILE *open_hostfile(const struct line *line)
{
    const char *config = line->shell->given.config;
    const char *end = strrchr(config, '/');
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%.*s/hostfile", end != NULL ? (int)(end - config) : 1,
             end != NULL ? config : ".");
    return fopen(path, "re");
}

/* A place that has another pod by now counts: reknit-rsh finds that one under the old name. */
static bool is_of_this_run(struct line *line, FILE *file)
{
    uint32_t missing = 0;
    char host[512];

    for (uint32_t i = 0; i < line->posts; i++)
        missing += line->post[i].used;
    while (fgets(host, sizeof host, file) != NULL) {
        const struct post *post;

        host[strcspn(host, HOST_END)] = '\0';
        if (host[0] == '\0' || call_is_here(line, host))
            continue;
        post = posts_find_host(line, host);
        if (post == NULL || !post->used || missing == 0)
            return false;
        missing--;
    }
    return missing == 0;
}

bool volume_settled(struct line *line)
{
    FILE *file = open_hostfile(line);
    bool settled = file == NULL || is_of_this_run(line, file);

    if (file != NULL)
        fclose(file);
    if (!settled && line->shell->now >= line->settle_until) {
        rk_warn("the hostfile of this pod is still that of an earlier run: a command that names it "
                "will find workers there that are gone");
        return true;
    }
    return settled;
}

static void on_touched(void *who, const struct response *response)
{
    struct line *line = who;

    line->touch = NULL;
    if (response->rc != 0)
        rk_warn("this pod cannot be changed: %s", response->why);
}

void volume_touch(struct line *line)
{
    const struct shell *shell = line->shell;
    const struct write_spec spec = {.version = "v1",
                                    .namespace = shell->namespace,
                                    .plural = "pods",
                                    .name = shell->given.pod_name,
                                    .deadline = DEADLINE,
                                    .done = on_touched,
                                    .who = line};
    struct rk_why why = {""};
    char value[24]; /* never the same twice, or the pod would not change */
    json_t *patch;

    write_cancel(line->touch);
    line->touch = NULL;
    snprintf(value, sizeof value, "%" PRIu64, shell->now);
    patch = json_pack("{s:{s:{s:s}}}", "metadata", "annotations", ANNOTATION_HOSTS, value);
    if (write_patch(shell->api, &spec, TYPE_MERGE_PATCH, patch, &line->touch, &why) != 0)
        rk_warn("this pod cannot be changed: %s", why.text);
    json_decref(patch);
}

void volume_close(struct line *line)
{
    write_cancel(line->touch);
}
