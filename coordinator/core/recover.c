/* A new coordinator: the workers say what the old one had decided. */
#include "coordinator/core/state.h"

/* Brings a rank to where its worker says it is. */
static bool rank_adopt(struct core *core, struct worker *worker, uint32_t slot,
                       const struct core_rank_status *status)
{
    static const enum rank_event way[] = {RANK_EV_START, RANK_EV_UP,    RANK_EV_ENTER,
                                          RANK_EV_GO,    RANK_EV_LEAVE, RANK_EV_DONE};
    static const uint32_t length[RANK_STATES] = {0, 2, 3, 4, 5, 6};
    bool joined = status->state >= CORE_RANK_READY && status->state <= CORE_RANK_LEFT;

    if (status->rank == CORE_NO_RANK)
        return status->state == CORE_RANK_EMPTY;
    if (status->state > CORE_RANK_DONE ||
        (worker->rank[slot].name != status->rank && !rank_name(core, worker, slot, status->rank)))
        return false;
    if (joined && core->config.mode == CORE_AUTO)
        core->joined = true;
    worker->rank[slot].start = status->start;
    if (status->state == CORE_RANK_DONE && program_mode(core)) {
        rank_move(core, worker, slot, RANK_EV_START);
        rank_move(core, worker, slot, RANK_EV_DONE);
        return true;
    }
    for (uint32_t i = 0; i < length[status->state]; i++)
        rank_move(core, worker, slot, way[i]);
    worker->rank[slot].round = core->round;
    worker->rank[slot].started = core->time;
    return true;
}

/* A rank that its generation had, and that ended while no coordinator was there. */
static void rank_missed(struct core *core, struct worker *worker, uint32_t slot)
{
    worker->rank[slot].last_name = worker->rank[slot].name;
    worker->owed_exits |= UINT64_C(1) << slot;
    worker_owe(core, (uint32_t)(worker - core->worker), OWE_EXITS);
    losses_add(core, 0);
}

static void plan_heard(struct core *core, const struct core_event *event)
{
    if (event->hello.frozen_word > core->recover.frozen)
        core->recover.frozen = event->hello.frozen_word;
    if (event->word < core->recover.word || event->word == 0)
        return;
    if (event->word > core->recover.word) {
        core->recover.word = event->word;
        core->recover.lineage = event->hello.lineage;
        core->recover.deal_step = event->hello.deal_step;
        core->recover.stop_at = event->hello.stop_at;
        core->recover.members = event->hello.members;
        core->recover.came = 0;
    }
    core->recover.came += event->hello.member;
    if (core->recover.members > core->config.capacity_workers)
        core->recover.members = core->config.capacity_workers;
}

bool recover_hello(struct core *core, uint32_t index, const struct core_event *event)
{
    struct worker *worker = &core->worker[index];
    const struct core_worker_status *status = event->hello.status;

    if (!core->adopting || rk_word_epoch(event->word) >= core->epoch)
        return event->word == 0;
    for (uint32_t s = 0; s < status->slots; s++) {
        if (!rank_adopt(core, worker, s, &status->rank[s]))
            return false;
        if ((event->word || (program_mode(core) && status->rank[s].pid)) &&
            status->rank[s].state == CORE_RANK_EMPTY && worker->rank[s].name != CORE_NO_RANK)
            rank_missed(core, worker, s);
    }
    worker->word = event->word;
    worker->frozen = event->hello.frozen_word;
    plan_heard(core, event);
    carriers_heard(core, index, event);
    return true;
}

/* A worker that came later would be out for good: where the members are all there but the job is
 * short of workers, those without a member rank have one silence to come in too. */
uint64_t recover_until(const struct core *core)
{
    uint64_t wait = core->config.recover_timeout;

    if (core->recover.word && core->recover.came >= core->recover.members &&
        core->config.silence < wait)
        wait = core->config.silence;
    return core->born + wait;
}

/* Where nobody told of a generation though there was one, all who came are new: its members may
 * still come, and they have the state. */
bool recover_came(const struct core *core)
{
    if (core->time >= recover_until(core))
        return true;
    if (core->started && !program_mode(core) && core->recover.word == 0)
        return false;
    return core->living - core->spare.count >= core->target &&
           (core->recover.word == 0 || core->recover.came >= core->recover.members);
}

