/* Kernels of chargpt, from C: each gpu_NAME_start queues kernel NAME of gpu_elements.h for `count`
 * elements on `stream` and returns; a count of 0 is no launch. */
#ifndef CHARGPT_GPU_OPS_H
#define CHARGPT_GPU_OPS_H

#include "examples/chargpt/gpu_elements.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DECLARE(name)                                                           \
    cudaError_t gpu_##name##_start(const struct gpu_##name *at, uint32_t count, \
                                   cudaStream_t stream);
GPU_KERNELS(DECLARE)
#undef DECLARE

#ifdef __cplusplus
}
#endif

#endif
