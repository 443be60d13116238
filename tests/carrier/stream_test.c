/* Steps that are exchanged while ranks still compute them: played ranks announce, make bucket after
 * bucket ready in changing order, take the result and overwrite what they had, at any pace, with
 * freezes at any turn; against serial sums.  What a rank has not made ready yet, or needs no more,
 * is trash, so whoever reads too early, too late or writes too early is found out. */
#include "tests/carrier/scene.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEPS 4u
#define BUCKET 8192u /* so that one holds both float32 and float64 elements */
#define MOST_BUCKETS 64u

struct player {
    uint32_t host;
    uint64_t position; /* steps taken */
    bool begun;        /* it needs the result before no more */
    bool announced;
    bool published;
    uint64_t left; /* buckets that are not ready */
};

struct play {
    struct scene scene;
    rk_word word;
    uint64_t seed;
    struct player player[SCENE_RANKS]; /* by index */
    uint64_t set[STEPS][SCENE_RANKS][RK_MAX_SHARDS / 64];
    float *taken[STEPS]; /* the result that was seen first */
};

static uint64_t draw(struct play *play, uint64_t below)
{
    return field_next(&play->seed) % below;
}

static void play_init(struct play *play, const struct scene_kind *kind)
{
    uint32_t most = tree_rank_buffers(kind->shards);

    *play = (struct play){.word = 1, .seed = kind->seed + 77};
    scene_init_as(&play->scene, kind);
    for (uint32_t s = 0; s < STEPS; s++)
        field_deal(kind->shards, play->scene.world, most, &play->seed, play->set[s]);
    for (uint32_t h = 0; h < kind->hosts; h++)
        for (uint32_t r = 0; r < kind->ranks[h]; r++)
            play->player[play->scene.plan[h].local[r].index].host = h;
    scene_go(&play->scene, 1, 1, 0);
}

static void play_done(struct play *play)
{
    for (uint32_t s = 0; s < STEPS; s++)
        free(play->taken[s]);
    scene_done(&play->scene);
}

static uint32_t seat_of(const struct play *play, uint32_t index)
{
    const struct arena_plan *plan = &play->scene.plan[play->player[index].host];
    uint32_t r = 0;

    while (plan->local[r].index != index)
        r++;
    return plan->local[r].seat;
}

/* All ranks see the same bits, those of a serial sum when nothing is rounded. */
static void check_result(struct play *play, uint32_t host, uint64_t step)
{
    const struct field *field = &play->scene.field[host];
    size_t bytes = field->elements * sizeof(float);

    if (play->scene.plan[0].wire == ARENA_WIRE_F32)
        assert_true(field_result_is(field, step));
    assert_true(field_wide_result_is(field, step));
    if (play->taken[step] == NULL) {
        play->taken[step] = malloc(bytes + 1);
        assert_non_null(play->taken[step]);
        memcpy(play->taken[step], arena_result(&field->arena), bytes);
    }
    assert_memory_equal(play->taken[step], arena_result(&field->arena), bytes);
}

static void announce(struct play *play, uint32_t index)
{
    struct player *player = &play->player[index];
    struct scene *scene = &play->scene;
    struct field *field = &scene->field[player->host];
    uint32_t buckets = arena_buckets(&field->arena);

    if (!player->begun && player->position != 0)
        check_result(play, player->host, player->position - 1);
    player->begun = true;
    field_announce(field, seat_of(play, index), &scene->plan[player->host], player->position,
                   play->set[player->position][index]);
    player->announced = true;
    assert_true(buckets <= MOST_BUCKETS);
    player->left = buckets == 64 ? UINT64_MAX : (UINT64_C(1) << buckets) - 1;
}

/* Mostly the last bucket first, as backward does. */
static void release(struct play *play, uint32_t index)
{
    struct player *player = &play->player[index];
    uint32_t bucket = 63 - (uint32_t)__builtin_clzll(player->left);

    if (draw(play, 4) == 0)
        bucket = (uint32_t)__builtin_ctzll(player->left);
    field_release(&play->scene.field[player->host], seat_of(play, index), player->position, bucket);
    player->left &= ~(UINT64_C(1) << bucket);
}

static void rank_turn(struct play *play, uint32_t index)
{
    struct player *player = &play->player[index];
    struct field *field = &play->scene.field[player->host];

    if (player->position == STEPS)
        return;
    if (!player->announced) {
        announce(play, index);
    } else if (player->left != 0) {
        release(play, index);
    } else if (!player->published) {
        field_publish(field, seat_of(play, index), &play->scene.plan[player->host],
                      player->position);
        player->published = true;
    } else if (scene_complete(&play->scene, player->host) > player->position) {
        check_result(play, player->host, player->position);
        field_trash(field, seat_of(play, index));
        *player = (struct player){.host = player->host, .position = player->position + 1};
    }
}

