/* Blocks and seats of the arena, the bell, and what lies in the seats; see arena.h. */
#include "collectives/arena.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPIN_TURNS 300u
#define YIELD_TURNS 50u
#define YIELD_TURNS_ALONE 1000u
#define SLEEP_NS 50000000L

/* Lets the other thread of the core run while we spin. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout)
{
    return syscall(SYS_futex, (uint32_t *)word, operation, value, timeout, NULL, 0);
}

void arena_ring(struct arena *arena)
{
    struct arena_header *header = arena->header;

    atomic_fetch_add(&header->bell, 1);
    /* A sleeper that was killed leaves the count too high: that costs a call, no more. */
    if (atomic_load(&header->sleepers) != 0)
        futex(&header->bell, FUTEX_WAKE, INT32_MAX, NULL);
}

uint32_t arena_bell(const struct arena *arena)
{
    return atomic_load(&arena->header->bell);
}

void arena_pause(struct arena *arena, uint32_t bell, uint32_t *turn)
{
    const struct timespec timeout = {.tv_nsec = SLEEP_NS};
    struct arena_header *header = arena->header;

    if (atomic_load_explicit(&header->bell, memory_order_relaxed) != bell) {
        (*turn)++;
        return;
    }
    if (*turn < SPIN_TURNS) {
        relax();
    } else if (*turn < SPIN_TURNS + (arena->alone ? YIELD_TURNS_ALONE : YIELD_TURNS)) {
        sched_yield();
    } else {
        atomic_fetch_add(&header->sleepers, 1);
        futex(&header->bell, FUTEX_WAIT, bell, &timeout);
        atomic_fetch_sub(&header->sleepers, 1);
    }
    (*turn)++;
}

void arena_complete(struct arena *arena, uint64_t step)
{
    uint64_t now = atomic_load(&arena->header->complete_step);

    if (now < step + 1)
        atomic_store(&arena->header->result_step, step + 1);
    while (now < step + 1 &&
           !atomic_compare_exchange_weak(&arena->header->complete_step, &now, step + 1))
        ;
    arena_ring(arena);
}

bool arena_has_result(const struct arena *arena, uint64_t complete_step)
{
    return complete_step != 0 && atomic_load(&arena->header->result_step) == complete_step;
}

int arena_agent_claim(struct arena *arena, struct rk_worker_id worker)
{
    for (uint32_t a = 0; a < ARENA_AGENTS; a++) {
        struct arena_agent *agent = &arena->header->agent[a];
        uint64_t free_block = 0;

        if (!atomic_compare_exchange_strong(&agent->worker, &free_block, worker.value))
            continue;
        atomic_store(&agent->freeze_word, 0);
        atomic_store(&agent->go_word, 0);
        atomic_store(&agent->snapshot_at, ARENA_NO_STEP);
        atomic_store(&agent->pinned, 0);
        atomic_store(&agent->comm_word, 0);
        memset(&agent->plan, 0, sizeof agent->plan);
        return (int)a;
    }
    return RK_EFULL;
}

void arena_go(struct arena *arena, uint32_t agent, const struct arena_plan *plan)
{
    struct arena_agent *block = &arena->header->agent[agent];
    uint64_t complete = atomic_load(&arena->header->complete_step);

    /* While ranks hold state, the result area holds the sum of step complete_step - 1, and no rank
     * is more than one step behind it.  When all were lost, the next step's sum may have been half
     * written over it; a host further back than any rank can lag (a new arena) has no part in it,
     * and nothing of it to give to others. */
    if (plan->restart)
        atomic_store(&arena->header->result_step, 0);
    if (!arena->header->on_gpus &&
        ((plan->restart && complete > plan->deal_step) || complete + 1 < plan->deal_step))
        atomic_compare_exchange_strong(&arena->header->complete_step, &complete, plan->deal_step);
    block->plan = *plan;
    atomic_store_explicit(&block->go_word, plan->word, memory_order_release);
    arena_ring(arena);
}

/* Whether no rank needs what a ghost has finished. */
static bool ghost_is_spent(const struct arena *arena, const struct arena_seat *seat)
{
    const struct arena_table *table = &seat->table[atomic_load(&seat->active) & 1];

    return arena->header->on_gpus || table->count == 0 ||
           table->step < atomic_load(&arena->header->complete_step);
}

static bool seat_take(struct arena *arena, struct arena_seat *seat, bool held)
{
    uint32_t state = atomic_load(&seat->state);

    if (state == ARENA_SEAT_TAKEN)
        return false;
    if (state == ARENA_SEAT_GHOST && !held && !ghost_is_spent(arena, seat))
        return false;
    return atomic_compare_exchange_strong(&seat->state, &state, ARENA_SEAT_TAKEN);
}

