/* The path for processors with AVX-512; see sum_kernels.h. */
#include <immintrin.h>

#define VECTOR_BYTES 64
#define KERNELS sum_avx512
#define KERNELS_NAME "avx512"
#define VF_STREAM(p, v) _mm512_stream_ps(p, v)
#define VF_NAN(v, nan) _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), nan)
#define VD_NAN(v, nan) _mm512_mask_mov_pd(v, _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q), nan)
#define VU_WHERE_NAN(v, yes, no)                                                      \
    (vu) _mm512_mask_mov_epi32((__m512i)(no), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), \
                               (__m512i)(yes))
#define VU_NARROW(v) (vh) _mm512_cvtepi32_epi16((__m512i)(v))
#define VF_SQRT(v) _mm512_sqrt_ps(v)
#define VF_FROM_HALF(h) _mm512_cvtph_ps((__m256i)(h))
/* all lanes; the form without a mask is a macro that warns in builds without optimisation */
#define VF_TO_HALF(v) (vh) _mm512_maskz_cvtps_ph(0xffffu, v, _MM_FROUND_TO_NEAREST_INT)

#include "collectives/sum_kernels.h"
