/* Following the membership word: freeze, go, and what a new plan asks of a rank; see arena.h. */
#include "worker/gpu.h"
#include "worker/session.h"

#include "worker/local.h"

#include <sched.h>
#include <string.h>

/* How many turns of a wait pass between two looks at the agent's socket: those that sleep (50 ms
 * at most each) count most. */
#define CHECK_TURNS 64u

int session_check_agent(struct rk_session *session)
{
    struct local_message message;
    int fd = -1;
    int rc;

    if (session->agent < 0)
        return 0;
    rc = local_receive(session->agent, &message, &fd, 0);
    if (rc == RK_ETIMEDOUT)
        return 0;
    if (rc == 0 && message.kind == LOCAL_REFUSED)
        return session_fail(session, message.code < 0 ? message.code : RK_EFENCED, "%.*s",
                            (int)message.text_size, message.text);
    return session_fail(session, RK_EAGENT, "rank %u: the agent of this host is gone",
                        session->rank);
}

/* Where we stand.  Where one host fuses, a step's sum is written nowhere, and once its update is
 * whole nothing but the state after it can be given to others: so a rank that stands before a step
 * that is complete in that way counts as behind it already.  All that is left for it is to take
 * note. */
static uint64_t standing(const struct rk_session *session)
{
    bool made = session->phase == SESSION_IN_STEP && session->update != NULL &&
                session->plan.hosts == 1 &&
                atomic_load(&session->arena.header->complete_step) > session->position &&
                arena_shared_has(&session->arena, session->position + 1);

    return session->position + made;
}

/* Tells where we stand; from here to go this rank touches nothing in the arena. */
static int acknowledge(struct rk_session *session, rk_word word)
{
    uint64_t position = standing(session);
    struct arena_seat *seat = session_seat(session);
    struct local_message message = {.kind = LOCAL_ACK, .a = word};
    uint32_t turn = 0;
    int rc;

    atomic_store(&seat->position, position);
    atomic_store(&seat->has_state, session->has_state);
    atomic_store(&seat->ack_position, session->has_state ? position : ARENA_NO_STEP);
    if (session->gpu != NULL) {
        gpu_pause(session);
        rc = gpu_snapshot_finish(session, &session->why);
        if (rc != 0)
            return rc;
    }
    atomic_store(&seat->comm_word, session->gpu != NULL ? gpu_comm_word(session) : 0);
    atomic_store(&seat->ack_word, word);
    session->acked = word;
    while ((rc = local_send(session->agent, &message, -1)) == RK_EFULL)
        arena_pause(&session->arena, arena_bell(&session->arena), &turn);
    if (rc != 0)
        return session_fail(session, RK_EAGENT, "rank %u: the agent of this host is gone",
                            session->rank);
    return 0;
}

/* Waits from our acknowledgement to the go of the newest freeze. */
static int wait_for_go(struct rk_session *session, rk_word *word)
{
    struct arena_agent *block = session_block(session);
    uint32_t turn = 0;
    int rc;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);

        *word = atomic_load(&block->freeze_word);
        if (*word != session->acked) {
            rc = acknowledge(session, *word);
            if (rc != 0)
                return rc;
        }
        if (atomic_load_explicit(&block->go_word, memory_order_acquire) == *word)
            return 0;
        if (turn % CHECK_TURNS == CHECK_TURNS - 1) {
            rc = session_check_agent(session);
            if (rc != 0)
                return rc;
        }
        arena_pause(&session->arena, bell, &turn);
    }
}

/* Our place among the local members, or -1. */
static int find_self(const struct rk_session *session, const struct arena_plan *plan)
{
    for (uint32_t i = 0; i < plan->local_count && i < ARENA_SEATS; i++)
        if (plan->local[i].seat == session->seat)
            return (int)i;
    return -1;
}

