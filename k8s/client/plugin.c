/* Exec plugins; see plugin.h.
 *
 * The child is a process group of its own, so that what it started goes with it at the deadline.
 * It has ended when it was waited for; what it printed is then read to the end of what is there. */
#include "k8s/client/plugin.h"

#include "k8s/client/file.h"
#include "k8s/client/when.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_OUT (1u << 20)
#define MOST_ERRORS 400u

/* What comes through a pipe of the child's. */
struct pipe {
    struct source source;
    struct api *api;
    char *text;
    size_t used, most;
};

struct plugin {
    struct api *api;
    const struct api_config *config;
    plugin_done *done;
    void *who;
    pid_t pid;
    struct source process; /* a pidfd */
    struct pipe out, errors;
    struct timer deadline;
    bool late;
};

void plugin_answer_done(struct plugin_answer *answer)
{
    char *secrets[] = {answer->token, answer->cert, answer->key};

    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (secrets[i] != NULL)
            explicit_bzero(secrets[i], strlen(secrets[i]));
        free(secrets[i]);
    }
    memset(answer, 0, sizeof *answer);
}

/* Takes a member that is text; false: no memory. */
static bool take(const json_t *status, const char *key, char **to)
{
    const char *text = json_string_value(json_object_get(status, key));

    if (text == NULL || *text == '\0')
        return true;
    *to = strdup(text);
    return *to != NULL;
}

static int check_answer(const json_t *root, const char *api_version, struct rk_why *why)
{
    const char *kind = json_string_value(json_object_get(root, "kind"));
    const char *version = json_string_value(json_object_get(root, "apiVersion"));

    if (kind == NULL || strcmp(kind, "ExecCredential") != 0)
        return rk_fail(why, RK_EDATA, "it did not print an ExecCredential");
    if (version == NULL || strcmp(version, api_version) != 0)
        return rk_fail(why, RK_EDATA, "it answered with apiVersion '%.60s', wanted was '%s'",
                       version != NULL ? version : "", api_version);
    return 0;
}

static int take_answer(const json_t *status, struct plugin_answer *answer, struct rk_why *why)
{
    const char *expires = json_string_value(json_object_get(status, "expirationTimestamp"));

    if (!take(status, "token", &answer->token) ||
        !take(status, "clientCertificateData", &answer->cert) ||
        !take(status, "clientKeyData", &answer->key))
        return rk_fail(why, RK_ENOMEM, "no memory for what it printed");
    if (answer->token == NULL && answer->cert == NULL)
        return rk_fail(why, RK_EDATA, "status has neither token nor clientCertificateData");
    if ((answer->cert == NULL) != (answer->key == NULL))
        return rk_fail(why, RK_EDATA,
                       "status must have clientCertificateData and clientKeyData, or neither");
    for (const char *c = answer->token; c != NULL && *c != '\0'; c++)
        if (*c <= ' ' || *c == 0x7f)
            return rk_fail(why, RK_EDATA, "status.token has characters that no token has");
    if (expires != NULL && !when_parse(expires, &answer->expires))
        return rk_fail(why, RK_EDATA, "status.expirationTimestamp '%.40s' is no time", expires);
    return 0;
}

int plugin_parse(const char *text, size_t size, const char *api_version,
                 struct plugin_answer *answer, struct rk_why *why)
{
    json_t *root = json_loadb(text, size, 0, NULL);
    int rc;

    memset(answer, 0, sizeof *answer);
    rc = check_answer(root, api_version, why);
    if (rc == 0)
        rc = take_answer(json_object_get(root, "status"), answer, why);
    json_decref(root);
    if (rc != 0)
        plugin_answer_done(answer);
    return rc;
}

char *plugin_info(const struct api_config *config)
{
    json_t *spec = json_pack("{s:b}", "interactive", 0);
    json_t *info =
        json_pack("{s:O, s:s, s:o}", "apiVersion", json_object_get(config->exec, "apiVersion"),
                  "kind", "ExecCredential", "spec", spec);
    char *text;

    if (info != NULL && json_is_true(json_object_get(config->exec, "provideClusterInfo")))
        json_object_set(spec, "cluster", config->exec_cluster);
    text = info != NULL ? json_dumps(info, JSON_COMPACT) : NULL;
    json_decref(info);
    return text;
}

static void close_source(struct api *api, struct source *source)
{
    if (source->fd < 0)
        return;
    loop_remove(api, source);
    close(source->fd);
    source->fd = -1;
}

