/* Workers that will end soon, and say so: their node is drained, their pod is evicted.
 *
 *   told --> its place is given up, a spare takes it or another worker is launched
 *        --> it goes on as a member until its successor's ranks are ready, or its time is near
 *        --> LEAVING: the next generation is without it, and with all that it did; then it is out
 *
 * So nothing is lost and nobody waits.  A worker without which no state would be left does not
 * leave before somebody has it; a checkpoint is made at once instead. */
#include "coordinator/core/state.h"

#define UNTOLD (30 * RK_S) /* time to the end where nobody says: what Kubernetes gives a pod */

void drain_init(struct core *core)
{
    list_init(&core->draining, &core->worker->drain, sizeof *core->worker);
    core->drain_next = CORE_NONE;
}

static void find_next(struct core *core)
{
    core->drain_next = CORE_NONE;
    for (uint32_t i = core->draining.head; i != NONE; i = list_next(&core->draining, i))
        if (core->worker[i].leave_at < core->drain_next)
            core->drain_next = core->worker[i].leave_at;
}

/* Leaving takes a freeze at a step's end: it begins a silence before the end comes. */
static uint64_t leave_at(const struct core *core, uint64_t within)
{
    uint64_t left = within ? within : UNTOLD;
    uint64_t early = left / 2 < core->config.silence ? left / 2 : core->config.silence;

    return left < CORE_NONE - core->time ? core->time + left - early : CORE_NONE;
}

static uint32_t working(const struct worker *worker)
{
    return worker->count[CORE_RANK_READY] + worker->count[CORE_RANK_MEMBER] +
           worker->count[CORE_RANK_LEFT];
}

/* Whether members stay that do not drain. */
static bool others_stay(const struct core *core)
{
    uint32_t members = core->members;

    for (uint32_t i = core->draining.head; i != NONE; i = list_next(&core->draining, i))
        members -= core->worker[i].state == CORE_WORKER_MEMBER;
    return members > 0;
}

void drain_start(struct core *core, uint32_t index, uint64_t within)
{
    struct worker *worker = &core->worker[index];

    if (worker->state == CORE_WORKER_LEAVING || core->ending || core->stopping)
        return; /* it ends anyway */
    if (worker->draining) {
        if (within)
            worker->leave_at = leave_at(core, within);
        find_next(core);
        return;
    }
    worker->draining = true;
    worker->successor = worker->place;
    worker->leave_at = leave_at(core, within);
    list_append(&core->draining, index);
    find_next(core);
    place_leave(core, worker);
    if (!worker->draining)
        return; /* a spare has replaced it already */
    if (working(worker) == 0 && !(program_mode(core) && worker->count[CORE_RANK_STARTING]))
        worker_lost(core, index, CORE_REASON_DRAINED, 0);
    else if (!others_stay(core))
        checkpoint_hurry(core);
}

void drain_worker_lost(struct core *core, struct worker *worker)
{
    if (!worker->draining)
        return;
    worker->draining = false;
    list_remove(&core->draining, (uint32_t)(worker - core->worker));
    find_next(core);
}

static bool succeeded(const struct core *core, const struct worker *worker)
{
    const struct worker *other;

    if (worker->successor == NONE || core->place[worker->successor].state != PLACE_TAKEN)
        return false;
    other = &core->worker[core->place[worker->successor].worker];
    return !other->idle && other->count[CORE_RANK_EMPTY] + other->count[CORE_RANK_STARTING] == 0;
}

/* Whether somebody who stays has the state: all members do, once they have made a step. */
static bool state_stays(const struct core *core)
{
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        const struct worker *worker = &core->worker[i];

        if (worker->draining || worker->state != CORE_WORKER_MEMBER)
            continue;
        for (uint32_t s = 0; s < worker->slots; s++)
            if (worker->rank[s].state == CORE_RANK_MEMBER &&
                (worker->rank[s].has_state || core->step_seen))
                return true;
    }
    return false;
}

void drains_form(struct core *core)
{
    bool kept = core->draining.count && state_stays(core);

    core->drain_later = false;
    for (uint32_t i = core->draining.head; i != NONE; i = list_next(&core->draining, i)) {
        struct worker *worker = &core->worker[i];

        if (worker->state == CORE_WORKER_LEAVING || !succeeded(core, worker))
            continue;
        if (kept)
            worker_set(core, worker, CORE_WORKER_LEAVING);
        else
            core->drain_later = true;
    }
}

void drains_replaced(struct core *core, uint32_t p)
{
    uint32_t after;

    if (!program_mode(core))
        return;
    for (uint32_t i = core->draining.head; i != NONE; i = after) {
        after = list_next(&core->draining, i);
        if (core->worker[i].successor == p)
            worker_lost(core, i, CORE_REASON_DRAINED, 0);
    }
}

/* All start anew without those who are to go: what they still run belongs to the start before. */
void drains_drop(struct core *core)
{
    uint32_t after;

    for (uint32_t i = core->draining.head; i != NONE; i = after) {
        after = list_next(&core->draining, i);
        if (core->worker[i].place == NONE)
            worker_lost(core, i, CORE_REASON_DRAINED, 0);
    }
}

static void leave(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];

    worker->leave_at = CORE_NONE;
    if (worker->state == CORE_WORKER_LEAVING)
        return;
    if (working(worker) == 0 || program_mode(core)) {
        worker_lost(core, index, CORE_REASON_DRAINED, 0);
    } else if (others_stay(core)) {
        worker_set(core, worker, CORE_WORKER_LEAVING);
        core->broken = true;
    }
}

/* Where the job is at its end all go soon, and until then a draining worker's host may be the only
 * one that has the last state. */
uint64_t drains_deadline(const struct core *core)
{
    return core->state == CORE_JOB_RECOVERING || core->ending ? CORE_NONE : core->drain_next;
}

void drains_tick(struct core *core)
{
    uint32_t after;

    if (core->time < drains_deadline(core))
        return;
    for (uint32_t i = core->draining.head; i != NONE; i = after) {
        after = list_next(&core->draining, i);
        if (core->worker[i].leave_at <= core->time)
            leave(core, i);
    }
    find_next(core);
}
