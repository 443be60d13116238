/* Leading by a lease: processes with clocks of their own and one server in one simulated time. */
#include "common/clock.h"
#include "k8s/client/lease.h"
#include "k8s/client/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 5
#define WALL (UINT64_C(1767225600) * RK_S)

/* The server: one object, and its version. */
struct server {
    json_t *object;
    unsigned version;
};

/* A process; its clock is ahead of the simulation's by `skew`. */
struct process {
    struct lease lease;
    char name[16];
    uint64_t skew;
    bool dead;
    enum lease_want want; /* on its way to the server */
    json_t *body;
    json_t *answer;
    int rc;              /* of the answer: 0, -1 refused or lost, 1 none there */
    uint64_t reaches_at; /* the server; 0: nothing on its way */
    uint64_t returns_at;
};

struct scene {
    struct server server;
    struct process process[MOST];
    unsigned count;
    struct draw draw;
    uint64_t now;
    unsigned loss; /* of a thousand messages */
};

static void scene_init(struct scene *scene, unsigned count, uint64_t seed, unsigned loss)
{
    struct lease_rules rules = {0};

    memset(scene, 0, sizeof *scene);
    scene->count = count;
    scene->draw.state = seed;
    scene->now = 1;
    scene->loss = loss;
    for (unsigned i = 0; i < count; i++) {
        struct process *process = &scene->process[i];

        lease_init(&process->lease, &rules, seed * 31 + i);
        snprintf(process->name, sizeof process->name, "p%u", i);
        process->lease.namespace = "n";
        process->lease.name = "l";
        process->lease.identity = process->name;
        process->skew = draw_between(&scene->draw, 0, 3600 * RK_S);
    }
}

static void scene_done(struct scene *scene)
{
    for (unsigned i = 0; i < scene->count; i++) {
        lease_done(&scene->process[i].lease);
        json_decref(scene->process[i].body);
        json_decref(scene->process[i].answer);
    }
    json_decref(scene->server.object);
}

static void server_put(struct server *server, const json_t *body)
{
    char text[16];

    json_decref(server->object);
    server->object = json_deep_copy(body);
    snprintf(text, sizeof text, "%u", ++server->version);
    json_object_set_new(json_object_get(server->object, "metadata"), "resourceVersion",
                        json_string(text));
}

/* What the server does with the message of a process. */
static void serve(struct server *server, struct process *process)
{
    bool fits = process->want == LEASE_CREATE
                    ? server->object == NULL
                    : server->object != NULL && strcmp(object_version(server->object),
                                                       object_version(process->body)) == 0;

    process->rc = 0;
    if (process->want == LEASE_READ)
        process->rc = server->object == NULL;
    else if (fits)
        server_put(server, process->body);
    else
        process->rc = -1;
    json_decref(process->answer);
    process->answer = process->rc == 0 ? json_deep_copy(server->object) : NULL;
}

static void answer(struct process *process, uint64_t now)
{
    if (process->rc < 0)
        lease_failed(&process->lease, now);
    else if (process->want == LEASE_READ)
        lease_read(&process->lease, process->answer, now);
    else
        lease_written(&process->lease, process->answer, now);
    process->returns_at = 0;
}

static void turn(struct scene *scene, struct process *process)
{
    uint64_t now = scene->now + process->skew;
    bool lost;

    if (process->reaches_at != 0 && scene->now >= process->reaches_at) {
        process->reaches_at = 0;
        serve(&scene->server, process);
        /* The answer may be lost on its way back: the server has done it all the same. */
        lost = draw_between(&scene->draw, 1, 1000) <= scene->loss;
        if (lost)
            process->rc = -1;
        process->returns_at =
            scene->now + (lost ? 5 * RK_S : draw_between(&scene->draw, RK_MS, 800 * RK_MS));
    }
    if (process->dead)
        return;
    if (process->returns_at != 0 && scene->now >= process->returns_at)
        answer(process, now);
    if (process->reaches_at != 0 || process->returns_at != 0) {
        lease_next(&process->lease, now);
        return;
    }
    process->want = lease_next(&process->lease, now);
    if (process->want == LEASE_REST)
        return;
    json_decref(process->body);
    process->body =
        process->want == LEASE_READ ? NULL : lease_body(&process->lease, WALL + scene->now);
    process->reaches_at = scene->now + draw_between(&scene->draw, RK_MS, 800 * RK_MS);
}

/* Runs for a while; never do two lead.  The one that leads at the end, NULL: nobody. */
static struct process *run(struct scene *scene, uint64_t span)
{
    uint64_t end = scene->now + span;
    struct process *leader = NULL;

    for (; scene->now < end; scene->now += 50 * RK_MS) {
        leader = NULL;
        for (unsigned i = 0; i < scene->count; i++)
            turn(scene, &scene->process[i]);
        for (unsigned i = 0; i < scene->count; i++) {
            if (!scene->process[i].lease.leading || scene->process[i].dead)
                continue;
            if (leader != NULL)
                fail_msg("%s and %s lead at %g s", leader->name, scene->process[i].name,
                         (double)scene->now * 1e-9);
            leader = &scene->process[i];
        }
    }
    return leader;
}

