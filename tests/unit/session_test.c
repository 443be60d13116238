/* The public calls in a world of one: order, bad arguments, samples and random numbers. */
#include "worker/reknit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rk_session *join(uint64_t batch, uint32_t shards)
{
    struct rk_options options = {
        .struct_size = sizeof options, .seed = 42, .batch = batch, .shards = shards};
    struct rk_session *session = NULL;

    unsetenv("REKNIT_AGENT");
    assert_int_equal(rk_join(&options, &session), 0);
    return session;
}

static void bad_options_are_refused(void **state)
{
    struct rk_options good = {.struct_size = sizeof good, .batch = 4};
    struct rk_options options;
    struct rk_session *session = NULL;

    (void)state;
    unsetenv("REKNIT_AGENT");
    assert_int_equal(rk_join(NULL, &session), RK_EINVAL);
    options = good;
    options.struct_size = 3;
    assert_int_equal(rk_join(&options, &session), RK_EINVAL);
    options = good;
    options.batch = 0;
    assert_int_equal(rk_join(&options, &session), RK_EINVAL);
    options = good;
    options.shards = 12;
    assert_int_equal(rk_join(&options, &session), RK_EINVAL);
    setenv("REKNIT_AGENT", "/nonexistent/agent", 1);
    assert_int_equal(rk_join(&good, &session), RK_EAGENT);
    assert_null(session);
    unsetenv("REKNIT_AGENT");
}

static void calls_out_of_order_are_refused(void **state)
{
    struct rk_session *session = join(8, 4);
    float weights[3] = {0}, grads[3] = {0};
    uint64_t step;

    (void)state;
    assert_int_equal(rk_register_state(session, "w", weights, RK_F32, 1, (uint64_t[]){3}), 0);
    assert_int_equal(rk_register_gradient(session, "w", grads, 3), 0);
    assert_int_equal(rk_register_gradient(session, "null", NULL, 3), RK_EINVAL);
    assert_int_equal(rk_step_begin(session, &step), RK_ESTATE);
    rk_leave(session);

    session = join(8, 4);
    assert_int_equal(rk_register_gradient(session, "w", grads, 3), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(step, 0);
    assert_int_equal(rk_restore(session, &step), RK_ESTATE);
    assert_int_equal(rk_register_state(session, "late", weights, RK_F32, 1, (uint64_t[]){3}),
                     RK_ESTATE);
    assert_true(rk_shard_next(session) < -1);
    assert_int_equal(rk_step_end(session, &step), RK_ESTATE);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), RK_ESTATE);
    assert_int_equal(rk_shard_done(session), RK_ESTATE);
    assert_int_equal(rk_shard_next(session), 0);
    assert_true(rk_shard_next(session) < -1);
    assert_int_equal(rk_gradients_wait(session), RK_ESTATE);
    assert_non_null(strstr(rk_last_error(session), "shard 0"));
    assert_int_equal(rk_leave(session), 0);
    assert_int_equal(rk_leave(NULL), 0);
}

/* Asked for and never touched: more elements than 32 bits count, and more than any machine has. */
static void what_does_not_fit_is_named(void **state)
{
    static float small[1];
    const uint64_t counts[] = {UINT64_C(1) << 39, UINT64_C(1) << 52};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rk_session *session = join(8, 4);
        uint64_t step;

        assert_int_equal(rk_register_gradient(session, "small", small, 1), 0);
        assert_int_equal(rk_register_gradient(session, "huge", small, counts[i]), 0);
        assert_int_equal(rk_restore(session, &step), RK_ENOMEM);
        assert_non_null(strstr(rk_last_error(session), "rank 0"));
        assert_non_null(strstr(rk_last_error(session), "huge"));
        rk_leave(session);
    }
}

