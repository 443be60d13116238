/* Gradients of all kinds in a world of one: types, averages and weights, readiness, fused updates,
 * and what is refused. */
#include "worker/reknit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHARDS 8
#define COUNT 5000

static struct rk_session *join(enum rk_reduce reduce)
{
    struct rk_options options = {.struct_size = sizeof options,
                                 .seed = 42,
                                 .batch = SHARDS,
                                 .shards = SHARDS,
                                 .reduce = reduce,
                                 .bucket_bytes = 4096};
    struct rk_session *session = NULL;

    unsetenv("REKNIT_AGENT");
    assert_int_equal(rk_join(&options, &session), 0);
    return session;
}

static float value(int64_t shard, uint64_t i)
{
    return (float)((shard * 37 + (int64_t)i * 11) % 64) - 31.5f;
}

static double sum_of(uint64_t i)
{
    double sum = 0;

    for (int64_t shard = 0; shard < SHARDS; shard++)
        sum += (double)value(shard, i);
    return sum;
}

/* bfloat16 and half of numbers that both have exactly. */
static uint16_t to_bf16(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static float from_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static void each_type_is_summed(void **state)
{
    struct rk_session *session = join(RK_AVERAGE);
    static float own[COUNT];
    static double wide[COUNT];
    static uint16_t bf16[COUNT];
    float *leaf;
    double *wide_leaf;
    uint64_t step;
    int64_t shard;

    (void)state;
    assert_int_equal(rk_register_gradient(session, "own", own, COUNT), 0);
    assert_int_equal(rk_register_gradient_as(session, "wide", wide, RK_F64, COUNT), 0);
    assert_int_equal(rk_register_gradient_as(session, "bf16", bf16, RK_BF16, COUNT), 0);
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, COUNT, (void **)&leaf), 0);
    assert_int_equal(rk_alloc(session, "wide leaf", RK_F64, COUNT, (void **)&wide_leaf), RK_EINVAL);
    assert_int_equal(rk_alloc(session, "wide.leaf", RK_F64, COUNT, (void **)&wide_leaf), 0);
    assert_int_equal((uintptr_t)leaf % 64, 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_true(leaf[0] == 0.0f && leaf[COUNT - 1] == 0.0f && wide_leaf[COUNT - 1] == 0.0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(rk_step_begin(session, &step), 0);
        while ((shard = rk_shard_next(session)) >= 0) {
            for (uint64_t i = 0; i < COUNT; i++) {
                own[i] = leaf[i] = value(shard, i);
                wide[i] = wide_leaf[i] = (double)value(shard, i) * 1e-9;
                bf16[i] = to_bf16(ldexpf(value(shard, i) + 0.5f, -2));
            }
            assert_int_equal(rk_shard_done(session), 0);
        }
        assert_int_equal(rk_gradients_wait(session), 0);
        assert_true(rk_result_scale(session) == 1.0 / SHARDS);
        assert_ptr_equal(rk_result(session, 0), own);
        for (uint64_t i = 0; i < COUNT; i++) {
            assert_true(own[i] == (float)(sum_of(i) / SHARDS));
            assert_true(((const float *)rk_result(session, 3))[i] == (float)sum_of(i));
            assert_true(fabs(wide[i] - sum_of(i) / SHARDS * 1e-9) < 1e-22);
            assert_true(fabs(((const double *)rk_result(session, 4))[i] - sum_of(i) * 1e-9) <
                        1e-21);
            assert_true(fabs((double)from_bf16(bf16[i]) - (sum_of(i) / SHARDS + 0.5) / 4) < 0.05);
        }
        assert_int_equal(rk_step_end(session, &step), 0);
    }
    assert_int_equal(rk_leave(session), 0);
}

static void weights_count(void **state)
{
    struct rk_session *session = join(RK_WEIGHTED);
    static float own[COUNT];
    float *leaf;
    uint64_t step;
    int64_t shard;

    (void)state;
    assert_int_equal(rk_register_gradient(session, "own", own, COUNT), 0);
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, COUNT, (void **)&leaf), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_int_equal(rk_shard_weight(session, 2), RK_ESTATE);
    while ((shard = rk_shard_next(session)) >= 0) {
        for (uint64_t i = 0; i < COUNT; i++)
            own[i] = leaf[i] = (float)shard;
        assert_int_equal(rk_shard_weight(session, -1), RK_EINVAL);
        assert_int_equal(rk_shard_weight(session, NAN), RK_EINVAL);
        if (shard != 0)
            assert_int_equal(rk_shard_weight(session, (double)shard), 0);
        assert_int_equal(rk_shard_done(session), 0);
    }
    assert_int_equal(rk_gradients_wait(session), 0);
    /* weights 1, 1, 2, .. 7; values 0, 1, 2, .. 7 */
    assert_true(rk_result_scale(session) == 1.0 / 29);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(own[i] == 140.0f * (float)(1.0 / 29));
        assert_true(((const float *)rk_result(session, 1))[i] == 140.0f);
    }
    assert_int_equal(rk_step_end(session, &step), 0);
    assert_int_equal(rk_leave(session), 0);
}

