/* chargpt: each layer's backward pass against numerical differentiation of its forward pass, the
 * whole model likewise, the optimiser against a scalar one in double, the reading of texts, and
 * that the same run gives the same bits. */
#include "examples/chargpt/adamw.h"
#include "examples/chargpt/model.h"
#include "examples/chargpt/ops.h"
#include "examples/chargpt/text.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- numbers --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A fixed number in -1 .. 1 for each (which, index). */
static float number(uint64_t which, uint64_t index)
{
    return (float)(mix(mix(which) ^ index) >> 40) * 0x1p-23f - 1.0f;
}

static void fill(float *to, size_t count, uint64_t which)
{
    for (size_t i = 0; i < count; i++)
        to[i] = number(which, i);
}

/* sum of c[i] out[i] with fixed c: makes one number of a layer's output. */
static double weigh(const float *out, size_t count, uint64_t which)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += (double)number(which, i) * (double)out[i];
    return sum;
}

/* Compares analytic[i] with the slope of f in x[i], for each of count elements, by the five-point
 * rule: its own error is of the order h^4, so that h can be large enough for float. */
static void check_slopes(const char *what, double (*f)(void), float *x, const float *analytic,
                         size_t count, float h)
{
    for (size_t i = 0; i < count; i++) {
        const float kept = x[i];
        double at[4];
        for (int k = 0; k < 4; k++) {
            static const float steps[] = {-2.0f, -1.0f, 1.0f, 2.0f};
            x[i] = kept + steps[k] * h;
            at[k] = f();
        }
        x[i] = kept;
        const double slope = (8.0 * (at[2] - at[1]) - (at[3] - at[0])) / (12.0 * (double)h);
        const double off = fabs(slope - (double)analytic[i]);
        if (off > 1e-3 * (fabs(slope) + 0.1))
            fail_msg("%s, element %zu: backward says %g, the slope is %g", what, i,
                     (double)analytic[i], slope);
    }
}

/* ---- exp, log, matrices ---------------------------------------------------------------------- */

static void test_exp_and_log(void **state)
{
    (void)state;
    for (int i = -8600; i < 8750; i++) {
        const float at = (float)i * 0.01f;
        assert_true(fabs((double)op_exp(at) / exp((double)at) - 1.0) < 3e-7);
    }
    assert_true(op_exp(0.0f) == 1.0f);
    assert_true(op_exp(-1e30f) > 0.0f && op_exp(-1e30f) < 1e-37f);
    assert_true(op_exp(1e30f) < INFINITY && op_exp(1e30f) > 1e38f);
    assert_true(isnan(op_exp(NAN)));
    for (int i = -300; i < 300; i++) {
        const double at = pow(1.26, i);
        assert_true(fabs(op_log(at) - log(at)) <= 1e-13 * (1.0 + fabs(log(at))));
    }
    assert_true(op_log(1.0) == 0.0);
}

#define M ((size_t)5)
#define K ((size_t)7)
#define N ((size_t)9)
#define WIDE ((size_t)13)

/* Odd sizes, so that every remainder of an unrolled loop is met; a transposed, b and c slices. */
static void test_multiply_is_in_order(void **state)
{
    (void)state;
    float a[K * M], b[K * WIDE], c[M * WIDE], want[M * N];
    fill(a, K * M, 1);
    fill(b, K * WIDE, 2);
    fill(c, M * WIDE, 3);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            float sum = c[i * WIDE + 2 + j];
            for (size_t p = 0; p < K; p++)
                sum += a[p * M + i] * b[p * WIDE + 3 + j];
            want[i * N + j] = sum;
        }
    matrix_multiply_add(matrix_columns(matrix_of(c, M, WIDE), 2, N),
                        matrix_transposed(matrix_of(a, K, M)),
                        matrix_columns(matrix_of(b, K, WIDE), 3, N));
    for (size_t i = 0; i < M; i++)
        assert_memory_equal(c + i * WIDE + 2, want + i * N, N * sizeof(float));
    for (size_t i = 0; i < M; i++)
        assert_true(c[i * WIDE + 1] == number(3, i * WIDE + 1));
}

/* ---- one layer ------------------------------------------------------------------------------- */

