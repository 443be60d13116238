/* Partial sums on the GPU, bucket by bucket, and the step's sum on its way to the program; see
 * gpu.h. */
#include "worker/gpu_inside.h"

#include "common/clock.h"
#include "worker/local.h"

#include <string.h>

#define GRACE (500 * RK_MS) /* a loss is told sooner: what NCCL says first is no news */
#define AGAIN (1 * RK_S)
#define CHECK_TURNS 64u

/* ---- shards ---------------------------------------------------------------------------------- */

int gpu_clear(struct rk_session *session, uint32_t gradient)
{
    const struct device *device = &session->gpu->device;
    uint32_t tensor = session->gradient[gradient].tensor;

    return device_check(device,
                        device->api.memset_async(session->data[tensor], 0,
                                                 (size_t)session->layout->tensor[tensor].bytes,
                                                 device->program),
                        "cudaMemsetAsync", &session->why);
}

static char *element_at(const struct rk_session *session, const struct session_gradient *gradient,
                        uint64_t first)
{
    uint32_t size = rk_dtype_size(session->layout->tensor[gradient->tensor].dtype);

    return (char *)session->data[gradient->tensor] + first * size;
}

/* Notes the first element that is not finite; the shard ends with it. */
static int check_elements(struct rk_session *session, const struct session_gradient *gradient,
                          uint64_t first, uint64_t count)
{
    struct gpu *gpu = session->gpu;
    struct device *device = &gpu->device;
    enum sum_dtype dtype = (enum sum_dtype)session->layout->tensor[gradient->tensor].dtype;
    unsigned long long bad = 0;
    int none = 0;
    int rc =
        device_check(device, device->api.memset_async(gpu->bad, 0xff, sizeof bad, device->stream),
                     "cudaMemsetAsync", &gpu->why);

    if (rc == 0)
        rc = device_check(device,
                          device->kernels->finite(dtype, element_at(session, gradient, first),
                                                  count, gpu->bad, device->stream),
                          "a kernel that looks for NaN", &gpu->why);
    if (rc == 0)
        rc = device_copy(device, &bad, gpu->bad, sizeof bad, cudaMemcpyDeviceToHost, &gpu->why);
    if (rc == 0)
        rc = device_sync(device, &gpu->why);
    if (rc == 0 && bad != UINT64_MAX &&
        atomic_compare_exchange_strong(&session->work.error, &none, RK_ENOTFINITE)) {
        session->work.bad_tensor = gradient->tensor;
        session->work.bad_element = first + bad;
    }
    return rc;
}

/* The shard itself (ARENA_NO_BUFFER), and the buffers of what it takes up, by place. */
static uint32_t list_parts(const struct rk_session *session, struct tree_part *part,
                           uint32_t *buffer)
{
    const struct session_shard *work = &session->work;
    struct tree_node leaf = {.level = 0, .index = (uint16_t)session->shard};
    uint32_t count = 0;
    bool placed = false;

    for (uint32_t i = 0; i <= work->taken.count; i++) {
        if (!placed &&
            (i == work->taken.count || tree_first(work->taken.node[i].node) > tree_first(leaf))) {
            buffer[count] = ARENA_NO_BUFFER;
            part[count++] = tree_part_f32(leaf, NULL);
            placed = true;
        }
        if (i < work->taken.count) {
            buffer[count] = work->taken.node[i].buffer;
            part[count++] = tree_part_f32(work->taken.node[i].node, NULL);
        }
    }
    return count;
}

static int add_elements(struct rk_session *session, const struct session_gradient *gradient,
                        uint64_t first, uint64_t count)
{
    struct gpu *gpu = session->gpu;
    uint32_t dtype = session->layout->tensor[gradient->tensor].dtype;
    struct tree_part part[TREE_MAX_LEVEL + 1];
    uint32_t buffer[TREE_MAX_LEVEL + 1];
    uint32_t parts = list_parts(session, part, buffer);
    float *lanes;
    int rc = 0;

    for (uint32_t p = 0; rc == 0 && p < parts; p++) {
        if (buffer[p] == ARENA_NO_BUFFER) {
            part[p] = tree_part_typed(part[p].node, session->data[gradient->tensor], dtype,
                                      session->work.weight);
            continue;
        }
        rc = step_sum_buffer(gpu->sum, buffer[p], &lanes, &gpu->why);
        if (rc == 0)
            part[p].data = lanes + gradient->at;
    }
    if (rc == 0)
        rc = step_sum_buffer(gpu->sum, session->work.buffer, &lanes, &gpu->why);
    return rc != 0 ? rc
                   : device_sum(&gpu->device, part, parts, session->work.root, first, count,
                                lanes + gradient->at, &gpu->why);
}

