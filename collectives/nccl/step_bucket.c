/* One bucket of a step: each rank its slice, and all slices to all; see step_sum.h. */
#include "collectives/nccl/step_inside.h"

#include <stdlib.h>

#define SLICE_LANES 32u /* slices begin at whole cache lines */

/* ---- buckets --------------------------------------------------------------------------------- */

static uint64_t slice_for(uint64_t count, uint32_t world)
{
    uint64_t slice = (count + world - 1) / world;

    return (slice + SLICE_LANES - 1) / SLICE_LANES * SLICE_LANES;
}

struct bucket bucket_of(struct step_sum *sum, uint32_t world, uint32_t b)
{
    struct bucket bucket = {.slot = &sum->slot[b % STEP_SLOTS]};

    step_sum_bucket(sum, b, &bucket.from, &bucket.count);
    bucket.slice = slice_for(bucket.count, world);
    return bucket;
}

static uint64_t slice_length(const struct bucket *bucket, uint32_t rank)
{
    uint64_t from = bucket->slice * rank;
    uint64_t left = from < bucket->count ? bucket->count - from : 0;

    return left < bucket->slice ? left : bucket->slice;
}

int step_make_pieces(struct step_sum *sum, struct rk_why *why)
{
    for (uint32_t s = 0; s < STEP_SLOTS; s++) {
        struct slot *slot = &sum->slot[s];

        if (slot->piece == NULL)
            slot->piece = calloc((size_t)2 * RK_MAX_SHARDS * TREE_MAX_NODES, sizeof *slot->piece);
        if (slot->piece == NULL)
            return rk_fail(why, RK_ENOMEM, "no memory to sum with other ranks; free some");
    }
    return 0;
}

int step_make_room(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    struct bucket first = bucket_of(sum, job->world, 0);
    uint64_t result = first.slice * job->world;
    uint64_t received = first.slice * sum->part_count;
    int rc = 0;

    for (uint32_t s = 0; s < STEP_SLOTS && result > sum->result_lanes && rc == 0; s++)
        rc = step_grow(sum->options.device, &sum->slot[s].result, result, "a bucket", why);
    if (rc == 0 && result > sum->result_lanes)
        sum->result_lanes = result;
    if (sum->options.fast)
        return rc;
    for (uint32_t s = 0; s < STEP_SLOTS && received > sum->received_lanes && rc == 0; s++)
        rc = step_grow(sum->options.device, &sum->slot[s].received, received, "a bucket", why);
    if (rc == 0 && received > sum->received_lanes)
        sum->received_lanes = received;
    return rc == 0 ? step_make_pieces(sum, why) : rc;
}

/* Where our slice of part p of the bucket lies or comes to lie. */
static float *received_at(const struct bucket *bucket, uint32_t p)
{
    return bucket->slot->received + bucket->slice * p;
}

/* Our slices of all other ranks' nodes in, theirs of ours out; nodes of a rank in their order. */
static uint32_t list_pieces(const struct step_sum *sum, const struct step_sum_job *job,
                            const struct bucket *bucket)
{
    struct comm_piece *piece = bucket->slot->piece;
    uint64_t own = slice_length(bucket, job->rank);
    uint32_t count = 0;

    for (uint32_t r = 0; r < job->world; r++) {
        uint64_t length = slice_length(bucket, r);

        for (uint32_t n = 0; n < job->node_count && r != job->rank && length != 0; n++)
            piece[count++] = (struct comm_piece){.peer = (int)r,
                                                 .count = length,
                                                 .send = sum->buffer[job->node[n].buffer] +
                                                         bucket->from + bucket->slice * r};
    }
    for (uint32_t number = 0; number < TREE_MAX_NODES && own != 0; number++)
        for (uint32_t p = 0; p < sum->part_count; p++)
            if (sum->part[p].number == number && sum->part[p].rank != job->rank)
                piece[count++] = (struct comm_piece){
                    .peer = (int)sum->part[p].rank, .count = own, .recv = received_at(bucket, p)};
    return count;
}