#define ROWS ((size_t)5)
#define WIDTH ((size_t)6)
#define OUTS ((size_t)7)
#define HEADS ((size_t)2)

static float x[ROWS * 3 * WIDTH], w[WIDTH * OUTS], out[ROWS * 3 * WIDTH], inverse[ROWS];
static float d_out[ROWS * 3 * WIDTH], d_x[ROWS * 3 * WIDTH], d_w[WIDTH * OUTS];
static float attention[HEADS * ROWS * ROWS], scratch[256];

static void start_layer(size_t inputs, size_t outputs)
{
    fill(x, inputs, 10);
    fill(w, WIDTH * OUTS, 11);
    fill(d_out, outputs, 12); /* the derivative of weigh(out, .., 12) by out */
    memset(d_x, 0, sizeof d_x);
    memset(d_w, 0, sizeof d_w);
}

static double linear(void)
{
    linear_forward(matrix_of(out, ROWS, OUTS), matrix_of(x, ROWS, WIDTH),
                   matrix_of(w, WIDTH, OUTS));
    return weigh(out, ROWS * OUTS, 12);
}

static void test_linear(void **state)
{
    (void)state;
    start_layer(ROWS * WIDTH, ROWS * OUTS);
    linear_backward(matrix_of(d_x, ROWS, WIDTH), matrix_of(d_w, WIDTH, OUTS),
                    matrix_of(d_out, ROWS, OUTS), matrix_of(x, ROWS, WIDTH),
                    matrix_of(w, WIDTH, OUTS), scratch);
    check_slopes("linear, x", linear, x, d_x, ROWS * WIDTH, 0.05f);
    check_slopes("linear, w", linear, w, d_w, WIDTH * OUTS, 0.05f);
}

static double rmsnorm(void)
{
    rmsnorm_forward(matrix_of(out, ROWS, WIDTH), inverse, matrix_of(x, ROWS, WIDTH), w);
    return weigh(out, ROWS * WIDTH, 12);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    start_layer(ROWS * WIDTH, ROWS * WIDTH);
    rmsnorm();
    rmsnorm_backward(matrix_of(d_x, ROWS, WIDTH), d_w, matrix_of(d_out, ROWS, WIDTH),
                     matrix_of(x, ROWS, WIDTH), w, inverse);
    check_slopes("rmsnorm, x", rmsnorm, x, d_x, ROWS * WIDTH, 0.02f);
    check_slopes("rmsnorm, gain", rmsnorm, w, d_w, WIDTH, 0.05f);
}

static double gelu(void)
{
    gelu_forward(out, x, ROWS * WIDTH);
    return weigh(out, ROWS * WIDTH, 12);
}

static void test_gelu(void **state)
{
    (void)state;
    start_layer(ROWS * WIDTH, ROWS * WIDTH);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        x[i] *= 3.0f;
    gelu_backward(d_out, x, ROWS * WIDTH);
    check_slopes("gelu", gelu, x, d_out, ROWS * WIDTH, 0.03f);
}

static double causal(void)
{
    memcpy(attention, x, ROWS * ROWS * sizeof(float));
    causal_softmax_forward(matrix_of(attention, ROWS, ROWS), 0.7f);
    return weigh(attention, ROWS * ROWS, 12);
}

static void test_causal_softmax(void **state)
{
    (void)state;
    start_layer(ROWS * ROWS, ROWS * ROWS);
    causal();
    for (size_t i = 0; i < ROWS; i++) {
        float sum = 0.0f;
        for (size_t j = 0; j < ROWS; j++) {
            sum += attention[i * ROWS + j];
            assert_true(j <= i || attention[i * ROWS + j] == 0.0f);
        }
        assert_true(fabsf(sum - 1.0f) < 1e-6f);
    }
    causal_softmax_backward(matrix_of(d_out, ROWS, ROWS), matrix_of(attention, ROWS, ROWS), 0.7f);
    check_slopes("causal softmax", causal, x, d_out, ROWS * ROWS, 0.05f);
}

static double attend(void)
{
    attention_forward(matrix_of(out, ROWS, WIDTH), attention, matrix_of(x, ROWS, 3 * WIDTH), HEADS,
                      scratch);
    return weigh(out, ROWS * WIDTH, 12);
}

