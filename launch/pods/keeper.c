/* The record's copy in the cluster: the ConfigMap NAME-record.
 *
 * The coordinator writes its record to a file of this pod and goes on without waiting for the disk.
 * Here the file is copied to the cluster soon after, for the pod that comes when this one is lost,
 * and for this one where a power failure takes the file back to what it was, or damages it.  That
 * copy may be some changes old; what must not be told wrong is whose epoch it is, and that is
 * decided there: epochs are taken in blocks, by a write under the object's resourceVersion, before
 * a coordinator starts.  So no two pods ever start coordinators of one epoch, and one that dies is
 * started again at once, whether the API answers or not.  A pod that finds another's name in the
 * object ends. */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "common/number.h"
#include "coordinator/coordinator.h"
#include "k8s/client/address.h"
#include "launch/pods/line.h"
#include "launch/pods/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EPOCHS 16u /* of a block: lives of a coordinator without the API */
#define MOST_EPOCHS ((UINT32_C(1) << 24) - 1)
#define LOOK (200 * RK_MS) /* how often the file is looked at */
#define TEXT_MAX 8192
#define DEADLINE (30 * RK_S)

static void take_epochs(struct shell *shell);

/* ---- the file -------------------------------------------------------------------------------- */

static void path_of(const struct shell *shell, char *path, size_t size)
{
    snprintf(path, size, "%s/record", shell->directories.state);
}

/* NULL: there is none. */
static char *read_file(const struct shell *shell)
{
    char path[PATH_MAX + 16];
    char text[TEXT_MAX];
    ssize_t size;
    int fd;

    path_of(shell, path, sizeof path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size < 0)
        return NULL;
    text[size] = '\0';
    return strdup(text);
}

/* ---- the object ------------------------------------------------------------------------------ */

static const char *data_of(const json_t *map, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(map, "data"), key));

    return text != NULL ? text : "";
}

/* The first epoch that nobody has taken. */
static uint32_t next_epoch(const json_t *map)
{
    uint64_t epoch;

    return rk_number_parse(data_of(map, "epochs"), 1, MOST_EPOCHS, &epoch) ? (uint32_t)epoch : 1;
}

static void set_data(json_t *map, const char *key, const char *text)
{
    json_t *data = json_object_get(map, "data");

    if (!json_is_object(data)) {
        data = json_object();
        json_object_set_new(map, "data", data);
    }
    json_object_set_new(data, key, json_string(text));
}

static int send_map(struct shell *shell, enum verb verb, json_t *map, request_done *done,
                    struct rk_why *why)
{
    char name[256];
    struct request_spec spec = {
        .verb = verb, .body = map, .deadline = DEADLINE, .done = done, .who = shell};

    snprintf(name, sizeof name, "%s-record", shell->job->name);
    spec.path =
        api_path("v1", shell->namespace, "configmaps", verb == VERB_POST ? NULL : name, NULL);
    return api_send(shell->api, &spec, &shell->keeper.request, why);
}

static void remember(struct keeper *keeper, const json_t *map)
{
    json_decref(keeper->map);
    keeper->map = json_deep_copy(map);
    free(keeper->kept);
    keeper->kept = strdup(data_of(map, "record"));
}

/* `text` NULL: the record stays as it is there. */
static void fill(struct shell *shell, json_t *map, const char *text)
{
    if (text != NULL)
        set_data(map, "record", text);
    causes_fill(shell, json_object_get(map, "data"));
    resize_fill(shell, json_object_get(map, "data"), text);
    shell->keeper.causes = shell->causes.changed;
}

/* ---- taking epochs --------------------------------------------------------------------------- */

static void failed(struct shell *shell, const struct response *response)
{
    if (shell->step != SETUP_DONE)
        setup_fail(shell, response->rc, "the job's record in the cluster", response);
    else
        rk_warn("the job's record in the cluster: %s; tried again", response->why);
}

/* What this pod's last coordinator left is older than the copy where a power failure undid it. */
static int restore(const struct shell *shell, struct rk_why *why)
{
    const char *kept = shell->keeper.kept;

    return shell->line != NULL ? line_restore(shell, kept, why)
                               : coordinator_restore(shell->directories.state, kept, why);
}

static void took(struct shell *shell)
{
    struct keeper *keeper = &shell->keeper;
    struct rk_why why = {""}, told;

    keeper->epoch_end = next_epoch(keeper->map);
    keeper->epoch = keeper->epoch_end - EPOCHS;
    if (restore(shell, &why) != 0) {
        rk_fail(&told, RK_EDATA, "the job's record (ConfigMap %s-record): %s", shell->job->name,
                why.text);
        shell_end(shell, 69, told.text);
        return;
    }
    if (shell->step != SETUP_DONE)
        setup_next(shell);
    else
        shell->start_at = shell->now;
}

