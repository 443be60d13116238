/* Workers in the simulation: agents that obey, ranks that step, arenas that remember.  Here the
 * promises are checked: no shard twice or never in a step, no step taken back, nobody goes on
 * under an old word. */
#include "tests/sim/sim.h"

#include <string.h>

#define NONE UINT32_MAX

uint32_t worker_by_id(const struct sim *sim, struct rk_worker_id id)
{
    uint64_t index = id.value & 0xffffff;

    return index >= 1 && index <= sim->worker_count ? (uint32_t)index - 1 : NONE;
}

/* ---- letters --------------------------------------------------------------------------------- */

static struct letter *letter_new(struct sim *sim, uint32_t w, enum core_event_kind kind)
{
    struct worker *worker = &sim->worker[w];
    struct letter *letter = sim_alloc(sizeof *letter);

    letter->kind = kind;
    letter->serial = ++worker->serial;
    letter->word = worker->plan ? worker->plan->core.word : 0;
    letter->frozen = worker->frozen;
    letter->host = worker->arena->id;
    letter->snapshot[0] = worker->arena->snapshot[0];
    letter->snapshot[1] = worker->arena->snapshot[1];
    for (uint32_t s = 0; s < sim->o.slots; s++)
        letter->rank[s] = worker->rank[s].status;
    return letter;
}

/* In the order sent, except that a heartbeat may come late or twice. */
static void letter_send(struct sim *sim, uint32_t w, struct letter *letter)
{
    struct worker *worker = &sim->worker[w];
    struct item item = {.kind = EV_TO_CORE, .who = w, .letter = letter, .tag = sim->life};
    uint64_t at = sim->now + 50 * RK_US + sim_below(sim, RK_MS);
    bool beat = letter->kind == CORE_EV_HEARTBEAT;

    if (!sim->core)
        return;
    if (beat && sim_chance(sim, 0.005)) {
        sim_push(sim, item, sim_below(sim, 300 * RK_MS));
        return;
    }
    if (at <= worker->last_sent)
        at = worker->last_sent + 1;
    worker->last_sent = at;
    sim_push(sim, item, at - sim->now);
    if ((beat || letter->kind == CORE_EV_FREEZE_ACK) && sim_chance(sim, 0.005)) {
        struct letter *copy = sim_alloc(sizeof *copy);

        *copy = *letter;
        item.letter = copy;
        sim_push(sim, item, at - sim->now + sim_below(sim, 50 * RK_MS));
    }
}

static void say_end(struct sim *sim, uint32_t w, uint64_t within)
{
    struct letter *letter = letter_new(sim, w, CORE_EV_DRAIN);

    letter->a = within;
    letter_send(sim, w, letter);
}

void agent_hello(struct sim *sim, uint32_t w)
{
    struct worker *worker = &sim->worker[w];
    struct letter *letter = letter_new(sim, w, CORE_EV_HELLO);

    letter->ticket = worker->ticket;
    crews_hello(sim, w, letter->carrier);
    letter->b = CORE_NONE;
    if (worker->plan) {
        letter->members = worker->plan->core.members;
        for (uint32_t m = 0; m < worker->plan->core.world; m++)
            letter->member =
                letter->member || worker_by_id(sim, worker->plan->member[m].worker) == w;
        letter->lineage = worker->plan->core.lineage;
        letter->a = worker->plan->core.deal_step;
        letter->b = worker->plan->core.stop_at;
    }
    letter_send(sim, w, letter);
    if (worker->ends_at)
        say_end(sim, w, worker->ends_at > sim->now ? worker->ends_at - sim->now : 1);
}

void agent_says_comm(struct sim *sim, uint32_t w)
{
    struct letter *letter;

    if (!sim->worker[w].alive || !sim->worker[w].plan)
        return;
    letter = letter_new(sim, w, CORE_EV_COMM_FAILED);
    letter->a = !sim->o.gpus || sim_chance(sim, 0.5) ? 1 + sim_below(sim, RK_S) : 0;
    letter_send(sim, w, letter);
}

void agent_drain(struct sim *sim, uint32_t w, uint64_t within)
{
    struct worker *worker = &sim->worker[w];

    if (!worker->alive || worker->ends_at)
        return;
    worker->ends_at = sim->now + within;
    say_end(sim, w, sim_chance(sim, 0.1) ? 0 : within);
    sim_push(sim, (struct item){.kind = EV_KILLED, .who = w}, within);
}

