/* Agents that listen and a coordinator that dials: hello, loss, return, an address that is used
 * again, two coordinators at once, and callers who are neither. */
#include "coordinator/dials.h"
#include "coordinator/server.h"
#include "tests/unit/link_fixture.h"

#include <stdlib.h>

#define EPOCH 3u
#define AGENT 11u

struct scene {
    struct secret secret;
    struct server *server;
    struct link *link;
    uint16_t port;
    char endpoint[256];
};

static struct server *serve(const struct secret *secret, uint32_t epoch)
{
    struct secret other;
    struct server *server;
    int fd = fixture_listen(&other); /* an address of its own, the keys of the job */

    assert_int_equal(server_open(secret, fd, epoch, &server, NULL), 0);
    return server;
}

static struct link *listener(const struct scene *scene, uint64_t id)
{
    struct link *link = NULL;

    wait_until(link_listen(&scene->secret, id, "127.0.0.1", scene->port, &link, NULL) == 0);
    return link;
}

static void scene_open(struct scene *scene)
{
    int fd = fixture_listen(&scene->secret);

    snprintf(scene->endpoint, sizeof scene->endpoint, "%s", scene->secret.endpoint);
    scene->port = (uint16_t)atoi(strrchr(scene->endpoint, ':') + 1);
    close(fd); /* a port that was free a moment ago */
    scene->server = serve(&scene->secret, EPOCH);
    scene->link = listener(scene, AGENT);
}

static void scene_close(struct scene *scene)
{
    server_close(scene->server, 0);
    link_close(scene->link, 0);
}

/* Takes what there is. */
static bool nothing(struct server *server)
{
    struct server_input input;

    if (server_next(server, &input) == RK_ETIMEDOUT)
        return true;
    if (input.kind == SERVER_MESSAGE)
        wire_free(input.envelope);
    return false;
}

static void expect_hello(struct server *server, uint64_t sender)
{
    struct server_input input = {0};

    wait_until(server_next(server, &input) == 0);
    assert_int_equal(input.kind, SERVER_MESSAGE);
    assert_int_equal(input.sender, sender);
    assert_int_equal(input.envelope->body_case, RK__ENVELOPE__BODY_HELLO);
    wire_free(input.envelope);
}

static void expect_closed(struct server *server, uint64_t sender)
{
    struct server_input input = {0};

    wait_until(server_next(server, &input) == 0);
    assert_int_equal(input.kind, SERVER_CLOSED);
    assert_int_equal(input.sender, sender);
}

static void welcome(struct server *server, struct link *link, uint64_t id)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Welcome body = RK__WELCOME__INIT;
    Rk__Envelope *answer = NULL;

    body.shards = 64;
    envelope.body_case = RK__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &body;
    assert_int_equal(server_send(server, id, &envelope), 0);
    wait_until(link_receive(link, &answer) == 0);
    assert_int_equal(answer->body_case, RK__ENVELOPE__BODY_WELCOME);
    wire_free(answer);
}

static void meet(struct server *server, struct link *link, uint64_t id)
{
    wait_until(link_up(link) && nothing(server));
    assert_int_equal(fixture_hello(link, id), 0);
    expect_hello(server, id);
    welcome(server, link, id);
}

static void test_dial_and_hang_up(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    assert_false(link_up(scene.link));
    assert_int_equal(fixture_hello(scene.link, 1), RK_EAGENT);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0); /* once is enough */
    meet(scene.server, scene.link, AGENT);
    assert_true(server_connected(scene.server, AGENT));
    server_hang_up(scene.server, scene.endpoint);
    expect_closed(scene.server, AGENT);
    wait_until(nothing(scene.server) && !link_up(scene.link));
    scene_close(&scene);
}

static void test_coordinator_comes_back(void **state)
{
    struct scene scene;

    (void)state;
    scene_open(&scene);
    for (uint32_t epoch = EPOCH; epoch < EPOCH + 3; epoch++) {
        assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
        meet(scene.server, scene.link, AGENT);
        assert_int_equal(link_epoch(scene.link), epoch);
        server_close(scene.server, 0);
        wait_until(!link_up(scene.link));
        scene.server = serve(&scene.secret, epoch + 1);
    }
    scene_close(&scene);
}

/* What is for the agent that is gone must not reach the one that comes after it. */
static void test_address_is_used_again(void **state)
{
    struct scene scene;
    Rk__Envelope *envelope = NULL;
    Rk__Envelope late = RK__ENVELOPE__INIT;
    Rk__KeepCarriers keep = RK__KEEP_CARRIERS__INIT;

    (void)state;
    scene_open(&scene);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
    meet(scene.server, scene.link, AGENT);
    link_close(scene.link, 0);
    expect_closed(scene.server, AGENT);
    late.body_case = RK__ENVELOPE__BODY_KEEP_CARRIERS;
    late.keep_carriers = &keep;
    assert_int_equal(server_send(scene.server, AGENT, &late), RK_EAGENT);
    scene.link = listener(&scene, AGENT + 1);
    meet(scene.server, scene.link, AGENT + 1);
    assert_int_equal(link_receive(scene.link, &envelope), RK_ETIMEDOUT);
    scene_close(&scene);
}

