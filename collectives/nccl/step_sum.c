/* Memory, and a step from its start to its end; see step_sum.h. */
#include "collectives/nccl/step_inside.h"

#include <stdlib.h>

#define BUCKET_LANES ((UINT64_C(25) << 20) / sizeof(float))

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
    for (uint32_t s = 0; rc == 0 && s < STEP_SLOTS; s++) {
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
    for (uint32_t b = 0; b < STEP_BUFFERS; b++)
        device_free(sum->options.device, sum->buffer[b]);
    for (uint32_t s = 0; s < STEP_SLOTS; s++)
        slot_free(sum->options.device, &sum->slot[s]);
    device_free(sum->options.device, sum->kept);
    device_host_free(sum->options.device, sum->record);
    device_free(sum->options.device, sum->record_gpu);
    free(sum);
}

int step_take(const struct device *device, uint64_t lanes, const char *what, float **memory,
              struct rk_why *why)
{
    void *taken = NULL;
    int rc = device_alloc(device, lanes * sizeof(float), what, &taken, why);

    *memory = rc == 0 ? taken : NULL;
    return rc;
}

int step_sum_buffer(struct step_sum *sum, uint32_t b, float **buffer, struct rk_why *why)
{
    int rc = 0;

    if (b >= sum->options.buffers || b >= STEP_BUFFERS)
        return rk_fail(why, RK_EINVAL, "there is no buffer %u for partial sums", b);
    if (sum->buffer[b] == NULL)
        rc = step_take(sum->options.device, sum->options.lanes, "partial sums", &sum->buffer[b],
                       why);
    *buffer = sum->buffer[b];
    return rc;
}

int step_grow(const struct device *device, float **memory, uint64_t lanes, const char *what,
              struct rk_why *why)
{
    device_free(device, *memory);
    *memory = NULL;
    return step_take(device, lanes, what, memory, why);
}

uint32_t step_sum_buckets(const struct step_sum *sum)
{
    const struct step_sum_options *options = &sum->options;

    return (uint32_t)((options->lanes + options->bucket_lanes - 1) / options->bucket_lanes);
}

void step_sum_bucket(const struct step_sum *sum, uint32_t b, uint64_t *from, uint64_t *count)
{
    uint64_t lanes = sum->options.bucket_lanes;

    *from = b * lanes;
    *count = sum->options.lanes - *from < lanes ? sum->options.lanes - *from : lanes;
}

const float *step_sum_kept(const struct step_sum *sum)
{
    return sum->kept;
}

/* ---- a world of one -------------------------------------------------------------------------- */

double step_sum_weight(const struct step_sum *sum, const struct step_sum_job *job)
{
    struct tree_part part[TREE_MAX_NODES];
    double weight = 0;

    for (uint32_t n = 0; n < job->node_count; n++)
        part[n] = tree_part_f64(job->node[n].node, &job->node[n].weight);
    tree_sum64(part, job->node_count, step_root(sum, job), 0, 1, &weight);
    return weight;
}

int step_sum_alone(struct step_sum *sum, struct device *device, const struct step_sum_job *job,
                   uint32_t b, const float **result, struct rk_why *why)
{
    struct bucket bucket = bucket_of(sum, 1, b);
    struct tree_part part[TREE_MAX_NODES];
    uint64_t lanes = sum->options.bucket_lanes;
    int rc = 0;

    if (sum->options.fast) {
        *result = sum->buffer[job->node[0].buffer] + bucket.from;
        return 0;
    }
    for (uint32_t s = 0; s < STEP_SLOTS && lanes > sum->result_lanes && rc == 0; s++)
        rc = step_grow(device, &sum->slot[s].result, lanes, "a bucket", why);
    if (rc != 0)
        return rc;
    if (lanes > sum->result_lanes)
        sum->result_lanes = lanes;
    for (uint32_t n = 0; n < job->node_count; n++)
        part[n] = tree_part_f32(job->node[n].node, sum->buffer[job->node[n].buffer]);
    *result = bucket.slot->result;
    return device_sum(device, part, job->node_count, step_root(sum, job), bucket.from, bucket.count,
                      bucket.slot->result - bucket.from, why);
}

/* ---- the step -------------------------------------------------------------------------------- */

/* All are at the same step.  From the last bucket to the first, as a backward pass comes. */
static int run_all(struct step_sum *sum, const struct step_sum_job *job, double *weight,
                   struct rk_why *why)
{
    uint32_t buckets = step_sum_buckets(sum);
    int rc = step_list_parts(sum, job, why);

    if (rc == 0 && buckets != 0)
        rc = step_make_room(sum, job, why);
    for (uint32_t k = 0; rc == 0 && k < buckets && k < STEP_SLOTS; k++)
        rc = bucket_start(sum, job, buckets - 1 - k, why);
    for (uint32_t b = buckets; rc == 0 && b-- > 0;) {
        rc = bucket_finish(sum, job, b, why);
        if (rc == 0 && b >= STEP_SLOTS)
            rc = bucket_start(sum, job, b - STEP_SLOTS, why);
    }
    if (rc == 0)
        rc = device_sync(sum->options.device, why);
    if (rc != 0)
        return rc;
    *weight = step_weight(sum, job);
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
    rc = step_post(sum, job, bucket->slot, &op, bucket->slot->ready, why);
    return rc != 0 ? rc : step_wait(job, bucket->slot, why);
}

static int pass_kept(struct step_sum *sum, const struct step_sum_job *job, uint32_t giver,
                     struct rk_why *why)
{
    int rc = step_make_pieces(sum, why);

    for (uint32_t b = 0; rc == 0 && b < step_sum_buckets(sum); b++) {
        struct bucket bucket = bucket_of(sum, job->world, b);

        rc = pass_bucket(sum, job, giver, &bucket, why);
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

    if (sum->kept == NULL)
        rc = step_take(sum->options.device, sum->options.lanes, "the last sum", &sum->kept, why);
    while (rc == 0) {
        rc = step_learn(sum, job, why);
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