/* Fast: what this rank adds, or zeros. */
static int reduce_op(const struct step_sum *sum, const struct step_sum_job *job,
                     const struct bucket *bucket, struct comm_op *op, struct rk_why *why)
{
    const struct device *device = sum->options.device;

    *op = (struct comm_op){.kind = COMM_ALL_REDUCE,
                           .type = ncclFloat32,
                           .count = bucket->count,
                           .send = bucket->slot->result,
                           .recv = bucket->slot->result};
    if (job->node_count == 0)
        return device_check(device,
                            device->api.memset_async(bucket->slot->result, 0,
                                                     bucket->count * sizeof(float), device->stream),
                            "cudaMemsetAsync", why);
    op->send = sum->buffer[job->node[0].buffer] + bucket->from;
    return 0;
}

int step_post(const struct step_sum *sum, const struct step_sum_job *job, struct slot *slot,
              struct comm_op *op, cudaEvent_t after, struct rk_why *why)
{
    int rc = device_mark(sum->options.device, after, why);

    op->after = after;
    return rc != 0 ? rc : comm_post(job->comm, job->word, op, &slot->ticket, why);
}

int step_wait(const struct step_sum_job *job, const struct slot *slot, struct rk_why *why)
{
    return comm_wait(job->comm, job->word, slot->ticket, why);
}

int bucket_start(struct step_sum *sum, const struct step_sum_job *job, uint32_t b,
                 struct rk_why *why)
{
    struct bucket bucket = bucket_of(sum, job->world, b);
    struct comm_op op = {.kind = COMM_EXCHANGE, .type = ncclFloat32};
    cudaEvent_t filled = NULL;
    int rc = job->await(job->context, b, &filled, why);

    if (rc == 0)
        rc = device_await(sum->options.device, filled, why);
    if (rc == 0 && sum->options.fast) {
        rc = reduce_op(sum, job, &bucket, &op, why);
    } else if (rc == 0) {
        op.piece = bucket.slot->piece;
        op.piece_count = list_pieces(sum, job, &bucket);
    }
    return rc != 0 ? rc : step_post(sum, job, bucket.slot, &op, bucket.slot->ready, why);
}

/* Adds our slice of all parts up, into its place in the result. */
static int sum_slice(struct step_sum *sum, const struct step_sum_job *job,
                     const struct bucket *bucket, struct rk_why *why)
{
    uint64_t from = bucket->from + bucket->slice * job->rank;
    float *out = bucket->slot->result + bucket->slice * job->rank;

    for (uint32_t p = 0; p < sum->part_count; p++) {
        const struct part *part = &sum->part[p];
        const float *data = part->rank == job->rank ? sum->buffer[job->node[part->number].buffer]
                                                    : received_at(bucket, p) - from;

        sum->term[p] = tree_part_f32(part->node, data);
    }
    if (slice_length(bucket, job->rank) == 0)
        return 0;
    return device_sum(sum->options.device, sum->term, sum->part_count, step_root(sum, job), from,
                      slice_length(bucket, job->rank), out - from, why);
}

static int gather(const struct step_sum *sum, const struct step_sum_job *job,
                  const struct bucket *bucket, struct rk_why *why)
{
    struct slot *slot = bucket->slot;
    struct comm_op op = {.kind = COMM_ALL_GATHER,
                         .type = ncclFloat32,
                         .count = bucket->slice,
                         .send = slot->result + bucket->slice * job->rank,
                         .recv = slot->result};
    int rc = step_post(sum, job, slot, &op, slot->summed, why);

    return rc != 0 ? rc : step_wait(job, slot, why);
}

int bucket_finish(struct step_sum *sum, const struct step_sum_job *job, uint32_t b,
                  struct rk_why *why)
{
    struct bucket bucket = bucket_of(sum, job->world, b);
    int rc = step_wait(job, bucket.slot, why);

    if (rc == 0 && !sum->options.fast)
        rc = sum_slice(sum, job, &bucket, why);
    if (rc == 0 && !sum->options.fast)
        rc = gather(sum, job, &bucket, why);
    if (rc != 0)
        return rc;
    sum->kept_step = 0; /* all are in this step: nobody lacks the sum before it */
    return device_copy(sum->options.device, sum->kept + bucket.from, bucket.slot->result,
                       bucket.count * sizeof(float), cudaMemcpyDeviceToDevice, why);
}
