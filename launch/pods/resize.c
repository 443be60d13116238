/* The number of workers, changed while the job runs; see shell.h.
 *
 * The Job NAME-launcher says it in an annotation, which whoever edits the MPIJob sets: the
 * operator, `reknit submit`, `kubectl apply` of a new rendering.  It is watched here, and each new
 * number is carried out once, or refused once:
 *
 *   wanted   as the Job says now
 *   asked    the last number that was carried out or refused
 *   size     the one that holds, as far as the Job decides (`reknit scale` may have changed it
 * since) most     the room that the job began with; its coordinator counts by it, so it stays
 *
 * The last three stand in the ConfigMap NAME-record, for the pod that comes when this one is lost.
 * `asked` and `size` get there with, or after, the coordinator's own record of them: else a pod
 * that came in between would take an old size for the new one. */
#include "launch/pods/line.h"

#include "common/log.h"
#include "common/number.h"
#include "k8s/client/address.h"
#include "k8s/render/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_WITHIN (5 * RK_S)
#define AGAIN (RK_S / 5)
#define DEADLINE (30 * RK_S)
#define LINE_ROOM 64u /* workers more than a line began with, or four times as many */
#define MOST 65000u

static uint32_t number_of(const char *text)
{
    uint64_t value;

    return text != NULL && rk_number_parse(text, 1, MOST, &value) ? (uint32_t)value : 0;
}

static uint32_t number_at(const json_t *object, const char *key)
{
    return number_of(json_string_value(json_object_get(object, key)));
}

static bool is_given(const struct shell *shell, const char *annotation)
{
    const json_t *metadata = json_object_get(shell->job->object, "metadata");

    return json_object_get(json_object_get(metadata, "annotations"), annotation) != NULL;
}

/* ---- at the start ---------------------------------------------------------------------------- */

void resize_said(struct shell *shell, const json_t *job)
{
    const json_t *metadata = json_object_get(job, "metadata");
    uint32_t wanted = number_at(json_object_get(metadata, "annotations"), ANNOTATION_WORKERS);

    if (wanted != 0 && shell->job->worker.template != NULL)
        shell->resize.wanted = wanted;
}

static uint32_t room_of(const struct shell *shell)
{
    uint32_t workers = shell->job->worker.replicas;
    uint32_t room = 4 * workers > workers + LINE_ROOM ? 4 * workers : workers + LINE_ROOM;

    if (shell->line == NULL || is_given(shell, "reknit.dev/max-workers"))
        return shell->job->settings.max_workers;
    return room < MOST ? room : MOST;
}

/* Of a job that has ended, as one that was suspended has, only the checkpoints go on. */
static bool goes_on(const json_t *data)
{
    const char *record = json_string_value(json_object_get(data, "record"));

    return record != NULL && strstr(record, "\nended 1\n") == NULL;
}

void resize_load(struct shell *shell, const json_t *data)
{
    struct resize *resize = &shell->resize;
    struct mpijob *job = shell->job;
    bool known = goes_on(data) && number_at(data, "most") != 0;

    resize->most = known ? number_at(data, "most") : room_of(shell);
    if (shell->line == NULL)
        job->settings.max_workers = resize->most;
    if (!known && resize->wanted >= job->settings.min_workers && resize->wanted <= resize->most)
        job->worker.replicas = resize->wanted;
    if (known && number_at(data, "workers") != 0)
        job->worker.replicas = number_at(data, "workers");
    if (job->worker.replicas > resize->most)
        job->worker.replicas = resize->most;
    resize->size = job->worker.replicas;
    resize->asked = known ? number_at(data, "asked") : resize->size;
    resize->settled = true;
    shell_fill_options(shell);
}

static void set_number(json_t *data, const char *key, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof text, "%" PRIu32, value);
    json_object_set_new(data, key, json_string(text));
}

