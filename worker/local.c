/* Packets over the agent's Unix socket; see local.h. */
#include "worker/local.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HEAD_BYTES offsetof(struct local_message, text)
#define BACKLOG 128

static int code_of_send(int errnum)
{
    switch (errnum) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case ETOOMANYREFS:
        return RK_EFULL;
    case EMSGSIZE:
        return RK_EINVAL;
    default:
        return RK_EAGENT;
    }
}

int local_send(int socket, const struct local_message *message, int fd)
{
    if (message->text_size > LOCAL_TEXT_MAX)
        return RK_EINVAL;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    char head[HEAD_BYTES];
    memcpy(head, message, HEAD_BYTES);
    memcpy(head + offsetof(struct local_message, magic), &(uint32_t){LOCAL_MAGIC}, 4);
    memcpy(head + offsetof(struct local_message, version), &(uint16_t){LOCAL_VERSION}, 2);
    /* sendmsg does not write through iov_base */
    struct iovec parts[] = {{head, HEAD_BYTES},
                            {(void *)(uintptr_t)message->text, message->text_size}};
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *item = CMSG_FIRSTHDR(&header);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(item), &fd, sizeof fd);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? code_of_send(errno) : 0;
}

/* Takes the first descriptor that came with a packet and closes any others. */
static int take_descriptor(struct msghdr *header)
{
    int taken = -1;

    for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL;
         item = CMSG_NXTHDR(header, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

static bool well_formed(const struct local_message *message, size_t size, int flags)
{
    return !(flags & (MSG_TRUNC | MSG_CTRUNC)) && size >= HEAD_BYTES &&
           message->magic == LOCAL_MAGIC && message->version == LOCAL_VERSION &&
           message->text_size <= LOCAL_TEXT_MAX && size == HEAD_BYTES + message->text_size;
}

/* One packet if there is one; RK_ETIMEDOUT if not. */
static int receive_now(int socket, struct local_message *message, int *fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {message, sizeof *message};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t size;
    do {
        size = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0)
        return errno == EAGAIN ? RK_ETIMEDOUT : RK_EAGENT;
    if (size == 0)
        return RK_EAGENT;
    *fd = take_descriptor(&header);
    if (well_formed(message, (size_t)size, header.msg_flags)) {
        if (message->text_size < LOCAL_TEXT_MAX)
            message->text[message->text_size] = '\0';
        return 0;
    }
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return RK_EPROTO;
}

int local_receive(int socket, struct local_message *message, int *fd, int timeout_ms)
{
    uint64_t deadline = timeout_ms > 0 ? rk_clock_now() + (uint64_t)timeout_ms * RK_MS : 0;

    *fd = -1;
    for (;;) {
        int rc = receive_now(socket, message, fd);
        if (rc != RK_ETIMEDOUT || timeout_ms == 0)
            return rc;
        int wait_ms = -1;
        if (timeout_ms > 0) {
            uint64_t now = rk_clock_now();
            if (now >= deadline)
                return RK_ETIMEDOUT;
            wait_ms = (int)((deadline - now + RK_MS - 1) / RK_MS);
        }
        struct pollfd item = {.fd = socket, .events = POLLIN};
        if (poll(&item, 1, wait_ms) < 0 && errno != EINTR)
            return RK_EAGENT;
    }
}

/* Fills *address with `path`.  One that is longer than a socket address may be is reached through
 * its directory's descriptor in /proc; *folder is that (to be closed after use), or -1. */
static int address_of(const char *path, struct sockaddr_un *address, int *folder,
                      struct rk_why *why)
{
    size_t length = strlen(path);

    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    *folder = -1;
    if (length < sizeof address->sun_path) {
        memcpy(address->sun_path, path, length);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    char parent[4096];
    if (slash == NULL || (size_t)(slash - path) >= sizeof parent || strlen(slash + 1) > 64)
        return rk_fail(why, RK_EINVAL, "the socket's path %s is too long; use a shorter directory",
                       path);
    memcpy(parent, path, (size_t)(slash - path));
    parent[slash - path] = '\0';
    *folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0)
        return rk_fail_errno(why, errno, "cannot open the directory %s of an agent's socket",
                             parent);
    snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%.64s", *folder,
             slash + 1);
    return 0;
}

/* A socket that `attach` (bind or connect) has tied to `path`; the errno of a failure in *errnum.
 */
static int tie(const char *path, int (*attach)(int, const struct sockaddr *, socklen_t),
               int *errnum, struct rk_why *why)
{
    struct sockaddr_un address;
    int folder;

    *errnum = 0;
    int rc = address_of(path, &address, &folder, why);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || attach(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        *errnum = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (folder >= 0)
        close(folder);
    return fd;
}

int local_connect(const char *path, int *socket, struct rk_why *why)
{
    int errnum;
    int fd = tie(path, connect, &errnum, why);

    if (fd >= 0) {
        *socket = fd;
        return 0;
    }
    if (errnum == 0)
        return fd;
    if (errnum == EACCES || errnum == EPERM)
        return rk_fail_errno(why, errnum, "may not connect to the agent at %s", path);
    return rk_fail(why, RK_EAGENT, "no agent listens at %s: %s", path, strerror(errnum));
}

int local_listen(const char *path, int *socket, struct rk_why *why)
{
    int errnum;
    int fd = tie(path, bind, &errnum, why);

    if (fd < 0 && errnum == 0)
        return fd;
    if (fd < 0)
        return rk_fail_errno(why, errnum == EADDRINUSE ? EEXIST : errnum,
                             "cannot make the agent's socket %s", path);
    if (chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0) {
        int rc = rk_fail_errno(why, errno, "cannot listen at %s", path);
        unlink(path);
        close(fd);
        return rc;
    }
    *socket = fd;
    return 0;
}
