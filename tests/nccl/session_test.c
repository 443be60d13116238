/* A world of one whose gradients lie on the GPU that the double plays: every type and reduction has
 * the bits that a session in the memory of the host has, and what cannot be is refused. */
#include "tests/programs/gpu_memory.h"
#include "worker/reknit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
/* after those it needs */
#include <cmocka.h>

#define COUNT 5000u
#define SHARDS 8u

static struct rk_session *begin(bool on_gpu, enum rk_reduce reduce, uint32_t check_finite)
{
    const struct rk_options options = {.struct_size = sizeof options,
                                       .batch = 8,
                                       .shards = SHARDS,
                                       .reduce = reduce,
                                       .check_finite = check_finite,
                                       .bucket_bytes = 4096};
    struct rk_session *session = NULL;

    assert_int_equal(rk_join(&options, &session), 0);
    if (on_gpu && rk_use_gpu(session, RK_GPU_BY_PLACE, NULL) != 0)
        fail_msg("%s", rk_last_error(session));
    return session;
}

static void add_gradient(struct rk_session *session, bool on_gpu, const char *name, void *data,
                         enum rk_dtype dtype)
{
    assert_int_equal(on_gpu ? rk_register_gpu_gradient(session, name, data, dtype, COUNT)
                            : rk_register_gradient_as(session, name, data, dtype, COUNT),
                     0);
}

/* Values of all sizes, the same in each session; of 16 bits any pattern that is finite. */
static void fill(void *data, enum rk_dtype dtype, uint32_t shard)
{
    uint32_t draw = 2463534242u + shard;

    for (uint32_t i = 0; i < COUNT; i++) {
        draw ^= draw << 13, draw ^= draw >> 17, draw ^= draw << 5;
        if (dtype == RK_F32)
            ((float *)data)[i] = ldexpf((float)(int32_t)draw, (int)(draw % 40) - 50);
        else
            ((uint16_t *)data)[i] = (uint16_t)(draw & (dtype == RK_F16 ? 0xbbffu : 0xbf7fu));
    }
}

/* One step's sums, of the three types. */
struct sums {
    float f32[COUNT];
    uint16_t f16[COUNT];
    uint16_t bf16[COUNT];
};

static void take_step(bool on_gpu, enum rk_reduce reduce, struct sums *sums)
{
    struct rk_session *session = begin(on_gpu, reduce, 0);
    struct sums *at = on_gpu ? gpu_memory_new(sizeof *at) : sums;
    uint64_t step;
    int64_t shard;

    add_gradient(session, on_gpu, "f32", at->f32, RK_F32);
    add_gradient(session, on_gpu, "f16", at->f16, RK_F16);
    add_gradient(session, on_gpu, "bf16", at->bf16, RK_BF16);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    while ((shard = rk_shard_next(session)) >= 0) {
        if (reduce == RK_WEIGHTED)
            assert_int_equal(rk_shard_weight(session, 0.25 * (double)(shard + 1)), 0);
        fill(sums->f32, RK_F32, (uint32_t)shard);
        fill(sums->f16, RK_F16, (uint32_t)shard);
        fill(sums->bf16, RK_BF16, (uint32_t)shard);
        if (on_gpu)
            gpu_memory_put(at, sums, sizeof *sums);
        assert_int_equal(rk_ready(session, 1), 0);
        if (shard == 3)
            assert_int_equal(rk_unused(session, 0), 0);
        assert_int_equal(rk_shard_done(session), 0);
    }
    assert_int_equal(rk_gradients_wait(session), 0);
    if (on_gpu)
        gpu_memory_get(sums, at, sizeof *sums);
    assert_int_equal(rk_step_end(session, &step), 0);
    assert_int_equal(rk_leave(session), 0);
    if (on_gpu)
        gpu_memory_free(at);
}

static void sums_have_the_bits_of_the_host(void **state)
{
    static const enum rk_reduce reduces[] = {RK_SUM, RK_AVERAGE, RK_WEIGHTED};
    static struct sums host;
    static struct sums gpu;

    (void)state;
    for (int k = 0; k < 3; k++) {
        take_step(false, reduces[k], &host);
        take_step(true, reduces[k], &gpu);
        assert_memory_equal(host.f32, gpu.f32, sizeof host.f32);
        assert_memory_equal(host.f16, gpu.f16, sizeof host.f16);
        assert_memory_equal(host.bf16, gpu.bf16, sizeof host.bf16);
    }
}

