/* What a line's command finds, and what the next first process of this pod does; see line.h.
 *
 * A ConfigMap's volume may be more than a minute behind, so the command gets hostfiles of its own;
 * the ConfigMap follows for everybody else. */
#include "launch/pods/line_state.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE (30 * RK_S)
#define WRITE_AGAIN RK_S
#define HOSTFILE "hostfile"
#define HYDRA_HOSTFILE "hostfile.hydra"
#define DISCOVER "discover_hosts.sh"

static const char *const keys[] = {HOSTFILE, DISCOVER};

static void path_of(const struct line *line, const char *name, char path[PATH_MAX + 64])
{
    snprintf(path, PATH_MAX + 64, "%s/%s", line->shell->directories.run, name);
}

int files_open(struct line *line, struct rk_why *why)
{
    char path[PATH_MAX + 64];

    path_of(line, "rsh.sock", path);
    if (strlen(path) >= sizeof line->socket_path)
        return rk_fail(why, RK_EFULL, "--state-dir %s is too long a path for a socket",
                       line->shell->given.state_dir);
    strcpy(line->socket_path, path);
    environment_set(line, HOSTFILE, HYDRA_HOSTFILE);
    return 0;
}

void files_close(struct line *line)
{
    write_cancel(line->write);
    volume_close(line);
    free(line->hostfile);
    free(line->discover);
    for (int i = 0; i < 2; i++) {
        free(line->writing[i]);
        free(line->written[i]);
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Under another name first: a reader sees the old text or the new one. */
static int write_file(const struct line *line, const char *name, const char *text, mode_t mode,
                      struct rk_why *why)
{
    char fresh[PATH_MAX + 64];
    char path[PATH_MAX + 64];
    ssize_t size = (ssize_t)strlen(text);
    int fd;
    int rc = 0;

    path_of(line, name, path);
    path_of(line, ".fresh", fresh);
    unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, text, (size_t)size) != size)
        rc = rk_fail_errno(why, errno, "%s cannot be written", fresh);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && rename(fresh, path) != 0)
        rc = rk_fail_errno(why, errno, "%s cannot be written", path);
    return rc;
}

/* Names of those that are `used`, or of all that are connected. */
static size_t list_names(const struct line *line, bool used, const char **name)
{
    size_t count = 0;

    for (uint32_t i = 0; i < line->posts; i++)
        if (used ? line->post[i].used : line->post[i].connected)
            name[count++] = line->post[i].name;
    return count;
}

/* In the form that an implementation reads. */
static char *render_hosts(const struct line *line, enum mpijob_implementation implementation)
{
    struct mpijob job = *line->shell->job;
    const char **name = calloc(line->posts + 1, sizeof *name);
    char *text = NULL;

    job.implementation = implementation;
    if (name != NULL)
        text = render_hostfile(&job, line->shell->namespace, name, list_names(line, true, name));
    free(name);
    return text;
}

static char *render_discover(const struct line *line)
{
    const struct shell *shell = line->shell;
    const char **name = calloc(line->posts + 1, sizeof *name);
    char *text = NULL;

    if (name != NULL)
        text = render_discover_hosts(shell->job, shell->namespace, name,
                                     list_names(line, false, name));
    free(name);
    return text;
}

