/* A double of the CUDA runtime's calls that reknit makes: "device memory" is memory, a stream is a
 * queue of tasks that make progress whenever somebody asks.  CUDA_DOUBLE_FAIL=CALL in the
 * environment makes that call fail (cudaSetDevice: as without a GPU).  CUDA_DOUBLE_BACKWARDS has
 * elements of kernels played from the last to the first: a GPU promises no order. */
#ifndef RK_TESTS_NCCL_CUDA_DOUBLE_H
#define RK_TESTS_NCCL_CUDA_DOUBLE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

/* Appends a task: `poll` is called until it says true, then `context` is freed. */
void cuda_double_enqueue(cudaStream_t stream, bool (*poll)(void *context), void *context);

/* How a test has a kernel NAME(struct S, size_t count) played that the double does not know: the
 * program exports this as play_NAME. */
struct cuda_double_player {
    size_t size; /* of S; at most CUDA_DOUBLE_LARGEST */
    void (*one)(const void *parameters, size_t i);
};
#define CUDA_DOUBLE_LARGEST 512

/* Does what can be done now on all streams. */
void cuda_double_pump(void);

#endif
