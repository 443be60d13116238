/* Carriers of several hosts in one process, without MPI: bookkeeping, and whole talks over streams
 * that deliver late, with freezes in between, against serial sums. */
#include "tests/carrier/scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- bookkeeping ----------------------------------------------------------------------------- */

static void slices_cover_all(void **state)
{
    static const uint64_t elements[] = {0, 1, 15, 16, 17, 100, 1000, 65537};

    (void)state;
    for (size_t e = 0; e < sizeof elements / sizeof elements[0]; e++)
        for (uint32_t hosts = 1; hosts <= 7; hosts++) {
            uint64_t at = 0;

            for (uint32_t h = 0; h < hosts; h++) {
                struct slice slice = slice_of(elements[e], hosts, h);

                assert_int_equal(slice.from, at);
                assert_int_equal(slice.from % 16, 0);
                at += slice.count;
            }
            assert_int_equal(at, elements[e]);
        }
}

static void slices_fit_packets(void **state)
{
    (void)state;
    for (uint32_t vectors = 1; vectors <= 512; vectors++) {
        assert_true(slice_packet_count(vectors, 4) > 0);
        assert_true(slice_packet_count(vectors, 4) * vectors <= PACKET_FLOATS);
    }
}

static void merge_takes_a_whole_tree_only(void **state)
{
    static struct merge merge;
    struct tree_node left = {.level = 2, .index = 0};
    struct tree_node right[] = {{.level = 1, .index = 3}, {.level = 1, .index = 2}};
    struct tree_node inside = {.level = 0, .index = 5};
    struct tree_node outside = {.level = 2, .index = 2};
    struct tree_node above = {.level = 4, .index = 0};

    (void)state;
    merge_clear(&merge);
    assert_int_equal(merge_add(&merge, 8, 1, right, 2, NULL), 0);
    assert_int_equal(merge_seal(&merge, 8, NULL), RK_EDATA);
    assert_int_equal(merge_add(&merge, 8, 0, &inside, 1, NULL), RK_EDATA);
    assert_int_equal(merge_add(&merge, 8, 0, &outside, 1, NULL), RK_EDATA);
    assert_int_equal(merge_add(&merge, 8, 0, &above, 1, NULL), RK_EDATA);
    assert_int_equal(merge_add(&merge, 8, 0, &left, 1, NULL), 0);
    assert_int_equal(merge_seal(&merge, 8, NULL), 0);
    assert_int_equal(merge.count, 3);
    assert_int_equal(merge.part[0].host, 0);
    assert_int_equal(merge.part[1].vector, 1);
    assert_int_equal(merge.part[2].vector, 0);
}

static void progress_finds_who_lacks_what(void **state)
{
    struct {
        uint64_t complete[3];
        bool new[3]; /* came when that step was over */
        uint64_t deal;
        int rc;
        uint64_t step;
        uint32_t giver;
        bool lags[3];
    } row[] = {
        {{5, 5, 5}, {0}, 5, 0, 5, 3, {0}},
        {{5, 6, 6}, {0}, 6, 0, 6, 1, {1, 0, 0}},
        {{6, 5, 6}, {0}, 5, 0, 6, 0, {0, 1, 0}},
        {{0, 6, 6}, {1, 0, 0}, 6, 0, 6, 3, {0}},
        {{5, 6, 6}, {0, 1, 0}, 6, 0, 6, 2, {1, 0, 0}}, /* only the last has it */
        {{0, 7, 6}, {1, 0, 0}, 6, 0, 7, 1, {1, 0, 1}}, /* result 6 is whole somewhere */
        {{5, 5, 5}, {0}, 6, 0, 6, 3, {0}},             /* all loaded a checkpoint */
        {{9, 9, 9}, {0}, 6, 0, 6, 3, {0}},             /* all went back to a snapshot */
        {{5, 7, 6}, {0}, 6, RK_EDATA, 0, 0, {0}},
    };

    (void)state;
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) {
        struct progress_host host[3];
        struct progress progress;

        for (uint32_t h = 0; h < 3; h++)
            host[h] = (struct progress_host){.complete_step = row[r].complete[h],
                                             .has_result = !row[r].new[h]};
        assert_int_equal(progress_read(host, 3, row[r].deal, &progress, NULL), row[r].rc);
        if (row[r].rc != 0)
            continue;
        assert_int_equal(progress.step, row[r].step);
        assert_int_equal(progress.giver, row[r].giver);
        for (uint32_t h = 0; h < 3; h++)
            assert_int_equal(host[h].lags, row[r].lags[h]);
    }
}

