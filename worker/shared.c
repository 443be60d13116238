/* State that lies in the arena, and the ready-made updates that make it from sums; see reknit.h and
 * arena.h. */
#include "worker/session.h"

#include <string.h>

static char *place(const struct rk_session *session, uint32_t tensor, uint64_t position)
{
    return (char *)arena_shared_data(&session->arena, position) +
           session->layout->tensor[tensor].offset;
}

const void *session_state_data(const struct rk_session *session, uint32_t tensor)
{
    return session->layout->tensor[tensor].in_arena ? place(session, tensor, session->position)
                                                    : session->data[tensor];
}

const void *rk_state(const struct rk_session *session, uint32_t number)
{
    if (number >= session->shared_count || !session->has_state)
        return NULL;
    return place(session, session->shared[number], session->position);
}

void *rk_next_state(const struct rk_session *session, uint32_t number)
{
    if (number >= session->shared_count || session->phase != SESSION_IN_STEP)
        return NULL;
    return place(session, session->shared[number], session->position + 1);
}

bool session_streams_state(const struct rk_session *session)
{
    return session->arena.header->state_bytes >= SESSION_STREAM_BYTES;
}

/* The other place may hold what a relaunch has made void. */
static void commit(struct rk_session *session, uint64_t position)
{
    arena_shared_begin(&session->arena, position + 1);
    arena_shared_commit(&session->arena, position);
}

void session_share_initial(struct rk_session *session)
{
    arena_shared_begin(&session->arena, 0);
    for (uint32_t n = 0; n < session->shared_count; n++) {
        uint32_t t = session->shared[n];
        uint64_t bytes = session->layout->tensor[t].bytes;

        if (bytes != 0 && session->data[t] != NULL)
            memcpy(place(session, t, 0), session->data[t], bytes);
        else
            memset(place(session, t, 0), 0, bytes);
    }
    commit(session, 0);
}

void session_share_snapshot(struct rk_session *session, uint32_t k, uint64_t position)
{
    const char *source = arena_snapshot_data(&session->arena, k);

    arena_shared_begin(&session->arena, position);
    for (uint32_t n = 0; n < session->shared_count; n++) {
        const struct rk_tensor *tensor = &session->layout->tensor[session->shared[n]];

        memcpy(place(session, session->shared[n], position), source + tensor->offset,
               tensor->bytes);
    }
    commit(session, position);
}

bool session_shares(const struct rk_session *session)
{
    const struct arena_plan *plan = &session->plan;

    for (uint32_t i = 0; session->agent >= 0 && i < plan->local_count; i++) {
        const struct arena_seat *seat = &session->arena.header->seat[plan->local[i].seat];

        if (atomic_load(&seat->ack_position) != ARENA_NO_STEP)
            return false;
    }
    return session->local_index == 0;
}

int rk_fuse(struct rk_session *session, rk_update update, void *context)
{
    if (session->phase != SESSION_BETWEEN)
        return session_fail(session, RK_ESTATE, "rk_fuse is called between steps");
    if (session->shared_count == 0)
        return session_fail(session, RK_ESTATE,
                            "rk_fuse: no state lies in the arena; see rk_alloc_state");
    if (session->options.reduce == RK_WEIGHTED)
        return session_fail(session, RK_ESTATE,
                            "rk_fuse: weights are known at the end of a step only; reduce by "
                            "RK_SUM or RK_AVERAGE");
    if (update == NULL)
        return session_fail(session, RK_EINVAL, "rk_fuse: no update");
    session->update = update;
    session->context = context;
    return 0;
}
