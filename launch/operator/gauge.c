/* `--metrics`: /metrics for Prometheus, with mpi-operator's names for what is the same; /healthz,
 * whether this process turns; /readyz, whether it knows the cluster; see controller.h.
 *
 * A page is a few hundred bytes, which a socket takes at once; whoever asks slower than a second
 * loses the connection to the next.  Never more than one connection is open. */
#include "launch/operator/controller.h"

#include "common/clock.h"
#include "common/number.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE RK_S
#define REQUEST_SIZE 2048
#define PAGE_SIZE 2048

struct gauge {
    int epoll, listener;
    int peer; /* -1: nobody asks */
    uint64_t until;
    char request[REQUEST_SIZE];
    size_t used;
};

static void hang_up(struct gauge *gauge)
{
    if (gauge->peer >= 0)
        close(gauge->peer);
    gauge->peer = -1;
    gauge->used = 0;
}

static int watch_fd(struct gauge *gauge, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(gauge->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void print_metrics(const struct controller *controller, char *page, size_t size)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"mpi_operator_jobs_created_total", "counter", "Jobs begun", controller->created},
        {"mpi_operator_jobs_successful_total", "counter", "Jobs that succeeded",
         controller->succeeded},
        {"mpi_operator_jobs_failed_total", "counter", "Jobs that failed", controller->failed},
        {"mpi_operator_is_leader", "gauge", "Whether this operator acts", controller->leads},
        {"reknit_operator_jobs", "gauge", "MPIJobs that are looked after", desk_count(controller)},
        {"reknit_operator_synced", "gauge", "Whether the cluster is known", controller->synced},
    };
    size_t used = 0;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        used += (size_t)snprintf(
            page + used, size - used, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", rows[i].name,
            rows[i].help, rows[i].name, rows[i].type, rows[i].name, rows[i].value);
}

/* Writes the page that is asked for; returns its status. */
static const char *print_page(const struct controller *controller, const char *request, char *page,
                              size_t size)
{
    const char *code = "404 Not Found";

    if (strncmp(request, "GET /metrics ", 13) == 0) {
        print_metrics(controller, page, size);
        return "200 OK";
    }
    if (strncmp(request, "GET /healthz ", 13) == 0)
        code = "200 OK";
    else if (strncmp(request, "GET /readyz ", 12) == 0)
        code = controller->synced ? "200 OK" : "503 Service Unavailable";
    snprintf(page, size, "%s\n", code + 4);
    return code;
}

static void answer(const struct controller *controller, struct gauge *gauge)
{
    char page[PAGE_SIZE] = "";
    char head[160];
    const char *code = print_page(controller, gauge->request, page, sizeof page);
    size_t length = strlen(page);
    ssize_t sent = (ssize_t)snprintf(head, sizeof head,
                                     "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\n"
                                     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                                     code, length);

    if (send(gauge->peer, head, (size_t)sent, MSG_NOSIGNAL | MSG_MORE) == sent)
        (void)!send(gauge->peer, page, length, MSG_NOSIGNAL); /* who asks sees that it is cut */
    hang_up(gauge);
}

/* ---- the turn -------------------------------------------------------------------------------- */

static void take_peer(const struct controller *controller, struct gauge *gauge)
{
    int fd = accept4(gauge->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    hang_up(gauge);
    gauge->peer = fd;
    gauge->until = controller->now + PATIENCE;
    if (watch_fd(gauge, fd) != 0)
        hang_up(gauge);
}

static void take_bytes(const struct controller *controller, struct gauge *gauge)
{
    ssize_t count =
        recv(gauge->peer, gauge->request + gauge->used, sizeof gauge->request - 1 - gauge->used, 0);

    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        hang_up(gauge);
        return;
    }
    gauge->used += (size_t)count;
    gauge->request[gauge->used] = '\0';
    if (strstr(gauge->request, "\r\n\r\n") != NULL)
        answer(controller, gauge);
    else if (gauge->used == sizeof gauge->request - 1)
        hang_up(gauge);
}

void gauge_turn(struct controller *controller)
{
    struct gauge *gauge = controller->gauge;

    if (gauge == NULL)
        return;
    if (gauge->peer >= 0)
        take_bytes(controller, gauge);
    if (gauge->peer < 0 || controller->now >= gauge->until)
        take_peer(controller, gauge);
}

/* ---- birth and end --------------------------------------------------------------------------- */

static int open_listener(struct gauge *gauge, const struct addrinfo *address)
{
    const int on = 1;

    gauge->listener = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (gauge->listener < 0)
        return -1;
    setsockopt(gauge->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(gauge->listener, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(gauge->listener, 16) != 0)
        return -1;
    gauge->epoll = epoll_create1(EPOLL_CLOEXEC);
    return gauge->epoll >= 0 ? watch_fd(gauge, gauge->listener) : -1;
}

static int resolve(const char *text, struct addrinfo **found, struct rk_why *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    const char *colon = strrchr(text, ':');
    char host[256] = "";
    int rc;

    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return rk_fail(why, RK_EINVAL, "--metrics %s: give ADDRESS:PORT or :PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    rc = getaddrinfo(host[0] != '\0' ? host : NULL, colon + 1, &hints, found);
    return rc == 0 ? 0 : rk_fail(why, RK_EINVAL, "--metrics %s: %s", text, gai_strerror(rc));
}

int gauge_open(struct controller *controller, struct rk_why *why)
{
    struct addrinfo *address = NULL;
    int rc;

    if (controller->given.metrics == NULL)
        return 0;
    rc = resolve(controller->given.metrics, &address, why);
    if (rc != 0 || address == NULL)
        return rc;
    controller->gauge = calloc(1, sizeof *controller->gauge);
    if (controller->gauge == NULL) {
        freeaddrinfo(address);
        return rk_fail(why, RK_ENOMEM, "no memory for --metrics");
    }
    *controller->gauge = (struct gauge){.epoll = -1, .listener = -1, .peer = -1};
    rc = open_listener(controller->gauge, address);
    freeaddrinfo(address);
    return rc == 0 ? 0
                   : rk_fail_errno(why, errno, "--metrics %s cannot be listened at",
                                   controller->given.metrics);
}

int gauge_fd(const struct controller *controller)
{
    return controller->gauge != NULL ? controller->gauge->epoll : -1;
}

void gauge_close(struct controller *controller)
{
    struct gauge *gauge = controller->gauge;

    if (gauge == NULL)
        return;
    hang_up(gauge);
    if (gauge->listener >= 0)
        close(gauge->listener);
    if (gauge->epoll >= 0)
        close(gauge->epoll);
    free(gauge);
}