static void a_tensor_may_be_empty(void **state)
{
    struct rk_session *session = join(8, 4);
    float grads[3] = {0};
    void *none;
    uint64_t step;

    (void)state;
    assert_int_equal(rk_register_state(session, "none", NULL, RK_F32, 2, (uint64_t[]){0, 7}), 0);
    assert_int_equal(rk_register_gradient(session, "none", NULL, 0), 0);
    assert_int_equal(rk_alloc(session, "nothing", RK_F64, 0, &none), 0);
    assert_int_equal(rk_register_gradient(session, "g", grads, 3), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    while (rk_shard_next(session) >= 0) {
        grads[0] = grads[1] = grads[2] = 2;
        assert_int_equal(rk_ready(session, 0), 0);
        assert_int_equal(rk_ready(session, 2), 0);
        assert_int_equal(rk_shard_done(session), 0);
    }
    assert_int_equal(rk_gradients_wait(session), 0);
    assert_true(grads[2] == 4 * 2);
    assert_int_equal(rk_step_end(session, &step), 0);
    assert_int_equal(rk_leave(session), 0);
}

static void a_world_of_one_sums_all_shards(void **state)
{
    struct rk_session *session = join(8, 16);
    float grads[100];
    uint64_t step;
    int64_t shard;

    (void)state;
    assert_int_equal(rk_register_gradient(session, "g", grads, 100), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    for (uint64_t s = 0; s < 3; s++) {
        uint32_t seen = 0;

        assert_int_equal(rk_step_begin(session, &step), 0);
        while ((shard = rk_shard_next(session)) >= 0) {
            seen |= 1u << shard;
            for (int i = 0; i < 100; i++)
                grads[i] = (float)(shard * 100 + i);
            assert_int_equal(rk_shard_done(session), 0);
        }
        assert_int_equal(seen, 0xffff);
        assert_int_equal(rk_gradients_wait(session), 0);
        for (int i = 0; i < 100; i++)
            assert_true(grads[i] == (float)(12000 + 16 * i));
        assert_int_equal(rk_report(session, "loss", 1.5), 0);
        assert_int_equal(rk_step_end(session, &step), 0);
        assert_int_equal(step, s + 1);
    }
    assert_int_equal(rk_world_size(session), 1);
    assert_int_equal(rk_is_first(session), 1);
    assert_int_equal(rk_leave(session), 0);
}

static void every_sample_is_in_one_shard(void **state)
{
    (void)state;
    for (uint64_t batch = 1; batch < 40; batch += 3) {
        struct rk_session *session = join(batch, 16);
        uint64_t next = 0;

        for (uint64_t shard = 0; shard < 16; shard++) {
            uint64_t first, count;

            rk_shard_samples(session, shard, &first, &count);
            assert_int_equal(first, next);
            assert_in_range(count, batch / 16, batch / 16 + 1);
            next = first + count;
        }
        assert_int_equal(next, batch);
        rk_leave(session);
    }
}

static void each_pass_visits_each_sample_once(void **state)
{
    struct rk_session *session = join(7, 8);
    enum { SIZE = 1001 };
    static unsigned char order[2][SIZE];
    uint32_t moved = 0;

    (void)state;
    for (uint64_t at = 0; at < 2 * SIZE; at++) {
        uint64_t sample = rk_sample(session, at / 7, at % 7, SIZE);

        assert_true(sample < SIZE);
        assert_int_equal(order[at / SIZE][sample], 0);
        order[at / SIZE][sample] = 1;
        moved += sample != at % SIZE;
    }
    assert_true(moved > SIZE);
    assert_int_equal(rk_sample(session, 9, 3, 1), 0);
    rk_leave(session);
}

static void random_numbers_depend_on_each_argument(void **state)
{
    struct rk_session *session = join(7, 8);
    uint64_t base = rk_random(session, 1, 2, 3);

    (void)state;
    assert_true(base == rk_random(session, 1, 2, 3));
    assert_true(base != rk_random(session, 2, 2, 3));
    assert_true(base != rk_random(session, 1, 3, 3));
    assert_true(base != rk_random(session, 1, 2, 4));
    assert_true(base != rk_random(session, 1, 2, 3 + (UINT64_C(1) << 32)));
    rk_leave(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(a_tensor_may_be_empty),
        cmocka_unit_test(a_world_of_one_sums_all_shards),
        cmocka_unit_test(every_sample_is_in_one_shard),
        cmocka_unit_test(each_pass_visits_each_sample_once),
        cmocka_unit_test(random_numbers_depend_on_each_argument),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
