/* Places: where a job wants workers, who has them, and the launches for those that are empty. */
#include "coordinator/core/state.h"

#include <stdlib.h>

bool places_init(struct core *core)
{
    core->place = calloc(core->config.max_workers, sizeof *core->place);
    if (!core->place || !bits_init(&core->open, core->config.max_workers))
        return false;
    for (uint32_t p = 0; p < core->config.max_workers; p++)
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
    else
        *(place->state == PLACE_TAKEN ? &core->taken : &core->closed) -= 1;
    place->state = state;
    place->since = core->time;
    if (state == PLACE_EMPTY && p < core->target)
        bits_add(&core->open, p);
    else if (state == PLACE_LAUNCHING)
        list_append(&core->launching, p);
    else if (state == PLACE_COOLING)
        list_append(&core->cooling, p);
    else if (state != PLACE_EMPTY)
        *(state == PLACE_TAKEN ? &core->taken : &core->closed) += 1;
}

static void place_give(struct core *core, uint32_t p, uint32_t index)
{
    struct worker *worker = &core->worker[index];

    place_set(core, p, PLACE_TAKEN);
    core->place[p].worker = index;
    core->place[p].failures = 0;
    worker->place = p;
    if (core->state != CORE_JOB_GATHERING && core->state != CORE_JOB_RECOVERING && !core->ending &&
        !core->stopping) {
        ranks_name(core, worker);
        if (core->plan.program && program_mode(core))
            core->broken = true; /* all start anew, with a larger world */
        else
            ranks_start(core, worker, false);
    }
}

/* A spare worker moves into a place that became empty. */
static void place_fill(struct core *core)
{
    uint32_t p = bits_next(&core->open, 0);
    uint32_t index = core->spare.head;

    if (p == BITS_NONE || index == NONE)
        return;
    list_remove(&core->spare, index);
    place_give(core, p, index);
}

/* A ticket that was given up is void.  Those of an earlier life are only known by their place. */
static bool place_expects(const struct core *core, uint32_t p, uint32_t ticket)
{
    const struct place *place = &core->place[p];

    if (place->state == PLACE_LAUNCHING)
        return place->ticket == ticket;
    if (place->state == PLACE_EMPTY && p < core->target)
        return true;
    return core->adopting;
}

bool place_take(struct core *core, uint32_t index, uint32_t ticket)
{
    struct worker *worker = &core->worker[index];
    uint32_t p = BITS_NONE;

    worker->ticket = ticket;
    if (ticket && core->config.launches) {
        p = (ticket - 1) % core->config.max_workers;
        if (!place_expects(core, p, ticket)) {
            list_append(&core->spare, index);
            return false;
        }
        if (core->place[p].state == PLACE_TAKEN || p >= core->target)
            p = BITS_NONE;
    }
    if (p == BITS_NONE)
        p = bits_next(&core->open, 0);
    if (p == BITS_NONE)
        list_append(&core->spare, index);
    else
        place_give(core, p, index);
    return true;
}

void place_leave(struct core *core, struct worker *worker)
{
    uint32_t p = worker->place;

    if (p == NONE) {
        if (worker->state == CORE_WORKER_PRESENT)
            list_remove(&core->spare, (uint32_t)(worker - core->worker));
        return;
    }
    worker->place = NONE;
    core->place[p].worker = NONE;
    place_set(core, p, PLACE_EMPTY);
    place_fill(core);
}

void place_launch_failed(struct core *core, uint32_t ticket, bool final)
{
    uint32_t p = ticket ? (ticket - 1) % core->config.max_workers : 0;
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

/* Workers in places that are no longer wanted are asked to leave; the next generation is without
 * them (form.c). */
void places_target(struct core *core, uint32_t target)
{
    uint32_t old = core->target;

    core->target = target;
    for (uint32_t p = target; p < core->config.max_workers && p < old; p++) {
        struct place *place = &core->place[p];

        if (place->state == PLACE_EMPTY) {
            bits_remove(&core->open, p);
        } else if (place->state == PLACE_TAKEN) {
            worker_leave(core, place->worker);
        } else {
            place_set(core, p, PLACE_EMPTY);
        }
    }
    for (uint32_t p = 0; p < target; p++) {
        struct place *place = &core->place[p];

        if (place->state == PLACE_EMPTY) {
            bits_add(&core->open, p);
            place_fill(core);
        }
    }
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
    return core->config.launches && core->state != CORE_JOB_RECOVERING && !core->ending &&
           !core->stopping && bits_next(&core->open, 0) != BITS_NONE;
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
        uint32_t last = place->ticket ? (place->ticket - 1) / core->config.max_workers : 0;
        struct core_action *action;

        if (last >= core->launch_serial || core->launch_serial == 0) {
            core->launch_serial++;
            recorded = false;
        }
        if (!recorded)
            record_now(core);
        recorded = true;
        place->ticket = 1 + p + core->config.max_workers * core->launch_serial;
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
