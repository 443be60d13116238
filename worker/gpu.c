/* Gradients and state in the memory of a GPU; see gpu.h. */
#include "worker/gpu_inside.h"

#include <stdlib.h>
#include <string.h>

int gpu_open(struct rk_session *session, int device, void *stream)
{
    struct gpu *gpu = calloc(1, sizeof *gpu);
    int rc;

    if (gpu == NULL)
        return session_fail(session, RK_ENOMEM, "rk_use_gpu: no memory");
    rc = device_open(&gpu->device, device, session->seat, stream, &session->why);
    if (rc != 0) {
        free(gpu);
        return rc;
    }
    session->gpu = gpu;
    return 0;
}

void gpu_close(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;

    if (gpu == NULL)
        return;
    comm_free(gpu->comm);
    step_sum_free(gpu->sum);
    device_free(&gpu->device, gpu->bad);
    device_close(&gpu->device);
    free(gpu);
    session->gpu = NULL;
}

int gpu_place(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct step_sum_options options = {
        .device = &gpu->device,
        .lanes = rk_layout_grad_bytes(session->layout) / sizeof(float),
        .bucket_lanes = session->options.bucket_bytes / sizeof(float),
        .buffers = arena_partial_buffers(session->arena.header),
        .fast = session->arena.header->reduction == ARENA_FAST,
    };
    void *bad = NULL;
    int rc = step_sum_new(&options, &gpu->sum, &session->why);

    if (rc == 0 && session->options.check_finite)
        rc = device_alloc(&gpu->device, sizeof *gpu->bad, "a check", &bad, &session->why);
    gpu->bad = bad;
    return rc;
}

double gpu_weight(const struct rk_session *session)
{
    return session->gpu->total;
}

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

/* Notes the first element that is not finite; the shard ends with it. */
static int check_gradient(struct rk_session *session, const struct session_gradient *gradient)
{
    struct gpu *gpu = session->gpu;
    struct device *device = &gpu->device;
    const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];
    unsigned long long bad = 0;
    int rc =
        device_check(device, device->api.memset_async(gpu->bad, 0xff, sizeof bad, device->stream),
                     "cudaMemsetAsync", &session->why);

    if (rc == 0)
        rc = device_check(device,
                          device->kernels->finite((enum sum_dtype)tensor->dtype,
                                                  session->data[gradient->tensor], gradient->count,
                                                  gpu->bad, device->stream),
                          "a kernel that looks for NaN", &session->why);
    if (rc == 0)
        rc = device_copy(device, &bad, gpu->bad, sizeof bad, cudaMemcpyDeviceToHost, &session->why);
    if (rc == 0)
        rc = device_sync(device, &session->why);
    if (rc != 0 || bad == UINT64_MAX)
        return rc;
    atomic_store(&session->work.error, RK_ENOTFINITE);
    session->work.bad_tensor = gradient->tensor;
    session->work.bad_element = bad;
    return 0;
}

/* The shard itself, and what it takes up, by place; `data` fills in where each lies. */
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

static int add_gradient(struct rk_session *session, const struct session_gradient *gradient)
{
    struct gpu *gpu = session->gpu;
    const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];
    struct tree_part part[TREE_MAX_LEVEL + 1];
    uint32_t buffer[TREE_MAX_LEVEL + 1];
    uint32_t count = list_parts(session, part, buffer);
    float *lanes;
    int rc = 0;

    for (uint32_t p = 0; rc == 0 && p < count; p++) {
        if (buffer[p] == ARENA_NO_BUFFER) {
            part[p] = tree_part_typed(part[p].node, session->data[gradient->tensor], tensor->dtype,
                                      session->work.weight);
            continue;
        }
        rc = step_sum_buffer(gpu->sum, buffer[p], &lanes, &session->why);
        if (rc == 0)
            part[p].data = lanes + gradient->at;
    }
    if (rc == 0)
        rc = step_sum_buffer(gpu->sum, session->work.buffer, &lanes, &session->why);
    return rc != 0 ? rc
                   : device_sum(&gpu->device, part, count, session->work.root, 0, gradient->count,
                                lanes + gradient->at, &session->why);
}

/* As the gradients are summed. */
static void add_weight(struct rk_session *session)
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

int gpu_add_shard(struct rk_session *session)
{
    int rc = device_after(&session->gpu->device, &session->why);

    for (uint32_t p = 0; rc == 0 && p < session->placed_count; p++) {
        const struct session_gradient *gradient = &session->gradient[session->placed[p]];

        if (session->options.check_finite)
            rc = check_gradient(session, gradient);
        if (rc == 0 && atomic_load(&session->work.error) != 0)
            return 0; /* the caller says so */
        if (rc == 0)
            rc = add_gradient(session, gradient);
    }
    if (rc == 0)
        add_weight(session);
    return rc != 0 ? rc : device_before(&session->gpu->device, &session->why);
}

/* ---- state ----------------------------------------------------------------------------------- */

int gpu_read(struct rk_session *session, uint32_t tensor, void *host)
{
    const struct device *device = &session->gpu->device;
    int rc = device_after(device, &session->why);

    return rc != 0 ? rc
                   : device_copy(device, host, session->data[tensor],
                                 (size_t)session->layout->tensor[tensor].bytes,
                                 cudaMemcpyDeviceToHost, &session->why);
}

int gpu_write(struct rk_session *session, uint32_t tensor, const void *host)
{
    const struct device *device = &session->gpu->device;
    int rc = device_after(device, &session->why);

    return rc != 0 ? rc
                   : device_copy(device, session->data[tensor], host,
                                 (size_t)session->layout->tensor[tensor].bytes,
                                 cudaMemcpyHostToDevice, &session->why);
}

int gpu_settle(struct rk_session *session)
{
    return device_sync(&session->gpu->device, &session->why);
}

int gpu_adamw(struct rk_session *session, const struct sum_adamw *rule, uint64_t count,
              const float *gradient, float *weights, float *first, float *second)
{
    const struct device *device = &session->gpu->device;

    return device_check(device,
                        device->kernels->adamw(rule, gradient, weights, first, second, count,
                                               weights, first, second, device->program),
                        "a kernel of AdamW", &session->why);
}
