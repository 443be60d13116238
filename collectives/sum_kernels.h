/* The loops of sum.h, for vectors of VECTOR_BYTES; included once by the file of each path, which
 * defines before:
 *
 *   VECTOR_BYTES   16, 32 or 64          KERNELS, KERNELS_NAME   the table and its name
 *   VF_STREAM(p, v)                      a store past the caches, p aligned to the vector
 *   VF_NAN(v, nan), VD_NAN(v, nan)       v, with `nan` wherever v is NaN
 *   VU_WHERE_NAN(v, yes, no)             yes in the lanes where v is NaN
 *   VU_NARROW(v)                         the lower halves of lanes whose upper ones are 0
 *   VF_SQRT(v)                           the correctly rounded root
 *   VF_FROM_HALF(h), VF_TO_HALF(v)       float16, as sum.h says
 *
 * An operation is written once, as X_at, for `n` elements: a whole vector, or what is left at an
 * end, which goes through the same instructions in a vector filled up with zeros. */
#include "collectives/sum_paths.h"
#include "collectives/sum_vectors.h"

#include <string.h>

ALWAYS vf load_floats(const float *from, size_t n)
{
    vf v = {0};

    if (n == LANES)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS vd load_doubles(const double *from, size_t n)
{
    vd v = {0};

    if (n == LANES64)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS vh load_halves(const uint16_t *from, size_t n)
{
    vh v = {0};

    if (n == LANES)
        memcpy(&v, from, sizeof v);
    else
        memcpy(&v, from, n * sizeof *from);
    return v;
}

ALWAYS void store_floats(vf v, size_t n, bool stream, float *to)
{
    if (stream)
        VF_STREAM(to, v);
    else if (n == LANES)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, n * sizeof *to);
}

ALWAYS void store_doubles(vd v, size_t n, double *to)
{
    if (n == LANES64)
        memcpy(to, &v, sizeof v);
    else
        memcpy(to, &v, n * sizeof *to);
}

ALWAYS void store_halves(vh v, size_t n, uint16_t *to)
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
#define ADD_AT(i, n, s) \
    store_floats(one_nan(load_floats(left + (i), n) + load_floats(right + (i), n)), n, s, out + (i))
    WALK(out, count, LANES, stream, ADD_AT);
}

static void add64(const double *left, const double *right, size_t count, double *out)
{
#define ADD64_AT(i, n, s)                                                                   \
    store_doubles(one_nan64(load_doubles(left + (i), n) + load_doubles(right + (i), n)), n, \
                  out + (i))
    WALK(out, count, LANES64, false, ADD64_AT);
}

static void scale64(const double *in, double factor, size_t count, double *out)
{
#define SCALE64_AT(i, n, s) \
    store_doubles(one_nan64(factor *load_doubles(in + (i), n)), n, out + (i))
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

    return VU_NARROW(VU_WHERE_NAN(v, nan, rounded));
}

/* Weight 1 changes no bit, of a NaN neither. */
static void load_f32(const float *in, float weight, size_t count, float *out)
{
#define LOAD_F32_AT(i, n, s) \
    store_floats(one_nan(weight *load_floats(in + (i), n)), n, s, out + (i))
    if (weight != 1.0f)
        WALK(out, count, LANES, false, LOAD_F32_AT);
    else if (in != out)
        memcpy(out, in, count * sizeof *out);
}

static void load_half(bool is_f16, const uint16_t *in, float weight, size_t count, float *out)
{
#define F16_AT(i, n, s) store_floats(VF_FROM_HALF(load_halves(in + (i), n)), n, s, out + (i))
#define BF16_AT(i, n, s) store_floats(from_bfloat(load_halves(in + (i), n)), n, s, out + (i))
#define WEIGHED(v) one_nan(weight *(v))
#define WEIGHED_F16_AT(i, n, s) \
    store_floats(WEIGHED(VF_FROM_HALF(load_halves(in + (i), n))), n, s, out + (i))
#define WEIGHED_BF16_AT(i, n, s) \
    store_floats(WEIGHED(from_bfloat(load_halves(in + (i), n))), n, s, out + (i))
    if (is_f16 && weight == 1.0f)
        WALK(out, count, LANES, false, F16_AT);
    else if (is_f16)
        WALK(out, count, LANES, false, WEIGHED_F16_AT);
    else if (weight == 1.0f)
        WALK(out, count, LANES, false, BF16_AT);
    else
        WALK(out, count, LANES, false, WEIGHED_BF16_AT);
}

