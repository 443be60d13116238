/* Additions, scaling and AdamW to the last bit, that of NaN too, with each set of kernels. */
#include "collectives/sum.h"

#include "examples/chargpt/adamw.h"
#include "tests/unit/sum_fixture.h"

#define SEED 20261125u
#define GUARD 16u /* elements around a result that nobody may touch */

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
    sum_best()->add(a, b, count, seed % 2 != 0, out + at);
    sum_fence();
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(float), seed);
    memcpy(out + at, a, count * sizeof(float));
    sum_best()->add(out + at, b, count, false, out + at);
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(float), seed);
    memcpy(out + at, b, count * sizeof(float));
    sum_best()->add(a, out + at, count, false, out + at);
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
    sum_best()->add64(a, b, count, out + at);
    assert_same(out, should, sizeof out / sizeof out[0], sizeof(double), seed);
    memcpy(out + at, b, count * sizeof(double));
    sum_best()->add64(a, out + at, count, out + at);
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
        sum_best()->load(SUM_F32, out, factor, count, out);
        sum_best()->scale64(out64, factor64, count, out64);
        assert_same(out, should, MOST + 1, sizeof(float), SEED + c);
        assert_same(out64, should64, MOST + 1, sizeof(double), SEED + c);
    }
}

static void scaling_is_one_product(void **state)
{
    (void)state;
    on_each_path(scale_all);
}

/* ---- updates --------------------------------------------------------------------------------- */

#define WEIGHTS 1037u

/* The weights of the example's own AdamW, of tame and of all numbers. */
static void check_adamw(void)
{
    static const struct adamw example = {
        .rate = 3e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .floor = 1e-8f, .warm_up = 0};
    const struct sum_adamw rule = {.scale = 1.0f,
                                   .rate = example.rate,
                                   .beta1 = example.beta1,
                                   .beta2 = example.beta2,
                                   .epsilon = example.floor,
                                   .decay = 0.1f,
                                   .mean_scale =
                                       (float)(1.0 / (1.0 - (double)example.beta1)), /* of step 0 */
                                   .square_scale = (float)(1.0 / (1.0 - (double)example.beta2))};

    for (uint64_t seed = SEED; seed < SEED + 8; seed++) {
        static float should[4][WEIGHTS], old[4][WEIGHTS], new[4][WEIGHTS];
        uint64_t random = seed;

        for (size_t i = 0; i < 4 * WEIGHTS; i++) {
            float value = draw_float(&random);

            if (seed % 2 == 0)
                value = isfinite(value) ? fminf(fabsf(value), 1e3f) : 1.0f;
            should[i / WEIGHTS][i % WEIGHTS] = old[i / WEIGHTS][i % WEIGHTS] = value;
        }
        adamw_update(&example, 0, WEIGHTS, should[1], should[2], should[3], should[0], 0.1f);
        for (size_t i = WEIGHTS; i < 4 * WEIGHTS; i++)
            should[i / WEIGHTS][i % WEIGHTS] = one_nan(should[i / WEIGHTS][i % WEIGHTS]);
        sum_best()->adamw(&rule, old[0], old[1], old[2], old[3], WEIGHTS, true, new[1], new[2],
                          new[3]);
        assert_same(new[1], should[1], 3 * WEIGHTS, sizeof(float), seed);
        sum_best()->adamw(&rule, old[0], old[1], old[2], old[3], WEIGHTS, false, old[1], old[2],
                          old[3]);
        assert_same(old, should, 4 * WEIGHTS, sizeof(float), seed);
    }
}

static void adamw_is_that_of_the_example(void **state)
{
    (void)state;
    on_each_path(check_adamw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(additions_are_those_of_the_processor),
        cmocka_unit_test(scaling_is_one_product),
        cmocka_unit_test(adamw_is_that_of_the_example),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