static void plans_of_other_jobs_are_left(void **state)
{
    struct arena_plan plan = {.word = 9, .hosts = 2, .carrier_job = 4};

    (void)state;
    assert_int_equal(plan_verdict(&plan, 4, 0, false), VERDICT_SERVE);
    assert_int_equal(plan_verdict(&plan, 3, 0, false), VERDICT_LEAVE);
    assert_int_equal(plan_verdict(&plan, 5, 8, false), VERDICT_WAIT);
    assert_int_equal(plan_verdict(&plan, 5, 8, true), VERDICT_LEAVE);
    plan.hosts = 1;
    plan.carrier_job = 0;
    assert_int_equal(plan_verdict(&plan, 1, 9, false), VERDICT_WAIT);
    assert_int_equal(plan_verdict(&plan, 1, 8, false), VERDICT_LEAVE);
}

static void packets_have_their_size(void **state)
{
    static struct packet packet;

    (void)state;
    packet.header = (struct packet_header){
        .magic = PACKET_MAGIC, .kind = PACKET_PART, .count = 10, .vectors = 3};
    assert_int_equal(packet_check(&packet, 64 + 120, NULL), 0);
    assert_int_equal(packet_check(&packet, 64 + 116, NULL), RK_EPROTO);
    assert_int_equal(packet_check(&packet, 12, NULL), RK_EPROTO);
    packet.header.kind = PACKET_KINDS;
    assert_int_equal(packet_check(&packet, 64 + 120, NULL), RK_EPROTO);
    packet.header.kind = PACKET_STATE;
    packet.header.vectors = 1;
    assert_int_equal(packet_check(&packet, 64 + 10, NULL), 0);
    packet.header.magic++;
    assert_int_equal(packet_check(&packet, 64 + 10, NULL), RK_EPROTO);
}

/* ---- talks ----------------------------------------------------------------------------------- */

static void steps_have_the_bits_of_a_serial_sum(void **state)
{
    static const uint64_t elements[] = {0, 1, 40, 70000};

    (void)state;
    for (uint32_t hosts = 2; hosts <= SCENE_HOSTS; hosts++)
        for (size_t e = 0; e < sizeof elements / sizeof elements[0]; e++) {
            struct scene scene;

            scene_init(&scene, hosts, 8u << (hosts % 2), elements[e], 0);
            scene_go(&scene, 1, 1, 0);
            for (uint64_t step = 0; step < 4; step++) {
                scene_deal(&scene);
                for (uint32_t h = 0; h < hosts; h++)
                    scene_compute(&scene, h, step);
                scene_run(&scene, step, true);
                scene_check(&scene, step);
            }
            scene_done(&scene);
        }
}

static void a_slice_of_many_packets(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, 2, 4, 5 * PACKET_FLOATS + 77, 0);
    scene_go(&scene, 1, 1, 0);
    scene_deal(&scene);
    for (uint32_t h = 0; h < 2; h++)
        scene_compute(&scene, h, 0);
    scene_run(&scene, 0, true);
    scene_check(&scene, 0);
    scene_done(&scene);
}

/* Freezes after every number of turns up to the end of a step, and goes on under the next word with
 * the sums that are there; whoever is behind gets the result. */
static void a_freeze_at_any_turn(void **state)
{
    struct scene scene;
    rk_word word = 1;
    uint64_t step = 0;

    (void)state;
    scene_init(&scene, 3, 8, 3 * PACKET_FLOATS / 2, 0);
    scene_go(&scene, word, word, step);
    for (uint32_t after = 1; after < 160; after += 3, step++) {
        uint64_t deal;

        scene_deal(&scene);
        for (uint32_t h = 0; h < 3; h++)
            scene_compute(&scene, h, step);
        for (uint32_t turn = 0; turn < after; turn++)
            assert_int_equal(scene_turn(&scene), 0);
        deal = step;
        word++;
        scene_go(&scene, word, arena_plan_lineage(&scene.plan[0], step), deal);
        for (uint32_t h = 0; h < 3; h++)
            for (uint32_t r = 0; r < 2; r++)
                field_ready(&scene.field[h], scene.plan[h].local[r].seat, &scene.plan[h], step);
        scene_run(&scene, step, true);
        scene_check(&scene, step);
    }
    scene_done(&scene);
}

