/* The standard streams of commands; see state.h. */
#include "worker/serve/state.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- pipes ----------------------------------------------------------------------------------- */

static void close_end(int *fd)
{
    close(*fd);
    *fd = -1;
}

static void read_output(struct command *command, int stream)
{
    struct flow_out *flow = &command->output[stream];
    int *fd = &command->out[stream];
    uint8_t data[FLOW_PIECE];

    while (*fd >= 0) {
        size_t room = flow_out_room(flow);
        ssize_t size;

        if (room == 0)
            return;
        size = read(*fd, data, room < sizeof data ? room : sizeof data);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0 || !flow_out_put(flow, data, (size_t)size)) {
            flow_out_end(flow);
            close_end(fd);
        }
    }
}

static void write_input(struct command *command)
{
    struct flow_in *flow = &command->input;

    while (command->in >= 0 && flow->used > 0) {
        ssize_t size = write(command->in, flow->data, flow->used);

        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size < 0)
            close_end(&command->in);
        else
            flow_in_take(flow, (size_t)size);
    }
    if (command->in < 0)
        flow_in_drop(flow); /* nobody reads it */
    else if (flow_in_over(flow))
        close_end(&command->in);
}

void streams_turn(struct serve *serve)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++) {
        struct command *command = &serve->command[i];

        if (command->request == 0)
            continue;
        read_output(command, 0);
        read_output(command, 1);
        write_input(command);
    }
}

/* ---- what is said ---------------------------------------------------------------------------- */

static bool say_output(struct serve *serve, struct command *command, int stream)
{
    struct flow_out *flow = &command->output[stream];
    struct flow_piece piece;

    while (flow_out_next(flow, &piece)) {
        Rk__ExecData data = RK__EXEC_DATA__INIT;

        data.request = command->request;
        data.stream = (uint32_t)stream + 1;
        data.offset = piece.offset;
        data.data.data = (uint8_t *)(uintptr_t)piece.data;
        data.data.len = piece.size;
        data.end = piece.end;
        if (!serve_say(serve, RK__ENVELOPE__BODY_EXEC_DATA, &data))
            return false;
        flow_out_sent(flow, &piece);
    }
    return true;
}

static bool say_taken(struct serve *serve, struct command *command)
{
    Rk__ExecTaken taken = RK__EXEC_TAKEN__INIT;
    uint64_t offset;

    if (!flow_in_due(&command->input, &offset))
        return true;
    taken.request = command->request;
    taken.offset = offset;
    if (!serve_say(serve, RK__ENVELOPE__BODY_EXEC_TAKEN, &taken))
        return false;
    flow_in_told(&command->input, offset);
    return true;
}

static bool say_ended(struct serve *serve, struct command *command)
{
    Rk__ExecEnded ended = RK__EXEC_ENDED__INIT;

    if (!command->ended || command->told)
        return true;
    ended.request = command->request;
    if (WIFEXITED(command->status))
        ended.exit_code = WEXITSTATUS(command->status);
    else
        ended.signal = WTERMSIG(command->status);
    ended.why = command->why;
    command->told = serve_say(serve, RK__ENVELOPE__BODY_EXEC_ENDED, &ended);
    return command->told;
}

void streams_say(struct serve *serve)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++) {
        struct command *command = &serve->command[i];

        if (command->request == 0 || command->forgotten)
            continue;
        if (!say_output(serve, command, 0) || !say_output(serve, command, 1) ||
            !say_taken(serve, command) || !say_ended(serve, command))
            return; /* the connection is full, or gone */
    }
}

void streams_again(struct serve *serve)
{
    for (unsigned i = 0; i < SERVE_COMMANDS; i++) {
        struct command *command = &serve->command[i];

        flow_out_again(&command->output[0]);
        flow_out_again(&command->output[1]);
        flow_in_again(&command->input);
        command->told = false;
    }
}

/* ---- what comes ------------------------------------------------------------------------------ */

void streams_take(struct serve *serve, const Rk__ExecData *data)
{
    struct command *command = commands_find(serve, data->request);
    const struct flow_piece piece = {data->offset, data->data.data, data->data.len, data->end};

    if (data->request == 0 || command == NULL || data->stream != 0)
        return;
    if (!flow_in_put(&command->input, &piece))
        hold_kill(&command->held); /* no memory: rather no command than one that lacks a part */
    write_input(command);
}

void streams_taken(struct serve *serve, const Rk__ExecTaken *taken)
{
    struct command *command = commands_find(serve, taken->request);

    if (taken->request != 0 && command != NULL && taken->stream >= 1)
        flow_out_taken(&command->output[taken->stream - 1], taken->offset);
}
