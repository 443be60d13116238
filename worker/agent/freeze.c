/* Freeze and go, the barrier of collectives/arena.h, as one agent plays it.
 *
 *   freeze w -> fence who is out -> all dead: store freeze_word, ring -> all ranks and the carrier
 *   stand still -> tell the coordinator what the arena holds -> go w -> write the plan, store
 *   go_word, ring
 *
 * Nothing here waits: freeze_check goes on from where it is, once a turn. */
#include "worker/agent/state.h"

#include "common/log.h"

#include <string.h>

static struct arena_agent *block_of(const struct agent *agent)
{
    return &agent->arena.header->agent[agent->block];
}

static void add_fenced(struct agent *agent, uint64_t id)
{
    struct freeze *freeze = &agent->freeze;

    for (uint32_t i = 0; i < freeze->fenced_count; i++)
        if (freeze->fenced[i] == id)
            return;
    if (freeze->fenced_count < ARENA_AGENTS)
        freeze->fenced[freeze->fenced_count++] = id;
    fence_begin(agent, id);
}

void freeze_begin(struct agent *agent, rk_word word, const uint64_t *fence, size_t count)
{
    struct freeze *freeze = &agent->freeze;

    if (word < freeze->word || word == 0) {
        agent->refused++;
        return;
    }
    if (word == freeze->word && freeze->acked && atomic_load(&block_of(agent)->go_word) != word) {
        say_freeze_ack(agent); /* the coordinator missed it */
        return;
    }
    if (word == freeze->word)
        return;
    freeze->word = word;
    freeze->stored = freeze->acked = false;
    for (size_t i = 0; i < count; i++)
        add_fenced(agent, fence[i]);
    freeze_check(agent);
}

static void tell_ranks(struct agent *agent)
{
    struct freeze *freeze = &agent->freeze;

    for (uint32_t i = 0; i < freeze->fenced_count; i++)
        fence_finish(agent, freeze->fenced[i]);
    freeze->fenced_count = 0;
    fence_sweep(agent);
    atomic_store_explicit(&block_of(agent)->freeze_word, freeze->word, memory_order_release);
    freeze->stored = true;
    ranks_wait_anew(agent);
    carrier_expect(agent);
    arena_ring(&agent->arena);
}

static bool stands_still(const struct agent *agent, const struct rank *rank)
{
    struct arena_seat *seat = rank_seat(agent, rank);

    if (!rank_alive(rank) || !rank->entered || seat == NULL)
        return true; /* it has touched nothing, or can touch nothing any more */
    if (rank->left || atomic_load_explicit(&seat->left, memory_order_acquire))
        return true;
    return atomic_load_explicit(&seat->ack_word, memory_order_acquire) == agent->freeze.word;
}

void freeze_check(struct agent *agent)
{
    struct freeze *freeze = &agent->freeze;

    if (freeze->word == 0 || freeze->acked || freeze->waiting > 0)
        return;
    if (!freeze->stored)
        tell_ranks(agent);
    for (uint32_t i = 0; i < agent->options->slots; i++)
        if (!stands_still(agent, &agent->rank[i]))
            return;
    if (!carrier_acked(agent, freeze->word)) {
        if (agent->now >= freeze->carrier_until)
            carrier_give_up(agent);
        return;
    }
    freeze->acked = true;
    say_freeze_ack(agent);
}

bool freeze_is_open(const struct agent *agent)
{
    return agent->freeze.word != 0 && atomic_load(&block_of(agent)->go_word) != agent->freeze.word;
}

bool freeze_knows(const struct agent *agent, const struct rank *rank)
{
    struct arena_seat *seat = rank_seat(agent, rank);
    rk_word frozen = atomic_load(&block_of(agent)->freeze_word);

    if (seat == NULL)
        return false;
    return atomic_load(&block_of(agent)->go_word) == frozen ||
           atomic_load_explicit(&seat->ack_word, memory_order_acquire) == frozen;
}

/* ---- go ---------------------------------------------------------------------------------------
 */

/* The seat of a member.  Where the others had their go before, it may have left and ended already
 * (a job that is resumed at its end has no step to wait in): then its seat is a ghost's. */
