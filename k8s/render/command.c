/* What runs in a worker's main container.
 *
 * A worker of mpi-operator runs sshd, so that mpirun can start its daemons there.  Our agent takes
 * sshd's place:
 *   nothing, or sshd                 the agent
 *   sh -c "SETUP; sshd ..."          SETUP, then the agent in sshd's place
 *   anything else                    as it is; the sshd that it finds is the agent
 * The annotation reknit.dev/worker-command asks for the first or the last whatever stands there. */
#include "k8s/render/parts.h"
#include "k8s/render/shell.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *command_words(struct build *build, const json_t *container)
{
    static const char *const parts[] = {"command", "args"};
    json_t *words = build_made(build, json_array());

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t index;
        json_t *word;

        json_array_foreach(json_object_get(container, parts[i]), index, word)
        {
            if (!json_is_string(word))
                build_fail(build, RK_EDATA,
                           "containers[0].%s[%zu] must be text; put it into quotes", parts[i],
                           index);
            else
                build_push(build, words, json_incref(word));
        }
    }
    return words;
}

static const char *word_at(const json_t *words, size_t index)
{
    const char *word = json_string_value(json_array_get(words, index));

    return word != NULL ? word : "";
}

static void push_number(struct build *build, json_t *words, const char *option, uint32_t number)
{
    char text[16];

    snprintf(text, sizeof text, "%" PRIu32, number);
    build_word(build, words, option);
    build_word(build, words, text);
}

static void push_option(struct build *build, json_t *words, const char *option, const char *value)
{
    build_word(build, words, option);
    build_word(build, words, value);
}

/* The agent's arguments, from `worker` on.  Without a program it starts what mpirun asks for. */
static json_t *agent_arguments(struct render *render, const struct render_worker *worker)
{
    struct build *build = &render->build;
    const struct mpijob_settings *settings = &render->job->settings;
    json_t *words = build_made(build, json_array());

    build_word(build, words, "worker");
    push_option(build, words, "--job", render->job->name);
    /* Two pods of one node share no memory: each is a host.  The kubelet fills in who it is. */
    push_option(build, words, "--group", "$(REKNIT_POD_UID)");
    push_option(build, words, "--host-name", "$(REKNIT_POD_NAME)");
    push_option(build, words, "--address", "$(REKNIT_POD_IP)");
    push_number(build, words, "--ticket", worker->ticket);
    push_number(build, words, "--slots", render->job->slots);
    push_number(build, words, "--listen", settings->port);
    push_option(build, words, "--secret", AGENT_SECRET);
    push_option(build, words, "--run-dir", PATH_RUN "/agent");
    if (render_checkpoint_dir(render->job) != NULL)
        push_option(build, words, "--checkpoint-dir", render_checkpoint_dir(render->job));
    build_word(build, words, settings->program != NULL ? "--" : "--serve");
    if (settings->program != NULL && json_array_extend(words, (json_t *)settings->program) != 0)
        build_made(build, NULL);
    return words;
}

/* Where the script stands among `words` whose last command is sshd; 0: there is none. */
static size_t sshd_script(const json_t *words)
{
    if (!shell_is_shell(word_at(words, 0)))
        return 0;
    for (size_t i = 1; i + 1 < json_array_size(words) && word_at(words, i)[0] == '-'; i++)
        if (shell_is_script_option(word_at(words, i)))
            return shell_last_command(word_at(words, i + 1), "sshd") >= 0 ? i + 1 : 0;
    return 0;
}

/* A probe that asks whether sshd is there asks the agent instead. */
static void turn_probe(struct pod *pod, const char *name)
{
    struct build *build = &pod->render->build;
    json_t *probe = json_object_get(pod->main, name);
    json_t *exec = json_object_get(probe, "exec");
    char *words = json_dumps(json_object_get(exec, "command"), JSON_ENCODE_ANY);
    bool about_ssh = words != NULL && strstr(words, "ssh") != NULL;

    free(words);
    if (!about_ssh && json_object_get(probe, "tcpSocket") == NULL)
        return;
    json_object_del(probe, "exec");
    build_set(build, probe, "tcpSocket",
              json_pack("{s:i}", "port", (int)pod->render->job->settings.port));
}

/* `command` (taken) is all that the container runs, and there is no sshd any more. */
static void run_instead(struct pod *pod, json_t *command)
{
    build_set(&pod->render->build, pod->main, "command", command);
    json_object_del(pod->main, "args");
    turn_probe(pod, "livenessProbe");
    turn_probe(pod, "readinessProbe");
    turn_probe(pod, "startupProbe");
}

/* The script with the agent where its last command was. */
static void agent_in_script(struct pod *pod, json_t *words, size_t at, const json_t *agent)
{
    struct build *build = &pod->render->build;
    const char *script = word_at(words, at);
    long start = shell_last_command(script, "sshd");
    char *line = NULL;
    bool fits = shell_append(&line, "exec") && shell_append(&line, PATH_REKNIT);
    size_t index;
    json_t *word;

    json_array_foreach(agent, index, word) fits =
        fits && shell_append(&line, json_string_value(word));
    if (!fits || json_array_set_new(words, at, json_sprintf("%.*s%s", (int)start, script, line)))
        build_made(build, NULL);
    free(line);
    run_instead(pod, json_incref(words));
}

static void agent_alone(struct pod *pod, const json_t *agent)
{
    struct build *build = &pod->render->build;
    json_t *command = build_made(build, json_array());

    build_word(build, command, PATH_REKNIT);
    if (json_array_extend(command, (json_t *)agent) != 0)
        build_made(build, NULL);
    run_instead(pod, command);
}

/* The user's command stays.  Our sshd lies over the image's, by a mount and not by a change of the
 * image, so that a read-only root is fine, and takes the agent's arguments from its environment. */
static void agent_as_sshd(struct pod *pod, const json_t *agent)
{
    char *arguments = json_dumps(agent, JSON_COMPACT);

    pod_mount(pod, VOLUME_BUNDLE, PATH_SSHD, SUBPATH_SSHD, true);
    if (arguments == NULL)
        build_made(&pod->render->build, NULL);
    else
        pod_env(pod, "REKNIT_WORKER", arguments);
    free(arguments);
}

void command_agent(struct pod *pod, const struct render_worker *worker)
{
    struct render *render = pod->render;
    enum mpijob_worker_command wish = render->job->settings.worker_command;
    json_t *words = command_words(&render->build, pod->main);
    json_t *agent = agent_arguments(render, worker);
    size_t script = sshd_script(words);
    bool sshd = json_array_size(words) == 0 || shell_is_program(word_at(words, 0), "sshd");

    if (render->build.rc != 0)
        ; /* said already */
    else if (wish == MPIJOB_WORKER_AGENT || (wish == MPIJOB_WORKER_AUTO && sshd))
        agent_alone(pod, agent);
    else if (wish == MPIJOB_WORKER_AUTO && script != 0)
        agent_in_script(pod, words, script, agent);
    else
        agent_as_sshd(pod, agent);
    json_decref(words);
    json_decref(agent);
}
