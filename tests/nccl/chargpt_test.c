/* chargpt on a GPU, which the double plays, against chargpt on the processor: loss and gradients
 * within what float arithmetic in another order may differ, and always the same bits.  That a GPU
 * computes what nvcc was told, only a GPU can tell. */
#include "examples/chargpt/gpu_plugin.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCABULARY 11
#define TEXT_LENGTH 200
#define WINDOWS 37 /* more than one launch takes from the text */
#define BATCH 7

/* No size divides another, and rows are not a multiple of a tile. */
static const struct model_size little = {"little", 6, 10, 2, 3, 0.01f};

static const char *runtime, *plugin;
static const struct gpu_functions *gpu;
static cudaStream_t stream;
static struct model *model;
static uint8_t text[TEXT_LENGTH];
static uint64_t starts[WINDOWS]; /* the text's first and last among them */

static uint64_t draw(void *with, uint64_t tensor, uint64_t element)
{
    uint64_t x = *(const uint64_t *)with + (tensor << 32) + element + 1;

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* A call of the runtime that only this test makes. */
static void *find(const char *name)
{
    void *address = dlsym(RTLD_DEFAULT, name);

    assert_non_null(address);
    return address;
}

/* Weights larger than training starts with, so that no layer is nearly linear. */
static int open_all(void **state)
{
    cudaError_t (*stream_create)(cudaStream_t *, unsigned);
    struct gpu_why why = {""};
    uint64_t seed = 5;

    (void)state;
    if (gpu_plugin_open(runtime, plugin, &gpu, &why))
        fail_msg("%s", why.text);
    *(void **)&stream_create = find("cudaStreamCreateWithFlags");
    model = model_new(&little, VOCABULARY);
    if (!model || stream_create(&stream, 0) != cudaSuccess)
        return -1;
    model_initialise(model, draw, &seed);
    for (size_t i = 0; i < model_weight_count(model); i++)
        model_weights(model)[i] += (float)(draw(&seed, 1, i) >> 40) * 0x1p-23f - 1.0f;
    for (size_t i = 0; i < TEXT_LENGTH; i++)
        text[i] = (uint8_t)(draw(&seed, 2, i) % VOCABULARY);
    for (size_t i = 0; i < WINDOWS; i++)
        starts[i] = i == 1 ? TEXT_LENGTH - little.context - 1 : 51 * i % 193;
    return 0;
}

static int close_all(void **state)
{
    cudaError_t (*stream_destroy)(cudaStream_t);

    (void)state;
    *(void **)&stream_destroy = find("cudaStreamDestroy");
    model_free(model);
    return stream_destroy(stream) != cudaSuccess;
}

/* ---- both models ----------------------------------------------------------------------------- */

struct result {
    float loss;
    float *gradient; /* freed by the caller */
};

static float *new_floats(void)
{
    float *floats = calloc(model_weight_count(model), sizeof *floats);

    assert_non_null(floats);
    return floats;
}

static struct result on_processor(size_t count)
{
    struct result result = {0.0f, new_floats()};
    const size_t bytes = model_weight_count(model) * sizeof(float);
    double loss = 0.0;

    memset(model_gradient(model), 0, bytes);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *window = text + starts[i];

        model_forward(model, window, little.context);
        loss += model_backward(model, window, window + 1, little.context, 1.0f / (float)BATCH);
    }
    memcpy(result.gradient, model_gradient(model), bytes);
    result.loss = (float)(loss / BATCH);
    return result;
}

static struct gpu_model *make(size_t at_a_time, struct gpu_why *why)
{
    const struct gpu_options options = {.size = &little,
                                        .vocabulary = VOCABULARY,
                                        .parameters = model_parameters(model),
                                        .weight_count = model_weight_count(model),
                                        .text = text,
                                        .text_length = TEXT_LENGTH,
                                        .windows = WINDOWS,
                                        .at_a_time = at_a_time,
                                        .stream = stream};

    return gpu->make(&options, why);
}

/* Computes something else first, of which nothing may be left. */
static struct result on_gpu(size_t count, size_t at_a_time)
{
    struct result result = {0.0f, new_floats()};
    const size_t weights = model_weight_count(model);
    struct gpu_why why = {""};
    struct gpu_model *made = make(at_a_time, &why);
    struct training_state at;

