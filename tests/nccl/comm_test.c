/* Communicators formed, lost and formed again, against the double of NCCL, ranks as processes. */
#include "tests/nccl/ranks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *folder;
static struct ranks ranks;

#define NO_LOSS (-1)

/* ---- what goes well -------------------------------------------------------------------------- */

static void reduce_often(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, rank);

    ranks_form(comm, 1, rank, 3, &all->shared->id[0], NO_LOSS, 0);
    CHECK(comm_state(comm) == COMM_READY);
    for (size_t n = 0; n < 100; n++)
        ranks_reduce(comm, 1, rank, 3, 1 + n * 50);
    comm_free(comm);
}

static void three_ranks_reduce(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 3, reduce_often);
    ranks_finish(&ranks);
}

/* More operations than fit, before any can end, since the others post nothing. */
static void post_too_many(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, 0);
    float value = 1;
    float sum[COMM_MAX_OPS];
    uint64_t ticket = 0;

    ranks_form(comm, 1, rank, 2, &all->shared->id[0], NO_LOSS, 0);
    if (rank == 1)
        ranks_gate(all, 1);
    for (int o = 0; o < COMM_MAX_OPS; o++) {
        struct comm_op op = {.kind = COMM_ALL_REDUCE,
                             .type = ncclFloat32,
                             .count = 1,
                             .send = &value,
                             .recv = &sum[o]};

        CHECK(comm_post(comm, 1, &op, &ticket, NULL) == 0);
        CHECK(ticket == (uint64_t)o);
        if (rank == 0 && o == COMM_MAX_OPS - 1) {
            CHECK(comm_post(comm, 1, &op, &ticket, NULL) == RK_EFULL);
            ranks_reach(all, rank, 1);
        }
    }
    CHECK(comm_wait(comm, 1, COMM_MAX_OPS - 1, NULL) == 0);
    for (int o = 0; o < COMM_MAX_OPS; o++)
        CHECK(sum[o] == 2.0f);
    comm_free(comm);
}

static void a_full_queue_is_told(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 2, post_too_many);
    ranks_await(&ranks, 0, 1);
    atomic_store(&ranks.shared->gate, 1);
    ranks_finish(&ranks);
}

/* ---- a peer that dies ------------------------------------------------------------------------ */

/* Rank 1 of 3 dies while the others wait for it in an all-reduce.  They come out when the word
 * moves, acknowledge, and form the next generation when all have. */
static struct comm *lose_rank_1(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, rank);
    static float value = 1; /* the GPU may use them for longer than this function lasts */
    static float sum = 7;
    struct comm_op op = {
        .kind = COMM_ALL_REDUCE, .type = ncclFloat32, .count = 1, .send = &value, .recv = &sum};
    uint64_t ticket = 0;

    ranks_form(comm, 1, rank, 3, &all->shared->id[0], NO_LOSS, 0);
    ranks_reduce(comm, 1, rank, 3, 100);
    if (rank == 1) {
        ranks_reach(all, rank, 1);
        ranks_gate(all, 99);
    }
    CHECK(comm_post(comm, 1, &op, &ticket, NULL) == 0);
    ranks_reach(all, rank, 1);
    CHECK(comm_wait(comm, 1, ticket, NULL) == RK_ESTALE);
    CHECK(comm_post(comm, 1, &op, &ticket, NULL) == RK_ESTALE);
    CHECK(sum == 7); /* work is not stopped before all know */
    CHECK(comm_state(comm) == COMM_READY);
    ranks_reach(all, rank, 2);
    ranks_gate(all, 2);
    return comm;
}

static void shrink_in_place(struct ranks *all, int rank)
{
    struct comm *comm = lose_rank_1(all, rank);

    ranks_form(comm, 2, rank / 2, 2, NULL, 1, 0);
    for (int n = 0; n < 20; n++)
        ranks_reduce(comm, 2, rank / 2, 2, 1000);
    comm_free(comm);
}

static void shrink_fails(struct ranks *all, int rank)
{
    struct comm *comm = lose_rank_1(all, rank);

    ranks_form(comm, 2, rank / 2, 2, NULL, 1, RK_ETRANSPORT);
    CHECK(comm_state(comm) == COMM_ABSENT);
    ranks_reach(all, rank, 3);
    ranks_gate(all, 3);
    ranks_form(comm, 3, rank / 2, 2, &all->shared->id[1], NO_LOSS, 0);
    ranks_reduce(comm, 3, rank / 2, 2, 1000);
    comm_free(comm);
}

static void kill_rank_1(const char *nccl, ranks_program *program)
{
    ranks_open(&ranks, folder, nccl);
    ranks_start(&ranks, 3, program);
    for (int r = 0; r < 3; r++)
        ranks_await(&ranks, r, 1);
    ranks_kill(&ranks, 1);
    atomic_store(&ranks.shared->word, 2);
    ranks_await(&ranks, 0, 2);
    ranks_await(&ranks, 2, 2);
    atomic_store(&ranks.shared->gate, 2);
}

