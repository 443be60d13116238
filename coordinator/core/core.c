/* The coordinator's mind: birth, one step, time.
 *
 *             hello                ranks ready             acks
 *   GATHERING ------> STARTING ----------------> FORMING -------> RUNNING --> FINISHING --> ENDED
 *                        ^                        ^  |  \           |  ^
 *   RECOVERING ----------+------------------------+  |   LOADING ---|--+
 *                        ^                           v              |
 *                        +-- all ranks lost --- HELD +-- a loss ----+ (FORMING again)
 *
 * What is true after each step (core_check walks it in debug builds):
 *
 *   I1  The words only grow: the epoch of `word` is never above ours, `plan.word` never above
 *       `word`, and a worker that is alive has acked no word but the one it was asked for.
 *   I2  Counters are sums: living workers, members, ranks by state, ranks that wait, ranks not
 *       seen yet, acks that are missing.
 *   I3  A living worker stands in the list of those heard; a lost one in the list of the lost, has
 *       no rank, no name, no place, and is no member.
 *   I4  A worker is MEMBER if and only if one of its ranks is a member or has left.
 *   I5  A name has one owner, and the owner has that name; free names have none.
 *   I6  A place is taken by a worker that knows it, and stands in at most one list.
 *   I7  While FORMING, LOADING or HELD no rank is told to go on: `word` is above `plan.word`.
 *       While RUNNING they are equal, or the program does not use the library.
 *   I8  At most one attempt of a checkpoint is under way, and every part of it that is missing is
 *       owed by a living worker.
 *   I9  Restarts spent within the window are the sum of their buckets and never above the budget.
 *   I10 Whoever is owed something stands in the list of those owed, and the next deadline is now.
 *   I11 The carriers that the plan names serve, no others; what stands by is another launch, and no
 *       launch has a number that was not given.
 *   I12 Carriers that serve are all there, or starting, or broken; no more live than were launched.
 *   I13 A worker that waits as a spare has no place below the target; one that drains has no place
 *       at all, and does not wait.
 */
#include "coordinator/core/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ACTIONS_FOR_ALL 40u /* the rest is for what a single event causes */

void list_init(struct list *list, struct link *first, size_t stride)
{
    *list = (struct list){.links = (unsigned char *)first, .stride = stride};
    list->head = list->tail = NONE;
}

static struct link *list_at(const struct list *list, uint32_t index)
{
    return (struct link *)(void *)(list->links + list->stride * index);
}

uint32_t list_next(const struct list *list, uint32_t index)
{
    return list_at(list, index)->next;
}

void list_append(struct list *list, uint32_t index)
{
    *list_at(list, index) = (struct link){list->tail, NONE};
    if (list->tail != NONE)
        list_at(list, list->tail)->next = index;
    else
        list->head = index;
    list->tail = index;
    list->count++;
}

void list_remove(struct list *list, uint32_t index)
{
    struct link link = *list_at(list, index);

    if (link.prev != NONE)
        list_at(list, link.prev)->next = link.next;
    else
        list->head = link.next;
    if (link.next != NONE)
        list_at(list, link.next)->prev = link.prev;
    else
        list->tail = link.prev;
    list->count--;
}

/* ---- birth ----------------------------------------------------------------------------------- */