/* `record`: the coordinator's, as it is written now; NULL: it is not. */
void resize_fill(struct shell *shell, json_t *data, const char *record)
{
    struct resize *resize = &shell->resize;
    char target[48];

    snprintf(target, sizeof target, "\ntarget_workers %" PRIu32 "\n",
             resize->size + mpijob_own(shell->job));
    if (shell->line != NULL || (record != NULL && strstr(record, target) != NULL))
        resize->settled = true;
    if (resize->most == 0 || !resize->settled)
        return;
    set_number(data, "most", resize->most);
    set_number(data, "workers", resize->size);
    set_number(data, "asked", resize->asked);
    if (resize->refused[0] != '\0')
        json_object_set_new(data, "refused", json_string(resize->refused));
    else
        json_object_del(data, "refused");
}

/* ---- refused --------------------------------------------------------------------------------- */

static void tell(struct shell *shell, bool warning, const char *reason, const char *text)
{
    struct pods_action told = {.kind = PODS_DO_EVENT, .warning = warning, .reason = reason};

    snprintf(told.text, sizeof told.text, "%s", text);
    cluster_tell(shell, &told);
}

static void answered(struct shell *shell)
{
    shell->resize.asked = shell->resize.asking;
    shell->resize.asking = 0;
    shell->causes.changed++;
    keeper_look(shell);
}

static void refuse(struct shell *shell, const char *why)
{
    struct resize *resize = &shell->resize;

    snprintf(resize->refused, sizeof resize->refused, "%s", why);
    answered(shell);
    tell(shell, true, "WorkersNotResized", resize->refused);
}

static uint32_t least_of(const struct shell *shell)
{
    return shell->line == NULL || is_given(shell, "reknit.dev/min-workers")
               ? shell->job->settings.min_workers
               : 1;
}

static bool is_in_range(struct shell *shell, uint32_t workers)
{
    uint32_t least = least_of(shell);
    char shards[64] = "";
    char text[400];

    if (workers >= least && workers <= shell->resize.most)
        return true;
    if (shell->line == NULL && workers * shell->job->slots > shell->options.shards)
        snprintf(shards, sizeof shards, " (from another reknit.dev/checkpoint-dir)");
    else if (shell->line == NULL &&
             run_options_shards(workers * shell->job->slots) > shell->options.shards)
        snprintf(shards, sizeof shards, " and reknit.dev/shards to %" PRIu32,
                 shell->options.shards);
    snprintf(text, sizeof text,
             "Worker.replicas %" PRIu32 " is not followed, the job goes on with %" PRIu32
             ": it began with room for %" PRIu32 " to %" PRIu32
             " workers; set annotation reknit.dev/%s-workers of the MPIJob to %" PRIu32
             "%s, then suspend and resume it, or set replicas within that range",
             workers, shell->resize.size, least, shell->resize.most,
             workers < least ? "min" : "max", workers, shards);
    refuse(shell, text);
    return false;
}

/* ---- carried out ----------------------------------------------------------------------------- */

static void on_written(void *who, const struct response *response)
{
    struct follower *follower = who;

    follower->write = NULL;
    if (response->rc != 0)
        rk_warn("%s: %s", follower->behind, response->why);
}

/* Takes `patch`, NULL: there is nothing to write. */
static void write_anew(struct shell *shell, struct follower *follower, struct write_spec spec,
                       json_t *patch)
{
    struct rk_why why = {""};

    spec.namespace = shell->namespace;
    spec.deadline = DEADLINE;
    spec.done = on_written;
    spec.who = follower;
    write_cancel(follower->write);
    follower->write = NULL;
    if (patch != NULL &&
        write_patch(shell->api, &spec, TYPE_MERGE_PATCH, patch, &follower->write, &why) != 0)
        rk_warn("%s: %s", follower->behind, why.text);
    json_decref(patch);
}

/* Of a line the hostfile is what its next run has. */
static void write_hosts(struct shell *shell)
{
    struct follower *hosts = &shell->resize.hosts;
    char *text = render_hostfile(shell->job, shell->namespace, NULL, shell->resize.size);
    json_t *patch = text != NULL ? json_pack("{s:{s:s}}", "data", "hostfile", text) : NULL;
    char name[256];

    hosts->behind = "the hostfile in the job's ConfigMap is behind";
    snprintf(name, sizeof name, "%s-config", shell->job->name);
    if (patch == NULL)
        rk_warn("%s: no memory", hosts->behind);
    write_anew(shell, hosts,
               (struct write_spec){.version = "v1", .plural = "configmaps", .name = name}, patch);
    free(text);
}

