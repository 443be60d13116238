/* The connection to the coordinator against a plain ROUTER: what it sends, takes, drops, and that
 * it comes back. */
#include "tests/unit/link_fixture.h"

#include <stdlib.h>
#include <zmq.h>

struct router {
    void *context, *socket;
};

static struct router router_open(const struct secret *secret, int fd)
{
    struct router router = {.context = zmq_ctx_new()};
    int one = 1;
    int zero = 0;

    router.socket = zmq_socket(router.context, ZMQ_ROUTER);
    zmq_setsockopt(router.socket, ZMQ_CURVE_SERVER, &one, sizeof one);
    zmq_setsockopt(router.socket, ZMQ_CURVE_SECRETKEY, secret->private_key, 41);
    zmq_setsockopt(router.socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(router.socket, ZMQ_ROUTER_HANDOVER, &one, sizeof one);
    zmq_setsockopt(router.socket, ZMQ_USE_FD, &fd, sizeof fd);
    assert_int_equal(zmq_bind(router.socket, "tcp://127.0.0.1:1"), 0);
    return router;
}

static void router_close(struct router *router)
{
    zmq_close(router->socket);
    zmq_ctx_term(router->context);
}

/* Takes one message if there is one, and checks under which name it came. */
static bool router_take(struct router *router, uint64_t sender, Rk__Envelope **envelope)
{
    static uint8_t frame[65536];
    uint8_t expected[WIRE_ROUTING_ID_BYTES];
    uint8_t name[256];
    int size = zmq_recv(router->socket, name, sizeof name, ZMQ_DONTWAIT);

    if (size < 0)
        return false;
    wire_routing_id(sender, expected);
    assert_int_equal(size, WIRE_ROUTING_ID_BYTES);
    assert_memory_equal(name, expected, sizeof expected);
    size = zmq_recv(router->socket, frame, sizeof frame, ZMQ_DONTWAIT);
    assert_true(size > 0);
    assert_int_equal(wire_decode(frame, (size_t)size, WIRE_MAX_FRAME, envelope, NULL), 0);
    return true;
}

static void router_send_bytes(struct router *router, uint64_t to, const void *data, size_t size)
{
    uint8_t name[WIRE_ROUTING_ID_BYTES];

    wire_routing_id(to, name);
    assert_true(zmq_send(router->socket, name, sizeof name, ZMQ_SNDMORE) > 0);
    assert_true(zmq_send(router->socket, data, size, 0) >= 0);
}

static void router_send(struct router *router, uint64_t to, const uint8_t *token, uint32_t epoch,
                        uint32_t version)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Goodbye goodbye = RK__GOODBYE__INIT;
    uint8_t *data;
    size_t size;

    envelope.wire_version = version;
    envelope.token.data = (uint8_t *)token;
    envelope.token.len = WIRE_TOKEN_BYTES;
    envelope.epoch = epoch;
    envelope.sender = to;
    envelope.body_case = RK__ENVELOPE__BODY_GOODBYE;
    envelope.goodbye = &goodbye;
    assert_int_equal(wire_encode(&envelope, &data, &size), 0);
    router_send_bytes(router, to, data, size);
    free(data);
}

static void test_talks(void **state)
{
    struct secret secret;
    int fd = fixture_listen(&secret);
    struct router router = router_open(&secret, fd);
    struct link *link;
    Rk__Envelope *envelope = NULL;

    (void)state;
    link = fixture_link(&secret, 0x4200); /* an id whose first byte is 0 */
    wait_until(link_up(link));
    assert_int_equal(fixture_hello(link, 9), 0);
    wait_until(router_take(&router, 0x4200, &envelope));
    assert_int_equal(envelope->sender, 0x4200);
    assert_int_equal(envelope->epoch, 0);
    assert_true(secret_token_matches(&secret, envelope->token.data, envelope->token.len));
    wire_free(envelope);

    router_send(&router, 0x4200, secret.token, 5, WIRE_VERSION);
    wait_until(link_receive(link, &envelope) == 0);
    wire_free(envelope);
    assert_int_equal(link_epoch(link), 5);
    assert_int_equal(fixture_hello(link, 9), 0);
    wait_until(router_take(&router, 0x4200, &envelope));
    assert_int_equal(envelope->epoch, 5);
    wire_free(envelope);
    link_close(link, 0);
    router_close(&router);
}