static int config_check(const struct core_config *c, const struct core_record *record,
                        uint32_t epoch, struct rk_why *why)
{
    if (c->max_workers == 0 || c->min_workers == 0 || c->min_workers > c->max_workers)
        return rk_fail(why, RK_EINVAL, "workers %u:%u cannot be: give MIN:MAX with 1 <= MIN <= MAX",
                       c->min_workers, c->max_workers);
    if (c->target_workers < c->min_workers || c->target_workers > c->max_workers)
        return rk_fail(why, RK_EINVAL, "%u workers wanted, but the bounds are %u:%u",
                       c->target_workers, c->min_workers, c->max_workers);
    if (c->spares > c->capacity_workers || c->capacity_workers - c->spares < c->max_workers ||
        c->capacity_workers > UINT32_C(1) << 24)
        return rk_fail(why, RK_EINVAL, "room for %u workers, but at most %u may come, and %u spare",
                       c->capacity_workers, c->max_workers, c->spares);
    if (c->slots == 0 || c->slots > RK_MAX_SLOTS || c->max_slots > RK_MAX_SLOTS ||
        (c->max_slots && c->max_slots < c->slots))
        return rk_fail(why, RK_EINVAL, "%u slots cannot be: give 1 to %u", c->slots, RK_MAX_SLOTS);
    if (c->shards == 0 || c->shards > RK_MAX_SHARDS || (c->shards & (c->shards - 1)))
        return rk_fail(why, RK_EINVAL, "%u shards cannot be: give a power of two up to %u",
                       c->shards, RK_MAX_SHARDS);
    if (c->silence == 0 || c->launch_timeout == 0 || c->carrier_timeout == 0 ||
        c->recover_timeout == 0 || c->checkpoint_timeout == 0 || c->restart_window == 0)
        return rk_fail(why, RK_EINVAL, "a timeout of 0 cannot be kept: give a time above 0");
    if (epoch == 0 || epoch >= UINT32_C(1) << 24 || (record && epoch <= record->epoch))
        return rk_fail(why, RK_EINVAL, "epoch %u is not above that of the record (%u)", epoch,
                       record ? record->epoch : 0);
    return 0;
}

void core_free(struct core *core)
{
    if (!core)
        return;
    members_done(core);
    places_done(core);
    bits_done(&core->names);
    free(core->name_owner);
    free(core->member);
    free(core->plan_hosts);
    free(core);
}

static bool core_allocate(struct core *core)
{
    uint32_t ranks = core->config.capacity_workers * core->config.max_slots;

    core->name_owner = malloc(ranks * sizeof *core->name_owner);
    core->member = calloc(ranks, sizeof *core->member);
    core->plan_hosts = calloc(core->config.capacity_workers, sizeof *core->plan_hosts);
    if (!core->name_owner || !core->member || !core->plan_hosts || !bits_init(&core->names, ranks))
        return false;
    for (uint32_t name = 0; name < ranks; name++) {
        core->name_owner[name] = NONE;
        bits_add(&core->names, name);
    }
    return members_init(core) && places_init(core);
}

int core_new(const struct core_config *config, const struct core_record *record, uint32_t epoch,
             uint64_t now, struct core **out, struct rk_why *why)
{
    struct core *core;
    int rc = config_check(config, record, epoch, why);

    if (rc)
        return rc;
    core = calloc(1, sizeof *core);
    if (!core)
        return rk_fail(why, RK_ENOMEM, "no memory for the coordinator's mind");
    core->config = *config;
    if (core->config.max_slots == 0)
        core->config.max_slots = config->slots;
    core->epoch = epoch;
    core->born = core->now = core->time = now;
    core->target = config->target_workers;
    core->plan.state_host = core->load.worker = core->load.host = NONE;
    core->plan.stop_at = CORE_NONE;
    core->fatal_rank = CORE_NO_RANK;
    core->end_step = core->grace = core->ready_since = core->load_until = CORE_NONE;
    core->state = CORE_JOB_GATHERING;
    core->launches_known = record == NULL;
    checkpoint_init(core);
    if (!core_allocate(core)) {
        core_free(core);
        return rk_fail(why, RK_ENOMEM, "no memory for %u workers: give a smaller --workers",
                       config->capacity_workers);
    }
    if (record)
        record_apply(core, record);
    places_target(core, core->target);
    *out = core;
    return 0;
}

/* ---- actions --------------------------------------------------------------------------------- */

bool core_room(const struct core *core)
{
    return core->out->count < ACTIONS_FOR_ALL;
}

