/* The sum of a step over all ranks, whose partial sums lie in the memory of their GPUs.
 *
 * A rank has a few partial sums of the fixed tree, each a vector of gradient space in a buffer on
 * its GPU; those of a rank that dies are gone with it.  First the ranks tell each other which nodes
 * they have.  Then, bucket by bucket: every rank gets its slice of each partial sum of the others,
 * adds the slices up in the order of the tree, and all slices are gathered by all.  So the bytes on
 * the wire are those of a ring all-reduce where each rank has one node, and the bits are those of
 * a serial sum whoever has which.  Fast: one partial sum each, and ncclAllReduce.
 *
 * Ranks that are a step behind find others that have its sum: each keeps the last one until the
 * next is whole, and by then all have it.
 *
 * A bucket is summed as soon as it is final in this rank, from the last to the first, while the
 * rest of the gradient is still being computed.  The partial sums stay as they are, so that a step
 * whose generation ends can be summed again.
 *
 * Errors: as comm.h and device.h, and RK_EPROTO when the ranks' parts are no whole tree.
 * Ownership: device and comm are the caller's and outlive it.  Threads: one at a time, but any for
 * step_sum_buffer and the buckets. */
#ifndef RK_COLLECTIVES_NCCL_STEP_SUM_H
#define RK_COLLECTIVES_NCCL_STEP_SUM_H

#include "collectives/nccl/comm.h"
#include "collectives/nccl/device.h"

struct step_sum;

struct step_sum_options {
    struct device *device; /* of the thread that sums */
    uint64_t lanes;        /* float32 elements of gradient space */
    uint64_t bucket_lanes; /* that are summed at a time; 0: 25 MiB of them */
    uint32_t buffers;      /* for partial sums, at most 64; memory is taken when one is used */
    bool fast;
};

int step_sum_new(const struct step_sum_options *options, struct step_sum **out, struct rk_why *why);
/* Only when no operation of a communicator uses its memory any more. */
void step_sum_free(struct step_sum *sum);

/* How many buckets there are, and elements *from .. *from + *count - 1, which are those of b. */
uint32_t step_sum_buckets(const struct step_sum *sum);
void step_sum_bucket(const struct step_sum *sum, uint32_t b, uint64_t *from, uint64_t *count);

/* Buffer b, `lanes` floats of the GPU. */
int step_sum_buffer(struct step_sum *sum, uint32_t b, float **buffer, struct rk_why *why);

/* What one rank has. */
struct step_sum_node {
    struct tree_node node;
    uint32_t buffer;
    double weight; /* the sum of its shards' weights */
};

struct step_sum_job {
    rk_word word; /* of the generation, formed in `comm` */
    struct comm *comm;
    uint32_t rank, world, shards;
    uint64_t step;
    const struct step_sum_node *node;
    uint32_t node_count;
    /* Waits until bucket b is final in this rank's nodes: on the GPU, once *filled is reached. */
    int (*await)(void *context, uint32_t b, cudaEvent_t *filled, struct rk_why *why);
    void *context;
};

/* Sums the step with the other ranks of a world of more than one, and keeps the sum.  0: it is
 * whole, and *weight is the sum of all shards' weights.  RK_ENOENT: this rank is a step behind, and
 * nobody has its sum any more. */
int step_sum_run(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                 struct rk_why *why);
/* The sum that step_sum_run kept last; it stands until the next one begins. */
const float *step_sum_kept(const struct step_sum *sum);

/* In a world of one: sums bucket b of these nodes into a scratch of the GPU, with `device`. */
int step_sum_alone(struct step_sum *sum, struct device *device, const struct step_sum_job *job,
                   uint32_t b, const float **result, struct rk_why *why);
double step_sum_weight(const struct step_sum *sum, const struct step_sum_job *job);

#endif
