/* The warden: parent of the agent, and by PR_SET_CHILD_SUBREAPER the parent of whatever below it
 * loses its own.
 *
 *     reknit run (or anybody)
 *       warden         dies with its parent (PR_SET_PDEATHSIG SIGTERM, and then takes all along)
 *         agent        dies with the warden (SIGKILL)
 *           ranks, mpirun, orted, storage writers    die with the agent (SIGKILL)
 *
 * When the agent ends, however that comes about, the warden kills every process below it, again
 * and again, until the kernel says that there is none: children of ranks and daemons made by
 * double fork come to the warden when their parents die, and are killed then.
 *
 * What can still escape:
 *   - when the warden itself is killed with SIGKILL: agent and ranks die with it, but processes
 * that a rank's program started do not, unless they asked for a PR_SET_PDEATHSIG of their own. They
 *     come to the next subreaper above us.  They hold nothing of the job: no descriptor of the
 *     agent's is inherited by a rank but its three standard ones.
 *   - a program that runs under another uid than ours (set-user-ID clears the death signal, and we
 *     may not signal it), or in another PID namespace whose first process was started by somebody
 *     else (a container engine's daemon).
 *   - a process in an uninterruptible system call (state D), until that call returns. */
#include "worker/agent/warden.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_TURN_NS 20000000L
#define SWEEP_LIMIT_NS (10 * RK_S)

struct warden {
    pid_t parent;
    pid_t agent;
    bool supervised;
    bool agent_gone;
    int agent_status;
};

/* Collects all children that have ended.  False when there is no child any more. */
static bool collect(struct warden *warden)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);

        if (pid < 0)
            return errno != ECHILD;
        if (pid == 0)
            return true;
        if (pid != warden->agent)
            continue;
        warden->agent_gone = true;
        warden->agent_status = status;
    }
}

static void kill_children(void)
{
    char path[64];
    int pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fscanf(file, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    fclose(file);
}

static void kill_all(struct warden *warden, const sigset_t *signals)
{
    const struct timespec turn = {.tv_nsec = SWEEP_TURN_NS};
    uint64_t limit = rk_clock_now() + SWEEP_LIMIT_NS;

    for (;;) {
        if (!warden->agent_gone)
            kill(warden->agent, SIGKILL);
        kill_children();
        if (!collect(warden))
            return;
        if (rk_clock_now() > limit) {
            rk_error_log("warden gives up on processes that do not die; look for state D in ps");
            return;
        }
        sigtimedwait(signals, NULL, &turn);
    }
}

/* Whether a signal means that all must end now, without asking the agent. */
static bool is_end(const struct warden *warden, int number)
{
    return number == SIGTERM && getppid() != warden->parent;
}

static void watch_over(struct warden *warden, const sigset_t *signals)
{
    while (!warden->agent_gone) {
        int number = sigwaitinfo(signals, NULL);

        if (number == SIGCHLD)
            collect(warden);
        else if (is_end(warden, number))
            return;
        else if (number == SIGTERM || (number > 0 && !warden->supervised))
            kill(warden->agent, number);
    }
}

static void watched_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
    sigaddset(signals, SIGCHLD);
}

bool warden_start(bool supervised, pid_t *warden_pid, int *exit_code)
{
    struct warden warden = {.parent = getppid(), .supervised = supervised};
    pid_t self = getpid();
    sigset_t signals;

    *warden_pid = self;
    *exit_code = 0;
    watched_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != warden.parent) {
        *exit_code = 128 + SIGTERM;
        return true;
    }
    warden.agent = fork();
    if (warden.agent < 0) {
        rk_error_log("worker cannot start its agent: %s", strerror(errno));
        *exit_code = 69;
        return true;
    }
    if (warden.agent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != self)
            _exit(128 + SIGKILL);
        return false;
    }
    watch_over(&warden, &signals);
    kill_all(&warden, &signals);
    *exit_code = WIFEXITED(warden.agent_status) ? WEXITSTATUS(warden.agent_status)
                                                : 128 + WTERMSIG(warden.agent_status);
    return true;
}
