/* Places: where a job wants workers, who has them, and the launches for those that are empty.
 *
 * Those below the target are the job's.  From there on as many are a spare's: its worker waits, and
 * moves into a place of the job that becomes empty; then another spare is launched. */
#include "coordinator/core/state.h"

#include <stdlib.h>

bool places_init(struct core *core)
{
    core->places = core->config.max_workers + core->config.spares;
    core->place = calloc(core->places, sizeof *core->place);
    if (!core->place || !bits_init(&core->open, core->places))
        return false;
    for (uint32_t p = 0; p < core->places; p++)
        core->place[p].worker = NONE;
    list_init(&core->launching, &core->place->link, sizeof *core->place);
    list_init(&core->cooling, &core->place->link, sizeof *core->place);
    list_init(&core->spare, &core->worker->spare, sizeof *core->worker);
    return true;
}

void places_done(struct core *core)
{
    bits_done(&core->open);
    free(core->place);
}

/* Places that are wanted: the job's and the spares'. */
static uint32_t wanted(const struct core *core)
{
    return core->target + core->config.spares;
}

/* The one function that assigns a place's state. */
static void place_set(struct core *core, uint32_t p, enum place_state state)
{
    struct place *place = &core->place[p];

    if (place->state == PLACE_EMPTY)
        bits_remove(&core->open, p);
    else if (place->state == PLACE_LAUNCHING)
        list_remove(&core->launching, p);
    else if (place->state == PLACE_COOLING)
        list_remove(&core->cooling, p);
    else if (p < core->target)
        *(place->state == PLACE_TAKEN ? &core->taken : &core->closed) -= 1;
    place->state = state;
    place->since = core->time;
    if (state == PLACE_EMPTY && p < wanted(core))
        bits_add(&core->open, p);
    else if (state == PLACE_LAUNCHING)
        list_append(&core->launching, p);
    else if (state == PLACE_COOLING)
        list_append(&core->cooling, p);
    else if (state != PLACE_EMPTY && p < core->target)
        *(state == PLACE_TAKEN ? &core->taken : &core->closed) += 1;
}

static void idle_start(struct core *core, uint32_t index)
{
    core->worker[index].idle = true;
    list_append(&core->spare, index);
}

static void idle_end(struct core *core, uint32_t index)
{
    core->worker[index].idle = false;
    list_remove(&core->spare, index);
}

/* Its worker takes part from now on. */
static void place_begin(struct core *core, uint32_t p)
{
    struct worker *worker = &core->worker[core->place[p].worker];

    if (core->state == CORE_JOB_GATHERING || core->state == CORE_JOB_RECOVERING || core->ending ||
        core->stopping)
        return;
    ranks_name(core, worker);
    if (program_mode(core) &&
        (core->plan.program || core->count[CORE_RANK_STARTING] + core->count[CORE_RANK_DONE] == 0))
        core->broken = true; /* all start anew, with a larger world; or there is nobody else */
    else if (core->config.mode == CORE_PROGRAM && core->state == CORE_JOB_STARTING)
        core->came_late = true; /* so too, once they run: they were told of a smaller one */
    else
        ranks_start(core, worker, false);
    drains_replaced(core, p);
}

static void place_give(struct core *core, uint32_t p, uint32_t index)
{
    place_set(core, p, PLACE_TAKEN);
    core->place[p].worker = index;
    core->place[p].failures = 0;
    core->worker[index].place = p;
    if (p < core->target)
        place_begin(core, p);
    else
        idle_start(core, index);
}

/* Nobody has it any more. */
static void place_free(struct core *core, struct worker *worker)
{
    uint32_t p = worker->place;

    worker->place = NONE;
    core->place[p].worker = NONE;
    place_set(core, p, PLACE_EMPTY);
}

/* A spare worker moves into a place that became empty. */
static void place_fill(struct core *core)
{
    uint32_t p = bits_next(&core->open, 0);
    uint32_t index = core->spare.head;

    if (p == BITS_NONE || p >= core->target || index == NONE)
        return;
    idle_end(core, index);
    if (core->worker[index].place != NONE)
        place_free(core, &core->worker[index]);
    place_give(core, p, index);
}

/* A ticket that was given up is void; a new coordinator does not know which those are. */
static bool place_expects(const struct core *core, uint32_t p, uint32_t ticket)
{
    const struct place *place = &core->place[p];

    if (core->adopting || (place->state == PLACE_EMPTY && p < wanted(core)))
        return true;
    return place->state == PLACE_LAUNCHING && place->ticket == ticket;
}

/* Whether it can be the place of its ticket's worker: no other has it or is to have it. */
static bool place_suits(const struct core *core, uint32_t p, uint32_t ticket, bool history)
{
    const struct place *place = &core->place[p];

    return p < (history ? core->target : wanted(core)) && place->state != PLACE_TAKEN &&
           (place->state != PLACE_LAUNCHING || place->ticket == ticket);
}

bool place_take(struct core *core, uint32_t index, uint32_t ticket, bool history)
{
    struct worker *worker = &core->worker[index];
    uint32_t p = BITS_NONE;

    worker->ticket = ticket;
    if (ticket && core->config.launches) {
        p = (ticket - 1) % core->places;
        if (!place_expects(core, p, ticket))
            return false;
        if (!place_suits(core, p, ticket, history))
            p = BITS_NONE;
    }
    if (p == BITS_NONE)
        p = bits_next(&core->open, 0);
    if (p == BITS_NONE || (history && p >= core->target))
        idle_start(core, index);
    else
        place_give(core, p, index);
    return true;
}

