/* The loop of `reknit worker --serve`; see serve.h. */
#include "worker/serve/state.h"

#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#define TURN (100 * RK_MS)
#define HELLO_AGAIN (RK_S / 2)
#define LINGER_MS 500
#define MESSAGES_A_TURN 256
#define FIXED_ITEMS 3
#define COMMAND_ITEMS 4

/* ---- what is said ---------------------------------------------------------------------------- */

bool serve_say(struct serve *serve, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    if (!serve->up)
        return false;
    envelope.body_case = kind;
    envelope.hello = body; /* all members of the union are pointers */
    return link_send(serve->link, &envelope) == 0;
}

static char *text(const char *words)
{
    return (char *)(uintptr_t)words;
}

static void say_hello(struct serve *serve)
{
    const struct agent_options *options = serve->options;
    Rk__Hello hello = RK__HELLO__INIT;

    hello.host = serve->id;
    hello.host_name = text(options->host_name);
    hello.address = text(options->address);
    hello.identity = text(options->group);
    hello.slots = options->slots;
    hello.ticket = options->ticket;
    hello.pid = (int32_t)getpid();
    serve_say(serve, RK__ENVELOPE__BODY_HELLO, &hello);
    serve->hello = serve->now + HELLO_AGAIN;
}

static void say_ready(struct serve *serve)
{
    Rk__LineReady ready = RK__LINE_READY__INIT;

    if (serve->ask == 0 || commands_remain(serve, serve->line))
        return;
    ready.line = serve->number;
    ready.ask = serve->ask;
    ready.broken = serve->broken;
    if (serve_say(serve, RK__ENVELOPE__BODY_LINE_READY, &ready))
        serve->ask = 0;
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* Lines are counted anew in each epoch. */
static void begin(struct serve *serve, const Rk__LineBegin *begin)
{
    uint64_t line = (uint64_t)link_epoch(serve->link) << 32 | begin->line;

    if (line != serve->line) {
        rk_info("line %u begins", begin->line);
        serve->line = line;
        serve->number = begin->line;
        serve->broken = false;
        commands_kill(serve, line);
    }
    serve->greeted = true;
    serve->ask = begin->ask;
}

static void take(struct serve *serve, const Rk__Envelope *envelope)
{
    serve->heard = serve->now;
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_LINE_BEGIN:
        begin(serve, envelope->line_begin);
        break;
    case RK__ENVELOPE__BODY_EXEC_START:
        commands_start(serve, envelope->exec_start);
        break;
    case RK__ENVELOPE__BODY_EXEC_DONE:
        commands_finish(serve, envelope->exec_done);
        break;
    case RK__ENVELOPE__BODY_EXEC_DATA:
        streams_take(serve, envelope->exec_data);
        break;
    case RK__ENVELOPE__BODY_EXEC_TAKEN:
        streams_taken(serve, envelope->exec_taken);
        break;
    case RK__ENVELOPE__BODY_REFUSED:
        serve->greeted = false; /* "say hello first" */
        break;
    default:
        rk_debug("a worker that serves does not take %s", wire_kind(envelope));
    }
}

static void receive(struct serve *serve)
{
    Rk__Envelope *envelope;

    for (int i = 0; i < MESSAGES_A_TURN && link_receive(serve->link, &envelope) == 0; i++) {
        take(serve, envelope);
        wire_free(envelope);
    }
}

static void follow_link(struct serve *serve)
{
    bool up = link_up(serve->link);

    if (up && !serve->up) {
        serve->greeted = false;
        serve->hello = serve->now;
        streams_again(serve);
    }
    serve->up = up;
    if (up && !serve->greeted && serve->now >= serve->hello)
        say_hello(serve);
}