void session_deal(struct rk_session *session)
{
    const struct arena_plan *plan = &session->plan;
    uint32_t index = plan->local[session->local_index].index;

    memset(session->todo, 0, sizeof session->todo);
    if (session->position < plan->deal_step)
        return; /* its result is complete somewhere; all we need is to receive it */
    tree_deal(session->position == plan->deal_step ? plan->done : NULL, plan->shards, plan->world,
              index, session->todo);
}

/* Whether this rank is the one on its host that leaves the state of deal_step in a snapshot.  What
 * counts is where the others acknowledged: by now one that was behind may have caught up, and would
 * be taken for the giver that it never was. */
static bool gives_state(const struct rk_session *session)
{
    const struct arena_plan *plan = &session->plan;

    if (!plan->give_state || !session->has_state || session->position != plan->deal_step)
        return false;
    for (uint32_t i = 0; i < session->local_index; i++) {
        const struct arena_seat *seat = &session->arena.header->seat[plan->local[i].seat];

        if (atomic_load(&seat->ack_position) == plan->deal_step)
            return false;
    }
    return true;
}

/* 1: the state of deal_step is all here and taken over; 0: not yet; does its part to get it here.
 */
static int take_state(struct rk_session *session)
{
    struct arena *arena = &session->arena;
    uint64_t position = session->plan.deal_step;
    int k = arena_snapshot_find(arena, position);
    int rc;

    if (session->shared_count != 0 && !arena_shared_has(arena, position)) {
        if (!session_shares(session))
            return 0;
        if (session->plan.fresh)
            session_share_initial(session);
        else if (k >= 0)
            session_share_snapshot(session, (uint32_t)k, position);
        else
            return 0;
    }
    if (session->plan.fresh || (session->shared_count != 0 && !session->has_private))
        return 1;
    if (k < 0)
        return 0;
    rc = session_take_state(session, (uint32_t)k);
    return rc < 0 ? rc : 1;
}

/* Receives the state of deal_step on this host.  1: a newer freeze came first. */
static int receive_state(struct rk_session *session)
{
    struct arena_agent *block = session_block(session);
    uint32_t turn = 0;
    int rc;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);

        rc = take_state(session);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        if (atomic_load(&block->freeze_word) != session->plan.word)
            return 1;
        if (turn % CHECK_TURNS == CHECK_TURNS - 1) {
            rc = session_check_agent(session);
            if (rc != 0)
                return rc;
        }
        arena_pause(&session->arena, bell, &turn);
    }
}

/* As session_give_state, waiting while both snapshots are being read.  1: a newer freeze came. */
static int give_state(struct rk_session *session)
{
    uint32_t turn = 0;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = session_give_state(session);

        if (rc != RK_EFULL)
            return rc;
        if (atomic_load(&session_block(session)->freeze_word) != session->plan.word)
            return 1;
        rc = session_check_agent(session);
        if (rc != 0)
            return rc;
        arena_pause(&session->arena, bell, &turn);
    }
}

int session_give_late(struct rk_session *session)
{
    int rc = gives_state(session) ? give_state(session) : 0;

    return rc < 0 ? rc : 0;
}

/* That this process may run on; 0: not known. */
static uint32_t processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 0;
}

/* Takes over the plan that is in force now.  0: done; 1: a newer freeze came meanwhile. */
static int apply(struct rk_session *session)
{
    const struct arena_plan *plan = &session->plan;
    struct arena_seat *seat = session_seat(session);
    int rc;

    if (!session->has_state) {
        rc = receive_state(session);
        if (rc != 0)
            return rc;
        session->has_state = true;
        session->position = plan->deal_step;
        atomic_store(&seat->position, session->position);
        atomic_store(&seat->has_state, 1);
    } else if (session->position != plan->deal_step && session->position + 1 != plan->deal_step) {
        return session_fail(session, RK_EPROTO,
                            "rank %u is at step %llu, its generation at %llu; this is a bug in "
                            "reknit",
                            session->rank, (unsigned long long)session->position,
                            (unsigned long long)plan->deal_step);
    } else if (gives_state(session)) {
        rc = give_state(session);
        if (rc != 0)
            return rc;
    }
    rc = session->gpu != NULL ? gpu_follow(session) : 0;
    if (rc != 0)
        return rc;
    session_deal(session);
    session->arena.alone = plan->local_count + (plan->hosts > 1) <= processors();
    session->tell_progress = true;
    return 0;
}