static int write_discover(struct line *line, struct rk_why *why)
{
    char *text = render_discover(line);

    if (text == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the list of hosts");
    if (line->discover != NULL && strcmp(line->discover, text) == 0) {
        free(text);
        return 0;
    }
    free(line->discover);
    line->discover = text;
    return write_file(line, DISCOVER, text, 0755, why);
}

static int write_hosts(const struct line *line, const char *name,
                       enum mpijob_implementation implementation, struct rk_why *why)
{
    char *text = render_hosts(line, implementation);
    int rc = text == NULL ? rk_fail(why, RK_ENOMEM, "no memory for the hostfile")
                          : write_file(line, name, text, 0644, why);

    free(text);
    return rc;
}

/* Both forms, whatever the manifest says: each implementation is told its own. */
int files_write(struct line *line, struct rk_why *why)
{
    int rc = write_hosts(line, HOSTFILE, MPIJOB_OPENMPI, why);

    if (rc == 0)
        rc = write_hosts(line, HYDRA_HOSTFILE, MPIJOB_MPICH, why);
    if (rc != 0)
        return rc;
    free(line->hostfile);
    line->hostfile = render_hosts(line, line->shell->job->implementation);
    return line->hostfile != NULL ? 0 : rk_fail(why, RK_ENOMEM, "no memory for the hostfile");
}

/* ---- the ConfigMap --------------------------------------------------------------------------- */

static bool differs(const char *wanted, const char *written)
{
    return wanted != NULL && (written == NULL || strcmp(wanted, written) != 0);
}

static void on_written(void *who, const struct response *response)
{
    struct line *line = who;

    line->write = NULL;
    if (response->rc != 0) {
        rk_warn("the job's ConfigMap is behind: %s", response->why);
        line->write_at = line->shell->now + WRITE_AGAIN;
    }
    for (int i = 0; i < 2; i++) {
        free(response->rc == 0 ? line->written[i] : line->writing[i]);
        if (response->rc == 0)
            line->written[i] = line->writing[i];
        line->writing[i] = NULL;
    }
    if (line->state == LINE_SETTLES && !differs(line->hostfile, line->written[0]))
        volume_touch(line);
}

static void write_map(struct line *line)
{
    const struct shell *shell = line->shell;
    char name[256];
    const struct write_spec spec = {.version = "v1",
                                    .namespace = shell->namespace,
                                    .plural = "configmaps",
                                    .name = name,
                                    .deadline = DEADLINE,
                                    .done = on_written,
                                    .who = line};
    json_t *patch =
        json_pack("{s:{s:s?,s:s?}}", "data", keys[0], line->hostfile, keys[1], line->discover);
    struct rk_why why = {""};

    snprintf(name, sizeof name, "%s-config", shell->job->name);
    line->writing[0] = line->hostfile != NULL ? strdup(line->hostfile) : NULL;
    line->writing[1] = line->discover != NULL ? strdup(line->discover) : NULL;
    if (write_patch(shell->api, &spec, TYPE_MERGE_PATCH, patch, &line->write, &why) != 0) {
        const struct response failed = {.rc = RK_ENOMEM, .why = why.text};

        on_written(line, &failed);
    }
    json_decref(patch);
}

void files_turn(struct line *line)
{
    struct rk_why why = {""};

    if (line->state == LINE_OVER || line->write != NULL || line->shell->now < line->write_at)
        return;
    if (write_discover(line, &why) != 0)
        rk_warn("%s", why.text);
    if (line->hostfile != NULL &&
        (differs(line->hostfile, line->written[0]) || differs(line->discover, line->written[1])))
        write_map(line);
}

/* ---- what must outlive this process ---------------------------------------------------------- */

static void record_path(const struct line *line, char path[PATH_MAX + 64])
{
    snprintf(path, PATH_MAX + 64, "%s/record", line->shell->directories.state);
}

static int put_record(const struct line *line, const json_t *record)
{
    char path[PATH_MAX + 64];
    char fresh[PATH_MAX + 80];

    record_path(line, path);
    snprintf(fresh, sizeof fresh, "%s.fresh", path);
    return json_dump_file(record, fresh, JSON_COMPACT) != 0 || rename(fresh, path) != 0 ? -1 : 0;
}

/* Runs are counted, and in a run tickets; NULL is older than all. */
static bool is_newer(const json_t *a, const json_t *b)
{
    json_int_t run = json_integer_value(json_object_get(a, "line"));
    json_int_t other = json_integer_value(json_object_get(b, "line"));

    if (a == NULL || b == NULL || run != other)
        return a != NULL && (b == NULL || run > other);
    return json_integer_value(json_object_get(a, "tickets")) >
           json_integer_value(json_object_get(b, "tickets"));
}

int line_restore(const struct shell *shell, const char *copy, struct rk_why *why)
{
    char path[PATH_MAX + 64];
    json_t *there = copy != NULL ? json_loads(copy, 0, NULL) : NULL;
    json_t *here;
    int rc = 0;

    record_path(shell->line, path);
    here = json_load_file(path, 0, NULL);
    if (is_newer(there, here) && put_record(shell->line, there) != 0)
        rc = rk_fail_errno(why, errno, "%s cannot be written", path);
    json_decref(here);
    json_decref(there);
    return rc;
}

void files_load(struct line *line)
{
    char path[PATH_MAX + 64];
    json_t *record;

    record_path(line, path);
    record = json_load_file(path, 0, NULL);
    line->number = (uint32_t)json_integer_value(json_object_get(record, "line"));
    line->restarts = (uint32_t)json_integer_value(json_object_get(record, "restarts"));
    line->tickets = (uint32_t)json_integer_value(json_object_get(record, "tickets"));
    if (line->number > 0)
        snprintf(line->reason, sizeof line->reason,
                 "the first process of the coordinator's pod was lost in run %u", line->number);
    json_decref(record);
}

void files_save(const struct line *line)
{
    json_t *record = json_pack("{s:I,s:I,s:I}", "line", (json_int_t)line->number, "restarts",
                               (json_int_t)line->restarts, "tickets", (json_int_t)line->tickets);

    if (put_record(line, record) != 0)
        rk_warn("the record of the command's runs cannot be written to %s: %s",
                line->shell->directories.state, strerror(errno));
    json_decref(record);
}
