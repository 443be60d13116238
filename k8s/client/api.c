/* The loop of an api: libcurl's sockets, a timer and whatever else has a descriptor, all in one
 * epoll instance that is itself what the owner waits for; see api.h and loop.h.
 *
 * 1. libcurl's handles are added and removed here and in request.c, only within a turn and never
 *    within one of libcurl's callbacks.
 * 2. The timer is set to the earliest of libcurl's timeout, the timers and a wake-up, at the end of
 *    each turn and by each wake-up. */
#include "k8s/client/loop.h"
#include "k8s/client/sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 512
#define MOST_CONNECTIONS 64L

struct socket {
    struct source source; /* first */
    struct api *api;
    struct socket *next, *before;
    uint64_t heard_at; /* bytes, or a connection, came */
};

struct api {
    CURLM *multi;
    int epoll;
    struct source clock;
    uint64_t now, wall;
    uint64_t curl_due;
    uint64_t clock_due; /* what the timer is set to */
    bool woken;
    struct timers timers;
    struct draw draw;
    struct socket *sockets;
    struct api_config config;
    struct sender *sender;
    bool has_curl;
};

uint64_t loop_now(const struct api *api)
{
    return api->now;
}

uint64_t loop_wall(const struct api *api)
{
    return api->wall;
}

struct timers *loop_timers(struct api *api)
{
    return &api->timers;
}

struct draw *loop_draw(struct api *api)
{
    return &api->draw;
}

struct sender *loop_sender(struct api *api)
{
    return api->sender;
}

CURLM *loop_multi(struct api *api)
{
    return api->multi;
}

const struct api_config *loop_config(const struct api *api)
{
    return &api->config;
}

int loop_add(struct api *api, struct source *source, uint32_t events, struct rk_why *why)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    if (epoll_ctl(api->epoll, EPOLL_CTL_ADD, source->fd, &event) != 0)
        return rk_fail_errno(why, errno, "descriptor %d cannot be waited for", source->fd);
    return 0;
}

