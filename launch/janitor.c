/* The janitor of a job's runtime folder; see janitor.h. */
#include "launch/janitor.h"

#include "launch/arguments.h"
#include "launch/lock.h"
#include "launch/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES_GO_MS 15000

struct janitor_options {
    const char *run;
    const char *base;
    uint32_t watch;
};

static const struct argument arguments[] = {
    {"--run-dir", "DIR", "the folder to remove", argument_text,
     offsetof(struct janitor_options, run), 0, 0},
    {"--base", "DIR", "the folder above, removed when empty", argument_text,
     offsetof(struct janitor_options, base), 0, 0},
    {"--watch-fd", "N", "ends when reknit run does", argument_count,
     offsetof(struct janitor_options, watch), 0, 65535},
};
static const struct command janitor_command = {
    .name = "reknit janitor",
    .usage = "--run-dir DIR --watch-fd N",
    .about = "Started by 'reknit run': removes its runtime folder should it be killed.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
};

/* True when `reknit run` was killed, false when it sent us home. */
static bool wait_for_end(int fd)
{
    char byte;
    ssize_t got;

    do
        got = read(fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    return got <= 0;
}

/* Waits until no process of the job holds RUN/alive. */
static void wait_for_processes(const char *run)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof path, "%s/alive", run);
    fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    lock_wait(fd, PROCESSES_GO_MS);
    close(fd);
}

int command_janitor(int argc, char **argv)
{
    struct janitor_options options = {.watch = STDIN_FILENO};
    struct lock_holder holder;
    char path[PATH_MAX];
    int words;
    int exit_code;
    int lock;

    if (arguments_take(&janitor_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    if (options.run == NULL)
        return 64;
    if (!wait_for_end((int)options.watch))
        return 0;
    wait_for_processes(options.run);
    /* Whoever holds the name now has swept the folder and uses it. */
    snprintf(path, sizeof path, "%s/lock", options.run);
    if (lock_take(path, LOCK_JANITOR, &lock, &holder, NULL) == 0) {
        sweep_job(options.run, options.base);
        close(lock);
    }
    return 0;
}

/* In the child: nothing of the job's is kept open but the pipe. */
static void become_janitor(const char *self, const struct directories *d, int pipe)
{
    char watch[16];
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    fcntl(pipe, F_SETFD, 0);
    snprintf(watch, sizeof watch, "%d", pipe);
    if (d->base_ours)
        execl(self, "reknit", "janitor", "--run-dir", d->run, "--watch-fd", watch, "--base",
              d->base, (char *)NULL);
    else
        execl(self, "reknit", "janitor", "--run-dir", d->run, "--watch-fd", watch, (char *)NULL);
    _exit(127);
}

int janitor_start(const char *self, const struct directories *d, struct janitor *janitor,
                  struct rk_why *why)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "no pipe for the janitor");
    janitor->pid = fork();
    if (janitor->pid == 0)
        become_janitor(self, d, ends[0]);
    close(ends[0]);
    if (janitor->pid < 0) {
        close(ends[1]);
        return rk_fail_errno(why, errno, "no process for the janitor");
    }
    janitor->pipe = ends[1];
    return 0;
}

void janitor_stop(struct janitor *janitor)
{
    if (janitor->pid <= 0)
        return;
    /* It may have been killed: SIGPIPE is ignored, and there is nothing to do about it. */
    if (write(janitor->pipe, "", 1) != 1)
        errno = 0;
    close(janitor->pipe);
    while (waitpid(janitor->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    janitor->pid = 0;
}
