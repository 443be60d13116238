/* The arena's own rules: whose sums count, how far a plan sets the host, which snapshot is next. */
#include "collectives/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHARDS 8
#define GRADS 1000

static const struct rk_worker_id ours = {11}, theirs = {22};

static struct rk_layout *some_layout(uint64_t grads)
{
    struct rk_layout *layout = rk_layout_new(1, 8);

    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "w", 1, 1, (uint64_t[]){grads}, NULL),
                     0);
    assert_int_equal(
        rk_layout_add(&layout, RK_TENSOR_GRADIENT, "w", 1, 1, (uint64_t[]){grads}, NULL), 0);
    return layout;
}

static void open_arena(struct arena *arena)
{
    struct rk_layout *layout = some_layout(GRADS);

    assert_int_equal(arena_create(arena, (struct rk_host_id){5}, SHARDS, NULL), 0);
    assert_int_equal(arena_declare(arena, layout, NULL), 0);
    assert_non_null(arena_layout(arena));
    rk_layout_free(layout);
}

/* Takes a seat whose rank has finished the one node at `step`. */
static uint32_t seat_with(struct arena *arena, struct rk_worker_id worker, uint32_t rank,
                          uint64_t step, rk_word lineage, struct tree_node node)
{
    int seat = arena_seat_claim(arena, worker, 0, rank, false);
    struct arena_seat *taken;

    assert_true(seat >= 0);
    assert_int_equal(arena_seat_allocate(arena, (uint32_t)seat, NULL), 0);
    taken = &arena->header->seat[seat];
    taken->table[0] = (struct arena_table){
        .step = step, .lineage = lineage, .count = 1, .node = {{.node = node}}};
    atomic_store(&taken->has_state, 1);
    atomic_store(&taken->position, step);
    return (uint32_t)seat;
}

static void a_layout_is_declared_once(void **state)
{
    struct arena arena;
    struct rk_layout *same = some_layout(GRADS);
    struct rk_layout *other = some_layout(GRADS + 1);
    struct rk_why why;

    (void)state;
    open_arena(&arena);
    assert_int_equal(arena_declare(&arena, same, &why), 0);
    assert_int_equal(arena_declare(&arena, other, &why), RK_ELAYOUT);
    assert_non_null(strstr(why.text, "tensor 0"));
    rk_layout_free(same);
    rk_layout_free(other);
    arena_close(&arena);
    assert_int_equal(arena_create(&arena, (struct rk_host_id){5}, 12, &why), RK_EINVAL);
}

static void sums_count_for_members_and_ghosts_alone(void **state)
{
    struct arena arena;
    struct arena_piece piece[SHARDS];
    struct arena_plan plan = {.word = 7, .lineage = 6, .deal_step = 3, .local_count = 1};
    struct arena_report report;
    uint32_t member, dead;

    (void)state;
    open_arena(&arena);
    member = seat_with(&arena, ours, 0, 3, 6, (struct tree_node){2, 1});
    dead = seat_with(&arena, theirs, 1, 3, 6, (struct tree_node){2, 0});
    plan.local[0].seat = member;

    /* Its worker is dead and nobody has said so: it is in no report and in no sum. */
    arena_report_read(&arena, ours, 0, &plan, &report);
    assert_int_equal(report.deal_step, 3);
    assert_int_equal(report.done[0], 0xf0);
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, SHARDS), RK_ENOENT);
    arena_announce(&arena.header->seat[member], arena_tick(7, 3),
                   &arena.header->seat[member].table[0]);
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, SHARDS), 1);
    assert_int_equal(tree_first(piece[0].node), 4);

    /* One that acknowledged and was left out counts before it has ended, too. */
    atomic_store(&arena.header->seat[dead].ack_word, plan.word);
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, SHARDS), 2);
    atomic_store(&arena.header->seat[dead].ack_word, 0);
    arena_seat_ghost(&arena, dead);
    arena_report_read(&arena, ours, 0, &plan, &report);
    assert_int_equal(report.done[0], 0xff);
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, SHARDS), 2);
    assert_int_equal(tree_first(piece[0].node), 0);

    /* Other steps and other lineages do not count, nor more pieces than there is room for. */
    assert_int_equal(arena_pieces(&arena, &plan, 4, piece, SHARDS), RK_ENOENT);
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, 1), RK_EFULL);
    plan.lineage = 7; /* then the ghost's do not */
    assert_int_equal(arena_pieces(&arena, &plan, 3, piece, SHARDS), 1);
    arena_close(&arena);
}

