/* The loop of `reknit run`; see supervisor.h. */
#include "launch/supervisor.h"

#include "common/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define TURN_MS 200
#define PENDING_TURN_MS 10
#define END_WITHIN (15 * RK_S)
#define STOP_AT_ONCE_WITHIN (3 * RK_S)
#define OUTCOME_WITHIN (RK_S / 2)
#define LAST_LINES_WITHIN (RK_S / 2)
#define FIXED_ITEMS 6
#define INTERNAL_ERROR 70

void supervisor_end(struct supervisor *s, int exit_code, const char *why)
{
    if (s->ended)
        return;
    s->ended = true;
    s->exit_code = exit_code;
    s->end_deadline = s->now + END_WITHIN;
    snprintf(s->why, sizeof s->why, "%s", why);
}

/* ---- the coordinator's process ----------------------------------------------------------------
 */

static void start_coordinator(struct supervisor *s)
{
    struct rk_why why = {""};

    if (coordinator_process_start(&s->coordinator, &s->workers.job, s->now, &why) != 0)
        supervisor_end(s, INTERNAL_ERROR, why.text);
}

static void coordinator_ended(struct supervisor *s, int status)
{
    char note[160];

    s->coordinator.relayed.process.pid = 0;
    if (s->ended)
        return;
    if (WIFEXITED(status)) {
        s->exit_code = WEXITSTATUS(status);
        s->outcome_deadline = s->now + OUTCOME_WITHIN;
        return;
    }
    if (s->stop_deadline != 0) {
        supervisor_end(s, 128 + s->stop_signal, "stopped at once");
        return;
    }
    snprintf(note, sizeof note, "the coordinator died (signal %d); it is started again",
             WTERMSIG(status));
    screen_note(s->screen, SCREEN_BAD, note);
    start_coordinator(s);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static void take_rank_line(void *who, const char *line, size_t length)
{
    screen_rank(((struct supervisor *)who)->screen, line, length);
}

struct log_reader {
    struct supervisor *supervisor;
    struct relayed *relayed;
};

/* A log line is shown when it is of a warning or an error.  What is no log line (a crash, the rest
 * of a sentence of several lines) goes with the line before. */
static bool is_worth_showing(struct relayed *relayed, const char *line)
{
    char level[16];

    if (strncmp(line, "{\"t\":", 5) == 0)
        relayed->hidden = strstr(line, "\"level\":\"warn\"") == NULL &&
                          strstr(line, "\"level\":\"error\"") == NULL;
    else if (sscanf(line, "%*2d:%*2d:%*d.%*3d %15s", level) == 1)
        relayed->hidden = strcmp(level, "warn") != 0 && strcmp(level, "error") != 0;
    return !relayed->hidden && line[0] != '\0';
}

static void take_log_line(void *who, const char *line, size_t length)
{
    struct log_reader *reader = who;
    struct supervisor *s = reader->supervisor;
    char text[900];
    char clean[900];
    size_t size;

    snprintf(text, sizeof text, "%.*s", (int)length, line);
    if (reader->relayed->log >= 0)
        dprintf(reader->relayed->log, "%.*s\n", (int)length, line);
    if (!is_worth_showing(reader->relayed, text))
        return;
    size = screen_clean(text, strlen(text), clean, sizeof clean - 1);
    clean[size] = '\0';
    if (reader->relayed == &s->coordinator.relayed)
        snprintf(s->last_error, sizeof s->last_error, "%.255s", clean);
    screen_note(s->screen, SCREEN_QUIET, clean);
}

static void relay(struct supervisor *s, struct relayed *relayed)
{
    struct log_reader reader = {s, relayed};
    struct process *process = &relayed->process;

    if (process->out >= 0 && lines_read(&relayed->out, process->out, take_rank_line, s) == 0) {
        close(process->out);
        process->out = -1;
    }
    if (process->err >= 0 && lines_read(&relayed->err, process->err, take_log_line, &reader) == 0) {
        close(process->err);
        process->err = -1;
    }
}

static void relay_all(struct supervisor *s)
{
    relay(s, &s->coordinator.relayed);
    for (size_t i = 0; i < s->workers.count; i++)
        relay(s, &s->workers.worker[i]->relayed);
    crew_forget(&s->workers);
}

/* ---- signals ----------------------------------------------------------------------------------
 */

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct worker *worker = crew_ended(&s->workers, pid);

        if (worker != NULL)
            conversation_worker_gone(s, worker, status);
        else if (pid == s->coordinator.relayed.process.pid)
            coordinator_ended(s, status);
        else if (pid == s->janitor.pid)
            s->janitor.pid = 0;
    }
}

