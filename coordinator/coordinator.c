/* `reknit coordinator`: birth, the loop, the end.
 *
 * A turn: wait; ask the clocks once; then signals, answers of the storage, messages and closed
 * connections in the order they come, and a tick.  Whatever the core decides on the way is done
 * before the next event. */
#include "coordinator/coordinator.h"

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#define CARRIER_TIMEOUT (10 * RK_S)
#define RECOVER_TIMEOUT (5 * RK_S)
#define CHECKPOINT_TIMEOUT (600 * RK_S)
#define PROGRAM_FAILURES 3u
#define INPUTS_A_TURN 4096u
#define RETRY (10 * RK_MS)       /* when a client's queue was full */
#define OUTCOME_WAIT (10 * RK_S) /* for a launcher that is not connected */
#define FINISH_WAIT (2 * RK_S)   /* for those that are connected, and storage */
#define LINGER_MS 1000
#define RULES_MAX (256u << 10)

/* ---- the core -------------------------------------------------------------------------------- */

/* What ranks stand still for goes first.  An agent starts processes after it has stood still, for
 * the others wait for it; and nobody waits for what is told of all this. */
enum urgency { AT_ONCE, STARTED_THEN, TOLD_LAST };

static enum urgency urgency_of(const struct core_action *action)
{
    return action->kind == CORE_DO_EVENT         ? TOLD_LAST
           : action->kind == CORE_DO_START_RANKS ? STARTED_THEN
                                                 : AT_ONCE;
}

static void step(struct coordinator *c, const struct core_event *event)
{
    struct core_actions actions;

    core_step(c->core, event, &actions);
    c->world.known = false;
    for (enum urgency urgency = AT_ONCE; urgency <= TOLD_LAST; urgency++)
        for (uint32_t i = 0; i < actions.count; i++)
            if (urgency_of(&actions.action[i]) == urgency)
                output_do(c, &actions.action[i]);
    launches_say(c);
}

void coordinator_feed(struct coordinator *c, struct core_event *event)
{
    if (c->feeding) {
        if (c->pending_count < PENDING_MAX)
            c->pending[c->pending_count++] = *event;
        else
            rk_error_log("an event of kind %d is lost, %u are pending", (int)event->kind,
                         PENDING_MAX);
        return;
    }
    c->feeding = true;
    step(c, event);
    for (uint32_t i = 0; i < c->pending_count; i++) {
        struct core_event pending = c->pending[i];

        step(c, &pending);
    }
    c->pending_count = 0;
    c->feeding = false;
}

void coordinator_fail(struct coordinator *c, int32_t exit_code, const char *format, ...)
{
    json_t *event;
    va_list args;

    if (c->ended)
        return;
    va_start(args, format);
    vsnprintf(c->why, sizeof c->why, format, args);
    va_end(args);
    rk_error_log("%s", c->why);
    c->ended = true;
    c->exit_code = exit_code;
    output_shutdown(c, c->why);
    event = notes_new(c, "job_finished");
    json_object_set_new(event, "exit_code", json_integer(exit_code));
    json_object_set_new(event, "steps", json_integer((json_int_t)c->rate.step));
    json_object_set_new(event, "goodput", json_real(report_goodput(c)));
    json_object_set_new(event, "why", json_text(c->why));
    events_add(c->events, event);
}

/* ---- birth ----------------------------------------------------------------------------------- */

static struct core_config config_of(const struct options *options)
{
    return (struct core_config){
        .capacity_workers = 2 * (options->max_workers + options->spares) + 64,
        .min_workers = options->min_workers,
        .target_workers = options->workers,
        .max_workers = options->max_workers,
        .spares = options->spares,
        .slots = options->slots,
        .shards = options->shards,
        .mode = strcmp(options->backend, "none") == 0 ? CORE_PROGRAM : CORE_AUTO,
        .launches = options->launcher,
        .gather = options->gather,
        .silence = options->silence,
        .launch_timeout = options->launch_timeout,
        .carrier_timeout = CARRIER_TIMEOUT,
        .standby_carriers = options->standby_carriers,
        .on_gpus = strcmp(options->backend, "nccl") == 0,
        .recover_timeout =
            RECOVER_TIMEOUT > 3 * options->silence ? RECOVER_TIMEOUT : 3 * options->silence,
        .checkpoint_interval_ns = options->interval,
        .checkpoint_interval_steps = options->interval_steps,
        .checkpoint_timeout = CHECKPOINT_TIMEOUT,
        .checkpoints = options->checkpoint_dir != NULL,
        .max_restarts = options->max_restarts,
        .restart_window = 3600 * RK_S,
        .program_failures = PROGRAM_FAILURES,
    };
}