/* Nobody has spoken for long: whoever asked for what runs here is gone, or has given us up. */
static void notice_silence(struct serve *serve)
{
    if (serve->broken || serve->line == 0 || serve->now < serve->heard + SERVE_SILENCE)
        return;
    if (!commands_remain(serve, 0))
        return;
    serve->broken = true;
    rk_warn("silence for %.1f s: what was started here is killed",
            (double)(serve->now - serve->heard) / (double)RK_S);
    commands_kill(serve, 0);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int add_item(zmq_pollitem_t *items, int count, int fd, short events)
{
    if (fd >= 0)
        items[count++] = (zmq_pollitem_t){.fd = fd, .events = events};
    return count;
}

static int add_command(zmq_pollitem_t *items, int count, const struct command *command)
{
    if (command->request == 0)
        return count;
    if (!command->ended)
        count = add_item(items, count, command->held.status, ZMQ_POLLIN);
    for (int i = 0; i < 2; i++)
        if (flow_out_room(&command->output[i]) > 0)
            count = add_item(items, count, command->out[i], ZMQ_POLLIN);
    return command->input.used > 0 ? add_item(items, count, command->in, ZMQ_POLLOUT) : count;
}

static void wait_for_something(struct serve *serve)
{
    zmq_pollitem_t items[FIXED_ITEMS + COMMAND_ITEMS * SERVE_COMMANDS] = {
        {.socket = link_socket(serve->link), .events = ZMQ_POLLIN},
        {.socket = link_monitor(serve->link), .events = ZMQ_POLLIN},
        {.fd = serve->signals, .events = ZMQ_POLLIN},
    };
    int count = FIXED_ITEMS;

    for (unsigned i = 0; i < SERVE_COMMANDS; i++)
        count = add_command(items, count, &serve->command[i]);
    zmq_poll(items, count, (long)(TURN / RK_MS));
}

static void take_signals(struct serve *serve)
{
    struct signalfd_siginfo info;

    while (read(serve->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD)
            serve->leave = true;
}

static void turn(struct serve *serve)
{
    wait_for_something(serve);
    serve->now = rk_clock_now();
    take_signals(serve);
    follow_link(serve);
    receive(serve);
    streams_turn(serve);
    commands_tidy(serve);
    notice_silence(serve);
    streams_say(serve);
    say_ready(serve);
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int open_signals(struct serve *serve, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    serve->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return serve->signals >= 0 ? 0 : rk_fail_errno(why, errno, "no descriptor for signals");
}

static int open_link(struct serve *serve, struct rk_why *why)
{
    const struct agent_options *options = serve->options;
    struct secret secret;
    int rc = secret_read(&secret, options->secret, why);

    if (rc == 0)
        rc = link_listen(&secret, serve->id, options->address, (uint16_t)options->listen,
                         &serve->link, why);
    explicit_bzero(&secret, sizeof secret);
    return rc;
}

static int open_all(struct serve *serve, struct rk_why *why)
{
    int rc = secret_random_id(&serve->id, why);

    if (rc == 0)
        rc = open_signals(serve, why);
    return rc == 0 ? open_link(serve, why) : rc;
}

/* Says so first: mpirun will notice at once that its daemon is gone, and why must be known then. */
static void say_goodbye(struct serve *serve)
{
    Rk__Goodbye goodbye = RK__GOODBYE__INIT;

    goodbye.why = text("its pod ends");
    rk_info("asked to end");
    serve_say(serve, RK__ENVELOPE__BODY_GOODBYE, &goodbye);
}

static void close_all(struct serve *serve)
{
    link_close(serve->link, LINGER_MS);
    commands_close(serve);
    if (serve->signals >= 0)
        close(serve->signals);
    free(serve);
}

int serve_main(const struct agent_options *options)
{
    struct serve *serve = calloc(1, sizeof *serve);
    struct rk_why why = {""};
    int rc;

    if (serve == NULL)
        return rk_error_exit_code(RK_ENOMEM);
    serve->options = options;
    serve->signals = -1;
    rc = open_all(serve, &why);
    if (rc == 0)
        rk_info("waits at %s port %u for what the job's command line asks for", options->address,
                options->listen);
    else
        rk_error_log("worker cannot start: %s", why.text);
    while (rc == 0 && !serve->leave)
        turn(serve);
    if (serve->leave)
        say_goodbye(serve);
    close_all(serve);
    return rc == 0 ? 0 : rk_error_exit_code(rc);
}
