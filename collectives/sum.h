/* Arithmetic on runs of elements, at the speed of memory and with the same bits on every path.
 *
 * Each function does the same IEEE 754 operations in the same order for each element, whatever
 * vectors the processor has: no fused multiply-add, no approximations, no flushing of denormals.
 * Which of two NaNs survives an addition is the processor's and the compiler's choice, so a NaN
 * that arithmetic makes is always SUM_NAN, or SUM_NAN64; copies and conversions keep payloads.
 *
 * Memory may be unaligned.  An output may be one of the inputs, at the same element; other overlaps
 * are not allowed.  Threads: any. */
#ifndef RK_COLLECTIVES_SUM_H
#define RK_COLLECTIVES_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUM_NAN UINT32_C(0x7fc00000)
#define SUM_NAN64 UINT64_C(0x7ff8000000000000)

enum sum_dtype { SUM_F32 = 1, SUM_F64 = 2, SUM_F16 = 7, SUM_BF16 = 8 }; /* as enum rk_dtype */

#define SUM_MAX_OPEN 12u /* values that may wait at once: a tree of 2^11 leaves */

/* A term of a sum in a given order, read as `dtype` and multiplied by `weight` (1: not at all),
 * after which the last `joins` + 1 values that wait become one: w = earlier + w, again and again.
 * So a + (b + c) is a with 0 joins, b with 0, c with 2. */
struct sum_term {
    const void *data;
    float weight;
    uint8_t dtype; /* enum sum_dtype */
    uint8_t joins;
};

struct sum_sgd {
    float scale; /* of the gradient */
    float rate, momentum, decay;
};

/* `mean_scale` and `square_scale` correct the bias of the moments: 1 / (1 - beta^t). */
struct sum_adamw {
    float scale;
    float rate, beta1, beta2, epsilon, decay;
    float mean_scale, square_scale;
};

struct sum_kernels {
    const char *name;
    /* out = a + b.  `stream`: past the caches, for what nobody reads soon; then sum_fence() comes
     * before others are told of it. */
    void (*add)(const float *a, const float *b, size_t count, bool stream, float *out);
    void (*add64)(const double *a, const double *b, size_t count, double *out);
    /* out = the sum of at least one term, at the end of which one value waits, in one walk through
     * memory.  Terms are of F32, F16 or BF16; of terms64, F64. */
    void (*terms)(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                  float *out);
    void (*terms64)(const struct sum_term *list, uint32_t term_count, size_t count, double *out);
    /* out = weight * in, in float32.  f16 and bf16 convert exactly; weight 1 changes no bit. */
    void (*load)(enum sum_dtype from, const void *in, float weight, size_t count, float *out);
    void (*scale64)(const double *in, double factor, size_t count, double *out);
    /* out = factor * in rounded to nearest, ties to even; a NaN stays one and becomes quiet. */
    void (*store)(const float *in, float factor, enum sum_dtype to, size_t count, void *out);
    /* Whether all elements are finite. */
    bool (*finite)(enum sum_dtype of, const void *in, size_t count);
    /* bfloat16 with error feedback: what rounding loses is sent with the next vector,
     *   out = bf16(in + residual)      residual' = (in + residual) - out
     * and 0 where out is not finite, so that an overflow does not poison later steps. */
    void (*pack_bf16)(const float *in, float *residual, size_t count, uint16_t *out);
    /* As reknit.h says of rk_sgd and rk_adamw; w, m, v are old, those with `next` new; v NULL: no
     * momentum. */
    void (*sgd)(const struct sum_sgd *sgd, const float *g, const float *w, const float *v,
                size_t count, bool stream, float *next_w, float *next_v);
    void (*adamw)(const struct sum_adamw *adamw, const float *g, const float *w, const float *m,
                  const float *v, size_t count, bool stream, float *next_w, float *next_m,
                  float *next_v);
};

void sum_fence(void);

/* The best set for this processor, or that of sum_use.  Never NULL. */
const struct sum_kernels *sum_best(void);
/* Set `index` of those that this processor can run, from the plainest on, or NULL: for tests. */
const struct sum_kernels *sum_set(uint32_t index);
/* For tests: sum_best is `set` from now on, in all threads; NULL: the best again. */
void sum_use(const struct sum_kernels *set);

#endif