/* With `filling`. */
static int add_bucket(struct rk_session *session, uint32_t b)
{
    struct gpu *gpu = session->gpu;
    struct session_piece piece;
    uint64_t from;
    uint64_t count;
    uint32_t next;
    int rc = session->work.is_last ? gpu_snapshot_finish(session, &gpu->why) : 0;

    if (rc == 0)
        rc = device_after(&gpu->device, &gpu->why);
    step_sum_bucket(gpu->sum, b, &from, &count);
    next = session_first_behind(session, from);
    while (rc == 0 && session_next_piece(session, from, count, &next, &piece)) {
        uint64_t first = piece.from - piece.gradient->at;

        if (session->options.check_finite)
            rc = check_elements(session, piece.gradient, first, piece.count);
        if (rc == 0)
            rc = add_elements(session, piece.gradient, first, piece.count);
    }
    if (rc == 0)
        rc = device_before(&gpu->device, &gpu->why);
    if (rc == 0 && session->work.is_last && atomic_load(&session->work.error) == 0)
        rc = gpu_driver_filled(session, b, &gpu->why);
    return rc;
}

void gpu_sum_bucket(struct rk_session *session, uint32_t b)
{
    struct gpu *gpu = session->gpu;
    int none = 0;
    int rc;

    pthread_mutex_lock(&gpu->filling);
    rc = add_bucket(session, b);
    if (rc != 0)
        atomic_compare_exchange_strong(&session->work.error, &none, rc);
    pthread_mutex_unlock(&gpu->filling);
}

const char *gpu_why(const struct rk_session *session)
{
    return session->gpu->why.text;
}

uint32_t gpu_buckets(const struct rk_session *session)
{
    return session->gpu->buckets;
}

uint64_t gpu_bucket_lanes(const struct rk_session *session)
{
    uint64_t from;
    uint64_t count;

    if (session->gpu->buckets == 0)
        return 1;
    step_sum_bucket(session->gpu->sum, 0, &from, &count);
    return count;
}

/* As the gradients are summed. */
void gpu_add_weight(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    struct tree_part part[TREE_MAX_LEVEL + 1];
    uint32_t buffer[TREE_MAX_LEVEL + 1];
    uint32_t count = list_parts(session, part, buffer);
    double own = (double)session->work.weight;

    for (uint32_t p = 0; p < count; p++)
        part[p] = tree_part_f64(part[p].node,
                                buffer[p] == ARENA_NO_BUFFER ? &own : &gpu->weight[buffer[p]]);
    tree_sum64(part, count, session->work.root, 0, 1, &gpu->weight[session->work.buffer]);
}

void gpu_begin_last(struct rk_session *session)
{
    if (session->plan.world > 1 && session->options.reduce != RK_WEIGHTED)
        gpu_driver_start(session, &session->work.next);
}

double gpu_weight(const struct rk_session *session)
{
    return session->gpu->total;
}

/* ---- the step's sum -------------------------------------------------------------------------- */

/* What shards of one buffer weigh stands with the first. */
uint32_t gpu_list_nodes(const struct gpu *gpu, const struct arena_table *table,
                        struct step_sum_node *node)
{
    uint64_t seen = 0;

    for (uint32_t n = 0; n < table->count; n++) {
        uint32_t buffer = table->node[n].buffer;
        bool first = (seen >> buffer & 1) == 0;

        seen |= UINT64_C(1) << buffer;
        node[n] = (struct step_sum_node){.node = table->node[n].node,
                                         .buffer = buffer,
                                         .weight = first ? gpu->weight[buffer] : 0.0};
    }
    return table->count;
}

