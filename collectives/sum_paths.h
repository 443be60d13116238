/* What a path offers; one table for each, made by sum_kernels.h. */
#ifndef RK_COLLECTIVES_SUM_PATHS_H
#define RK_COLLECTIVES_SUM_PATHS_H

#include "collectives/sum.h"

/* As the functions of sum.h with the same names; `stream` without the fence. */
struct sum_kernels {
    void (*add)(const float *left, const float *right, size_t count, bool stream, float *out);
    void (*add64)(const double *left, const double *right, size_t count, bool stream, double *out);
    void (*terms)(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                  float *out);
    void (*terms64)(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                    double *out);
    void (*scale)(const float *in, float factor, size_t count, float *out);
    void (*scale64)(const double *in, double factor, size_t count, double *out);
    void (*widen_f16)(const uint16_t *in, size_t count, float *out);
    void (*widen_bf16)(const uint16_t *in, size_t count, float *out);
    void (*narrow_f16)(const float *in, size_t count, uint16_t *out);
    void (*narrow_bf16)(const float *in, size_t count, uint16_t *out);
    void (*pack_bf16)(const float *in, float *residual, size_t count, uint16_t *out);
    void (*adamw)(const struct sum_adamw *rule, const float *gradient, const struct sum_state *in,
                  size_t count, bool stream, const struct sum_state *out);
    void (*sgd)(float rate, float momentum, const float *gradient, const struct sum_state *in,
                size_t count, bool stream, const struct sum_state *out);
};

extern const struct sum_kernels sum_kernels_portable;
#if defined __x86_64__
extern const struct sum_kernels sum_kernels_avx2;
extern const struct sum_kernels sum_kernels_avx512;
#endif

#endif
