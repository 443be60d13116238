/* A step that was complete when the rank that completed it died, before this one had taken note of
 * it.  Agent, coordinator and the rank that dies are played; the rank left is real, in a thread. */
#include "collectives/arena.h"
#include "worker/local.h"
#include "worker/reknit.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT ((uint64_t)1500)
#define SHARDS 2
#define WAIT_MS 20000
#define WORKER            \
    (struct rk_worker_id) \
    {                     \
        77                \
    }
#define FIRST rk_word_make(1, 1)
#define SECOND rk_word_make(1, 2)

struct stage {
    char directory[64], path[96];
    int listener, socket;
    struct arena arena;
    uint32_t block, seat, other; /* seats: of the rank, and of the one that dies */
    uint64_t updated;            /* elements */
    int (*train)(struct stage *, struct rk_session *);
    int failed; /* what the rank's thread found */
    bool gave;  /* the state after the step was there at the step's end */
};

/* ---- the rank -------------------------------------------------------------------------------- */

/* Makes its slice; with the last of it the other rank completes the step and dies, and the agent
 * freezes, all before this one looks up. */
static int update(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    struct stage *stage = context;
    const float *sum = slice->sum;
    const float *now = rk_state(session, 0);
    float *next = rk_next_state(session, 0);

    for (uint64_t i = 0; i < slice->count; i++)
        next[slice->first + i] = now[slice->first + i] + sum[i];
    stage->updated += slice->count;
    if (slice->first + slice->count < COUNT / 2 - 16)
        return 0;
    for (uint64_t i = slice->first + slice->count; i < COUNT; i++)
        next[i] = now[i] + 3;
    arena_shared_commit(&stage->arena, 1);
    arena_complete(&stage->arena, 0);
    atomic_store(&stage->arena.header->agent[stage->block].freeze_word, SECOND);
    return 0;
}

static int train_fused(struct stage *stage, struct rk_session *session)
{
    float *gradient;
    uint64_t count = COUNT;
    uint64_t step;
    uint32_t number;
    int rc = rk_alloc(session, "g", RK_F32, COUNT, (void **)&gradient);

    if (rc == 0)
        rc = rk_alloc_state(session, "w", NULL, RK_F32, 1, &count, &number);
    if (rc == 0)
        rc = rk_restore(session, &step);
    if (rc == 0)
        rc = rk_fuse(session, update, stage);
    if (rc == 0)
        rc = rk_step_begin(session, &step);
    if (rc != 0 || rk_shard_next(session) != 0)
        return 1;
    for (uint64_t i = 0; i < COUNT; i++)
        gradient[i] = 1;
    rc = rk_shard_done(session);
    if (rc == 0)
        rc = rk_gradients_wait(session);
    if (rc == 0)
        rc = rk_step_end(session, &step);
    stage->gave = arena_snapshot_find(&stage->arena, 1) >= 0;
    return rc != 0 || step != 1 || ((const float *)rk_state(session, 0))[COUNT - 1] != 3;
}

static int add_sum(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    struct stage *stage = context;
    const float *sum = slice->sum;
    const float *now = rk_state(session, 0);
    float *next = rk_next_state(session, 0);

    for (uint64_t i = 0; i < slice->count; i++)
        next[slice->first + i] = now[slice->first + i] + sum[i];
    stage->updated += slice->count;
    return 0;
}

