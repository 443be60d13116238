/* What gpu.c (shards, state) and gpu_comm.c (generations, the step's sum) share. */
#ifndef RK_WORKER_GPU_INSIDE_H
#define RK_WORKER_GPU_INSIDE_H

#include "worker/gpu.h"

#include "collectives/nccl/step_sum.h"

#define GPU_BUFFERS 64u

struct gpu {
    struct device device;
    struct step_sum *sum;
    double weight[GPU_BUFFERS]; /* of the shards in each buffer */
    double total;               /* of all shards of the step that was summed last */
    unsigned long long *bad;    /* on the GPU: the lowest element that is not finite */
    struct comm *comm;          /* NULL: none was needed yet, or the world is one */
    rk_word asked;              /* the newest generation that it was asked to form */
    rk_word id_for;             /* `id` was made for it by this rank */
    ncclUniqueId id;
    uint64_t said; /* when the id was said, or asked for, last */
};

#endif