static int find_seat(const struct agent *agent, uint64_t worker, uint32_t slot)
{
    int gone = RK_ENOENT;

    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        const struct arena_seat *seat = &agent->arena.header->seat[s];
        uint32_t state = atomic_load(&seat->state);

        if (atomic_load(&seat->worker) != worker || atomic_load(&seat->slot) != slot)
            continue;
        if (state == ARENA_SEAT_TAKEN)
            return (int)s;
        if (state == ARENA_SEAT_GHOST && atomic_load(&seat->left))
            gone = (int)s;
    }
    return gone;
}

static void mark_members(struct agent *agent)
{
    for (uint32_t i = 0; i < agent->options->slots; i++) {
        struct rank *rank = &agent->rank[i];

        rank->member = false;
        for (uint32_t m = 0; m < agent->plan.local_count; m++)
            if (rank->seat >= 0 && agent->plan.local[m].seat == (uint32_t)rank->seat)
                rank->member = true;
    }
}

int freeze_go(struct agent *agent, const struct arena_plan *plan, const uint64_t *workers,
              const uint32_t *slots, uint32_t members, struct rk_why *why)
{
    struct arena_agent *block = block_of(agent);
    struct arena_plan found = *plan;

    if (plan->word != agent->freeze.word || !agent->freeze.acked)
        return rk_fail(why, RK_ESTALE, "go for another freeze than the one acknowledged");
    if (atomic_load(&block->go_word) == plan->word)
        return 0; /* said again */
    for (uint32_t m = 0; m < found.local_count; m++) {
        int seat = find_seat(agent, workers[m], slots[m]);

        if (seat < 0)
            return rk_fail(why, RK_ENOENT, "rank %u has no seat on this host any more",
                           found.local[m].rank);
        found.local[m].seat = (uint32_t)seat;
    }
    carriers_serve(agent, found.carrier_job);
    agent->plan = found;
    agent->plan_members = members;
    agent->plan_member = false;
    for (uint32_t m = 0; m < found.local_count; m++)
        agent->plan_member = agent->plan_member || workers[m] == agent->worker.value;
    arena_go(&agent->arena, (uint32_t)agent->block, &found);
    mark_members(agent);
    ranks_wait_anew(agent);
    rk_info("gen %llu in force: world %u, from step %llu",
            (unsigned long long)rk_word_generation(found.word), found.world,
            (unsigned long long)found.deal_step);
    return 0;
}

/* Said again as often as a rank asks: written once for each generation. */
void freeze_comm_id(struct agent *agent, const Rk__CommId *id)
{
    struct arena_agent *block = block_of(agent);

    if (id->id.len != ARENA_COMM_ID || id->word != agent->plan.word ||
        atomic_load(&block->comm_word) == id->word) {
        agent->refused++;
        return;
    }
    memcpy(block->comm_id, id->id.data, ARENA_COMM_ID);
    atomic_store_explicit(&block->comm_word, id->word, memory_order_release);
    arena_ring(&agent->arena);
}

/* ---- snapshots --------------------------------------------------------------------------------
 */

void freeze_snapshot_at(struct agent *agent, uint64_t step)
{
    agent->snapshot_wanted = step;
    atomic_store(&block_of(agent)->snapshot_at, step);
    freeze_snapshot_look(agent, 0);
}

/* Whether each of our members is past `step`: then nobody on this host will leave a snapshot of it
 * any more, for who is to leave one does so before the step after it can be summed. */
static bool all_past(const struct agent *agent, uint64_t step)
{
    bool any = false;

    for (uint32_t i = 0; i < agent->options->slots; i++) {
        const struct rank *rank = &agent->rank[i];
        struct arena_seat *seat = rank_seat(agent, rank);

        if (!rank_alive(rank) || !rank->member || seat == NULL)
            continue;
        if (atomic_load(&seat->position) <= step)
            return false;
        any = true;
    }
    return any;
}

void freeze_snapshot_look(struct agent *agent, uint64_t took)
{
    uint64_t step = agent->snapshot_wanted;

    if (step == ARENA_NO_STEP)
        return;
    /* in this order: a snapshot is there before a rank goes past it */
    bool past = all_past(agent, step);
    bool there = arena_snapshot_find(&agent->arena, step) >= 0;
    if (!there && !past)
        return;
    agent->snapshot_wanted = ARENA_NO_STEP;
    say_snapshot(agent, step, !there, took);
}