/* Waits for a sum over two hosts. */
static int train_carried(struct stage *stage, struct rk_session *session)
{
    float *gradient;
    uint64_t count = COUNT;
    uint64_t step;
    uint32_t number;
    int rc = rk_alloc(session, "g", RK_F32, COUNT, (void **)&gradient);

    if (rc == 0)
        rc = rk_alloc_state(session, "w", NULL, RK_F32, 1, &count, &number);
    if (rc == 0)
        rc = rk_restore(session, &step);
    if (rc == 0)
        rc = rk_fuse(session, add_sum, stage);
    if (rc == 0)
        rc = rk_step_begin(session, &step);
    do {
        while (rc >= 0 && rk_shard_next(session) >= 0) {
            for (uint64_t i = 0; i < COUNT; i++)
                gradient[i] = 1;
            rc = rk_shard_done(session);
        }
        rc = rc < 0 ? rc : rk_gradients_wait(session);
    } while (rc == RK_REFORMED);
    if (rc == 0)
        rc = rk_step_end(session, &step);
    for (uint64_t i = 0; rc == 0 && i < COUNT; i++)
        rc = ((const float *)rk_state(session, 0))[i] != 7;
    return rc;
}

/* Does its shard, and once more after the step was completed and frozen meanwhile: with a sum that
 * is complete, whoever needs no more of it has gone on. */
static int train_twice(struct stage *stage, struct rk_session *session)
{
    float *gradient;
    uint64_t step;
    int rc = rk_alloc(session, "g", RK_F32, COUNT, (void **)&gradient);

    if (rc == 0)
        rc = rk_restore(session, &step);
    if (rc == 0)
        rc = rk_step_begin(session, &step);
    for (int turn = 0; rc == 0 && turn < 2; turn++) {
        if (rk_shard_next(session) != 0)
            return 1;
        for (uint64_t i = 0; i < COUNT; i++)
            gradient[i] = 1;
        if (turn == 0) {
            for (uint64_t i = 0; i < COUNT; i++)
                arena_result(&stage->arena)[i] = 3;
            arena_complete(&stage->arena, 0);
            atomic_store(&stage->arena.header->agent[stage->block].freeze_word, SECOND);
        }
        rc = rk_ready(session, 0);
        if (rc == 0)
            rc = rk_shard_done(session);
        if (rc == 0)
            rc = rk_gradients_wait(session) == (turn == 0 ? RK_REFORMED : 0) ? 0 : 1;
    }
    for (uint64_t i = 0; rc == 0 && i < COUNT; i++)
        rc = ((const float *)rk_result(session, 0))[i] != 3;
    return rc != 0 ? rc : rk_step_end(session, &step);
}

static void *rank(void *argument)
{
    struct stage *stage = argument;
    struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = SHARDS};
    struct rk_session *session = NULL;

    stage->failed = rk_join(&options, &session);
    if (stage->failed == 0)
        stage->failed = stage->train(stage, session);
    if (stage->failed != 0 && session != NULL)
        fprintf(stderr, "rank: %s\n", rk_last_error(session));
    (void)rk_leave(session);
    return NULL;
}

/* ---- agent and coordinator ------------------------------------------------------------------- */

static void open_stage(struct stage *stage, int (*train)(struct stage *, struct rk_session *))
{
    struct rk_why why;
    int seat, other, block;

    *stage = (struct stage){.socket = -1, .train = train};
    strcpy(stage->directory, "/tmp/reknit-complete-XXXXXX");
    assert_non_null(mkdtemp(stage->directory));
    snprintf(stage->path, sizeof stage->path, "%s/agent", stage->directory);
    assert_int_equal(local_listen(stage->path, &stage->listener, &why), 0);
    assert_int_equal(arena_create(&stage->arena, (struct rk_host_id){5}, SHARDS, &why), 0);
    block = arena_agent_claim(&stage->arena, WORKER);
    seat = arena_seat_claim(&stage->arena, WORKER, 0, 0, false);
    other = arena_seat_claim(&stage->arena, WORKER, 1, 1, false);
    assert_true(block >= 0 && seat >= 0 && other >= 0);
    stage->block = (uint32_t)block;
    stage->seat = (uint32_t)seat;
    stage->other = (uint32_t)other;
    setenv("REKNIT_AGENT", stage->path, 1);
}

static void close_stage(struct stage *stage)
{
    unsetenv("REKNIT_AGENT");
    close(stage->socket);
    close(stage->listener);
    unlink(stage->path);
    rmdir(stage->directory);
    arena_close(&stage->arena);
}

