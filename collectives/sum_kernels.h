/* The loops of sum.h, for vectors of VECTOR_BYTES; included once by the file of each path, which
 * defines before:
 *
 *   VECTOR_BYTES   16, 32 or 64          KERNELS        the table's name
 *   VF_STREAM(p, v), VD_STREAM(p, v)     a store past the caches, p aligned to the vector
 *   VF_NAN(v, nan), VD_NAN(v, nan)       v, with `nan` wherever v is NaN
 *   VF_SQRT(v)                           the correctly rounded root
 *   VF_FROM_HALF(h), VF_TO_HALF(v)       float16, as sum.h says
 *
 * An operation is written once, as X_at, for `n` elements: a whole vector, or what is left at an
 * end, which goes through the same instructions in a vector filled up with zeros. */
#include "collectives/sum_paths.h"
#include "collectives/sum_vectors.h"

#include <string.h>

ALWAYS vf load(const float *from, size_t n)
{
    vf v = {0};

    if (n == LANES)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS vd load64(const double *from, size_t n)
{
    vd v = {0};

    if (n == LANES64)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS vh load_half(const uint16_t *from, size_t n)
{
    vh v = {0};

    if (n == LANES)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS void store(vf v, size_t n, bool stream, float *to)
{
    if (stream)
        VF_STREAM(to, v);
    else if (n == LANES)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, n * sizeof *to);
}

ALWAYS void store64(vd v, size_t n, bool stream, double *to)
{
    if (stream)
        VD_STREAM(to, v);
    else if (n == LANES64)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, n * sizeof *to);
}

ALWAYS void store_half(vh v, size_t n, uint16_t *to)
{
    if (n == LANES)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, n * sizeof *to);
}

ALWAYS vf one_nan(vf v)
{
    const vu nan = (vu){0} + SUM_NAN;

    return VF_NAN(v, (vf)nan);
}

ALWAYS vd one_nan64(vd v)
{
    const vu64 nan = (vu64){0} + SUM_NAN64;

    return VD_NAN(v, (vd)nan);
}

/* Elements before the first cache line boundary of `out`. */
ALWAYS size_t head_of(const void *out, size_t size, size_t count)
{
    size_t head = (LINE_BYTES - (uintptr_t)out % LINE_BYTES) % LINE_BYTES / size;

    return head < count ? head : count;
}

/* Walks `count` elements, `lanes` a vector: AT(i, n, stream) for each run of n elements from i.
 * Streams write whole lines only, since a line written in part costs a read of it. */
#define WALK(out, count, lanes, stream, AT)                                               \
    do {                                                                                  \
        const size_t line = LINE_BYTES / sizeof *(out);                                   \
        const size_t step = line > (lanes) ? line : (lanes);                              \
        size_t i = 0;                                                                     \
                                                                                          \
        if (stream) {                                                                     \
            for (size_t head = head_of(out, sizeof *(out), count), n; i < head; i += n) { \
                n = head - i < (lanes) ? head - i : (lanes);                              \
                AT(i, n, false);                                                          \
            }                                                                             \
            for (; i + step <= (count); i += step)                                        \
                for (size_t k = 0; k < step; k += (lanes))                                \
                    AT(i + k, lanes, true);                                               \
        }                                                                                 \
        for (; i + step <= (count); i += step)                                            \
            for (size_t k = 0; k < step; k += (lanes))                                    \
                AT(i + k, lanes, false);                                                  \
        for (; i + (lanes) <= (count); i += (lanes))                                      \
            AT(i, lanes, false);                                                          \
        if (i < (count))                                                                  \
            AT(i, (count)-i, false);                                                      \
    } while (0)

/* ---- sums ------------------------------------------------------------------------------------ */

static void add(const float *left, const float *right, size_t count, bool stream, float *out)
{
#define ADD_AT(i, n, s) store(one_nan(load(left + (i), n) + load(right + (i), n)), n, s, out + (i))
    WALK(out, count, LANES, stream, ADD_AT);
}

static void add64(const double *left, const double *right, size_t count, bool stream, double *out)
{
#define ADD64_AT(i, n, s) \
    store64(one_nan64(load64(left + (i), n) + load64(right + (i), n)), n, s, out + (i))
    WALK(out, count, LANES64, stream, ADD64_AT);
}

static void scale(const float *in, float factor, size_t count, float *out)
{
#define SCALE_AT(i, n, s) store(one_nan(factor *load(in + (i), n)), n, s, out + (i))
    WALK(out, count, LANES, false, SCALE_AT);
}

static void scale64(const double *in, double factor, size_t count, double *out)
{
#define SCALE64_AT(i, n, s) store64(one_nan64(factor *load64(in + (i), n)), n, s, out + (i))
    WALK(out, count, LANES64, false, SCALE64_AT);
}

/* ---- types ----------------------------------------------------------------------------------- */

ALWAYS vf from_bfloat(vh v)
{
    return (vf)(__builtin_convertvector(v, vu) << 16);
}

