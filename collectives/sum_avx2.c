/* The path for processors with AVX2 and F16C; see sum_kernels.h. */
#include <immintrin.h>

#define VECTOR_BYTES 32
#define KERNELS sum_avx2
#define KERNELS_NAME "avx2"
#define VF_STREAM(p, v) _mm256_stream_ps(p, v)
#define VF_NAN(v, nan) _mm256_blendv_ps(v, nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q))
#define VD_NAN(v, nan) _mm256_blendv_pd(v, nan, _mm256_cmp_pd(v, v, _CMP_UNORD_Q))
#define VU_WHERE_NAN(v, yes, no) \
    (vu) _mm256_blendv_ps((__m256)(no), (__m256)(yes), _mm256_cmp_ps(v, v, _CMP_UNORD_Q))
#define VU_NARROW(v) narrow_lanes(v)
#define VF_SQRT(v) _mm256_sqrt_ps(v)
#define VF_FROM_HALF(h) _mm256_cvtph_ps((__m128i)(h))
#define VF_TO_HALF(v) (vh) _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)

#include "collectives/sum_vectors.h"

/* A pack works in each half of the register. */
static inline vh narrow_lanes(vu v)
{
    __m256i packed = _mm256_packus_epi32((__m256i)v, (__m256i)v);

    return (vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xd8));
}

#include "collectives/sum_kernels.h"