static void seat_clear(struct arena_seat *seat)
{
    atomic_store(&seat->pid, 0);
    atomic_store(&seat->pid_start, 0);
    atomic_store(&seat->life, 0);
    atomic_store(&seat->ack_word, 0);
    atomic_store(&seat->position, 0);
    atomic_store(&seat->has_state, 0);
    atomic_store(&seat->waits, 0);
    atomic_store(&seat->comm_word, 0);
    atomic_store(&seat->left, 0);
    atomic_store(&seat->ready, 0);
    atomic_store(&seat->sliced, 0);
    atomic_store(&seat->report_count, 0);
    seat->table[0].count = 0;
    seat->table[1].count = 0;
    atomic_store(&seat->active, 0);
    atomic_store(&seat->bucket_tick, 0);
}

int arena_seat_claim(struct arena *arena, struct rk_worker_id worker, uint32_t slot, uint32_t rank,
                     bool held)
{
    /* First those that have memory already, then any. */
    for (int any = 0; any <= 1; any++) {
        for (uint32_t s = 0; s < ARENA_SEATS; s++) {
            struct arena_seat *seat = &arena->header->seat[s];

            if (!any && atomic_load(&seat->allocated) == 0)
                continue;
            if (!seat_take(arena, seat, held))
                continue;
            seat_clear(seat);
            atomic_store(&seat->slot, slot);
            atomic_store(&seat->rank, rank);
            atomic_store(&seat->worker, worker.value);
            return (int)s;
        }
    }
    return RK_EFULL;
}

void arena_seat_ghost(struct arena *arena, uint32_t seat)
{
    struct arena_seat *ghost = &arena->header->seat[seat];

    atomic_store(&ghost->pid, 0);
    atomic_store(&ghost->has_state, 0);
    atomic_store(&ghost->state, ARENA_SEAT_GHOST);
}

const struct arena_table *arena_table_of(const struct arena_seat *seat, uint64_t step,
                                         rk_word lineage)
{
    const struct arena_table *table =
        &seat->table[atomic_load_explicit(&seat->active, memory_order_acquire) & 1];

    return table->count != 0 && table->step == step && table->lineage == lineage ? table : NULL;
}

/* Keeps `pieces` sorted by first shard while one is put in. */
static void piece_insert(struct arena_piece *pieces, uint32_t count, struct arena_piece piece)
{
    uint32_t i = count;

    while (i > 0 && tree_first(pieces[i - 1].node) > tree_first(piece.node)) {
        pieces[i] = pieces[i - 1];
        i--;
    }
    pieces[i] = piece;
}

/* Puts the nodes of a seat's table into `pieces`; the new count, or RK_EFULL. */
static int pieces_add(const struct arena *arena, uint32_t seat, const struct arena_table *table,
                      struct arena_piece *pieces, int count, uint32_t capacity)
{
    for (uint32_t n = 0; n < table->count; n++) {
        if ((uint32_t)count == capacity)
            return RK_EFULL;
        piece_insert(
            pieces, (uint32_t)count++,
            (struct arena_piece){.node = table->node[n].node,
                                 .data = arena_buffer(arena, seat, table->node[n].buffer)});
    }
    return count;
}

static bool is_member(const struct arena_plan *plan, uint32_t seat)
{
    for (uint32_t i = 0; i < plan->local_count && i < ARENA_SEATS; i++)
        if (plan->local[i].seat == seat)
            return true;
    return false;
}

/* Whether what a seat has counts though it is in no plan: the dead, and who acknowledged the word
 * of the plan and was left out of it.  Those stand still until they end. */
static bool was_left_out(const struct arena_seat *seat, rk_word word)
{
    uint32_t state = atomic_load(&seat->state);

    return state == ARENA_SEAT_GHOST ||
           (state == ARENA_SEAT_TAKEN && atomic_load(&seat->ack_word) == word);
}

int arena_pieces(const struct arena *arena, const struct arena_plan *plan, uint64_t step,
                 struct arena_piece *pieces, uint32_t capacity)
{
    rk_word lineage = arena_plan_lineage(plan, step);
    uint64_t tick = arena_tick(plan->word, step);
    int count = 0;

