/* Workers, here and on other hosts; see crew.h. */
#include "launch/crew.h"

#include "common/clock.h"
#include "launch/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REMOTE_COMMAND_MAX 65536
#define MOST_FIXED 32 /* words of a worker's command line before the program */
#define MOST_RSH_WORDS 16
#define DEFAULT_SSH "ssh -x -T -o BatchMode=yes -o ConnectTimeout=10"

/* The words of one `reknit worker ...`. */
struct words {
    char **word; /* NULL ended; freed by the builder, the words are borrowed */
    size_t count;
    char ticket[16], slots[16], orphan[24], secret[16], life[16];
};

static void add(struct words *words, const char *word)
{
    words->word[words->count++] = (char *)(uintptr_t)word;
    words->word[words->count] = NULL;
}

static void add_option(struct words *words, const char *name, const char *value)
{
    add(words, name);
    add(words, value);
}

static int build_words(const struct crew_job *job, uint32_t ticket, const struct place *place,
                       int secret, int life, struct words *words)
{
    size_t program = 0;

    while (job->options->program[program] != NULL)
        program++;
    words->count = 0;
    words->word = calloc(MOST_FIXED + program + 1, sizeof *words->word);
    if (words->word == NULL)
        return RK_ENOMEM;
    snprintf(words->ticket, sizeof words->ticket, "%u", ticket);
    snprintf(words->slots, sizeof words->slots, "%u", place->slots);
    snprintf(words->orphan, sizeof words->orphan, "%" PRIu64, job->options->orphan / RK_MS);
    snprintf(words->secret, sizeof words->secret, "fd:%d", secret);
    snprintf(words->life, sizeof words->life, "%d", life);
    add(words, "reknit");
    add(words, "worker");
    add_option(words, "--job", job->directories->name);
    add_option(words, "--secret", words->secret);
    add_option(words, "--ticket", words->ticket);
    add_option(words, "--group", place->group);
    add_option(words, "--host-name", place->host_name);
    add_option(words, "--address", place->address);
    if (job->options->interface != NULL)
        add_option(words, "--interface", job->options->interface);
    add_option(words, "--slots", words->slots);
    add_option(words, "--run-dir", job->directories->run);
    if (job->pod == NULL)
        add_option(words, "--log-dir", job->directories->logs);
    if (job->options->checkpoint_dir != NULL)
        add_option(words, "--checkpoint-dir", job->options->checkpoint_dir);
    add_option(words, "--life-fd", words->life);
    add_option(words, "--orphan-timeout", words->orphan);
    add(words, "--");
    for (size_t i = 0; i < program; i++)
        add(words, job->options->program[i]);
    return 0;
}

int crew_quote(const char *text, char *out, size_t size)
{
    size_t used = strlen(out);

    if (used + 3 > size)
        return RK_EFULL;
    out[used++] = '\'';
    for (; *text != '\0'; text++) {
        if (used + 6 > size)
            return RK_EFULL;
        if (*text == '\'') {
            memcpy(out + used, "'\\''", 4);
            used += 4;
        } else {
            out[used++] = *text;
        }
    }
    out[used++] = '\'';
    out[used] = '\0';
    return 0;
}

/* The command line for the shell of another host. */
static int remote_command(const struct crew_job *job, const struct words *words, char *out,
                          size_t size, struct rk_why *why)
{
    const char *path = job->options->remote_path != NULL ? job->options->remote_path : job->self;
    char here[4096];
    int rc = 0;

    out[0] = '\0';
    if (getcwd(here, sizeof here) == NULL)
        return rk_fail_errno(why, errno, "the current directory cannot be read");
    text_append(out, size, "cd ");
    rc |= crew_quote(here, out, size);
    text_append(out, size, " 2>/dev/null || cd; REKNIT_JOB=%s exec ", job->directories->name);
    rc |= crew_quote(path, out, size);
    for (size_t i = 1; i < words->count; i++) {
        text_append(out, size, " ");
        rc |= crew_quote(words->word[i], out, size);
    }
    return rc == 0 ? 0 : rk_fail(why, RK_EFULL, "the program's arguments are too long for a host");
}

/* Started through the remote shell: its standard input brings the secret, then is the life line. */
static int start_remote(struct crew *workers, struct worker *worker, struct rk_why *why)
{
    const struct crew_job *job = &workers->job;
    const char *rsh = strcmp(job->options->rsh, "ssh") == 0 ? DEFAULT_SSH : job->options->rsh;
    struct words words;
    char *argv[MOST_RSH_WORDS + 3];
    char *shell = strdup(rsh);
    char *command = malloc(REMOTE_COMMAND_MAX);
    size_t count = 0;
    int input[2] = {-1, -1};
    int rc = build_words(job, worker->ticket, &worker->place, STDIN_FILENO, STDIN_FILENO, &words);

    if (rc == 0 && (shell == NULL || command == NULL))
        rc = rk_fail(why, RK_ENOMEM, "no memory for a worker");
    if (rc == 0)
        rc = remote_command(job, &words, command, REMOTE_COMMAND_MAX, why);
    if (rc == 0 && pipe2(input, O_CLOEXEC) != 0)
        rc = rk_fail_errno(why, errno, "no pipe for a worker");
    if (rc == 0)
        rc = secret_write_fd(job->secret, input[1], false, why);
    if (rc == 0) {
        for (char *word = strtok(shell, " "); word != NULL && count < MOST_RSH_WORDS;
             word = strtok(NULL, " "))
            argv[count++] = word;
        argv[count++] = (char *)(uintptr_t)worker->place.target;
        argv[count++] = command;
        argv[count] = NULL;
        rc = process_start(&(struct process_start){.path = argv[0],
                                                   .argv = argv,
                                                   .in = input[0],
                                                   .keep = {-1, -1, -1, -1},
                                                   .death_signal = SIGTERM},
                           &worker->relayed.process, why);
    }
    if (input[0] >= 0)
        close(input[0]);
    worker->life = input[1];
    free(words.word);
    free(command);
    free(shell);
    return rc;
}