/* The go reaches one host after the other, while those that have it go on already. */
static void a_go_that_comes_late(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, 3, 8, 1000, 0);
    scene_go(&scene, 1, 1, 0);
    for (rk_word word = 2; word < 12; word++) {
        uint64_t step = word - 2;

        scene_deal(&scene);
        for (uint32_t h = 0; h < 3; h++)
            scene_compute(&scene, h, step);
        for (uint32_t turn = 0; turn < 4 * word; turn++)
            assert_int_equal(scene_turn(&scene), 0);
        for (uint32_t h = 0; h < 3; h++) {
            scene_go_host(&scene, h, word, arena_plan_lineage(&scene.plan[h], step), step);
            for (uint32_t r = 0; r < 2; r++)
                field_ready(&scene.field[h], scene.plan[h].local[r].seat, &scene.plan[h], step);
            for (uint32_t turn = 0; turn < 60; turn++)
                assert_int_equal(scene_turn(&scene), 0);
        }
        scene_run(&scene, step, true);
        scene_check(&scene, step);
    }
    scene_done(&scene);
}

/* Hosts take the next step as soon as they can, so that they are a step apart at times. */
static void hosts_a_step_apart(void **state)
{
    enum { STEPS = 12 };
    struct scene scene;
    uint64_t next[SCENE_HOSTS] = {0};
    uint64_t seed[STEPS];

    (void)state;
    scene_init(&scene, 4, 8, 20000, 0);
    for (uint32_t s = 0; s < STEPS; s++)
        seed[s] = s + 1;
    scene_go(&scene, 1, 1, 0);
    for (uint32_t turn = 0; turn < SCENE_TURNS; turn++) {
        uint32_t finished = 0;

        for (uint32_t h = 0; h < 4; h++) {
            finished += scene_complete(&scene, h) == STEPS;
            if (scene_complete(&scene, h) != next[h] || next[h] == STEPS)
                continue;
            if (next[h] > 0)
                assert_true(field_result_is(&scene.field[h], next[h] - 1));
            scene.seed = seed[next[h]];
            scene_deal(&scene);
            scene_compute(&scene, h, next[h]++);
        }
        if (finished == 4)
            break;
        scene.seed = turn;
        assert_int_equal(scene_turn(&scene), 0);
    }
    for (uint32_t h = 0; h < 4; h++)
        assert_int_equal(scene_complete(&scene, h), STEPS);
    scene_check(&scene, STEPS - 1);
    scene_done(&scene);
}

/* Once the freeze word has changed, a carrier changes nothing in its arena. */
static void a_frozen_carrier_touches_nothing(void **state)
{
    struct scene scene;
    float *result;

    (void)state;
    scene_init(&scene, 2, 8, 3 * PACKET_FLOATS, 0);
    scene_go(&scene, 1, 1, 0);
    scene_deal(&scene);
    for (uint32_t h = 0; h < 2; h++)
        scene_compute(&scene, h, 0);
    result = arena_result(&scene.field[1].arena);
    for (uint32_t turn = 0;
         turn < SCENE_TURNS && result[0] == 0 && result[3 * PACKET_FLOATS / 2] == 0; turn++)
        assert_int_equal(scene_turn(&scene), 0);
    assert_int_equal(scene_complete(&scene, 1), 0);
    atomic_store(&scene.field[1].arena.header->agent[scene.field[1].block].freeze_word, 2);
    memset(result, 0, scene.field[1].elements * sizeof(float));
    for (uint32_t turn = 0; turn < 2000; turn++)
        assert_int_equal(scene_turn(&scene), 0);
    for (uint64_t e = 0; e < scene.field[1].elements; e++)
        assert_true(result[e] == 0);
    assert_int_equal(scene_complete(&scene, 1), 0);
    scene_done(&scene);
}