ALWAYS vh to_bfloat(vf v)
{
    vu bits = (vu)v;
    vu rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    vu nan = bits >> 16 | 0x40u;

    return __builtin_convertvector(
        choose((vi)(bits & 0x7fffffffu) > 0x7f800000, nan, rounded) & 0xffffu, vh);
}

static void widen_f16(const uint16_t *in, size_t count, float *out)
{
#define WIDEN_F16_AT(i, n, s) store(VF_FROM_HALF(load_half(in + (i), n)), n, s, out + (i))
    WALK(out, count, LANES, false, WIDEN_F16_AT);
}

static void widen_bf16(const uint16_t *in, size_t count, float *out)
{
#define WIDEN_BF16_AT(i, n, s) store(from_bfloat(load_half(in + (i), n)), n, s, out + (i))
    WALK(out, count, LANES, false, WIDEN_BF16_AT);
}

static void narrow_f16(const float *in, size_t count, uint16_t *out)
{
#define NARROW_F16_AT(i, n, s) store_half(VF_TO_HALF(load(in + (i), n)), n, out + (i))
    WALK(out, count, LANES, false, NARROW_F16_AT);
}

static void narrow_bf16(const float *in, size_t count, uint16_t *out)
{
#define NARROW_BF16_AT(i, n, s) store_half(to_bfloat(load(in + (i), n)), n, out + (i))
    WALK(out, count, LANES, false, NARROW_BF16_AT);
}

/* ---- error feedback -------------------------------------------------------------------------- */

ALWAYS void pack_bf16_at(const float *in, float *residual, size_t i, size_t n, uint16_t *out)
{
    vf total = one_nan(load(in + i, n) + load(residual + i, n));
    vh packed = to_bfloat(total);
    vf sent = from_bfloat(packed);
    vi finite = (vi)((vu)sent & 0x7f800000u) != 0x7f800000;

    store_half(packed, n, out + i);
    store((vf)((vu)(total - sent) & (vu)finite), n, false, residual + i);
}

static void pack_bf16(const float *in, float *residual, size_t count, uint16_t *out)
{
#define PACK_BF16_AT(i, n, s) pack_bf16_at(in, residual, i, n, out)
    WALK(out, count, LANES, false, PACK_BF16_AT);
}

/* ---- sums of many terms ---------------------------------------------------------------------- */

/* Vectors that go through the terms together: they stay in registers. */
#define TILE 4u
#define TILE_LANES (TILE * LANES)
#define TILE_LANES64 (TILE * LANES64)

/* `vectors` vectors of n elements each, the first from element i. */
ALWAYS void load_term(const struct sum_term *term, size_t i, size_t n, size_t vectors, vf *value)
{
    const float *data = (const float *)term->data + i;
    const uint16_t *half = (const uint16_t *)term->data + i;

    if (term->dtype == SUM_F32)
        for (size_t v = 0; v < vectors; v++)
            value[v] = load(data + v * LANES, n);
    else if (term->dtype == SUM_F16)
        for (size_t v = 0; v < vectors; v++)
            value[v] = VF_FROM_HALF(load_half(half + v * LANES, n));
    else
        for (size_t v = 0; v < vectors; v++)
            value[v] = from_bfloat(load_half(half + v * LANES, n));
    if (term->weight != 1.0f)
        for (size_t v = 0; v < vectors; v++)
            value[v] *= term->weight;
}

ALWAYS void terms_at(const struct sum_term *list, uint32_t term_count, size_t i, size_t n,
                     size_t vectors, bool stream, float *out)
{
    vf open[SUM_MAX_OPEN][TILE];
    vf value[TILE];
    uint32_t depth = 0;

    for (uint32_t t = 0;; t++) {
        load_term(&list[t], i, n, vectors, value);
        for (uint32_t j = 0; j < list[t].joins; j++) {
            depth--;
            for (size_t v = 0; v < vectors; v++)
                value[v] = open[depth][v] + value[v];
        }
        if (t + 1 == term_count)
            break;
        for (size_t v = 0; v < vectors; v++)
            open[depth][v] = value[v];
        depth++;
    }
    for (size_t v = 0; v < vectors; v++)
        store(one_nan(value[v]), n, stream, out + i + v * LANES);
}

static void terms(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                  float *out)
{
    size_t head = stream ? head_of(out, sizeof *out, count) : 0;
    size_t i = 0;

    for (size_t n; i < head; i += n) {
        n = head - i < LANES ? head - i : LANES;
        terms_at(list, term_count, i, n, 1, false, out);
    }
    for (; stream && i + TILE_LANES <= count; i += TILE_LANES)
        terms_at(list, term_count, i, LANES, TILE, true, out);
    for (; i + TILE_LANES <= count; i += TILE_LANES)
        terms_at(list, term_count, i, LANES, TILE, false, out);
    for (size_t n; i < count; i += n) {
        n = count - i < LANES ? count - i : LANES;
        terms_at(list, term_count, i, n, 1, false, out);
    }
}