static void test_attention(void **state)
{
    (void)state;
    assert_true(attention_scratch(ROWS, WIDTH, HEADS) <= sizeof scratch / sizeof scratch[0]);
    start_layer(ROWS * 3 * WIDTH, ROWS * WIDTH);
    attend();
    attention_backward(matrix_of(d_x, ROWS, 3 * WIDTH), matrix_of(d_out, ROWS, WIDTH),
                       matrix_of(x, ROWS, 3 * WIDTH), attention, HEADS, scratch);
    check_slopes("attention", attend, x, d_x, ROWS * 3 * WIDTH, 0.05f);
}

static const uint8_t wanted[ROWS] = {3, 0, 6, 2, 2};

static double entropy(void)
{
    memcpy(out, x, ROWS * OUTS * sizeof(float));
    return cross_entropy(matrix_of(out, ROWS, OUTS), wanted, 1.0f);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    start_layer(ROWS * OUTS, 0);
    double want = 0.0;
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < OUTS; j++)
            sum += exp((double)x[i * OUTS + j]);
        want += log(sum) - (double)x[i * OUTS + wanted[i]];
    }
    assert_true(fabs(entropy() - want) < 1e-5);
    memcpy(d_x, out, sizeof d_x); /* the logits were replaced by their derivatives */
    check_slopes("cross entropy", entropy, x, d_x, ROWS * OUTS, 0.05f);
}

/* ---- the whole model ------------------------------------------------------------------------- */

#define CONTEXT ((size_t)6)
#define VOCABULARY ((size_t)11)

static const struct model_size little = {"little", CONTEXT, 8, 2, 2, 0.01f};
static const uint8_t characters[CONTEXT + 1] = {4, 10, 0, 4, 7, 7, 1};
static struct model *model;

static uint64_t draw(void *with, uint64_t tensor, uint64_t element)
{
    return mix(mix(*(const uint64_t *)with + tensor) ^ element);
}

static struct model *new_model(uint64_t seed)
{
    struct model *made = model_new(&little, VOCABULARY);
    assert_non_null(made);
    model_initialise(made, draw, &seed);
    return made;
}

static double model_loss(void)
{
    float *logits = model_forward(model, characters, CONTEXT);
    return cross_entropy(matrix_of(logits, CONTEXT, VOCABULARY), characters + 1, 1.0f) /
           (double)CONTEXT;
}

static void test_whole_model(void **state)
{
    (void)state;
    model = new_model(5);
    /* Larger weights than training starts with, so that no layer is nearly linear, and embeddings
     * larger still: normalisation bends sharply near 0, more than numerical slopes can follow. */
    const size_t embeddings = model_parameters(model)[2].offset;
    for (size_t i = 0; i < model_weight_count(model); i++)
        model_weights(model)[i] += (i < embeddings ? 2.0f : 0.4f) * number(20, i);
    model_forward(model, characters, CONTEXT);
    const double loss = model_backward(model, characters, characters + 1, CONTEXT, 1.0f);
    assert_true(fabs(loss - model_loss()) < 1e-12);
    const struct parameter *p = model_parameters(model);
    for (size_t t = 0; t < model_parameter_count(model); t++, p++)
        check_slopes(p->name, model_loss, model_weights(model) + p->offset,
                     model_gradient(model) + p->offset, p->count, 0.01f);
    model_free(model);
}

/* Nothing that comes later in the text may change what is expected now. */
static void test_model_does_not_look_ahead(void **state)
{
    (void)state;
    uint8_t changed[CONTEXT];
    float before[3 * VOCABULARY];
    model = new_model(6);
    memcpy(changed, characters, CONTEXT);
    memcpy(before, model_forward(model, characters, CONTEXT), sizeof before);
    changed[3] = 9;
    float *logits = model_forward(model, changed, CONTEXT);
    assert_memory_equal(logits, before, sizeof before);
    assert_memory_not_equal(logits + 3 * VOCABULARY, before + 2 * VOCABULARY,
                            VOCABULARY * sizeof(float));
    assert_memory_equal(model_forward(model, characters, 3), before, sizeof before);
    model_free(model);
}

