/* A listening socket on loopback, a job's secret for it, and waiting with a deadline. */
#ifndef RK_TESTS_LINK_FIXTURE_H
#define RK_TESTS_LINK_FIXTURE_H

#include "common/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE_TURNS 2000 /* of 5 ms: a deadline, not a time */

/* Waits until `condition` holds; what it needs is turned in it. */
#define wait_until(condition)                             \
    do {                                                  \
        int turns = 0;                                    \
        while (!(condition) && turns < FIXTURE_TURNS) {   \
            poll(NULL, 0, 5);                             \
            turns++;                                      \
        }                                                 \
        if (turns >= FIXTURE_TURNS)                       \
            fail_msg("%s did not come true", #condition); \
    } while (0)

static inline int fixture_listen(struct secret *secret)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    char endpoint[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(secret_make(secret, endpoint, NULL), 0);
    return fd;
}

static inline struct link *fixture_link(const struct secret *secret, uint64_t sender)
{
    struct link *link = NULL;

    assert_int_equal(link_open(secret, sender, &link, NULL), 0);
    return link;
}

static inline int fixture_hello(struct link *link, uint64_t host)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Hello hello = RK__HELLO__INIT;

    hello.host = host;
    hello.host_name = "test";
    hello.slots = 1;
    envelope.body_case = RK__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    return link_send(link, &envelope);
}

static inline int fixture_heartbeat(struct link *link)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;

    envelope.body_case = RK__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    return link_send(link, &envelope);
}

#endif
