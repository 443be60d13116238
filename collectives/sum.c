/* Chooses kernels; see sum.h. */
#include "collectives/sum_paths.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

void sum_fence(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

const struct sum_kernels *sum_set(uint32_t index)
{
#if defined(__x86_64__)
    if (index == 1 && __builtin_cpu_supports("avx2"))
        return &sum_avx2;
    if (index == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &sum_avx512;
#endif
    return index == 0 ? &sum_portable : NULL;
}

const struct sum_kernels *sum_best(void)
{
    static const struct sum_kernels *_Atomic best;
    const struct sum_kernels *known = best;

    for (uint32_t index = 0; known == NULL && index <= 2; index++)
        if (sum_set(2 - index) != NULL)
            best = known = sum_set(2 - index);
    return known;
}
