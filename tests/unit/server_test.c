/* The coordinator's end of the control plane: who is let in, what is counted, and that the end of
 * a connection is seen at once, whichever number its descriptor had. */
#include "coordinator/connections.h"
#include "coordinator/server.h"
#include "tests/unit/link_fixture.h"

#include <stdlib.h>
#include <zmq.h>

#define EPOCH 3u

struct place {
    struct secret secret;
    struct server *server;
    int listen_fd; /* kept open, as by `reknit run` */
};

static struct place place_open(void)
{
    struct place place;

    place.listen_fd = fixture_listen(&place.secret);
    assert_int_equal(server_open(&place.secret, dup(place.listen_fd), EPOCH, &place.server, NULL),
                     0);
    return place;
}

static void place_close(struct place *place)
{
    server_close(place->server, 0);
    close(place->listen_fd);
}

static void expect_message(struct place *place, uint64_t sender, Rk__Envelope__BodyCase kind)
{
    struct server_input input = {0};

    wait_until(server_next(place->server, &input) == 0);
    assert_int_equal(input.kind, SERVER_MESSAGE);
    assert_int_equal(input.sender, sender);
    assert_int_equal(input.envelope->body_case, kind);
    wire_free(input.envelope);
}

static void expect_closed(struct place *place, uint64_t sender)
{
    struct server_input input = {0};

    wait_until(server_next(place->server, &input) == 0);
    assert_int_equal(input.kind, SERVER_CLOSED);
    assert_int_equal(input.sender, sender);
}

static bool nothing(struct place *place)
{
    struct server_input input;

    return server_next(place->server, &input) == RK_ETIMEDOUT;
}

static struct link *join(struct place *place, uint64_t id)
{
    struct link *link = fixture_link(&place->secret, id);

    wait_until(link_up(link));
    assert_int_equal(fixture_hello(link, id), 0);
    expect_message(place, id, RK__ENVELOPE__BODY_HELLO);
    return link;
}

static void welcome(struct place *place, struct link *link, uint64_t id)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Welcome body = RK__WELCOME__INIT;
    Rk__Envelope *answer = NULL;

    body.shards = 64;
    envelope.body_case = RK__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &body;
    assert_int_equal(server_send(place->server, id, &envelope), 0);
    wait_until(link_receive(link, &answer) == 0);
    assert_int_equal(answer->body_case, RK__ENVELOPE__BODY_WELCOME);
    assert_int_equal(answer->epoch, EPOCH);
    wire_free(answer);
}

static void test_hello_and_close(void **state)
{
    struct place place = place_open();
    struct link *link = join(&place, 11);

    (void)state;
    welcome(&place, link, 11);
    assert_true(server_connected(place.server, 11));
    assert_int_equal(fixture_heartbeat(link), 0);
    expect_message(&place, 11, RK__ENVELOPE__BODY_HEARTBEAT);
    link_close(link, 0);
    expect_closed(&place, 11);
    assert_false(server_connected(place.server, 11));
    assert_true(nothing(&place));
    place_close(&place);
}

/* What was sent before the end comes before the end. */
static void test_last_words_first(void **state)
{
    struct place place = place_open();
    struct link *link = join(&place, 11);

    (void)state;
    welcome(&place, link, 11);
    for (int i = 0; i < 20; i++)
        assert_int_equal(fixture_heartbeat(link), 0);
    link_close(link, 1000);
    for (int i = 0; i < 20; i++)
        expect_message(&place, 11, RK__ENVELOPE__BODY_HEARTBEAT);
    expect_closed(&place, 11);
    place_close(&place);
}

/* The kernel gives a closed descriptor's number to the next connection: each end is told once, of
 * the right peer, although nobody listens to the monitor in between. */
static void test_descriptor_reuse(void **state)
{
    struct place place = place_open();

    (void)state;
    for (uint64_t id = 1; id <= 20; id++) {
        struct link *old = join(&place, 2 * id);
        struct link *new;

        link_close(old, 0);
        new = fixture_link(&place.secret, 2 * id + 1);
        wait_until(link_up(new));
        assert_int_equal(fixture_hello(new, 1), 0);
        for (int i = 0; i < 2; i++) {
            struct server_input input = {0};

            wait_until(server_next(place.server, &input) == 0);
            if (input.kind == SERVER_CLOSED) {
                assert_int_equal(input.sender, 2 * id);
            } else {
                assert_int_equal(input.sender, 2 * id + 1);
                wire_free(input.envelope);
            }
        }
        assert_true(server_connected(place.server, 2 * id + 1));
        assert_false(server_connected(place.server, 2 * id));
        link_close(new, 0);
        expect_closed(&place, 2 * id + 1);
    }
    place_close(&place);
}

