/* The plug-in of kernels.h: each kernel walks its elements, elements.h says what is done to one. */
#include "collectives/nccl/elements.h"
#include "collectives/nccl/kernels.h"

#define THREADS 256
#define MAX_BLOCKS 4096 /* more elements than threads: each thread takes several */

#define EACH_ELEMENT(i, count)                                                      \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; (i) < (count);   \
         (i) += (size_t)gridDim.x * blockDim.x)

/* No grid may be empty. */
#define LAUNCH(kernel, count, stream, ...)                                          \
    ((count) == 0 ? cudaSuccess                                                     \
                  : ((kernel<<<blocks_of(count), THREADS, 0, stream>>>(__VA_ARGS__)), \
                     cudaGetLastError()))

extern "C" __global__ void gpu_load(uint32_t from, const void *in, float weight, size_t count,
                                    float *out)
{
    EACH_ELEMENT(i, count)
        element_load(from, in, weight, i, out);
}

extern "C" __global__ void gpu_store(const float *in, float factor, uint32_t to, size_t count,
                                     void *out)
{
    EACH_ELEMENT(i, count)
        element_store(in, factor, to, i, out);
}

extern "C" __global__ void gpu_pack_bf16(const float *in, float *residual, size_t count,
                                         uint16_t *out)
{
    EACH_ELEMENT(i, count)
        element_pack_bf16(in, residual, i, out);
}

extern "C" __global__ void gpu_terms(const struct sum_term *list, uint32_t term_count, size_t count,
                                     float *out)
{
    EACH_ELEMENT(i, count)
        element_terms(list, term_count, i, out);
}

extern "C" __global__ void gpu_finite(uint32_t of, const void *in, size_t count,
                                      unsigned long long *bad)
{
    EACH_ELEMENT(i, count)
        if (!element_finite(of, in, i))
            atomicMin(bad, (unsigned long long)i);
}

extern "C" __global__ void gpu_adamw(struct element_adamw at, size_t count)
{
    EACH_ELEMENT(i, count)
        element_adamw(&at, i);
}

static unsigned blocks_of(size_t count)
{
    size_t blocks = (count + THREADS - 1) / THREADS;

    return (unsigned)(blocks < MAX_BLOCKS ? blocks : MAX_BLOCKS);
}

static cudaError_t load(enum sum_dtype from, const void *in, float weight, size_t count, float *out,
                        cudaStream_t stream)
{
    return LAUNCH(gpu_load, count, stream, (uint32_t)from, in, weight, count, out);
}

static cudaError_t store(const float *in, float factor, enum sum_dtype to, size_t count, void *out,
                         cudaStream_t stream)
{
    return LAUNCH(gpu_store, count, stream, in, factor, (uint32_t)to, count, out);
}

static cudaError_t pack_bf16(const float *in, float *residual, size_t count, uint16_t *out,
                             cudaStream_t stream)
{
    return LAUNCH(gpu_pack_bf16, count, stream, in, residual, count, out);
}

static cudaError_t terms(const struct sum_term *list, uint32_t term_count, size_t count, float *out,
                         cudaStream_t stream)
{
    return LAUNCH(gpu_terms, count, stream, list, term_count, count, out);
}

static cudaError_t finite(enum sum_dtype of, const void *in, size_t count, unsigned long long *bad,
                          cudaStream_t stream)
{
    return LAUNCH(gpu_finite, count, stream, (uint32_t)of, in, count, bad);
}

static cudaError_t adamw(const struct sum_adamw *rule, const float *g, const float *w,
                         const float *m, const float *v, size_t count, float *next_w, float *next_m,
                         float *next_v, cudaStream_t stream)
{
    float decayed = rule->rate * rule->decay;
    struct element_adamw at = {*rule, 1.0f - rule->beta1, 1.0f - rule->beta2, 1.0f - decayed,
                               g,     w,                  m,                  v,
                               next_w, next_m,            next_v};

    return LAUNCH(gpu_adamw, count, stream, at, count);
}

extern "C" const struct gpu_kernels *rk_gpu_kernels(void)
{
    static const struct gpu_kernels kernels = {KERNELS_ABI, load,   store, pack_bf16,
                                               terms,       finite, adamw};

    return &kernels;
}
