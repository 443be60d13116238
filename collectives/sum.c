/* Which path is taken, and what lies around the loops; see sum.h. */
#include "collectives/sum.h"

#include "collectives/sum_paths.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#if defined __x86_64__
#include <cpuid.h>
#endif

/* Elements converted at a time where two conversions follow each other: stay in L1. */
#define BLOCK 512u

static const struct {
    const char *name;
    const struct sum_kernels *kernels; /* NULL: not in this build */
} paths[SUM_PATHS_] = {
    [SUM_PORTABLE] = {"portable", &sum_kernels_portable},
#if defined __x86_64__
    [SUM_AVX2] = {"avx2", &sum_kernels_avx2},
    [SUM_AVX512] = {"avx512", &sum_kernels_avx512},
#else
    [SUM_AVX2] = {"avx2", NULL},
    [SUM_AVX512] = {"avx512", NULL},
#endif
};

/* The path plus 1; 0: not chosen yet.  Threads that choose at once choose the same. */
static _Atomic unsigned chosen;

const char *sum_path_name(enum sum_path path)
{
    return paths[path].name;
}

#if defined __x86_64__
/* Not every compiler's __builtin_cpu_supports knows f16c. */
static bool has_f16c(void)
{
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
}
#endif

bool sum_path_has(enum sum_path path)
{
#if defined __x86_64__
    bool avx2 = __builtin_cpu_supports("avx2") && has_f16c();

    if (path == SUM_AVX2)
        return avx2;
    if (path == SUM_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return path == SUM_PORTABLE;
}

enum sum_path sum_path(void)
{
    unsigned path = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (path != 0)
        return (enum sum_path)(path - 1);
    for (path = SUM_PATHS_; !sum_path_has((enum sum_path)(path - 1)); path--)
        ;
    atomic_store_explicit(&chosen, path, memory_order_relaxed);
    return (enum sum_path)(path - 1);
}

bool sum_path_set(enum sum_path path)
{
    if (!sum_path_has(path))
        return false;
    atomic_store_explicit(&chosen, (unsigned)path + 1, memory_order_relaxed);
    return true;
}

static const struct sum_kernels *kernels(void)
{
    return paths[sum_path()].kernels;
}

void sum_add(const float *left, const float *right, size_t count, bool stream, float *out)
{
    kernels()->add(left, right, count, stream, out);
}

void sum_add64(const double *left, const double *right, size_t count, bool stream, double *out)
{
    kernels()->add64(left, right, count, stream, out);
}

void sum_terms(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
               float *out)
{
    kernels()->terms(list, term_count, count, stream, out);
}

void sum_terms64(const struct sum_term *list, uint32_t term_count, size_t count, bool stream,
                 double *out)
{
    kernels()->terms64(list, term_count, count, stream, out);
}

void sum_stream_end(void)
{
#if defined __x86_64__
    __builtin_ia32_sfence();
#endif
}

void sum_scale(float *out, size_t count, float factor)
{
    kernels()->scale(out, factor, count, out);
}

void sum_scale64(double *out, size_t count, double factor)
{
    kernels()->scale64(out, factor, count, out);
}

size_t sum_size(enum sum_dtype dtype)
{
    switch (dtype) {
    case SUM_F32:
        return sizeof(float);
    case SUM_F64:
        return sizeof(double);
    case SUM_F16:
    case SUM_BF16:
        return sizeof(uint16_t);
    }
    return 0;
}

static void widen(enum sum_dtype from, const void *in, size_t count, float *out)
{
    if (from == SUM_F16)
        kernels()->widen_f16(in, count, out);
    else
        kernels()->widen_bf16(in, count, out);
}

static void narrow(const float *in, enum sum_dtype to, size_t count, void *out)
{
    if (to == SUM_F16)
        kernels()->narrow_f16(in, count, out);
    else
        kernels()->narrow_bf16(in, count, out);
}

void sum_convert(enum sum_dtype from, const void *in, enum sum_dtype to, size_t count, void *out)
{
    assert(from == to || (from != SUM_F64 && to != SUM_F64));
    if (from == to) {
        if (in != out)
            memcpy(out, in, count * sum_size(from));
    } else if (to == SUM_F32) {
        widen(from, in, count, out);
    } else if (from == SUM_F32) {
        narrow(in, to, count, out);
    } else {
        for (size_t at = 0; at < count; at += BLOCK) {
            size_t n = count - at < BLOCK ? count - at : BLOCK;
            float wide[BLOCK];

            widen(from, (const uint16_t *)in + at, n, wide);
            narrow(wide, to, n, (uint16_t *)out + at);
        }
    }
}

void sum_bf16_pack(const float *in, float *residual, size_t count, uint16_t *out)
{
    kernels()->pack_bf16(in, residual, count, out);
}

void sum_bf16_unpack(const uint16_t *in, size_t count, float *out)
{
    kernels()->widen_bf16(in, count, out);
}

/* Whether new arrays are stored past the caches: they are big, apart from the old ones, and their
 * lines begin at the same elements. */
static bool streams(const float *in, const float *out, const float *other, size_t count)
{
    return count * sizeof(float) >= SUM_STREAM_BYTES && in != out &&
           ((uintptr_t)out - (uintptr_t)other) % 64 == 0;
}

void sum_adamw(const struct sum_adamw *rule, const float *gradient, const struct sum_state *in,
               size_t count, const struct sum_state *out)
{
    bool stream = streams(in->weights, out->weights, out->mean, count) &&
                  streams(in->mean, out->mean, out->square, count) && in->square != out->square;

    kernels()->adamw(rule, gradient, in, count, stream, out);
    if (stream)
        sum_stream_end();
}

void sum_sgd(float rate, float momentum, const float *gradient, const struct sum_state *in,
             size_t count, const struct sum_state *out)
{
    bool stream = streams(in->weights, out->weights, out->mean, count) && in->mean != out->mean;

    kernels()->sgd(rate, momentum, gradient, in, count, stream, out);
    if (stream)
        sum_stream_end();
}