static void load(enum sum_dtype from, const void *in, float weight, size_t count, float *out)
{
    if (from == SUM_F32)
        load_f32(in, weight, count, out);
    else
        load_half(from == SUM_F16, in, weight, count, out);
}

static void store(const float *in, float factor, enum sum_dtype to, size_t count, void *out)
{
    uint16_t *half = out;

#define SCALED(i, n) \
    (factor == 1.0f ? load_floats(in + (i), n) : one_nan(factor * load_floats(in + (i), n)))
#define TO_F16_AT(i, n, s) store_halves(VF_TO_HALF(SCALED(i, n)), n, half + (i))
#define TO_BF16_AT(i, n, s) store_halves(to_bfloat(SCALED(i, n)), n, half + (i))
    if (to == SUM_F32)
        load_f32(in, factor, count, out);
    else if (to == SUM_F16)
        WALK(half, count, LANES, false, TO_F16_AT);
    else
        WALK(half, count, LANES, false, TO_BF16_AT);
}

/* An exponent of all ones is that of infinities and NaNs; `found` keeps whether one was seen. */
static bool all_finite(enum sum_dtype of, const void *in, size_t count)
{
    const uint64_t *wide = in;
    const uint32_t *whole = in;
    const uint16_t *half = in;
    uint16_t ones = of == SUM_F16 ? 0x7c00 : 0x7f80;
    uint64_t found64 = 0;
    uint32_t found = 0;
    uint16_t found16 = 0;

    if (of == SUM_F64)
        for (size_t i = 0; i < count; i++)
            found64 |= (wide[i] & UINT64_C(0x7ff0000000000000)) == UINT64_C(0x7ff0000000000000);
    else if (of == SUM_F32)
        for (size_t i = 0; i < count; i++)
            found |= (whole[i] & 0x7f800000) == 0x7f800000;
    else
        for (size_t i = 0; i < count; i++)
            found16 = (uint16_t)(found16 | ((half[i] & ones) == ones));
    return found64 == 0 && found == 0 && found16 == 0;
}

/* ---- error feedback -------------------------------------------------------------------------- */