static void test_strangers(void **state)
{
    struct place place = place_open();
    struct secret forged = place.secret;
    struct link *link;
    Rk__Envelope *answer = NULL;

    (void)state;
    forged.token[0] ^= 1;
    link = fixture_link(&forged, 5);
    wait_until(link_up(link));
    assert_int_equal(fixture_hello(link, 5), 0);
    wait_until(nothing(&place) && server_counters(place.server)->wrong_token == 1);
    assert_int_equal(link_receive(link, &answer), RK_ETIMEDOUT);
    link_close(link, 0);

    link = fixture_link(&place.secret, 6);
    wait_until(link_up(link));
    assert_int_equal(fixture_heartbeat(link), 0); /* without a hello, and of no epoch */
    wait_until(nothing(&place) && link_receive(link, &answer) == 0);
    assert_int_equal(answer->body_case, RK__ENVELOPE__BODY_REFUSED);
    assert_int_equal(answer->refused->code, RK_ESTATE);
    wire_free(answer);
    assert_int_equal(server_counters(place.server)->stale_epoch, 1);
    assert_int_equal(fixture_heartbeat(link), 0); /* now of the right one */
    wait_until(nothing(&place) && link_receive(link, &answer) == 0);
    assert_int_equal(answer->refused->code, RK_ESTATE);
    wire_free(answer);
    assert_int_equal(server_counters(place.server)->unknown_sender, 1);
    assert_int_equal(fixture_hello(link, 6), 0);
    expect_message(&place, 6, RK__ENVELOPE__BODY_HELLO);
    link_close(link, 0);
    place_close(&place);
}

/* A DEALER of its own making, with the keys but without manners. */
struct rogue {
    void *context, *socket;
};

static struct rogue rogue_open(const struct secret *secret, const void *name, size_t size)
{
    struct rogue rogue = {.context = zmq_ctx_new()};
    char public_key[41];
    char private_key[41];
    int zero = 0;

    rogue.socket = zmq_socket(rogue.context, ZMQ_DEALER);
    assert_int_equal(zmq_curve_keypair(public_key, private_key), 0);
    zmq_setsockopt(rogue.socket, ZMQ_CURVE_SERVERKEY, secret->public_key, 41);
    zmq_setsockopt(rogue.socket, ZMQ_CURVE_PUBLICKEY, public_key, 41);
    zmq_setsockopt(rogue.socket, ZMQ_CURVE_SECRETKEY, private_key, 41);
    zmq_setsockopt(rogue.socket, ZMQ_LINGER, &zero, sizeof zero);
    if (size > 0)
        zmq_setsockopt(rogue.socket, ZMQ_ROUTING_ID, name, size);
    assert_int_equal(zmq_connect(rogue.socket, secret->endpoint), 0);
    return rogue;
}

static void rogue_close(struct rogue *rogue)
{
    zmq_close(rogue->socket);
    zmq_ctx_term(rogue->context);
}

static void test_rogues(void **state)
{
    struct place place = place_open();
    const struct server_counters *counters = server_counters(place.server);
    uint8_t *large = calloc(1, WIRE_MAX_FRAME + 1u);
    uint8_t name[WIRE_ROUTING_ID_BYTES];
    struct rogue rogue;

    (void)state;
    wire_routing_id(77, name);
    rogue = rogue_open(&place.secret, name, sizeof name);
    zmq_send(rogue.socket, "garbage", 7, 0);
    wait_until(nothing(&place) && counters->malformed == 1);
    zmq_send(rogue.socket, large, WIRE_MAX_STRANGER + 1, 0);
    wait_until(nothing(&place) && counters->oversized == 1);
    zmq_send(rogue.socket, "a", 1, ZMQ_SNDMORE);
    zmq_send(rogue.socket, "b", 1, ZMQ_SNDMORE);
    zmq_send(rogue.socket, "c", 1, 0);
    wait_until(nothing(&place) && counters->malformed == 2);
    zmq_send(rogue.socket, large, WIRE_MAX_FRAME + 1u, 0); /* libzmq ends this connection */
    rogue_close(&rogue);
    rogue = rogue_open(&place.secret, NULL, 0);
    zmq_send(rogue.socket, "garbage", 7, 0);
    wait_until(nothing(&place) && counters->unknown_sender == 1);
    rogue_close(&rogue);
    free(large);
    place_close(&place);
}

