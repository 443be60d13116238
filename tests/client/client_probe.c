/* The client by hand: commands as JSON lines on standard input, what happens as JSON lines on
 * standard output.  What client_test.py and soak.py drive.
 *
 *     client_probe '{"kubeconfig": PATHS, "context": NAME, "seed": N, "rate": N, "burst": N,
 *                    "in_flight": N, "pod": {"host": H, "port": P, "folder": F}}'
 *
 * Commands have "id" and "do": request, watch, store, close, cancel, create, replace, patch, apply,
 * edit, delete, notice, lease, step_down, quit.  Each answer has the id.  It ends with standard
 * input. */
#include "tests/client/client_probe.h"
#include "k8s/client/address.h"
#include "k8s/client/api.h"
#include "k8s/client/elector.h"
#include "k8s/client/notices.h"
#include "k8s/client/object.h"
#include "k8s/client/request.h"
#include "k8s/client/splitter.h"
#include "k8s/client/watch.h"
#include "k8s/client/write.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LONGEST_COMMAND (8u << 20)

const char *probe_text(const json_t *command, const char *key)
{
    return json_string_value(json_object_get(command, key));
}

uint64_t probe_number(const json_t *command, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(command, key));
}

void probe_say(const struct probe_task *task, const char *event, json_t *more)
{
    json_t *line = json_pack("{s:I, s:s}", "id", (json_int_t)task->id, "event", event);
    char *text;

    json_object_update(line, more);
    json_decref(more);
    text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    puts(text);
    fflush(stdout);
    free(text);
}

void probe_say_response(void *who, const struct response *response)
{
    struct probe_task *task = who;
    json_t *more =
        json_pack("{s:i, s:i, s:s, s:s, s:s}", "rc", response->rc, "code", response->code, "reason",
                  response->reason, "message", response->message, "why", response->why);

    if (response->body != NULL)
        json_object_set(more, "body", (json_t *)(uintptr_t)response->body);
    probe_say(task, "done", more);
    task->request = NULL;
    task->write = NULL;
    task->over = true;
}

struct probe_task *probe_find(struct probe *probe, uint64_t id)
{
    for (struct probe_task *task = probe->tasks; task != NULL; task = task->next)
        if (task->id == id)
            return task;
    return NULL;
}

void probe_check(const struct probe_task *task, int rc, const struct rk_why *why)
{
    if (rc != 0)
        probe_say(task, "refused", json_pack("{s:i, s:s}", "rc", rc, "why", why->text));
}

/* ---- requests ---- */

static void do_request(struct probe_task *task, const json_t *command)
{
    static const char *const verbs[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    struct request_spec spec = {.path = strdup(probe_text(command, "path")),
                                .type = probe_text(command, "type"),
                                .body = json_object_get(command, "body"),
                                .deadline = probe_number(command, "deadline_ms") * RK_MS,
                                .silence = probe_number(command, "silence_ms") * RK_MS,
                                .tries = (uint32_t)probe_number(command, "tries"),
                                .most = probe_number(command, "most"),
                                .done = probe_say_response,
                                .who = task};
    struct rk_why why = {""};

    for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++)
        if (probe_text(command, "verb") != NULL &&
            strcmp(verbs[v], probe_text(command, "verb")) == 0)
            spec.verb = (enum verb)v;
    probe_check(task, api_send(task->probe->api, &spec, &task->request, &why), &why);
}

/* ---- watches ---- */

static json_t *summary(const json_t *object)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind", object_kind(object), "namespace",
                     object_namespace(object), "name", object_name(object), "uid",
                     object_uid(object), "version", object_version(object));
}

static void on_begin(void *who)
{
    probe_say(who, "begin_relist", NULL);
}

static void on_end(void *who)
{
    const struct probe_task *task = who;

    probe_say(task, "end_relist",
              json_pack("{s:I}", "count", (json_int_t)store_count(watch_store(task->watch))));
}

/* "close_on" names an object at whose sight the watch is closed from within its callback. */
static void close_on_sight(struct probe_task *task, const json_t *object)
{
    if (task->close_on == NULL || strcmp(object_name(object), task->close_on) != 0)
        return;
    watch_close(task->watch);
    task->watch = NULL;
    probe_say(task, "closed", NULL);
}

static void on_upsert(void *who, const json_t *object, const json_t *old)
{
    json_t *more = summary(object);

    json_object_set_new(more, "new", json_boolean(old == NULL));
    probe_say(who, "upsert", more);
    close_on_sight(who, object);
}

static void on_delete(void *who, const json_t *old)
{
    probe_say(who, "delete", summary(old));
    close_on_sight(who, old);
}

static void on_trouble(void *who, int code, const char *why)
{
    probe_say(who, "trouble", json_pack("{s:i, s:s}", "code", code, "why", why));
}

static void do_watch(struct probe_task *task, const json_t *command)
{
    struct watch_spec spec = {
        .path = strdup(probe_text(command, "path")),
        .labels = probe_text(command, "labels"),
        .fields = probe_text(command, "fields"),
        .page = (uint32_t)probe_number(command, "page"),
        .least_s = (uint32_t)probe_number(command, "least_s"),
        .most_s = (uint32_t)probe_number(command, "most_s"),
        .slack = probe_number(command, "slack_ms") * RK_MS,
        .longest = probe_number(command, "longest"),
        .page_most = probe_number(command, "page_most"),
        .events = {on_begin, on_upsert, on_delete, on_end, on_trouble},
        .who = task,
    };
    struct rk_why why = {""};

    if (probe_text(command, "close_on") != NULL)
        task->close_on = strdup(probe_text(command, "close_on"));
    probe_check(task, watch_open(task->probe->api, &spec, &task->watch, &why), &why);
}