    for (uint32_t i = 0; count >= 0 && i < plan->local_count && i < ARENA_SEATS; i++) {
        const struct arena_seat *seat = &arena->header->seat[plan->local[i].seat];

        if (atomic_load_explicit(&seat->bucket_tick, memory_order_acquire) != tick)
            return RK_ENOENT;
        count = pieces_add(arena, plan->local[i].seat, &seat->final, pieces, count, capacity);
    }
    for (uint32_t s = 0; count >= 0 && s < ARENA_SEATS; s++) {
        const struct arena_seat *seat = &arena->header->seat[s];
        const struct arena_table *table = arena_table_of(seat, step, lineage);

        /* A member that died a moment ago has been counted: the plan that knows of it comes. */
        if (table != NULL && !is_member(plan, s) && was_left_out(seat, plan->word))
            count = pieces_add(arena, s, table, pieces, count, capacity);
    }
    return count;
}

uint32_t arena_pieces_distinct(struct arena_piece *pieces, uint32_t count)
{
    uint32_t distinct = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t same = 0;

        while (same < distinct && pieces[same].data != pieces[i].data)
            same++;
        if (same == distinct)
            pieces[distinct++] = pieces[i];
    }
    return distinct;
}

void arena_announce(struct arena_seat *seat, uint64_t tick, const struct arena_table *table)
{
    atomic_store(&seat->bucket_tick, 0);
    seat->final = *table;
    for (uint32_t word = 0; word < ARENA_BUCKET_WORDS; word++)
        atomic_store_explicit(&seat->bucket_ready[word], 0, memory_order_relaxed);
    atomic_store_explicit(&seat->bucket_tick, tick, memory_order_release);
}

void arena_bucket_done(struct arena_seat *seat, uint32_t b)
{
    atomic_fetch_or_explicit(&seat->bucket_ready[b / 64], UINT64_C(1) << b % 64,
                             memory_order_release);
}

void arena_ready(struct arena *arena, struct arena_seat *seat, uint64_t tick)
{
    for (uint32_t word = 0; word < ARENA_BUCKET_WORDS; word++)
        atomic_store_explicit(&seat->bucket_ready[word], UINT64_MAX, memory_order_release);
    atomic_store_explicit(&seat->ready, tick, memory_order_release);
    arena_ring(arena);
}

bool arena_bucket_is_ready(const struct arena *arena, const struct arena_plan *plan, uint64_t step,
                           uint32_t b)
{
    uint64_t tick = arena_tick(plan->word, step);

    for (uint32_t i = 0; i < plan->local_count && i < ARENA_SEATS; i++) {
        const struct arena_seat *seat = &arena->header->seat[plan->local[i].seat];

        if (atomic_load_explicit(&seat->bucket_tick, memory_order_acquire) != tick ||
            (atomic_load_explicit(&seat->bucket_ready[b / 64], memory_order_acquire) >> b % 64 &
             1) == 0)
            return false;
    }
    return true;
}

/* The step that a worker's report is about: where its ranks are, else where the host's result is.
 */
static uint64_t report_step(const struct arena *arena, struct rk_worker_id worker)
{
    uint64_t step = 0;
    bool found = false;

    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        const struct arena_seat *seat = &arena->header->seat[s];

        if (atomic_load(&seat->state) != ARENA_SEAT_TAKEN ||
            atomic_load(&seat->worker) != worker.value || atomic_load(&seat->has_state) == 0)
            continue;
        if (!found || atomic_load(&seat->position) > step)
            step = atomic_load(&seat->position);
        found = true;
    }
    return found ? step : atomic_load(&arena->header->complete_step);
}

void arena_report_read(const struct arena *arena, struct rk_worker_id worker, rk_word word,
                       const struct arena_plan *previous, struct arena_report *report)
{
    memset(report, 0, sizeof *report);
    report->complete_step = atomic_load(&arena->header->complete_step);
    for (uint32_t k = 0; k < ARENA_SNAPSHOTS; k++) {
        uint64_t stamp = atomic_load(&arena->header->snapshot[k].stamp);

        report->snapshot_step[k] = stamp == 0 ? ARENA_NO_STEP : stamp - 1;
    }
    report->deal_step = report_step(arena, worker);
    if (previous == NULL || previous->word == 0)
        return;
    report->lineage = arena_plan_lineage(previous, report->deal_step);
    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        const struct arena_seat *seat = &arena->header->seat[s];
        const struct arena_table *table = arena_table_of(seat, report->deal_step, report->lineage);
        uint32_t state = atomic_load(&seat->state);

        if (table == NULL ||
            (state == ARENA_SEAT_TAKEN && atomic_load(&seat->worker) != worker.value) ||
            state == ARENA_SEAT_FREE ||
            (arena->header->on_gpus && atomic_load(&seat->ack_word) != word))
            continue;
        if (table->count > report->max_nodes)
            report->max_nodes = table->count;
        for (uint32_t n = 0; n < table->count; n++)
            tree_set_add_node(report->done, table->node[n].node);
    }
}