static void a_ghost_is_taken_again_when_its_sums_are_spent(void **state)
{
    struct arena arena;
    uint32_t dead;
    int next;

    (void)state;
    open_arena(&arena);
    dead = seat_with(&arena, theirs, 1, 3, 6, (struct tree_node){2, 0});
    arena_seat_ghost(&arena, dead);
    next = arena_seat_claim(&arena, ours, 0, 1, false);
    assert_int_not_equal(next, dead);
    arena_complete(&arena, 3);
    assert_int_equal(arena_seat_claim(&arena, ours, 1, 2, false), dead);
    arena_close(&arena);
}

static void plans_set_how_far_a_host_is(void **state)
{
    struct {
        uint64_t complete, deal;
        uint32_t restart;
        uint64_t after;
    } row[] = {
        {10, 10, 0, 10}, {9, 10, 0, 9}, /* its ranks wait for the sum of step 9 */
        {11, 10, 0, 11},                /* nobody has taken note of the sum of step 10 yet */
        {11, 10, 1, 10}, /* all state was lost: what lies in the result is not to be trusted */
        {50, 10, 1, 10}, {0, 10, 0, 10}, /* a new arena */
    };

    (void)state;
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) {
        struct arena_plan plan = {.word = 3, .deal_step = row[r].deal, .restart = row[r].restart};
        struct arena arena;
        int block;

        open_arena(&arena);
        block = arena_agent_claim(&arena, ours);
        assert_true(block >= 0);
        atomic_store(&arena.header->complete_step, row[r].complete);
        arena_go(&arena, (uint32_t)block, &plan);
        assert_int_equal(atomic_load(&arena.header->complete_step), row[r].after);
        assert_false(arena_has_result(&arena, row[r].after)); /* none was ever made here */
        assert_int_equal(atomic_load(&arena.header->agent[block].go_word), 3);
        arena_close(&arena);
    }
}

static void the_older_snapshot_that_nobody_reads_is_next(void **state)
{
    struct arena arena;
    int block, first, second;

    (void)state;
    open_arena(&arena);
    block = arena_agent_claim(&arena, ours);
    assert_int_equal(arena_snapshot_newest(&arena), RK_ENOENT);
    first = arena_snapshot_pick(&arena);
    arena_snapshot_commit(&arena, (uint32_t)first, 4);
    second = arena_snapshot_pick(&arena);
    assert_int_not_equal(first, second);
    arena_snapshot_commit(&arena, (uint32_t)second, 9);
    assert_int_equal(arena_snapshot_pick(&arena), first);
    assert_int_equal(arena_snapshot_newest(&arena), second);
    assert_int_equal(arena_snapshot_find(&arena, 4), first);
    assert_int_equal(arena_snapshot_find(&arena, 5), RK_ENOENT);

    atomic_store(&arena.header->agent[block].pinned, 1u << first);
    assert_int_equal(arena_snapshot_pick(&arena), second);
    atomic_store(&arena.header->agent[block].pinned, 3);
    assert_int_equal(arena_snapshot_pick(&arena), RK_EFULL);
    atomic_store(&arena.header->agent[block].pinned, 0);
    arena_snapshot_begin(&arena, (uint32_t)second);
    assert_int_equal(arena_snapshot_find(&arena, 9), RK_ENOENT);
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layout_is_declared_once),
        cmocka_unit_test(sums_count_for_members_and_ghosts_alone),
        cmocka_unit_test(a_ghost_is_taken_again_when_its_sums_are_spent),
        cmocka_unit_test(plans_set_how_far_a_host_is),
        cmocka_unit_test(the_older_snapshot_that_nobody_reads_is_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
