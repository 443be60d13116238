/* The path for every processor: vectors of 16 bytes, which the compiler makes of what the target
 * has by itself (SSE2, NEON); see sum_kernels.h. */
#if defined __SSE2__
#include <emmintrin.h>
#define VF_STREAM(p, v) _mm_stream_ps(p, v)
#else
#define VF_STREAM(p, v) memcpy(p, &(v), sizeof(v))
#endif

#define VECTOR_BYTES 16
#define KERNELS sum_portable
#define KERNELS_NAME "portable"
#define VF_NAN(v, nan) (vf) choose((vi)((v) == (v)), (vu)(v), (vu)(nan))
#define VD_NAN(v, nan) (vd) choose((vi)((v) == (v)), (vu)(v), (vu)(nan))
#define VU_WHERE_NAN(v, yes, no) choose((vi)((v) != (v)), yes, no)
#define VU_NARROW(v) __builtin_convertvector(v, vh)
#define VF_SQRT(v) root_of(v)
#define VF_FROM_HALF(h) from_half(h)
#define VF_TO_HALF(v) to_half(v)

#include "collectives/sum_vectors.h"

static inline vf root_of(vf v)
{
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        v[i] = __builtin_sqrtf(v[i]);
    return v;
}

/* Denormals are made from the number 2^-14 (1 + x), minus 2^-14: exact, and never a denormal
 * float on the way. */
static inline vf from_half(vh half)
{
    vu bits = __builtin_convertvector(half, vu);
    vu rest = bits & 0x7fffu;
    vu normal = (rest << 13) + (112u << 23);
    vf tiny = (vf)((rest << 13) + (113u << 23)) - 0x1p-14f;
    vu special = rest << 13 | 0x7f800000u;
    vu value = choose((vi)rest < 0x400, (vu)tiny, normal);

    special = choose((vi)rest > 0x7c00, special | 0x400000u, special);
    value = choose((vi)rest >= 0x7c00, special, value);
    return (vf)(value | (bits & 0x8000u) << 16);
}

/* Results that are denormal halves are rounded by adding 0.5, whose last place is 2^-24. */
static inline vh to_half(vf v)
{
    vu bits = (vu)v;
    vu rest = bits & 0x7fffffffu;
    vu normal = (rest - (112u << 23) + 0xfffu + (rest >> 13 & 1u)) >> 13;
    vu tiny = (vu)((vf)rest + 0.5f) - 0x3f000000u;
    vu nan = 0x7e00u | (rest >> 13 & 0x1ffu);
    vu value = choose((vi)rest < 0x38800000, tiny, normal);

    value = choose((vi)rest >= 0x47800000, (vu){0} + 0x7c00u, value);
    value = choose((vi)rest > 0x7f800000, nan, value);
    return __builtin_convertvector(value | (bits >> 16 & 0x8000u), vh);
}

#include "collectives/sum_kernels.h"
