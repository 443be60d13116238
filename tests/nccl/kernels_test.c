/* The kernels' plug-in through its own launches, against sum.h to the bit, and snapshots.  The
 * double plays launches on the processor; that a GPU gives the same bits, only a GPU can tell. */
#include "collectives/nccl/kernels.h"
#include "collectives/nccl/snapshot.h"
#include "collectives/tree.h"
#include "tests/nccl/cuda_double.h"
#include "tests/unit/sum_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT 3001

static const char *folder;
static const char *plugin;
static struct api api;
static const struct gpu_kernels *gpu;
static cudaStream_t stream;
static cudaEvent_t event;
static uint64_t seed = 1;

static float a[COUNT], b[COUNT], c[COUNT], d[COUNT];
static float w[COUNT], m[COUNT], v[COUNT], want[COUNT], got[COUNT];
static uint16_t half[COUNT], half_want[COUNT], half_got[COUNT];

static int open_all(void **state)
{
    char nccl[512];
    char cuda[512];

    (void)state;
    snprintf(nccl, sizeof nccl, "%s/libnccl-double.so", folder);
    snprintf(cuda, sizeof cuda, "%s/libcudart-double.so", folder);
    if (api_open(nccl, cuda, &api, NULL) != 0 || kernels_open(plugin, &gpu, NULL) != 0)
        return -1;
    return api.stream_create(&stream, 0) != cudaSuccess ||
           api.event_create(&event, 0) != cudaSuccess;
}

static int close_all(void **state)
{
    (void)state;
    return api.event_destroy(event) != cudaSuccess || api.stream_destroy(stream) != cudaSuccess;
}

static void fill(float *values)
{
    for (size_t i = 0; i < COUNT; i++)
        values[i] = draw_float(&seed);
}

/* That the work was accepted, is not done before the stream comes to it, and then is. */
static void run(cudaError_t accepted)
{
    assert_int_equal(accepted, cudaSuccess);
    assert_int_equal(api.event_record(event, stream), cudaSuccess);
    assert_int_equal(api.event_query(event), cudaSuccess);
}

static void same_floats(const float *x, const float *y)
{
    for (size_t i = 0; i < COUNT; i++)
        if (bits_of(x[i]) != bits_of(y[i]))
            fail_msg("element %zu: %08x, and sum.h says %08x", i, bits_of(y[i]), bits_of(x[i]));
}

static void same_halves(const uint16_t *x, const uint16_t *y)
{
    for (size_t i = 0; i < COUNT; i++)
        if (x[i] != y[i])
            fail_msg("element %zu: %04x, and sum.h says %04x", i, y[i], x[i]);
}

static void packs_have_the_bits_of_sum(void **state)
{
    static const enum sum_dtype types[] = {SUM_F16, SUM_BF16};
    static const float factors[] = {1.0f, 0.37f};

    (void)state;
    for (int round = 0; round < 20; round++)
        for (int k = 0; k < 4; k++) {
            fill(a);
            sum_best()->store(a, factors[k / 2], types[k % 2], COUNT, half_want);
            run(gpu->store(a, factors[k / 2], types[k % 2], COUNT, half_got, stream));
            same_halves(half_want, half_got);
            sum_best()->store(a, factors[k / 2], SUM_F32, COUNT, want);
            run(gpu->store(a, factors[k / 2], SUM_F32, COUNT, got, stream));
            same_floats(want, got);
        }
}

static void unpacks_have_the_bits_of_sum(void **state)
{
    static const enum sum_dtype types[] = {SUM_F16, SUM_BF16};
    static const float weights[] = {1.0f, 0.37f};

    (void)state;
    for (uint32_t from = 0; from < 65536; from += COUNT)
        for (int k = 0; k < 4; k++) {
            for (uint32_t i = 0; i < COUNT; i++)
                half[i] = (uint16_t)(from + i);
            sum_best()->load(types[k % 2], half, weights[k / 2], COUNT, want);
            run(gpu->load(types[k % 2], half, weights[k / 2], COUNT, got, stream));
            same_floats(want, got);
        }
}

static void error_feedback_has_the_bits_of_sum(void **state)
{
    (void)state;
    memset(c, 0, sizeof c);
    memset(d, 0, sizeof d);
    for (int step = 0; step < 20; step++) {
        fill(a);
        sum_best()->pack_bf16(a, c, COUNT, half_want);
        run(gpu->pack_bf16(a, d, COUNT, half_got, stream));
        same_halves(half_want, half_got);
        same_floats(c, d);
    }
}

/* ((a + b) + (half + d)), and a + (b + (c + d)), with weights. */
static void sums_have_the_bits_of_the_tree(void **state)
{
    const struct sum_term lists[2][4] = {
        {{a, 1.0f, SUM_F32, 0},
         {b, 0.3f, SUM_F32, 1},
         {half, 1.0f, SUM_BF16, 0},
         {d, 1.0f, SUM_F32, 2}},
        {{a, 1.0f, SUM_F32, 0},
         {b, 1.0f, SUM_F32, 0},
         {half, 0.7f, SUM_F16, 0},
         {d, 1.0f, SUM_F32, 3}},
    };

    (void)state;
    for (int round = 0; round < 40; round++) {
        const struct sum_term *list = lists[round % 2];

        fill(a), fill(b), fill(d);
        for (size_t i = 0; i < COUNT; i++)
            half[i] = (uint16_t)draw(&seed);
        sum_best()->terms(list, 4, COUNT, false, want);
        run(gpu->terms(list, 4, COUNT, got, stream));
        same_floats(want, got);
    }
}