/* Copies elements from .. from + count - 1 of a sum, times scale, to the program's memory. */
static int emit(struct rk_session *session, uint64_t from, uint64_t count, const float *sum)
{
    float scale = (float)rk_result_scale(session);
    uint32_t next = session_first_behind(session, from);
    struct session_piece piece;
    int rc = 0;

    while (rc == 0 && session_next_piece(session, from, count, &next, &piece)) {
        uint32_t tensor = piece.gradient->tensor;
        enum sum_dtype dtype = (enum sum_dtype)session->layout->tensor[tensor].dtype;
        char *out = element_at(session, piece.gradient, piece.from - piece.gradient->at);

        rc = device_store(&session->gpu->device, sum + (piece.from - from), scale, dtype,
                          piece.count, out, &session->why);
    }
    return rc;
}

static int sum_alone(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    struct step_sum_node node[TREE_MAX_NODES];
    struct step_sum_job job = {.shards = session->plan.shards, .node = node};
    struct arena_table table;
    int rc = 0;

    session_read_table(session, &table);
    job.node_count = gpu_list_nodes(gpu, &table, node);
    gpu->total = step_sum_weight(gpu->sum, &job);
    for (uint32_t b = gpu->buckets; rc == 0 && b-- > 0;) {
        const float *sum;
        uint64_t from;
        uint64_t count;

        step_sum_bucket(gpu->sum, b, &from, &count);
        rc = step_sum_alone(gpu->sum, &gpu->device, &job, b, &sum, &session->why);
        if (rc == 0)
            rc = emit(session, from, count, sum);
    }
    return rc;
}

/* Unless the last shard has begun it: with the partial sums that there are. */
static int start_late(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    struct arena_table table;
    int rc = 0;

    if (!gpu_driver_is_idle(gpu))
        return 0;
    session_read_table(session, &table);
    gpu_driver_start(session, &table);
    for (uint32_t b = gpu->buckets; rc == 0 && b-- > 0;)
        rc = gpu_driver_filled(session, b, &session->why);
    return rc;
}

static int sum_with_others(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    uint64_t lanes = rk_layout_grad_bytes(session->layout) / sizeof(float);
    int rc = start_late(session);

    if (rc == 0)
        rc = gpu_driver_wait(session);
    return rc != 0 ? rc : emit(session, 0, lanes, step_sum_kept(gpu->sum));
}

static int sum_step(struct rk_session *session)
{
    int rc = gpu_snapshot_finish(session, &session->why);

    if (rc == 0)
        rc = device_after(&session->gpu->device, &session->why);
    if (rc == 0)
        rc = session->plan.world == 1 ? sum_alone(session) : sum_with_others(session);
    return rc != 0 ? rc : device_sync(&session->gpu->device, &session->why);
}

/* NCCL failed.  Waits for the next generation, and asks for one when nobody is told to be lost. */
static int wait_for_word(struct rk_session *session)
{
    struct local_message message = {.kind = LOCAL_COMM_FAILED, .a = session->plan.word};
    uint64_t next = rk_clock_now() + GRACE;
    uint32_t turn = 0;

    message.text_size = (uint32_t)strlen(session->why.text);
    memcpy(message.text, session->why.text, message.text_size);
    while (atomic_load(&session_block(session)->freeze_word) == session->plan.word) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = 0;

        if (rk_clock_now() >= next) {
            rc = local_send(session->agent, &message, -1);
            next = rk_clock_now() + AGAIN;
        }
        if ((rc == 0 || rc == RK_EFULL) && turn % CHECK_TURNS == CHECK_TURNS - 1)
            rc = session_check_agent(session);
        if (rc != 0 && rc != RK_EFULL)
            return rc;
        arena_pause(&session->arena, bell, &turn);
    }
    return 0;
}

int gpu_wait_for_sum(struct rk_session *session)
{
    for (;;) {
        int rc = sum_step(session);

        if (rc == 0)
            return 0;
        if (rc == RK_ETRANSPORT)
            rc = wait_for_word(session);
        else if (rc == RK_ESTALE)
            rc = 0;
        if (rc == 0)
            rc = session_follow(session);
        if (rc < 0)
            return rc;
        if (session_has_todo(session))
            return RK_REFORMED;
    }
}
