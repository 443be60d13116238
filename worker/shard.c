/* The shard in hand: its gradient joins the partial sums of this rank, bucket by bucket while the
 * program still computes; see reknit.h and arena.h. */
#include "worker/gpu.h"
#include "worker/session.h"

#include <math.h>
#include <string.h>

#define REDUCE_AT_ONCE 2u /* buckets that a rk_ready sums besides its own: others fill them too */

static uint32_t free_buffer(const struct rk_session *session, const struct arena_table *table)
{
    uint32_t buffers = arena_partial_buffers(session->arena.header);
    uint64_t used = 0;

    for (uint32_t i = 0; i < table->count; i++)
        used |= UINT64_C(1) << table->node[i].buffer;
    for (uint32_t b = 0; b < buffers; b++)
        if ((used >> b & 1) == 0)
            return b;
    return ARENA_NO_BUFFER;
}

/* Moves to `work->taken` what of `work->next` the leaf takes up, sorted by place; returns what they
 * make together. */
static struct tree_node absorb(struct session_shard *work, struct tree_node node)
{
    struct arena_table *next = &work->next;
    struct arena_table *taken = &work->taken;

    taken->count = 0;
    for (;;) {
        uint32_t i = 0;
        uint32_t at;

        while (i < next->count && (next->node[i].node.level != node.level ||
                                   next->node[i].node.index != (node.index ^ 1)))
            i++;
        if (i == next->count)
            return node;
        for (at = taken->count++;
             at > 0 && tree_first(taken->node[at - 1].node) > tree_first(next->node[i].node); at--)
            taken->node[at] = taken->node[at - 1];
        taken->node[at] = next->node[i];
        next->node[i] = next->node[--next->count];
        node.level++;
        node.index /= 2;
    }
}

/* As absorb where all that a rank has is one partial sum: the shard is added to that, and every
 * node of the table lies in the buffer that both make. */
static void absorb_all(struct session_shard *work, struct tree_node node)
{
    struct arena_table *next = &work->next;
    uint32_t before = next->count == 0 ? ARENA_NO_BUFFER : next->node[0].buffer;

    node = absorb(work, node);
    next->node[next->count++] = (struct arena_node){.node = node};
    for (uint32_t i = 0; i < next->count; i++)
        next->node[i].buffer = work->buffer;
    work->taken.count = before == ARENA_NO_BUFFER ? 0 : 1;
    work->taken.node[0] = (struct arena_node){.buffer = before};
    work->root = TREE_SERIAL;
}

/* Makes `table` this rank's valid table: into the other copy, made valid by one store, so that a
 * death at any point leaves a whole one. */
static void switch_table(struct rk_session *session, const struct arena_table *table)
{
    struct arena_seat *seat = session_seat(session);
    uint32_t other = (atomic_load(&seat->active) & 1) ^ 1;

    seat->table[other] = *table;
    atomic_store_explicit(&seat->active, other, memory_order_release);
}

/* The partial sums of the step in hand, a copy. */
void session_read_table(const struct rk_session *session, struct arena_table *table)
{
    rk_word lineage = arena_plan_lineage(&session->plan, session->position);
    const struct arena_table *valid =
        arena_table_of(session_seat(session), session->position, lineage);

    *table = (struct arena_table){.step = session->position, .lineage = lineage};
    if (valid != NULL)
        *table = *valid;
}

void session_keep_done(struct rk_session *session)
{
    const uint64_t *done = session->plan.done;
    struct arena_table table;
    uint32_t kept = 0;

    session_read_table(session, &table);
    for (uint32_t n = 0; n < table.count; n++)
        if (tree_set_has(done, tree_first(table.node[n].node)))
            table.node[kept++] = table.node[n];
    if (kept == table.count || session->position != session->plan.deal_step)
        return;
    table.count = kept;
    switch_table(session, &table);
}

/* The program is about to write into the leaf again: what lies there moves out of its way.  That is
 * so only when more shards were dealt after the step's last one. */
