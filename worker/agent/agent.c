/* The agent's life: opening all it needs, one turn of its loop after the other, and its end. */
#include "worker/agent/agent.h"

#include "collectives/carrier_launch.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/agent/state.h"
#include "worker/agent/warden.h"
#include "worker/serve/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zmq.h>

#define EVENTS_A_TURN 256
#define HEARTBEAT_NS (200 * RK_MS) /* until a welcome says otherwise */
#define SILENCE_NS (1 * RK_S)
#define GIVE_UP_NS (5 * RK_S)
#define LINGER_MS 500
#define LOOK_NS (100 * RK_US) /* between two looks at a process that ends */
#define LOOK_LATE_NS RK_MS    /* from when it has done so for LOOK_FOR_NS */
#define LOOK_FOR_NS (3 * RK_MS)
#define LEAVE_ALONE_NS (5 * RK_S) /* without a coordinator to hand over to */

int watch_add(struct agent *agent, struct watch *watch, int fd, uint32_t events,
              void (*ready)(struct agent *, struct watch *, uint32_t))
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    if (fd >= 0 && epoll_ctl(agent->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        int rc = rk_fail_errno(NULL, errno, "epoll_ctl");
        close(fd);
        watch->fd = -1;
        return rc;
    }
    watch->fd = fd;
    watch->ready = ready;
    return fd < 0 ? RK_EINVAL : 0;
}

