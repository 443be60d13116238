/* The sum over all ranks of the host: each sums its slice of every bucket that all have, and where
 * the update is fused turns it into state at once; and the wait for it, which ends when the
 * membership does.  See arena.h. */
#include "worker/gpu.h"
#include "worker/session.h"

#include <string.h>

#define CHECK_TURNS 64u
#define SLICE_LANES 16u     /* slices of two ranks share no cache line */
#define SCRATCH_LANES 8192u /* summed at a time before they are turned into state */

bool session_has_todo(const struct rk_session *session)
{
    for (uint32_t word = 0; word < RK_MAX_SHARDS / 64; word++)
        if (session->todo[word] != 0)
            return true;
    return false;
}

/* Whether the step's sum is complete already: made here, or by carriers, maybe for other hosts that
 * are gone since.  It stands.  Where a death left the step to be done again, who has no shard in it
 * sees the result, goes on and writes over the parts that it was made of. */
static bool is_complete(const struct rk_session *session)
{
    return atomic_load_explicit(&session->arena.header->complete_step, memory_order_acquire) >
           session->position;
}

/* Whether the step's sum is left to be made by the ranks of this host from parts that lie here. */
static bool sums_here(const struct rk_session *session)
{
    return session->plan.hosts == 1 && session->position >= session->plan.deal_step &&
           !is_complete(session);
}

static void begin(struct rk_session *session, uint64_t tick)
{
    struct session_sum *sum = &session->sum;

    memset(sum->reduced, 0, sizeof sum->reduced);
    sum->left = arena_buckets(&session->arena);
    sum->sliced = false;
    sum->tick = tick;
    if (session->update != NULL)
        arena_shared_begin(&session->arena, session->position + 1);
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
    for (int i = 0; i < count && tree_first(pieces[i].node) == next; i++)
        next += tree_width(pieces[i].node);
    if (next != session->plan.shards)
        return session_fail(session, RK_EPROTO,
                            "step %llu: shard %u is missing or doubled; this is a bug in reknit",
                            (unsigned long long)session->position, next);
    sum->part_count = (uint32_t)count;
    if (session->arena.header->reduction == ARENA_FAST)
        sum->part_count = arena_pieces_distinct(pieces, sum->part_count);
    for (uint32_t i = 0; i < sum->part_count; i++)
        sum->part[i] = tree_part_f32(pieces[i].node, pieces[i].data);
    begin(session, tick);
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

/* Whether local member i makes slices in this step: all do; in a step whose result comes from
 * elsewhere those that lack it. */
static bool takes_part(const struct rk_session *session, uint32_t i)
{
    const struct arena_seat *seat = &session->arena.header->seat[session->plan.local[i].seat];

    return session->position >= session->plan.deal_step ||
           atomic_load(&seat->ack_position) == session->position;
}

/* Our part of bucket b, in lanes; may be empty. */
static void slice_of(const struct rk_session *session, uint32_t b, uint64_t *from, uint64_t *count)
{
    uint32_t ranks = 0;
    uint32_t self = 0;
    uint64_t lines;
    uint64_t start;
    uint64_t end;

    for (uint32_t i = 0; i < session->plan.local_count; i++) {
        if (i == session->local_index)
            self = ranks;
        ranks += takes_part(session, i);
    }
    arena_bucket_range(&session->arena, b, from, count);
    if (ranks == 0) { /* we are always one of them */
        *count = 0;
        return;
    }
    lines = (*count + SLICE_LANES - 1) / SLICE_LANES;
    start = lines * self / ranks * SLICE_LANES;
    end = lines * (self + 1) / ranks * SLICE_LANES;
    *count = (end < *count ? end : *count) - start;
    *from += start;
}

static void sum_lanes(struct rk_session *session, uint64_t from, uint64_t count, float *out)
{
    struct tree_node root = {.level = (uint16_t)tree_log2(session->plan.shards)};
    bool stream =
        session->update == NULL && session->arena.header->grad_bytes >= SESSION_STREAM_BYTES;

    if (session->arena.header->reduction == ARENA_FAST)
        root = TREE_SERIAL;
    arena_sum(&session->arena, session->sum.part, session->sum.part_count, root, from, count,
              stream, out);
}

/* Turns lanes from .. from + count - 1 of a gradient, whose sum is at `sum`, into state. */
static int update_lanes(struct rk_session *session, uint32_t number, uint64_t from, uint64_t count,
                        const float *sum)
{
    const struct session_gradient *gradient = &session->gradient[number];
    struct rk_slice slice = {.gradient = number,
                             .first = (from - gradient->at) / gradient->wide,
                             .count = count / gradient->wide,
                             .sum = sum,
                             .scale = rk_result_scale(session)};

    return session->update(session->context, session, &slice);
}

/* Sums lanes of one gradient piece by piece where the parts are here, and updates. */
static int fuse_lanes(struct rk_session *session, uint32_t number, uint64_t from, uint64_t count)
{
    static _Thread_local _Alignas(64) float scratch[SCRATCH_LANES];
    int rc = 0;

    if (!sums_here(session))
        return update_lanes(session, number, from, count, arena_result(&session->arena) + from);
    for (uint64_t done = 0; rc == 0 && done < count; done += SCRATCH_LANES) {
        uint64_t lanes = count - done < SCRATCH_LANES ? count - done : SCRATCH_LANES;

        sum_lanes(session, from + done, lanes, scratch - (from + done));
        rc = update_lanes(session, number, from + done, lanes, scratch);
    }
    return rc;
}

static int fuse_slice(struct rk_session *session, uint64_t from, uint64_t count)
{
    uint32_t next = session_first_behind(session, from);
    struct session_piece piece;

    while (session_next_piece(session, from, count, &next, &piece)) {
        int rc = fuse_lanes(session, piece.number, piece.from, piece.count);

        if (rc != 0)
            return rc < 0 ? rc : session_fail(session, RK_EINVAL, "the update returned %d", rc);
    }
    return 0;
}

static int make_slice(struct rk_session *session, uint32_t b)
{
    uint64_t from;
    uint64_t count;

    slice_of(session, b, &from, &count);
    if (count != 0 && session->update != NULL)
        return fuse_slice(session, from, count);
    if (count != 0)
        sum_lanes(session, from, count, arena_result(&session->arena));
    return 0;
}

int session_reduce(struct rk_session *session, uint32_t limit)
{
    struct session_sum *sum = &session->sum;
    uint32_t words = (arena_buckets(&session->arena) + 63) / 64;
    int rc;

    if (!sums_here(session))
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

            rc = make_slice(session, word * 64 + bit);
            if (rc < 0)
                return rc;
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

        if (takes_part(session, i) &&
            atomic_load_explicit(&seat->sliced, memory_order_acquire) != tick)
            return false;
    }
    return true;
}

