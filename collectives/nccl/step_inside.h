/* What step_sum.c (memory, the step), step_parts.c (who has what) and step_bucket.c (one bucket)
 * share. */
#ifndef RK_COLLECTIVES_NCCL_STEP_INSIDE_H
#define RK_COLLECTIVES_NCCL_STEP_INSIDE_H

#include "collectives/nccl/step_sum.h"

#define STEP_SLOTS 2u /* buckets under way */
#define STEP_BUFFERS 64u

/* What a rank tells all others of the step in hand. */
struct record {
    uint64_t step;
    double kept_weight;
    uint32_t keeps; /* 1: it has the sum of the step before, with that weight */
    uint32_t count;
    struct tree_node node[TREE_MAX_NODES];
    double weight[TREE_MAX_NODES];
};

/* A node that somebody has. */
struct part {
    struct tree_node node;
    uint32_t rank;
    uint32_t number; /* of the rank's nodes */
    double weight;
};

struct slot {
    cudaEvent_t ready;  /* the GPU is done with what was in it */
    cudaEvent_t summed; /* our slice is in `result` */
    float *result;      /* the bucket, each rank's slice at its place */
    float *received;    /* our slice of the others' partial sums */
    struct comm_piece *piece;
    uint64_t ticket;
};

struct step_sum {
    struct step_sum_options options;
    float *buffer[STEP_BUFFERS];
    struct slot slot[STEP_SLOTS];
    uint64_t result_lanes, received_lanes; /* that the slots have */
    struct record *record;                 /* of all ranks, where the GPU writes and we read */
    void *record_gpu;
    uint32_t record_room;
    float *kept; /* the last sum that was whole, of step kept_step - 1; kept_step 0: none is */
    uint64_t kept_step;
    double kept_weight;
    struct part part[RK_MAX_SHARDS];
    uint32_t part_count;
    struct tree_part term[RK_MAX_SHARDS];
};

/* step_sum.c: `lanes` floats of the GPU; makes *memory so long, and what was in it is gone. */
int step_take(const struct device *device, uint64_t lanes, const char *what, float **memory,
              struct rk_why *why);
int step_grow(const struct device *device, float **memory, uint64_t lanes, const char *what,
              struct rk_why *why);

/* step_parts.c: tells all others what we have, and learns what they have: the records. */
int step_learn(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why);
/* The nodes of all records, by place: RK_EPROTO when they are no whole tree; their root. */
int step_list_parts(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why);
struct tree_node step_root(const struct step_sum *sum, const struct step_sum_job *job);
/* What all shards weigh together, in the order of the tree as the gradients are. */
double step_weight(struct step_sum *sum, const struct step_sum_job *job);

/* step_bucket.c */
struct bucket {
    uint64_t from, count;
    uint64_t slice; /* of each rank; those at the end may be shorter, or empty */
    struct slot *slot;
};
struct bucket bucket_of(struct step_sum *sum, uint32_t world, uint32_t b);
/* Room for the largest bucket in each slot, and for lists of pieces. */
int step_make_room(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why);
int step_make_pieces(struct step_sum *sum, struct rk_why *why);
/* Posts `op`, to begin when the GPU has done what was queued so far; comm_wait for its ticket. */
int step_post(const struct step_sum *sum, const struct step_sum_job *job, struct slot *slot,
              struct comm_op *op, cudaEvent_t after, struct rk_why *why);
int step_wait(const struct step_sum_job *job, const struct slot *slot, struct rk_why *why);
/* When it is final here, begins to exchange bucket b; to its end: it is in what is kept. */
int bucket_start(struct step_sum *sum, const struct step_sum_job *job, uint32_t b,
                 struct rk_why *why);
int bucket_finish(struct step_sum *sum, const struct step_sum_job *job, uint32_t b,
                  struct rk_why *why);

#endif