static void clear_leaf(struct rk_session *session, struct arena_table *table)
{
    uint32_t leaf = session->arena.header->leaf;
    uint32_t buffer = free_buffer(session, table);
    uint32_t moved = 0;

    if (leaf == ARENA_NO_BUFFER || buffer == ARENA_NO_BUFFER)
        return; /* without room session_shard_begin says so */
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->node[i].buffer != leaf)
            continue;
        if (moved++ == 0)
            memcpy(arena_buffer(&session->arena, session->seat, buffer),
                   arena_buffer(&session->arena, session->seat, leaf),
                   rk_layout_grad_bytes(session->layout));
        table->node[i].buffer = buffer;
    }
    if (moved != 0)
        switch_table(session, table);
}

/* Where the shard's sum goes, and what it takes up. */
static int place_shard(struct rk_session *session, uint32_t shard, bool is_last)
{
    struct session_shard *work = &session->work;
    struct tree_node node = {.level = 0, .index = (uint16_t)shard};
    uint32_t leaf = session->arena.header->leaf;

    session_read_table(session, &work->next);
    clear_leaf(session, &work->next);
    work->buffer = is_last && leaf != ARENA_NO_BUFFER ? leaf : free_buffer(session, &work->next);
    if (session->arena.header->reduction == ARENA_FAST) {
        absorb_all(work, node);
    } else {
        work->root = absorb(work, node);
        work->next.node[work->next.count++] = (struct arena_node){work->root, work->buffer};
    }
    if (work->buffer == ARENA_NO_BUFFER || work->next.count > tree_rank_nodes(session->plan.shards))
        return session_fail(session, RK_EPROTO,
                            "rank %u has no room for shard %u; this is a bug in reknit",
                            session->rank, shard);
    return 0;
}

int session_shard_begin(struct rk_session *session, uint32_t shard, bool is_last)
{
    struct session_shard *work = &session->work;
    uint32_t buckets = session_buckets(session);
    int rc = place_shard(session, shard, is_last);

    if (rc != 0)
        return rc;
    work->is_last = is_last;
    work->weight = 1.0f;
    atomic_store(&work->error, 0);
    session->weight = 1.0;
    for (uint32_t b = 0; b < buckets; b++)
        atomic_store_explicit(&session->bucket_left[b], session->bucket_need[b],
                              memory_order_relaxed);
    session->shard = shard;
    if (is_last && session->gpu != NULL)
        gpu_begin_last(session);
    else if (is_last)
        arena_announce(session_seat(session), arena_tick(session->plan.word, session->position),
                       &work->next);
    return 0;
}

int rk_shard_weight(struct rk_session *session, double weight)
{
    if (session->phase != SESSION_IN_STEP || session->shard < 0)
        return session_fail(session, RK_ESTATE, "rk_shard_weight: no shard is in hand");
    if (session->options.reduce != RK_WEIGHTED)
        return session_fail(session, RK_ESTATE,
                            "rk_shard_weight: rk_join was not told to reduce by RK_WEIGHTED");
    if (!isfinite(weight) || weight < 0)
        return session_fail(session, RK_EINVAL, "rk_shard_weight: %g is no weight; give 0 or more",
                            weight);
    session->work.weight = (float)weight;
    session->weight = (double)session->work.weight;
    return 0;
}

/* ---- summing --------------------------------------------------------------------------------- */

/* Elements first .. first + count - 1 of a gradient: the shard's and what it takes up, into the
 * buffer that both make. */