static int start_local(struct crew *workers, struct worker *worker, struct rk_why *why)
{
    const struct crew_job *job = &workers->job;
    struct words words = {.word = NULL};
    int life[2] = {-1, -1};
    int secret = -1;
    int rc = secret_to_fd(job->secret, false, &secret, why);

    if (rc == 0)
        fcntl(secret, F_SETFD, FD_CLOEXEC);
    if (rc == 0 && pipe2(life, O_CLOEXEC) != 0)
        rc = rk_fail_errno(why, errno, "no pipe for a worker");
    if (rc == 0)
        rc = build_words(job, worker->ticket, &worker->place, secret, life[0], &words);
    if (rc == 0)
        rc = process_start(
            &(struct process_start){.path = job->self,
                                    .argv = words.word,
                                    .in = -1,
                                    .keep = {secret, life[0], job->directories->alive, -1}},
            &worker->relayed.process, why);
    if (secret >= 0)
        close(secret);
    if (life[0] >= 0)
        close(life[0]);
    worker->life = life[1];
    free(words.word);
    return rc;
}

void relayed_init(struct relayed *relayed, const char *logs, const char *name)
{
    char path[PATH_MAX];

    memset(relayed, 0, sizeof *relayed);
    relayed->process.out = relayed->process.err = -1;
    snprintf(path, sizeof path, "%s/%s", logs, name);
    relayed->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void relayed_done(struct relayed *relayed)
{
    int *const fds[] = {&relayed->process.out, &relayed->process.err, &relayed->log};

    for (size_t i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    lines_done(&relayed->out);
    lines_done(&relayed->err);
}

static void free_worker(struct worker *worker)
{
    if (worker->life >= 0)
        close(worker->life);
    relayed_done(&worker->relayed);
    free(worker);
}

static struct worker *find_ticket(const struct crew *workers, uint32_t ticket)
{
    for (size_t i = 0; i < workers->count; i++)
        if (workers->worker[i]->ticket == ticket && workers->worker[i]->relayed.process.pid > 0)
            return workers->worker[i];
    return NULL;
}

int crew_launch(struct crew *workers, uint32_t ticket, uint32_t place, uint64_t now,
                struct rk_why *why)
{
    struct worker **grown;
    struct worker *worker;
    char name[32];
    int rc;

    if (find_ticket(workers, ticket) != NULL)
        return 0;
    grown = realloc(workers->worker, (workers->count + 1) * sizeof *grown);
    if (grown == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a worker");
    workers->worker = grown;
    worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a worker");
    worker->ticket = ticket;
    worker->started = now;
    worker->life = -1;
    if (workers->job.pod != NULL)
        worker->place = *workers->job.pod;
    else
        place_of(workers->job.options, workers->job.machine, place, &worker->place);
    snprintf(name, sizeof name, "worker-%u.log", ticket);
    relayed_init(&worker->relayed, workers->job.directories->logs, name);
    rc = worker->place.target != NULL ? start_remote(workers, worker, why)
                                      : start_local(workers, worker, why);
    if (rc != 0) {
        free_worker(worker);
        return rc;
    }
    workers->worker[workers->count++] = worker;
    return 0;
}

void crew_kill(struct crew *workers, uint32_t ticket, uint64_t id)
{
    struct worker *worker = find_ticket(workers, ticket);

    if (worker == NULL)
        return;
    worker->id = id;
    if (worker->life >= 0)
        close(worker->life);
    worker->life = -1;
    processes_kill_tree(worker->relayed.process.pid);
}

struct worker *crew_ended(struct crew *workers, pid_t pid)
{
    for (size_t i = 0; i < workers->count; i++) {
        struct worker *worker = workers->worker[i];

        if (worker->relayed.process.pid != pid)
            continue;
        worker->relayed.process.pid = 0;
        if (worker->life >= 0)
            close(worker->life);
        worker->life = -1;
        return worker;
    }
    return NULL;
}

size_t crew_running(const struct crew *workers)
{
    size_t running = 0;

    for (size_t i = 0; i < workers->count; i++)
        running += workers->worker[i]->relayed.process.pid > 0 ? 1 : 0;
    return running;
}

void crew_forget(struct crew *workers)
{
    size_t kept = 0;

    for (size_t i = 0; i < workers->count; i++) {
        struct worker *worker = workers->worker[i];
        const struct process *process = &worker->relayed.process;

        if (process->pid > 0 || process->out >= 0 || process->err >= 0)
            workers->worker[kept++] = worker;
        else
            free_worker(worker);
    }
    workers->count = kept;
}

void crew_done(struct crew *workers)
{
    for (size_t i = 0; i < workers->count; i++)
        free_worker(workers->worker[i]);
    free(workers->worker);
    workers->worker = NULL;
    workers->count = 0;
}
