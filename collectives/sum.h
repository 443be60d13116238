/* The arithmetic of gradients at the speed of memory, with the same bits from every path.
 *
 * A path is one build of the same loops (sum_kernels.h) for one width of vectors; the widest that
 * the processor has is taken at the first use.  Each element is rounded as IEEE 754 says for the
 * operations as written: no contraction, no approximation, nothing reassociated, denormals kept.
 *
 * NaN: which of two NaN survives an addition is the processor's and the compiler's choice, so every
 * result of arithmetic here that is NaN is the one NaN SUM_NAN (0x7fc00000), SUM_NAN64 in float64.
 * Copies and conversions keep payloads.
 *
 * Outputs may be equal to inputs of the same type (in place), else must not overlap them.  Any
 * alignment that the element type allows will do.  All functions may run in many threads. */
#ifndef RK_COLLECTIVES_SUM_H
#define RK_COLLECTIVES_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUM_NAN UINT32_C(0x7fc00000)
#define SUM_NAN64 UINT64_C(0x7ff8000000000000)

/* Results of at least so many bytes are stored past the caches. */
#define SUM_STREAM_BYTES ((size_t)4 << 20)

/* Storage types, numbered as enum rk_dtype of worker/reknit.h. */
enum sum_dtype { SUM_F32 = 1, SUM_F64 = 2, SUM_F16 = 7, SUM_BF16 = 8 };

/* ---- paths ----------------------------------------------------------------------------------- */

enum sum_path { SUM_PORTABLE, SUM_AVX2, SUM_AVX512, SUM_PATHS_ };

const char *sum_path_name(enum sum_path path);
/* Whether this build and this processor have it. */
bool sum_path_has(enum sum_path path);
enum sum_path sum_path(void);
/* For tests: from now on all threads take `path`.  False, and nothing changed, if it is not had. */
bool sum_path_set(enum sum_path path);

/* ---- sums ------------------------------------------------------------------------------------ */

/* out = left + right.  With `stream`, whole cache lines of `out` are stored past the caches; they
 * are seen by other threads in order only after sum_stream_end. */
void sum_add(const float *left, const float *right, size_t count, bool stream, float *out);
void sum_add64(const double *left, const double *right, size_t count, bool stream, double *out);
void sum_stream_end(void);

/* Terms deeper than this cannot wait for each other: a tree of 2^11 leaves. */
#define SUM_MAX_OPEN 12u

/* A term of a sum in a given order, read as `dtype` and multiplied by `weight` (1: not at all),
 * after which the last `joins` + 1 values that wait become one: w = earlier + w, again and again.
 * So a + (b + c) is a with 0 joins, b with 0, c with 2. */
struct sum_term {
    const void *data;
    float weight;
    uint8_t dtype; /* enum sum_dtype */
    uint8_t joins;
};

/* out = the sum of at least one term, at the end of which one value waits.  Terms are of F32, F16
 * or BF16; of sum_terms64, F64.  `stream` as in sum_add. */
void sum_terms(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
               float *out);
void sum_terms64(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                 double *out);

/* out *= factor, in place. */
void sum_scale(float *out, size_t count, float factor);
void sum_scale64(double *out, size_t count, double factor);

/* ---- types ----------------------------------------------------------------------------------- */

/* Bytes of one element. */
size_t sum_size(enum sum_dtype dtype);

/* Converts between SUM_F32, SUM_F16 and SUM_BF16, rounding to nearest, ties to even; widening is
 * exact.  NaN stay NaN, quiet ones wherever F16 is read or a narrower type is written; payloads
 * are cut off on the right.  Not in place unless the types are equal. */
void sum_convert(enum sum_dtype from, const void *in, enum sum_dtype to, size_t count, void *out);

/* ---- error feedback -------------------------------------------------------------------------- */

/* What bfloat16 on the wire loses is kept and sent with the next vector:
 *   out = bf16(in + residual)      residual' = (in + residual) - out
 * both differences exact but for the first addition.  Where `out` is not finite residual' is 0: an
 * overflow is reported once and must not poison every later step.  `residual` starts as zeros. */
void sum_bf16_pack(const float *in, float *residual, size_t count, uint16_t *out);
void sum_bf16_unpack(const uint16_t *in, size_t count, float *out);

/* ---- optimisers ------------------------------------------------------------------------------ */

/* What one step of AdamW is made of; the powers of the bias corrections are the caller's. */
struct sum_adamw {
    float rate; /* learning rate of this step */
    float beta1;
    float beta2;
    float floor;        /* epsilon, added to the root */
    float decay;        /* of weights; 0: none */
    float mean_scale;   /* 1 / (1 - beta1^step), steps counted from 1 */
    float square_scale; /* 1 / (1 - beta2^step) */
};

/* Arrays of `count` elements.  An optimiser without second moments leaves `square` alone. */
struct sum_state {
    float *weights;
    float *mean;
    float *square;
};

/* Element by element, in this order:
 *   mean' = beta1 * mean + (1 - beta1) * g      square' = beta2 * square + (1 - beta2) * (g * g)
 *   weights' = (1 - rate * decay) * weights
 *              - rate * (mean' * mean_scale) / (sqrt(square' * square_scale) + floor)
 * Large results that lie apart from their inputs are streamed, and visible on return. */
void sum_adamw(const struct sum_adamw *rule, const float *gradient, const struct sum_state *in,
               size_t count, const struct sum_state *out);

/* mean' = momentum * mean + g      weights' = weights - rate * mean' */
void sum_sgd(float rate, float momentum, const float *gradient, const struct sum_state *in,
             size_t count, const struct sum_state *out);

#endif