static void sum_elements(const struct rk_session *session, const struct session_gradient *gradient,
                         uint64_t first, uint64_t count)
{
    const struct session_shard *work = &session->work;
    const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];
    bool hidden = session->data[gradient->tensor] == &session->weight;
    struct tree_part part[TREE_MAX_LEVEL + 1];
    struct tree_node leaf = {.level = 0, .index = (uint16_t)session->shard};
    float *out = arena_buffer(&session->arena, session->seat, work->buffer) + gradient->at;
    uint32_t parts = 0;
    bool placed = false;

    for (uint32_t i = 0; i <= work->taken.count; i++) {
        bool here = !placed && (i == work->taken.count ||
                                tree_first(work->taken.node[i].node) > tree_first(leaf));
        if (here) {
            part[parts++] = tree_part_typed(leaf, session->data[gradient->tensor], tensor->dtype,
                                            hidden ? 1.0f : work->weight);
            placed = true;
        }
        if (i < work->taken.count)
            part[parts++] = tree_part_typed(
                work->taken.node[i].node,
                arena_buffer(&session->arena, session->seat, work->taken.node[i].buffer) +
                    gradient->at,
                gradient->wide == 2 ? RK_F64 : RK_F32, 1.0f);
    }
    if (gradient->wide == 2)
        tree_sum64(part, parts, work->root, first, count, (double *)(void *)out);
    else
        tree_sum(part, parts, work->root, first, count, false, out);
}

/* Notes the first element that is not finite; the shard ends with it. */
static void check_elements(struct rk_session *session, const struct session_gradient *gradient,
                           uint64_t first, uint64_t count)
{
    const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];
    uint32_t size = rk_dtype_size(tensor->dtype);
    const char *data = (const char *)session->data[gradient->tensor] + first * size;
    int none = 0;

    if (sum_best()->finite((enum sum_dtype)tensor->dtype, data, count))
        return;
    while (sum_best()->finite((enum sum_dtype)tensor->dtype, data, 1)) {
        data += size;
        first++;
    }
    if (atomic_compare_exchange_strong(&session->work.error, &none, RK_ENOTFINITE)) {
        session->work.bad_tensor = gradient->tensor;
        session->work.bad_element = first;
    }
}

/* Whether the shard's own gradient is the partial sum, where it lies. */
static bool lies_there(const struct rk_session *session, const struct session_gradient *gradient)
{
    const struct session_shard *work = &session->work;

    return work->taken.count == 0 && work->weight == 1.0f &&
           work->buffer == session->arena.header->leaf &&
           session->layout->tensor[gradient->tensor].in_arena;
}

static void sum_bucket(struct rk_session *session, uint32_t b)
{
    struct session_piece piece;
    uint64_t from;
    uint64_t count;
    uint32_t next;

    if (session->gpu != NULL) {
        gpu_sum_bucket(session, b);
        return;
    }
    arena_bucket_range(&session->arena, b, &from, &count);
    next = session_first_behind(session, from);
    while (session_next_piece(session, from, count, &next, &piece)) {
        uint64_t first = (piece.from - piece.gradient->at) / piece.gradient->wide;
        uint64_t elements = piece.count / piece.gradient->wide;

        if (session->options.check_finite)
            check_elements(session, piece.gradient, first, elements);
        if (!lies_there(session, piece.gradient))
            sum_elements(session, piece.gradient, first, elements);
    }
    if (session->work.is_last && atomic_load(&session->work.error) == 0)
        arena_bucket_done(session_seat(session), b);
}

/* ---- readiness ------------------------------------------------------------------------------- */

static int refuse(struct rk_session *session, int code)
{
    atomic_store(&session->work.error, code);
    return code;
}

/* Counts `lanes` of bucket b as ready; sums the bucket with the last of them. */
static int bucket_fill(struct rk_session *session, uint32_t b, uint32_t lanes)
{
    uint32_t left = atomic_load(&session->bucket_left[b]);

    do {
        if (left < lanes)
            return refuse(session, RK_ESTATE);
    } while (!atomic_compare_exchange_weak(&session->bucket_left[b], &left, left - lanes));
    if (left != lanes)
        return 0;
    sum_bucket(session, b);
    if (!session->work.is_last || session->gpu != NULL)
        return 0;
    arena_ring(&session->arena);
    if (pthread_mutex_trylock(&session->reducing) != 0)
        return 0; /* another thread sums */
    int rc = session_reduce(session, REDUCE_AT_ONCE);
    pthread_mutex_unlock(&session->reducing);
    return rc < 0 ? refuse(session, rc) : 0;
}