void agent_beat(struct sim *sim, uint32_t w)
{
    if (sim->worker[w].stalled <= sim->now)
        letter_send(sim, w, letter_new(sim, w, CORE_EV_HEARTBEAT));
    sim_push(sim, (struct item){.kind = EV_BEAT, .who = w}, 100 * RK_MS);
}

/* ---- birth and death ------------------------------------------------------------------------- */

static struct arena *arena_get(struct sim *sim, uint32_t group)
{
    struct arena *arena = sim->group[group];

    if (arena && arena->living)
        return arena;
    arena = sim_alloc(sizeof *arena);
    arena->id = ++sim->arena_count;
    arena->snapshot[0] = arena->snapshot[1] = CORE_NONE;
    sim->group[group] = arena;
    return arena;
}

static void launch_came(struct sim *sim, uint32_t ticket)
{
    for (uint32_t i = 0; i < sim->coming_count; i++)
        if (sim->coming[i] == ticket) {
            sim->coming[i] = sim->coming[--sim->coming_count];
            return;
        }
}

void agent_boot(struct sim *sim, uint32_t place, uint32_t ticket)
{
    uint32_t w = sim->worker_count;
    struct worker *worker = &sim->worker[w];

    launch_came(sim, ticket);
    if (w == sim->worker_room) {
        sim_fail(sim, "more workers than the simulation has room for");
        return;
    }
    sim->worker_count++;
    *worker = (struct worker){.alive = true, .ticket = ticket, .place = place};
    worker->id.value = (sim_random(sim) << 24) | (w + 1);
    worker->group = place % sim->o.hosts;
    worker->arena = arena_get(sim, worker->group);
    worker->arena->living++;
    for (uint32_t s = 0; s < sim->o.slots; s++)
        worker->rank[s].status.rank = CORE_NO_RANK;
    agent_hello(sim, w);
    sim_push(sim, (struct item){.kind = EV_BEAT, .who = w}, 100 * RK_MS);
}

/* The rank no longer counts for the step it was ready in. */
static void rank_unready(struct worker *worker, struct rank *rank)
{
    if (rank->ready_step && worker->plan && rank->ready_step == worker->plan->step + 1 &&
        worker->plan->ready)
        worker->plan->ready--;
    rank->ready_step = 0;
}

/* The seat of a rank that died keeps what it had finished. */
static void seat_ghost(struct worker *worker, struct rank *rank)
{
    struct seat *ghost = sim_alloc(sizeof *ghost);

    *ghost = rank->seat;
    ghost->next = worker->arena->ghosts;
    worker->arena->ghosts = ghost;
    memset(&rank->seat, 0, sizeof rank->seat);
}

static void rank_clear(const struct sim *sim, struct worker *worker, struct rank *rank)
{
    rank_unready(worker, rank);
    if (sim->o.gpus)
        memset(&rank->seat, 0, sizeof rank->seat);
    else
        seat_ghost(worker, rank);
    rank->status.state = CORE_RANK_EMPTY;
    rank->status.has_state = false;
    rank->status.position = 0;
}

void agent_says_exit(struct sim *sim, uint32_t w, uint32_t slot, int32_t signal, bool left)
{
    struct letter *letter = letter_new(sim, w, CORE_EV_RANK_EXITED);

    letter->slot = slot;
    letter->code = signal;
    letter->flag = left;
    letter->a = (uint64_t)sim->worker[w].rank[slot].status.pid;
    letter->b = sim->worker[w].rank[slot].status.start;
    letter_send(sim, w, letter);
}

void rank_die(struct sim *sim, uint32_t w, uint32_t slot, int32_t signal)
{
    struct rank *rank = &sim->worker[w].rank[slot];
    bool left = rank->status.state == CORE_RANK_LEFT;
    int32_t pid = rank->status.pid;

    if (!sim->worker[w].alive || rank->status.state == CORE_RANK_EMPTY ||
        rank->status.state == CORE_RANK_DONE)
        return;
    if (left) {
        rank->status.state = CORE_RANK_DONE;
    } else {
        rank_clear(sim, &sim->worker[w], rank);
        rank->status.pid = pid;
    }
    agent_says_exit(sim, w, slot, signal, left);
}