static void test_parameters_tile_the_weights(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny", "small", "medium"};
    static const size_t least[] = {25000, 1000000, 9500000}, most[] = {40000, 2000000, 11000000};
    assert_null(model_size_find("huge"));
    for (size_t s = 0; s < 3; s++) {
        const struct model_size *size = model_size_find(names[s]);
        assert_non_null(size);
        assert_true(size->context <= MODEL_MAX_CONTEXT);
        struct model *made = model_new(size, 100);
        assert_non_null(made);
        const struct parameter *p = model_parameters(made);
        size_t at = 0;
        for (size_t t = 0; t < model_parameter_count(made); at += p[t++].count)
            assert_int_equal(p[t].offset, at);
        assert_int_equal(at, model_weight_count(made));
        assert_in_range(at, least[s], most[s]);
        assert_string_equal(p[3].name, "block0.attention.qkv.weight");
        model_free(made);
    }
}

/* ---- the optimiser --------------------------------------------------------------------------- */

static void test_adamw_against_scalar(void **state)
{
    (void)state;
    enum { COUNT = 7, STEPS = 30 };
    const struct adamw adamw = {
        .rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .floor = 1e-8f, .warm_up = 5};
    const double b1 = (double)adamw.beta1, b2 = (double)adamw.beta2;
    float weights[COUNT], mean[COUNT] = {0}, square[COUNT] = {0}, gradient[COUNT];
    double want[COUNT], m[COUNT] = {0}, v[COUNT] = {0};

    fill(weights, COUNT, 30);
    for (size_t i = 0; i < COUNT; i++)
        want[i] = (double)weights[i];
    for (uint64_t step = 0; step < STEPS; step++) {
        fill(gradient, COUNT, 31 + step);
        adamw_update(&adamw, step, COUNT, weights, mean, square, gradient, 0.1f);
        const double rate = 0.01 * (step < 5 ? (double)(step + 1) / 5.0 : 1.0);
        for (size_t i = 0; i < COUNT; i++) {
            const double g = (double)gradient[i];
            m[i] = b1 * m[i] + (1.0 - b1) * g;
            v[i] = b2 * v[i] + (1.0 - b2) * g * g;
            const double m_hat = m[i] / (1.0 - pow(b1, (double)(step + 1)));
            const double v_hat = v[i] / (1.0 - pow(b2, (double)(step + 1)));
            want[i] -= rate * 0.1 * want[i] + rate * m_hat / (sqrt(v_hat) + 1e-8);
            assert_true(fabs((double)weights[i] - want[i]) < 1e-5);
        }
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/chargpt_test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "link", "fifo", "empty", "inner/x", "inner", ""};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return 0;
}