static void kill_rank_1_and_fail_to_shrink(const char *nccl)
{
    kill_rank_1(nccl, shrink_fails);
    ranks_await(&ranks, 0, 3);
    ranks_await(&ranks, 2, 3);
    atomic_store(&ranks.shared->word, 3);
    atomic_store(&ranks.shared->gate, 3);
    ranks_finish(&ranks);
}

static void survivors_shrink(void **state)
{
    (void)state;
    kill_rank_1("nccl-double", shrink_in_place);
    ranks_finish(&ranks);
}

static void survivors_shrink_without_revoke(void **state)
{
    (void)state;
    kill_rank_1("nccl-double-no-revoke", shrink_in_place);
    ranks_finish(&ranks);
}

static void survivors_without_shrink_take_a_new_id(void **state)
{
    (void)state;
    kill_rank_1_and_fail_to_shrink("nccl-double-no-shrink");
}

static void a_shrink_that_fails_leaves_a_new_id(void **state)
{
    (void)state;
    setenv("NCCL_DOUBLE_SHRINK", "fail", 1);
    kill_rank_1_and_fail_to_shrink("nccl-double");
    setenv("NCCL_DOUBLE_SHRINK", "late", 1);
    kill_rank_1_and_fail_to_shrink("nccl-double");
    unsetenv("NCCL_DOUBLE_SHRINK");
}

static void a_revoke_that_fails_leaves_a_new_id(void **state)
{
    (void)state;
    setenv("NCCL_DOUBLE_REVOKE", "fail", 1);
    kill_rank_1_and_fail_to_shrink("nccl-double");
    unsetenv("NCCL_DOUBLE_REVOKE");
}

/* ---- what hangs ------------------------------------------------------------------------------ */

static struct comm *comm_with_limits(struct ranks *all, uint64_t form_limit, uint64_t call_limit,
                                     void (*stuck)(void *, const struct rk_why *), void *context)
{
    struct comm_options options = {.api = &all->api,
                                   .word = &all->shared->word,
                                   .form_limit = form_limit,
                                   .call_limit = call_limit,
                                   .stuck = stuck,
                                   .context = context};
    struct comm *comm = NULL;

    CHECK(comm_new(&options, &comm, NULL) == 0);
    return comm;
}

/* The other rank never comes: the limit ends the wait.  Then the generation's end does. */
static void wait_alone(struct ranks *all, int rank)
{
    struct comm *comm = comm_with_limits(all, 50 * RK_MS, 40 * RK_S, NULL, NULL);
    struct comm_membership to = {.word = 2, .rank = 0, .world = 2, .id = &all->shared->id[1]};

    ranks_form(comm, 1, 0, 2, &all->shared->id[0], NO_LOSS, RK_ETRANSPORT);
    CHECK(comm_state(comm) == COMM_ABSENT);
    comm_free(comm);
    comm = comm_with_limits(all, 40 * RK_S, 40 * RK_S, NULL, NULL);
    atomic_store(&all->shared->word, 2);
    CHECK(comm_form(comm, &to, NULL) == 0);
    ranks_reach(all, rank, 1);
    CHECK(comm_formed(comm, 2, NULL) == RK_ESTALE);
    ranks_form(comm, 3, 0, 1, &all->shared->id[2], NO_LOSS, 0);
    ranks_reduce(comm, 3, 0, 1, 10);
    comm_free(comm);
}

static void an_init_that_hangs_ends(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 1, wait_alone);
    ranks_await(&ranks, 0, 1);
    atomic_store(&ranks.shared->word, 3);
    ranks_finish(&ranks);
}

static void shrink_wrongly(struct ranks *all, int rank)
{
    struct comm *comm = comm_with_limits(all, 4 * RK_S, 40 * RK_S, NULL, NULL);

    ranks_form(comm, 1, rank, 1, &all->shared->id[0], NO_LOSS, 0);
    atomic_store(&all->shared->word, 2);
    ranks_form(comm, 2, 0, 1, NULL, 0, RK_ETRANSPORT); /* 1 without 1 lost is not 1 */
    atomic_store(&all->shared->word, 3);
    ranks_form(comm, 3, 0, 1, &all->shared->id[1], NO_LOSS, 0);
    comm_free(comm);
}

static void a_shrink_of_the_wrong_size_is_refused(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 1, shrink_wrongly);
    ranks_finish(&ranks);
}

