/* Which rank has which nodes of the tree; see step_sum.h. */
#include "collectives/nccl/step_inside.h"

#include <stdlib.h>
#include <string.h>

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
                         .recv = sum->record_gpu};
    int rc = device_copy(device, mine, &sum->record[job->rank], size, cudaMemcpyHostToDevice, why);

    if (rc == 0)
        rc = step_post(sum, job, slot, &op, slot->ready, why);
    if (rc == 0)
        rc = step_wait(job, slot, why);
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

int step_list_parts(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
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

struct tree_node step_root(const struct step_sum *sum, const struct step_sum_job *job)
{
    return sum->options.fast ? TREE_SERIAL
                             : (struct tree_node){.level = (uint16_t)tree_log2(job->shards)};
}

double step_weight(struct step_sum *sum, const struct step_sum_job *job)
{
    double weight = 0;

    for (uint32_t p = 0; p < sum->part_count; p++)
        sum->term[p] = tree_part_f64(sum->part[p].node, &sum->part[p].weight);
    tree_sum64(sum->term, sum->part_count, step_root(sum, job), 0, 1, &weight);
    return weight;
}

int step_learn(struct step_sum *sum, const struct step_sum_job *job, struct rk_why *why)
{
    int rc = make_records(sum, job->world, why);

    if (rc != 0)
        return rc;
    fill_record(sum, job, &sum->record[job->rank]);
    return gather_records(sum, job, why);
}