static int hear(const struct stage *stage, enum local_kind kind, struct local_message *message)
{
    int fd;

    assert_int_equal(local_receive(stage->socket, message, &fd, WAIT_MS), 0);
    assert_int_equal(message->kind, kind);
    return fd;
}

/* From the rank's first word to its being ready for membership. */
static void take_in(struct stage *stage)
{
    struct local_message message;
    struct rk_why why = {""};
    struct rk_layout *layout;
    int fd;

    do
        stage->socket = accept(stage->listener, NULL, NULL);
    while (stage->socket < 0);
    (void)hear(stage, LOCAL_ATTACH, &message);
    message = (struct local_message){
        .kind = LOCAL_WELCOME, .seat = stage->seat, .agent_block = stage->block};
    assert_int_equal(local_send(stage->socket, &message, stage->arena.fd), 0);
    fd = hear(stage, LOCAL_DECLARE, &message);
    layout = malloc(message.a);
    assert_non_null(layout);
    assert_int_equal(pread(fd, layout, message.a, 0), (ssize_t)message.a);
    close(fd);
    assert_int_equal(arena_declare(&stage->arena, layout, &why), 0);
    free(layout);
    assert_int_equal(arena_seat_allocate(&stage->arena, stage->other, &why), 0);
    message = (struct local_message){.kind = LOCAL_DECLARED};
    assert_int_equal(local_send(stage->socket, &message, -1), 0);
    (void)hear(stage, LOCAL_ENTER, &message);
}

/* The other rank is ready with its shard; what lies there is all `value`. */
static void play_other(struct stage *stage, const struct arena_plan *plan, float value)
{
    struct arena_seat *seat = &stage->arena.header->seat[stage->other];
    struct arena_table table = {
        .lineage = plan->lineage, .count = 1, .node[0] = {.node = {.index = 1}}};
    float *sum = arena_buffer(&stage->arena, stage->other, 0);

    for (uint64_t i = 0; i < COUNT; i++)
        sum[i] = value;
    arena_announce(seat, arena_tick(plan->word, 0), &table);
    arena_ready(&stage->arena, seat, arena_tick(plan->word, 0));
}

static struct arena_plan plan_of(const struct stage *stage, rk_word word)
{
    return (struct arena_plan){
        .word = word,
        .lineage = word,
        .stop_at = ARENA_NO_STEP,
        .world = 2,
        .hosts = 1,
        .shards = SHARDS,
        .local_count = 1,
        .local = {{.seat = stage->seat}, {.seat = stage->other, .rank = 1, .index = 1}}};
}

static void start_step(struct stage *stage)
{
    struct arena_plan plan = plan_of(stage, FIRST);
    struct local_message message;

    atomic_store(&stage->arena.header->agent[stage->block].freeze_word, FIRST);
    arena_ring(&stage->arena);
    (void)hear(stage, LOCAL_ACK, &message);
    assert_int_equal(message.a, FIRST);
    atomic_store(&stage->arena.header->seat[stage->other].ack_position, ARENA_NO_STEP);
    plan.fresh = 1;
    plan.restart = 1;
    plan.local_count = 2;
    play_other(stage, &plan, 2);
    arena_go(&stage->arena, stage->block, &plan);
}

/* The first generation, up to where the rank has acknowledged the second. */
static void play_first(struct stage *stage, int (*train)(struct stage *, struct rk_session *),
                       pthread_t *thread)
{
    struct local_message message;

    open_stage(stage, train);
    assert_int_equal(pthread_create(thread, NULL, rank, stage), 0);
    take_in(stage);
    start_step(stage);
    (void)hear(stage, LOCAL_ACK, &message);
    assert_int_equal(message.a, SECOND);
}

