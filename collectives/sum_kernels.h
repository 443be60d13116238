/* The kernels of sum.h, compiled once for each kind of processor: whoever includes this defines
 * SUM_TABLE, the name of the table, and SUM_VECTOR, the bytes of its vectors.  Plain loops, which
 * the compiler vectorises; what it must be told by hand is to store past the caches. */
#include "collectives/sum.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define ELEMENTWISE _Pragma("GCC ivdep")
#endif

/* ---- sums ------------------------------------------------------------------------------------ */

static void add_plain(const float *a, const float *b, size_t count, float *out)
{
    ELEMENTWISE
    for (size_t i = 0; i < count; i++)
        out[i] = a[i] + b[i];
}

#if defined(__AVX512F__)
static void stream_vector(const float *a, const float *b, float *out)
{
    _mm512_stream_ps(out, _mm512_add_ps(_mm512_loadu_ps(a), _mm512_loadu_ps(b)));
}
#elif defined(__AVX__)
static void stream_vector(const float *a, const float *b, float *out)
{
    _mm256_stream_ps(out, _mm256_add_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b)));
}
#elif defined(__SSE2__)
static void stream_vector(const float *a, const float *b, float *out)
{
    _mm_stream_ps(out, _mm_add_ps(_mm_loadu_ps(a), _mm_loadu_ps(b)));
}
#endif

static void add(const float *a, const float *b, size_t count, bool stream, float *out)
{
#if defined(__SSE2__)
    const size_t lanes = SUM_VECTOR / sizeof(float);
    size_t head = (SUM_VECTOR - (uintptr_t)out % SUM_VECTOR) % SUM_VECTOR / sizeof(float);

    if (stream && (uintptr_t)out % sizeof(float) == 0 && count >= 4 * lanes) {
        size_t at = head;

        add_plain(a, b, head, out);
        for (; at + lanes <= count; at += lanes)
            stream_vector(a + at, b + at, out + at);
        add_plain(a + at, b + at, count - at, out + at);
        return;
    }
#endif
    (void)stream;
    add_plain(a, b, count, out);
}

static void add64(const double *a, const double *b, size_t count, double *out)
{
    ELEMENTWISE
    for (size_t i = 0; i < count; i++)
        out[i] = a[i] + b[i];
}

/* ---- types ----------------------------------------------------------------------------------- */

static inline uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Exponent and fraction are moved in place, and a multiplication, which is exact, mends the bias of
 * the exponent, of subnormal numbers too.  The exponent of infinities and NaNs is set by hand. */
static inline float from_f16(uint16_t half)
{
    uint32_t rest = (uint32_t)(half & 0x7fff) << 13;
    uint32_t bits = bits_of(float_of(rest) * 0x1p112f);

    bits |= rest >= 0x0f800000 ? 0x7f800000 : 0;
    return float_of(bits | (uint32_t)(half & 0x8000) << 16);
}

static inline float from_bf16(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

/* Four cases by magnitude, all computed and one chosen: NaN; too large; normal; subnormal, where
 * adding a half leaves the fraction, rounded, in the lowest bits. */
static inline uint16_t to_f16(float value)
{
    uint32_t all = bits_of(value);
    uint32_t rest = all & 0x7fffffff;
    uint32_t normal = (rest + 0xfff + (rest >> 13 & 1) - 0x38000000) >> 13;
    uint32_t small = bits_of(float_of(rest < 0x38800000 ? rest : 0) + 0.5f) - 0x3f000000;
    uint32_t half = rest < 0x38800000 ? small : normal;

    half = rest >= 0x477ff000 ? 0x7c00 : half;
    half = rest > 0x7f800000 ? (0x7e00 | (rest >> 13 & 0x3ff)) : half;
    return (uint16_t)(half | (all >> 16 & 0x8000));
}

static inline uint16_t to_bf16(float value)
{
    uint32_t all = bits_of(value);
    uint32_t rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;

    return (uint16_t)((all & 0x7fffffff) > 0x7f800000 ? (all >> 16 | 0x40) : rounded);
}

static void load(enum sum_dtype from, const void *in, float weight, size_t count, float *out)
{
    const uint16_t *half = in;
    const float *whole = in;

    if (from == SUM_F16) {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            out[i] = weight * from_f16(half[i]);
    } else if (from == SUM_BF16) {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            out[i] = weight * from_bf16(half[i]);
    } else {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            out[i] = weight * whole[i];
    }
}

static void scale64(const double *in, double factor, size_t count, double *out)
{
    ELEMENTWISE
    for (size_t i = 0; i < count; i++)
        out[i] = factor * in[i];
}

static void store(const float *in, float factor, enum sum_dtype to, size_t count, void *out)
{
    uint16_t *half = out;
    float *whole = out;

    if (to == SUM_F16) {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            half[i] = to_f16(factor * in[i]);
    } else if (to == SUM_BF16) {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            half[i] = to_bf16(factor * in[i]);
    } else {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            whole[i] = factor * in[i];
    }
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

/* ---- updates --------------------------------------------------------------------------------- */

static void sgd(const struct sum_sgd *sgd, const float *g, const float *w, const float *v,
                size_t count, float *next_w, float *next_v)
{
    const struct sum_sgd s = *sgd;

    if (v == NULL) {
        ELEMENTWISE
        for (size_t i = 0; i < count; i++)
            next_w[i] = w[i] - s.rate * (s.scale * g[i] + s.decay * w[i]);
        return;
    }
    ELEMENTWISE
    for (size_t i = 0; i < count; i++) {
        float velocity = s.momentum * v[i] + (s.scale * g[i] + s.decay * w[i]);

        next_v[i] = velocity;
        next_w[i] = w[i] - s.rate * velocity;
    }
}

static void adamw(const struct sum_adamw *adamw, const float *g, const float *w, const float *m,
                  const float *v, size_t count, float *next_w, float *next_m, float *next_v)
{
    const struct sum_adamw a = *adamw;
    const float new1 = 1.0f - a.beta1;
    const float new2 = 1.0f - a.beta2;
    const float keep = 1.0f - a.rate * a.decay;

    ELEMENTWISE
    for (size_t i = 0; i < count; i++) {
        float gradient = a.scale * g[i];
        float mean = a.beta1 * m[i] + new1 * gradient;
        float square = a.beta2 * v[i] + new2 * (gradient * gradient);

        next_m[i] = mean;
        next_v[i] = square;
        next_w[i] = keep * w[i] -
                    a.rate * (mean * a.mean_scale) / (sqrtf(square * a.square_scale) + a.epsilon);
    }
}

const struct sum_kernels SUM_TABLE = {
    .name = SUM_NAME,
    .add = add,
    .add64 = add64,
    .load = load,
    .scale64 = scale64,
    .store = store,
    .finite = all_finite,
    .sgd = sgd,
    .adamw = adamw,
};
