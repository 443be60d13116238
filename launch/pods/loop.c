/* The turn of `reknit pods`; see shell.h. */
#include "launch/pods/line.h"

#include "common/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define TURN (100 * RK_MS)
#define FIXED_ITEMS (6 + LINE_ITEMS + OWN_ITEMS)
#define OUTCOME_WITHIN (RK_S / 2)
#define END_WITHIN (60 * RK_S) /* for deletes to be accepted */
#define KILL_WITHIN (15 * RK_S)
#define INTERNAL_ERROR 70
#define SUPERSEDED 75
#define NEVER UINT64_MAX

void shell_end(struct shell *shell, int exit_code, const char *why)
{
    if (shell->ended || shell->leave)
        return;
    shell->ended = true;
    shell->exit_code = exit_code;
    shell->end_deadline = shell->now + END_WITHIN;
    snprintf(shell->why, sizeof shell->why, "%s", why);
    rk_log(exit_code == 0 ? RK_LOG_INFO : RK_LOG_ERROR, "job %s ends with exit code %d: %s",
           shell->job->name, exit_code, why);
    causes_end(shell, exit_code, why);
    if (shell->coordinator.relayed.process.pid <= 0)
        own_let_go(shell);
    cluster_stop(shell, shell->suspended);
}

void shell_leave(struct shell *shell, const char *why)
{
    if (shell->ended || shell->leave)
        return;
    rk_warn("this pod leaves the job %s, its workers go on: %s", shell->job->name, why);
    shell->leave = true;
    shell->exit_code = SUPERSEDED;
}

/* ---- the coordinator's process --------------------------------------------------------------- */

static void start_coordinator(struct shell *shell)
{
    struct rk_why why = {""};

    shell->start_at = NEVER;
    if (!keeper_epoch(shell, &shell->options.least_epoch))
        return;
    if (coordinator_process_start(&shell->coordinator, &shell->crew_job, shell->now, &why) != 0)
        shell_end(shell, INTERNAL_ERROR, why.text);
}

static void coordinator_ended(struct shell *shell, int status)
{
    shell->coordinator.relayed.process.pid = 0;
    keeper_look(shell); /* at its last words too */
    if (shell->ended)
        own_let_go(shell);
    if (shell->ended || shell->leave)
        return;
    if (WIFEXITED(status)) {
        shell->exit_code = WEXITSTATUS(status);
        shell->outcome_deadline = shell->now + OUTCOME_WITHIN;
        return;
    }
    rk_warn("the coordinator died (signal %d); it is started again", WTERMSIG(status));
    shell->start_at = shell->now;
}

static void take_line(void *who, const char *line, size_t length)
{
    (void)who;
    dprintf(STDERR_FILENO, "%.*s\n", (int)length, line);
}

static void relay(struct shell *shell)
{
    struct relayed *relayed = &shell->coordinator.relayed;
    struct process *process = &relayed->process;

    if (process->out >= 0 && lines_read(&relayed->out, process->out, take_line, NULL) == 0) {
        close(process->out);
        process->out = -1;
    }
    if (process->err >= 0 && lines_read(&relayed->err, process->err, take_line, NULL) == 0) {
        close(process->err);
        process->err = -1;
    }
}

/* ---- signals --------------------------------------------------------------------------------- */

/* As the first process of the pod we are parent of whatever lost its own. */
static void reap(struct shell *shell)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == shell->coordinator.relayed.process.pid)
            coordinator_ended(shell, status);
        line_reaped(shell, pid);
        own_reaped(shell, pid, status);
    }
}

static void take_signals(struct shell *shell)
{
    struct signalfd_siginfo info;

    while (read(shell->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo != SIGCHLD && shell->stop_signal == 0) {
            shell->stop_signal = (int)info.ssi_signo;
            leave_start(shell);
        }
    reap(shell);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static long wait_ms(const struct shell *shell)
{
    uint64_t until = shell->now + TURN;

    if (shell->pods != NULL)
        until = earliest(until, pods_deadline(shell->pods));
    until = earliest(until, shell->start_at);
    until = earliest(until, line_deadline(shell));
    if (until <= shell->now)
        return 0;
    return (long)((until - shell->now + RK_MS - 1) / RK_MS);
}

static void wait_for_something(struct shell *shell)
{
    const struct process *process = &shell->coordinator.relayed.process;
    const int fds[] = {shell->signals, api_fd(shell->api), process->out, process->err};
    zmq_pollitem_t items[FIXED_ITEMS];
    int count = 0;

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            items[count++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
    if (shell->link != NULL) {
        items[count++] = (zmq_pollitem_t){.socket = link_socket(shell->link), .events = ZMQ_POLLIN};
        items[count++] =
            (zmq_pollitem_t){.socket = link_monitor(shell->link), .events = ZMQ_POLLIN};
    }
    count += line_items(shell, items + count);
    count += own_items(shell, items + count);
    zmq_poll(items, count, wait_ms(shell));
}

static void take_deadlines(struct shell *shell)
{
    if (!shell->ended && shell->outcome_deadline != 0 && shell->now >= shell->outcome_deadline)
        shell_end(shell, shell->exit_code, "the coordinator ended without a word");
    if (!shell->ended && !shell->leave && shell->now >= shell->start_at)
        start_coordinator(shell);
}

static void turn(struct shell *shell)
{
    wait_for_something(shell);
    shell->now = rk_clock_now();
    shell->wall = rk_clock_wall();
    relay(shell);
    own_relay(shell);
    api_turn(shell->api, shell->now, shell->wall);
    setup_turn(shell);
    talk_hear(shell);
    take_signals(shell);
    line_turn(shell);
    resize_turn(shell);
    take_deadlines(shell);
    cluster_tick(shell);
    keeper_turn(shell);
}

static bool all_done(const struct shell *shell)
{
    return shell->coordinator.relayed.process.pid <= 0 && line_idle(shell) && own_idle(shell) &&
           keeper_idle(shell) && (shell->pods == NULL || pods_idle(shell->pods)) &&
           (shell->notices == NULL || notices_are_sent(shell->notices));
}

void shell_run(struct shell *shell)
{
    shell->now = rk_clock_now();
    shell->wall = rk_clock_wall();
    shell->start_at = NEVER;
    setup_start(shell);
    while (!shell->leave && !shell->ended)
        turn(shell);
    talk_close(shell); /* the coordinator waits, at its end, until nobody is left */
    while (!shell->leave && !all_done(shell) && shell->now < shell->end_deadline)
        turn(shell);
    processes_kill_all(0, (int)(KILL_WITHIN / RK_MS));
    relay(shell);
    own_relay(shell);
}