    if (!made)
        fail_msg("%s", why.text);
    at = gpu->state(made);
    if (gpu->write(made, model_weights(model), weights, at.weights, &why) ||
        gpu->compute(made, starts + 1, WINDOWS - 1, 1, &why) ||
        gpu->compute(made, starts, count, BATCH, &why) ||
        gpu->read(made, at.gradient, weights, result.gradient, &why) ||
        gpu->read(made, at.loss, 1, &result.loss, &why))
        fail_msg("%s", why.text);
    gpu->free(made);
    return result;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Each element within `part` of the tensor's largest. */
static void close_to(const struct parameter *p, const float *want, const float *got, float part)
{
    float largest = 0.0f;

    for (size_t i = 0; i < p->count; i++)
        largest = fmaxf(largest, fabsf(want[p->offset + i]));
    for (size_t i = 0; i < p->count; i++)
        if (!(fabsf(want[p->offset + i] - got[p->offset + i]) <= part * largest))
            fail_msg("%s, element %zu: %g, and the processor says %g", p->name, i,
                     (double)got[p->offset + i], (double)want[p->offset + i]);
}

static void compare(size_t count, float part)
{
    struct result want = on_processor(count), got = on_gpu(count, 0);
    const struct parameter *p = model_parameters(model);

    assert_true(fabsf(want.loss - got.loss) <= part * want.loss);
    for (size_t t = 0; t < model_parameter_count(model); t++)
        close_to(&p[t], want.gradient, got.gradient, part);
    free(want.gradient);
    free(got.gradient);
}

static void loss_and_gradient_are_those_of_the_processor(void **state)
{
    static const size_t counts[] = {0, 1, 2, 7, WINDOWS};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        compare(counts[i], 3e-5f);
}

/* Logits whose exp no float holds; they magnify what rounding does. */
static void a_sure_model_does_not_overflow(void **state)
{
    const struct parameter *head = &model_parameters(model)[model_parameter_count(model) - 1];
    float *weights = model_weights(model) + head->offset;

    (void)state;
    for (size_t i = 0; i < head->count; i++)
        weights[i] *= 64.0f;
    compare(3, 1e-3f);
    for (size_t i = 0; i < head->count; i++)
        weights[i] /= 64.0f;
}

static void same_bits(struct result a, struct result b)
{
    assert_memory_equal(&a.loss, &b.loss, sizeof a.loss);
    assert_memory_equal(a.gradient, b.gradient, model_weight_count(model) * sizeof(float));
    free(b.gradient);
}

static void bits_do_not_depend_on_order_or_turns(void **state)
{
    struct result first = on_gpu(WINDOWS, 0);

    (void)state;
    same_bits(first, on_gpu(WINDOWS, 0));
    same_bits(first, on_gpu(WINDOWS, 1));
    same_bits(first, on_gpu(WINDOWS, 4));
    same_bits(first, on_gpu(WINDOWS, WINDOWS - 1));
    setenv("CUDA_DOUBLE_BACKWARDS", "yes", 1);
    same_bits(first, on_gpu(WINDOWS, 0));
    unsetenv("CUDA_DOUBLE_BACKWARDS");
    free(first.gradient);
}

static void a_gpu_that_fails_is_told(void **state)
{
    struct gpu_why why = {""};
    struct gpu_model *made;

    (void)state;
    setenv("CUDA_DOUBLE_FAIL", "cudaMalloc", 1);
    assert_null(make(0, &why));
    assert_non_null(strstr(why.text, "cudaMalloc"));
    unsetenv("CUDA_DOUBLE_FAIL");
    made = make(0, &why);
    assert_non_null(made);
    setenv("CUDA_DOUBLE_FAIL", "launch", 1);
    assert_int_equal(gpu->compute(made, starts, 1, 1, &why), -1);
    assert_non_null(strstr(why.text, "gpu_windows_start"));
    unsetenv("CUDA_DOUBLE_FAIL");
    assert_int_equal(gpu->compute(made, starts, 1, 1, &why), -1);
    gpu->free(made);
}

static void what_is_not_there_is_told(void **state)
{
    const struct gpu_functions *other = NULL;
    struct gpu_why why = {""};

    (void)state;
    assert_int_equal(gpu_plugin_open("libcudart-nowhere.so", plugin, &other, &why), -1);
    assert_non_null(strstr(why.text, "libcudart-nowhere.so"));
    assert_int_equal(gpu_plugin_open(runtime, "libchargpt-nowhere.so", &other, &why), -1);
    assert_non_null(strstr(why.text, "libchargpt-nowhere.so"));
    assert_int_equal(gpu_plugin_open(runtime, "libm.so.6", &other, &why), -1);
    assert_non_null(strstr(why.text, "another version"));
    assert_null(other);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_and_gradient_are_those_of_the_processor),
        cmocka_unit_test(a_sure_model_does_not_overflow),
        cmocka_unit_test(bits_do_not_depend_on_order_or_turns),
        cmocka_unit_test(a_gpu_that_fails_is_told),
        cmocka_unit_test(what_is_not_there_is_told),
    };

    runtime = argc > 1 ? argv[1] : NULL;
    plugin = argc > 2 ? argv[2] : NULL;
    return cmocka_run_group_tests_name("nccl_chargpt", tests, open_all, close_all);
}