int rk_ready_range(struct rk_session *session, uint32_t gradient, uint64_t first, uint64_t count)
{
    uint64_t bucket = session_bucket_lanes(session);
    uint64_t at;
    uint64_t end;

    if (session->phase != SESSION_IN_STEP || session->shard < 0)
        return RK_ESTATE;
    if (gradient >= session->gradient_count || first > session->gradient[gradient].count ||
        count > session->gradient[gradient].count - first)
        return refuse(session, RK_EINVAL);
    at = session->gradient[gradient].at + first * session->gradient[gradient].wide;
    end = at + count * session->gradient[gradient].wide;
    /* From the end to the start, as backward comes. */
    while (end > at) {
        uint64_t start = (end - 1) / bucket * bucket;
        int rc;

        if (start < at)
            start = at;
        rc = bucket_fill(session, (uint32_t)(start / bucket), (uint32_t)(end - start));
        if (rc != 0)
            return rc;
        end = start;
    }
    return 0;
}

int rk_ready(struct rk_session *session, uint32_t gradient)
{
    return rk_ready_range(session, gradient, 0,
                          gradient < session->gradient_count ? session->gradient[gradient].count
                                                             : 1);
}

int rk_unused(struct rk_session *session, uint32_t gradient)
{
    if (session->phase == SESSION_IN_STEP && session->shard >= 0 &&
        gradient < session->gradient_count && session->gradient[gradient].lanes != 0) {
        uint32_t tensor = session->gradient[gradient].tensor;

        if (session->gpu != NULL)
            return gpu_clear(session, gradient);
        memset(session->data[tensor], 0, (size_t)session->layout->tensor[tensor].bytes);
    }
    return rk_ready(session, gradient);
}

/* What became of the shard in the calls of this step, in words. */
static int check_work(struct rk_session *session)
{
    const struct session_shard *work = &session->work;
    int error = atomic_load(&work->error);

    if (error == RK_ENOTFINITE)
        return session_fail(session, error,
                            "rank %u, step %llu, shard %lld: element %llu of gradient %s is "
                            "infinite or not a number",
                            session->rank, (unsigned long long)session->position,
                            (long long)session->shard, (unsigned long long)work->bad_element,
                            session->layout->tensor[work->bad_tensor].name);
    if (error == RK_EINVAL || error == RK_ESTATE)
        return session_fail(session, RK_ESTATE,
                            "rank %u, shard %lld: elements were said to be ready twice, or ones "
                            "that are not there; the step cannot be summed",
                            session->rank, (long long)session->shard);
    if (error != 0 && session->gpu != NULL)
        return session_fail(session, error, "%s", gpu_why(session));
    return error;
}

int session_shard_publish(struct rk_session *session)
{
    int rc = check_work(session);

    if (rc != 0)
        return rc;
    for (uint32_t b = session_buckets(session); b-- > 0;)
        if (atomic_exchange(&session->bucket_left[b], 0) != 0)
            sum_bucket(session, b);
    rc = check_work(session);
    if (rc != 0)
        return rc;
    if (session->gpu != NULL)
        gpu_add_weight(session);
    switch_table(session, &session->work.next);
    return 0;
}

void session_shards_end(struct rk_session *session)
{
    struct arena_seat *seat = session_seat(session);
    uint64_t tick = arena_tick(session->plan.word, session->position);
    struct arena_table table;

    if (session->gpu != NULL || session->position < session->plan.deal_step)
        return; /* others need nothing of it here, or its result is complete somewhere */
    if (atomic_load(&seat->bucket_tick) != tick) {
        session_read_table(session, &table);
        arena_announce(seat, tick, &table);
    }
    arena_ready(&session->arena, seat, tick);
}