/* The older one learns from the agent's messages that there is a newer one. */
static void test_two_coordinators(void **state)
{
    struct scene scene;
    struct server *newer;
    bool welcomed = false;

    (void)state;
    scene_open(&scene);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
    meet(scene.server, scene.link, AGENT);
    newer = serve(&scene.secret, EPOCH + 1);
    assert_int_equal(server_dial(newer, scene.endpoint, NULL), 0);
    for (int i = 0; i < FIXTURE_TURNS && server_highest_epoch(scene.server) == EPOCH; i++) {
        struct server_input input;
        Rk__Envelope *answer;

        link_up(scene.link);
        fixture_hello(scene.link, AGENT);
        while (server_next(scene.server, &input) == 0)
            if (input.kind == SERVER_MESSAGE)
                wire_free(input.envelope);
        if (!welcomed && server_next(newer, &input) == 0) {
            assert_int_equal(input.sender, AGENT);
            wire_free(input.envelope);
            welcome(newer, scene.link, AGENT);
            welcomed = true;
        }
        while (link_receive(scene.link, &answer) == 0)
            wire_free(answer);
        poll(NULL, 0, 5);
    }
    assert_true(welcomed);
    assert_int_equal(server_highest_epoch(scene.server), EPOCH + 1);
    server_close(newer, 0);
    scene_close(&scene);
}

static int call(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Port scanners, and somebody with another job's keys, change nothing. */
static void test_other_callers(void **state)
{
    struct scene scene;
    struct secret forged;
    struct server *stranger;
    struct server_input input;

    (void)state;
    scene_open(&scene);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
    meet(scene.server, scene.link, AGENT);
    assert_int_equal(secret_make(&forged, scene.endpoint, NULL), 0);
    stranger = serve(&forged, EPOCH + 9);
    assert_int_equal(server_dial(stranger, scene.endpoint, NULL), 0);
    for (int i = 0; i < 50; i++) {
        int fd = call(scene.port);

        if (i % 2)
            assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
        assert_true(link_up(scene.link));
        close(fd);
        poll(NULL, 0, 2);
        assert_true(link_up(scene.link));
        assert_int_equal(fixture_heartbeat(scene.link), 0);
        wait_until(server_next(scene.server, &input) == 0);
        assert_int_equal(input.envelope->body_case, RK__ENVELOPE__BODY_HEARTBEAT);
        wire_free(input.envelope);
    }
    assert_true(nothing(stranger));
    server_close(stranger, 0);
    scene_close(&scene);
}

static void test_dial_only(void **state)
{
    struct scene scene;
    char *none[] = {NULL};
    char *this[] = {scene.endpoint};

    (void)state;
    scene_open(&scene);
    assert_int_equal(server_dial(scene.server, scene.endpoint, NULL), 0);
    assert_int_equal(server_dial(scene.server, "tcp://127.0.0.1:1", NULL), 0);
    meet(scene.server, scene.link, AGENT);
    server_dial_only(scene.server, this, 1);
    assert_int_equal(fixture_heartbeat(scene.link), 0);
    wait_until(!nothing(scene.server) || server_counters(scene.server)->stale_epoch > 0 ||
               server_connected(scene.server, AGENT));
    assert_true(server_connected(scene.server, AGENT));
    server_dial_only(scene.server, none, 0);
    wait_until(nothing(scene.server) && !server_connected(scene.server, AGENT));
    scene_close(&scene);
}

static void test_endpoints(void **state)
{
    static const char *const bad[] = {
        "",
        "tcp://",
        "tcp://:80",
        "tcp://worker-0:80",
        "tcp://1.2.3.4",
        "tcp://1.2.3.4:",
        "tcp://1.2.3.4:0",
        "tcp://1.2.3.4:65536",
        "tcp://1.2.3.4:80x",
        "ipc:///tmp/x",
        "tcp://[::1:80",
        "tcp://::1]:80",
        "tcp://1.2.3.4.5:80",
    };
    struct dials dials = {0};
    struct rk_why why = {""};
    char endpoint[256];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(dials_add(&dials, bad[i], &why), RK_EINVAL);
    assert_non_null(strstr(why.text, "tcp://ADDRESS:PORT"));
    assert_int_equal(dials_add(&dials, "tcp://[fd00::7]:7465", NULL), 0);
    for (int i = 0; i < 300; i++) {
        snprintf(endpoint, sizeof endpoint, "tcp://10.0.%d.%d:7465", i / 250, i % 250);
        assert_int_equal(dials_add(&dials, endpoint, NULL), 0);
        assert_int_equal(dials_add(&dials, endpoint, NULL), DIALS_KNOWN);
    }
    assert_true(dials_remove(&dials, "tcp://10.0.0.77:7465"));
    assert_false(dials_remove(&dials, "tcp://10.0.0.77:7465"));
    assert_false(dials_remove(&dials, "tcp://10.0.0.7:1"));
    dials_mark(&dials, (char *[]){(char *)"tcp://10.0.0.5:7465"}, 1);
    for (int i = 0; i < 299; i++)
        assert_true(dials_remove(&dials, dials_unmarked(&dials)));
    assert_null(dials_unmarked(&dials));
    assert_true(dials_remove(&dials, "tcp://10.0.0.5:7465"));
    assert_null(dials.first);
    dials_done(&dials);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dial_and_hang_up),
        cmocka_unit_test(test_coordinator_comes_back),
        cmocka_unit_test(test_address_is_used_again),
        cmocka_unit_test(test_two_coordinators),
        cmocka_unit_test(test_other_callers),
        cmocka_unit_test(test_dial_only),
        cmocka_unit_test(test_endpoints),
    };

    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