/* A gang scheduler places none of a group's pods while there are fewer than its least, so not the
 * successors of a job that has become smaller either. */
static void write_group(struct shell *shell)
{
    const struct render_options options = {.namespace = shell->namespace,
                                           .gang = shell->given.gang};
    struct follower *group = &shell->resize.group;
    struct write_spec spec = {.plural = "podgroups", .name = shell->job->name};
    struct rk_why why = {""};
    json_t *patch = NULL;

    group->behind = "the job's PodGroup still asks for the size before";
    if (render_group_size(shell->job, &options, &spec.version, &patch, &why) != 0)
        rk_warn("%s: %s", group->behind, why.text);
    write_anew(shell, group, spec, patch);
}

static void done(struct shell *shell)
{
    struct resize *resize = &shell->resize;
    uint32_t before = resize->size;
    char text[160];

    resize->size = resize->asking;
    resize->settled = resize->size == before && resize->settled;
    resize->refused[0] = '\0';
    shell->job->worker.replicas = resize->size;
    snprintf(shell->workers, sizeof shell->workers, "%u:%u", shell->job->settings.min_workers,
             resize->size + mpijob_own(shell->job));
    answered(shell);
    snprintf(text, sizeof text, "the job goes on with %" PRIu32 " workers, it had %" PRIu32,
             resize->size, before);
    tell(shell, false, "WorkersResized", text);
    if (shell->line == NULL)
        write_hosts(shell);
    write_group(shell);
}

void resize_answer(struct shell *shell, const Rk__Resize *answer)
{
    uint32_t own = mpijob_own(shell->job);
    char text[400];

    if (shell->resize.asking == 0 || answer->workers != shell->resize.asking + own)
        return; /* late: another number is asked for by now */
    if (answer->code == RK_EUNAVAILABLE)
        shell->resize.again = shell->now + AGAIN;
    if (answer->code == RK_EUNAVAILABLE || answer->code == RK_ESTATE)
        return; /* it has just begun, or is ending */
    if (answer->code == 0) {
        done(shell);
        return;
    }
    snprintf(text, sizeof text, "Worker.replicas %" PRIu32 " is not followed: %.300s",
             answer->workers - own, answer->why);
    refuse(shell, text);
}

void resize_turn(struct shell *shell)
{
    struct resize *resize = &shell->resize;

    if (shell->ended || shell->leave || shell->step != SETUP_DONE || resize->watch == NULL)
        return;
    if (resize->asking != 0 && shell->now < resize->again)
        return;
    if (resize->wanted == 0 || resize->wanted == resize->asked) {
        resize->asking = 0;
        return;
    }
    if (shell->line == NULL && (shell->link == NULL || !link_up(shell->link)))
        return;
    resize->asking = resize->wanted;
    resize->again = shell->now + ANSWER_WITHIN;
    if (!is_in_range(shell, resize->asking))
        return;
    if (shell->line == NULL)
        talk_resize(shell, resize->asking + mpijob_own(shell->job));
    else if (line_resize(shell, resize->asking))
        done(shell);
}

/* ---- the watch ------------------------------------------------------------------------------- */

static void on_job(void *who, const json_t *object, const json_t *old)
{
    (void)old;
    resize_said(who, object);
}

static void on_trouble(void *who, int code, const char *why)
{
    (void)who;
    (void)code;
    rk_warn("the watch of the job's Job: %s", why);
}

int resize_open(struct shell *shell, struct rk_why *why)
{
    char fields[300];
    struct watch_spec spec = {
        .path = api_path("batch/v1", shell->namespace, "jobs", NULL, NULL),
        .fields = fields,
        .events = {NULL, on_job, NULL, NULL, on_trouble},
        .who = shell,
    };

    snprintf(fields, sizeof fields, "metadata.name=%s-launcher", shell->job->name);
    return watch_open(shell->api, &spec, &shell->resize.watch, why);
}

void resize_close(struct shell *shell)
{
    write_cancel(shell->resize.hosts.write);
    write_cancel(shell->resize.group.write);
    watch_close(shell->resize.watch);
}
