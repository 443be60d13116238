/* The GPU's sum.h: kernels in a plug-in of their own (libreknit-cuda.so), so that nothing else
 * needs CUDA.  Each function starts work on `stream` and returns; all pointers are to memory that
 * the GPU reads; the results have the bits of sum.h.  Returns a cudaError_t.  Threads: any that
 * have the GPU. */
#ifndef RK_COLLECTIVES_NCCL_KERNELS_H
#define RK_COLLECTIVES_NCCL_KERNELS_H

#include "collectives/sum.h"
#include "common/error.h"

#include <cuda_runtime_api.h>

#define KERNELS_ABI 2u
#define KERNELS_PLUGIN "libreknit-cuda.so"
#define KERNELS_SYMBOL "rk_gpu_kernels"

#ifdef __cplusplus
extern "C" {
#endif

struct gpu_kernels {
    uint32_t abi; /* KERNELS_ABI */
    /* unpack: in float32, times `weight` */
    cudaError_t (*load)(enum sum_dtype from, const void *in, float weight, size_t count, float *out,
                        cudaStream_t stream);
    /* pack: times `factor`, rounded to `to` */
    cudaError_t (*store)(const float *in, float factor, enum sum_dtype to, size_t count, void *out,
                         cudaStream_t stream);
    cudaError_t (*pack_bf16)(const float *in, float *residual, size_t count, uint16_t *out,
                             cudaStream_t stream);
    /* the exact sum; `list` lies in memory that the GPU reads and stands until the work is done */
    cudaError_t (*terms)(const struct sum_term *list, uint32_t term_count, size_t count, float *out,
                         cudaStream_t stream);
    /* *bad = the lowest element that is not finite, unless *bad is lower already */
    cudaError_t (*finite)(enum sum_dtype of, const void *in, size_t count, unsigned long long *bad,
                          cudaStream_t stream);
    cudaError_t (*adamw)(const struct sum_adamw *adamw, const float *g, const float *w,
                         const float *m, const float *v, size_t count, float *next_w, float *next_m,
                         float *next_v, cudaStream_t stream);
};

/* What the plug-in exports, as KERNELS_SYMBOL. */
__attribute__((visibility("default"))) const struct gpu_kernels *rk_gpu_kernels(void);

/* Loads the plug-in, after api_open; NULL: from the folder of the library that this code is part
 * of, or by its usual name.  RK_EUNAVAILABLE: it cannot be
 * loaded; RK_EVERSION: it belongs to another version of reknit.  It stays loaded. */
int kernels_open(const char *path, const struct gpu_kernels **kernels, struct rk_why *why);

#ifdef __cplusplus
}
#endif

#endif
