/* Arithmetic on runs of elements, at the speed of memory and with the same bits on every path.
 *
 * Each function does the same IEEE 754 operations in the same order for each element, whatever
 * vectors the processor has: no fused multiply-add, no approximations, no flushing of denormals.
 * Which NaN a sum of two NaNs is, is left open, as the standard leaves it.
 *
 * Memory may be unaligned.  An output may be one of the inputs, at the same element; other overlaps
 * are not allowed.  Threads: any. */
#ifndef RK_COLLECTIVES_SUM_H
#define RK_COLLECTIVES_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sum_dtype { SUM_F32 = 1, SUM_F64 = 2, SUM_F16 = 7, SUM_BF16 = 8 }; /* as enum rk_dtype */

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
    /* out = weight * in, in float32.  f16 and bf16 convert exactly. */
    void (*load)(enum sum_dtype from, const void *in, float weight, size_t count, float *out);
    void (*scale64)(const double *in, double factor, size_t count, double *out);
    /* out = factor * in rounded to nearest, ties to even; a NaN stays one and becomes quiet. */
    void (*store)(const float *in, float factor, enum sum_dtype to, size_t count, void *out);
    /* Whether all elements are finite. */
    bool (*finite)(enum sum_dtype of, const void *in, size_t count);
    /* As reknit.h says of rk_sgd and rk_adamw; w, m, v are old, those with `next` new; v NULL: no
     * momentum. */
    void (*sgd)(const struct sum_sgd *sgd, const float *g, const float *w, const float *v,
                size_t count, float *next_w, float *next_v);
    void (*adamw)(const struct sum_adamw *adamw, const float *g, const float *w, const float *m,
                  const float *v, size_t count, float *next_w, float *next_m, float *next_v);
};

void sum_fence(void);

/* The best set for this processor.  Never NULL. */
const struct sum_kernels *sum_best(void);
/* Set `index` of those that this processor can run, from the plainest on, or NULL: for tests. */
const struct sum_kernels *sum_set(uint32_t index);

#endif
