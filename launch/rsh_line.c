/* The client of rsh_frames.h; see rsh_line.h.  When this process dies its socket closes, and the
 * command is killed. */
#include "launch/rsh_line.h"

#include "launch/rsh_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
    int socket;
    const struct rsh_words *words;
    bool input_open;
    char *out; /* what is to be sent; capacity OUT_MAX */
    size_t out_used, out_sent;
    char in[sizeof(struct rsh_head) + RSH_BYTES];
    size_t in_used;
    int exit_code; /* -1: not known yet */
};

#define OUT_MAX (sizeof(struct rsh_head) + RSH_START_MAX)

static int fail(const struct client *client, const char *what)
{
    fprintf(stderr, "reknit-rsh: %s: %s\n", client->words->host, what);
    return RSH_FAILURE;
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return fd < 0 ? -1 : (close(fd), -1);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- to the pod's first process -------------------------------------------------------------- */

static void queue(struct client *client, enum rsh_kind kind, size_t size)
{
    struct rsh_head head = {(uint32_t)kind, (uint32_t)size};

    memcpy(client->out, &head, sizeof head);
    client->out_used = sizeof head + size;
    client->out_sent = 0;
}

static bool send_some(struct client *client)
{
    ssize_t size = send(client->socket, client->out + client->out_sent,
                        client->out_used - client->out_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    client->out_sent += (size_t)size;
    return true;
}

static void read_input(struct client *client)
{
    ssize_t size = read(STDIN_FILENO, client->out + sizeof(struct rsh_head), RSH_BYTES);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    client->input_open = size > 0;
    queue(client, RSH_INPUT, size > 0 ? (size_t)size : 0);
}

/* ---- from it --------------------------------------------------------------------------------- */

/* A reader that is slow stops us, and so what is sent to us. */
static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);
        struct pollfd item = {.fd = fd, .events = POLLOUT};

        if (done < 0 && errno == EAGAIN)
            poll(&item, 1, -1);
        else if (done < 0 && errno != EINTR)
            return;
        if (done > 0) {
            data += done;
            size -= (size_t)done;
        }
    }
}

static void run_here(const struct client *client)
{
    char *text = malloc(rsh_words_size(client->words));

    if (text != NULL) {
        rsh_words_join(client->words, text);
        execl("/bin/sh", "sh", "-c", text + strlen(text) + 1, (char *)NULL);
        free(text);
    }
    fail(client, "there is no /bin/sh here to run it");
}

static void take(struct client *client, const struct rsh_head *head, const char *data)
{
    int32_t code = RSH_FAILURE;

    switch (head->kind) {
    case RSH_OUTPUT:
    case RSH_ERROR:
        write_all(head->kind == RSH_OUTPUT ? STDOUT_FILENO : STDERR_FILENO, data, head->size);
        return;
    case RSH_LOCAL:
        run_here(client);
        break;
    case RSH_EXIT:
        memcpy(&code, data, head->size < sizeof code ? head->size : sizeof code);
        break;
    default:
        fprintf(stderr, "reknit-rsh: %s: %.*s\n", client->words->host, (int)head->size, data);
        return;
    }
    client->exit_code = code;
}

static bool receive_some(struct client *client)
{
    ssize_t size = recv(client->socket, client->in + client->in_used,
                        sizeof client->in - client->in_used, MSG_DONTWAIT);
    struct rsh_head head;

    if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    client->in_used += size > 0 ? (size_t)size : 0;
    while (client->in_used >= sizeof head && client->exit_code < 0) {
        memcpy(&head, client->in, sizeof head);
        if (head.size > RSH_BYTES)
            return false;
        if (client->in_used < sizeof head + head.size)
            return true;
        take(client, &head, client->in + sizeof head);
        client->in_used -= sizeof head + head.size;
        memmove(client->in, client->in + sizeof head + head.size, client->in_used);
    }
    return true;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int converse(struct client *client)
{
    while (client->exit_code < 0) {
        bool pending = client->out_sent < client->out_used;
        struct pollfd items[] = {
            {.fd = client->socket, .events = (short)(POLLIN | (pending ? POLLOUT : 0))},
            {.fd = client->input_open && !pending ? STDIN_FILENO : -1, .events = POLLIN},
        };

        if (poll(items, 2, -1) < 0 && errno != EINTR)
            return fail(client, "cannot wait for input");
        if (items[1].revents != 0)
            read_input(client);
        if (client->out_sent < client->out_used && !send_some(client))
            return fail(client, "the connection to the first process of this pod has ended");
        if (items[0].revents != 0 && !receive_some(client))
            return fail(client, "the connection to the first process of this pod has ended");
    }
    return client->exit_code;
}

static int start(struct client *client, const char *path)
{
    size_t size = rsh_words_size(client->words);

    if (size > RSH_START_MAX)
        return fail(client, "the command is too long");
    client->socket = open_socket(path);
    if (client->socket < 0)
        return fail(client, "the first process of this pod does not answer");
    if (client->words->no_input && freopen("/dev/null", "r", stdin) == NULL)
        return fail(client, "/dev/null cannot be opened");
    rsh_words_join(client->words, client->out + sizeof(struct rsh_head));
    queue(client, RSH_START, size);
    return converse(client);
}

int rsh_line(const char *path, const struct rsh_words *words)
{
    struct client *client = calloc(1, sizeof *client);
    int code = RSH_FAILURE;

    if (client != NULL)
        client->out = malloc(OUT_MAX);
    if (client != NULL && client->out != NULL) {
        client->words = words;
        client->socket = -1;
        client->exit_code = -1;
        client->input_open = true;
        code = start(client, path);
        if (client->socket >= 0)
            close(client->socket);
        free(client->out);
    }
    free(client);
    return code;
}