void agent_die(struct sim *sim, uint32_t w, bool silent)
{
    struct worker *worker = w == NONE ? NULL : &sim->worker[w];

    if (!worker || !worker->alive)
        return;
    for (uint32_t s = 0; s < sim->o.slots; s++)
        if (worker->rank[s].status.state != CORE_RANK_EMPTY)
            rank_clear(sim, worker, &worker->rank[s]);
    worker->alive = false;
    crews_worker_dies(sim, w);
    worker->arena->living--;
    if (!silent)
        sim_push(sim, (struct item){.kind = EV_GONE, .who = w, .slot = sim_chance(sim, 0.5)},
                 100 * RK_US + sim_below(sim, 2 * RK_MS));
}

void agent_says_carrier(struct sim *sim, uint32_t w, enum core_event_kind kind, uint32_t job,
                        uint32_t place, uint32_t hosts)
{
    struct letter *letter;

    if (!sim->worker[w].alive)
        return;
    letter = letter_new(sim, w, kind);
    letter->job = job;
    letter->a = place;
    letter->b = hosts;
    letter_send(sim, w, letter);
}

/* ---- ranks ----------------------------------------------------------------------------------- */

struct rank *rank_of(struct sim *sim, const struct item *item)
{
    struct worker *worker = &sim->worker[item->who];
    struct rank *rank = &worker->rank[item->slot];

    if (!worker->alive || rank->status.state == CORE_RANK_EMPTY ||
        (uint64_t)rank->status.pid != item->tag)
        return NULL;
    return rank;
}

static void rank_push(struct sim *sim, enum kind kind, uint32_t w, uint32_t slot, uint64_t delay)
{
    struct worker *worker = &sim->worker[w];

    sim_push(sim,
             (struct item){.kind = kind,
                           .who = w,
                           .slot = slot,
                           .tag = (uint64_t)worker->rank[slot].status.pid,
                           .word = worker->plan ? worker->plan->core.word : 0},
             delay);
}

/* Its word is in force here, and no freeze stops it. */
static bool rank_goes(const struct worker *worker, const struct item *item)
{
    return worker->plan && worker->plan->core.word == item->word && worker->frozen == item->word;
}

void rank_up(struct sim *sim, const struct item *item)
{
    struct rank *rank = rank_of(sim, item);

    if (!rank || rank->status.state != CORE_RANK_STARTING)
        return;
    rank->status.state = CORE_RANK_READY;
    letter_send(sim, item->who, letter_new(sim, item->who, CORE_EV_HEARTBEAT));
}

static void set_or(uint64_t *to, const uint64_t *from)
{
    for (uint32_t w = 0; w < SIM_WORDS; w++)
        to[w] |= from[w];
}

/* The deal of collectives/tree.h: the missing shards in rising order, in `world` runs. */
static void share(const struct sim *sim, const struct plan *plan, uint64_t step, uint32_t index,
                  uint64_t *mine)
{
    uint32_t missing = 0;
    uint32_t seen = 0;
    bool deal = step == plan->core.deal_step;

    for (uint32_t s = 0; s < sim->o.shards; s++)
        missing += !deal || !((plan->done[s / 64] >> (s % 64)) & 1);
    for (uint32_t s = 0; s < sim->o.shards; s++) {
        if (deal && ((plan->done[s / 64] >> (s % 64)) & 1))
            continue;
        if (seen >= (uint64_t)missing * index / plan->core.world &&
            seen < (uint64_t)missing * (index + 1) / plan->core.world)
            mine[s / 64] |= UINT64_C(1) << (s % 64);
        seen++;
    }
}

static rk_word lineage_of(const struct plan *plan, uint64_t step)
{
    return step == plan->core.deal_step ? plan->core.lineage : plan->core.word;
}

static void seat_open(struct seat *seat, uint64_t step, rk_word lineage)
{
    if (seat->step == step && seat->lineage == lineage)
        return;
    memset(seat->set, 0, sizeof seat->set);
    seat->step = step;
    seat->lineage = lineage;
}

