/* What reknit-rsh asks for, from its socket to the worker and back; see line.h. */
#include "launch/pods/line_state.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024
#define EVENTS 256

static struct call *find(struct line *line, uint64_t request)
{
    for (struct call *call = line->call; call != NULL; call = call->next)
        if (call->request == request)
            return call;
    return NULL;
}

static void free_call(struct call *call)
{
    if (call->fd >= 0)
        close(call->fd);
    flow_out_done(&call->input);
    flow_in_done(&call->output[0]);
    flow_in_done(&call->output[1]);
    free(call->command);
    free(call->in);
    free(call->out);
    free(call);
}

static void drop_call(struct line *line, struct call *call)
{
    struct call **at = &line->call;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    free_call(call);
}

void calls_drop(struct line *line)
{
    while (line->call != NULL)
        drop_call(line, line->call);
}

/* ---- reknit-rsh comes and goes --------------------------------------------------------------- */

void call_lose(struct line *line, struct call *call)
{
    (void)line;
    if (call->fd >= 0)
        close(call->fd); /* epoll forgets it */
    call->fd = -1;
}

/* Another user's process of this pod is not of our command. */
static bool is_ours(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == getuid() || peer.uid == 0);
}

static bool welcome(struct line *line, int fd)
{
    struct call *call = calloc(1, sizeof *call);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = call};

    if (call == NULL)
        return false;
    call->fd = fd;
    call->events = EPOLLIN;
    call->request = ++line->requests;
    call->next = line->call;
    line->call = call;
    if (epoll_ctl(line->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return true;
    call->fd = -1;
    drop_call(line, call);
    return false;
}

static void accept_all(struct line *line)
{
    int fd;

    while ((fd = accept4(line->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        if (line->state != LINE_RUNS || !is_ours(fd) || !welcome(line, fd))
            close(fd);
}

static void end_call(struct call *call, int32_t code)
{
    call->ended = true;
    call->exit_code = code;
    call->output[0].ends = call->output[1].ends = true;
}

/* Nothing runs; `why` is said. */
static void refuse(struct call *call)
{
    call->post = NULL;
    end_call(call, RSH_FAILURE);
}

static void refuse_stranger(struct call *call, const char *host)
{
    snprintf(call->why, sizeof call->why, "no worker of this job has the name or address '%.100s'",
             host);
    refuse(call);
}

/* Its mpirun would wait, maybe for ever, for a worker that comes later or never. */
static void refuse_missing(struct line *line, struct call *call)
{
    snprintf(line->asked, sizeof line->asked, "%s", call->post->name);
    snprintf(call->why, sizeof call->why,
             "worker '%.100s' is not there, and none of this run's: the hosts are old",
             call->post->name);
    refuse(call);
}

bool call_is_here(const struct line *line, const char *host)
{
    size_t label = strcspn(host, ".");
    const char *name = line->shell->given.pod_name;
    char service[256];

    snprintf(service, sizeof service, "%s-launcher", line->shell->job->name);
    return (strlen(name) == label && strncmp(name, host, label) == 0) ||
           (strlen(service) == label && strncmp(service, host, label) == 0);
}

void call_begin(struct line *line, struct call *call, const char *data, size_t size)
{
    const char *host = data;
    size_t length = strnlen(host, size);

    call->begun = true;
    if (length + 1 >= size || data[size - 1] != '\0') {
        call_lose(line, call);
        return;
    }
    if (call_is_here(line, host)) {
        relay_frame(call, RSH_LOCAL, NULL, 0);
        call->ended = call->finished = true;
        return;
    }
    call->post = posts_find_host(line, host);
    call->command = strdup(data + length + 1);
    if (call->post == NULL || call->command == NULL) {
        refuse_stranger(call, host);
        return;
    }
    if (!call->post->used && !call->post->connected) {
        refuse_missing(line, call);
        return;
    }
    call->post->used = true;
    rk_debug("on %s: %s", call->post->name, call->command);
}

/* ---- the worker speaks ----------------------------------------------------------------------- */

static void say_done(struct line *line, const struct post *post, uint64_t request)
{
    Rk__ExecDone done = RK__EXEC_DONE__INIT;

    done.request = request;
    posts_say(line, post, RK__ENVELOPE__BODY_EXEC_DONE, &done);
}

static void take_ended(struct line *line, const struct post *post, const Rk__ExecEnded *ended)
{
    struct call *call = find(line, ended->request);

    if (call == NULL || call->post != post) {
        say_done(line, post, ended->request);
        return;
    }
    call->ended = true;
    call->exit_code = ended->signal != 0 ? 128 + ended->signal : ended->exit_code;
    if (ended->why[0] == '\0')
        return;
    snprintf(call->why, sizeof call->why, "%.250s", ended->why);
    end_call(call, call->exit_code);
}

static void take_data(struct line *line, const struct post *post, const Rk__ExecData *data)
{
    struct call *call = find(line, data->request);
    const struct flow_piece piece = {data->offset, data->data.data, data->data.len, data->end};

    if (call == NULL || call->post != post || data->stream < 1)
        return;
    if (!flow_in_put(&call->output[data->stream - 1], &piece))
        call_lose(line, call); /* no memory: rather no command than output that lacks a part */
}

static void take_taken(struct line *line, const struct post *post, const Rk__ExecTaken *taken)
{
    struct call *call = find(line, taken->request);

    if (call != NULL && call->post == post && taken->stream == 0)
        flow_out_taken(&call->input, taken->offset);
}

void calls_take(struct line *line, const struct post *post, const Rk__Envelope *envelope)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_EXEC_ENDED:
        take_ended(line, post, envelope->exec_ended);
        break;
    case RK__ENVELOPE__BODY_EXEC_DATA:
        take_data(line, post, envelope->exec_data);
        break;
    case RK__ENVELOPE__BODY_EXEC_TAKEN:
        take_taken(line, post, envelope->exec_taken);
        break;
    default:
        break;
    }
}

void calls_again(struct line *line, const struct post *post)
{
    for (struct call *call = line->call; call != NULL; call = call->next) {
        if (call->post != post)
            continue;
        call->started = call->killed = false;
        flow_out_again(&call->input);
        flow_in_again(&call->output[0]);
        flow_in_again(&call->output[1]);
    }
}

/* ---- the turn -------------------------------------------------------------------------------- */

static void wait_for(struct line *line, struct call *call)
{
    struct epoll_event event = {.data.ptr = call};

    if (call->fd < 0)
        return;
    if (!call->begun || flow_out_room(&call->input) >= RSH_BYTES || call->input.ends)
        event.events |= EPOLLIN;
    if (call->out != NULL)
        event.events |= EPOLLOUT;
    if (event.events == call->events)
        return;
    call->events = event.events;
    epoll_ctl(line->epoll, EPOLL_CTL_MOD, call->fd, &event);
}

/* True when it is over: all was said to both ends. */
static bool advance(struct line *line, struct call *call)
{
    if (call->fd >= 0 && relay_write(line, call)) {
        if (call->post != NULL)
            say_done(line, call->post, call->request);
        return true;
    }
    if (call->fd < 0 && (call->post == NULL || call->ended)) {
        if (call->post != NULL)
            say_done(line, call->post, call->request);
        return true;
    }
    relay_say(line, call);
    wait_for(line, call);
    return false;
}

static void take_events(struct line *line)
{
    struct epoll_event event[EVENTS];
    int count = epoll_wait(line->epoll, event, EVENTS, 0);

    for (int i = 0; i < count; i++) {
        struct call *call = event[i].data.ptr;

        if (call == NULL)
            accept_all(line);
        else if (event[i].events & EPOLLIN)
            relay_read(line, call);
        else if (event[i].events & (EPOLLHUP | EPOLLERR))
            call_lose(line, call);
    }
}

void calls_turn(struct line *line)
{
    struct call *next;

    take_events(line);
    for (struct call *call = line->call; call != NULL; call = next) {
        next = call->next;
        if (advance(line, call))
            drop_call(line, call);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

int calls_open(struct line *line, struct rk_why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event event = {.events = EPOLLIN};

    strcpy(address.sun_path, line->socket_path);
    unlink(line->socket_path);
    line->epoll = epoll_create1(EPOLL_CLOEXEC);
    line->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (line->epoll < 0 || line->listener < 0 ||
        bind(line->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(line->listener, BACKLOG) != 0 ||
        epoll_ctl(line->epoll, EPOLL_CTL_ADD, line->listener, &event) != 0)
        return rk_fail_errno(why, errno, "cannot listen at %s", line->socket_path);
    return 0;
}

void calls_close(struct line *line)
{
    calls_drop(line);
    if (line->listener >= 0)
        close(line->listener);
    if (line->epoll >= 0)
        close(line->epoll);
}
