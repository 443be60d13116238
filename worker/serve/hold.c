/* The holder of a command; see hold.h.  It was forked from a program with threads and executes
 * nothing: it may only do what is safe after fork. */
#include "worker/serve/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURN_NS 20000000L
#define STATUS_FD 3
#define NOT_FOUND 127
#define NOT_EXECUTABLE 126

/* ---- the command ----------------------------------------------------------------------------- */

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < SIGRTMAX; number++)
        if (number != SIGKILL && number != SIGSTOP)
            sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(const struct hold *hold, pid_t holder)
{
    const int stream[] = {hold->in, hold->out, hold->err};
    int copy[3];
    int error;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != holder)
        _exit(NOT_EXECUTABLE);
    setsid();
    for (int i = 0; i < 3; i++) /* out of the way of 0 to 2 */
        copy[i] = fcntl(stream[i], F_DUPFD, STATUS_FD);
    for (int i = 0; i < 3; i++)
        dup2(copy[i], i);
    close_range(STATUS_FD, ~0u, 0);
    reset_signals();
    execvp(hold->argv[0], hold->argv);
    error = errno;
    say(hold->argv[0]);
    say(": cannot be executed: ");
    say(strerrordesc_np(error));
    say("\n");
    _exit(error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* ---- the holder ------------------------------------------------------------------------------ */

/* Collects what has ended.  False: no child is left. */
static bool collect(pid_t command)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid < 0)
            return errno != ECHILD;
        if (pid == 0)
            return true;
        if (pid != command)
            continue;
        ssize_t ignored = write(STATUS_FD, &status, sizeof status);
        (void)ignored;
        close(STATUS_FD);
    }
}

static void kill_number(const char *digits)
{
    int pid = 0;

    for (; *digits >= '0' && *digits <= '9'; digits++)
        pid = pid * 10 + (*digits - '0');
    if (pid > 1)
        kill(pid, SIGKILL);
}

/* Numbers with a blank behind each, as the kernel lists our children. */
static void kill_children(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char number[16];
    size_t used = 0;
    char c;

    while (fd >= 0 && read(fd, &c, 1) == 1) {
        if (c >= '0' && c <= '9' && used < sizeof number - 1) {
            number[used++] = c;
        } else if (used > 0) {
            number[used] = '\0';
            kill_number(number);
            used = 0;
        }
    }
    if (fd >= 0)
        close(fd);
}

/* What is below a child that dies comes to us, and is killed in the next turn. */
static void kill_all(pid_t command, const char *children)
{
    const struct timespec turn = {.tv_nsec = TURN_NS};
    sigset_t ended;

    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    for (;;) {
        kill_children(children);
        if (!collect(command))
            return;
        sigtimedwait(&ended, NULL, &turn);
    }
}

static void stand_alone(int status)
{
    int null = open("/dev/null", O_RDWR);

    dup2(status, STATUS_FD);
    for (int i = 0; i < STATUS_FD; i++)
        dup2(null, i);
    close_range(STATUS_FD + 1, ~0u, 0);
    fcntl(STATUS_FD, F_SETFD, FD_CLOEXEC);
}

static _Noreturn void watch_over(const struct hold *hold, pid_t starter, int status)
{
    char children[64];
    sigset_t signals;
    pid_t self = getpid();
    pid_t command;

    snprintf(children, sizeof children, "/proc/self/task/%d/children", (int)self);
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != starter)
        _exit(0);
    command = fork();
    if (command == 0)
        become(hold, self);
    stand_alone(status);
    while (command > 0) {
        int number = sigwaitinfo(&signals, NULL);

        if (number == SIGCHLD && !collect(command))
            break;
        if (number == SIGTERM) {
            kill_all(command, children);
            break;
        }
    }
    _exit(0);
}

/* ---- the starter ----------------------------------------------------------------------------- */

int hold_start(const struct hold *hold, struct held *held, struct rk_why *why)
{
    sigset_t all;
    sigset_t before;
    pid_t starter = getpid();
    int ends[2];
    int error;

    *held = (struct held){.status = -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "no pipe for %s", hold->argv[0]);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    held->pid = fork();
    if (held->pid == 0)
        watch_over(hold, starter, ends[1]);
    error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (held->pid < 0) {
        held->pid = 0;
        close(ends[0]);
        return rk_fail_errno(why, error, "no process for %s", hold->argv[0]);
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    held->status = ends[0];
    return 0;
}

bool hold_ended(struct held *held, int *status)
{
    ssize_t size;

    if (held->status < 0)
        return false;
    size = read(held->status, status, sizeof *status);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size != (ssize_t)sizeof *status)
        *status = SIGKILL; /* the holder itself was killed, and its command with it */
    close(held->status);
    held->status = -1;
    return true;
}

void hold_kill(const struct held *held)
{
    if (held->pid > 0)
        kill(held->pid, SIGTERM);
}

void hold_done(struct held *held)
{
    if (held->status >= 0)
        close(held->status);
    *held = (struct held){.status = -1};
}