/* The signals that mean something come by a descriptor.  Before any thread is started. */
static int open_signals(struct rk_why *why)
{
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : rk_fail_errno(why, errno, "cannot wait for signals");
}

static int open_core(struct coordinator *c, bool again, struct rk_why *why)
{
    struct core_record before = c->record.core;

    c->config = config_of(&c->options);
    before.epoch--; /* record_take has raised it */
    return core_new(&c->config, again ? &before : NULL, c->record.core.epoch, c->now, &c->core,
                    why);
}

/* The record is taken, and by that an epoch, before anybody is spoken to. */
static int open_all(struct coordinator *c, struct rk_why *why)
{
    const struct options *options = &c->options;
    bool again = options->restarted;
    int rc = secret_read(&c->secret, options->secret, why);

    if (rc == 0 && c->secret.private_key[0] == '\0')
        rc = rk_fail(why, RK_EDATA, "%s has no private key: it is a worker's", options->secret);
    if (rc == 0)
        rc = events_open(options->state_dir, options->events, &c->events, why);
    if (rc == 0)
        rc = record_take(options->state_dir, options->job, c->secret.public_key, c->wall,
                         events_offset(c->events), options->least_epoch, &c->record, &again, why);
    if (rc == 0)
        rc = recorder_open(options->state_dir, !options->copied, &c->recorder, why);
    if (rc == 0)
        rc = open_core(c, again, why);
    if (rc == 0 && options->checkpoint_dir)
        rc = saves_open(options, c->record.core.epoch, &c->saves, why);
    if (rc)
        return rc;
    if (again) {
        events_replay(c->events, c->record.events_offset, report_see, c);
        c->committed_step = c->record.core.committed_step;
        c->rate.step = c->record.core.best_step;
    }
    c->clients.launcher_next = events_end(c->events);
    rc = server_open(&c->secret, options->listen_fd, c->record.core.epoch, &c->server, why);
    if (rc == 0)
        rk_info("job %s, epoch %u, %s", options->job, c->record.core.epoch,
                again ? "goes on" : "starts");
    return rc;
}