static void what_is_not_finite_is_named(void **state)
{
    static float data[COUNT];
    struct rk_session *session = begin(true, RK_SUM, 1);
    uint64_t step;

    (void)state;
    add_gradient(session, true, "weights", data, RK_F32);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_int_equal(rk_shard_next(session), 0);
    assert_int_equal(rk_shard_done(session), 0);
    assert_int_equal(rk_shard_next(session), 1);
    data[1234] = INFINITY;
    data[1240] = NAN;
    assert_int_equal(rk_shard_done(session), RK_ENOTFINITE);
    assert_non_null(strstr(rk_last_error(session), "shard 1: element 1234 of gradient weights"));
    rk_leave(session);
}

static void state_comes_from_the_gpu(void **state)
{
    static float weights[COUNT];
    static float data[COUNT];
    struct rk_session *session = begin(true, RK_SUM, 0);
    uint64_t shape = COUNT;
    uint64_t step;
    int64_t host_state = 7;

    (void)state;
    assert_int_equal(rk_register_gpu_state(session, "weights", weights, RK_F32, 1, &shape), 0);
    assert_int_equal(rk_register_state(session, "steps", &host_state, RK_I64, 0, NULL), 0);
    add_gradient(session, true, "weights", data, RK_F32);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_leave(session), 0);
}

static void what_cannot_be_is_refused(void **state)
{
    static float data[COUNT];
    struct rk_session *session = begin(false, RK_SUM, 0);
    void *memory;
    uint32_t number;
    uint64_t shape = COUNT;

    (void)state;
    assert_int_equal(rk_register_gpu_gradient(session, "g", data, RK_F32, COUNT), RK_ESTATE);
    assert_non_null(strstr(rk_last_error(session), "gradient g lies on a GPU: call rk_use_gpu"));
    assert_int_equal(rk_register_gpu_state(session, "s", data, RK_F32, 1, &shape), RK_ESTATE);
    assert_int_equal(rk_use_gpu(session, 100, NULL), RK_EUNAVAILABLE);
    assert_non_null(strstr(rk_last_error(session), "GPU 100: there are 8 here"));
    assert_int_equal(rk_use_gpu(session, 3, NULL), 0);
    assert_int_equal(rk_use_gpu(session, 3, NULL), RK_ESTATE);
    assert_int_equal(rk_register_gpu_gradient(session, "g", data, RK_F64, COUNT), RK_EINVAL);
    assert_non_null(strstr(rk_last_error(session), "not f64"));
    assert_int_equal(rk_register_gradient(session, "g", data, COUNT), RK_ESTATE);
    assert_int_equal(rk_alloc(session, "g", RK_F32, COUNT, &memory), RK_ESTATE);
    assert_int_equal(rk_alloc_state(session, "s", NULL, RK_F32, 1, &shape, &number), RK_ESTATE);
    add_gradient(session, true, "g", data, RK_F32);
    assert_int_equal(rk_use_gpu(session, 3, NULL), RK_ESTATE);
    rk_leave(session);
}

static void a_gpu_without_memory_is_told(void **state)
{
    static float data[COUNT];
    struct rk_session *session = begin(true, RK_SUM, 0);
    uint64_t step;

    (void)state;
    add_gradient(session, true, "g", data, RK_F32);
    assert_int_equal(rk_restore(session, &step), 0);
    assert_int_equal(rk_step_begin(session, &step), 0);
    assert_int_equal(rk_shard_next(session), 0);
    setenv("CUDA_DOUBLE_FAIL", "cudaMalloc", 1);
    assert_int_equal(rk_shard_done(session), RK_ENOMEM);
    unsetenv("CUDA_DOUBLE_FAIL");
    assert_non_null(strstr(rk_last_error(session), "MiB for partial sums are not to be had"));
    rk_leave(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_have_the_bits_of_the_host),
        cmocka_unit_test(what_is_not_finite_is_named),
        cmocka_unit_test(state_comes_from_the_gpu),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_gpu_without_memory_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