void watch_change(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    if (watch->fd >= 0)
        epoll_ctl(agent->epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

void watch_drop(struct agent *agent, struct watch *watch)
{
    if (watch->fd < 0)
        return;
    /* explicitly, for a child may hold the same open file */
    epoll_ctl(agent->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    close(watch->fd);
    watch->fd = -1;
}

/* ---- ending -----------------------------------------------------------------------------------
 */

void agent_end(struct agent *agent, int code, uint64_t grace, const char *why)
{
    uint64_t kill_at = agent->now + grace;

    if (agent->end == AGENT_RUNS) {
        agent->end = AGENT_ENDING;
        agent->exit_code = code;
        agent->kill_at = kill_at;
        snprintf(agent->end_why, sizeof agent->end_why, "%s", why);
        rk_info("worker ends: %s", why);
        children_kill(agent);
        ranks_signal(agent, grace == 0 ? SIGKILL : SIGTERM);
    } else if (kill_at < agent->kill_at) {
        agent->kill_at = kill_at;
    }
    agent->give_up_at = agent->kill_at + GIVE_UP_NS;
    if (agent->kill_at <= agent->now)
        ranks_signal(agent, SIGKILL);
}

static bool ended(struct agent *agent)
{
    if (agent->end == AGENT_RUNS)
        return false;
    if (agent->now >= agent->kill_at)
        ranks_signal(agent, SIGKILL);
    if (agent->now >= agent->give_up_at)
        return true;
    return !ranks_alive(agent) && !children_alive(agent);
}

/* SIGTERM is a notice: whoever sent it gives time to hand over, as a node that is drained does.
 * Another one, or another signal, is the end. */
static void on_signal(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct signalfd_siginfo info;
    (void)events;

    if (read(watch->fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGTERM && !agent->leaving && (agent->welcomed || ranks_alive(agent))) {
        agent->leaving = true;
        rk_info("worker is asked to end (SIGTERM): it hands over; once more ends it at once");
        if (agent->welcomed)
            say_leaving(agent);
        return;
    }
    agent->goodbye = true;
    agent_end(agent, 0, 0, "it was asked to leave by a signal");
}

static void on_life(struct agent *agent, struct watch *watch, uint32_t events)
{
    char bytes[64];
    ssize_t size = read(watch->fd, bytes, sizeof bytes);
    (void)events;

    if (size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    watch_drop(agent, watch);
    agent_end(agent, 0, 0, "its supervisor is gone");
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static int open_signals(struct agent *agent, struct rk_why *why)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    if (agent->options->life_fd < 0) {
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (watch_add(agent, &agent->signals, fd, EPOLLIN, on_signal) != 0)
        return rk_fail(why, RK_EIO, "cannot watch for signals");
    return 0;
}

/* Only regular files cannot be watched, and those do not end. */
static void open_life(struct agent *agent)
{
    if (agent->options->life_fd >= 0)
        watch_add(agent, &agent->life, agent->options->life_fd, EPOLLIN, on_life);
}

/* That it fires is all: each turn looks. */
static void on_look(struct agent *agent, struct watch *watch, uint32_t events)
{
    uint64_t times;
    (void)agent;
    (void)events;

    if (read(watch->fd, &times, sizeof times) != (ssize_t)sizeof times)
        rk_debug("the timer of looks fired and was not read");
}

static int open_looks(struct agent *agent, struct rk_why *why)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (watch_add(agent, &agent->looks, fd, EPOLLIN, on_look) != 0)
        return rk_fail(why, RK_EIO,
                       "cannot make a timer; raise the limit of open files (ulimit -n)");
    return 0;
}

/* Processes that end, and of which nothing tells that they touch nothing any more, are looked at
 * again soon. */
static void look_again(struct agent *agent)
{
    struct itimerspec in = {.it_value.tv_nsec = (long)LOOK_NS};

    if (!agent->fading && agent->freeze.waiting == 0) {
        agent->looks_since = 0;
        return;
    }
    if (agent->looks_since == 0)
        agent->looks_since = agent->now;
    if (agent->now - agent->looks_since > LOOK_FOR_NS)
        in.it_value.tv_nsec = (long)LOOK_LATE_NS;
    timerfd_settime(agent->looks.fd, 0, &in, NULL);
}

static int open_link(struct agent *agent, struct rk_why *why)
{
    struct secret secret;
    int rc = secret_read(&secret, agent->options->secret, why);

    if (rc == 0 && agent->options->listen != 0)
        rc = link_listen(&secret, agent->worker.value, agent->options->address,
                         (uint16_t)agent->options->listen, &agent->link, why);
    else if (rc == 0)
        rc = link_open(&secret, agent->worker.value, &agent->link, why);
    explicit_bzero(&secret, sizeof secret);
    return rc;
}

static int agent_open(struct agent *agent, struct rk_why *why)
{
    int rc;

    agent->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (agent->epoll < 0)
        return rk_fail_errno(why, errno, "cannot make an epoll set");
    rc = secret_random_id(&agent->worker.value, why);
    if (rc == 0)
        rc = open_signals(agent, why);
    if (rc == 0)
        rc = open_looks(agent, why);
    if (rc == 0)
        rc = relay_open(agent, why);
    if (rc == 0)
        rc = declare_open(agent, why);
    if (rc == 0)
        rc = open_link(agent, why);
    if (rc == 0)
        rc = host_open(agent, why);
    if (rc == 0)
        lives_open(agent);
    if (rc == 0)
        open_life(agent);
    return rc;
}

static struct agent *agent_new(const struct agent_options *options, pid_t warden)
{
    struct agent *agent = calloc(1, sizeof *agent);

    if (agent == NULL)
        return NULL;
    agent->options = options;
    agent->now = rk_clock_now();
    agent->pid = getpid();
    agent->memory_fd = rk_memory_kills_open();
    agent->memory_kills = rk_memory_kills(agent->memory_fd);
    agent->warden_pid = warden;
    agent->epoll = -1;
    agent->signals.fd = agent->life.fd = agent->listener.fd = agent->declared.fd = -1;
    agent->looks.fd = -1;
    agent->relay.watch.fd = -1;
    agent->arena.fd = -1;
    agent->block = -1;
    agent->down_since = agent->now;
    agent->heartbeat_ns = HEARTBEAT_NS;
    agent->silence_ns = SILENCE_NS;
    agent->orphan_ns = options->orphan_ns;
    agent->snapshot_wanted = ARENA_NO_STEP;
    for (uint32_t i = 0; i < AGENT_PEERS; i++)
        agent->peer[i].watch.fd = agent->peer[i].alive.fd = -1;
    for (uint32_t i = 0; i < AGENT_FENCES; i++)
        agent->freeze.target[i].watch.fd = -1;
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        agent->child[i].alive.fd = agent->child[i].report.fd = -1;
    ranks_init(agent);
    return agent;
}

static void agent_free(struct agent *agent)
{
    lives_close(agent);
    declare_close(agent);
    ranks_close(agent);
    local_server_close(agent);
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind != CHILD_NONE)
            child_free(&agent->child[i]);
    for (uint32_t i = 0; i < AGENT_FENCES; i++)
        watch_drop(agent, &agent->freeze.target[i].watch);
    watch_drop(agent, &agent->signals);
    watch_drop(agent, &agent->life);
    watch_drop(agent, &agent->looks);
    host_close(agent);
    /* what was said last, a goodbye, is still to arrive */
    link_close(agent->link, LINGER_MS);
    relay_close(agent, LINGER_MS);
    if (agent->epoll >= 0)
        close(agent->epoll);
    if (agent->memory_fd >= 0)
        close(agent->memory_fd);
    free(agent);
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void follow_link(struct agent *agent)
{
    bool up = link_up(agent->link);

    if (up && !agent->up) {
        rk_info("worker connected to the coordinator");
        agent->hello_due = true;
        agent->hello_at = 0;
    } else if (!up && agent->up) {
        rk_warn("worker lost the coordinator; its ranks go on for up to %.0f s without one",
                (double)agent->orphan_ns / (double)RK_S);
        agent->down_since = agent->now;
        agent->welcomed = false;
    }
    agent->up = up;
    if (!up && agent->now - agent->down_since > agent->orphan_ns)
        agent_end(agent, 69, 0, "no coordinator came back within the orphan timeout");
    if (!up && agent->leaving && agent->now - agent->down_since > LEAVE_ALONE_NS)
        agent_end(agent, 0, 0, "it was asked to end, and nobody is there to hand over to");
}

static void say_what_is_due(struct agent *agent)
{
    /* again, too, when nobody answers */
    if (agent->up && !agent->welcomed && agent->now >= agent->hello_at + agent->silence_ns)
        agent->hello_due = true;
    if (agent->up && agent->hello_due && agent->now >= agent->hello_at) {
        agent->hello_due = false;
        agent->hello_at = agent->now + agent->heartbeat_ns / 2;
        say_hello(agent);
    }
    if (agent->now < agent->heartbeat_at)
        return;
    agent->heartbeat_at = agent->now + agent->heartbeat_ns;
    ranks_look(agent);
    carriers_look(agent);
    children_look(agent);
    freeze_snapshot_look(agent, 0);
    if (agent->up && agent->welcomed)
        say_heartbeat(agent);
}

/* One event at a time, since handling one may close what others are about. */
static void take_events(struct agent *agent)
{
    for (int i = 0; i < EVENTS_A_TURN; i++) {
        struct epoll_event event;

        if (epoll_wait(agent->epoll, &event, 1, 0) != 1)
            return;
        struct watch *watch = event.data.ptr;
        watch->ready(agent, watch, event.events);
    }
}

static long wait_ms(const struct agent *agent)
{
    uint64_t until = agent->heartbeat_at;
    uint64_t soon = agent->now + 5 * RK_MS;

    if (agent->end == AGENT_ENDING && until > soon)
        until = soon;
    if (agent->up && agent->hello_due && agent->hello_at < until)
        until = agent->hello_at;
    if (agent->start_at != 0 && agent->start_at < until)
        until = agent->start_at;
    return until <= agent->now ? 0 : (long)((until - agent->now + RK_MS - 1) / RK_MS);
}

static void notice_gap(struct agent *agent, uint64_t before)
{
    if (agent->now - before > agent->silence_ns)
        rk_warn("worker stood still for %.1f s; the coordinator says whether it is still a member",
                (double)(agent->now - before) / (double)RK_S);
}

static void agent_turn(struct agent *agent)
{
    uint64_t before = agent->now;
    zmq_pollitem_t items[] = {
        {.socket = link_socket(agent->link), .events = ZMQ_POLLIN},
        {.socket = link_monitor(agent->link), .events = ZMQ_POLLIN},
        {.fd = agent->epoll, .events = ZMQ_POLLIN},
    };

    zmq_poll(items, 3, wait_ms(agent));
    agent->now = rk_clock_now();
    notice_gap(agent, before);
    follow_link(agent);
    control_receive(agent);
    take_events(agent);
    if (agent->fading)
        lives_look(agent);
    fence_look(agent);
    look_again(agent);
    freeze_check(agent);
    ranks_start_due(agent);
    children_tidy(agent);
    say_what_is_due(agent);
}

int agent_main(const struct agent_options *options, pid_t warden)
{
    struct rk_why why = {""};
    struct agent *agent = agent_new(options, warden);
    int rc = agent == NULL ? rk_fail(&why, RK_ENOMEM, "no memory for an agent")
                           : agent_open(agent, &why);

    if (rc != 0) {
        rk_error_log("worker cannot start: %s", why.text);
        if (agent != NULL)
            agent_free(agent);
        return rk_error_exit_code(rc);
    }
    while (!ended(agent))
        agent_turn(agent);
    if (agent->goodbye)
        say_goodbye(agent, agent->end_why);
    int code = agent->exit_code;
    agent_free(agent);
    return code;
}

int command_worker(int argc, char **argv)
{
    struct agent_options options;
    struct rk_why why;
    char name[64];
    pid_t warden;
    int exit_code;

    if (argc > 1 && (strcmp(argv[1], "--write-shard") == 0 || strcmp(argv[1], "--load-state") == 0))
        return storage_child(argc, argv);
    int rc = agent_options_parse(&options, argc, argv, &why);
    if (rc == 0 && options.interface != NULL)
        rc = carrier_interface_check(options.interface, &why);
    if (rc != 0) {
        fprintf(stderr, "reknit worker: %s\n", why.text);
        return rk_error_exit_code(rc);
    }
    if (options.help) {
        agent_options_print_help();
        return 0;
    }
    snprintf(name, sizeof name, "worker %u", options.ticket);
    rk_log_init(name);
    if (warden_start(options.life_fd >= 0, &warden, &exit_code))
        return exit_code;
    return options.serve ? serve_main(&options) : agent_main(&options, warden);
}