/* Once our slices are made: 1 when those of all are, and the step is complete. */
static int finish_slices(struct rk_session *session, uint64_t tick)
{
    struct session_sum *sum = &session->sum;

    if (sum->tick != tick || sum->left != 0)
        return 0;
    if (!sum->sliced) {
        if (session->update != NULL)
            sum_fence(); /* an update may write past the caches */
        atomic_store_explicit(&session_seat(session)->sliced, tick, memory_order_release);
        sum->sliced = true;
        arena_ring(&session->arena);
    }
    if (!all_sliced(session, tick))
        return 0;
    if (session->update != NULL)
        arena_shared_commit(&session->arena, session->position + 1);
    arena_complete(&session->arena, session->position);
    return 1;
}

/* The sum came from other hosts, or from ranks ahead of us: it is left to turn it into state. */
static int update_from_result(struct rk_session *session, uint64_t tick)
{
    struct session_sum *sum = &session->sum;

    if (session->update == NULL || arena_shared_has(&session->arena, session->position + 1))
        return 1;
    if (!arena_has_result(&session->arena, session->position + 1))
        return session_fail(session, RK_EPROTO,
                            "step %llu is complete but neither its sum nor the state after it is "
                            "here; this is a bug in reknit",
                            (unsigned long long)session->position);
    if (sum->tick != tick)
        begin(session, tick);
    while (sum->left != 0) {
        int rc = make_slice(session, sum->left - 1);

        if (rc < 0)
            return rc;
        sum->left--;
    }
    return finish_slices(session, tick);
}

/* One look at the step: does what can be done now.  1: the result is complete. */
static int advance_sum(struct rk_session *session)
{
    uint64_t tick = arena_tick(session->plan.word, session->position);
    int rc;

    if (is_complete(session))
        return update_from_result(session, tick);
    if (!sums_here(session))
        return 0;
    rc = session_reduce(session, UINT32_MAX);
    return rc < 0 ? rc : finish_slices(session, tick);
}

int session_wait_for_sum(struct rk_session *session)
{
    uint32_t turn = 0;

    if (session->gpu != NULL)
        return gpu_wait_for_sum(session);
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