/* A host that lacks the last result is given it, and then the next step is taken. */
static void the_result_reaches_who_lacks_it(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene, 3, 8, 100000, 0);
    scene_go(&scene, 1, 1, 0);
    scene_deal(&scene);
    for (uint32_t h = 0; h < 3; h++)
        scene_compute(&scene, h, 0);
    scene_run(&scene, 0, false);
    assert_true(scene_complete(&scene, 0) + scene_complete(&scene, 1) + scene_complete(&scene, 2) <
                3);
    scene_go(&scene, 2, 1, 0);
    scene_run(&scene, 0, true);
    scene_check(&scene, 0);
    scene_deal(&scene);
    for (uint32_t h = 0; h < 3; h++)
        scene_compute(&scene, h, 1);
    scene_run(&scene, 1, true);
    scene_check(&scene, 1);
    scene_done(&scene);
}

/* Host `fresh` is a new one, which takes the state after three steps from `giver`; `behind` lacks
 * the result of the third.  It has it before the new host is where nobody could follow. */
static void join_while_one_is_behind(struct scene *scene, uint32_t fresh, uint32_t giver,
                                     uint32_t behind)
{
    struct arena *arena = &scene->field[fresh].arena;

    atomic_store(&arena->header->complete_step, 0);
    atomic_store(&arena->header->result_step, 0);
    memset(arena_result(arena), 0, 1000 * sizeof(float));
    for (uint32_t h = 0; h < 3; h++) {
        scene->plan[h].state_host = scene->plan[giver].host_index;
        scene->plan[h].give_state = h == giver;
        scene->plan[h].take_state = h == fresh;
    }
    field_snapshot(&scene->field[giver], 3);
    scene_go(scene, 2, 2, 3);
    for (uint32_t turn = 0; turn < SCENE_TURNS && arena_snapshot_find(arena, 3) < 0; turn++)
        assert_int_equal(scene_turn(scene), 0);
    assert_true(field_snapshot_is(&scene->field[fresh], 3));
    assert_true(field_result_is(&scene->field[behind], 2));
    assert_true(field_result_is(&scene->field[giver], 2));
}

/* Two hosts are a step apart when a new one takes the place of the third: whose result lies where
 * the one behind lacks it?  Not the new one's, though it is past the step. */
static void a_new_host_has_no_result_to_give(void **state)
{
    uint32_t seen[3] = {0}; /* by the new host's place */

    (void)state;
    for (uint64_t seed = 1; seed < 1000 && (seen[0] < 3 || seen[1] < 3 || seen[2] < 3); seed++) {
        uint32_t fresh = (uint32_t)(seed % 3);
        uint32_t a = (fresh + 1) % 3;
        uint32_t b = (fresh + 2) % 3;
        struct scene scene;

        scene_init(&scene, 3, 8, 1000, 1000);
        scene_go(&scene, 1, 1, 0);
        for (uint64_t step = 0; step < 3; step++) {
            scene_deal(&scene);
            scene_compute_all(&scene, step);
            scene.seed = seed + step;
            scene_run(&scene, step, step < 2);
        }
        if (scene_complete(&scene, a) != scene_complete(&scene, b)) {
            bool ahead = scene_complete(&scene, a) > scene_complete(&scene, b);

            seen[fresh]++;
            join_while_one_is_behind(&scene, fresh, ahead ? a : b, ahead ? b : a);
        }
        scene_done(&scene);
    }
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
}

static void the_state_reaches_who_takes_it(void **state)
{
    struct scene scene;
    bool there = false;

    (void)state;
    scene_init(&scene, 3, 8, 100, PACKET_PAYLOAD * 5 + 1234);
    for (uint32_t h = 0; h < 3; h++) {
        scene.plan[h].state_host = scene.plan[1].host_index;
        scene.plan[h].give_state = h == 1;
        scene.plan[h].take_state = h == 2;
    }
    scene_go(&scene, 1, 1, 7);
    for (uint32_t turn = 0; turn < 5000; turn++)
        assert_int_equal(scene_turn(&scene), 0);
    assert_false(field_snapshot_is(&scene.field[2], 7));
    field_snapshot(&scene.field[1], 7);
    for (uint32_t turn = 0; turn < SCENE_TURNS && !there; turn++) {
        assert_int_equal(scene_turn(&scene), 0);
        there = field_snapshot_is(&scene.field[2], 7);
    }
    assert_true(there);
    assert_false(field_snapshot_is(&scene.field[0], 7));
    scene_deal(&scene);
    for (uint32_t h = 0; h < 3; h++)
        scene_compute(&scene, h, 7);
    scene_run(&scene, 7, true);
    scene_check(&scene, 7);
    scene_done(&scene);
}

