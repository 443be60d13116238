/* The kernels: each thread walks its elements, gpu_elements.h says what is done to one. */
#include "examples/chargpt/gpu_ops.h"

#define THREADS 128
#define MAX_BLOCKS 65536 /* more elements than threads: each thread takes several */

static unsigned blocks_of(uint32_t count)
{
    const uint32_t blocks = (count - 1) / THREADS + 1;

    return blocks < MAX_BLOCKS ? blocks : MAX_BLOCKS;
}

#define KERNEL(name)                                                                               \
    extern "C" __global__ void chargpt_##name(const __grid_constant__ struct gpu_##name at,        \
                                              size_t count)                                        \
    {                                                                                              \
        for (size_t i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS)   \
            gpu_##name##_element(&at, (uint32_t)i);                                                \
    }                                                                                              \
                                                                                                   \
    cudaError_t gpu_##name##_start(const struct gpu_##name *at, uint32_t count,                    \
                                   cudaStream_t stream)                                            \
    {                                                                                              \
        if (count == 0)                                                                            \
            return cudaSuccess;                                                                    \
        chargpt_##name<<<blocks_of(count), THREADS, 0, stream>>>(*at, count);                      \
        return cudaGetLastError();                                                                 \
    }
GPU_KERNELS(KERNEL)