/* Adds disjoint sets: a shard that is in two of them would be summed twice. */
static void add_once(struct sim *sim, uint64_t *all, const struct seat *seat, uint64_t step,
                     rk_word lineage)
{
    if (seat->step != step || seat->lineage != lineage)
        return;
    for (uint32_t w = 0; w < SIM_WORDS; w++)
        if (all[w] & seat->set[w])
            sim_fail(sim, "a shard was done twice in one step");
    set_or(all, seat->set);
}

/* All members are ready: each shard must be there exactly once, in seats or ghosts of its hosts. */
static void step_check(struct sim *sim, const struct plan *plan)
{
    uint64_t all[SIM_WORDS] = {0};
    uint64_t step = plan->step;
    rk_word lineage = lineage_of(plan, step);
    uint32_t count = 0;
    uint64_t last_host = 0;

    for (uint32_t m = 0; m < plan->core.world; m++) {
        struct worker *worker = &sim->worker[worker_by_id(sim, plan->member[m].worker)];

        add_once(sim, all, &worker->rank[plan->member[m].slot].seat, step, lineage);
        if (worker->arena->id == last_host)
            continue;
        last_host = worker->arena->id;
        for (struct seat *g = worker->arena->ghosts; g; g = g->next)
            add_once(sim, all, g, step, lineage);
    }
    for (uint32_t w = 0; w < SIM_WORDS; w++)
        count += (uint32_t)__builtin_popcountll(all[w]);
    if (count != sim->o.shards)
        sim_fail(sim, "a step ended without all its shards");
    if (plan->core.word != sim->newest_go)
        sim_fail(sim, "a step ended under an old word");
}

static void step_complete(struct sim *sim, struct plan *plan)
{
    step_check(sim, plan);
    if (plan->step + 1 > sim->finished_steps)
        sim->finished_steps = plan->step + 1;
    plan->step++;
    plan->ready = 0;
    for (uint32_t m = 0; m < plan->core.world; m++) {
        uint32_t w = worker_by_id(sim, plan->member[m].worker);

        rank_push(sim, EV_ADVANCE, w, plan->member[m].slot, RK_US + sim_below(sim, RK_MS));
    }
}

void rank_ready(struct sim *sim, const struct item *item)
{
    struct rank *rank = rank_of(sim, item);
    struct worker *worker = &sim->worker[item->who];
    struct plan *plan = worker->plan;
    uint64_t step;
    uint64_t mine[SIM_WORDS] = {0};

    if (!rank || !rank_goes(worker, item) || rank->status.state != CORE_RANK_MEMBER)
        return;
    step = rank->status.position;
    if (rank->ready_step == step + 1 || step != plan->step)
        return;
    share(sim, plan, step, rank->index, mine);
    seat_open(&rank->seat, step, lineage_of(plan, step));
    set_or(rank->seat.set, mine);
    rank->ready_step = step + 1;
    if (++plan->ready == plan->core.world)
        rank_summed(sim, item);
}

/* All ranks are ready: the step is complete when the carriers have carried it. */
void rank_summed(struct sim *sim, const struct item *item)
{
    struct worker *worker = &sim->worker[item->who];
    struct item again = *item;

    if (!worker->alive || !rank_goes(worker, item) ||
        worker->plan->ready != worker->plan->core.world)
        return;
    again.kind = EV_STEP;
    if (crews_carry(sim, worker->plan))
        step_complete(sim, worker->plan);
    else
        sim_push(sim, again, 2 * RK_MS);
}

static void rank_leave(struct sim *sim, uint32_t w, uint32_t slot)
{
    struct worker *worker = &sim->worker[w];

    worker->rank[slot].status.state = CORE_RANK_LEFT;
    worker->arena->snapshot[1] = worker->rank[slot].status.position;
    sim->leaving = true;
    letter_send(sim, w, letter_new(sim, w, CORE_EV_HEARTBEAT));
    rank_push(sim, EV_EXIT, w, slot, RK_MS + sim_below(sim, 5 * RK_MS));
}

