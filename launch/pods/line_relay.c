/* The streams of a call, between the socket of reknit-rsh and the worker; see line.h. */
#include "launch/pods/line_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD sizeof(struct rsh_head)

/* ---- from reknit-rsh ------------------------------------------------------------------------- */

static size_t limit_of(const struct call *call)
{
    return call->begun ? RSH_BYTES : RSH_START_MAX;
}

/* Bytes of the frame whose first `in_used` are here: of its head only, when that is all we know.
 * 0: it is not one of reknit-rsh's. */
static size_t frame_size(const struct call *call)
{
    struct rsh_head head;

    if (call->in_used < HEAD)
        return HEAD;
    memcpy(&head, call->in, HEAD);
    if (head.kind != (call->begun ? RSH_INPUT : RSH_START) || head.size > limit_of(call))
        return 0;
    return HEAD + head.size;
}

static bool make_room(struct call *call, size_t size)
{
    char *grown;

    if (call->in_room >= size)
        return true;
    grown = realloc(call->in, size);
    if (grown == NULL)
        return false;
    call->in = grown;
    call->in_room = size;
    return true;
}

static bool take_frame(struct line *line, struct call *call)
{
    size_t size = call->in_used - HEAD;
    bool taken = true;

    call->in_used = 0;
    if (!call->begun)
        call_begin(line, call, call->in + HEAD, size);
    else if (size == 0)
        flow_out_end(&call->input);
    else if (!call->input.ends)
        taken = flow_out_put(&call->input, call->in + HEAD, size);
    return taken;
}

/* One frame at most, for which there is room. */
void relay_read(struct line *line, struct call *call)
{
    while (call->fd >= 0) {
        size_t size = frame_size(call);
        ssize_t got;

        if (size == 0 || !make_room(call, size)) {
            call_lose(line, call);
            return;
        }
        if (call->in_used == size) {
            if (!take_frame(line, call))
                call_lose(line, call);
            return;
        }
        got = recv(call->fd, call->in + call->in_used, size - call->in_used, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0)
            call_lose(line, call);
        else
            call->in_used += (size_t)got;
    }
}

/* ---- to reknit-rsh --------------------------------------------------------------------------- */

bool relay_frame(struct call *call, enum rsh_kind kind, const void *data, size_t size)
{
    struct rsh_head head = {(uint32_t)kind, (uint32_t)size};

    if (call->out != NULL)
        return false;
    call->out = malloc(HEAD + size);
    if (call->out == NULL)
        return false;
    memcpy(call->out, &head, HEAD);
    if (size > 0)
        memcpy(call->out + HEAD, data, size);
    call->out_used = HEAD + size;
    call->out_sent = 0;
    return true;
}

static bool frame_output(struct call *call, int stream)
{
    struct flow_in *flow = &call->output[stream];
    size_t size = flow->used < RSH_BYTES ? flow->used : RSH_BYTES;

    if (size == 0 || !relay_frame(call, stream == 0 ? RSH_OUTPUT : RSH_ERROR, flow->data, size))
        return false;
    flow_in_take(flow, size);
    return true;
}

/* Behind all output, as ssh does it. */
static bool frame_end(struct call *call)
{
    bool over = flow_in_over(&call->output[0]) & flow_in_over(&call->output[1]);

    if (!call->ended || !over || call->finished)
        return false;
    if (call->why[0] != '\0') {
        if (relay_frame(call, RSH_FAILED, call->why, strlen(call->why)))
            call->why[0] = '\0';
        return call->out != NULL;
    }
    call->finished = relay_frame(call, RSH_EXIT, &call->exit_code, sizeof call->exit_code);
    return call->finished;
}

static bool send_frame(struct line *line, struct call *call)
{
    while (call->out_sent < call->out_used) {
        ssize_t sent = send(call->fd, call->out + call->out_sent, call->out_used - call->out_sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            call_lose(line, call);
        if (sent < 0)
            return false;
        call->out_sent += (size_t)sent;
    }
    free(call->out);
    call->out = NULL;
    return true;
}

bool relay_write(struct line *line, struct call *call)
{
    for (;;) {
        if (call->out != NULL && !send_frame(line, call))
            return false;
        if (call->finished && call->out == NULL)
            return true;
        if (!frame_output(call, 0) && !frame_output(call, 1) && !frame_end(call))
            return false;
    }
}

/* ---- to the worker --------------------------------------------------------------------------- */

static bool say_start(struct line *line, struct call *call)
{
    Rk__ExecStart start = RK__EXEC_START__INIT;

    start.request = call->request;
    start.line = line->number;
    start.command = call->command;
    call->started = posts_say(line, call->post, RK__ENVELOPE__BODY_EXEC_START, &start);
    return call->started;
}

static bool say_input(struct line *line, struct call *call)
{
    struct flow_piece piece;

    while (flow_out_next(&call->input, &piece)) {
        Rk__ExecData data = RK__EXEC_DATA__INIT;

        data.request = call->request;
        data.offset = piece.offset;
        data.data.data = (uint8_t *)(uintptr_t)piece.data;
        data.data.len = piece.size;
        data.end = piece.end;
        if (!posts_say(line, call->post, RK__ENVELOPE__BODY_EXEC_DATA, &data))
            return false;
        flow_out_sent(&call->input, &piece);
    }
    return true;
}

static bool say_taken(struct line *line, struct call *call, uint32_t stream)
{
    struct flow_in *flow = &call->output[stream - 1];
    Rk__ExecTaken taken = RK__EXEC_TAKEN__INIT;
    uint64_t offset;

    if (!flow_in_due(flow, &offset))
        return true;
    taken.request = call->request;
    taken.stream = stream;
    taken.offset = offset;
    if (!posts_say(line, call->post, RK__ENVELOPE__BODY_EXEC_TAKEN, &taken))
        return false;
    flow_in_told(flow, offset);
    return true;
}

/* It says then that it has ended. */
static void say_kill(struct line *line, struct call *call)
{
    Rk__ExecDone done = RK__EXEC_DONE__INIT;

    done.request = call->request;
    done.kill = true;
    call->killed = posts_say(line, call->post, RK__ENVELOPE__BODY_EXEC_DONE, &done);
}

void relay_say(struct line *line, struct call *call)
{
    if (call->post == NULL || call->command == NULL)
        return;
    if (call->fd < 0) {
        if (!call->killed)
            say_kill(line, call);
        return;
    }
    if ((call->started || say_start(line, call)) && say_input(line, call) &&
        say_taken(line, call, 1))
        say_taken(line, call, 2);
}