static void what_is_ready_is_said_once(void **state)
{
    struct rk_session *session = join(RK_SUM);
    float *leaf, *other;
    uint64_t step;

    (void)state;
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, COUNT, (void **)&leaf), 0);
    assert_int_equal(rk_alloc(session, "other", RK_F32, 10, (void **)&other), 0);
    assert_int_equal(rk_alloc(session, "empty", RK_F32, 0, (void **)&other), 0);
    assert_int_equal(rk_alloc(session, "i32", RK_I32, 10, (void **)&other), RK_EINVAL);
    assert_int_equal(rk_alloc(session, "bf16", RK_BF16, 10, (void **)&other), RK_EINVAL);
    assert_int_equal(rk_register_gradient_as(session, "i64", &step, RK_I64, 1), RK_EINVAL);
    assert_non_null(strstr(rk_last_error(session), "i64"));
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, 10, (void **)&other), RK_EEXIST);
    assert_int_equal(rk_alloc(session, "huge", RK_F32, UINT64_C(1) << 40, (void **)&other),
                     RK_ENOMEM);
    assert_non_null(strstr(rk_last_error(session), "huge"));
    rk_leave(session);

    session = join(RK_SUM);
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, COUNT, (void **)&leaf), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_ready(session, 0), RK_ESTATE);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_true(rk_shard_next(session) == 0);
    assert_int_equal(rk_ready_range(session, 0, 100, 2000), 0);
    assert_int_equal(rk_ready_range(session, 0, 0, 100), 0);
    assert_int_equal(rk_shard_done(session), 0);
    assert_true(rk_shard_next(session) == 1);
    assert_int_equal(rk_unused(session, 0), 0);
    assert_int_equal(rk_ready(session, 0), RK_ESTATE);
    assert_int_equal(rk_shard_done(session), RK_ESTATE);
    assert_non_null(strstr(rk_last_error(session), "shard 1"));
    rk_leave(session);

    session = join(RK_SUM);
    assert_int_equal(rk_alloc(session, "leaf", RK_F32, COUNT, (void **)&leaf), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_true(rk_shard_next(session) == 0);
    assert_int_equal(rk_ready(session, 1), RK_EINVAL);
    assert_int_equal(rk_shard_done(session), RK_ESTATE);
    rk_leave(session);
}

static void what_is_not_finite_is_named(void **state)
{
    static float own[COUNT];
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct rk_options options = {
        .struct_size = sizeof options, .batch = 1, .shards = 2, .check_finite = 1};
    uint64_t step;

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct rk_session *session = NULL;
        float *leaf;

        assert_int_equal(rk_join(&options, &session), 0);
        assert_int_equal(rk_register_gradient(session, "fine", own, COUNT), 0);
        assert_int_equal(rk_alloc(session, "bad.one", RK_F32, COUNT, (void **)&leaf), 0);
        assert_int_equal(rk_restore(session, &step), 0);
        assert_int_equal(rk_step_begin(session, &step), 0);
        assert_true(rk_shard_next(session) == 0);
        assert_int_equal(rk_shard_done(session), 0);
        assert_true(rk_shard_next(session) == 1);
        leaf[4321] = bad[round % 3];
        if (round < 3)
            assert_int_equal(rk_ready(session, 1), 0);
        assert_int_equal(rk_shard_done(session), RK_ENOTFINITE);
        assert_non_null(strstr(rk_last_error(session), "rank 0, step 0, shard 1"));
        assert_non_null(strstr(rk_last_error(session), "element 4321 of gradient bad.one"));
        rk_leave(session);
    }
}

/* ---- fused ----------------------------------------------------------------------------------- */

static int refuse(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    (void)context;
    (void)session;
    (void)slice;
    return 7;
}

