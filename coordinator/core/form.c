/* Forming a generation: freeze, acks, the decision, go. */
#include "coordinator/core/state.h"

#include <string.h>

uint64_t form_settle(const struct core *core)
{
    return core->config.silence / 10;
}

/* ---- freeze ---------------------------------------------------------------------------------- */

static void worker_ask(struct core *core, struct worker *worker)
{
    worker->asked = core->word;
    core->acks.missing++;
    for (uint32_t s = 0; s < worker->slots; s++)
        rank_set_acked(core, &worker->rank[s], false);
}

void form_start(struct core *core)
{
    core->broken = core->leave_later = false;
    core->acks = (struct acks){0};
    core->load = (struct load){.worker = NONE, .host = NONE};
    if (!core->plan.program) /* words begin with the generation that was counted as started */
        core->generation++;
    core->plan.program = false;
    core->word = rk_word_make(core->epoch, core->generation);
    core->formed_since = core->time;
    drains_form(core);
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i))
        worker_ask(core, &core->worker[i]);
    for (uint32_t i = core->lost.head; i != NONE; i = list_next(&core->lost, i))
        core->worker[i].named = core->word;
    order_build(core);
    core_emit(core, CORE_DO_FREEZE);
}

void form_ask(struct core *core, uint32_t index)
{
    bool open = core->state == CORE_JOB_FORMING || core->state == CORE_JOB_LOADING ||
                core->state == CORE_JOB_HELD;

    if (!open || !worker_living(&core->worker[index]))
        return;
    worker_ask(core, &core->worker[index]);
    core_emit(core, CORE_DO_FREEZE)->worker = core->worker[index].id;
}

/* An ack may have been lost: the same word again, to all. */
void form_tick(struct core *core)
{
    if (core->state != CORE_JOB_FORMING || core->formed_since + core->config.silence > core->time)
        return;
    core->formed_since = core->time;
    core_emit(core, CORE_DO_FREEZE);
}

/* ---- acks ------------------------------------------------------------------------------------ */

/* Of a host's reports, those about the highest step count, if their sums have the lineage that the
 * last plan gave to that step.  Each reports its own ranks and all that the dead of the host did.
 */
static void ack_shards(struct core *core, const struct worker *worker,
                       const struct core_event *event)
{
    struct report *report = &core->host[worker->host].report;
    uint64_t step = event->freeze_ack.deal_step;
    bool first = report->word != core->word;

    /* what a worker has that is left out would go with it */
    if (core->config.on_gpus && worker->state == CORE_WORKER_LEAVING)
        return;
    if (!event->freeze_ack.done || step >= MAX_POSITION || event->freeze_ack.lineage == 0 ||
        event->freeze_ack.lineage != plan_lineage(core, step) || (!first && step < report->step))
        return;
    if (first || step > report->step)
        *report = (struct report){.word = core->word, .step = step};
    if (event->freeze_ack.max_nodes > report->max_nodes)
        report->max_nodes = event->freeze_ack.max_nodes;
    for (uint32_t w = 0; w < (core->config.shards + 63) / 64; w++)
        report->done[w] |= event->freeze_ack.done[w];
}

/* The ack of a host says that all whom its freeze named are dead. */
static void ack_fences(struct core *core, uint32_t host)
{
    struct list *list = &core->host[host].workers;
    uint32_t next;

    for (uint32_t i = list->head; i != NONE; i = next) {
        next = list_next(list, i);
        if (core->worker[i].state == CORE_WORKER_LOST && core->worker[i].named == core->word)
            worker_fenced(core, i);
    }
}

void form_ack(struct core *core, uint32_t index, const struct core_event *event)
{
    struct worker *worker = &core->worker[index];

    worker->acked = core->word;
    worker->complete_step = event->freeze_ack.complete_step;
    core->acks.missing--;
    for (uint32_t s = 0; s < worker->slots; s++) {
        struct rank *rank = &worker->rank[s];

        if (rank->state == CORE_RANK_READY || rank->state == CORE_RANK_MEMBER)
            rank_set_acked(core, rank, true);
    }
    if (worker->complete_step < MAX_POSITION && worker->complete_step > core->acks.complete)
        core->acks.complete = worker->complete_step;
    ack_shards(core, worker, event);
    ack_fences(core, worker->host);
}

void form_worker_lost(struct core *core, struct worker *worker)
{
    if (worker->asked == core->word && worker->acked != core->word &&
        core->plan.word != core->word && core->acks.missing)
        core->acks.missing--;
    if (core->load.worker == (uint32_t)(worker - core->worker) && core->state == CORE_JOB_LOADING)
        core->broken = true;
}

