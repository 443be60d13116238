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
    pthread_mutex_init(&gpu->filling, NULL);
    session->gpu = gpu;
    return 0;
}

void gpu_close(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;

    if (gpu == NULL)
        return;
    gpu_driver_close(gpu);
    gpu_snapshot_close(gpu);
    step_sum_free(gpu->sum);
    device_free(&gpu->device, gpu->bad);
    for (uint32_t b = 0; gpu->filled != NULL && b < gpu->buckets; b++)
        if (gpu->filled[b] != NULL)
            gpu->device.api.event_destroy(gpu->filled[b]);
    device_close(&gpu->driver);
    device_close(&gpu->device);
    pthread_mutex_destroy(&gpu->filling);
    free(gpu->filled);
    free(gpu->ready);
    free(gpu);
    session->gpu = NULL;
}

int gpu_place(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct step_sum_options options = {
        .device = &gpu->driver,
        .lanes = rk_layout_grad_bytes(session->layout) / sizeof(float),
        .bucket_lanes = session->options.bucket_bytes / sizeof(float),
        .buffers = arena_partial_buffers(session->arena.header),
        .fast = session->arena.header->reduction == ARENA_FAST,
    };
    void *bad = NULL;
    int rc = gpu_driver_open(session);

    if (rc == 0)
        rc = gpu_snapshot_open(session);
    if (rc == 0)
        rc = step_sum_new(&options, &gpu->sum, &session->why);
    if (rc != 0)
        return rc;
    gpu->buckets = step_sum_buckets(gpu->sum);
    gpu->ready = calloc(gpu->buckets + 1u, sizeof *gpu->ready);
    gpu->filled = calloc(gpu->buckets + 1u, sizeof *gpu->filled);
    if (gpu->ready == NULL || gpu->filled == NULL)
        return session_fail(session, RK_ENOMEM, "rank %u: no memory for %u buckets", session->rank,
                            gpu->buckets);
    for (uint32_t b = 0; rc == 0 && b < gpu->buckets; b++)
        rc = device_check(&gpu->device,
                          gpu->device.api.event_create(&gpu->filled[b], cudaEventDisableTiming),
                          "cudaEventCreateWithFlags", &session->why);
    if (rc == 0 && session->options.check_finite)
        rc = device_alloc(&gpu->device, sizeof *gpu->bad, "a check", &bad, &session->why);
    gpu->bad = bad;
    return rc;
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
