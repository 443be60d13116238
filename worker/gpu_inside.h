/* What gpu.c (birth, state), gpu_snapshot.c, gpu_shard.c (partial sums) and gpu_driver.c (the
 * thread that sums with other ranks) share. */
#ifndef RK_WORKER_GPU_INSIDE_H
#define RK_WORKER_GPU_INSIDE_H

#include "worker/gpu.h"

#include "collectives/nccl/snapshot.h"
#include "collectives/nccl/step_sum.h"

#define GPU_BUFFERS 64u

/* What the driver is to do, or does.  IDLE -> WANTED by the session, -> RUNS -> DONE by the driver,
 * -> IDLE by the session. */
enum gpu_stage { GPU_IDLE, GPU_WANTED, GPU_RUNS, GPU_DONE };

/* The generation in force, as far as it concerns a communicator. */
struct gpu_generation {
    rk_word word; /* 0: none, or a world of one */
    uint32_t index, world, shards;
    rk_word comm_from;
    int lost_count;
    int lost[ARENA_COMM_LOST];
};

struct gpu {
    struct device device; /* of the threads that use the session */
    struct step_sum *sum;
    double weight[GPU_BUFFERS]; /* of the shards in each buffer */
    double total;               /* of all shards of the step that was summed last */
    unsigned long long *bad;    /* on the GPU: the lowest element that is not finite */
    pthread_mutex_t filling;    /* whoever has it adds to partial sums */
    struct rk_why why;          /* of an error in a call from another thread; under `filling` */
    cudaEvent_t *filled;        /* by bucket: the partial sums of this rank are final */
    uint32_t buckets;

    /* a snapshot that is being copied */
    struct snapshot *copy;
    struct snapshot_part *copy_part;
    bool copies;
    uint32_t copy_place;
    uint64_t copy_step;
    void *pinned; /* the arena's snapshots, when the GPU may write to them at full speed */

    /* the driver; what follows is under `lock` */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic bool closing;
    bool forms; /* the driver forms a communicator */
    struct gpu_generation generation;
    enum gpu_stage stage;
    uint64_t step;
    struct step_sum_node node[TREE_MAX_NODES];
    uint32_t node_count;
    bool *ready; /* by bucket: `filled` is recorded */
    int rc;      /* of what is DONE */
    struct rk_why rc_why;
    double rc_weight;

    /* the driver's alone, while it is not idle */
    struct device driver;
    int agent;           /* socket */
    struct arena *arena; /* the session's */
    struct arena_agent *block;
    struct comm *comm; /* NULL: none was needed yet */
    rk_word tried;     /* forming it was begun for this generation */
    rk_word asked;     /* and NCCL was asked for it */
    rk_word id_for;    /* `id` was made for it by this rank */
    ncclUniqueId id;
    uint64_t said; /* when the id was said, or asked for, last */
};

/* gpu_driver.c.  gpu_driver_open once the layout is whole; the thread starts with the first
 * generation of more than one rank. */
int gpu_driver_open(struct rk_session *session);
void gpu_driver_close(struct gpu *gpu);
bool gpu_driver_is_idle(struct gpu *gpu);
/* Begins to sum the step with these nodes; buckets are waited for until they are said. */
void gpu_driver_start(struct rk_session *session, const struct arena_table *table);
/* Bucket b is final, once what is queued is done. */
int gpu_driver_filled(struct rk_session *session, uint32_t b, struct rk_why *why);
/* Waits for the sum that was started: 0, RK_ESTALE, RK_ETRANSPORT, RK_ENOENT, or another error. */
int gpu_driver_wait(struct rk_session *session);

/* gpu_snapshot.c */
int gpu_snapshot_open(struct rk_session *session);
void gpu_snapshot_close(struct gpu *gpu);

/* gpu_shard.c: the partial sums of a table, for step_sum. */
uint32_t gpu_list_nodes(const struct gpu *gpu, const struct arena_table *table,
                        struct step_sum_node *node);

#endif
