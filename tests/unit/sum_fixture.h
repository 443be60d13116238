/* For tests of sums: numbers that hurt, and comparison to the bit that names path and seed. */
#ifndef RK_TESTS_SUM_FIXTURE_H
#define RK_TESTS_SUM_FIXTURE_H

#include "collectives/sum.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static inline uint64_t draw(uint64_t *seed)
{
    uint64_t z = (*seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Any bits, a special number, or (mostly) one of those that gradients are made of. */
static inline float draw_float(uint64_t *seed)
{
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x00000001, 0x807fffff, 0x00800000,
                                       0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                                       0xffc12345, 0x7f800001, 0xffa00000, 0x3f800000, 0x33800000,
                                       0x38800000, 0x387fe000, 0x477fefff, 0x477ff000, 0x00400000};
    uint64_t random = draw(seed);

    if (random % 16 == 0)
        return float_of(special[(random >> 8) % (sizeof special / sizeof special[0])]);
    if (random % 16 == 1)
        return float_of((uint32_t)(random >> 32));
    return ((float)(random >> 40) - 8388608.0f) * (random & 16 ? 0x1p-30f : 0x1p-20f);
}

static inline double draw_double(uint64_t *seed)
{
    uint64_t bits = draw(seed);
    double value;

    if (bits % 8 != 0)
        return (double)draw_float(seed) * 1.1;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* What arithmetic of sum.h makes of a result. */
static inline float one_nan(float value)
{
    return isnan(value) ? float_of(SUM_NAN) : value;
}

static inline double one_nan64(double value)
{
    const uint64_t bits = SUM_NAN64;

    if (isnan(value))
        memcpy(&value, &bits, sizeof value);
    return value;
}

/* Fails with the first of `count` elements of `size` bytes that differ. */
static inline void assert_same(const void *is, const void *should, size_t count, size_t size,
                               uint64_t seed)
{
    const char *a = is;
    const char *b = should;

    for (size_t i = 0; i < count; i++)
        if (memcmp(a + i * size, b + i * size, size) != 0)
            fail_msg("element %zu of %zu differs with %s, seed %" PRIu64, i, count,
                     sum_best()->name, seed);
}

/* Runs `test` with each set of kernels that this processor can run, as sum_best. */
static inline void on_each_path(void (*test)(void))
{
    for (uint32_t set = 0; sum_set(set) != NULL; set++) {
        sum_use(sum_set(set));
        test();
    }
    sum_use(NULL);
}

/* Lengths around vectors, lines and blocks. */
static const size_t edge_counts[] = {255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 2053};
#define EDGES (sizeof edge_counts / sizeof edge_counts[0])
#define SMALL_COUNTS 201u
#define MOST 2053u /* the largest of them */

static inline size_t count_of(size_t i)
{
    return i < SMALL_COUNTS ? i : edge_counts[i - SMALL_COUNTS];
}

#endif
