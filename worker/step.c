/* The loop over steps and shards: partial sums, the wait, the sum; see reknit.h and arena.h. */
#include "worker/session.h"

#include "worker/local.h"

#include <string.h>

#define CHECK_TURNS 64u
#define SLICE_ALIGN 16u /* elements: slices of two ranks share no cache line */

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
    *step = session->position;
    if (session->position >= session->plan.stop_at)
        return RK_STOPPED;
    session_deal(session);
    session->shard = -1;
    session->phase = SESSION_IN_STEP;
    return 0;
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
        session->shard = (int64_t)word * 64 + __builtin_ctzll(session->todo[word]);
        return session->shard;
    }
    return -1;
}

/* The node that the new leaf makes with what is in `table`: the entries it takes up are moved to
 * `taken` (indexes into table), sorted by place together with the leaf (UINT32_MAX). */
static struct tree_node absorb(const struct arena_table *table, struct tree_node node,
                               uint32_t *taken, uint32_t *taken_count)
{
    *taken_count = 0;
    for (;;) {
        uint32_t i = 0;

        while (i < table->count && (table->node[i].node.level != node.level ||
                                    table->node[i].node.index != (node.index ^ 1)))
            i++;
        if (i == table->count)
            return node;
        taken[(*taken_count)++] = i;
        node.level++;
        node.index /= 2;
    }
}

static uint32_t free_buffer(const struct arena_table *table, uint32_t buffers)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < table->count; i++)
        used |= UINT64_C(1) << table->node[i].buffer;
    for (uint32_t b = 0; b < buffers; b++)
        if ((used >> b & 1) == 0)
            return b;
    return buffers;
}

/* Sums leaf and taken entries into `out`, one registered gradient after the other. */
static void sum_leaf(const struct rk_session *session, const struct arena_table *table,
                     const uint32_t *taken, uint32_t taken_count, struct tree_node leaf,
                     struct tree_node root, float *out)
{
    struct tree_part parts[TREE_MAX_LEVEL + 1];

    for (uint32_t t = 0; t < session->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &session->layout->tensor[t];
        size_t from = tensor->offset / sizeof(float);
        uint32_t count = 0;

        if (tensor->kind != RK_TENSOR_GRADIENT || tensor->bytes == 0)
            continue;
        parts[count++] = tree_part_f32(leaf, session->data[t]);
        for (uint32_t i = 0; i < taken_count; i++) {
            const struct arena_node *node = &table->node[taken[i]];
            struct tree_part part = tree_part_f32(
                node->node, arena_buffer(&session->arena, session->seat, node->buffer) + from);
            uint32_t at = count++;

            for (; at > 0 && tree_first(parts[at - 1].node) > tree_first(part.node); at--)
                parts[at] = parts[at - 1];
            parts[at] = part;
        }
        tree_sum(parts, count, root, 0, (size_t)(tensor->bytes / sizeof(float)), out + from);
    }
}

/* Adds the shard's gradient to this rank's table of partial sums: into the other copy of the
 * table, made valid by one store, so that a death at any point leaves a whole table. */
static int publish(struct rk_session *session, uint32_t shard)
{
    struct arena_seat *seat = session_seat(session);
    uint32_t active = atomic_load(&seat->active) & 1;
    rk_word lineage = arena_plan_lineage(&session->plan, session->position);
    struct arena_table none = {.count = 0};
    const struct arena_table *table = arena_table_of(seat, session->position, lineage);
    struct arena_table *next = &seat->table[active ^ 1];
    uint32_t taken[TREE_MAX_LEVEL + 1];
    uint32_t taken_count;
    struct tree_node leaf = {.level = 0, .index = (uint16_t)shard};
    struct tree_node root;
    uint32_t buffer;

    if (table == NULL)
        table = &none;
    root = absorb(table, leaf, taken, &taken_count);
    buffer = free_buffer(table, session->arena.header->buffers);
    if (buffer == session->arena.header->buffers ||
        table->count + 1 - taken_count > tree_rank_nodes(session->plan.shards))
        return session_fail(session, RK_EPROTO,
                            "rank %u has no room for shard %u; this is a bug in reknit",
                            session->rank, shard);
    sum_leaf(session, table, taken, taken_count, leaf, root,
             arena_buffer(&session->arena, session->seat, buffer));
    next->step = session->position;
    next->lineage = lineage;
    next->count = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        bool gone = false;

        for (uint32_t k = 0; k < taken_count; k++)
            gone = gone || taken[k] == i;
        if (!gone)
            next->node[next->count++] = table->node[i];
    }
    next->node[next->count++] = (struct arena_node){root, buffer};
    atomic_store_explicit(&seat->active, active ^ 1, memory_order_release);
    return 0;
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
    rc = publish(session, shard);
    if (rc != 0)
        return rc;
    session->shard = -1;
    session->todo[shard / 64] &= ~(UINT64_C(1) << (shard % 64));
    rc = session_follow(session);
    return rc < 0 ? rc : 0;
}

