/* What the command prints: to this pod's own streams as it is, and its end kept; see line.h.
 *
 * It is read only as fast as it can be passed on, so a reader that stands still makes the command
 * wait, as it would without us, and never this process. */
#include "launch/pods/line_state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PIECES_A_TURN 256

static const int to[2] = {STDOUT_FILENO, STDERR_FILENO};

void echo_init(struct line *line)
{
    line->echo.from[0] = line->echo.from[1] = -1;
}

void echo_close(struct line *line)
{
    for (int i = 0; i < 2; i++) {
        if (line->echo.from[i] >= 0)
            close(line->echo.from[i]);
        line->echo.from[i] = -1;
    }
}

int echo_open(struct line *line, int into[2], struct rk_why *why)
{
    int ends[2];

    echo_turn(line); /* what the run before has left */
    echo_close(line);
    line->echo.used = 0;
    into[0] = into[1] = -1;
    for (int i = 0; i < 2; i++) {
        if (pipe2(ends, O_CLOEXEC) != 0)
            return rk_fail_errno(why, errno, "no pipe for what the command prints");
        line->echo.from[i] = ends[0];
        into[i] = ends[1];
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

static void keep(struct echo *echo, const char *data, size_t size)
{
    size_t room = sizeof echo->tail - 1;
    size_t stay = echo->used + size > room ? room - size : echo->used;

    memmove(echo->tail, echo->tail + echo->used - stay, stay);
    memcpy(echo->tail + stay, data, size);
    echo->used = stay + size;
}

/* So much can be written that a piece does not block. */
static bool takes(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLOUT};

    return poll(&item, 1, 0) == 1;
}

static void pass_on(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; /* nobody reads */
        data += done;
        size -= (size_t)done;
    }
}

static void relay(struct echo *echo, int i)
{
    char data[PIPE_BUF];

    for (int pieces = 0; echo->from[i] >= 0 && pieces < PIECES_A_TURN; pieces++) {
        ssize_t size;

        echo->blocked[i] = !takes(to[i]);
        if (echo->blocked[i])
            return;
        size = read(echo->from[i], data, sizeof data);
        if (size < 0)
            return;
        if (size == 0) {
            close(echo->from[i]);
            echo->from[i] = -1;
            return;
        }
        keep(echo, data, (size_t)size);
        pass_on(to[i], data, (size_t)size);
    }
}

void echo_turn(struct line *line)
{
    for (int i = 0; i < 2; i++)
        relay(&line->echo, i);
}

int echo_items(const struct line *line, zmq_pollitem_t *items)
{
    int count = 0;

    for (int i = 0; i < 2; i++)
        if (line->echo.from[i] >= 0 && !line->echo.blocked[i])
            items[count++] = (zmq_pollitem_t){.fd = line->echo.from[i], .events = ZMQ_POLLIN};
    return count;
}

const char *line_last_lines(struct shell *shell)
{
    struct line *line = shell->line;

    if (line == NULL)
        return "";
    line->echo.tail[line->echo.used] = '\0';
    for (size_t i = 0; i < line->echo.used; i++)
        if (line->echo.tail[i] == '\0')
            line->echo.tail[i] = ' ';
    return line->echo.tail;
}