/* What a rank does when it has the next plan. */
static void resume(struct play *play, uint32_t index, uint64_t deal_step)
{
    struct player *player = &play->player[index];

    if (player->position < deal_step) {
        player->published = true; /* it waits for a result that is whole somewhere */
        player->announced = true;
        player->left = 0;
    } else if (player->published) {
        field_ready(&play->scene.field[player->host], seat_of(play, index),
                    &play->scene.plan[player->host], player->position);
    } else {
        player->announced = false; /* the shard in hand is computed again */
    }
}

/* Freezes all, and gives the go to one host after the other, in an order drawn by lot. */
static void freeze_and_go(struct play *play)
{
    struct scene *scene = &play->scene;
    uint32_t first = (uint32_t)draw(play, scene->hosts);
    uint64_t deal = 0;
    rk_word lineage;

    play->word++;
    for (uint32_t i = 0; i < scene->world; i++)
        deal = play->player[i].position > deal ? play->player[i].position : deal;
    lineage = arena_plan_lineage(&scene->plan[0], deal);
    for (uint32_t h = 0; h < scene->hosts; h++)
        atomic_store(&scene->field[h].arena.header->agent[scene->field[h].block].freeze_word,
                     play->word);
    for (uint32_t k = 0; k < scene->hosts; k++) {
        uint32_t h = (first + k) % scene->hosts;

        scene_go_host(scene, h, play->word, lineage, deal);
        for (uint32_t i = 0; i < scene->world; i++)
            if (play->player[i].host == h)
                resume(play, i, deal);
        for (uint64_t turns = draw(play, 40); turns > 0; turns--)
            assert_int_equal(scene_turn(scene), 0);
    }
}

/* Plays all steps; a freeze comes once in about `calm` turns, never when that is 0. */
static void play_all(struct play *play, uint64_t calm)
{
    for (uint32_t turn = 0; turn < SCENE_TURNS; turn++) {
        uint32_t index = (uint32_t)draw(play, play->scene.world);
        uint32_t done = 0;

        assert_int_equal(scene_turn(&play->scene), 0);
        if (draw(play, 3) == 0)
            rank_turn(play, index);
        if (calm != 0 && draw(play, calm) == 0)
            freeze_and_go(play);
        for (uint32_t i = 0; i < play->scene.world; i++)
            done += play->player[i].position == STEPS;
        if (done == play->scene.world)
            return;
    }
    fail_msg("seed %llu: not over after %u turns", (unsigned long long)play->seed, SCENE_TURNS);
}

/* ---- exact sums ------------------------------------------------------------------------------ */

/* Hosts with 1 to 3 ranks, in both ways of summing, float64 elements among them. */
static const struct {
    struct scene_kind kind;
    bool gather;
    bool narrow_gather;
} kinds[] = {
    {{.hosts = 2, .shards = 8, .elements = 0, .ranks = {1, 1}}, true, true},
    {{.hosts = 2, .shards = 8, .elements = 5000, .wide = 700, .ranks = {2, 2}}, true, true},
    {{.hosts = 2, .shards = 8, .elements = 40000, .wide = 100, .ranks = {3, 1}}, false, true},
    {{.hosts = 3, .shards = 8, .elements = 1, .ranks = {1, 2, 1}}, true, true},
    {{.hosts = 3, .shards = 8, .elements = 55000, .wide = 1500, .ranks = {1, 3, 2}}, false, false},
    {{.hosts = 4, .shards = 8, .elements = 3000, .ranks = {2, 1, 1, 2}}, true, true},
    {{.hosts = 4, .shards = 16, .elements = 25000, .ranks = {1, 1, 2, 1}}, false, false},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void play_kinds(uint32_t wire, enum arena_reduction reduction, uint64_t calm, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++)
        for (size_t k = 0; k < KINDS; k++) {
            struct scene_kind kind = kinds[k].kind;
            struct play play;

            kind.bucket = BUCKET;
            kind.wire = wire;
            kind.reduction = reduction;
            kind.seed = seed * 100 + k;
            play_init(&play, &kind);
            play_all(&play, calm);
            if (reduction == ARENA_EXACT)
                assert_int_equal(play.scene.talk[0]->order.gather,
                                 wire == ARENA_WIRE_F32 ? kinds[k].gather : kinds[k].narrow_gather);
            play_done(&play);
        }
}