/* Two ranks; the second is lost, and what stops or shrinks the first stays in progress. */
static void hang_in_shrink(struct ranks *all, int rank)
{
    struct comm *comm = comm_with_limits(all, 4 * RK_S, 40 * RK_S, NULL, NULL);

    ranks_form(comm, 1, rank, 2, &all->shared->id[0], NO_LOSS, 0);
    ranks_reach(all, rank, 1);
    ranks_gate(all, rank == 0 ? 1 : 99);
    ranks_form(comm, 2, 0, 1, NULL, 1, RK_ETRANSPORT);
    CHECK(comm_state(comm) == COMM_ABSENT);
    atomic_store(&all->shared->word, 3);
    ranks_form(comm, 3, 0, 1, &all->shared->id[1], NO_LOSS, 0);
    ranks_reduce(comm, 3, 0, 1, 10);
    comm_free(comm);
}

static void lose_rank_1_of_2(ranks_program *program)
{
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 2, program);
    ranks_await(&ranks, 0, 1);
    ranks_await(&ranks, 1, 1);
    ranks_kill(&ranks, 1);
    atomic_store(&ranks.shared->word, 2);
    atomic_store(&ranks.shared->gate, 1);
}

static void what_stays_in_progress_meets_its_limit(void **state)
{
    (void)state;
    setenv("NCCL_DOUBLE_SHRINK", "hang", 1);
    lose_rank_1_of_2(hang_in_shrink);
    ranks_finish(&ranks);
    unsetenv("NCCL_DOUBLE_SHRINK");
    setenv("NCCL_DOUBLE_REVOKE", "hang", 1);
    lose_rank_1_of_2(hang_in_shrink);
    ranks_finish(&ranks);
    unsetenv("NCCL_DOUBLE_REVOKE");
}

static void note_stuck(void *context, const struct rk_why *why)
{
    CHECK(strstr(why->text, "ncclCommAbort") != NULL);
    atomic_fetch_add((_Atomic int *)context, 1);
}

/* The abort of the old communicator never comes back. */
static void hang_in_abort(struct ranks *all, int rank)
{
    _Atomic int *count = calloc(1, sizeof *count); /* the watchdog's, for as long as it lives */
    struct comm *comm = comm_with_limits(all, 40 * RK_S, 3 * RK_S, note_stuck, count);
    struct comm_membership again = {.word = 3, .rank = 0, .world = 1, .id = &all->shared->id[1]};

    ranks_form(comm, 1, rank, 2, &all->shared->id[0], NO_LOSS, 0);
    ranks_reach(all, rank, 1);
    ranks_gate(all, rank == 0 ? 1 : 99);
    ranks_form(comm, 2, 0, 1, NULL, 1, RK_ETRANSPORT);
    CHECK(comm_state(comm) == COMM_STUCK);
    atomic_store(&all->shared->word, 3);
    CHECK(comm_form(comm, &again, NULL) == 0);
    CHECK(comm_formed(comm, 3, NULL) == RK_ETRANSPORT);
    comm_free(comm);
    CHECK(atomic_load(count) == 1);
}

static void an_abort_that_hangs_is_seen(void **state)
{
    (void)state;
    setenv("NCCL_DOUBLE_ABORT", "block", 1);
    lose_rank_1_of_2(hang_in_abort);
    ranks_finish(&ranks);
    unsetenv("NCCL_DOUBLE_ABORT");
}

/* ---- ids and errors -------------------------------------------------------------------------- */

static void use_old_ids(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, rank);
    struct comm_membership stale = {.word = 1, .rank = 0, .world = 1, .id = &all->shared->id[1]};
    struct comm_membership wrong = {.word = 9, .rank = 2, .world = 2, .id = &all->shared->id[1]};

    ranks_form(comm, 1, rank, 1, &all->shared->id[0], NO_LOSS, 0);
    CHECK(comm_form(comm, &stale, NULL) == RK_ESTALE);
    CHECK(comm_form(comm, &wrong, NULL) == RK_EINVAL);
    ranks_reduce(comm, 1, 0, 1, 10);
    atomic_store(&all->shared->word, 2);
    ranks_form(comm, 2, 0, 1, &all->shared->id[0], NO_LOSS, RK_ETRANSPORT);
    atomic_store(&all->shared->word, 3);
    ranks_form(comm, 3, 0, 1, NULL, 0, RK_ETRANSPORT); /* nothing is left to shrink */
    atomic_store(&all->shared->word, 4);
    ranks_form(comm, 4, 0, 1, &all->shared->id[1], NO_LOSS, 0);
    ranks_reduce(comm, 4, 0, 1, 10);
    comm_free(comm);
}

static void an_id_of_an_old_generation_is_refused(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 1, use_old_ids);
    ranks_finish(&ranks);
}