static const char *inside(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *content)
{
    FILE *file = fopen(inside(name), "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_folder_is_read_in_order(void **state)
{
    (void)state;
    struct text text;
    char why[256];
    write_file("b", "zab");
    write_file("a", "dd\n");
    assert_int_equal(mkdir(inside("inner"), 0700), 0);
    write_file("inner/x", "c");
    assert_int_equal(symlink("b", inside("link")), 0);
    assert_int_equal(mkfifo(inside("fifo"), 0600), 0);

    assert_int_equal(text_read(&text, folder, why, sizeof why), 0);
    const uint8_t want[] = {4, 4, 0, 5, 1, 2, 3}; /* "dd\n" "zab" "c" */
    assert_int_equal(text.length, sizeof want);
    assert_memory_equal(text.characters, want, sizeof want);
    assert_int_equal(text.vocabulary, 6);
    assert_memory_equal(text.byte_of, "\nabcdz", 6);
    assert_int_equal(text_number_of(&text, 'c'), 3);
    assert_int_equal(text_number_of(&text, '?'), 0);
    text_free(&text);

    assert_int_equal(text_read(&text, inside("link"), why, sizeof why), 0);
    assert_int_equal(text.length, 3);
    text_free(&text);
}

static void refused(const char *path, const char *because)
{
    struct text text;
    char why[256] = "";
    assert_int_equal(text_read(&text, path, why, sizeof why), -1);
    assert_null(text.characters);
    if (!strstr(why, because) || !strstr(why, path))
        fail_msg("the message is \"%s\", without \"%s\"", why, because);
}

static void test_bad_texts_are_refused(void **state)
{
    (void)state;
    refused(inside("nothing"), "No such file");
    refused(folder, "holds no text");
    write_file("empty", "");
    refused(inside("empty"), "holds no text");
    assert_int_equal(mkfifo(inside("fifo"), 0600), 0);
    refused(inside("fifo"), "neither a file nor a folder");
}

static void test_text_without_end_is_refused(void **state)
{
    (void)state;
    write_file("b", "");
    assert_int_equal(truncate(inside("b"), (off_t)TEXT_MAX_BYTES + 1), 0);
    refused(inside("b"), "256 MiB");
}

/* ---- determinism ----------------------------------------------------------------------------- */

/* Trains a little; the memory of the heap is made dirty first, so that whatever is read before it
 * was written shows. */
static void train_a_little(float *weights, size_t count, int dirt)
{
    for (size_t size = 64; size < 1 << 20; size *= 2) {
        void *dirty = malloc(size);
        assert_non_null(dirty);
        memset(dirty, dirt, size);
        free(dirty);
    }
    const struct adamw adamw = {
        .rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.99f, .floor = 1e-8f, .warm_up = 2};
    struct model *m = new_model(7);
    float *mean = calloc(count, sizeof(float)), *square = calloc(count, sizeof(float));
    assert_true(mean && square && model_weight_count(m) == count);
    for (uint64_t step = 0; step < 20; step++) {
        memset(model_gradient(m), 0, count * sizeof(float));
        model_forward(m, characters, CONTEXT);
        model_backward(m, characters, characters + 1, CONTEXT, 1.0f);
        adamw_update(&adamw, step, count, model_weights(m), mean, square, model_gradient(m), 0.1f);
    }
    memcpy(weights, model_weights(m), count * sizeof(float));
    free(mean);
    free(square);
    model_free(m);
}

static void test_two_runs_have_the_same_bits(void **state)
{
    (void)state;
    model = new_model(7);
    const size_t count = model_weight_count(model);
    const double before = model_loss();
    float *first = malloc(count * sizeof(float)), *second = malloc(count * sizeof(float));
    assert_true(first && second);
    train_a_little(first, count, 0xff);
    train_a_little(second, count, 0x41);
    assert_memory_equal(first, second, count * sizeof(float));

    memcpy(model_weights(model), first, count * sizeof(float));
    assert_true(model_loss() < before * 0.5);
    free(first);
    free(second);
    model_free(model);
}

/* The gradient of a sample must not depend on what the model computed before. */
static void test_gradient_has_no_memory(void **state)
{
    (void)state;
    static const uint8_t other[CONTEXT + 1] = {1, 2, 3, 5, 6, 8, 9};
    model = new_model(8);
    const size_t bytes = model_weight_count(model) * sizeof(float);
    float *first = malloc(bytes);
    assert_non_null(first);
    model_forward(model, characters, CONTEXT);
    model_backward(model, characters, characters + 1, CONTEXT, 0.25f);
    memcpy(first, model_gradient(model), bytes);

    model_forward(model, other, 4);
    model_backward(model, other, other + 1, 4, 0.5f);
    memset(model_gradient(model), 0, bytes);
    model_forward(model, characters, CONTEXT);
    model_backward(model, characters, characters + 1, CONTEXT, 0.25f);
    assert_memory_equal(first, model_gradient(model), bytes);
    free(first);
    model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp_and_log),
        cmocka_unit_test(test_multiply_is_in_order),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_rmsnorm),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_causal_softmax),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_whole_model),
        cmocka_unit_test(test_model_does_not_look_ahead),
        cmocka_unit_test(test_parameters_tile_the_weights),
        cmocka_unit_test(test_adamw_against_scalar),
        cmocka_unit_test_setup_teardown(test_folder_is_read_in_order, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_texts_are_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_text_without_end_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test(test_two_runs_have_the_same_bits),
        cmocka_unit_test(test_gradient_has_no_memory),
    };
    return cmocka_run_group_tests_name("chargpt", tests, NULL, NULL);
}
