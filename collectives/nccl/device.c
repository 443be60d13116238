/* Memory, streams and kernels of one GPU; see device.h. */
#include "collectives/nccl/device.h"

#include <string.h>

#define TERMS 16384u /* of the ring: those of the largest sum sixteen times */

int device_check(const struct device *device, cudaError_t error, const char *call,
                 struct rk_why *why)
{
    if (error == cudaSuccess)
        return 0;
    api_cuda_fail(&device->api, why, error, call, device->number);
    return error == cudaErrorMemoryAllocation ? RK_ENOMEM : RK_EUNAVAILABLE;
}

int device_use(const struct device *device, struct rk_why *why)
{
    return device_check(device, device->api.set_device(device->number), "cudaSetDevice", why);
}

static int choose(struct device *device, int number, uint32_t place, struct rk_why *why)
{
    int count = 0;
    int rc = device_check(device, device->api.device_count(&count), "cudaGetDeviceCount", why);

    if (rc != 0)
        return rc;
    if (number >= count)
        return rk_fail(why, RK_EUNAVAILABLE,
                       "GPU %d: there are %d here, from 0 on; `nvidia-smi -L` lists them", number,
                       count);
    device->number = number >= 0 ? number : (int)(place % (uint32_t)count);
    return device_use(device, why);
}

/* What one thread needs of it. */
static int make_stream(struct device *device, struct rk_why *why)
{
    const struct api *api = &device->api;
    void *ring = NULL;
    int rc = device_check(device, api->stream_create(&device->stream, cudaStreamNonBlocking),
                          "cudaStreamCreateWithFlags", why);

    if (rc == 0)
        rc = device_check(device, api->event_create(&device->ours, cudaEventDisableTiming),
                          "cudaEventCreateWithFlags", why);
    if (rc == 0)
        rc = device_check(device, api->event_create(&device->theirs, cudaEventDisableTiming),
                          "cudaEventCreateWithFlags", why);
    if (rc == 0)
        rc = device_host_alloc(device, TERMS * sizeof *device->term, &ring, why);
    device->term = ring;
    if (rc != 0)
        device_close(device);
    return rc;
}

int device_open(struct device *device, int number, uint32_t place, void *program,
                struct rk_why *why)
{
    int rc;

    *device = (struct device){.number = number, .program = program};
    rc = api_open(NULL, NULL, &device->api, why);
    if (rc == 0)
        rc = kernels_open(NULL, &device->kernels, why);
    if (rc == 0)
        rc = choose(device, number, place, why);
    return rc == 0 ? make_stream(device, why) : rc;
}

int device_fork(const struct device *device, struct device *fork, struct rk_why *why)
{
    *fork = (struct device){.api = device->api,
                            .kernels = device->kernels,
                            .number = device->number,
                            .program = device->program};
    return make_stream(fork, why);
}

void device_close(struct device *device)
{
    if (device->term != NULL)
        device->api.host_free(device->term);
    if (device->ours != NULL)
        device->api.event_destroy(device->ours);
    if (device->theirs != NULL)
        device->api.event_destroy(device->theirs);
    if (device->stream != NULL)
        device->api.stream_destroy(device->stream);
    *device = (struct device){0};
}

/* ---- memory ---------------------------------------------------------------------------------- */

int device_alloc(const struct device *device, size_t bytes, const char *what, void **memory,
                 struct rk_why *why)
{
    cudaError_t error = device->api.memory_alloc(memory, bytes);

    if (error == cudaErrorMemoryAllocation)
        return rk_fail(why, RK_ENOMEM,
                       "GPU %d: %zu MiB for %s are not to be had; free some of its memory, or "
                       "put fewer ranks on it",
                       device->number, bytes >> 20, what);
    return device_check(device, error, "cudaMalloc", why);
}

void device_free(const struct device *device, void *memory)
{
    if (memory != NULL)
        device->api.memory_free(memory);
}

int device_host_alloc(const struct device *device, size_t bytes, void **memory, struct rk_why *why)
{
    return device_check(device, device->api.host_alloc(memory, bytes, cudaHostAllocDefault),
                        "cudaHostAlloc", why);
}

void device_host_free(const struct device *device, void *memory)
{
    if (memory != NULL)
        device->api.host_free(memory);
}

/* ---- order ----------------------------------------------------------------------------------- */

int device_mark(const struct device *device, cudaEvent_t event, struct rk_why *why)
{
    return device_check(device, device->api.event_record(event, device->stream), "cudaEventRecord",
                        why);
}

int device_await(const struct device *device, cudaEvent_t event, struct rk_why *why)
{
    return device_check(device, device->api.stream_wait_event(device->stream, event, 0),
                        "cudaStreamWaitEvent", why);
}

int device_after(const struct device *device, struct rk_why *why)
{
    int rc = device_check(device, device->api.event_record(device->theirs, device->program),
                          "cudaEventRecord", why);

    return rc != 0 ? rc : device_await(device, device->theirs, why);
}

int device_before(const struct device *device, struct rk_why *why)
{
    int rc = device_mark(device, device->ours, why);

    return rc != 0 ? rc
                   : device_check(device,
                                  device->api.stream_wait_event(device->program, device->ours, 0),
                                  "cudaStreamWaitEvent", why);
}

int device_sync(struct device *device, struct rk_why *why)
{
    device->term_used = 0;
    return device_check(device, device->api.stream_synchronize(device->stream),
                        "cudaStreamSynchronize", why);
}

/* ---- work ------------------------------------------------------------------------------------ */

int device_copy(const struct device *device, void *to, const void *from, size_t bytes,
                enum cudaMemcpyKind kind, struct rk_why *why)
{
    if (bytes == 0)
        return 0;
    return device_check(device, device->api.memcpy_async(to, from, bytes, kind, device->stream),
                        "cudaMemcpyAsync", why);
}

int device_sum(struct device *device, const struct tree_part *parts, uint32_t part_count,
               struct tree_node root, uint64_t from, uint64_t count, float *out, struct rk_why *why)
{
    struct sum_term *list;
    int rc = 0;

    if (part_count == 1) { /* with the very bits, NaNs too */
        struct sum_term one;

        tree_terms(parts, 1, root, from, &one);
        return device_check(device,
                            device->kernels->load(one.dtype, one.data, one.weight, count,
                                                  out + from, device->stream),
                            "a kernel that copies", why);
    }
    if (device->term_used + part_count > TERMS)
        rc = device_sync(device, why);
    if (rc != 0)
        return rc;
    list = device->term + device->term_used;
    tree_terms(parts, part_count, root, from, list);
    device->term_used += part_count;
    return device_check(device,
                        device->kernels->terms(list, part_count, count, out + from, device->stream),
                        "a kernel that sums", why);
}

int device_store(const struct device *device, const float *in, float factor, enum sum_dtype to,
                 uint64_t count, void *out, struct rk_why *why)
{
    return device_check(device, device->kernels->store(in, factor, to, count, out, device->stream),
                        "a kernel that rounds", why);
}