/* Garbage, another job's token and an older coordinator are dropped; the good one comes through. */
static void test_drops(void **state)
{
    struct secret secret;
    int fd = fixture_listen(&secret);
    struct router router = router_open(&secret, fd);
    struct link *link;
    Rk__Envelope *envelope = NULL;
    uint8_t other[WIRE_TOKEN_BYTES] = {0};

    (void)state;
    link = fixture_link(&secret, 7);
    wait_until(link_up(link));
    assert_int_equal(fixture_hello(link, 9), 0);
    wait_until(router_take(&router, 7, &envelope));
    wire_free(envelope);
    router_send(&router, 7, secret.token, 5, WIRE_VERSION);
    router_send_bytes(&router, 7, "garbage", 7);
    router_send(&router, 7, other, 6, WIRE_VERSION);
    router_send(&router, 7, secret.token, 4, WIRE_VERSION);
    router_send(&router, 7, secret.token, 6, WIRE_VERSION);
    wait_until(link_receive(link, &envelope) == 0);
    assert_int_equal(envelope->epoch, 5);
    wire_free(envelope);
    wait_until(link_receive(link, &envelope) == 0);
    assert_int_equal(envelope->epoch, 6);
    wire_free(envelope);
    assert_int_equal(link_dropped(link), 3);
    router_send(&router, 7, secret.token, 6, WIRE_VERSION + 1);
    wait_until(link_receive(link, &envelope) == RK_EVERSION);
    link_close(link, 0);
    router_close(&router);
}

static void test_nobody_there(void **state)
{
    struct secret secret;
    int fd = fixture_listen(&secret);
    struct router router;
    struct link *link = fixture_link(&secret, 7);
    Rk__Envelope *envelope = NULL;
    uint64_t host;

    (void)state;
    assert_false(link_up(link));
    assert_int_equal(fixture_hello(link, 1), RK_EAGENT);
    assert_int_equal(link_receive(link, &envelope), RK_ETIMEDOUT);
    /* The descriptor outlives each coordinator, as with `reknit run`. */
    router = router_open(&secret, dup(fd));
    wait_until(link_up(link));
    router_close(&router);
    /* The link may have come up once more before the router was gone. */
    wait_until(!link_up(link) && fixture_hello(link, 1) == RK_EAGENT);
    router = router_open(&secret, dup(fd));
    wait_until(link_up(link));
    assert_int_equal(fixture_hello(link, 3), 0);
    do {
        wait_until(router_take(&router, 7, &envelope));
        host = envelope->hello->host;
        wire_free(envelope);
    } while (host == 1);
    assert_int_equal(host, 3);
    link_close(link, 0);
    router_close(&router);
    close(fd);
}

static void test_wrong_key(void **state)
{
    struct secret secret;
    struct secret forged;
    int fd = fixture_listen(&secret);
    struct router router = router_open(&secret, fd);
    struct link *good;
    struct link *bad;

    (void)state;
    assert_int_equal(secret_make(&forged, secret.endpoint, NULL), 0);
    bad = fixture_link(&forged, 1);
    good = fixture_link(&secret, 2);
    wait_until(link_up(good));
    assert_false(link_up(bad));
    assert_int_equal(fixture_hello(bad, 1), RK_EAGENT);
    link_close(bad, 0);
    link_close(good, 0);
    router_close(&router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_talks),
        cmocka_unit_test(test_drops),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_wrong_key),
    };

    return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}