static bool all_local(const struct rk_session *session, uint64_t tick, bool sliced)
{
    for (uint32_t i = 0; i < session->plan.local_count; i++) {
        const struct arena_seat *seat = &session->arena.header->seat[session->plan.local[i].seat];

        if (atomic_load_explicit(sliced ? &seat->sliced : &seat->ready, memory_order_acquire) !=
            tick)
            return false;
    }
    return true;
}

static size_t slice_start(const struct rk_session *session, uint32_t index)
{
    uint64_t blocks = (session->layout->grad_count + SLICE_ALIGN - 1) / SLICE_ALIGN;
    uint64_t start = blocks * index / session->plan.local_count * SLICE_ALIGN;

    return start < session->layout->grad_count ? (size_t)start
                                               : (size_t)session->layout->grad_count;
}

/* Sums this rank's slice of the result; every part of the tree must be there exactly once. */
static int sum_slice(struct rk_session *session)
{
    static _Thread_local struct arena_piece pieces[RK_MAX_SHARDS];
    static _Thread_local struct tree_part parts[RK_MAX_SHARDS];
    const struct arena_plan *plan = &session->plan;
    struct tree_node root = {.level = (uint16_t)tree_log2(plan->shards)};
    size_t from = slice_start(session, session->local_index);
    size_t to = slice_start(session, session->local_index + 1);
    uint32_t next = 0;
    int count = arena_pieces(&session->arena, plan, session->position, pieces, RK_MAX_SHARDS);

    for (int i = 0; i < count && tree_first(pieces[i].node) == next; i++) {
        parts[i] = tree_part_f32(pieces[i].node, pieces[i].data);
        next += tree_width(pieces[i].node);
    }
    if (next != plan->shards)
        return session_fail(session, RK_EPROTO,
                            "step %llu: shard %u is missing or doubled; this is a bug in reknit",
                            (unsigned long long)session->position, next);
    tree_sum(parts, (uint32_t)count, root, from, to - from, arena_result(&session->arena));
    return 0;
}

/* One look at the step: does what can be done now.  1: the result is complete. */
static int advance_sum(struct rk_session *session, bool *sliced)
{
    uint64_t step = session->position;
    uint64_t tick = arena_tick(session->plan.word, step);

    if (atomic_load_explicit(&session->arena.header->complete_step, memory_order_acquire) > step)
        return 1;
    if (session->plan.hosts != 1 || session->position < session->plan.deal_step)
        return 0;
    if (!*sliced && all_local(session, tick, false)) {
        int rc = sum_slice(session);

        if (rc != 0)
            return rc;
        atomic_store_explicit(&session_seat(session)->sliced, tick, memory_order_release);
        *sliced = true;
        arena_ring(&session->arena);
    }
    if (*sliced && all_local(session, tick, true)) {
        arena_complete(&session->arena, step);
        return 1;
    }
    return 0;
}

static void say_ready(struct rk_session *session)
{
    if (session->position < session->plan.deal_step)
        return;
    atomic_store_explicit(&session_seat(session)->ready,
                          arena_tick(session->plan.word, session->position), memory_order_release);
    arena_ring(&session->arena);
}

static bool has_todo(const struct rk_session *session)
{
    for (uint32_t word = 0; word < RK_MAX_SHARDS / 64; word++)
        if (session->todo[word] != 0)
            return true;
    return false;
}

static int wait_for_sum(struct rk_session *session)
{
    bool sliced = false;
    uint32_t turn = 0;

    say_ready(session);
    for (;;) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = advance_sum(session, &sliced);

        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = session_follow(session);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            if (has_todo(session))
                return RK_REFORMED;
            sliced = false;
            turn = 0;
            say_ready(session);
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

int rk_gradients_wait(struct rk_session *session)
{
    int rc = expect_phase(session, SESSION_IN_STEP, "rk_gradients_wait");

    if (rc == 0 && session->shard >= 0)
        rc = session_fail(session, RK_ESTATE,
                          "rk_gradients_wait: shard %lld was not said to be done",
                          (long long)session->shard);
    if (rc != 0)
        return rc;
    if (has_todo(session))
        return RK_REFORMED;
    rc = wait_for_sum(session);
    if (rc != 0)
        return rc;
    for (uint32_t t = 0; t < session->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &session->layout->tensor[t];

        if (tensor->kind == RK_TENSOR_GRADIENT && tensor->bytes != 0)
            memcpy(session->data[t], (char *)arena_result(&session->arena) + tensor->offset,
                   (size_t)tensor->bytes);
    }
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
    rc = session_give_state(session);
    if (rc == 0)
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
        rc = session_follow(session);
    return rc < 0 ? rc : 0;
}