static void updates_are_asked_for_properly(void **state)
{
    struct rk_session *session = join(RK_SUM);
    uint32_t number = 9;
    float *leaf;
    uint64_t step;

    (void)state;
    assert_int_equal(rk_alloc(session, "g", RK_F32, 10, (void **)&leaf), 0);
    assert_int_equal(rk_alloc_state(session, "w", NULL, RK_F32, 1, (uint64_t[]){9}, &number), 0);
    assert_int_equal(number, 0);
    assert_int_equal(rk_fuse(session, refuse, NULL), RK_ESTATE);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), RK_ESTATE);
    assert_non_null(strstr(rk_last_error(session), "rk_fuse"));
    assert_int_equal(rk_fuse(session, NULL, NULL), RK_EINVAL);
    assert_int_equal(rk_fuse(session, refuse, NULL), 0);
    assert_null(rk_state(session, 1));
    assert_null(rk_next_state(session, 0));
    assert_int_equal(rk_step_begin(session, &step), 0);
    while (rk_shard_next(session) >= 0)
        assert_int_equal(rk_shard_done(session), 0);
    assert_int_equal(rk_gradients_wait(session), RK_EINVAL);
    assert_non_null(strstr(rk_last_error(session), "7"));
    rk_leave(session);
}

static void ready_made_updates_check_their_state(void **state)
{
    struct rk_session *session = join(RK_SUM);
    struct rk_sgd sgd = {.rate = 1, .weights = (uint32_t[]){0}};
    uint32_t number;
    float *leaf;
    uint64_t step;

    (void)state;
    assert_int_equal(rk_alloc(session, "g", RK_F32, 10, (void **)&leaf), 0);
    assert_int_equal(rk_alloc_state(session, "w", NULL, RK_F32, 1, (uint64_t[]){9}, &number), 0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_fuse(session, rk_update_sgd, &sgd), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    while (rk_shard_next(session) >= 0)
        assert_int_equal(rk_shard_done(session), 0);
    assert_int_equal(rk_gradients_wait(session), RK_EINVAL);
    assert_non_null(strstr(rk_last_error(session), "gradient g"));
    rk_leave(session);
}

static void fused_adamw_is_adamw(void **state)
{
    struct rk_session *session = join(RK_AVERAGE);
    uint32_t number[3];
    struct rk_adamw adamw = {.rate = 0.01f,
                             .beta1 = 0.9f,
                             .beta2 = 0.99f,
                             .epsilon = 1e-8f,
                             .decay = 0.1f,
                             .weights = &number[0],
                             .first = &number[1],
                             .second = &number[2]};
    static float initial[COUNT], w[COUNT], m[COUNT], v[COUNT];
    float *leaf;
    uint64_t step;
    int64_t shard;

    (void)state;
    for (uint64_t i = 0; i < COUNT; i++)
        w[i] = initial[i] = value(3, i) / 64;
    assert_int_equal(rk_alloc(session, "g", RK_F32, COUNT, (void **)&leaf), 0);
    for (uint32_t k = 0; k < 3; k++)
        assert_int_equal(rk_alloc_state(session, (const char *[]){"w", "m", "v"}[k],
                                        k == 0 ? initial : NULL, RK_F32, 1, (uint64_t[]){COUNT},
                                        &number[k]),
                         0);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_fuse(session, rk_update_adamw, &adamw), 0);
    for (int t = 1; t <= 4; t++) {
        float mean_scale = (float)(1.0 / (1.0 - pow((double)0.9f, t)));
        float square_scale = (float)(1.0 / (1.0 - pow((double)0.99f, t)));

        assert_int_equal(rk_step_begin(session, &step), 0);
        while ((shard = rk_shard_next(session)) >= 0) {
            for (uint64_t i = COUNT; i-- > 0;) {
                leaf[i] = value(shard, i);
                if (i % 1000 == 0)
                    assert_int_equal(rk_ready_range(session, 0, i, 1000), 0);
            }
            assert_int_equal(rk_shard_done(session), 0);
        }
        assert_int_equal(rk_gradients_wait(session), 0);
        assert_null(rk_result(session, 0));
        assert_int_equal(rk_step_end(session, &step), 0);
        for (uint64_t i = 0; i < COUNT; i++) {
            float g = (float)sum_of(i) / SHARDS;

            m[i] = 0.9f * m[i] + (1.0f - 0.9f) * g;
            v[i] = 0.99f * v[i] + (1.0f - 0.99f) * (g * g);
            w[i] = (1.0f - 0.01f * 0.1f) * w[i] -
                   0.01f * (m[i] * mean_scale) / (sqrtf(v[i] * square_scale) + 1e-8f);
            assert_true(((const float *)rk_state(session, number[0]))[i] == w[i]);
        }
    }
    assert_int_equal(rk_leave(session), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_is_summed),
        cmocka_unit_test(weights_count),
        cmocka_unit_test(what_is_ready_is_said_once),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(updates_are_asked_for_properly),
        cmocka_unit_test(ready_made_updates_check_their_state),
        cmocka_unit_test(fused_adamw_is_adamw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
