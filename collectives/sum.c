/* Chooses kernels; see sum.h. */
#include "collectives/sum_paths.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>
#endif

static const struct sum_kernels *_Atomic used; /* NULL: not yet chosen */

void sum_fence(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

#if defined(__x86_64__)
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

const struct sum_kernels *sum_set(uint32_t index)
{
#if defined(__x86_64__)
    if (index == 1 && __builtin_cpu_supports("avx2") && has_f16c())
        return &sum_avx2;
    if (index == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        return &sum_avx512;
#endif
    return index == 0 ? &sum_portable : NULL;
}

const struct sum_kernels *sum_best(void)
{
    const struct sum_kernels *known = atomic_load_explicit(&used, memory_order_relaxed);

    for (uint32_t index = 0; known == NULL && index <= 2; index++)
        if (sum_set(2 - index) != NULL)
            sum_use(known = sum_set(2 - index));
    return known;
}

void sum_use(const struct sum_kernels *set)
{
    atomic_store_explicit(&used, set, memory_order_relaxed);
}
