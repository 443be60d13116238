/* What ranks print: whole into a file for each rank and generation, and line by line, with
 * "[rank R] " in front, to the agent's standard output.
 *
 * The file gets everything.  Standard output gets what its reader takes: lines wait in a buffer of
 * fixed size, and when that is full they are left out, and later it is said how many.  A line is
 * cut where it gets longer than fits into one atomic write to a pipe, so that lines of several
 * agents on one pipe never mix. */
#include "worker/agent/state.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELAY_BYTES (256u << 10)
#define READ_BYTES (64u << 10)

/* ---- to standard output -----------------------------------------------------------------------
 */

/* The end of the last whole line within the first `most` bytes. */
static size_t whole_lines(const char *data, size_t used, size_t most)
{
    const char *end = memrchr(data, '\n', used < most ? used : most);

    return end == NULL ? 0 : (size_t)(end - data) + 1;
}

static void relay_flush(struct agent *agent)
{
    struct relay *relay = &agent->relay;
    size_t from = 0;

    while (!relay->closed && from < relay->used) {
        size_t size = whole_lines(relay->data + from, relay->used - from, PIPE_BUF);
        ssize_t sent = write(relay->watch.fd, relay->data + from, size);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            relay->closed = true; /* nobody reads; the files go on */
        if (sent < 0)
            break;
        from += (size_t)sent;
    }
    if (relay->closed)
        from = relay->used;
    memmove(relay->data, relay->data + from, relay->used - from);
    relay->used -= from;
    if (relay->pollable)
        watch_change(agent, &relay->watch, relay->used > 0 ? EPOLLOUT : 0);
}

static void relay_put(struct agent *agent, const char *line, size_t size)
{
    struct relay *relay = &agent->relay;
    char note[96];

    if (relay->closed)
        return;
    if (relay->used + size + sizeof note > relay->capacity)
        relay_flush(agent);
    if (relay->used + size + sizeof note > relay->capacity) {
        relay->dropped++;
        return;
    }
    if (relay->dropped > 0) {
        int length = snprintf(note, sizeof note,
                              "[reknit] %llu lines left out here; the log files have them\n",
                              (unsigned long long)relay->dropped);

        memcpy(relay->data + relay->used, note, (size_t)length);
        relay->used += (size_t)length;
        relay->dropped = 0;
    }
    memcpy(relay->data + relay->used, line, size);
    relay->used += size;
}

static void on_writable(struct agent *agent, struct watch *watch, uint32_t events)
{
    (void)watch;
    if (events & EPOLLERR)
        agent->relay.closed = true;
    relay_flush(agent);
}

/* A file description of our own, so that being non-blocking is no surprise to those who share the
 * terminal with us; where that cannot be had (a socket), the shared one. */