struct core_action *core_emit(struct core *core, enum core_action_kind kind)
{
    struct core_actions *out = core->out;
    struct core_action *action;

    assert(out->count < CORE_MAX_ACTIONS);
    action = &out->action[out->count++];
    *action = (struct core_action){.kind = kind, .rank = CORE_NO_RANK, .word = core->word};
    return action;
}

struct core_action *core_note_emit(struct core *core, enum core_note note)
{
    struct core_action *action = core_emit(core, CORE_DO_EVENT);

    action->note = note;
    return action;
}

void core_refuse_event(struct core *core)
{
    core->refused++;
}

uint64_t core_refused(const struct core *core)
{
    return core->refused;
}

/* ---- one step -------------------------------------------------------------------------------- */

/* A loop that was late heard late: all that is waited for gets as much more time. */
static void time_take(struct core *core, const struct core_event *event)
{
    if (event->now > core->now)
        core->now = event->now;
    if (event->kind == CORE_EV_TICK && event->tick.late <= core->now - core->late - core->born)
        core->late += event->tick.late;
    if (core->now - core->late > core->time)
        core->time = core->now - core->late;
}

static void scale(struct core *core, uint32_t workers)
{
    if (workers < core->config.min_workers || workers > core->config.max_workers ||
        core->stopping || core->ending) {
        core_refuse_event(core);
        return;
    }
    if (workers == core->target)
        return;
    places_target(core, workers);
    core_note_emit(core, CORE_NOTE_SCALED)->workers = workers;
    record_later(core);
}

static void stop(struct core *core, const struct core_event *event)
{
    if (event->kind == CORE_EV_STOP && !core->stopping) {
        core->stopping = true;
        core->stop_signal = event->stop.signal;
        finish_hurry(core);
        record_later(core);
        return;
    }
    if (event->kind == CORE_EV_STOP && event->stop.signal)
        core->stop_signal = event->stop.signal;
    if (event->kind == CORE_EV_KILL)
        job_fail(core, 137, CORE_REASON_KILL, CORE_NO_RANK);
    else
        job_fail(core, core->stop_signal ? 128 + core->stop_signal : 0, CORE_REASON_STOP,
                 CORE_NO_RANK);
}

static void take_event(struct core *core, const struct core_event *event)
{
    switch (event->kind) {
    case CORE_EV_TICK:
        break;
    case CORE_EV_CHECKPOINTS:
        load_found(core, event);
        break;
    case CORE_EV_COMMITTED:
        checkpoint_committed(core, event);
        break;
    case CORE_EV_LAUNCH_FAILED:
        place_launch_failed(core, event->launch_failed.ticket, event->launch_failed.final);
        break;
    case CORE_EV_LAUNCHED:
        places_launched(core, event->launched.ticket, event->launched.count);
        break;
    case CORE_EV_SCALE:
        scale(core, event->scale.workers);
        break;
    case CORE_EV_STOP:
    case CORE_EV_KILL:
        stop(core, event);
        break;
    case CORE_EV_COUNT_:
        core_refuse_event(core);
        break;
    default:
        members_event(core, event);
        break;
    }
}

/* What is due by now.  Silence is told only when a tick says how late the loop was. */
static void take_time(struct core *core, bool tick)
{
    if (!core->noted_start) {
        core->noted_start = true;
        if (!core->started)
            core_note_emit(core, CORE_NOTE_JOB_STARTED)->workers = core->target;
    }
    if (!tick)
        return;
    workers_silent(core);
    drains_tick(core);
    places_tick(core);
    carriers_tick(core);
    form_tick(core);
    checkpoint_tick(core);
}

/* Workers that a new coordinator waited for in vain: nobody knows their ids any more. */
static void tell_absent(struct core *core)
{
    while (core->absent && core_room(core)) {
        core_note_emit(core, CORE_NOTE_WORKER_LOST)->reason = CORE_REASON_SILENT;
        core->absent--;
    }
}