/* ---- the decision ---------------------------------------------------------------------------- */

static bool wanted_any(const struct core *core, const struct worker *worker,
                       const struct rank *rank)
{
    (void)core;
    return rank->acked && worker_living(worker) &&
           (rank->state == CORE_RANK_READY || rank->state == CORE_RANK_MEMBER);
}

static bool wanted_staying(const struct core *core, const struct worker *worker,
                           const struct rank *rank)
{
    return worker->state != CORE_WORKER_LEAVING && wanted_any(core, worker, rank);
}

/* The highest position among the members' states, CORE_NONE: no member has any. */
static uint64_t newest_position(const struct core *core)
{
    uint64_t newest = CORE_NONE;

    for (uint32_t m = 0; m < core->member_count; m++) {
        const struct member *member = &core->member[m];
        const struct rank *rank = &core->worker[member->worker].rank[member->slot];

        if (rank->has_state && (newest == CORE_NONE || rank->position > newest))
            newest = rank->position;
    }
    return newest;
}

/* Who leaves is left out, unless that would take back a step that only the leaving have. */
static uint32_t choose_members(struct core *core, uint64_t *position)
{
    uint32_t workers;
    uint64_t all;

    plan_walk(core, wanted_any);
    all = newest_position(core);
    workers = plan_walk(core, wanted_staying);
    *position = newest_position(core);
    core->leave_later =
        workers > 0 && all != CORE_NONE && (*position == CORE_NONE || *position < all);
    if (core->leave_later) {
        workers = plan_walk(core, wanted_any);
        *position = all;
    }
    return workers;
}

static bool wanted_at_end(const struct core *core, const struct worker *worker,
                          const struct rank *rank)
{
    return wanted_any(core, worker, rank) && plan_rank_has(core, worker, rank, core->end_step);
}

/* Some have left, having made the last step.  Others that have it stand still, and get a word by
 * which they leave too; who became ready for this generation has no part in the end.  Members that
 * lack it need not come to it as long as somebody is there: they are not waited for.  Who was asked
 * to leave the job leaves with it (leave_later), as the last step may lie there only. */
static enum core_job_state form_end(struct core *core)
{
    core->next_position = core->end_step;
    core->next_workers = plan_walk(core, wanted_at_end);
    core->leave_later = true;
    core->broken = core->count[CORE_RANK_MEMBER] > core->member_count;
    return core->next_workers ? form_go(core) : finish_start(core);
}

enum core_job_state form_decide(struct core *core)
{
    uint64_t position;
    uint32_t workers;

    core->load.waits = false;
    if (core->ending)
        return form_end(core);
    workers = choose_members(core, &position);
    if (workers == 0 && !core->stopping && core->count[CORE_RANK_MEMBER] == 0) {
        core->load_until = CORE_NONE;
        ranks_start_all(core, false);
        return CORE_JOB_STARTING;
    }
    if (workers == 0 && core->stopping)
        return finish_start(core);
    if (workers < core->config.min_workers && !core->stopping)
        return CORE_JOB_HELD;
    core->next_position = position;
    core->next_workers = workers;
    if (position == CORE_NONE)
        return load_start(core);
    return form_go(core);
}

/* ---- go -------------------------------------------------------------------------------------- */

/* The union of what the hosts of the plan hold; false: it cannot be told, since a host said
 * nothing of this step, or since two hold the same shard. */
static bool union_done(const struct core *core, struct plan *plan, uint32_t *max_nodes)
{
    for (uint32_t h = 0; h < core->host_count; h++) {
        const struct host *host = &core->host[core->plan_hosts[h]];

        if (host->report.word != core->word || host->report.step != plan->deal_step)
            return false;
        if (host->report.max_nodes > *max_nodes)
            *max_nodes = host->report.max_nodes;
        for (uint32_t w = 0; w < SHARD_WORDS; w++) {
            if (plan->done[w] & host->report.done[w])
                return false;
            plan->done[w] |= host->report.done[w];
        }
    }
    return true;
}

/* Finished shards are kept when their sums and the largest new share fit a rank's bound.  On GPUs
 * those who are to leave told of none (ack_shards): where they are members all the same, their sums
 * would count twice. */
