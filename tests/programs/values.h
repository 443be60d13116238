/* What sumcheck computes, as pure functions of a few numbers, so that any of it can be computed
 * again by whoever checks it: the gradient of a shard, and the sum that must come of it. */
#ifndef TESTS_VALUES_H
#define TESTS_VALUES_H

#include <stdbool.h>
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

/* How much a shard counts where sums are averaged by weights: quarters, whose sums are exact. */
static inline float value_weight(uint64_t seed, uint64_t step, uint64_t shard)
{
    if (shard == 0) /* they must not all be 0 */
        return 0.75f;
    return (float)(value_mix(value_key(seed, step, shard)) % 5) * 0.25f;
}

static inline double value_weights(uint64_t seed, uint64_t step, uint64_t shards)
{
    double sum = 0.0;
    for (uint64_t shard = 0; shard < shards; shard++)
        sum += (double)value_weight(seed, step, shard);
    return sum;
}

/* A gradient element of 64 bits, for which 32 would not do. */
static inline double value_wide(uint64_t key, uint64_t element)
{
    return (double)value_gradient(key, element) * (1.0 + 0x1.cp-30);
}

/* One of bfloat16: the upper half of a float32. */
static inline uint16_t value_short(uint64_t key, uint64_t element)
{
    const union {
        float value;
        uint32_t bits;
    } whole = {value_gradient(key, element)};
    return (uint16_t)(whole.bits >> 16);
}

static inline float value_of_short(uint16_t upper)
{
    const union {
        uint32_t bits;
        float value;
    } whole = {(uint32_t)upper << 16};
    return whole.value;
}

/* To the nearest bfloat16, of two as near to the even one. */
static inline uint16_t value_to_short(float value)
{
    const union {
        float value;
        uint32_t bits;
    } whole = {value};
    return (uint16_t)((whole.bits + 0x7fff + (whole.bits >> 16 & 1)) >> 16);
}

/* What is summed: of a seed's step, as they are or each times its shard's weight. */
struct value_step {
    uint64_t seed, step;
    bool weighted;
};

static inline float value_weight_in(const struct value_step *of, uint64_t shard)
{
    return of->weighted ? value_weight(of->seed, of->step, shard) : 1.0f;
}

#define VALUE_MAX_SHARDS 1024u

/* The sum over `shards`, a power of two of them, in the fixed tree: neighbours first. */
static inline float value_tree(float value[VALUE_MAX_SHARDS], uint64_t shards)
{
    for (; shards > 1; shards /= 2)
        for (uint64_t i = 0; i < shards / 2; i++)
            value[i] = value[2 * i] + value[2 * i + 1];
    return value[0];
}

static inline float value_sum(const struct value_step *of, uint64_t shards, uint64_t element)
{
    float value[VALUE_MAX_SHARDS] = {0};
    for (uint64_t i = 0; i < shards; i++)
        value[i] =
            value_weight_in(of, i) * value_gradient(value_key(of->seed, of->step, i), element);
    return value_tree(value, shards);
}

static inline float value_short_sum(const struct value_step *of, uint64_t shards, uint64_t element)
{
    float value[VALUE_MAX_SHARDS] = {0};
    for (uint64_t i = 0; i < shards; i++)
        value[i] = value_weight_in(of, i) *
                   value_of_short(value_short(value_key(of->seed, of->step, i), element));
    return value_tree(value, shards);
}

static inline double value_wide_sum(const struct value_step *of, uint64_t shards, uint64_t element)
{
    double value[VALUE_MAX_SHARDS] = {0};
    for (uint64_t i = 0; i < shards; i++)
        value[i] =
            (double)value_weight_in(of, i) * value_wide(value_key(of->seed, of->step, i), element);
    for (; shards > 1; shards /= 2)
        for (uint64_t i = 0; i < shards / 2; i++)
            value[i] = value[2 * i] + value[2 * i + 1];
    return value[0];
}

#endif
