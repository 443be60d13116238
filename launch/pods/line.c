/* One run of the user's command line after the other; see line.h. */
#include "launch/pods/line_state.h"

#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GATHER (60 * RK_S)
#define REPORT (30 * RK_S)
#define SETTLE (50 * RK_MS)
#define NOT_EXECUTED 126

/* ---- gathering ------------------------------------------------------------------------------- */

static void gather(struct line *line)
{
    const struct mpijob_settings *settings = &line->shell->job->settings;

    line->state = LINE_GATHERS;
    line->gather_until =
        line->shell->now + (settings->gather_ns != 0 ? settings->gather_ns : GATHER);
    line->report_at = line->shell->now + REPORT;
}

static uint32_t count_ready(const struct line *line)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < line->posts; i++)
        count += posts_is_ready(line, &line->post[i]);
    return count;
}

/* The first ones by place; others stand by. */
static void choose(struct line *line, uint32_t count)
{
    for (uint32_t i = 0; i < line->posts; i++) {
        struct post *post = &line->post[i];

        post->used = count > 0 && posts_is_ready(line, post);
        count -= post->used;
    }
}

static int start_command(struct line *line, struct rk_why *why)
{
    int into[2];
    int rc = echo_open(line, into, why);

    if (rc == 0)
        rc = hold_start(&(struct hold){line->words, STDIN_FILENO, into[0], into[1]}, &line->held,
                        why);
    for (int i = 0; i < 2; i++)
        if (into[i] >= 0)
            close(into[i]);
    return rc;
}

static uint32_t count_used(const struct line *line)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < line->posts; i++)
        count += line->post[i].used;
    return count;
}

static void run(struct line *line)
{
    struct rk_why why = {""};
    int rc = start_command(line, &why);

    if (rc != 0) {
        shell_end(line->shell, rk_error_exit_code(rc), why.text);
        return;
    }
    line->state = LINE_RUNS;
    line->asked[0] = '\0';
    rk_info("run %u of the command starts on %u of %u workers: %s", line->number, count_used(line),
            line->needed, line->reason);
    files_save(line);
}

static void start(struct line *line, uint32_t count)
{
    struct rk_why why = {""};
    int rc;

    choose(line, count);
    rc = files_write(line, &why);
    if (rc != 0) {
        shell_end(line->shell, rk_error_exit_code(rc), why.text);
        return;
    }
    line->state = LINE_SETTLES;
    volume_await(line);
}

static void report(struct line *line, uint32_t ready)
{
    if (line->shell->now < line->report_at)
        return;
    line->report_at = line->shell->now + REPORT;
    rk_warn("run %u of the command waits for workers: %u are ready, %u are needed (%u are enough "
            "after the gather time)",
            line->number, ready, line->needed, line->least);
    for (uint32_t i = 0; i < line->posts; i++)
        if (!posts_is_ready(line, &line->post[i]))
            rk_warn("worker %s is %s", line->post[i].name,
                    line->post[i].connected ? "not ready: what it ran before does not end"
                    : line->post[i].endpoint[0] != '\0' ? "dialled, and does not answer"
                                                        : "not running");
}

