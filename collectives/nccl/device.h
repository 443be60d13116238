/* One GPU as a rank uses it: memory, a stream of its own beside the program's, kernels.
 *
 * Work is queued on `stream` and returns at once.  device_after and device_before order it against
 * what the program queues on its own stream, so neither waits on the host.
 *
 * Errors: RK_ENOMEM, the GPU's memory is full; RK_EUNAVAILABLE, CUDA failed.  Ownership: memory is
 * freed with device_free before device_close.  Threads: one at a time. */
#ifndef RK_COLLECTIVES_NCCL_DEVICE_H
#define RK_COLLECTIVES_NCCL_DEVICE_H

#include "collectives/nccl/api.h"
#include "collectives/nccl/kernels.h"
#include "collectives/tree.h"

#include <cuda_runtime_api.h>

struct device {
    struct api api;
    const struct gpu_kernels *kernels;
    int number;
    cudaStream_t stream;
    cudaStream_t program;
    cudaEvent_t ours, theirs;
    struct sum_term *term; /* a ring that the GPU reads; what was put in stands until a sync */
    uint32_t term_used;
};

/* Loads the libraries and takes GPU `number` (negative: that of `place`, modulo how many there
 * are).  RK_EUNAVAILABLE: no GPU, no such one, or a library is missing; RK_EVERSION. */
int device_open(struct device *device, int number, uint32_t place, void *program,
                struct rk_why *why);
/* The same GPU and program with a stream of its own, for another thread; device_close. */
int device_fork(const struct device *device, struct device *fork, struct rk_why *why);
void device_close(struct device *device); /* harmless on a zeroed one */
/* The calling thread works on this GPU from now on. */
int device_use(const struct device *device, struct rk_why *why);

/* `what` is for people: "partial sums". */
int device_alloc(const struct device *device, size_t bytes, const char *what, void **memory,
                 struct rk_why *why);
void device_free(const struct device *device, void *memory);
/* Memory of the host that the GPU reads and writes at full speed. */
int device_host_alloc(const struct device *device, size_t bytes, void **memory, struct rk_why *why);
void device_host_free(const struct device *device, void *memory);

/* What is queued from now on begins after what the program has queued so far; what the program
 * queues from now on begins after what is queued here. */
int device_after(const struct device *device, struct rk_why *why);
int device_before(const struct device *device, struct rk_why *why);
/* What is queued from now on begins after `event`, which was recorded before. */
int device_await(const struct device *device, cudaEvent_t event, struct rk_why *why);
int device_mark(const struct device *device, cudaEvent_t event, struct rk_why *why);
/* Waits until all that was queued is done. */
int device_sync(struct device *device, struct rk_why *why);

int device_copy(const struct device *device, void *to, const void *from, size_t bytes,
                enum cudaMemcpyKind kind, struct rk_why *why);
/* tree_sum of float32, float16 and bfloat16 parts that lie on the GPU. */
int device_sum(struct device *device, const struct tree_part *parts, uint32_t part_count,
               struct tree_node root, uint64_t from, uint64_t count, float *out,
               struct rk_why *why);
/* `store` of sum.h. */
int device_store(const struct device *device, const float *in, float factor, enum sum_dtype to,
                 uint64_t count, void *out, struct rk_why *why);
/* The sentence of a failed call, or 0. */
int device_check(const struct device *device, cudaError_t error, const char *call,
                 struct rk_why *why);

#endif
