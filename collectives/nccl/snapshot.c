/* Device to host beside the training; see snapshot.h. */
#include "collectives/nccl/snapshot.h"

#include <stdlib.h>

struct snapshot {
    const struct api *api;
    int device;
    cudaStream_t stream;
    cudaEvent_t before; /* the training's stream has come to the copy */
    cudaEvent_t done;
    bool under_way;
};

static int failed(const struct snapshot *snapshot, cudaError_t error, const char *call,
                  struct rk_why *why)
{
    return error == cudaSuccess ? 0
                                : api_cuda_fail(snapshot->api, why, error, call, snapshot->device);
}

int snapshot_new(const struct api *api, int device, struct snapshot **out, struct rk_why *why)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    int rc;

    if (snapshot == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for snapshots of a GPU; free some");
    *snapshot = (struct snapshot){.api = api, .device = device};
    rc = failed(snapshot, api->stream_create(&snapshot->stream, cudaStreamNonBlocking),
                "cudaStreamCreateWithFlags", why);
    if (rc == 0)
        rc = failed(snapshot, api->event_create(&snapshot->before, cudaEventDisableTiming),
                    "cudaEventCreateWithFlags", why);
    if (rc == 0)
        rc = failed(snapshot, api->event_create(&snapshot->done, cudaEventDisableTiming),
                    "cudaEventCreateWithFlags", why);
    if (rc != 0)
        snapshot_free(snapshot);
    else
        *out = snapshot;
    return rc;
}

void snapshot_free(struct snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    if (snapshot->before != NULL)
        snapshot->api->event_destroy(snapshot->before);
    if (snapshot->done != NULL)
        snapshot->api->event_destroy(snapshot->done);
    if (snapshot->stream != NULL)
        snapshot->api->stream_destroy(snapshot->stream);
    free(snapshot);
}

int snapshot_start(struct snapshot *snapshot, const struct snapshot_part *parts, size_t part_count,
                   cudaStream_t after, struct rk_why *why)
{
    const struct api *api = snapshot->api;
    int rc;

    if (snapshot->under_way)
        return rk_fail(why, RK_ESTATE, "a snapshot was started before the last one was complete");
    rc = failed(snapshot, api->event_record(snapshot->before, after), "cudaEventRecord", why);
    if (rc == 0)
        rc = failed(snapshot, api->stream_wait_event(snapshot->stream, snapshot->before, 0),
                    "cudaStreamWaitEvent", why);
    for (size_t p = 0; rc == 0 && p < part_count; p++)
        rc = failed(snapshot,
                    api->memcpy_async(parts[p].host, parts[p].device, parts[p].bytes,
                                      cudaMemcpyDeviceToHost, snapshot->stream),
                    "cudaMemcpyAsync", why);
    if (rc == 0)
        rc = failed(snapshot, api->event_record(snapshot->done, snapshot->stream),
                    "cudaEventRecord", why);
    snapshot->under_way = rc == 0;
    return rc;
}

int snapshot_poll(struct snapshot *snapshot, struct rk_why *why)
{
    cudaError_t error;

    if (!snapshot->under_way)
        return rk_fail(why, RK_ESTATE, "no snapshot is under way");
    error = snapshot->api->event_query(snapshot->done);
    if (error == cudaErrorNotReady)
        return 0;
    snapshot->under_way = false;
    return error == cudaSuccess ? 1 : failed(snapshot, error, "the copy of a snapshot", why);
}