/* Prints what the watch `of` holds, with "whole" the objects themselves. */
static void do_store(struct probe_task *task, const json_t *command)
{
    const struct probe_task *other = probe_find(task->probe, probe_number(command, "of"));
    bool whole = json_is_true(json_object_get(command, "whole"));
    struct store_walk walk = {0};
    json_t *items = json_array();
    const json_t *object;

    if (other != NULL && other->watch != NULL)
        while ((object = store_next(watch_store(other->watch), &walk)) != NULL)
            json_array_append_new(items, whole ? json_deep_copy(object) : summary(object));
    probe_say(task, "store",
              json_pack("{s:o, s:s}", "items", items, "version",
                        other != NULL && other->watch != NULL ? watch_version(other->watch) : ""));
    task->over = true;
}

static void do_close(struct probe_task *task, const json_t *command)
{
    struct probe_task *other = probe_find(task->probe, probe_number(command, "of"));

    if (other != NULL)
        probe_task_stop(other);
    probe_say(task, "closed", NULL);
    task->over = true;
}

/* ---- the rest ---- */

static void do_quit(struct probe_task *task, const json_t *command)
{
    (void)command;
    task->probe->quit = true;
}

static const struct {
    const char *name;
    void (*start)(struct probe_task *task, const json_t *command);
} commands[] = {
    {"request", do_request},
    {"watch", do_watch},
    {"store", do_store},
    {"close", do_close},
    {"cancel", do_close},
    {"create", probe_do_create},
    {"replace", probe_do_replace},
    {"patch", probe_do_patch},
    {"apply", probe_do_apply},
    {"edit", probe_do_edit},
    {"delete", probe_do_delete},
    {"notice", probe_do_notice},
    {"lease", probe_do_lease},
    {"step_down", probe_do_step_down},
    {"quit", do_quit},
};

void probe_task_stop(struct probe_task *task)
{
    request_cancel(task->request);
    watch_close(task->watch);
    write_cancel(task->write);
    elector_close(task->elector);
    task->elector = NULL;
    task->request = NULL;
    task->watch = NULL;
    task->write = NULL;
    task->over = true;
}

static void free_task(struct probe_task *task)
{
    probe_task_stop(task);
    json_decref(task->wanted);
    free(task->close_on);
    free(task);
}

/* Frees the tasks that are over. */
static void sweep(struct probe *probe, bool all)
{
    struct probe_task **at = &probe->tasks;

    while (*at != NULL) {
        struct probe_task *task = *at;

        if (!task->over && !all) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        free_task(task);
    }
}

static bool take_command(void *who, const char *line, size_t length)
{
    struct probe *probe = who;
    json_t *command = json_loadb(line, length, 0, NULL);
    const char *name = probe_text(command, "do");
    struct probe_task *task = calloc(1, sizeof *task);

    task->probe = probe;
    task->id = probe_number(command, "id");
    task->next = probe->tasks;
    probe->tasks = task;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (name != NULL && strcmp(commands[i].name, name) == 0) {
            commands[i].start(task, command);
            name = NULL;
        }
    if (command == NULL || name != NULL)
        probe_say(task, "unknown", NULL);
    json_decref(command);
    return true;
}

static int open_config(const json_t *options, struct api_config *config, struct rk_why *why)
{
    const json_t *pod = json_object_get(options, "pod");
    const char *list = probe_text(options, "kubeconfig");

    if (pod != NULL)
        return api_config_in_cluster(probe_text(pod, "host"), probe_text(pod, "port"),
                                     probe_text(pod, "folder"), config, why);
    return api_config_load(list != NULL ? list : "", probe_text(options, "context"), config, why);
}

/* Reads commands; false at the end of the input. */
static bool read_commands(struct probe *probe, struct splitter *splitter)
{
    char piece[65536];
    ssize_t got = read(0, piece, sizeof piece);

    if (got < 0 && errno == EINTR)
        return true;
    return got > 0 && splitter_feed(splitter, piece, (size_t)got, take_command, probe, NULL) >= 0;
}

static void loop(struct probe *probe)
{
    struct splitter splitter = {.most = LONGEST_COMMAND};
    struct pollfd polls[] = {{.fd = 0, .events = POLLIN},
                             {.fd = api_fd(probe->api), .events = POLLIN}};
    bool more = true;

    while (more && !probe->quit) {
        poll(polls, 2, -1);
        if (polls[0].revents != 0)
            more = read_commands(probe, &splitter);
        api_turn(probe->api, rk_clock_now(), rk_clock_wall());
        sweep(probe, false);
    }
    splitter_done(&splitter);
}

int main(int argc, char **argv)
{
    json_t *options = json_loads(argc > 1 ? argv[1] : "{}", 0, NULL);
    struct api_options api_options = {.user_agent = "probe/1",
                                      .seed = probe_number(options, "seed"),
                                      .rate = (uint32_t)probe_number(options, "rate"),
                                      .burst = (uint32_t)probe_number(options, "burst"),
                                      .in_flight = (uint32_t)probe_number(options, "in_flight")};
    struct probe probe = {0};
    struct api_config config;
    struct rk_why why = {""};
    int rc = open_config(options, &config, &why);

    json_decref(options);
    if (rc == 0)
        rc = api_new(&config, &api_options, &probe.api, &why);
    if (rc != 0) {
        fprintf(stderr, "client_probe: %s\n", why.text);
        return rk_error_exit_code(rc);
    }
    loop(&probe);
    sweep(&probe, true);
    notices_close(probe.notices);
    api_free(probe.api);
    return 0;
}