ALWAYS void terms64_at(const struct sum_term *list, uint32_t term_count, size_t i, size_t n,
                       size_t vectors, bool stream, double *out)
{
    vd open[SUM_MAX_OPEN][TILE];
    vd value[TILE];
    uint32_t depth = 0;

    for (uint32_t t = 0;; t++) {
        for (size_t v = 0; v < vectors; v++)
            value[v] = load64((const double *)list[t].data + i + v * LANES64, n);
        if (list[t].weight != 1.0f)
            for (size_t v = 0; v < vectors; v++)
                value[v] *= (double)list[t].weight;
        for (uint32_t j = 0; j < list[t].joins; j++) {
            depth--;
            for (size_t v = 0; v < vectors; v++)
                value[v] = open[depth][v] + value[v];
        }
        if (t + 1 == term_count)
            break;
        for (size_t v = 0; v < vectors; v++)
            open[depth][v] = value[v];
        depth++;
    }
    for (size_t v = 0; v < vectors; v++)
        store64(one_nan64(value[v]), n, stream, out + i + v * LANES64);
}

static void terms64(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                    double *out)
{
    size_t head = stream ? head_of(out, sizeof *out, count) : 0;
    size_t i = 0;

    for (size_t n; i < head; i += n) {
        n = head - i < LANES64 ? head - i : LANES64;
        terms64_at(list, term_count, i, n, 1, false, out);
    }
    for (; stream && i + TILE_LANES64 <= count; i += TILE_LANES64)
        terms64_at(list, term_count, i, LANES64, TILE, true, out);
    for (; i + TILE_LANES64 <= count; i += TILE_LANES64)
        terms64_at(list, term_count, i, LANES64, TILE, false, out);
    for (size_t n; i < count; i += n) {
        n = count - i < LANES64 ? count - i : LANES64;
        terms64_at(list, term_count, i, n, 1, false, out);
    }
}

/* ---- optimisers ------------------------------------------------------------------------------ */

ALWAYS void adamw_at(const struct sum_adamw *rule, const float *gradient,
                     const struct sum_state *in, size_t i, size_t n, bool stream,
                     const struct sum_state *out)
{
    const float new1 = 1.0f - rule->beta1;
    const float new2 = 1.0f - rule->beta2;
    const float keep = 1.0f - rule->rate * rule->decay;
    vf g = load(gradient + i, n);
    vf mean = rule->beta1 * load(in->mean + i, n) + new1 * g;
    vf square = rule->beta2 * load(in->square + i, n) + new2 * (g * g);
    vf root = VF_SQRT(square * rule->square_scale) + rule->floor;
    vf weights = keep * load(in->weights + i, n) - rule->rate * (mean * rule->mean_scale) / root;

    store(one_nan(mean), n, stream, out->mean + i);
    store(one_nan(square), n, stream, out->square + i);
    store(one_nan(weights), n, stream, out->weights + i);
}

static void adamw(const struct sum_adamw *shared, const float *gradient,
                  const struct sum_state *shared_in, size_t count, bool stream,
                  const struct sum_state *shared_out)
{
    /* own copies: stores to the arrays cannot change them, which the compiler cannot know */
    const struct sum_adamw rule = *shared;
    const struct sum_state in = *shared_in;
    const struct sum_state out = *shared_out;

#define ADAMW_AT(i, n, s) adamw_at(&rule, gradient, &in, i, n, s, &out)
    WALK(out.weights, count, LANES, stream, ADAMW_AT);
}

ALWAYS void sgd_at(float rate, float momentum, const float *gradient, const struct sum_state *in,
                   size_t i, size_t n, bool stream, const struct sum_state *out)
{
    vf mean = momentum * load(in->mean + i, n) + load(gradient + i, n);
    vf weights = load(in->weights + i, n) - rate * mean;

    store(one_nan(mean), n, stream, out->mean + i);
    store(one_nan(weights), n, stream, out->weights + i);
}

static void sgd(float rate, float momentum, const float *gradient,
                const struct sum_state *shared_in, size_t count, bool stream,
                const struct sum_state *shared_out)
{
    const struct sum_state in = *shared_in;
    const struct sum_state out = *shared_out;

#define SGD_AT(i, n, s) sgd_at(rate, momentum, gradient, &in, i, n, s, &out)
    WALK(out.weights, count, LANES, stream, SGD_AT);
}

const struct sum_kernels KERNELS = {
    .add = add,
    .add64 = add64,
    .terms = terms,
    .terms64 = terms64,
    .scale = scale,
    .scale64 = scale64,
    .widen_f16 = widen_f16,
    .widen_bf16 = widen_bf16,
    .narrow_f16 = narrow_f16,
    .narrow_bf16 = narrow_bf16,
    .pack_bf16 = pack_bf16,
    .adamw = adamw,
    .sgd = sgd,
};