static void test_one_leads_and_stays(void **state)
{
    struct scene scene;
    struct process *leader;

    (void)state;
    scene_init(&scene, 3, 5, 0);
    leader = run(&scene, 10 * RK_S);
    assert_non_null(leader);
    for (int i = 0; i < 100; i++)
        assert_ptr_equal(run(&scene, 10 * RK_S), leader);
    assert_string_equal(lease_holder(&scene.process[0].lease), leader->name);
    scene_done(&scene);
}

static void test_another_follows_a_dead_one(void **state)
{
    struct scene scene;
    struct process *leader;
    struct process *next;

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        scene_init(&scene, 3, seed, 0);
        leader = run(&scene, 60 * RK_S);
        assert_non_null(leader);
        leader->dead = true;
        /* Its lease lasts 15 s from the last change that was seen. */
        next = run(&scene, 10 * RK_S);
        assert_null(next);
        next = run(&scene, 12 * RK_S);
        assert_non_null(next);
        assert_ptr_not_equal(next, leader);
        assert_int_equal(json_integer_value(json_object_get(
                             json_object_get(scene.server.object, "spec"), "leaseTransitions")),
                         1);
        scene_done(&scene);
    }
}

static void test_never_two_when_messages_are_lost(void **state)
{
    struct scene scene;
    unsigned led = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        scene_init(&scene, MOST, seed, 300);
        for (int i = 0; i < 30; i++)
            led += run(&scene, 10 * RK_S) != NULL;
        scene_done(&scene);
    }
    assert_true(led > 1000);
}

static void test_a_leader_that_is_cut_off_stops_in_time(void **state)
{
    struct scene scene;
    struct process *leader;
    uint64_t renewed;

    (void)state;
    scene_init(&scene, 1, 9, 0);
    leader = run(&scene, 60 * RK_S);
    assert_non_null(leader);
    renewed = leader->lease.renewed_at;
    scene.loss = 1000;
    leader->reaches_at = 0;
    while (leader->lease.leading)
        run(&scene, 50 * RK_MS);
    assert_in_range(scene.now + leader->skew - renewed, 10 * RK_S, 14 * RK_S);
    scene_done(&scene);
}

static void test_what_is_written(void **state)
{
    struct lease lease;
    struct lease_rules rules = {0};
    json_t *body;
    json_t *spec;
    json_t *other = json_pack("{s:{s:s, s:s, s:{s:s}}, s:{s:s, s:i, s:i}}", "metadata", "name", "l",
                              "resourceVersion", "7", "labels", "a", "b", "spec", "holderIdentity",
                              "else", "leaseDurationSeconds", 15, "leaseTransitions", 4);

    (void)state;
    lease_init(&lease, &rules, 1);
    lease.namespace = "n";
    lease.name = "l";
    lease.identity = "me";
    assert_int_equal(lease_next(&lease, 1), LEASE_READ);
    assert_int_equal(lease_next(&lease, 1), LEASE_REST);
    lease_read(&lease, NULL, 2);
    assert_int_equal(lease_next(&lease, 2), LEASE_CREATE);
    body = lease_body(&lease, WALL);
    spec = json_object_get(body, "spec");
    assert_string_equal(json_string_value(json_object_get(spec, "renewTime")),
                        "2026-01-01T00:00:00.000000Z");
    assert_int_equal(json_integer_value(json_object_get(spec, "leaseDurationSeconds")), 15);
    json_decref(body);
    lease_read(&lease, other, 3);
    assert_int_equal(lease_next(&lease, 3), LEASE_REST);
    assert_int_equal(lease_next(&lease, lease_due(&lease)), LEASE_READ);
    lease_read(&lease, other, 3 + 15 * RK_S);
    assert_int_equal(lease_next(&lease, 3 + 15 * RK_S), LEASE_WRITE);
    body = lease_body(&lease, WALL);
    spec = json_object_get(body, "spec");
    assert_string_equal(object_version(body), "7");
    assert_string_equal(json_string_value(json_object_get(spec, "holderIdentity")), "me");
    assert_int_equal(json_integer_value(json_object_get(spec, "leaseTransitions")), 5);
    assert_non_null(json_object_get(json_object_get(body, "metadata"), "labels"));
    json_decref(body);
    body = lease_release_body(&lease, WALL);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(body, "spec"), "holderIdentity")), "");
    json_decref(body);
    json_decref(other);
    lease_done(&lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_leads_and_stays),
        cmocka_unit_test(test_another_follows_a_dead_one),
        cmocka_unit_test(test_never_two_when_messages_are_lost),
        cmocka_unit_test(test_a_leader_that_is_cut_off_stops_in_time),
        cmocka_unit_test(test_what_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