/* It stands at a step's boundary: a snapshot, the end, or the next step. */
static void rank_begin(struct sim *sim, uint32_t w, uint32_t slot)
{
    struct worker *worker = &sim->worker[w];
    struct rank *rank = &worker->rank[slot];
    uint64_t position = rank->status.position;

    if (worker->snapshot_at && worker->snapshot_at <= position) {
        struct letter *letter = letter_new(sim, w, CORE_EV_SNAPSHOT);

        letter->a = worker->snapshot_at;
        letter->flag = worker->snapshot_at < position;
        if (!letter->flag)
            worker->arena->snapshot[0] = position;
        worker->snapshot_at = 0;
        letter_send(sim, w, letter);
    }
    if (position >= sim->o.steps || position >= worker->plan->core.stop_at)
        rank_leave(sim, w, slot);
    else
        rank_push(sim, EV_READY, w, slot, RK_MS + sim_below(sim, 4 * RK_MS));
}

void rank_advance(struct sim *sim, const struct item *item)
{
    struct rank *rank = rank_of(sim, item);
    struct worker *worker = &sim->worker[item->who];
    struct plan *plan = worker->plan;
    struct letter *letter;

    if (!rank || !rank_goes(worker, item) || rank->status.state != CORE_RANK_MEMBER ||
        rank->status.position + 1 != plan->step)
        return;
    rank->status.position++;
    rank->ready_step = 0;
    if (worker->arena->complete < rank->status.position)
        worker->arena->complete = rank->status.position;
    if (rank->status.position == plan->core.deal_step + 1) {
        letter = letter_new(sim, item->who, CORE_EV_PROGRESS);
        letter->a = rank->status.position;
        letter_send(sim, item->who, letter);
    }
    rank_begin(sim, item->who, item->slot);
}

void rank_exit(struct sim *sim, const struct item *item)
{
    if (rank_of(sim, item) && !sim->over)
        rank_die(sim, item->who, item->slot, 0);
}

/* ---- what agents are told -------------------------------------------------------------------- */

static void take_start(struct sim *sim, uint32_t w, const struct letter *letter)
{
    struct worker *worker = &sim->worker[w];

    for (uint32_t s = 0; s < sim->o.slots; s++) {
        struct rank *rank = &worker->rank[s];

        bool runs = rank->status.state != CORE_RANK_EMPTY && rank->status.state != CORE_RANK_DONE;

        if (!((letter->c >> s) & 1) || (runs && !letter->flag) ||
            letter->rank[s].start < rank->status.start ||
            (rank->status.start == letter->rank[s].start && rank->status.state != CORE_RANK_EMPTY))
            continue;
        if (rank->status.state != CORE_RANK_EMPTY)
            rank_clear(sim, worker, rank);
        if (letter->flag && worker->arena->ghosts) /* a rank that replaces may take any seat */
            worker->arena->ghosts = worker->arena->ghosts->next;
        rank->status.rank = letter->rank[s].rank;
        rank->status.start = letter->rank[s].start;
        rank->world = letter->world;
        rank->ended = false;
        rank->status.state = CORE_RANK_STARTING;
        rank->status.pid = ++sim->pid;
        rank_push(sim, EV_UP, w, s, 5 * RK_MS + sim_below(sim, 50 * RK_MS));
    }
}

static void report_add(struct letter *ack, const struct seat *seat)
{
    if (seat->step == ack->a && seat->lineage == ack->lineage)
        set_or(ack->done, seat->set);
}

/* As collectives/seats.c: where the worker's ranks are, else where its host's result is. */
static uint64_t report_step(const struct sim *sim, const struct worker *worker)
{
    uint64_t step = 0;
    bool found = false;

    for (uint32_t s = 0; s < sim->o.slots; s++) {
        const struct core_rank_status *status = &worker->rank[s].status;

        if (status->has_state && (!found || status->position > step))
            step = status->position;
        found = found || status->has_state;
    }
    return found ? step : worker->arena->complete;
}

static void take_freeze(struct sim *sim, uint32_t w, rk_word word)
{
    struct worker *worker = &sim->worker[w];
    struct letter *ack;

    if (word < worker->frozen || (worker->plan && worker->plan->core.word == word))
        return;
    worker->frozen = word;
    for (uint32_t s = 0; s < sim->o.slots; s++)
        rank_unready(worker, &worker->rank[s]);
    ack = letter_new(sim, w, CORE_EV_FREEZE_ACK);
    ack->word = word;
    ack->b = worker->arena->complete;
    ack->a = report_step(sim, worker);
    if (worker->plan) {
        ack->lineage = lineage_of(worker->plan, ack->a);
        for (uint32_t s = 0; s < sim->o.slots; s++)
            report_add(ack, &worker->rank[s].seat);
        for (struct seat *g = worker->arena->ghosts; g; g = g->next)
            report_add(ack, g);
    }
    letter_send(sim, w, ack);
}

