/* Every set of kernels that this processor can run against plain arithmetic, one element at a time,
 * at every length, offset and kind of number. */
#include "collectives/sum.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOM 5000u
#define GUARD 12345.0f

static uint32_t random_state;

static uint32_t draw(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 4 ^ random_state << 20;
}

/* Ordinary numbers, and among them zeros, subnormals, infinities and a NaN. */
static float some_float(void)
{
    static const uint32_t special[] = {0,          0x80000000, 1,          0x007fffff, 0x00800000,
                                       0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x38800000};
    uint32_t bits = draw() % 8 == 0 ? special[draw() % 10] : draw();
    float value;

    memcpy(&value, &bits, sizeof value);
    return isnan(value) ? NAN : value;
}

static void fill(float *data, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] = some_float();
}

static bool same(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

typedef void check(const struct sum_kernels *kernels);

/* The check with each set, three seeds each. */
static void with_all(check *run)
{
    uint32_t sets = 0;

    for (uint32_t index = 0; index < 8; index++) {
        const struct sum_kernels *kernels = sum_set(index);

        for (uint32_t seed = 1; kernels != NULL && seed <= 3; seed++) {
            random_state = seed;
            run(kernels);
        }
        sets += kernels != NULL;
    }
    assert_true(sets >= 1);
    assert_non_null(sum_best());
}

static void add_at(const struct sum_kernels *kernels, size_t count, size_t shift, bool stream)
{
    static _Alignas(64) float a[ROOM], b[ROOM], out[ROOM], want[ROOM];

    fill(a, count + shift);
    fill(b, count + shift);
    for (size_t i = 0; i < count; i++)
        want[i] = a[shift + i] + b[i];
    out[shift + count] = GUARD;
    kernels->add(a + shift, b, count, stream, out + shift);
    sum_fence();
    for (size_t i = 0; i < count; i++)
        assert_true(same(out[shift + i], want[i]));
    assert_true(out[shift + count] == GUARD);
    kernels->add(a + shift, b, count, stream, a + shift); /* in place */
    sum_fence();
    for (size_t i = 0; i < count; i++)
        assert_true(same(a[shift + i], want[i]));
}

static void check_add(const struct sum_kernels *kernels)
{
    for (size_t count = 0; count < 200; count++)
        for (size_t shift = 0; shift < 17; shift += 1 + count % 3)
            add_at(kernels, count, shift, count % 2 == 0);
    add_at(kernels, 4096, 3, true);
    add_at(kernels, 4096, 0, true);
}

static void sums_are_those_of_single_additions(void **state)
{
    (void)state;
    with_all(check_add);
}

/* ---- 16-bit types: by definition ------------------------------------------------------------- */

static float value_of_f16(uint16_t half)
{
    int exponent = half >> 10 & 31;
    float fraction = (float)(half & 1023) / 1024.0f;
    float sign = half & 0x8000 ? -1.0f : 1.0f;

    if (exponent == 31)
        return (half & 1023) != 0 ? NAN : sign * INFINITY;
    return sign * (exponent == 0 ? ldexpf(fraction, -14) : ldexpf(1.0f + fraction, exponent - 15));
}

static float value_of_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static float value_of(enum sum_dtype dtype, uint16_t half)
{
    return dtype == SUM_F16 ? value_of_f16(half) : value_of_bf16(half);
}

static void check_load(const struct sum_kernels *kernels)
{
    static uint16_t all[65536];
    static float out[65536];

    for (uint32_t h = 0; h < 65536; h++)
        all[h] = (uint16_t)h;
    for (enum sum_dtype dtype = SUM_F16; dtype <= SUM_BF16; dtype++) {
        kernels->load(dtype, all, 1.0f, 65536, out);
        for (uint32_t h = 0; h < 65536; h++)
            assert_true(same(out[h], value_of(dtype, (uint16_t)h)));
        kernels->load(dtype, all + 1, 0.375f, 1001, out);
        for (uint32_t h = 0; h < 1001; h++)
            assert_true(same(out[h], 0.375f * value_of(dtype, (uint16_t)(h + 1))));
    }
}

static void each_half_is_loaded_exactly(void **state)
{
    (void)state;
    with_all(check_load);
}

/* `half` must be as near to `value` as any other, and even where two are as near. */
static void expect_nearest(enum sum_dtype dtype, float value, uint16_t half)
{
    uint16_t magnitude = half & 0x7fff;
    uint16_t infinity = dtype == SUM_F16 ? 0x7c00 : 0x7f80;
    double target = fabs((double)value);
    double limit = dtype == SUM_F16 ? 0x1p16 : 0x1p128; /* what infinity counts as */
    double here = magnitude == infinity ? limit : (double)value_of(dtype, magnitude);
    double below, above;

    if (isnan(value)) {
        assert_true(magnitude > infinity);
        assert_true(magnitude & (dtype == SUM_F16 ? 0x200 : 0x40));
        return;
    }
    assert_int_equal(half >> 15, signbit(value) ? 1 : 0);
    assert_true(magnitude <= infinity);
    if (isinf(value)) {
        assert_int_equal(magnitude, infinity);
        return;
    }
    below = magnitude == 0 ? -1 : (double)value_of(dtype, (uint16_t)(magnitude - 1));
    above = magnitude == infinity       ? HUGE_VAL
            : magnitude + 1 == infinity ? limit
                                        : (double)value_of(dtype, (uint16_t)(magnitude + 1));
    assert_true(fabs(target - here) < fabs(target - below) ||
                (fabs(target - here) == fabs(target - below) && magnitude % 2 == 0));
    assert_true(fabs(target - here) < fabs(target - above) ||
                (fabs(target - here) == fabs(target - above) && magnitude % 2 == 0));
}

/* Every value that a half has, the borders between two neighbours, and just beside these. */
static void check_store(const struct sum_kernels *kernels)
{
    static float in[6];
    uint16_t out[6];

    for (enum sum_dtype dtype = SUM_F16; dtype <= SUM_BF16; dtype++) {
        for (uint32_t h = 0; h < 65536; h += 1 + draw() % 5) {
            float here = value_of(dtype, (uint16_t)h);
            float next = value_of(dtype, (uint16_t)(h + 1));
            float border = here / 2 + next / 2;

            in[0] = here;
            in[1] = border;
            in[2] = nextafterf(border, here);
            in[3] = nextafterf(border, next);
            in[4] = some_float();
            in[5] = -border;
            kernels->store(in, 1.0f, dtype, 6, out);
            for (int i = 0; i < 6; i++)
                expect_nearest(dtype, in[i], out[i]);
        }
    }
}

static void halves_are_rounded_to_nearest_even(void **state)
{
    (void)state;
    with_all(check_store);
}

static void check_scales(const struct sum_kernels *kernels)
{
    static float in[300], out[300];
    static double in64[300], out64[300], more[300];

    fill(in, 300);
    for (int i = 0; i < 300; i++)
        in64[i] = (double)in[i] * 1.1;
    kernels->store(in, 0.3f, SUM_F32, 300, out);
    kernels->scale64(in64, 0.3, 299, out64);
    kernels->add64(in64, out64, 299, more);
    for (int i = 0; i < 299; i++) {
        assert_true(same(out[i], 0.3f * in[i]));
        assert_true(isnan(in64[i]) || out64[i] == 0.3 * in64[i]);
        assert_true(isnan(in64[i]) || isnan(more[i]) || more[i] == in64[i] + out64[i]);
    }
    kernels->load(SUM_F32, in, 2.5f, 300, out);
    for (int i = 0; i < 300; i++)
        assert_true(same(out[i], 2.5f * in[i]));
}

static void check_finite(const struct sum_kernels *kernels)
{
    static uint16_t half[300];
    static float whole[300];
    static double wide[300];

    for (int i = 0; i < 300; i++) {
        half[i] = i % 2 ? 0x7bff : 0xfbff; /* the largest of float16; fine as bfloat16 too */
        whole[i] = i % 2 ? 3.4e38f : -0.0f;
        wide[i] = i % 2 ? 1.7e308 : -4.9e-324;
    }
    for (size_t at = 0; at < 300; at += 1 + draw() % 20) {
        assert_true(kernels->finite(SUM_F16, half, 300));
        assert_true(kernels->finite(SUM_BF16, half, 300));
        assert_true(kernels->finite(SUM_F32, whole, 300));
        assert_true(kernels->finite(SUM_F64, wide, 300));
        half[at] = at % 2 ? 0x7c00 : 0xfe01;
        whole[at] = at % 2 ? -INFINITY : NAN;
        wide[at] = at % 2 ? (double)INFINITY : (double)-NAN;
        assert_false(kernels->finite(SUM_F16, half, 300));
        assert_true(kernels->finite(SUM_BF16, half, 300));
        assert_false(kernels->finite(SUM_F32, whole, 300));
        assert_false(kernels->finite(SUM_F64, wide, 300));
        assert_true(kernels->finite(SUM_F32, whole, at));
        half[at] = 0x7f80;
        assert_false(kernels->finite(SUM_BF16, half, 300));
        half[at] = 1;
        whole[at] = 1;
        wide[at] = 1;
    }
}

static void infinities_and_nans_are_found(void **state)
{
    (void)state;
    with_all(check_finite);
}

static void scaled_values_are_single_products(void **state)
{
    (void)state;
    with_all(check_scales);
}

/* ---- updates --------------------------------------------------------------------------------- */

enum { STATES = 3, COUNT = 333 };

static void check_sgd(const struct sum_kernels *kernels)
{
    const struct sum_sgd sgd = {.scale = 0.25f, .rate = 0.1f, .momentum = 0.9f, .decay = 0.01f};
    static float g[COUNT], w[COUNT], v[COUNT], next_w[COUNT], next_v[COUNT];

    fill(g, COUNT);
    fill(w, COUNT);
    fill(v, COUNT);
    kernels->sgd(&sgd, g, w, v, COUNT, false, next_w, next_v);
    for (int i = 0; i < COUNT; i++) {
        float velocity = 0.9f * v[i] + (0.25f * g[i] + 0.01f * w[i]);

        assert_true(same(next_v[i], velocity));
        assert_true(same(next_w[i], w[i] - 0.1f * velocity));
    }
    kernels->sgd(&sgd, g, w, NULL, COUNT, false, next_w, NULL);
    for (int i = 0; i < COUNT; i++)
        assert_true(same(next_w[i], w[i] - 0.1f * (0.25f * g[i] + 0.01f * w[i])));
}

static void check_adamw(const struct sum_kernels *kernels)
{
    const struct sum_adamw a = {.scale = 0.5f,
                                .rate = 0.01f,
                                .beta1 = 0.9f,
                                .beta2 = 0.99f,
                                .epsilon = 1e-8f,
                                .decay = 0.1f,
                                .mean_scale = 10.0f,
                                .square_scale = 100.0f};
    static float g[COUNT], s[STATES][COUNT], next[STATES][COUNT];
    const float new1 = 1.0f - a.beta1, new2 = 1.0f - a.beta2, keep = 1.0f - a.rate * a.decay;

    fill(g, COUNT);
    for (int k = 0; k < STATES; k++)
        fill(s[k], COUNT);
    for (int i = 0; i < COUNT; i++)
        s[2][i] = fabsf(s[2][i]);
    kernels->adamw(&a, g, s[0], s[1], s[2], COUNT, false, next[0], next[1], next[2]);
    for (int i = 0; i < COUNT; i++) {
        float gradient = 0.5f * g[i];
        float mean = a.beta1 * s[1][i] + new1 * gradient;
        float square = a.beta2 * s[2][i] + new2 * (gradient * gradient);
        float weight = keep * s[0][i] - a.rate * (mean * a.mean_scale) /
                                            (sqrtf(square * a.square_scale) + a.epsilon);

        assert_true(same(next[1][i], mean));
        assert_true(same(next[2][i], square));
        assert_true(same(next[0][i], weight));
    }
}

static void updates_are_those_of_the_formula(void **state)
{
    (void)state;
    with_all(check_sgd);
    with_all(check_adamw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_single_additions),
        cmocka_unit_test(each_half_is_loaded_exactly),
        cmocka_unit_test(halves_are_rounded_to_nearest_even),
        cmocka_unit_test(scaled_values_are_single_products),
        cmocka_unit_test(infinities_and_nans_are_found),
        cmocka_unit_test(updates_are_those_of_the_formula),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