static bool is_member(const struct core *core, const struct worker *worker, const struct rank *rank)
{
    (void)core;
    return worker_living(worker) &&
           (rank->state == CORE_RANK_MEMBER || rank->state == CORE_RANK_LEFT);
}

static bool intact(const struct core *core)
{
    if (core->recover.word == 0 || core->recover.came < core->recover.members ||
        core->recover.frozen > core->recover.word || core->pending.count || core->waiting ||
        core->count[CORE_RANK_STARTING] || core->count[CORE_RANK_EMPTY])
        return false;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i))
        if (core->worker[i].count[CORE_RANK_MEMBER] && core->worker[i].word != core->recover.word)
            return false;
    return true;
}

/* Workers that did not come are lost; they count once. */
static void count_absent(struct core *core)
{
    uint32_t expected = core->recover.word ? core->recover.members : core->target;
    uint32_t came = core->recover.word ? core->recover.came : core->living - core->spare.count;

    core->absent = expected > came ? expected - came : 0;
    for (uint32_t i = 0; i < core->absent; i++)
        losses_add(core, core->now - core->born);
    if (core->pending.count)
        budget_blame(core, core->round, false, 0, CORE_NO_RANK);
}

static void plan_adopt(struct core *core)
{
    struct plan *plan = &core->plan;

    *plan = (struct plan){
        .word = core->recover.word,
        .lineage = core->recover.lineage,
        .deal_step = core->recover.deal_step,
        .stop_at = core->recover.word ? core->recover.stop_at : CORE_NONE,
        .state_host = NONE,
    };
    if (rk_word_generation(plan->word) > core->generation)
        core->generation = core->noted_generation = rk_word_generation(plan->word);
    if (rk_word_generation(core->recover.frozen) > core->generation)
        core->generation = rk_word_generation(core->recover.frozen);
    plan->members = plan_walk(core, is_member);
    plan->world = core->member_count;
    plan->hosts = core->host_count;
    plan_note_members(core, plan);
}

static enum core_job_state go_on(struct core *core)
{
    core->word = core->plan.word;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i))
        if (core->worker[i].word == core->word)
            core->worker[i].asked = core->worker[i].acked = core->word;
    for (uint32_t m = 0; m < core->member_count; m++)
        core->worker[core->member[m].worker].rank[core->member[m].slot].acked = true;
    order_build(core);
    checkpoint_go(core);
    return core->ending ? finish_start(core) : CORE_JOB_RUNNING;
}

/* Whether some who have a place have a rank that neither runs nor has done its work. */
static bool lacks_ranks(const struct core *core)
{
    for (uint32_t p = 0; p < core->target; p++) {
        const struct place *place = &core->place[p];

        if (place->state == PLACE_TAKEN && core->worker[place->worker].count[CORE_RANK_EMPTY])
            return true;
    }
    return core->taken == 0;
}

/* Spare workers with ranks had a place in the life before: nobody would wait for those, nor they
 * end without the others. */
static void drop_strays(struct core *core)
{
    uint32_t next;

    for (uint32_t i = core->heard.head; i != NONE; i = next) {
        const struct worker *worker = &core->worker[i];

        next = list_next(&core->heard, i);
        if (worker->idle && worker->count[CORE_RANK_EMPTY] < worker->slots)
            worker_lost(core, i, CORE_REASON_SCALED, 0);
    }
}

static enum core_job_state program_goes_on(struct core *core)
{
    drop_strays(core);
    core->plan.program = true;
    core->broken = core->pending.count || core->unseen || lacks_ranks(core) || ranks_differ(core);
    return CORE_JOB_RUNNING;
}

enum core_job_state recover_done(struct core *core)
{
    uint32_t alive = core->count[CORE_RANK_READY] + core->count[CORE_RANK_MEMBER];
    bool whole;

    core->adopting = core->broken = false;
    count_absent(core);
    plan_adopt(core);
    whole = carriers_adopt(core, core->recover.word && core->recover.came >= core->recover.members);
    whole = intact(core) && whole;
    if (program_mode(core) && core->living)
        return program_goes_on(core);
    if (whole)
        return go_on(core);
    if (core->ending) {
        core->broken = true;
        return finish_start(core);
    }
    ranks_start_all(core, false);
    if (!alive)
        return CORE_JOB_STARTING;
    form_start(core);
    return CORE_JOB_FORMING;
}
