/* Snapshots of state on the GPU, copied beside what the program does next; see gpu.h. */
#include "worker/gpu_inside.h"

#include "worker/local.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Pinned memory is copied to while the program goes on; other memory just takes longer. */
int gpu_snapshot_open(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    uint64_t bytes = ARENA_SNAPSHOTS * session->arena.header->state_bytes;
    void *place = arena_snapshot_data(&session->arena, 0);

    gpu->copy_part = calloc(session->layout->tensor_count + 1u, sizeof *gpu->copy_part);
    if (gpu->copy_part == NULL)
        return session_fail(session, RK_ENOMEM, "rank %u: no memory for snapshots", session->rank);
    if (bytes != 0 &&
        gpu->device.api.host_register(place, bytes, cudaHostRegisterDefault) == cudaSuccess)
        gpu->pinned = place;
    return snapshot_new(&gpu->device.api, gpu->device.number, &gpu->copy, &session->why);
}

void gpu_snapshot_close(struct gpu *gpu)
{
    snapshot_free(gpu->copy);
    if (gpu->pinned != NULL)
        gpu->device.api.host_unregister(gpu->pinned);
    free(gpu->copy_part);
}

/* What lies in the memory of the host is copied at once. */
static size_t list_copies(struct rk_session *session, char *target)
{
    struct gpu *gpu = session->gpu;
    size_t parts = 0;

    for (uint32_t t = 0; t < session->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &session->layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE || tensor->bytes == 0)
            continue;
        if (session->on_gpu[t])
            gpu->copy_part[parts++] = (struct snapshot_part){
                session->data[t], target + tensor->offset, (size_t)tensor->bytes};
        else
            memcpy(target + tensor->offset, session->data[t], (size_t)tensor->bytes);
    }
    return parts;
}

static int say_snapshot(const struct rk_session *session, uint64_t step)
{
    struct local_message message = {.kind = LOCAL_SNAPSHOT, .a = step};
    int rc = local_send(session->agent, &message, -1);

    return rc == RK_EFULL ? 0 : rc; /* no room now: the coordinator asks again */
}

int gpu_snapshot_begin(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    struct arena *arena = &session->arena;
    size_t parts;
    int k = arena_snapshot_pick(arena);
    int rc;

    if (arena_snapshot_find(arena, session->position) >= 0)
        return say_snapshot(session, session->position);
    if (k < 0)
        return RK_EFULL;
    arena_snapshot_begin(arena, (uint32_t)k);
    parts = list_copies(session, arena_snapshot_data(arena, (uint32_t)k));
    rc = snapshot_start(gpu->copy, gpu->copy_part, parts, gpu->device.program, &session->why);
    gpu->copies = rc == 0;
    gpu->copy_place = (uint32_t)k;
    gpu->copy_step = session->position;
    return rc;
}

int gpu_snapshot_finish(struct rk_session *session, struct rk_why *why)
{
    const struct timespec moment = {.tv_nsec = 50000};
    struct gpu *gpu = session->gpu;
    int rc;

    if (!gpu->copies)
        return 0;
    while ((rc = snapshot_poll(gpu->copy, why)) == 0)
        nanosleep(&moment, NULL);
    gpu->copies = false;
    if (rc < 0)
        return rc;
    arena_snapshot_commit(&session->arena, gpu->copy_place, gpu->copy_step);
    return say_snapshot(session, gpu->copy_step);
}