static void test_not_connected(void **state)
{
    struct place place = place_open();
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Shutdown shutdown = RK__SHUTDOWN__INIT;
    struct rk_why why;
    struct server *other;

    (void)state;
    envelope.body_case = RK__ENVELOPE__BODY_SHUTDOWN;
    envelope.shutdown = &shutdown;
    assert_int_equal(server_send(place.server, 99, &envelope), RK_EAGENT);
    assert_int_equal(server_counters(place.server)->dropped, 1);
    assert_int_equal(server_open(&place.secret, socket(AF_INET, SOCK_STREAM, 0), 1, &other, &why),
                     RK_EINVAL);
    assert_non_null(strstr(why.text, "listening"));
    place_close(&place);
}

/* ---- the book alone, in orders that are hard to make happen ---- */

static void test_book(void **state)
{
    struct connections book = {0};

    (void)state;
    connections_accepted(&book, 9);
    connections_message(&book, 9, 1);
    assert_true(connections_has(&book, 1));
    /* 1 ends, 2 gets the number, and a last message of 1 is read before 2 has spoken... */
    connections_disconnected(&book, 9);
    connections_accepted(&book, 9);
    connections_message(&book, 9, 1);
    assert_int_equal(connections_take_closed(&book), 1);
    assert_int_equal(connections_take_closed(&book), 0);
    /* ...or after its end was told */
    connections_message(&book, 9, 1);
    connections_message(&book, 9, 2);
    assert_true(connections_has(&book, 2));
    assert_int_equal(connections_take_closed(&book), 1);
    /* ...or after 2 has spoken: 2 is not harmed */
    connections_message(&book, 9, 1);
    assert_true(connections_has(&book, 2));
    assert_int_equal(connections_take_closed(&book), 1);
    assert_int_equal(connections_take_closed(&book), 0);
    connections_disconnected(&book, 9);
    assert_int_equal(connections_take_closed(&book), 2);
    /* A peer that moved to another connection is not closed by the end of the first. */
    connections_accepted(&book, 9);
    connections_message(&book, 9, 3);
    connections_accepted(&book, 10);
    connections_message(&book, 10, 3);
    connections_disconnected(&book, 9);
    assert_int_equal(connections_take_closed(&book), 0);
    assert_true(connections_has(&book, 3));
    /* Somebody whose first words came with the end of the connection. */
    connections_accepted(&book, 11);
    connections_disconnected(&book, 11);
    connections_message(&book, 11, 4);
    assert_int_equal(connections_take_closed(&book), 4);
    assert_int_equal(connections_accepted(&book, -1), RK_ENOMEM);
    connections_done(&book);
}

static void test_map(void **state)
{
    static int values[1000];
    struct id_map map = {0};
    uint32_t cursor = 0;
    uint32_t seen = 0;

    (void)state;
    assert_null(id_map_find(&map, 5));
    for (uint64_t i = 1; i <= 1000; i++)
        assert_int_equal(id_map_put(&map, i << 32, &values[i - 1]), 0);
    for (uint64_t i = 1; i <= 1000; i += 2)
        assert_ptr_equal(id_map_remove(&map, i << 32), &values[i - 1]);
    for (uint64_t i = 1; i <= 1000; i++)
        assert_ptr_equal(id_map_find(&map, i << 32), i % 2 ? NULL : &values[i - 1]);
    while (id_map_next(&map, &cursor))
        seen++;
    assert_int_equal(seen, 500);
    id_map_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_and_close),
        cmocka_unit_test(test_last_words_first),
        cmocka_unit_test(test_descriptor_reuse),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_rogues),
        cmocka_unit_test(test_not_connected),
        cmocka_unit_test(test_book),
        cmocka_unit_test(test_map),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