void loop_change(struct api *api, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};

    epoll_ctl(api->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void loop_remove(struct api *api, struct source *source)
{
    epoll_ctl(api->epoll, EPOLL_CTL_DEL, source->fd, NULL);
}

/* Sets the timer; a time of 0 would stop it. */
static void set_clock(struct api *api, uint64_t due)
{
    struct itimerspec spec = {{0, 0}, {0, 0}};

    if (due == api->clock_due)
        return;
    api->clock_due = due;
    if (due != TIMERS_NEVER) {
        spec.it_value.tv_sec = (time_t)(due / RK_S);
        spec.it_value.tv_nsec = (long)(due % RK_S);
        if (due == 0)
            spec.it_value.tv_nsec = 1;
    }
    timerfd_settime(api->clock.fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void loop_wake(struct api *api)
{
    api->woken = true;
    set_clock(api, 0);
}

static void on_clock(void *who, uint32_t events)
{
    struct api *api = who;
    uint64_t count;

    (void)events;
    if (read(api->clock.fd, &count, sizeof count) < 0)
        return;
    api->clock_due = TIMERS_NEVER;
}

static void on_socket(void *who, uint32_t events)
{
    struct socket *socket = who;
    struct api *api = socket->api;
    int mask = 0;
    int running;

    if ((events & EPOLLIN) != 0)
        mask |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        mask |= CURL_CSELECT_OUT;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        mask |= CURL_CSELECT_ERR;
    if ((events & EPOLLIN) != 0)
        socket->heard_at = api->now;
    curl_multi_socket_action(api->multi, socket->source.fd, mask, &running);
}

static void forget_socket(struct api *api, struct socket *socket)
{
    loop_remove(api, &socket->source);
    if (socket->next != NULL)
        socket->next->before = socket->before;
    if (socket->before != NULL)
        socket->before->next = socket->next;
    else
        api->sockets = socket->next;
    free(socket);
}

static struct socket *learn_socket(struct api *api, curl_socket_t fd, uint32_t events)
{
    struct socket *socket = calloc(1, sizeof *socket);

    if (socket == NULL)
        return NULL;
    socket->source = (struct source){.fd = fd, .ready = on_socket, .who = socket};
    socket->api = api;
    socket->heard_at = api->now;
    if (loop_add(api, &socket->source, events, NULL) != 0) {
        free(socket);
        return NULL;
    }
    socket->next = api->sockets;
    if (socket->next != NULL)
        socket->next->before = socket;
    api->sockets = socket;
    curl_multi_assign(api->multi, fd, socket);
    return socket;
}

/* libcurl wants to know of a socket, or no more. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *who, void *its)
{
    struct api *api = who;
    struct socket *socket = its;
    uint32_t events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket != NULL)
            forget_socket(api, socket);
        return 0;
    }
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (socket != NULL)
        loop_change(api, &socket->source, events);
    else if (learn_socket(api, fd, events) == NULL)
        return -1;
    return 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *who)
{
    struct api *api = who;

    (void)multi;
    api->curl_due = timeout_ms < 0 ? TIMERS_NEVER : api->now + (uint64_t)timeout_ms * RK_MS;
    return 0;
}

void loop_break_silent(struct api *api, uint64_t since)
{
    for (struct socket *socket = api->sockets; socket != NULL; socket = socket->next)
        if (socket->heard_at <= since)
            shutdown(socket->source.fd, SHUT_RDWR);
}

static int open_descriptors(struct api *api, struct rk_why *why)
{
    api->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (api->epoll < 0)
        return rk_fail_errno(why, errno, "no epoll instance could be had");
    api->clock.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (api->clock.fd < 0)
        return rk_fail_errno(why, errno, "no timer could be had");
    api->clock.ready = on_clock;
    api->clock.who = api;
    return loop_add(api, &api->clock, EPOLLIN, why);
}

static int open_curl(struct api *api, struct rk_why *why)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return rk_fail(why, RK_EUNAVAILABLE, "libcurl cannot be started");
    api->has_curl = true;
    api->multi = curl_multi_init();
    if (api->multi == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for libcurl");
    curl_multi_setopt(api->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(api->multi, CURLMOPT_SOCKETDATA, api);
    curl_multi_setopt(api->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(api->multi, CURLMOPT_TIMERDATA, api);
    curl_multi_setopt(api->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(api->multi, CURLMOPT_MAXCONNECTS, MOST_CONNECTIONS);
    return 0;
}

int api_new(struct api_config *config, const struct api_options *options, struct api **out,
            struct rk_why *why)
{
    struct api *api = calloc(1, sizeof *api);
    int rc;

    if (api == NULL) {
        api_config_done(config);
        return rk_fail(why, RK_ENOMEM, "no memory for the client of the API server");
    }
    api->config = *config;
    memset(config, 0, sizeof *config);
    api->epoll = api->clock.fd = -1;
    api->curl_due = api->clock_due = TIMERS_NEVER;
    api->draw.state = options->seed;
    rc = open_descriptors(api, why);
    if (rc == 0)
        rc = open_curl(api, why);
    if (rc == 0)
        rc = sender_new(api, options, &api->sender, why);
    if (rc != 0) {
        api_free(api);
        return rc;
    }
    *out = api;
    return 0;
}

void api_free(struct api *api)
{
    if (api == NULL)
        return;
    sender_free(api->sender);
    if (api->multi != NULL)
        curl_multi_cleanup(api->multi);
    for (struct socket *socket = api->sockets, *next; socket != NULL; socket = next) {
        next = socket->next;
        free(socket);
    }
    if (api->has_curl)
        curl_global_cleanup();
    if (api->clock.fd >= 0)
        close(api->clock.fd);
    if (api->epoll >= 0)
        close(api->epoll);
    api_config_done(&api->config);
    free(api);
}

int api_fd(const struct api *api)
{
    return api->epoll;
}

const char *api_namespace(const struct api *api)
{
    return api->config.namespace;
}

const char *api_server(const struct api *api)
{
    return api->config.server;
}

const char *api_origin(const struct api *api)
{
    return api->config.origin;
}

/* One event at a time: what is called for it may close other descriptors. */
static void take_events(struct api *api)
{
    struct epoll_event event;

    for (int i = 0; i < EVENTS_A_TURN && epoll_wait(api->epoll, &event, 1, 0) == 1; i++) {
        struct source *source = event.data.ptr;

        source->ready(source->who, event.events);
        sender_reap(api->sender);
    }
}

/* Where we came too early by libcurl's clock, it does not say its time again. */
static void ask_curl(struct api *api)
{
    long timeout_ms = -1;

    if (api->curl_due == TIMERS_NEVER)
        curl_multi_timeout(api->multi, &timeout_ms);
    if (timeout_ms >= 0)
        api->curl_due = api->now + (uint64_t)timeout_ms * RK_MS + RK_MS;
}

static void take_times(struct api *api)
{
    int running;

    if (api->curl_due <= api->now) {
        api->curl_due = TIMERS_NEVER;
        curl_multi_socket_action(api->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        ask_curl(api);
        sender_reap(api->sender);
    }
    for (int i = 0; i < EVENTS_A_TURN && timers_fire(&api->timers, api->now); i++)
        sender_reap(api->sender);
}

void api_turn(struct api *api, uint64_t now, uint64_t wall)
{
    uint64_t due;

    api->now = now;
    api->wall = wall;
    api->woken = false;
    take_events(api);
    take_times(api);
    sender_pump(api->sender);
    due = timers_due(&api->timers);
    if (api->curl_due < due)
        due = api->curl_due;
    set_clock(api, api->woken ? 0 : due);
}