static void close_all(struct coordinator *c)
{
    server_close(c->server, LINGER_MS);
    saves_close(c->saves);
    recorder_close(c->recorder);
    core_free(c->core);
    events_close(c->events);
    workers_done(&c->workers);
    launches_done(&c->launches);
    carriers_done(&c->carriers);
    comms_done(&c->comms);
    explicit_bzero(&c->secret, sizeof c->secret);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

struct loop {
    int signals;
    uint64_t due; /* when the wait should have ended */
    bool more;    /* a client has events to come */
    bool superseded;
};

static uint64_t wait_time(const struct coordinator *c, const struct loop *loop)
{
    uint64_t deadline = core_deadline(c->core);
    uint64_t wait = c->options.heartbeat;

    if (deadline <= c->now)
        wait = RK_MS;
    else if (deadline - c->now < wait)
        wait = deadline - c->now;
    if (loop->more && wait > RETRY)
        wait = RETRY;
    if (server_has_more(c->server))
        wait = 0;
    return wait;
}

static int wait_for_input(struct coordinator *c, struct loop *loop)
{
    uint64_t wait = wait_time(c, loop);
    zmq_pollitem_t items[] = {
        {.socket = server_socket(c->server), .events = ZMQ_POLLIN},
        {.socket = server_monitor(c->server), .events = ZMQ_POLLIN},
        {.fd = loop->signals, .events = ZMQ_POLLIN},
        {.fd = saves_fd(c->saves), .events = ZMQ_POLLIN},
    };
    int rc;

    loop->due = c->now + wait;
    rc = zmq_poll(items, c->saves ? 4 : 3, (long)((wait + RK_MS - 1) / RK_MS));
    c->now = rk_clock_now();
    c->wall = rk_clock_wall();
    return rc < 0 && zmq_errno() != EINTR ? RK_EIO : 0;
}

static void take_signals(struct coordinator *c, const struct loop *loop)
{
    struct signalfd_siginfo info;

    while (read(loop->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        struct core_event event = {.kind = CORE_EV_STOP, .now = c->now};

        event.stop.signal = (int32_t)info.ssi_signo;
        rk_info("signal %u from pid %u: the job is asked to stop", info.ssi_signo, info.ssi_pid);
        if (!c->ended)
            coordinator_feed(c, &event);
    }
}

/* A turn that came late by less than half a heartbeat was not late: nobody's silence is longer. */
static void tick(struct coordinator *c, const struct loop *loop)
{
    struct core_event event = {.kind = CORE_EV_TICK, .now = c->now};
    uint64_t late = c->now > loop->due ? c->now - loop->due : 0;

    if (late > c->options.heartbeat / 2)
        event.tick.late = late;
    if (late > c->options.silence)
        rk_warn("the coordinator's loop was late by %.1f s: all deadlines are extended",
                (double)late / 1e9);
    coordinator_feed(c, &event);
}

/* Somebody has heard a higher epoch: believed only if the record says so too. */
static bool is_superseded(const struct coordinator *c)
{
    struct record found;

    if (server_highest_epoch(c->server) <= c->record.core.epoch)
        return false;
    return record_read(c->options.state_dir, &found, NULL) == 0 &&
           found.core.epoch > c->record.core.epoch;
}

static void take_inputs(struct coordinator *c)
{
    struct server_input input;

    for (uint32_t i = 0; i < INPUTS_A_TURN && server_next(c->server, &input) == 0; i++) {
        input_take(c, &input);
        if (input.kind == SERVER_MESSAGE)
            wire_free(input.envelope);
    }
}

static int turn(struct coordinator *c, struct loop *loop)
{
    int rc = wait_for_input(c, loop);

    if (rc)
        return rc;
    take_signals(c, loop);
    saves_answers(c);
    take_inputs(c);
    if (!c->ended)
        tick(c, loop);
    loop->more = clients_events(c);
    loop->superseded = c->superseded || recorder_superseded(c->recorder) || is_superseded(c);
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void write_end(struct coordinator *c)
{
    core_record_read(c->core, c->now, &c->record.core);
    c->record.core.over = true;
    c->record.core.exit_code = c->exit_code;
    if (recorder_write(c->recorder, &c->record) == RK_ESTALE)
        rk_warn("the end of the job is not recorded: another coordinator has taken over");
}

/* Stays until the launcher knows the outcome and everybody has read what was said and is gone, but
 * not for long.  To close at once would reset connections whose last words are still unread here,
 * and ours there with them. */
static void end(struct coordinator *c, struct loop *loop)
{
    uint64_t ended = c->now;
    bool said = !c->options.launcher;
    char *report;

    write_end(c);
    report = report_write(c);
    for (;;) {
        uint64_t waited = c->now - ended;

        loop->more = clients_events(c);
        if (!said && c->launches.launcher) {
            launches_outcome(c, report);
            said = true;
        }
        if (said && saves_idle(c->saves) && server_peers(c->server) == 0)
            break;
        if (waited > (said ? FINISH_WAIT : OUTCOME_WAIT) || turn(c, loop) != 0)
            break;
    }
    rk_info("job %s ends with exit code %d: %s", c->options.job, c->exit_code, c->why);
    free(report);
}

/* Not an end of the job: whoever supervises sees a signal, not an exit code. */
static void die_superseded(void)
{
    sigset_t set;

    rk_error_log("another coordinator has taken over this job: this one ends");
    signal(SIGTERM, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    raise(SIGTERM);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int run(struct coordinator *c, int signals)
{
    struct loop loop = {.signals = signals};

    while (!c->ended && !loop.superseded) {
        if (turn(c, &loop) != 0) {
            coordinator_fail(c, 70, "the coordinator cannot wait for messages");
            break;
        }
    }
    if (loop.superseded && !c->ended) {
        die_superseded();
        return 75;
    }
    end(c, &loop);
    return c->exit_code;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* The tables need a core of no particular job. */
static int print_rules(void)
{
    char *text = malloc(RULES_MAX);

    if (!text)
        return 69;
    core_rules_print(text, RULES_MAX);
    fputs(text, stdout);
    free(text);
    return 0;
}

static int complain(const struct rk_why *why, int rc)
{
    fprintf(stderr, "reknit coordinator: %s\n", why->text);
    return rk_error_exit_code(rc);
}

static int run_job(struct coordinator *c)
{
    struct rk_why why = {""};
    int signals = open_signals(&why);
    int rc;

    if (signals < 0)
        return complain(&why, signals);
    c->now = c->born = rk_clock_now();
    c->wall = rk_clock_wall();
    c->committed_step = CORE_NONE;
    rc = open_all(c, &why);
    rc = rc ? complain(&why, rc) : run(c, signals);
    close_all(c);
    close(signals);
    return rc;
}

int command_coordinator(int argc, char **argv)
{
    struct options options;
    struct rk_why why;
    struct coordinator *c;
    int rc = options_parse(&options, argc, argv, &why);

    if (rc)
        return complain(&why, rc);
    if (options.help) {
        options_print_help();
        return 0;
    }
    if (options.print_rules)
        return print_rules();
    rk_log_init("coordinator");
    c = calloc(1, sizeof *c);
    if (!c)
        return 69;
    c->options = options;
    rc = run_job(c);
    free(c);
    return rc;
}
