/* The sum over all ranks of the host: each sums its slice of every bucket that all have; and the
 * wait for it, which ends when the membership does.  See arena.h. */
#include "worker/session.h"

#include <string.h>

#define CHECK_TURNS 64u
#define SLICE_LANES 16u /* slices of two ranks share no cache line */

bool session_has_todo(const struct rk_session *session)
{
    for (uint32_t word = 0; word < RK_MAX_SHARDS / 64; word++)
        if (session->todo[word] != 0)
            return true;
    return false;
}

/* The partial sums of all, once all know theirs.  1: they are known; every part of the tree must be
 * there exactly once. */
static int find_parts(struct rk_session *session, uint64_t tick)
{
    static _Thread_local struct arena_piece pieces[RK_MAX_SHARDS];
    struct session_sum *sum = &session->sum;
    uint32_t next = 0;
    int count;

    if (sum->tick == tick)
        return 1;
    count = arena_pieces(&session->arena, &session->plan, session->position, pieces, RK_MAX_SHARDS);
    if (count == RK_ENOENT)
        return 0;
    for (int i = 0; i < count && tree_first(pieces[i].node) == next; i++) {
        sum->part[i] = tree_part_f32(pieces[i].node, pieces[i].data);
        next += tree_width(pieces[i].node);
    }
    if (next != session->plan.shards)
        return session_fail(session, RK_EPROTO,
                            "step %llu: shard %u is missing or doubled; this is a bug in reknit",
                            (unsigned long long)session->position, next);
    sum->part_count = (uint32_t)count;
    memset(sum->reduced, 0, sizeof sum->reduced);
    sum->left = arena_buckets(&session->arena);
    sum->sliced = false;
    sum->tick = tick;
    return 1;
}

/* Buckets 64 word .. 64 word + 63 that all local members have. */
static uint64_t ready_buckets(const struct rk_session *session, uint32_t word)
{
    uint64_t ready = UINT64_MAX;

    for (uint32_t i = 0; i < session->plan.local_count; i++)
        ready &= atomic_load_explicit(
            &session->arena.header->seat[session->plan.local[i].seat].bucket_ready[word],
            memory_order_acquire);
    return ready;
}

static void sum_slice(struct rk_session *session, uint32_t b)
{
    const struct session_sum *sum = &session->sum;
    struct tree_node root = {.level = (uint16_t)tree_log2(session->plan.shards)};
    uint32_t ranks = session->plan.local_count;
    uint64_t from;
    uint64_t count;
    uint64_t lines;
    uint64_t start;
    uint64_t end;

    arena_bucket_range(&session->arena, b, &from, &count);
    lines = (count + SLICE_LANES - 1) / SLICE_LANES;
    start = lines * session->local_index / ranks * SLICE_LANES;
    end = lines * (session->local_index + 1) / ranks * SLICE_LANES;
    if (end > count)
        end = count;
    if (start < end)
        arena_sum(&session->arena, sum->part, sum->part_count, root, from + start, end - start,
                  arena_result(&session->arena));
}

int session_reduce(struct rk_session *session, uint32_t limit)
{
    struct session_sum *sum = &session->sum;
    uint32_t words = (arena_buckets(&session->arena) + 63) / 64;
    int rc;

    if (session->plan.hosts != 1 || session->position < session->plan.deal_step)
        return 0;
    rc = find_parts(session, arena_tick(session->plan.word, session->position));
    if (rc <= 0)
        return rc;
    for (uint32_t word = words; word-- > 0 && sum->left != 0 && limit != 0;) {
        uint32_t buckets = arena_buckets(&session->arena) - word * 64;
        uint64_t todo = ready_buckets(session, word) & ~sum->reduced[word] &
                        (buckets < 64 ? (UINT64_C(1) << buckets) - 1 : UINT64_MAX);

        for (; todo != 0 && limit != 0; limit--) {
            uint32_t bit = 63 - (uint32_t)__builtin_clzll(todo);

            sum_slice(session, word * 64 + bit);
            todo &= ~(UINT64_C(1) << bit);
            sum->reduced[word] |= UINT64_C(1) << bit;
            sum->left--;
        }
    }
    return 0;
}

static bool all_sliced(const struct rk_session *session, uint64_t tick)
{
    for (uint32_t i = 0; i < session->plan.local_count; i++) {
        const struct arena_seat *seat = &session->arena.header->seat[session->plan.local[i].seat];

        if (atomic_load_explicit(&seat->sliced, memory_order_acquire) != tick)
            return false;
    }
    return true;
}

/* One look at the step: does what can be done now.  1: the result is complete. */
static int advance_sum(struct rk_session *session)
{
    uint64_t step = session->position;
    uint64_t tick = arena_tick(session->plan.word, step);
    struct session_sum *sum = &session->sum;
    int rc;

    if (atomic_load_explicit(&session->arena.header->complete_step, memory_order_acquire) > step)
        return 1;
    if (session->plan.hosts != 1 || step < session->plan.deal_step)
        return 0;
    rc = session_reduce(session, UINT32_MAX);
    if (rc < 0)
        return rc;
    if (sum->tick == tick && sum->left == 0 && !sum->sliced) {
        atomic_store_explicit(&session_seat(session)->sliced, tick, memory_order_release);
        sum->sliced = true;
        arena_ring(&session->arena);
    }
    if (sum->tick == tick && sum->sliced && all_sliced(session, tick)) {
        arena_complete(&session->arena, step);
        return 1;
    }
    return 0;
}

int session_wait_for_sum(struct rk_session *session)
{
    uint32_t turn = 0;

    session_shards_end(session);
    for (;;) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = advance_sum(session);

        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = session_follow(session);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            if (session_has_todo(session))
                return RK_REFORMED;
            turn = 0;
            session_shards_end(session);
            continue;
        }
        if (turn % CHECK_TURNS == CHECK_TURNS - 1) {
            rc = session_check_agent(session);
            if (rc != 0)
                return rc;
        }
        arena_pause(&session->arena, bell, &turn);
    }
}
