/* One element of each operation of collectives/sum.h, for GPUs, and for processors in tests.
 *
 * The same IEEE 754 operations in the same order as sum_kernels.h: on a GPU by instructions that
 * round each result (never contracted into fused multiply-add, denormals kept), elsewhere by C's
 * operators under -ffp-contract=off.  C and CUDA. */
#ifndef RK_COLLECTIVES_NCCL_ELEMENTS_H
#define RK_COLLECTIVES_NCCL_ELEMENTS_H

#include "collectives/sum.h"

#include <string.h>

#ifdef __CUDA_ARCH__
#define ADD(a, b) __fadd_rn(a, b)
#define SUB(a, b) __fsub_rn(a, b)
#define MUL(a, b) __fmul_rn(a, b)
#define DIV(a, b) __fdiv_rn(a, b)
#define ROOT(a) __fsqrt_rn(a)
#else
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define ROOT(a) __builtin_sqrtf(a)
#endif

#ifdef __CUDACC__
#define ELEMENT static inline __host__ __device__
#else
#define ELEMENT static inline
#endif

ELEMENT float element_float(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

ELEMENT uint32_t element_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* `value`, or the one NaN. */
ELEMENT float element_nan(float value)
{
    return value == value ? value : element_float(SUM_NAN);
}

ELEMENT float element_from_bf16(uint16_t half)
{
    return element_float((uint32_t)half << 16);
}

ELEMENT uint16_t element_to_bf16(float value)
{
    uint32_t bits = element_bits(value);

    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* As sum_portable.c: denormals are 2^-14 (1 + x) - 2^-14, which is exact. */
ELEMENT float element_from_f16(uint16_t half)
{
    uint32_t rest = half & 0x7fffu;
    uint32_t value;

    if (rest < 0x400u)
        value = element_bits(SUB(element_float((rest << 13) + (113u << 23)), 0x1p-14f));
    else if (rest < 0x7c00u)
        value = (rest << 13) + (112u << 23);
    else
        value = rest << 13 | 0x7f800000u | (rest > 0x7c00u ? 0x400000u : 0u);
    return element_float(value | (half & 0x8000u) << 16);
}

/* Results that are denormal are rounded by adding 0.5, whose last place is 2^-24. */
ELEMENT uint16_t element_to_f16(float value)
{
    uint32_t bits = element_bits(value);
    uint32_t rest = bits & 0x7fffffffu;
    uint32_t half;

    if (rest > 0x7f800000u)
        half = 0x7e00u | (rest >> 13 & 0x1ffu);
    else if (rest >= 0x47800000u)
        half = 0x7c00u;
    else if (rest < 0x38800000u)
        half = element_bits(ADD(element_float(rest), 0.5f)) - 0x3f000000u;
    else
        half = (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13;
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

ELEMENT float element_read(uint32_t dtype, const void *data, size_t i)
{
    if (dtype == SUM_F32)
        return ((const float *)data)[i];
    if (dtype == SUM_F16)
        return element_from_f16(((const uint16_t *)data)[i]);
    return element_from_bf16(((const uint16_t *)data)[i]);
}

/* finite of sum.h, of one element. */
ELEMENT int element_finite(uint32_t dtype, const void *data, size_t i)
{
    return (element_bits(element_read(dtype, data, i)) & 0x7f800000u) != 0x7f800000u;
}

/* load of sum.h. */
ELEMENT void element_load(uint32_t from, const void *in, float weight, size_t i, float *out)
{
    float value = element_read(from, in, i);

    out[i] = weight == 1.0f ? value : element_nan(MUL(weight, value));
}

/* store of sum.h. */
ELEMENT void element_store(const float *in, float factor, uint32_t to, size_t i, void *out)
{
    float value = factor == 1.0f ? in[i] : element_nan(MUL(factor, in[i]));

    if (to == SUM_F32)
        ((float *)out)[i] = value;
    else
        ((uint16_t *)out)[i] = to == SUM_F16 ? element_to_f16(value) : element_to_bf16(value);
}

/* pack_bf16 of sum.h. */
ELEMENT void element_pack_bf16(const float *in, float *residual, size_t i, uint16_t *out)
{
    float total = element_nan(ADD(in[i], residual[i]));
    uint16_t packed = element_to_bf16(total);
    float sent = element_from_bf16(packed);
    int finite = (packed & 0x7f80u) != 0x7f80u;

    out[i] = packed;
    residual[i] = finite ? SUB(total, sent) : 0.0f;
}

/* terms of sum.h. */
ELEMENT void element_terms(const struct sum_term *list, uint32_t term_count, size_t i, float *out)
{
    float open[SUM_MAX_OPEN];
    float value = 0.0f;
    uint32_t depth = 0;

    for (uint32_t t = 0; t < term_count; t++) {
        value = element_read(list[t].dtype, list[t].data, i);
        if (list[t].weight != 1.0f)
            value = MUL(value, list[t].weight);
        for (uint32_t j = 0; j < list[t].joins && depth > 0; j++)
            value = ADD(open[--depth], value);
        open[depth++] = value;
    }
    out[i] = element_nan(value);
}

/* Where an update reads and writes. */
struct element_adamw {
    struct sum_adamw rule;
    float new1, new2, keep; /* 1 - beta1, 1 - beta2, 1 - rate * decay */
    const float *g, *w, *m, *v;
    float *next_w, *next_m, *next_v;
};

/* adamw of sum.h. */
ELEMENT void element_adamw(const struct element_adamw *at, size_t i)
{
    const struct sum_adamw *a = &at->rule;
    float g = MUL(a->scale, at->g[i]);
    float mean = ADD(MUL(a->beta1, at->m[i]), MUL(at->new1, g));
    float square = ADD(MUL(a->beta2, at->v[i]), MUL(at->new2, MUL(g, g)));
    float root = ADD(ROOT(MUL(square, a->square_scale)), a->epsilon);
    float change = DIV(MUL(a->rate, MUL(mean, a->mean_scale)), root);
    float weights = SUB(MUL(at->keep, at->w[i]), change);

    at->next_m[i] = element_nan(mean);
    at->next_v[i] = element_nan(square);
    at->next_w[i] = element_nan(weights);
}

#endif
