/* The commands of a worker that serves; see state.h. */
#include "worker/serve/state.h"

#include "common/log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELL "/bin/sh"
#define MOST_WORDS 4096u
#define CANNOT_START (126 << 8)

struct command *commands_find(struct serve *serve, uint64_t request)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++)
        if (serve->command[i].request == request)
            return &serve->command[i];
    return NULL;
}

/* ---- starting -------------------------------------------------------------------------------- */

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Three pipes: `theirs` are the child's ends. */
static int open_pipes(struct command *command, int theirs[3], struct rk_why *why)
{
    int *ours[] = {&command->in, &command->out[0], &command->out[1]};
    int ends[2];

    for (int i = 0; i < 3; i++) {
        if (pipe2(ends, O_CLOEXEC) != 0)
            return rk_fail(why, RK_EUNAVAILABLE, "no pipe: raise the limit of open files");
        *ours[i] = ends[i == 0 ? 1 : 0];
        theirs[i] = ends[i == 0 ? 0 : 1];
        fcntl(*ours[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

static int run(struct command *command, char *const *argv, struct rk_why *why)
{
    int theirs[3] = {-1, -1, -1};
    int rc = open_pipes(command, theirs, why);

    if (rc == 0)
        rc = hold_start(&(struct hold){argv, theirs[0], theirs[1], theirs[2]}, &command->held, why);
    for (int i = 0; i < 3; i++)
        close_end(&theirs[i]);
    return rc;
}

static int run_words(struct command *command, const char *text, struct rk_why *why)
{
    char *copy = strdup(text);
    char **word = calloc(MOST_WORDS + 1, sizeof *word);
    int rc;

    if (copy == NULL || word == NULL)
        rc = rk_fail(why, RK_ENOMEM, "no memory for a command");
    else if (!words_split(copy, word, MOST_WORDS))
        rc = rk_fail(why, RK_EINVAL,
                     "there is no %s in this image, and it takes one to run: %.100s", SHELL, text);
    else
        rc = run(command, word, why);
    free(word);
    free(copy);
    return rc;
}

/* The image's, or the one that stands beside this program; NULL: there is none. */
static const char *find_shell(char path[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - sizeof "sh");
    char *end;

    if (access(SHELL, X_OK) == 0)
        return SHELL;
    path[size > 0 ? size : 0] = '\0';
    end = strrchr(path, '/');
    if (end == NULL)
        return NULL;
    strcpy(end + 1, "sh");
    return access(path, X_OK) == 0 ? path : NULL;
}

static int run_text(struct command *command, const char *text, struct rk_why *why)
{
    char path[PATH_MAX];
    const char *shell = find_shell(path);
    char *const argv[] = {(char *)(uintptr_t)shell, (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)text, NULL};

    return shell != NULL ? run(command, argv, why) : run_words(command, text, why);
}

static void refuse(struct serve *serve, uint64_t request, const char *why)
{
    Rk__ExecEnded ended = RK__EXEC_ENDED__INIT;

    ended.request = request;
    ended.exit_code = CANNOT_START >> 8;
    ended.why = (char *)(uintptr_t)why;
    serve_say(serve, RK__ENVELOPE__BODY_EXEC_ENDED, &ended);
}

/* It may be said more than once, and late. */
void commands_start(struct serve *serve, const Rk__ExecStart *start)
{
    struct command *command = commands_find(serve, 0);
    struct rk_why why = {""};

    if (start->request == 0 || start->line != serve->number || serve->broken ||
        commands_find(serve, start->request) != NULL)
        return;
    if (command == NULL) {
        refuse(serve, start->request, "too many commands run in this pod");
        return;
    }
    *command = (struct command){.request = start->request,
                                .line = serve->line,
                                .held.status = -1,
                                .in = -1,
                                .out = {-1, -1}};
    rk_debug("starts %s", start->command);
    if (run_text(command, start->command, &why) == 0)
        return;
    rk_warn("a command is not started: %s", why.text);
    snprintf(command->why, sizeof command->why, "%.*s", (int)sizeof command->why - 1, why.text);
    command->ended = true;
    command->status = CANNOT_START;
    for (int i = 0; i < 2; i++)
        close_end(&command->out[i]), flow_out_end(&command->output[i]);
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* What is not known is over, or was never begun. */
void commands_finish(struct serve *serve, const Rk__ExecDone *done)
{
    struct command *command = commands_find(serve, done->request);

    if (done->request == 0)
        return;
    if (command == NULL && done->kill)
        refuse(serve, done->request, "it does not run");
    else if (command != NULL && done->kill)
        hold_kill(&command->held); /* it will be told that it ended */
    else if (command != NULL)
        command->forgotten = true;
}

void commands_kill(struct serve *serve, uint64_t line)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++) {
        struct command *command = &serve->command[i];

        if (command->request == 0 || (line != 0 && command->line == line))
            continue;
        hold_kill(&command->held);
        command->forgotten = true;
    }
}

bool commands_remain(const struct serve *serve, uint64_t line)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++)
        if (serve->command[i].request != 0 && serve->command[i].line != line)
            return true;
    return false;
}

static void free_command(struct command *command)
{
    close_end(&command->in);
    close_end(&command->out[0]);
    close_end(&command->out[1]);
    hold_done(&command->held);
    flow_in_done(&command->input);
    flow_out_done(&command->output[0]);
    flow_out_done(&command->output[1]);
    command->request = 0;
}

/* A holder stays until nothing is left below it. */
static void look(struct command *command)
{
    if (!command->ended && hold_ended(&command->held, &command->status))
        command->ended = true;
    if (command->held.pid > 0 && waitpid(command->held.pid, NULL, WNOHANG) == command->held.pid)
        command->held.pid = 0;
    if (command->forgotten && command->held.pid == 0)
        free_command(command);
}

void commands_tidy(struct serve *serve)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++)
        if (serve->command[i].request != 0)
            look(&serve->command[i]);
}

/* The warden kills what we leave behind. */
void commands_close(struct serve *serve)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++)
        if (serve->command[i].request != 0)
            free_command(&serve->command[i]);
}