static void start_if_enough(struct line *line)
{
    uint32_t ready = count_ready(line);
    bool late = line->shell->now >= line->gather_until;

    if (ready >= line->needed)
        start(line, line->needed);
    else if (late && ready >= line->least)
        start(line, ready);
    else
        report(line, ready);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void begin_next(struct line *line)
{
    line->number++;
    for (uint32_t i = 0; i < line->posts; i++) {
        line->post[i].used = false;
        line->post[i].ready = 0;
    }
    posts_ping(line);
}

void line_restart(struct line *line, const char *format, ...)
{
    uint32_t most = line->shell->job->settings.max_restarts;
    bool runs = line->state == LINE_RUNS || line->state == LINE_JUDGED;
    va_list arguments;
    char text[320];

    if (line->state == LINE_SETTLES)
        gather(line);
    if (!runs && line->state != LINE_GATHERS)
        return;
    va_start(arguments, format);
    vsnprintf(line->reason, sizeof line->reason, format, arguments);
    va_end(arguments);
    if (runs && !line->resizing && ++line->restarts > most) {
        snprintf(text, sizeof text, "%s; that is more than %u restarts", line->reason, most);
        shell_end(line->shell, rk_error_exit_code(RK_EBUDGET), text);
        return;
    }
    if (runs) {
        rk_warn("run %u of the command is ended: %s", line->number, line->reason);
        hold_kill(&line->held);
        calls_drop(line);
        line->state = LINE_ENDS;
    }
    begin_next(line);
    files_save(line);
}

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* It failed.  That is its own fault when every worker answers to what is asked now. */
static void judge(struct line *line, int status)
{
    line->exit_code = exit_code_of(status);
    if (line->exit_code == 0) {
        shell_end(line->shell, 0, "its command has ended");
        return;
    }
    posts_ping(line);
    line->judge_ask = line->ask;
    line->state = LINE_JUDGED;
}

static void pass_sentence(struct line *line)
{
    char why[96];

    for (uint32_t i = 0; i < line->posts; i++)
        if (line->post[i].used && line->post[i].answered < line->judge_ask)
            return;
    snprintf(why, sizeof why, "its command failed, and no worker was lost");
    shell_end(line->shell, line->exit_code, why);
}

static void end_all(struct line *line)
{
    hold_kill(&line->held);
    calls_drop(line);
    line->state = LINE_OVER;
    begin_next(line); /* for which workers kill what is left of this one */
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void advance(struct line *line)
{
    int status;

    switch (line->state) {
    case LINE_GATHERS:
        start_if_enough(line);
        break;
    case LINE_SETTLES:
        if (volume_settled(line))
            run(line);
        break;
    case LINE_RUNS:
        if (line->asked[0] != '\0')
            line_restart(line, "the command asked for worker %s, which is not there", line->asked);
        else if (hold_ended(&line->held, &status))
            judge(line, status);
        break;
    case LINE_JUDGED:
        pass_sentence(line);
        break;
    case LINE_ENDS:
        if (line->held.pid == 0) {
            hold_done(&line->held);
            gather(line);
        }
        break;
    default:
        break;
    }
}

void line_turn(struct shell *shell)
{
    struct line *line = shell->line;

    if (line == NULL || line->state == LINE_WAITS)
        return;
    if ((shell->ended || shell->leave) && line->state != LINE_OVER)
        end_all(line);
    posts_turn(line);
    calls_turn(line);
    echo_turn(line);
    files_turn(line);
    advance(line);
}

int line_items(struct shell *shell, zmq_pollitem_t *items)
{
    struct line *line = shell->line;
    int count = 0;

    if (line == NULL || line->state == LINE_WAITS)
        return 0;
    items[count++] = (zmq_pollitem_t){.socket = server_socket(line->server), .events = ZMQ_POLLIN};
    items[count++] = (zmq_pollitem_t){.socket = server_monitor(line->server), .events = ZMQ_POLLIN};
    items[count++] = (zmq_pollitem_t){.fd = line->epoll, .events = ZMQ_POLLIN};
    return count + echo_items(line, items + count);
}

uint64_t line_deadline(const struct shell *shell)
{
    const struct line *line = shell->line;

    if (line == NULL || line->state == LINE_WAITS)
        return UINT64_MAX;
    return line->state == LINE_SETTLES ? shell->now + SETTLE : line->ping_at;
}

void line_reaped(struct shell *shell, pid_t pid)
{
    if (shell->line != NULL && pid == shell->line->held.pid)
        shell->line->held.pid = 0;
}

bool line_idle(const struct shell *shell)
{
    return shell->line == NULL || shell->line->held.pid == 0;
}

bool line_act(struct shell *shell, const struct pods_action *action)
{
    return shell->line != NULL && posts_act(shell->line, action);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Only a job that says how few workers it can live with is started with fewer. */
static uint32_t least_of(const struct mpijob *job)
{
    const json_t *metadata = json_object_get(job->object, "metadata");
    const json_t *annotations = json_object_get(metadata, "annotations");
    uint32_t least = job->settings.min_workers - mpijob_own(job); /* which is here */

    if (json_object_get(annotations, "reknit.dev/min-workers") == NULL ||
        least > job->worker.replicas)
        return job->worker.replicas;
    return least;
}

static void take_size(struct line *line)
{
    const struct mpijob *job = line->shell->job;

    line->posts = render_worker_count(job);
    line->needed = line->posts > 0 ? job->worker.replicas : 0;
    line->least = line->posts > 0 ? least_of(job) : 0;
}

bool line_resize(struct shell *shell, uint32_t workers)
{
    struct line *line = shell->line;
    uint32_t spares = shell->job->settings.spares;

    if (line->state == LINE_WAITS || line->posts == 0)
        return false;
    line->resizing = true;
    posts_resize(line, workers + spares);
    line->resizing = false;
    shell->job->worker.replicas = workers;
    take_size(line);
    return true;
}

int line_open(struct shell *shell, char **words, struct rk_why *why)
{
    struct line *line = calloc(1, sizeof *line);

    if (line == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the job's command");
    shell->line = line;
    line->shell = shell;
    line->words = words;
    echo_init(line);
    line->held.status = line->listener = line->epoll = -1;
    snprintf(line->reason, sizeof line->reason, "the job begins");
    return files_open(line, why);
}

void line_listed(struct shell *shell)
{
    struct line *line = shell->line;
    struct rk_why why = {""};
    int rc;

    if (line->state != LINE_WAITS)
        return;
    files_load(line);
    take_size(line);
    line->number++;
    rc = posts_open(line, &why);
    if (rc == 0)
        rc = calls_open(line, &why);
    if (rc != 0) {
        shell_end(shell, rk_error_exit_code(rc), why.text);
        return;
    }
    posts_tell(line);
    gather(line);
}

void line_close(struct shell *shell)
{
    struct line *line = shell->line;

    if (line == NULL)
        return;
    echo_turn(line);
    echo_close(line);
    calls_close(line);
    files_close(line);
    posts_close(line);
    hold_done(&line->held);
    free(line);
    shell->line = NULL;
}