static void member_go(struct sim *sim, uint32_t w, const struct core_member *member)
{
    struct worker *worker = &sim->worker[w];
    struct rank *rank = &worker->rank[member->slot];
    uint64_t step = worker->plan->core.deal_step;

    if (rank->status.state != CORE_RANK_READY && rank->status.state != CORE_RANK_MEMBER)
        return;
    if (rank->status.has_state && rank->status.position > step)
        sim_fail(sim, "a step was taken back");
    if (rank->status.has_state && rank->status.position + 1 < step)
        sim_fail(sim, "positions differ by more than one");
    if (!rank->status.has_state && step > 0 && worker->plan->core.state_host.value == 0)
        sim_fail(sim, "a rank without state and nobody to give it");
    rank->status.state = CORE_RANK_MEMBER;
    rank->status.has_state = true;
    rank->status.position = step;
    rank->index = member->index;
    rank->ready_step = 0;
    if (worker->arena->complete < step)
        worker->arena->complete = step;
    rank_begin(sim, w, member->slot);
}

static void take_go(struct sim *sim, uint32_t w, struct plan *plan)
{
    struct worker *worker = &sim->worker[w];

    if (worker->frozen != plan->core.word ||
        (worker->plan && worker->plan->core.word >= plan->core.word))
        return;
    worker->plan = plan;
    if (plan->core.fresh && worker->arena->complete)
        worker->arena->complete = 0;
    for (uint32_t m = 0; m < plan->core.world; m++)
        if (worker_by_id(sim, plan->member[m].worker) == w)
            member_go(sim, w, &plan->member[m]);
}

static void take_snapshot(struct sim *sim, uint32_t w, uint64_t step)
{
    struct worker *worker = &sim->worker[w];
    struct letter *letter;

    worker->snapshot_at = step;
    for (uint32_t s = 0; s < sim->o.slots; s++) {
        if (!worker->rank[s].status.has_state || worker->rank[s].status.position < step)
            continue;
        worker->snapshot_at = 0;
        letter = letter_new(sim, w, CORE_EV_SNAPSHOT);
        letter->a = step;
        letter->flag = true;
        letter_send(sim, w, letter);
        return;
    }
}

static void answer(struct sim *sim, uint32_t w, enum core_event_kind kind,
                   const struct letter *letter)
{
    struct letter *reply = letter_new(sim, w, kind);
    uint64_t chance = sim_below(sim, 100 * (kind == CORE_EV_LOADED ? 1 : sim->o.hosts));

    if (kind == CORE_EV_LOADED) {
        reply->word = letter->word;
        reply->a = letter->a;
        reply->code = chance < 10 ? RK_EDATA : 0;
        if (reply->code == 0)
            sim->worker[w].arena->snapshot[0] = letter->a;
    } else {
        reply->a = letter->b;
        reply->code = chance < 3 ? RK_EIO : chance < 5 ? RK_ENOSPC : 0;
    }
    letter_send(sim, w, reply);
}

void agent_take(struct sim *sim, uint32_t w, struct letter *letter)
{
    if (!sim->worker[w].alive)
        return;
    switch (letter->action) {
    case CORE_DO_START_RANKS:
        take_start(sim, w, letter);
        break;
    case CORE_DO_FREEZE:
        take_freeze(sim, w, letter->word);
        break;
    case CORE_DO_GO:
        take_go(sim, w, letter->plan);
        break;
    case CORE_DO_SNAPSHOT:
        take_snapshot(sim, w, letter->a);
        break;
    case CORE_DO_WRITE:
        answer(sim, w, CORE_EV_SHARD_WRITTEN, letter);
        break;
    case CORE_DO_LOAD:
        answer(sim, w, CORE_EV_LOADED, letter);
        break;
    case CORE_DO_REFUSE:
        if (letter->code == RK_EFENCED)
            agent_die(sim, w, false);
        else
            agent_hello(sim, w);
        break;
    default:
        break;
    }
}