static void on_found(void *who, const struct response *response)
{
    struct shell *shell = who;

    shell->keeper.request = NULL;
    if (response->rc == 0)
        remember(&shell->keeper, response->body);
    else if (response->rc != RK_ENOENT) {
        failed(shell, response);
        return;
    }
    take_epochs(shell);
}

static void look_again(struct shell *shell)
{
    struct rk_why why = {""};

    if (send_map(shell, VERB_GET, NULL, on_found, &why) != 0)
        shell_end(shell, 69, why.text);
}

static void on_taken(void *who, const struct response *response)
{
    struct shell *shell = who;

    shell->keeper.request = NULL;
    if (response->rc == 0) {
        remember(&shell->keeper, response->body);
        took(shell);
    } else if (response->rc == RK_ESTATE || response->rc == RK_EEXIST ||
               response->rc == RK_ENOENT) {
        look_again(shell); /* somebody else was quicker */
    } else {
        failed(shell, response);
    }
}

static void take_epochs(struct shell *shell)
{
    struct keeper *keeper = &shell->keeper;
    bool fresh = keeper->map == NULL;
    json_t *map =
        fresh ? objects_new(shell->job, shell->namespace, shell->owner, "ConfigMap", "-record")
              : json_deep_copy(keeper->map);
    uint32_t epoch = next_epoch(map);
    struct rk_why why = {""};
    char text[16];

    if (epoch > MOST_EPOCHS - EPOCHS) {
        shell_end(shell, 70, "the job has no further epoch: start it under another name");
        json_decref(map);
        return;
    }
    snprintf(text, sizeof text, "%u", epoch + EPOCHS);
    set_data(map, "epochs", text);
    set_data(map, "pod", shell->given.pod_uid);
    if (shell->step != SETUP_DONE) {
        causes_load(shell, data_of(map, "losses"));
        resize_load(shell, json_object_get(map, "data"));
    }
    fill(shell, map, NULL);
    if (send_map(shell, fresh ? VERB_POST : VERB_PUT, map, on_taken, &why) != 0)
        shell_end(shell, 69, why.text);
    json_decref(map);
}

void keeper_start(struct shell *shell)
{
    look_again(shell);
}

bool keeper_epoch(struct shell *shell, uint32_t *epoch)
{
    struct keeper *keeper = &shell->keeper;

    if (keeper->epoch < keeper->epoch_end) {
        *epoch = keeper->epoch++;
        return true;
    }
    if (keeper->request == NULL)
        look_again(shell);
    return false;
}

/* ---- copying --------------------------------------------------------------------------------- */

static void on_seen(void *who, const struct response *response)
{
    struct shell *shell = who;

    shell->keeper.request = NULL;
    if (response->rc != 0)
        return;
    if (strcmp(data_of(response->body, "pod"), shell->given.pod_uid) != 0) {
        shell_leave(shell, "another pod has taken this job over");
        return;
    }
    remember(&shell->keeper, response->body);
}

static void on_copied(void *who, const struct response *response)
{
    struct shell *shell = who;
    struct rk_why why = {""};

    shell->keeper.request = NULL;
    if (response->rc == 0) {
        remember(&shell->keeper, response->body);
        shell->causes.kept = shell->keeper.causes;
    } else if (response->rc == RK_ESTATE || response->rc == RK_ENOENT)
        send_map(shell, VERB_GET, NULL, on_seen, &why);
    else
        rk_warn("the job's record in the cluster is behind: %s", response->why);
}

static void copy(struct shell *shell, const char *text)
{
    json_t *map = json_deep_copy(shell->keeper.map);
    struct rk_why why = {""};

    fill(shell, map, text);
    if (send_map(shell, VERB_PUT, map, on_copied, &why) != 0)
        rk_warn("the job's record in the cluster is behind: %s", why.text);
    json_decref(map);
}

void keeper_turn(struct shell *shell)
{
    struct keeper *keeper = &shell->keeper;
    char *text;

    if (shell->step != SETUP_DONE || keeper->request != NULL || shell->now < keeper->look_at)
        return;
    keeper->look_at = shell->now + LOOK;
    text = read_file(shell);
    keeper->behind = shell->causes.changed != shell->causes.kept ||
                     (text != NULL && (keeper->kept == NULL || strcmp(text, keeper->kept) != 0));
    if (keeper->behind)
        copy(shell, text);
    free(text);
}

void keeper_look(struct shell *shell)
{
    shell->keeper.look_at = 0;
    shell->keeper.behind = true;
}

bool keeper_idle(const struct shell *shell)
{
    return !shell->keeper.behind && shell->keeper.request == NULL;
}

void keeper_close(struct shell *shell)
{
    json_decref(shell->keeper.map);
    free(shell->keeper.kept);
}
