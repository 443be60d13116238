/* The loop over steps: what is called when, and what follows from it; see reknit.h. */
#include "worker/gpu.h"
#include "worker/session.h"

#include "worker/local.h"

#include <string.h>

static int expect_phase(struct rk_session *session, enum session_phase phase, const char *call)
{
    if (session->phase == phase)
        return 0;
    if (session->phase == SESSION_BROKEN)
        return RK_ESTATE; /* the sentence of the first error stands */
    return session_fail(session, RK_ESTATE, "%s came out of order", call);
}

int rk_step_begin(struct rk_session *session, uint64_t *step)
{
    int rc = expect_phase(session, SESSION_BETWEEN, "rk_step_begin");

    if (rc == 0)
        rc = session_follow(session);
    if (rc < 0)
        return rc;
    if (session->shared_count != 0 && session->update == NULL)
        return session_fail(session, RK_ESTATE,
                            "rk_step_begin: state lies in the arena and no update makes it; see "
                            "rk_fuse");
    *step = session->position;
    if (session->position >= session->plan.stop_at)
        return RK_STOPPED;
    session_deal(session);
    session->shard = -1;
    session->phase = SESSION_IN_STEP;
    return 0;
}

/* Whether nothing but `shard` is to do. */
static bool is_only(const struct rk_session *session, uint32_t shard)
{
    for (uint32_t word = 0; word < RK_MAX_SHARDS / 64; word++)
        if (session->todo[word] != (word == shard / 64 ? UINT64_C(1) << shard % 64 : 0))
            return false;
    return true;
}

int64_t rk_shard_next(struct rk_session *session)
{
    int rc = expect_phase(session, SESSION_IN_STEP, "rk_shard_next");

    if (rc == 0 && session->shard >= 0)
        rc = session_fail(session, RK_ESTATE, "rk_shard_next: shard %lld was not said to be done",
                          (long long)session->shard);
    if (rc == 0)
        rc = session_follow(session);
    if (rc < 0)
        return rc == -1 ? RK_ESTATE : rc;
    for (uint32_t word = 0; word < RK_MAX_SHARDS / 64; word++) {
        if (session->todo[word] == 0)
            continue;
        uint32_t shard = word * 64 + (uint32_t)__builtin_ctzll(session->todo[word]);

        rc = session_shard_begin(session, shard, is_only(session, shard));
        return rc == 0 ? (int64_t)shard : rc;
    }
    return -1;
}

int rk_shard_done(struct rk_session *session)
{
    int rc = expect_phase(session, SESSION_IN_STEP, "rk_shard_done");
    uint32_t shard;

    if (rc != 0)
        return rc;
    if (session->shard < 0)
        return session_fail(session, RK_ESTATE, "rk_shard_done: no shard was handed out");
    shard = (uint32_t)session->shard;
    rc = session_shard_publish(session);
    if (rc != 0)
        return rc;
    session->shard = -1;
    session->todo[shard / 64] &= ~(UINT64_C(1) << (shard % 64));
    rc = session_follow(session);
    return rc < 0 ? rc : 0;
}

int rk_gradients_wait(struct rk_session *session)
{
    int rc = expect_phase(session, SESSION_IN_STEP, "rk_gradients_wait");

    if (rc == 0 && session->shard >= 0)
        rc = session_fail(session, RK_ESTATE,
                          "rk_gradients_wait: shard %lld was not said to be done",
                          (long long)session->shard);
    if (rc != 0)
        return rc;
    if (session_has_todo(session))
        return RK_REFORMED;
    session_waits(session, ARENA_WAIT_SUM);
    rc = session_wait_for_sum(session);
    session_waits(session, ARENA_WAIT_NONE);
    if (rc != 0)
        return rc;
    if (session->update == NULL && session->gpu == NULL)
        session_copy_result(session);
    session->phase = SESSION_SUMMED;
    return 0;
}

/* Leaves a snapshot when the coordinator asked for one at this position. */
static int snapshot_if_asked(struct rk_session *session)
{
    struct local_message message = {.kind = LOCAL_SNAPSHOT, .a = session->position};
    int rc;

    if (session->agent < 0 || session->local_index != 0 ||
        atomic_load(&session_block(session)->snapshot_at) != session->position)
        return 0;
    rc = session->gpu != NULL ? gpu_snapshot_begin(session) : session_give_state(session);
    if (rc == 0 && session->gpu == NULL)
        rc = local_send(session->agent, &message, -1);
    return rc == RK_EFULL ? 0 : rc; /* no room now: the coordinator asks again */
}

int rk_step_end(struct rk_session *session, uint64_t *step)
{
    struct local_message message = {.kind = LOCAL_PROGRESS};
    int rc = expect_phase(session, SESSION_SUMMED, "rk_step_end");

    if (rc != 0)
        return rc;
    session->position++;
    *step = session->position;
    session->phase = SESSION_BETWEEN;
    atomic_store(&session_seat(session)->position, session->position);
    if (session->tell_progress && session->agent >= 0) {
        session->tell_progress = false;
        message.a = session->position;
        rc = local_send(session->agent, &message, -1);
        if (rc == RK_EFULL)
            session->tell_progress = true;
        else if (rc != 0)
            return session_fail(session, RK_EAGENT, "rank %u: the agent of this host is gone",
                                session->rank);
    }
    rc = snapshot_if_asked(session);
    if (rc == 0)
        rc = session_give_late(session);
    if (rc == 0)
        rc = session_follow(session);
    return rc < 0 ? rc : 0;
}