/* The rank finishes the step and leaves, content. */
static void await_end(struct stage *stage, pthread_t thread)
{
    struct local_message message;

    (void)hear(stage, LOCAL_PROGRESS, &message);
    assert_int_equal(message.a, 1);
    (void)hear(stage, LOCAL_LEFT, &message);
    pthread_join(thread, NULL);
    assert_int_equal(stage->failed, 0);
}

static void a_complete_step_counts_though_its_sum_is_nowhere(void **state)
{
    struct stage stage;
    struct arena_report report;
    struct arena_plan first;
    struct arena_plan second;
    pthread_t thread;

    (void)state;
    play_first(&stage, train_fused, &thread);

    /* Nothing of step 0 can be given to anybody but the state after it. */
    assert_true(stage.updated < COUNT);
    assert_int_equal(atomic_load(&stage.arena.header->seat[stage.seat].ack_position), 1);
    first = plan_of(&stage, FIRST);
    arena_seat_ghost(&stage.arena, stage.other);
    arena_report_read(&stage.arena, WORKER, 0, &first, &report);
    assert_int_equal(report.deal_step, 1);
    assert_int_equal(report.complete_step, 1);

    /* A second host lacks the state, which is asked for where the rank said that it stands. */
    second = plan_of(&stage, SECOND);
    second.deal_step = 1;
    second.hosts = 2;
    second.give_state = 1;
    arena_go(&stage.arena, stage.block, &second);
    await_end(&stage, thread);
    assert_true(stage.gave);
    close_stage(&stage);
}

static void a_complete_result_is_not_made_again(void **state)
{
    struct stage stage;
    struct arena_plan second;
    pthread_t thread;

    (void)state;
    play_first(&stage, train_twice, &thread);
    assert_int_equal(atomic_load(&stage.arena.header->seat[stage.seat].ack_position), 0);

    /* The other saw the result and is in the next step: its part of the sum is overwritten. */
    second = plan_of(&stage, SECOND);
    second.local_count = 2;
    play_other(&stage, &second, 1000);
    arena_go(&stage.arena, stage.block, &second);
    await_end(&stage, thread);
    close_stage(&stage);
}

/* The carriers had brought the sum when the other host was lost, before a rank made state of it:
 * the only host left has the sum, and not its parts. */
static void a_sum_that_carriers_brought_stands(void **state)
{
    struct stage stage;
    struct local_message message;
    struct arena_plan plan;
    pthread_t thread;

    (void)state;
    open_stage(&stage, train_carried);
    assert_int_equal(pthread_create(&thread, NULL, rank, &stage), 0);
    take_in(&stage);
    atomic_store(&stage.arena.header->agent[stage.block].freeze_word, FIRST);
    arena_ring(&stage.arena);
    (void)hear(&stage, LOCAL_ACK, &message);
    plan = plan_of(&stage, FIRST);
    plan.hosts = 2;
    plan.fresh = plan.restart = 1;
    arena_go(&stage.arena, stage.block, &plan);

    /* it has done its shard and waits */
    while (atomic_load(&stage.arena.header->seat[stage.seat].ready) != arena_tick(FIRST, 0))
        sched_yield();
    atomic_store(&stage.arena.header->agent[stage.block].freeze_word, SECOND);
    arena_ring(&stage.arena);
    (void)hear(&stage, LOCAL_ACK, &message);
    assert_int_equal(atomic_load(&stage.arena.header->seat[stage.seat].ack_position), 0);
    for (uint64_t i = 0; i < COUNT; i++)
        arena_result(&stage.arena)[i] = 7;
    arena_complete(&stage.arena, 0);

    plan = plan_of(&stage, SECOND);
    plan.world = 1;
    arena_go(&stage.arena, stage.block, &plan);
    await_end(&stage, thread);
    assert_int_equal(stage.updated, COUNT);
    close_stage(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_complete_step_counts_though_its_sum_is_nowhere),
        cmocka_unit_test(a_complete_result_is_not_made_again),
        cmocka_unit_test(a_sum_that_carriers_brought_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
