/* What sumcheck computes, as pure functions of a few numbers, so that any of it can be computed
 * again by whoever checks it: the gradient of a shard, and the sum that must come of it. */
#ifndef TESTS_VALUES_H
#define TESTS_VALUES_H

#include <stdint.h>

/* The finaliser of SplitMix64 (Steele, Lea, Flood, 2014). */
static inline uint64_t value_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* What the elements of one shard of one step have in common. */
static inline uint64_t value_key(uint64_t seed, uint64_t step, uint64_t shard)
{
    return value_mix(value_mix(seed ^ value_mix(step)) ^ (shard << 32));
}

/* One gradient element: 24 random bits times one of eight powers of two, so that the order in which
 * such numbers are added shows in the last bits of almost every sum. */
static inline float value_gradient(uint64_t key, uint64_t element)
{
    const uint64_t bits = value_mix(key ^ element);
    const float unit = (float)(bits >> 40) * 0x1p-23f - 1.0f;
    return unit * (float)(1u << (bits & 7));
}

/* The sum over shards first .. first + count - 1, a power of two of them, in the fixed tree: left
 * half + right half. */
static inline float value_sum(uint64_t seed, uint64_t step, uint64_t first, uint64_t count,
                              uint64_t element)
{
    if (count == 1)
        return value_gradient(value_key(seed, step, first), element);
    const float left = value_sum(seed, step, first, count / 2, element);
    return left + value_sum(seed, step, first + count / 2, count / 2, element);
}

#endif