void place_leave(struct core *core, struct worker *worker)
{
    if (worker->idle)
        idle_end(core, (uint32_t)(worker - core->worker));
    if (worker->place == NONE)
        return;
    place_free(core, worker);
    place_fill(core);
}

/* What an earlier coordinator launched and is still to come. */
void places_launched(struct core *core, const uint32_t *ticket, uint32_t count)
{
    if (core->launches_known || !core->config.launches) {
        core_refuse_event(core);
        return;
    }
    core->launches_known = true;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t p = (ticket[i] - 1) % core->places;

        if (ticket[i] == 0 || p >= wanted(core) || core->place[p].state != PLACE_EMPTY)
            continue;
        core->place[p].ticket = ticket[i];
        place_set(core, p, PLACE_LAUNCHING);
    }
}

void place_launch_failed(struct core *core, uint32_t ticket, bool final)
{
    uint32_t p = ticket ? (ticket - 1) % core->places : 0;
    struct place *place = &core->place[p];

    if (ticket == 0 || place->state != PLACE_LAUNCHING || place->ticket != ticket) {
        core_refuse_event(core);
        return;
    }
    place->failures++;
    place_set(core, p, final || place->failures >= LAUNCH_TRIES ? PLACE_CLOSED : PLACE_COOLING);
}

static void worker_leave(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];

    if (worker->count[CORE_RANK_READY] + worker->count[CORE_RANK_MEMBER] == 0) {
        worker_lost(core, index, CORE_REASON_SCALED, 0);
        return;
    }
    worker_set(core, worker, CORE_WORKER_LEAVING);
    core->broken = true;
}

static void places_count(struct core *core)
{
    core->taken = core->closed = 0;
    for (uint32_t p = 0; p < core->target; p++) {
        core->taken += core->place[p].state == PLACE_TAKEN;
        core->closed += core->place[p].state == PLACE_CLOSED;
    }
}

/* No longer wanted, neither for the job nor for a spare. */
static void place_drop(struct core *core, uint32_t p)
{
    struct place *place = &core->place[p];

    if (place->state == PLACE_EMPTY)
        bits_remove(&core->open, p);
    else if (place->state != PLACE_TAKEN)
        place_set(core, p, PLACE_EMPTY);
    else if (core->worker[place->worker].state != CORE_WORKER_LEAVING)
        worker_leave(core, place->worker);
}

static void place_join(struct core *core, uint32_t p)
{
    const struct place *place = &core->place[p];

    if (place->state == PLACE_EMPTY) {
        bits_add(&core->open, p);
        place_fill(core);
    } else if (place->state == PLACE_TAKEN && core->worker[place->worker].idle) {
        idle_end(core, place->worker);
        place_begin(core, p);
    }
}

/* Workers in places that are no longer the job's are asked to leave; the next generation is without
 * them (form.c). */
void places_target(struct core *core, uint32_t target)
{
    uint32_t old = core->target;

    core->target = target;
    places_count(core);
    for (uint32_t p = target; p < core->places; p++) {
        if (p >= wanted(core))
            place_drop(core, p);
        else if (core->place[p].state == PLACE_EMPTY)
            bits_add(&core->open, p);
        else if (p < old && core->place[p].state == PLACE_TAKEN)
            worker_leave(core, core->place[p].worker);
    }
    for (uint32_t p = 0; p < target; p++)
        place_join(core, p);
}

void places_tick(struct core *core)
{
    if (core->state == CORE_JOB_RECOVERING)
        return;
    while (core->launching.count) {
        uint32_t p = core->launching.head;
        struct core_action *action;

        if (core->place[p].since + core->config.launch_timeout > core->time || !core_room(core))
            break;
        action = core_emit(core, CORE_DO_KILL_WORKER);
        action->ticket = core->place[p].ticket;
        action->place = p;
        place_launch_failed(core, core->place[p].ticket, false);
    }
    while (core->cooling.count &&
           core->place[core->cooling.head].since + core->config.silence <= core->time)
        place_set(core, core->cooling.head, PLACE_EMPTY);
}

bool places_wait(const struct core *core)
{
    return core->config.launches && core->launches_known && core->state != CORE_JOB_RECOVERING &&
           !core->ending && !core->stopping && bits_next(&core->open, 0) != BITS_NONE;
}

/* Launches into empty places, as many as one step has room for; the rest follow at once. */
void places_launch(struct core *core)
{
    uint32_t p;
    bool recorded = false;

    if (!places_wait(core))
        return;
    while (core_room(core) && (p = bits_next(&core->open, 0)) != BITS_NONE) {
        struct place *place = &core->place[p];
        uint32_t last = place->ticket ? (place->ticket - 1) / core->places : 0;
        struct core_action *action;

        if (last >= core->launch_serial || core->launch_serial == 0) {
            core->launch_serial++;
            recorded = false;
        }
        if (!recorded)
            record_now(core);
        recorded = true;
        place->ticket = 1 + p + core->places * core->launch_serial;
        action = core_emit(core, CORE_DO_LAUNCH);
        action->ticket = place->ticket;
        action->place = p;
        place_set(core, p, PLACE_LAUNCHING);
    }
}

/* Too few workers can still come: no launch will be tried again. */
bool places_hopeless(const struct core *core)
{
    uint32_t target = core->target;

    return core->config.launches && core->closed > 0 && core->state != CORE_JOB_RECOVERING &&
           target - (core->closed < target ? core->closed : target) < core->config.min_workers &&
           core->taken < core->config.min_workers;
}