static void steps_stream_through(void **state)
{
    (void)state;
    play_kinds(ARENA_WIRE_F32, ARENA_EXACT, 0, 2);
}

static void freezes_come_at_any_turn(void **state)
{
    (void)state;
    play_kinds(ARENA_WIRE_F32, ARENA_EXACT, 150, 2);
    play_kinds(ARENA_WIRE_F32, ARENA_EXACT, 1500, 2);
}

/* One vector of each host, added host after host: near the serial sum, and the same bits in all
 * ranks. */
static void fast_steps_agree_everywhere(void **state)
{
    (void)state;
    play_kinds(ARENA_WIRE_F32, ARENA_FAST, 0, 2);
    play_kinds(ARENA_WIRE_F32, ARENA_FAST, 150, 2);
    play_kinds(ARENA_WIRE_BF16, ARENA_FAST, 400, 2);
}

/* ---- bfloat16 on the wire -------------------------------------------------------------------- */

static void narrow_steps_agree_everywhere(void **state)
{
    (void)state;
    play_kinds(ARENA_WIRE_BF16, ARENA_EXACT, 0, 2);
    play_kinds(ARENA_WIRE_BF16, ARENA_EXACT, 400, 2);
}

/* The same gradients again and again: what one step rounds off, others bring.  So the sum of many
 * results is off by what is held back at the end, not by as many roundings as there were steps. */
static void rounding_does_not_add_up(void **state)
{
    enum { MANY = 48 };

    (void)state;
    for (size_t k = 1; k < KINDS; k++) {
        struct scene_kind kind = kinds[k].kind;
        struct tree_node root = {.level = (uint16_t)tree_log2(kind.shards)};
        struct scene scene;
        double *total;
        float *exact;
        double most = 0;
        double off = 0;

        kind.bucket = BUCKET;
        kind.wire = ARENA_WIRE_BF16;
        scene_init_as(&scene, &kind);
        for (uint32_t h = 0; h < kind.hosts; h++)
            scene.field[h].still = true;
        total = calloc(kind.elements, sizeof *total);
        exact = calloc(kind.elements, sizeof *exact);
        assert_non_null(total);
        assert_non_null(exact);
        field_sum(&scene.field[0], 0, root, 0, kind.elements, exact);
        scene_deal(&scene);
        scene_go(&scene, 1, 1, 0);
        for (uint64_t step = 0; step < MANY; step++) {
            scene_compute_all(&scene, step);
            scene_run(&scene, step, true);
            for (uint64_t e = 0; e < kind.elements; e++)
                total[e] += (double)arena_result(&scene.field[0].arena)[e];
        }
        for (uint64_t e = 0; e < kind.elements; e++) {
            double apart = fabs(total[e] - MANY * (double)exact[e]);

            most = fabs((double)exact[e]) > most ? fabs((double)exact[e]) : most;
            off = apart > off ? apart : off;
        }
        /* Parts are at most some times the sum; half a unit of the last place of each, and of it.
         */
        assert_true(off < 6 * most / 256);
        assert_true(off > 0 || kind.elements == 1);
        free(total);
        free(exact);
        scene_done(&scene);
    }
}

static bool holds_back(const struct narrow *narrow)
{
    for (uint64_t e = 0; e < narrow->elements; e++)
        if (narrow->residual[e] != 0)
            return true;
    return false;
}

/* What is held back outlives plans, but not the state that it belongs to. */
static void a_restart_forgets_what_is_held_back(void **state)
{
    struct scene_kind kind = kinds[1].kind;
    struct scene scene;

    (void)state;
    kind.wire = ARENA_WIRE_BF16;
    scene_init_as(&scene, &kind);
    scene_deal(&scene);
    scene_go(&scene, 1, 1, 0);
    scene_compute_all(&scene, 0);
    scene_run(&scene, 0, true);
    scene_go(&scene, 2, 2, 1);
    assert_true(holds_back(&scene.narrow[0]));
    scene.plan[0].restart = 1;
    scene_go(&scene, 3, 3, 1);
    assert_false(holds_back(&scene.narrow[0]));
    assert_true(holds_back(&scene.narrow[1]));
    scene_done(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_stream_through),
        cmocka_unit_test(freezes_come_at_any_turn),
        cmocka_unit_test(fast_steps_agree_everywhere),
        cmocka_unit_test(narrow_steps_agree_everywhere),
        cmocka_unit_test(rounding_does_not_add_up),
        cmocka_unit_test(a_restart_forgets_what_is_held_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