void plugin_free(struct plugin *plugin)
{
    if (plugin == NULL)
        return;
    timers_stop(loop_timers(plugin->api), &plugin->deadline);
    if (plugin->pid > 0) {
        kill(-plugin->pid, SIGKILL);
        kill(plugin->pid, SIGKILL);
        waitpid(plugin->pid, NULL, 0);
    }
    close_source(plugin->api, &plugin->process);
    close_source(plugin->api, &plugin->out.source);
    close_source(plugin->api, &plugin->errors.source);
    if (plugin->out.text != NULL)
        explicit_bzero(plugin->out.text, plugin->out.used);
    free(plugin->out.text);
    free(plugin->errors.text);
    free(plugin);
}

/* Reads what is there; what is over `most` is dropped. */
static void on_pipe(void *who, uint32_t events)
{
    struct pipe *pipe = who;
    char piece[4096];
    ssize_t got;

    (void)events;
    while ((got = read(pipe->source.fd, piece, sizeof piece)) > 0) {
        size_t room = pipe->most - pipe->used;
        size_t count = (size_t)got < room ? (size_t)got : room;
        char *grown = realloc(pipe->text, pipe->used + count + 1);

        if (grown == NULL)
            break;
        pipe->text = grown;
        memcpy(grown + pipe->used, piece, count);
        pipe->used += count;
        grown[pipe->used] = '\0';
    }
    explicit_bzero(piece, sizeof piece);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        close_source(pipe->api, &pipe->source);
}

static const char *command_of(const struct plugin *plugin)
{
    return json_string_value(json_object_get(plugin->config->exec, "command"));
}

static void fail(struct plugin *plugin, const char *what)
{
    struct rk_why why;

    rk_fail(&why, RK_EUNAVAILABLE, "%s: the exec plugin '%.100s' gave no credentials: %s%s%.200s",
            plugin->config->origin, command_of(plugin), what, plugin->errors.used > 0 ? ": " : "",
            plugin->errors.used > 0 ? plugin->errors.text : "");
    plugin->done(plugin->who, NULL, &why);
}

/* The command has ended by itself, and what it printed was read. */
static void conclude(struct plugin *plugin, int status)
{
    const char *version = json_string_value(json_object_get(plugin->config->exec, "apiVersion"));
    struct plugin_answer answer;
    struct rk_why why = {""};
    char text[64];

    if (plugin->late)
        snprintf(text, sizeof text, "it was not done after %" PRIu64 " s", PLUGIN_DEADLINE / RK_S);
    else if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "it was ended by signal %d", WTERMSIG(status));
    else
        snprintf(text, sizeof text, "it ended with %d", WEXITSTATUS(status));
    if (plugin->late || status != 0) {
        fail(plugin, text);
    } else if (plugin_parse(plugin->out.used > 0 ? plugin->out.text : "", plugin->out.used, version,
                            &answer, &why) != 0) {
        fail(plugin, why.text);
    } else {
        plugin->done(plugin->who, &answer, NULL);
        plugin_answer_done(&answer);
    }
}

static void on_end(void *who, uint32_t events)
{
    struct plugin *plugin = who;
    int status;

    (void)events;
    if (waitpid(plugin->pid, &status, WNOHANG) != plugin->pid)
        return;
    plugin->pid = 0;
    if (plugin->out.source.fd >= 0)
        on_pipe(&plugin->out, 0);
    if (plugin->errors.source.fd >= 0)
        on_pipe(&plugin->errors, 0);
    conclude(plugin, status);
    plugin_free(plugin);
}

static void on_deadline(void *who)
{
    struct plugin *plugin = who;

    plugin->late = true;
    kill(-plugin->pid, SIGKILL);
    kill(plugin->pid, SIGKILL);
}

/* Opens a pipe; *theirs is the child's end. */
static int open_pipe(struct plugin *plugin, struct pipe *pipe, size_t most, int *theirs,
                     struct rk_why *why)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "no pipe for an exec plugin could be had");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *theirs = ends[1];
    pipe->api = plugin->api;
    pipe->most = most;
    pipe->source = (struct source){.fd = ends[0], .ready = on_pipe, .who = pipe};
    return loop_add(plugin->api, &pipe->source, EPOLLIN, why);
}

/* A vector of strings that ends with NULL; free_words frees it. */
static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