static void plan_shards(struct core *core, struct plan *plan)
{
    uint32_t shards = core->config.shards;
    uint32_t max_nodes = 0;
    rk_word lineage = plan_lineage(core, plan->deal_step);

    plan->lineage = lineage;
    if (lineage && !(core->config.on_gpus && core->leave_later) &&
        union_done(core, plan, &max_nodes) &&
        max_nodes + shards_share_nodes(plan->done, shards, plan->world) <=
            shards_rank_nodes(shards))
        return;
    plan->lineage = plan->word;
    memset(plan->done, 0, sizeof plan->done);
}

/* The first host, in the order of the plan, with a rank at `step`. */
static uint32_t state_host(const struct core *core, uint64_t step)
{
    for (uint32_t m = 0; m < core->member_count; m++) {
        const struct worker *worker = &core->worker[core->member[m].worker];
        const struct rank *rank = &worker->rank[core->member[m].slot];

        if (rank->has_state && rank->position == step)
            return worker->host;
    }
    return NONE;
}

static void plan_make(struct core *core, struct plan *plan)
{
    uint64_t position = core->next_position;

    *plan = (struct plan){
        .word = core->word,
        .world = core->member_count,
        .members = core->next_workers,
        .hosts = core->host_count,
        .state_host = NONE,
        .stop_at = core->plan.stop_at,
    };
    if (position != CORE_NONE) {
        plan->deal_step = position;
        plan->state_host = state_host(core, position);
        plan_shards(core, plan);
    } else {
        plan->lineage = plan->word;
        plan->restart = true;
        plan->fresh = !core->load.in_host;
        plan->deal_step = core->load.in_host ? core->load.step : 0;
        plan->state_host = core->load.in_host ? core->load.host : NONE;
    }
    if (core->stopping && plan->stop_at == CORE_NONE)
        plan->stop_at = plan->deal_step + 1;
    plan_note_members(core, plan);
}

/* Whoever was asked to leave may go.  Before the plan's carriers are looked for: those under a
 * worker that goes do not serve it. */
static void members_leave(struct core *core)
{
    uint32_t next;

    for (uint32_t i = core->heard.head; i != NONE && !core->leave_later; i = next) {
        const struct worker *worker = &core->worker[i];

        next = list_next(&core->heard, i);
        if (worker->state == CORE_WORKER_LEAVING)
            worker_lost(core, i, worker->draining ? CORE_REASON_DRAINED : CORE_REASON_SCALED, 0);
    }
}

static void members_go(struct core *core)
{
    for (uint32_t m = 0; m < core->member_count; m++) {
        struct worker *worker = &core->worker[core->member[m].worker];
        struct rank *rank = &worker->rank[core->member[m].slot];

        rank_move(core, worker, core->member[m].slot, RANK_EV_GO);
        rank->round = worker->round = core->round;
        worker->go_again = core->time + core->config.silence;
    }
}

void form_note(struct core *core)
{
    struct core_action *action;

    if (core->noted_generation == core->generation)
        return;
    core->noted_generation = core->generation;
    action = core_note_emit(core, CORE_NOTE_GENERATION_STARTED);
    action->word = rk_word_make(core->epoch, core->generation);
    action->workers = core->plan.members;
    action->world = core->plan.world;
    action->step = core->plan.deal_step;
}

/* Steps that were finished once and must be done again. */
static uint64_t steps_lost(const struct core *core, const struct plan *plan, bool in_place)
{
    uint64_t kept = plan->deal_step;

    if (in_place && core->acks.complete == kept + 1)
        kept++;
    return core->best_step > kept ? core->best_step - kept : 0;
}

enum core_job_state form_go(struct core *core)
{
    bool in_place = core->next_position != CORE_NONE;
    enum carriers_change carriers;
    struct plan plan;
    uint64_t lost;

    members_leave(core);
    plan_make(core, &plan);
    lost = steps_lost(core, &plan, in_place);
    core->best_step -= lost;
    carriers = carriers_prepare(core, &plan);
    core->plan = plan;
    core->adopting = core->step_seen = false;
    if (core->started && carriers != CARRIERS_LAUNCHED)
        record_soon(core);
    else
        record_now(core);
    core->started = true;
    core->load_until = CORE_NONE;
    carriers_say(core, carriers);
    members_go(core);
    core_emit(core, CORE_DO_GO);
    core->settled = core->time;
    form_note(core);
    losses_go(core, in_place, lost);
    core->load = (struct load){.worker = NONE, .host = NONE};
    checkpoint_go(core);
    return CORE_JOB_RUNNING;
}