static void check(struct core *core)
{
#ifndef NDEBUG
    const char *broken = core_check(core, 16);

    if (broken) {
        core->state = CORE_JOB_COUNT_;
        assert(!"an invariant of the core is broken: see core_check");
    }
#endif
    (void)core;
}

void core_step(struct core *core, const struct core_event *event, struct core_actions *actions)
{
    actions->count = 0;
    core->out = actions;
    time_take(core, event);
    if (core->state == CORE_JOB_ENDED) {
        if (event->kind != CORE_EV_TICK)
            core_refuse_event(core);
    } else {
        take_event(core, event);
        take_time(core, event->kind == CORE_EV_TICK);
        job_consider(core);
    }
    if (core->state != CORE_JOB_ENDED) {
        places_launch(core);
        carriers_consider(core);
    }
    tell_absent(core);
    workers_pay(core);
    if ((core->record_later || core->record_soon) && !core->finish_said) {
        core_emit(core, CORE_DO_RECORD)->later = !core->record_later;
        core->record_later = core->record_soon = false;
    }
    if (core->state == CORE_JOB_ENDED && core->owing.count == 0 && core->absent == 0)
        job_consider(core);
    check(core);
    core->out = NULL;
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_places(const struct core *core)
{
    uint64_t deadline = CORE_NONE;

    if (core->state == CORE_JOB_RECOVERING)
        return CORE_NONE;
    if (core->launching.count)
        deadline = core->place[core->launching.head].since + core->config.launch_timeout;
    if (core->cooling.count)
        deadline = sooner(deadline, core->place[core->cooling.head].since + core->config.silence);
    if (places_wait(core))
        deadline = core->time;
    return deadline;
}

static uint64_t deadline_formed(const struct core *core)
{
    uint64_t deadline = CORE_NONE;

    if (core->ready_since != CORE_NONE && !core->ending)
        deadline = core->ready_since + form_settle(core);
    return core->load.waits ? sooner(deadline, core->load_until) : deadline;
}

static uint64_t deadline_job(const struct core *core)
{
    switch (core->state) {
    case CORE_JOB_GATHERING:
        return core->time < core->born + core->config.gather ? core->born + core->config.gather
                                                             : CORE_NONE;
    case CORE_JOB_RECOVERING:
        return recover_until(core);
    case CORE_JOB_FORMING:
        return core->formed_since + core->config.silence;
    case CORE_JOB_STARTING:
        if (core->broken)
            return job_again(core);
        if (program_mode(core))
            return core->time < core->started_since + AUTO_SETTLE
                       ? core->started_since + AUTO_SETTLE
                       : CORE_NONE;
        if (core->ready_since == CORE_NONE || core->ready_since + core->config.gather <= core->time)
            return CORE_NONE;
        return core->ready_since + core->config.gather;
    case CORE_JOB_RUNNING:
    case CORE_JOB_HELD:
        return core->broken ? job_again(core) : deadline_formed(core);
    case CORE_JOB_FINISHING:
        return core->grace > core->time ? core->grace : CORE_NONE;
    default:
        return CORE_NONE;
    }
}

uint64_t core_deadline(const struct core *core)
{
    uint64_t deadline;

    if (core->state == CORE_JOB_ENDED)
        return core->finish_said ? CORE_NONE : core->now;
    if (core->owing.count || core->absent || !core->noted_start)
        return core->now;
    deadline = deadline_places(core);
    deadline = sooner(deadline, deadline_job(core));
    deadline = sooner(deadline, drains_deadline(core));
    deadline = sooner(deadline, carriers_deadline(core));
    deadline = sooner(deadline, checkpoint_deadline(core));
    if (core->heard.count)
        deadline =
            sooner(deadline, core->worker[core->heard.head].last_heard + core->config.silence);
    return deadline == CORE_NONE ? CORE_NONE : deadline + core->late;
}