/* One freeze and its go.  0: the plan names us and is taken over; 1: look again. */
static int pass_freeze(struct rk_session *session)
{
    struct arena_plan plan;
    rk_word word;
    int place;
    int rc = wait_for_go(session, &word);

    if (rc != 0)
        return rc;
    plan = session_block(session)->plan;
    /* A rank that entered a moment ago may read a plan that is being replaced: then look again. */
    atomic_thread_fence(memory_order_acquire);
    if (plan.word != word || atomic_load(&session_block(session)->freeze_word) != word)
        return 1;
    place = find_self(session, &plan);
    if (place < 0)
        return 1; /* not a member yet, or no longer: then the agent ends this process */
    session->plan = plan;
    session->local_index = (uint32_t)place;
    return apply(session);
}

/* Sleeps until the freeze word moves on from `word`. */
static int wait_for_freeze(struct rk_session *session, rk_word word)
{
    uint32_t turn = 0;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);

        if (atomic_load(&session_block(session)->freeze_word) != word)
            return 0;
        if (turn % CHECK_TURNS == CHECK_TURNS - 1) {
            int rc = session_check_agent(session);

            if (rc != 0)
                return rc;
        }
        arena_pause(&session->arena, bell, &turn);
    }
}

static int follow_until_member(struct rk_session *session)
{
    for (;;) {
        int rc = pass_freeze(session);

        if (rc <= 0)
            return rc;
        if (atomic_load(&session_block(session)->freeze_word) == session->acked) {
            rc = wait_for_freeze(session, session->acked);
            if (rc != 0)
                return rc;
        }
    }
}

enum arena_wait session_waits(struct rk_session *session, enum arena_wait wait)
{
    _Atomic uint32_t *word = &session_seat(session)->waits;
    uint32_t now = atomic_load_explicit(word, memory_order_relaxed);
    enum arena_wait before = now % ARENA_WAITS;

    if (before != wait)
        atomic_store_explicit(word, now - before + ARENA_WAITS + wait, memory_order_relaxed);
    return before;
}

int session_follow(struct rk_session *session)
{
    enum arena_wait before;
    int rc;

    if (atomic_load_explicit(&session_block(session)->freeze_word, memory_order_acquire) ==
        session->plan.word)
        return 0;
    before = session_waits(session, ARENA_WAIT_OTHERS);
    rc = follow_until_member(session);
    session_waits(session, before);
    return rc < 0 ? rc : 1;
}

int session_enter(struct rk_session *session)
{
    struct local_message message = {.kind = LOCAL_ENTER};
    rk_word word;
    int rc;

    if (session->agent < 0) {
        session->plan = session_block(session)->plan;
        session->acked = session->plan.word;
        return apply(session);
    }
    /* A freeze under way may count on us or not: we acknowledge it.  A plan in force does not name
     * us: we wait for the next freeze. */
    word = atomic_load(&session_block(session)->freeze_word);
    if (word == atomic_load(&session_block(session)->go_word))
        session->acked = word;
    session_waits(session, ARENA_WAIT_OTHERS);
    rc = local_send(session->agent, &message, -1);
    if (rc != 0)
        return session_fail(session, RK_EAGENT, "rank %u: the agent of this host is gone",
                            session->rank);
    rc = session->acked == word ? wait_for_freeze(session, word) : 0;
    if (rc == 0)
        rc = follow_until_member(session);
    session_waits(session, ARENA_WAIT_NONE);
    return rc;
}