/* A command with a slash is seen from the kubeconfig's folder, one without is looked up in PATH. */
static char **make_arguments(const struct plugin *plugin)
{
    const json_t *args = json_object_get(plugin->config->exec, "args");
    const char *command = command_of(plugin);
    char **words = calloc(json_array_size(args) + 2, sizeof *words);

    if (words == NULL)
        return NULL;
    words[0] =
        file_path(strchr(command, '/') != NULL ? plugin->config->exec_folder : NULL, command);
    for (size_t i = 0; words[i] != NULL && i < json_array_size(args); i++) {
        const char *text = json_string_value(json_array_get(args, i));

        words[i + 1] = strdup(text != NULL ? text : "");
    }
    if (words[json_array_size(args)] != NULL)
        return words;
    free_words(words);
    return NULL;
}

/* True when NAME= of `setting` is that of one of the `count` words. */
static bool is_set(char *const *words, size_t count, const char *setting)
{
    size_t length = strcspn(setting, "=") + 1;

    for (size_t i = 0; i < count; i++)
        if (strncmp(words[i], setting, length) == 0)
            return true;
    return false;
}

/* Our environment, and before it what the kubeconfig and the protocol add. */
static char **make_environment(const struct plugin *plugin)
{
    const json_t *added = json_object_get(plugin->config->exec, "env");
    char *info = plugin_info(plugin->config);
    size_t room = json_array_size(added) + 2;
    size_t count = 0;
    char **words;

    for (char **at = environ; *at != NULL; at++)
        room++;
    words = calloc(room, sizeof *words);
    if (words == NULL || info == NULL || asprintf(&words[0], "KUBERNETES_EXEC_INFO=%s", info) < 0) {
        free(info);
        free(words);
        return NULL;
    }
    free(info);
    count = 1;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(added, i), "name"));
        const char *value = json_string_value(json_object_get(json_array_get(added, i), "value"));

        if (name != NULL && asprintf(&words[count], "%s=%s", name, value ? value : "") >= 0)
            count++;
    }
    for (char **at = environ; *at != NULL; at++)
        if (!is_set(words, count, *at) && (words[count] = strdup(*at)) != NULL)
            count++;
    return words;
}

/* Starts the child with our ends of the pipes; an errno. */
static int spawn(struct plugin *plugin, char **words, char **environment, int out, int errors)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int rc;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    rc = posix_spawnp(&plugin->pid, words[0], &actions, &attributes, words, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        plugin->pid = 0;
    return rc;
}

static int say_not_started(const struct plugin *plugin, int error, struct rk_why *why)
{
    const char *hint = json_string_value(json_object_get(plugin->config->exec, "installHint"));
    char text[64];

    return rk_fail(why, RK_EUNAVAILABLE,
                   "%s: the exec plugin '%.100s' cannot be started: %s%s%.200s",
                   plugin->config->origin, command_of(plugin), strerror_r(error, text, sizeof text),
                   hint != NULL ? "; " : "", hint != NULL ? hint : "");
}

static int start(struct plugin *plugin, int out, int errors, struct rk_why *why)
{
    char **words = make_arguments(plugin);
    char **environment = make_environment(plugin);
    int error = ENOMEM;

    if (words != NULL && environment != NULL)
        error = spawn(plugin, words, environment, out, errors);
    free_words(words);
    free_words(environment);
    if (error != 0)
        return say_not_started(plugin, error, why);
    plugin->process.fd = (int)syscall(SYS_pidfd_open, plugin->pid, 0);
    if (plugin->process.fd < 0)
        return say_not_started(plugin, errno, why);
    return loop_add(plugin->api, &plugin->process, EPOLLIN, why);
}

int plugin_start(struct api *api, const struct api_config *config, plugin_done *done, void *who,
                 struct plugin **out, struct rk_why *why)
{
    struct plugin *plugin = calloc(1, sizeof *plugin);
    int theirs[2] = {-1, -1};
    int rc;

    if (plugin == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for an exec plugin");
    *plugin = (struct plugin){.api = api, .config = config, .done = done, .who = who};
    plugin->process = (struct source){.fd = -1, .ready = on_end, .who = plugin};
    plugin->out.source.fd = plugin->errors.source.fd = -1;
    plugin->deadline = (struct timer){.fire = on_deadline, .who = plugin};
    rc = open_pipe(plugin, &plugin->out, MOST_OUT, &theirs[0], why);
    if (rc == 0)
        rc = open_pipe(plugin, &plugin->errors, MOST_ERRORS, &theirs[1], why);
    if (rc == 0)
        rc = start(plugin, theirs[0], theirs[1], why);
    for (size_t i = 0; i < 2; i++)
        if (theirs[i] >= 0)
            close(theirs[i]);
    if (rc != 0) {
        plugin_free(plugin);
        return rc;
    }
    timers_set(loop_timers(api), &plugin->deadline, loop_now(api) + PLUGIN_DEADLINE);
    *out = plugin;
    return 0;
}
