/* A double of the CUDA runtime's calls that reknit makes: "device memory" is memory, a stream is a
 * queue of tasks that make progress whenever somebody asks.  CUDA_DOUBLE_FAIL=CALL in the
 * environment makes that call fail (cudaSetDevice: as without a GPU). */
#ifndef RK_TESTS_NCCL_CUDA_DOUBLE_H
#define RK_TESTS_NCCL_CUDA_DOUBLE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

/* Appends a task: `poll` is called until it says true, then `context` is freed. */
void cuda_double_enqueue(cudaStream_t stream, bool (*poll)(void *context), void *context);

#endif