static void take_stop(struct supervisor *s, int signal)
{
    if (s->ended) {
        s->end_deadline = s->now;
        return;
    }
    s->stops_wanted++;
    if (s->stop_signal == 0) {
        s->stop_signal = signal == SIGHUP ? SIGTERM : signal;
        screen_note(s->screen, SCREEN_PLAIN,
                    "stopping: the step is finished and a checkpoint written; once more stops at "
                    "once");
    } else if (s->stop_deadline == 0) {
        s->stop_deadline = s->now + STOP_AT_ONCE_WITHIN;
        screen_note(s->screen, SCREEN_BAD, "stopping at once");
    }
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    struct winsize size;

    while (read(s->signals, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            break;
        case SIGWINCH:
            if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
                screen_resize(s->screen, size.ws_col);
            break;
        default:
            take_stop(s, (int)info.ssi_signo);
        }
    }
    reap(s);
}

/* ---- time -------------------------------------------------------------------------------------
 */

static void take_deadlines(struct supervisor *s)
{
    char why[400];

    if (!s->ended && s->outcome_deadline != 0 && s->now >= s->outcome_deadline) {
        snprintf(why, sizeof why, "the coordinator ended with exit code %d%s%s", s->exit_code,
                 s->last_error[0] != '\0' ? ": " : "", s->last_error);
        supervisor_end(s, s->exit_code, why);
    }
    if (!s->ended && s->stop_deadline != 0 && s->now >= s->stop_deadline)
        supervisor_end(s, 128 + s->stop_signal, "stopped at once");
    if (s->stop_deadline != 0 && s->ended && s->end_deadline > s->stop_deadline)
        s->end_deadline = s->stop_deadline;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void add_item(zmq_pollitem_t *items, size_t *count, int fd)
{
    if (fd >= 0)
        items[(*count)++] = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
}

static void add_link(zmq_pollitem_t *items, size_t *count, struct link *link)
{
    if (link == NULL)
        return;
    items[(*count)++] = (zmq_pollitem_t){.socket = link_socket(link), .events = ZMQ_POLLIN};
    items[(*count)++] = (zmq_pollitem_t){.socket = link_monitor(link), .events = ZMQ_POLLIN};
}

static void wait_for_something(struct supervisor *s)
{
    size_t room = FIXED_ITEMS + 2 * (s->workers.count + 1);
    zmq_pollitem_t *items = calloc(room, sizeof *items);
    size_t count = 0;
    bool pending = screen_flush(s->screen);

    if (items != NULL) {
        add_link(items, &count, s->link);
        add_link(items, &count, s->requests);
        add_item(items, &count, s->signals);
        add_item(items, &count, s->coordinator.relayed.process.out);
        add_item(items, &count, s->coordinator.relayed.process.err);
        for (size_t i = 0; i < s->workers.count; i++) {
            add_item(items, &count, s->workers.worker[i]->relayed.process.out);
            add_item(items, &count, s->workers.worker[i]->relayed.process.err);
        }
    }
    zmq_poll(items, (int)count, pending ? PENDING_TURN_MS : TURN_MS);
    free(items);
}

static void turn(struct supervisor *s)
{
    wait_for_something(s);
    s->now = rk_clock_now();
    relay_all(s);
    conversation_turn(s);
    take_signals(s);
    take_deadlines(s);
    if (!s->ended && s->status.state[0] != '\0')
        screen_progress(s->screen, &s->status, s->now);
}

static bool all_gone(const struct supervisor *s)
{
    return crew_running(&s->workers) == 0 && s->coordinator.relayed.process.pid <= 0;
}

/* What is left in the pipes, unless somebody holds them open. */
static void drain(struct supervisor *s)
{
    uint64_t deadline = s->now + LAST_LINES_WITHIN;

    while (s->now < deadline && s->workers.count > 0) {
        wait_for_something(s);
        s->now = rk_clock_now();
        relay_all(s);
    }
}

void supervisor_run(struct supervisor *s)
{
    s->now = rk_clock_now();
    start_coordinator(s);
    while (!s->ended)
        turn(s);
    screen_clear(s->screen);
    /* Without a coordinator nobody tells the workers: their life lines do. */
    if (s->coordinator.relayed.process.pid <= 0)
        for (size_t i = 0; i < s->workers.count; i++)
            if (s->workers.worker[i]->life >= 0) {
                close(s->workers.worker[i]->life);
                s->workers.worker[i]->life = -1;
            }
    while (!all_gone(s) && s->now < s->end_deadline) {
        if (crew_running(&s->workers) == 0)
            conversation_end(s);
        turn(s);
    }
    processes_kill_all(s->janitor.pid, (int)(END_WITHIN / RK_MS));
    drain(s);
}