/* Shards of which two hosts have sums, or nobody: no result, whatever comes. */
static void hosts_that_do_not_fit_together_end(void **state)
{
    (void)state;
    for (int twice = 0; twice <= 1; twice++) {
        struct scene scene;
        int rc = 0;

        scene_init(&scene, 2, 8, 100, 0);
        scene_go(&scene, 1, 1, 0);
        scene_deal(&scene);
        memset(scene.set[1], 0, sizeof scene.set[1]);
        if (twice)
            memcpy(scene.set[1], scene.set[2], sizeof scene.set[1]);
        for (uint32_t h = 0; h < 2; h++)
            scene_compute(&scene, h, 0);
        for (uint32_t turn = 0; turn < SCENE_TURNS && rc == 0; turn++)
            rc = scene_turn(&scene);
        assert_int_equal(rc, RK_EDATA);
        assert_int_equal(scene_complete(&scene, 0) + scene_complete(&scene, 1), 0);
        scene_done(&scene);
    }
}

/* Sums that an older deal has made do not count. */
static void another_lineage_ends(void **state)
{
    struct scene scene;
    int rc = 0;

    (void)state;
    scene_init(&scene, 2, 8, 100, 0);
    scene_go(&scene, 1, 1, 0);
    scene.talk[1]->plan.lineage = scene.plan[1].lineage = 7;
    scene_deal(&scene);
    for (uint32_t h = 0; h < 2; h++)
        scene_compute(&scene, h, 0);
    for (uint32_t turn = 0; turn < SCENE_TURNS && rc == 0; turn++)
        rc = scene_turn(&scene);
    assert_int_equal(rc, RK_EDATA);
    scene_done(&scene);
}

/* The sums of a rank that died count on, in its ghost. */
static void ghosts_count(void **state)
{
    struct scene scene;
    uint32_t seat;

    (void)state;
    scene_init(&scene, 2, 8, 1000, 0);
    scene_go(&scene, 1, 1, 0);
    scene_deal(&scene);
    for (uint32_t h = 0; h < 2; h++)
        scene_compute(&scene, h, 0);
    seat = scene.plan[0].local[1].seat;
    arena_seat_ghost(&scene.field[0].arena, seat);
    scene.plan[0].local_count = 1;
    scene_go(&scene, 2, 1, 0);
    field_ready(&scene.field[0], scene.plan[0].local[0].seat, &scene.plan[0], 0);
    for (uint32_t r = 0; r < 2; r++)
        field_ready(&scene.field[1], scene.plan[1].local[r].seat, &scene.plan[1], 0);
    scene_run(&scene, 0, true);
    scene_check(&scene, 0);
    scene_done(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_cover_all),
        cmocka_unit_test(slices_fit_packets),
        cmocka_unit_test(merge_takes_a_whole_tree_only),
        cmocka_unit_test(progress_finds_who_lacks_what),
        cmocka_unit_test(plans_of_other_jobs_are_left),
        cmocka_unit_test(packets_have_their_size),
        cmocka_unit_test(steps_have_the_bits_of_a_serial_sum),
        cmocka_unit_test(a_slice_of_many_packets),
        cmocka_unit_test(a_freeze_at_any_turn),
        cmocka_unit_test(a_go_that_comes_late),
        cmocka_unit_test(hosts_a_step_apart),
        cmocka_unit_test(a_frozen_carrier_touches_nothing),
        cmocka_unit_test(the_result_reaches_who_lacks_it),
        cmocka_unit_test(a_new_host_has_no_result_to_give),
        cmocka_unit_test(the_state_reaches_who_takes_it),
        cmocka_unit_test(hosts_that_do_not_fit_together_end),
        cmocka_unit_test(another_lineage_ends),
        cmocka_unit_test(ghosts_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
