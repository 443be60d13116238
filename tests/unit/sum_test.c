/* Additions, scaling and optimisers: each path against plain C, element by element. */
#include "collectives/sum.h"

#include "examples/chargpt/adamw.h"
#include "tests/unit/sum_fixture.h"

#include <stdlib.h>

#define SEED 20261125u
#define GUARD 16u /* elements around a result that nobody may touch */

static void portable_is_there_and_others_are_had_or_refused(void **state)
{
    (void)state;
    assert_true(sum_path_has(SUM_PORTABLE));
    assert_true(sum_path_has(sum_path()));
    for (int path = 0; path < SUM_PATHS_; path++) {
        bool has = sum_path_has((enum sum_path)path);

        print_message("path %s: %s\n", sum_path_name((enum sum_path)path), has ? "yes" : "no");
        assert_int_equal(sum_path_set((enum sum_path)path), has);
        if (has)
            assert_int_equal(sum_path(), path);
    }
}

/* ---- additions ------------------------------------------------------------------------------- */

static void add_once(size_t count, uint64_t seed)
{
    static _Alignas(64) float left[MOST + 16], right[MOST + 16], should[MOST + 2 * GUARD + 16];
    static _Alignas(64) float out[MOST + 2 * GUARD + 16];
    uint64_t random = seed;
    const float *a = left + draw(&random) % 16;
    const float *b = right + draw(&random) % 16;
    size_t at = GUARD + draw(&random) % 16;

    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        left[i] = draw_float(&random);
        right[i] = draw_float(&random);
    }
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        out[i] = should[i] = draw_float(&random);
    for (size_t i = 0; i < count; i++)
        should[at + i] = one_nan(a[i] + b[i]);
    sum_add(a, b, count, seed % 2 != 0, out + at);
    sum_stream_end();
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(float), seed);
    memcpy(out + at, a, count * sizeof(float));
    sum_add(out + at, b, count, false, out + at);
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(float), seed);
    memcpy(out + at, b, count * sizeof(float));
    sum_add(a, out + at, count, false, out + at);
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(float), seed);
}

static void add64_once(size_t count, uint64_t seed)
{
    static _Alignas(64) double left[MOST + 8], right[MOST + 8], should[MOST + 2 * GUARD + 8];
    static _Alignas(64) double out[MOST + 2 * GUARD + 8];
    uint64_t random = seed;
    const double *a = left + draw(&random) % 8;
    const double *b = right + draw(&random) % 8;
    size_t at = GUARD + draw(&random) % 8;

    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        left[i] = draw_double(&random);
        right[i] = draw_double(&random);
    }
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        out[i] = should[i] = draw_double(&random);
    for (size_t i = 0; i < count; i++)
        should[at + i] = one_nan64(a[i] + b[i]);
    sum_add64(a, b, count, seed % 2 != 0, out + at);
    sum_stream_end();
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(double), seed);
    memcpy(out + at, b, count * sizeof(double));
    sum_add64(a, out + at, count, false, out + at);
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(double), seed);
}

static void add_all(void)
{
    for (size_t i = 0; i < SMALL_COUNTS + EDGES; i++) {
        for (uint64_t seed = SEED; seed < SEED + 4; seed++) {
            add_once(count_of(i), seed + i * 4);
            add64_once(count_of(i), seed + i * 4);
        }
    }
}

static void additions_are_those_of_the_processor(void **state)
{
    (void)state;
    on_each_path(add_all);
}

static void scale_all(void)
{
    for (size_t c = 0; c < SMALL_COUNTS + EDGES; c++) {
        static float out[MOST + 1], should[MOST + 1];
        static double out64[MOST + 1], should64[MOST + 1];
        uint64_t random = SEED + c;
        float factor = draw_float(&random);
        double factor64 = draw_double(&random);
        size_t count = count_of(c);

        for (size_t i = 0; i < MOST + 1; i++) {
            out[i] = draw_float(&random);
            out64[i] = draw_double(&random);
            should[i] = i < count ? one_nan(out[i] * factor) : out[i];
            should64[i] = i < count ? one_nan64(out64[i] * factor64) : out64[i];
        }
        sum_scale(out, count, factor);
        sum_scale64(out64, count, factor64);
        assert_same(out, should, MOST + 1, sizeof(float), SEED + c);
        assert_same(out64, should64, MOST + 1, sizeof(double), SEED + c);
    }
}

static void scaling_is_one_product(void **state)
{
    (void)state;
    on_each_path(scale_all);
}