static void meet_an_error(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, rank);
    float value = 1;
    float sum = 0;
    struct comm_op op = {
        .kind = COMM_ALL_REDUCE, .type = ncclFloat32, .count = 1, .send = &value, .recv = &sum};
    uint64_t ticket = 0;
    struct rk_why why;

    CHECK(comm_post(comm, 1, &op, &ticket, NULL) != 0);
    ranks_form(comm, 1, rank, 1, &all->shared->id[0], NO_LOSS, 0);
    CHECK(comm_post(comm, 1, &op, &ticket, NULL) == 0);
    CHECK(comm_wait(comm, 1, ticket, &why) == RK_ETRANSPORT);
    CHECK(strstr(why.text, "rank 0 of 1: ") != NULL || strstr(why.text, "GPU 0: ") != NULL);
    CHECK(comm_post(comm, 1, &op, &ticket, NULL) == RK_ETRANSPORT);
    unsetenv("NCCL_DOUBLE_OP");
    unsetenv("CUDA_DOUBLE_FAIL");
    atomic_store(&all->shared->word, 2);
    ranks_form(comm, 2, 0, 1, &all->shared->id[1], NO_LOSS, 0);
    ranks_reduce(comm, 2, 0, 1, 10);
    comm_free(comm);
}

static void an_error_in_an_operation_ends_the_wait(void **state)
{
    static const char *const cuda[] = {"cudaEventRecord", "cudaEventQuery"};

    (void)state;
    setenv("NCCL_DOUBLE_OP", "fail", 1);
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 1, meet_an_error);
    ranks_finish(&ranks);
    unsetenv("NCCL_DOUBLE_OP");
    for (int c = 0; c < 2; c++) {
        setenv("CUDA_DOUBLE_FAIL", cuda[c], 1);
        ranks_open(&ranks, folder, "nccl-double");
        ranks_start(&ranks, 1, meet_an_error);
        ranks_finish(&ranks);
    }
    unsetenv("CUDA_DOUBLE_FAIL");
}

/* Rank 2 comes later: the two that are there drop their communicator and all three take a new id.
 */
static void grow(struct ranks *all, int rank)
{
    struct comm *comm = ranks_comm(all, rank);

    if (rank < 2) {
        ranks_form(comm, 1, rank, 2, &all->shared->id[0], NO_LOSS, 0);
        ranks_reduce(comm, 1, rank, 2, 100);
    }
    ranks_reach(all, rank, 1);
    ranks_gate(all, 1);
    ranks_form(comm, 2, rank, 3, &all->shared->id[1], NO_LOSS, 0);
    ranks_reduce(comm, 2, rank, 3, 100);
    comm_free(comm);
}

static void a_replacement_is_taken_in(void **state)
{
    (void)state;
    ranks_open(&ranks, folder, "nccl-double");
    ranks_start(&ranks, 3, grow);
    for (int r = 0; r < 3; r++)
        ranks_await(&ranks, r, 1);
    atomic_store(&ranks.shared->word, 2);
    atomic_store(&ranks.shared->gate, 1);
    ranks_finish(&ranks);
}

/* A test that failed leaves nothing for the next. */
static int tell_nothing(void **state)
{
    static const char *const names[] = {"NCCL_DOUBLE_INIT",  "NCCL_DOUBLE_REVOKE",
                                        "NCCL_DOUBLE_ABORT", "NCCL_DOUBLE_SHRINK",
                                        "NCCL_DOUBLE_OP",    "CUDA_DOUBLE_FAIL"};

    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        unsetenv(names[n]);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(three_ranks_reduce, tell_nothing),
        cmocka_unit_test_setup(a_full_queue_is_told, tell_nothing),
        cmocka_unit_test_setup(survivors_shrink, tell_nothing),
        cmocka_unit_test_setup(survivors_shrink_without_revoke, tell_nothing),
        cmocka_unit_test_setup(survivors_without_shrink_take_a_new_id, tell_nothing),
        cmocka_unit_test_setup(a_shrink_that_fails_leaves_a_new_id, tell_nothing),
        cmocka_unit_test_setup(a_revoke_that_fails_leaves_a_new_id, tell_nothing),
        cmocka_unit_test_setup(an_init_that_hangs_ends, tell_nothing),
        cmocka_unit_test_setup(a_shrink_of_the_wrong_size_is_refused, tell_nothing),
        cmocka_unit_test_setup(what_stays_in_progress_meets_its_limit, tell_nothing),
        cmocka_unit_test_setup(an_abort_that_hangs_is_seen, tell_nothing),
        cmocka_unit_test_setup(an_id_of_an_old_generation_is_refused, tell_nothing),
        cmocka_unit_test_setup(an_error_in_an_operation_ends_the_wait, tell_nothing),
        cmocka_unit_test_setup(a_replacement_is_taken_in, tell_nothing),
    };

    folder = argc > 1 ? argv[1] : ".";
    return cmocka_run_group_tests_name("nccl_comm", tests, NULL, NULL);
}