static int open_stdout(void)
{
    int fd = open("/proc/self/fd/1", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    if (fd >= 0)
        return fd;
    fd = fcntl(1, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

int relay_open(struct agent *agent, struct rk_why *why)
{
    struct relay *relay = &agent->relay;
    struct stat status;
    int fd = open_stdout();

    relay->data = malloc(RELAY_BYTES);
    if (relay->data == NULL) {
        if (fd >= 0)
            close(fd);
        return rk_fail(why, RK_ENOMEM, "no memory for output");
    }
    relay->capacity = RELAY_BYTES;
    relay->closed = fd < 0;
    if (fd < 0)
        return 0;
    relay->pollable = fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
    if (relay->pollable && watch_add(agent, &relay->watch, fd, 0, on_writable) == 0)
        return 0;
    if (relay->pollable) { /* /dev/null and the like: writes never wait */
        relay->pollable = false;
        fd = open_stdout();
    }
    relay->watch.fd = fd;
    relay->closed = fd < 0;
    return 0;
}

void relay_close(struct agent *agent, int timeout_ms)
{
    struct relay *relay = &agent->relay;

    if (relay->data != NULL && relay->watch.fd >= 0) {
        relay_flush(agent);
        struct pollfd item = {.fd = relay->watch.fd, .events = POLLOUT};
        while (relay->used > 0 && poll(&item, 1, timeout_ms) == 1)
            relay_flush(agent);
    }
    watch_drop(agent, &relay->watch);
    free(relay->data);
    relay->data = NULL;
    relay->closed = true;
}

/* ---- from a rank ------------------------------------------------------------------------------
 */

static void end_line(struct agent *agent, struct output *output)
{
    char line[sizeof output->line + 64];
    int head = snprintf(line, sizeof line, "[rank %u] ", output->rank->name);

    memcpy(line + head, output->line, output->used);
    line[(size_t)head + output->used] = '\n';
    relay_put(agent, line, (size_t)head + output->used + 1);
    output->used = 0;
}

static void take_lines(struct agent *agent, struct output *output, const char *data, size_t size)
{
    while (size > 0) {
        const char *end = memchr(data, '\n', size);
        size_t part = end != NULL ? (size_t)(end - data) : size;
        size_t room = sizeof output->line - output->used;
        bool cut = part > room;

        if (cut)
            part = room;
        memcpy(output->line + output->used, data, part);
        output->used += (uint32_t)part;
        data += part;
        size -= part;
        if (cut) {
            end_line(agent, output);
        } else if (end != NULL) {
            end_line(agent, output);
            data++;
            size--;
        }
    }
}

static void keep_tail(struct rank *rank, const char *data, size_t size)
{
    if (size > AGENT_TAIL) {
        rank->tail_end += size - AGENT_TAIL;
        data += size - AGENT_TAIL;
        size = AGENT_TAIL;
    }
    size_t at = (size_t)(rank->tail_end % AGENT_TAIL);
    size_t first = size < AGENT_TAIL - at ? size : AGENT_TAIL - at;
    memcpy(rank->tail + at, data, first);
    memcpy(rank->tail, data + first, size - first);
    rank->tail_end += size;
}

static void write_log(struct rank *rank, const char *data, size_t size)
{
    while (rank->log >= 0 && size > 0) {
        ssize_t done = write(rank->log, data, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            rk_warn("rank %u: its log %s cannot be written (%s); going on without it", rank->name,
                    rank->log_path, strerror(errno));
            close(rank->log);
            rank->log = -1;
            return;
        }
        data += done;
        size -= (size_t)done;
    }
}

/* Reads some.  False at the end. */
static bool read_some(struct agent *agent, struct output *output)
{
    char data[READ_BYTES];
    ssize_t size = read(output->watch.fd, data, sizeof data);

    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    if (size == 0)
        return false;
    write_log(output->rank, data, (size_t)size);
    keep_tail(output->rank, data, (size_t)size);
    take_lines(agent, output, data, (size_t)size);
    return true;
}

static void on_output(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct output *output = watch_owner(watch, struct output, watch);
    (void)events;

    if (!read_some(agent, output))
        watch_drop(agent, watch);
    relay_flush(agent);
}

static void open_log(struct agent *agent, struct rank *rank)
{
    if (agent->options->log_dir == NULL)
        return;
    snprintf(rank->log_path, sizeof rank->log_path, "%s/rank-%u.gen-%llu.log",
             agent->options->log_dir, rank->name, (unsigned long long)rank->generation);
    rank->log = open(rank->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (rank->log < 0)
        rk_warn("rank %u: cannot write %s (%s); its output goes to the terminal only", rank->name,
                rank->log_path, strerror(errno));
}

/* A pipe whose read end we watch; the write end is for the child. */
static int open_pipe(struct agent *agent, struct output *output, int *write_end)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(NULL, errno, "pipe2");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *write_end = ends[1];
    output->used = 0;
    return watch_add(agent, &output->watch, ends[0], EPOLLIN, on_output);
}

int output_open(struct agent *agent, struct rank *rank, int *out, int *err, struct rk_why *why)
{
    *out = *err = -1;
    rank->tail_end = 0;
    open_log(agent, rank);
    int rc = open_pipe(agent, &rank->out, out);
    if (rc == 0)
        rc = open_pipe(agent, &rank->err, err);
    if (rc != 0)
        return rk_fail(why, rc, "rank %u: no pipe for its output; raise the limit of open files",
                       rank->name);
    return 0;
}

static void drain(struct agent *agent, struct output *output)
{
    if (output->watch.fd >= 0) {
        struct pollfd item = {.fd = output->watch.fd, .events = POLLIN};

        /* what a rank left in its pipe is bounded by the pipe; others may hold it open for ever */
        for (int i = 0; i < 1024 && poll(&item, 1, 0) == 1; i++)
            if (!read_some(agent, output))
                break;
    }
    if (output->used > 0)
        end_line(agent, output);
    watch_drop(agent, &output->watch);
}

void output_close(struct agent *agent, struct rank *rank)
{
    drain(agent, &rank->out);
    drain(agent, &rank->err);
    relay_flush(agent);
    if (rank->log >= 0)
        close(rank->log);
    rank->log = -1;
}

/* Bytes of a well-formed UTF-8 character at `text` (by its shape), 0: none. */
static size_t utf8_length(const unsigned char *text, size_t size)
{
    size_t length = text[0] >= 0xf0 && text[0] < 0xf5   ? 4
                    : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                    : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                                                        : 0;

    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

void output_tail(const struct rank *rank, char *text)
{
    size_t size = rank->tail_end < AGENT_TAIL ? (size_t)rank->tail_end : AGENT_TAIL;

    for (size_t i = 0; i < size; i++)
        text[i] = rank->tail[(rank->tail_end - size + i) % AGENT_TAIL];
    text[size] = '\0';
    for (size_t i = 0; i < size;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = c >= 0x80 ? utf8_length((unsigned char *)text + i, size - i) : 1;

        if (length == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
            text[i] = '?';
            length = 1;
        }
        i += length;
    }
}