ALWAYS void pack_bf16_at(const float *in, float *residual, size_t i, size_t n, uint16_t *out)
{
    vf total = one_nan(load_floats(in + i, n) + load_floats(residual + i, n));
    vh packed = to_bfloat(total);
    vf sent = from_bfloat(packed);
    vi finite = (vi)((vu)sent & 0x7f800000u) != 0x7f800000;

    store_halves(packed, n, out + i);
    store_floats((vf)((vu)(total - sent) & (vu)finite), n, false, residual + i);
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
            value[v] = load_floats(data + v * LANES, n);
    else if (term->dtype == SUM_F16)
        for (size_t v = 0; v < vectors; v++)
            value[v] = VF_FROM_HALF(load_halves(half + v * LANES, n));
    else
        for (size_t v = 0; v < vectors; v++)
            value[v] = from_bfloat(load_halves(half + v * LANES, n));
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
        store_floats(one_nan(value[v]), n, stream, out + i + v * LANES);
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
                       size_t vectors, double *out)
{
    vd open[SUM_MAX_OPEN][TILE];
    vd value[TILE];
    uint32_t depth = 0;

    for (uint32_t t = 0;; t++) {
        for (size_t v = 0; v < vectors; v++)
            value[v] = load_doubles((const double *)list[t].data + i + v * LANES64, n);
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
        store_doubles(one_nan64(value[v]), n, out + i + v * LANES64);
}

static void terms64(const struct sum_term *list, uint32_t term_count, size_t count, double *out)
{
    size_t i = 0;

    for (; i + TILE_LANES64 <= count; i += TILE_LANES64)
        terms64_at(list, term_count, i, LANES64, TILE, out);
    for (size_t n; i < count; i += n) {
        n = count - i < LANES64 ? count - i : LANES64;
        terms64_at(list, term_count, i, n, 1, out);
    }
}

/* ---- updates --------------------------------------------------------------------------------- */

/* Where one update reads and writes. */
struct moved {
    const float *g, *w, *m, *v;
    float *next_w, *next_m, *next_v;
};

/* Whether whole lines of both begin at the same element. */
ALWAYS bool alike(const float *a, const float *b)
{
    return ((uintptr_t)a - (uintptr_t)b) % LINE_BYTES == 0;
}

ALWAYS void plain_sgd_at(const struct sum_sgd *sgd, const struct moved *at, size_t i, size_t n,
                         bool stream)
{
    vf w = load_floats(at->w + i, n);
    vf g = sgd->scale * load_floats(at->g + i, n) + sgd->decay * w;

    store_floats(one_nan(w - sgd->rate * g), n, stream, at->next_w + i);
}

ALWAYS void sgd_at(const struct sum_sgd *sgd, const struct moved *at, size_t i, size_t n,
                   bool stream)
{
    vf w = load_floats(at->w + i, n);
    vf g = sgd->scale * load_floats(at->g + i, n) + sgd->decay * w;
    vf v = sgd->momentum * load_floats(at->v + i, n) + g;

    store_floats(one_nan(v), n, stream, at->next_v + i);
    store_floats(one_nan(w - sgd->rate * v), n, stream, at->next_w + i);
}

static void sgd(const struct sum_sgd *shared, const float *g, const float *w, const float *v,
                size_t count, bool stream, float *next_w, float *next_v)
{
    const struct sum_sgd rule = *shared; /* which no store to the arrays can change */
    const struct moved at = {.g = g, .w = w, .v = v, .next_w = next_w, .next_v = next_v};

#define PLAIN_SGD_AT(i, n, s) plain_sgd_at(&rule, &at, i, n, s)
#define SGD_AT(i, n, s) sgd_at(&rule, &at, i, n, s)
    if (v == NULL)
        WALK(next_w, count, LANES, stream, PLAIN_SGD_AT);
    else
        WALK(next_w, count, LANES, stream && alike(next_w, next_v), SGD_AT);
}

ALWAYS void adamw_at(const struct sum_adamw *a, const struct moved *at, size_t i, size_t n,
                     bool stream)
{
    const float new1 = 1.0f - a->beta1;
    const float new2 = 1.0f - a->beta2;
    const float keep = 1.0f - a->rate * a->decay;
    vf g = a->scale * load_floats(at->g + i, n);
    vf mean = a->beta1 * load_floats(at->m + i, n) + new1 * g;
    vf square = a->beta2 * load_floats(at->v + i, n) + new2 * (g * g);
    vf root = VF_SQRT(square * a->square_scale) + a->epsilon;
    vf weights = keep * load_floats(at->w + i, n) - a->rate * (mean * a->mean_scale) / root;

    store_floats(one_nan(mean), n, stream, at->next_m + i);
    store_floats(one_nan(square), n, stream, at->next_v + i);
    store_floats(one_nan(weights), n, stream, at->next_w + i);
}

static void adamw(const struct sum_adamw *shared, const float *g, const float *w, const float *m,
                  const float *v, size_t count, bool stream, float *next_w, float *next_m,
                  float *next_v)
{
    const struct sum_adamw rule = *shared;
    const bool past = stream && alike(next_w, next_m) && alike(next_w, next_v);
    const struct moved at = {g, w, m, v, next_w, next_m, next_v};

#define ADAMW_AT(i, n, s) adamw_at(&rule, &at, i, n, s)
    WALK(next_w, count, LANES, past, ADAMW_AT);
}

const struct sum_kernels KERNELS = {
    .name = KERNELS_NAME,
    .add = add,
    .add64 = add64,
    .terms = terms,
    .terms64 = terms64,
    .load = load,
    .scale64 = scale64,
    .store = store,
    .finite = all_finite,
    .pack_bf16 = pack_bf16,
    .sgd = sgd,
    .adamw = adamw,
};
