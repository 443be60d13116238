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
 * The sum of a bucket is handed to `emit` as it lies in a scratch of the GPU; the partial sums
 * stay as they are, so that a step whose generation ends can be summed again.
 *
 * Errors: as comm.h and device.h, and RK_EPROTO when the ranks' parts are no whole tree.
 * Ownership: device and comm are the caller's and outlive it.  Threads: one at a time. */
#ifndef RK_COLLECTIVES_NCCL_STEP_SUM_H
#define RK_COLLECTIVES_NCCL_STEP_SUM_H

#include "collectives/nccl/comm.h"
#include "collectives/nccl/device.h"

struct step_sum;

struct step_sum_options {
    struct device *device;
    uint64_t lanes;        /* float32 elements of gradient space */
    uint64_t bucket_lanes; /* that are summed at a time; 0: 25 MiB of them */
    uint32_t buffers;      /* for partial sums, at most 64; memory is taken when one is used */
    bool fast;
};

int step_sum_new(const struct step_sum_options *options, struct step_sum **out, struct rk_why *why);
/* Only when no operation of a communicator uses its memory any more. */
void step_sum_free(struct step_sum *sum);

/* Buffer b, `lanes` floats of the GPU. */
int step_sum_buffer(struct step_sum *sum, uint32_t b, float **buffer, struct rk_why *why);

/* What one rank has. */
struct step_sum_node {
    struct tree_node node;
    uint32_t buffer;
    double weight; /* the sum of its shards' weights */
};

struct step_sum_job {
    rk_word word;      /* of the generation, formed in `comm` */
    struct comm *comm; /* NULL in a world of one */
    uint32_t rank, world, shards;
    uint64_t step;
    const struct step_sum_node *node;
    uint32_t node_count;
    /* Elements from .. from + count - 1 of the sum lie at `sum`: queue what takes them. */
    int (*emit)(void *context, uint64_t from, uint64_t count, const float *sum, struct rk_why *why);
    void *context;
};

/* Sums the step.  0: all was emitted and is done, and *weight is the sum of all shards' weights.
 * RK_ENOENT: this rank is a step behind, and nobody has its sum any more. */
int step_sum_run(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                 struct rk_why *why);

#endif