static void updates_have_the_bits_of_sum(void **state)
{
    const struct sum_adamw rule = {0.01f, 0.001f, 0.9f, 0.999f, 1e-8f, 0.1f, 10.0f, 1000.0f};

    (void)state;
    for (int round = 0; round < 20; round++) {
        fill(a), fill(w), fill(m), fill(v);
        sum_best()->adamw(&rule, a, w, m, v, COUNT, false, want, b, c);
        run(gpu->adamw(&rule, a, w, m, v, COUNT, got, m, v, stream)); /* moments in place */
        same_floats(want, got);
        same_floats(b, m);
        same_floats(c, v);
    }
}

static void nothing_to_do_is_no_launch(void **state)
{
    (void)state;
    setenv("CUDA_DOUBLE_FAIL", "launch", 1);
    assert_int_equal(gpu->load(SUM_F32, a, 1.0f, 0, got, stream), cudaSuccess);
    assert_int_equal(gpu->load(SUM_F32, a, 1.0f, COUNT, got, stream),
                     cudaErrorInvalidConfiguration);
    unsetenv("CUDA_DOUBLE_FAIL");
    run(gpu->load(SUM_F32, a, 1.0f, COUNT, got, stream));
}

static void another_plugin_is_refused(void **state)
{
    const struct gpu_kernels *other = NULL;
    char path[512];
    struct rk_why why;

    (void)state;
    assert_int_equal(kernels_open("libreknit-nowhere.so", &other, &why), RK_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "libreknit-nowhere.so"));
    assert_int_equal(kernels_open("libm.so.6", &other, &why), RK_EUNAVAILABLE);
    assert_non_null(strstr(why.text, KERNELS_SYMBOL));
    snprintf(path, sizeof path, "%s/libother-plugin.so", folder);
    assert_int_equal(kernels_open(path, &other, &why), RK_EVERSION);
    assert_non_null(strstr(why.text, "interface"));
    assert_null(other);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static bool may_go;

static bool wait_for_it(void *context)
{
    (void)context;
    return may_go;
}

/* The training's stream writes the state only later: the copy waits for that. */
static void a_snapshot_is_of_what_came_before(void **state)
{
    const struct snapshot_part parts[] = {{a, want, sizeof a}, {b, got, 40}};
    struct snapshot *snapshot = NULL;

    (void)state;
    fill(a), fill(b), fill(c);
    memset(want, 0, sizeof want);
    memset(got, 0, sizeof got);
    may_go = false;
    assert_int_equal(snapshot_new(&api, 0, &snapshot, NULL), 0);
    assert_int_equal(snapshot_poll(snapshot, NULL), RK_ESTATE);
    cuda_double_enqueue(stream, wait_for_it, NULL);
    assert_int_equal(gpu->load(SUM_F32, c, 1.0f, COUNT, a, stream), cudaSuccess);
    assert_int_equal(snapshot_start(snapshot, parts, 2, stream, NULL), 0);
    assert_int_equal(snapshot_start(snapshot, parts, 2, stream, NULL), RK_ESTATE);
    assert_int_equal(snapshot_poll(snapshot, NULL), 0);
    assert_int_equal(bits_of(want[0]), 0);
    may_go = true;
    assert_int_equal(snapshot_poll(snapshot, NULL), 1);
    same_floats(c, want);
    assert_memory_equal(b, got, 40);
    assert_int_equal(bits_of(got[10]), 0);
    snapshot_free(snapshot);
}

static void a_snapshot_that_fails_is_told(void **state)
{
    static const char *const calls[] = {"cudaEventRecord", "cudaStreamWaitEvent",
                                        "cudaMemcpyAsync"};
    const struct snapshot_part part = {a, want, sizeof a};
    struct snapshot *snapshot = NULL;
    struct rk_why why;

    (void)state;
    setenv("CUDA_DOUBLE_FAIL", "cudaStreamCreateWithFlags", 1);
    assert_int_equal(snapshot_new(&api, 3, &snapshot, &why), RK_EUNAVAILABLE);
    assert_non_null(strstr(why.text, "GPU 3: cudaStreamCreateWithFlags"));
    unsetenv("CUDA_DOUBLE_FAIL");
    assert_int_equal(snapshot_new(&api, 3, &snapshot, &why), 0);
    for (int k = 0; k < 3; k++) {
        setenv("CUDA_DOUBLE_FAIL", calls[k], 1);
        assert_int_equal(snapshot_start(snapshot, &part, 1, stream, &why), RK_EUNAVAILABLE);
        assert_non_null(strstr(why.text, calls[k]));
        assert_int_equal(snapshot_poll(snapshot, &why), RK_ESTATE);
    }
    unsetenv("CUDA_DOUBLE_FAIL");
    assert_int_equal(snapshot_start(snapshot, &part, 1, stream, &why), 0);
    assert_int_equal(snapshot_poll(snapshot, &why), 1);
    snapshot_free(snapshot);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_have_the_bits_of_sum),
        cmocka_unit_test(unpacks_have_the_bits_of_sum),
        cmocka_unit_test(error_feedback_has_the_bits_of_sum),
        cmocka_unit_test(sums_have_the_bits_of_the_tree),
        cmocka_unit_test(updates_have_the_bits_of_sum),
        cmocka_unit_test(nothing_to_do_is_no_launch),
        cmocka_unit_test(another_plugin_is_refused),
        cmocka_unit_test(a_snapshot_is_of_what_came_before),
        cmocka_unit_test(a_snapshot_that_fails_is_told),
    };

    folder = argc > 1 ? argv[1] : ".";
    plugin = argc > 2 ? argv[2] : KERNELS_PLUGIN;
    return cmocka_run_group_tests_name("nccl_kernels", tests, open_all, close_all);
}
