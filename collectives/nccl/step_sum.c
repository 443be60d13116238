/* Bucket by bucket over NCCL; see step_sum.h. */
#include "collectives/nccl/step_sum.h"

#include <stdlib.h>
#include <string.h>

#define BUCKET_LANES ((UINT64_C(25) << 20) / sizeof(float))
#define SLICE_LANES 32u /* slices begin at whole cache lines */
#define SLOTS 2u        /* buckets under way */
#define MAX_BUFFERS 64u

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
    float *buffer[MAX_BUFFERS];
    struct slot slot[SLOTS];
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

/* ---- birth and memory ------------------------------------------------------------------------ */

static int make_event(const struct device *device, cudaEvent_t *event, struct rk_why *why)
{
    return device_check(device, device->api.event_create(event, cudaEventDisableTiming),
                        "cudaEventCreateWithFlags", why);
}

int step_sum_new(const struct step_sum_options *options, struct step_sum **out, struct rk_why *why)
{
    struct step_sum *sum = calloc(1, sizeof *sum);
    int rc = 0;

    if (sum == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for sums on a GPU; free some");
    sum->options = *options;
    if (sum->options.bucket_lanes == 0)
        sum->options.bucket_lanes = BUCKET_LANES;
    for (uint32_t s = 0; rc == 0 && s < SLOTS; s++) {
        rc = make_event(options->device, &sum->slot[s].ready, why);
        if (rc == 0)
            rc = make_event(options->device, &sum->slot[s].summed, why);
    }
    if (rc != 0)
        step_sum_free(sum);
    else
        *out = sum;
    return rc;
}

static void slot_free(const struct device *device, struct slot *slot)
{
    if (slot->ready != NULL)
        device->api.event_destroy(slot->ready);
    if (slot->summed != NULL)
        device->api.event_destroy(slot->summed);
    device_free(device, slot->result);
    device_free(device, slot->received);
    free(slot->piece);
}

void step_sum_free(struct step_sum *sum)
{
    if (sum == NULL)
        return;
    for (uint32_t b = 0; b < MAX_BUFFERS; b++)
        device_free(sum->options.device, sum->buffer[b]);
    for (uint32_t s = 0; s < SLOTS; s++)
        slot_free(sum->options.device, &sum->slot[s]);
    device_free(sum->options.device, sum->kept);
    device_host_free(sum->options.device, sum->record);
    device_free(sum->options.device, sum->record_gpu);
    free(sum);
}

static int take_floats(const struct device *device, uint64_t lanes, const char *what, float **out,
                       struct rk_why *why)
{
    void *memory = NULL;
    int rc = device_alloc(device, lanes * sizeof(float), what, &memory, why);

    *out = rc == 0 ? memory : NULL;
    return rc;
}

int step_sum_buffer(struct step_sum *sum, uint32_t b, float **buffer, struct rk_why *why)
{
    int rc = 0;

    if (b >= sum->options.buffers || b >= MAX_BUFFERS)
        return rk_fail(why, RK_EINVAL, "there is no buffer %u for partial sums", b);
    if (sum->buffer[b] == NULL)
        rc = take_floats(sum->options.device, sum->options.lanes, "partial sums", &sum->buffer[b],
                         why);
    *buffer = sum->buffer[b];
    return rc;
}

/* Makes *memory at least `lanes` long; what was in it is gone. */
static int grow(const struct device *device, float **memory, uint64_t lanes, const char *what,
                struct rk_why *why)
{
    device_free(device, *memory);
    *memory = NULL;
    return take_floats(device, lanes, what, memory, why);
}

/* ---- who has what ---------------------------------------------------------------------------- */

static int make_records(struct step_sum *sum, uint32_t world, struct rk_why *why)
{
    const struct device *device = sum->options.device;
    size_t bytes = world * sizeof(struct record);
    void *host = NULL;
    int rc;

    if (sum->record_room >= world)
        return 0;
    device_host_free(device, sum->record);
    device_free(device, sum->record_gpu);
    sum->record = NULL;
    sum->record_gpu = NULL;
    sum->record_room = 0;
    rc = device_host_alloc(device, bytes, &host, why);
    if (rc == 0)
        rc = device_alloc(device, bytes, "the ranks' tables", &sum->record_gpu, why);
    sum->record = host;
    sum->record_room = rc == 0 ? world : 0;
    return rc;
}

static void fill_record(const struct step_sum *sum, const struct step_sum_job *job,
                        struct record *record)
{
    memset(record, 0, sizeof *record);
    record->step = job->step;
    record->keeps = sum->kept_step != 0 && sum->kept_step == job->step;
    record->kept_weight = sum->kept_weight;
    record->count = job->node_count;
    for (uint32_t n = 0; n < job->node_count; n++) {
        record->node[n] = job->node[n].node;
        record->weight[n] = job->node[n].weight;
    }
}

/* All records on the host. */
static int gather_records(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    struct device *device = sum->options.device;
    struct slot *slot = &sum->slot[0];
    size_t size = sizeof(struct record);
    char *mine = (char *)sum->record_gpu + job->rank * size;
    struct comm_op op = {.kind = COMM_ALL_GATHER,
                         .type = ncclUint8,
                         .count = size,
                         .send = mine,
                         .recv = sum->record_gpu,
                         .after = slot->ready};
    int rc = device_copy(device, mine, &sum->record[job->rank], size, cudaMemcpyHostToDevice, why);

    if (rc == 0)
        rc = device_mark(device, slot->ready, why);
    if (rc == 0)
        rc = comm_post(job->comm, job->word, &op, &slot->ticket, why);
    if (rc == 0)
        rc = comm_wait(job->comm, job->word, slot->ticket, why);
    if (rc == 0)
        rc = device_copy(device, sum->record, sum->record_gpu, job->world * size,
                         cudaMemcpyDeviceToHost, why);
    return rc != 0 ? rc : device_sync(device, why);
}

static int by_place(const void *left, const void *right)
{
    uint32_t a = tree_first(((const struct part *)left)->node);
    uint32_t b = tree_first(((const struct part *)right)->node);

    return (a > b) - (a < b);
}

static int list_parts(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    uint32_t next = 0;

    sum->part_count = 0;
    for (uint32_t r = 0; r < job->world; r++) {
        const struct record *record = &sum->record[r];

        if (record->count > TREE_MAX_NODES)
            return rk_fail(why, RK_EPROTO,
                           "rank %u tells of %u partial sums; this is a bug in reknit", r,
                           record->count);
        for (uint32_t n = 0; n < record->count && sum->part_count < RK_MAX_SHARDS; n++)
            sum->part[sum->part_count++] = (struct part){
                .node = record->node[n], .rank = r, .number = n, .weight = record->weight[n]};
    }
    qsort(sum->part, sum->part_count, sizeof sum->part[0], by_place);
    for (uint32_t p = 0; p < sum->part_count && tree_first(sum->part[p].node) == next; p++)
        next += tree_width(sum->part[p].node);
    if (next != job->shards)
        return rk_fail(why, RK_EPROTO,
                       "step %llu: shard %u is missing or doubled; this is a bug in reknit",
                       (unsigned long long)job->step, next);
    return 0;
}

static struct tree_node root_of(const struct step_sum *sum, const struct step_sum_job *job)
{
    return sum->options.fast ? TREE_SERIAL
                             : (struct tree_node){.level = (uint16_t)tree_log2(job->shards)};
}

/* As the gradients are: in the order of the tree. */
static double weight_of(struct step_sum *sum, const struct step_sum_job *job)
{
    double weight = 0;

    for (uint32_t p = 0; p < sum->part_count; p++)
        sum->term[p] = tree_part_f64(sum->part[p].node, &sum->part[p].weight);
    tree_sum64(sum->term, sum->part_count, root_of(sum, job), 0, 1, &weight);
    return weight;
}

/* Tells all others what we have, and learns what they have. */
static int learn(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    int rc = make_records(sum, job->world, why);

    if (rc != 0)
        return rc;
    fill_record(sum, job, &sum->record[job->rank]);
    return job->world > 1 ? gather_records(sum, job, why) : 0;
}

/* ---- buckets --------------------------------------------------------------------------------- */

struct bucket {
    uint64_t from, count;
    uint64_t slice; /* of each rank; those at the end may be shorter, or empty */
    struct slot *slot;
};

static uint64_t slice_for(uint64_t count, uint32_t world)
{
    uint64_t slice = (count + world - 1) / world;

    return (slice + SLICE_LANES - 1) / SLICE_LANES * SLICE_LANES;
}

static struct bucket bucket_of(struct step_sum *sum, const struct step_sum_job *job, uint64_t b)
{
    uint64_t from = b * sum->options.bucket_lanes;
    uint64_t left = sum->options.lanes - from;
    uint64_t count = left < sum->options.bucket_lanes ? left : sum->options.bucket_lanes;

    return (struct bucket){.from = from,
                           .count = count,
                           .slice = slice_for(count, job->world),
                           .slot = &sum->slot[b % SLOTS]};
}

static uint64_t slice_length(const struct bucket *bucket, uint32_t rank)
{
    uint64_t from = bucket->slice * rank;
    uint64_t left = from < bucket->count ? bucket->count - from : 0;

    return left < bucket->slice ? left : bucket->slice;
}

static int make_pieces(struct step_sum *sum, struct rk_why *why)
{
    for (uint32_t s = 0; s < SLOTS; s++) {
        struct slot *slot = &sum->slot[s];

        if (slot->piece == NULL)
            slot->piece = calloc((size_t)2 * RK_MAX_SHARDS * TREE_MAX_NODES, sizeof *slot->piece);
        if (slot->piece == NULL)
            return rk_fail(why, RK_ENOMEM, "no memory to sum with other ranks; free some");
    }
    return 0;
}

/* Room for the largest bucket in each slot. */
static int make_room(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    struct bucket first = bucket_of(sum, job, 0);
    uint64_t result = first.slice * job->world;
    uint64_t received = first.slice * sum->part_count;
    int rc = 0;

    for (uint32_t s = 0; s < SLOTS && result > sum->result_lanes && rc == 0; s++)
        rc = grow(sum->options.device, &sum->slot[s].result, result, "a bucket", why);
    if (rc == 0 && result > sum->result_lanes)
        sum->result_lanes = result;
    if (sum->options.fast || job->world == 1)
        return rc;
    for (uint32_t s = 0; s < SLOTS && received > sum->received_lanes && rc == 0; s++)
        rc = grow(sum->options.device, &sum->slot[s].received, received, "a bucket", why);
    if (rc == 0 && received > sum->received_lanes)
        sum->received_lanes = received;
    return rc == 0 ? make_pieces(sum, why) : rc;
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

static int post(const struct step_sum_job *job, struct slot *slot, struct comm_op *op,
                cudaEvent_t after, const struct device *device, struct rk_why *why)
{
    int rc = device_mark(device, after, why);

    op->after = after;
    return rc != 0 ? rc : comm_post(job->comm, job->word, op, &slot->ticket, why);
}

/* Its first operation. */
static int bucket_start(struct step_sum *sum, const struct step_sum_job *job, uint64_t b,
                        struct rk_why *why)
{
    struct bucket bucket = bucket_of(sum, job, b);
    struct comm_op op = {.kind = COMM_EXCHANGE, .type = ncclFloat32};
    int rc = 0;

    if (job->world == 1)
        return 0;
    if (sum->options.fast) {
        rc = reduce_op(sum, job, &bucket, &op, why);
    } else {
        op.piece = bucket.slot->piece;
        op.piece_count = list_pieces(sum, job, &bucket);
    }
    return rc != 0 ? rc : post(job, bucket.slot, &op, bucket.slot->ready, sum->options.device, why);
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
    return device_sum(sum->options.device, sum->term, sum->part_count, root_of(sum, job), from,
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
    int rc = post(job, slot, &op, slot->summed, sum->options.device, why);

    return rc != 0 ? rc : comm_wait(job->comm, job->word, slot->ticket, why);
}

/* To who asked for it, and to what is kept for others. */
static int hand_over(struct step_sum *sum, const struct step_sum_job *job,
                     const struct bucket *bucket, const float *result, struct rk_why *why)
{
    int rc = job->emit(job->context, bucket->from, bucket->count, result, why);

    if (rc != 0 || job->world == 1)
        return rc;
    sum->kept_step = 0;
    return device_copy(sum->options.device, sum->kept + bucket->from, result,
                       bucket->count * sizeof(float), cudaMemcpyDeviceToDevice, why);
}

/* To its end. */
static int bucket_finish(struct step_sum *sum, const struct step_sum_job *job, uint64_t b,
                         struct rk_why *why)
{
    struct bucket bucket = bucket_of(sum, job, b);
    const float *result = bucket.slot->result;
    int rc = 0;

    if (job->world > 1)
        rc = comm_wait(job->comm, job->word, bucket.slot->ticket, why);
    if (rc == 0 && sum->options.fast && job->world == 1)
        result = sum->buffer[job->node[0].buffer] + bucket.from;
    else if (rc == 0 && !sum->options.fast)
        rc = sum_slice(sum, job, &bucket, why);
    if (rc == 0 && !sum->options.fast && job->world > 1)
        rc = gather(sum, job, &bucket, why);
    return rc != 0 ? rc : hand_over(sum, job, &bucket, result, why);
}

static int run_buckets(struct step_sum *sum, const struct step_sum_job *job, uint64_t buckets,
                       struct rk_why *why)
{
    int rc = 0;

    for (uint64_t b = 0; rc == 0 && b < buckets && b < SLOTS; b++)
        rc = bucket_start(sum, job, b, why);
    for (uint64_t b = 0; rc == 0 && b < buckets; b++) {
        rc = bucket_finish(sum, job, b, why);
        if (rc == 0 && b + SLOTS < buckets)
            rc = bucket_start(sum, job, b + SLOTS, why);
    }
    return rc;
}

static uint64_t bucket_count(const struct step_sum *sum)
{
    return (sum->options.lanes + sum->options.bucket_lanes - 1) / sum->options.bucket_lanes;
}

/* All are at the same step. */
static int run_all(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                   struct rk_why *why)
{
    uint64_t buckets = bucket_count(sum);
    int rc = list_parts(sum, job, why);

    if (rc == 0 && buckets != 0)
        rc = make_room(sum, job, why);
    if (rc == 0)
        *weight = weight_of(sum, job);
    if (rc == 0)
        rc = run_buckets(sum, job, buckets, why);
    if (rc == 0)
        rc = device_sync(sum->options.device, why);
    if (rc != 0)
        return rc;
    sum->kept_step = job->step + 1;
    sum->kept_weight = *weight;
    return 0;
}

/* ---- a step behind --------------------------------------------------------------------------- */

/* Of the ranks that are a step ahead of others the first that has that step's sum, or `world`. */
static uint32_t giver_of(const struct step_sum *sum, const struct step_sum_job *job, uint64_t step)
{
    uint32_t r = 0;

    while (r < job->world && (sum->record[r].step != step + 1 || !sum->record[r].keeps))
        r++;
    return r;
}

/* One bucket of what the giver keeps, to or from this rank. */
static int pass_bucket(struct step_sum *sum, const struct step_sum_job *job, uint32_t giver,
                       const struct bucket *bucket, struct rk_why *why)
{
    struct comm_piece *piece = bucket->slot->piece;
    struct comm_op op = {.kind = COMM_EXCHANGE, .type = ncclFloat32, .piece = piece};
    float *kept = sum->kept + bucket->from;
    int rc;

    if (job->rank != giver)
        piece[op.piece_count++] =
            (struct comm_piece){.peer = (int)giver, .count = bucket->count, .recv = kept};
    for (uint32_t r = 0; r < job->world && job->rank == giver; r++)
        if (sum->record[r].step < job->step)
            piece[op.piece_count++] =
                (struct comm_piece){.peer = (int)r, .count = bucket->count, .send = kept};
    rc = post(job, bucket->slot, &op, bucket->slot->ready, sum->options.device, why);
    return rc != 0 ? rc : comm_wait(job->comm, job->word, bucket->slot->ticket, why);
}

static int pass_kept(struct step_sum *sum, const struct step_sum_job *job, uint32_t giver,
                     struct rk_why *why)
{
    int rc = make_pieces(sum, why);

    for (uint64_t b = 0; rc == 0 && b < bucket_count(sum); b++) {
        struct bucket bucket = bucket_of(sum, job, b);

        rc = pass_bucket(sum, job, giver, &bucket, why);
        if (rc == 0 && job->rank != giver)
            rc = job->emit(job->context, bucket.from, bucket.count, sum->kept + bucket.from, why);
    }
    return rc != 0 ? rc : device_sync(sum->options.device, why);
}

/* This rank's step was finished by others. */
static int catch_up(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                    struct rk_why *why)
{
    uint32_t giver = giver_of(sum, job, job->step);
    int rc;

    if (giver == job->world)
        return rk_fail(why, RK_ENOENT,
                       "rank %u of %u is a step behind, and nobody has the sum of step %llu any "
                       "more",
                       job->rank, job->world, (unsigned long long)job->step);
    sum->kept_step = 0;
    *weight = sum->record[giver].kept_weight;
    rc = pass_kept(sum, job, giver, why);
    if (rc != 0)
        return rc;
    sum->kept_step = job->step + 1;
    sum->kept_weight = *weight;
    return 0;
}

/* The step that the ranks furthest behind are at, and that of the others. */
static void find_steps(const struct step_sum *sum, uint32_t world, uint64_t *least, uint64_t *most)
{
    *least = *most = sum->record[0].step;
    for (uint32_t r = 1; r < world; r++) {
        uint64_t step = sum->record[r].step;

        *least = step < *least ? step : *least;
        *most = step > *most ? step : *most;
    }
}

int step_sum_run(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                 struct rk_why *why)
{
    uint64_t least;
    uint64_t most;
    int rc = 0;

    if (sum->kept == NULL && job->world > 1)
        rc = take_floats(sum->options.device, sum->options.lanes, "the last sum", &sum->kept, why);
    while (rc == 0) {
        rc = learn(sum, job, why);
        if (rc != 0)
            break;
        find_steps(sum, job->world, &least, &most);
        if (least == most)
            return run_all(sum, job, weight, why);
        if (most - least > 1)
            return rk_fail(why, RK_EPROTO,
                           "ranks are at steps %llu and %llu; this is a bug in reknit",
                           (unsigned long long)least, (unsigned long long)most);
        if (job->step == least)
            return catch_up(sum, job, weight, why);
        if (giver_of(sum, job, least) == job->rank)
            rc = pass_kept(sum, job, job->rank, why);
    }
    return rc;
}