/* ---- optimisers ------------------------------------------------------------------------------ */

/* Arrays of one optimiser, in one piece of memory: gradient, weights, mean, square. */
static float *draw_arrays(size_t count, bool tame, uint64_t seed)
{
    float *arrays = aligned_alloc(64, (4 * count * sizeof(float) + 64) / 64 * 64);

    assert_non_null(arrays);
    for (size_t i = 0; i < 4 * count; i++) {
        arrays[i] = draw_float(&seed);
        if (tame)
            arrays[i] = isfinite(arrays[i]) ? fminf(fabsf(arrays[i]), 1e3f) : 1.0f;
    }
    return arrays;
}

static struct sum_state state_of(float *arrays, size_t count)
{
    return (struct sum_state){arrays + count, arrays + 2 * count, arrays + 3 * count};
}

static const struct adamw example = {
    .rate = 3e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .floor = 1e-8f, .warm_up = 0};

/* Step 0's corrections, so powers are the betas themselves. */
static struct sum_adamw first_step(float decay)
{
    return (struct sum_adamw){.rate = example.rate,
                              .beta1 = example.beta1,
                              .beta2 = example.beta2,
                              .floor = example.floor,
                              .decay = decay,
                              .mean_scale = (float)(1.0 / (1.0 - (double)example.beta1)),
                              .square_scale = (float)(1.0 / (1.0 - (double)example.beta2))};
}

static void canonical(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = one_nan(values[i]);
}

/* Apart and in place, with `run` on the path and `plain` in plain C. */
static void optimise(size_t count, uint64_t seed,
                     void (*run)(const float *, const struct sum_state *, size_t,
                                 const struct sum_state *),
                     void (*plain)(float *, size_t))
{
    bool tame = seed % 2 == 0;
    float *should = draw_arrays(count, tame, seed);
    float *old = draw_arrays(count, tame, seed);
    float *new = draw_arrays(count, tame, seed);
    struct sum_state in = state_of(old, count);
    struct sum_state out = state_of(new, count);

    plain(should, count);
    run(old, &in, count, &out);
    assert_same(new, should, 4 * count, sizeof(float), seed);
    run(old, &in, count, &in);
    assert_same(old, should, 4 * count, sizeof(float), seed);
    free(should);
    free(old);
    free(new);
}

static void run_adamw(const float *gradient, const struct sum_state *in, size_t count,
                      const struct sum_state *out)
{
    const struct sum_adamw rule = first_step(0.1f);

    sum_adamw(&rule, gradient, in, count, out);
}

static void plain_adamw(float *arrays, size_t count)
{
    struct sum_state s = state_of(arrays, count);

    adamw_update(&example, 0, count, s.weights, s.mean, s.square, arrays, 0.1f);
    canonical(s.weights, 3 * count);
}

static void run_sgd(const float *gradient, const struct sum_state *in, size_t count,
                    const struct sum_state *out)
{
    sum_sgd(0.01f, 0.9f, gradient, in, count, out);
    if (in->square != out->square)
        memcpy(out->square, in->square, count * sizeof(float));
}

static void plain_sgd(float *arrays, size_t count)
{
    struct sum_state s = state_of(arrays, count);

    for (size_t i = 0; i < count; i++) {
        s.mean[i] = 0.9f * s.mean[i] + arrays[i];
        s.weights[i] = s.weights[i] - 0.01f * s.mean[i];
    }
    canonical(s.weights, 2 * count);
}

static void optimise_all(void)
{
    for (size_t i = 1; i < SMALL_COUNTS + EDGES; i++) {
        optimise(count_of(i), SEED + i, run_adamw, plain_adamw);
        optimise(count_of(i), SEED + i, run_sgd, plain_sgd);
    }
    /* big enough for streams; the second with lines that begin at different elements */
    optimise(SUM_STREAM_BYTES / sizeof(float), SEED, run_adamw, plain_adamw);
    optimise(SUM_STREAM_BYTES / sizeof(float) + 5, SEED, run_adamw, plain_adamw);
    optimise(SUM_STREAM_BYTES / sizeof(float), SEED, run_sgd, plain_sgd);
}

static void optimisers_are_those_of_plain_c(void **state)
{
    (void)state;
    on_each_path(optimise_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(portable_is_there_and_others_are_had_or_refused),
        cmocka_unit_test(additions_are_those_of_the_processor),
        cmocka_unit_test(scaling_is_one_product),
        cmocka_unit_test(optimisers_are_those_of_plain_c),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
