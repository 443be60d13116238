/* Copies of device memory to the host (the arena), on a stream of their own beside the training.
 *
 * A copy begins when all that the training's stream was given before is done; what is given to that
 * stream afterwards may overwrite the state only once snapshot_poll said 1.  Host memory is the
 * caller's and stands until then.  One copy at a time.  Threads: one, which has the GPU. */
#ifndef RK_COLLECTIVES_NCCL_SNAPSHOT_H
#define RK_COLLECTIVES_NCCL_SNAPSHOT_H

#include "collectives/nccl/api.h"

#include <cuda_runtime_api.h>
#include <stddef.h>

struct snapshot;

struct snapshot_part {
    const void *device;
    void *host;
    size_t bytes;
};

int snapshot_new(const struct api *api, int device, struct snapshot **out, struct rk_why *why);
/* Waits for no copy: only after snapshot_poll said 1, or when the process ends. */
void snapshot_free(struct snapshot *snapshot);

/* 0, RK_ESTATE when a copy is under way, RK_EUNAVAILABLE when CUDA fails. */
int snapshot_start(struct snapshot *snapshot, const struct snapshot_part *parts, size_t part_count,
                   cudaStream_t after, struct rk_why *why);
/* 1: the copy is complete, 0: not yet; RK_ESTATE: none was started, or a failure. */
int snapshot_poll(struct snapshot *snapshot, struct rk_why *why);

#endif
