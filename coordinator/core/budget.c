/* What losses cost: the restart budget, a program's failures in a row, and `recovered`.
 *
 * A round is what counts once: it begins when all that runs was taken into a generation, or when a
 * loss was counted.  A loss is counted if what was lost was started, or taken in, since the round
 * began; so of 512 losses in one generation one counts, and what dies again and again before it is
 * ever taken in counts each time.
 *
 * What was spent lies in buckets of a 64th of the window, so that any budget takes the same room.
 * The newest bucket begins with a loss; those that are a window old are forgotten whole. */
#include "coordinator/core/state.h"

#include <string.h>

#define COMM_FAILURES 3u /* in a row without a step, then a fourth is one too many */

void losses_add(struct core *core, uint64_t detect)
{
    if (core->pending.count++ == 0 && !core->pending.carriers)
        core->pending.first = core->now - (detect < core->now ? detect : 0);
    if (detect > core->pending.detect)
        core->pending.detect = detect;
}

void losses_carriers(struct core *core)
{
    if (core->pending.count == 0 && !core->pending.carriers)
        core->pending.first = core->now;
    core->pending.carriers = true;
}

/* Nobody is lost, and the same ranks meet again; not for ever. */
void budget_comm_failed(struct core *core)
{
    losses_carriers(core);
    budget_spend(core);
    if (++core->comm_failures > COMM_FAILURES)
        job_fail(core, 69, CORE_REASON_COMM, CORE_NO_RANK);
}

/* A generation goes on: what was lost before it recovers with its first step. */
void losses_go(struct core *core, bool in_place, uint64_t lost_steps)
{
    struct losses *healing = &core->healing;

    if (core->pending.count || core->pending.carriers) {
        if (healing->count == 0 && !healing->carriers)
            *healing = (struct losses){.first = core->pending.first, .in_place = true};
        healing->count += core->pending.count;
        healing->carriers = healing->carriers || core->pending.carriers;
        if (core->pending.detect > healing->detect)
            healing->detect = core->pending.detect;
        core->pending = (struct losses){0};
    }
    healing->in_place = healing->in_place && in_place;
    healing->lost_steps += lost_steps;
}

void budget_recovered(struct core *core)
{
    struct core_action *action;

    if (core->healing.count == 0 && !core->healing.carriers)
        return;
    action = core_note_emit(core, CORE_NOTE_RECOVERED);
    action->in_place = core->healing.in_place;
    action->losses = core->healing.count;
    action->lost_steps = core->healing.lost_steps;
    action->detect = core->healing.detect;
    action->recover = core->now - core->healing.first;
    action->carriers = core->carrier_way;
    core->carrier_way = CORE_CARRIERS_SAME;
    core->healing = (struct losses){0};
    record_soon(core);
}

/* The job ends well: losses that no step follows any more have recovered with it. */
void losses_end(struct core *core)
{
    losses_go(core, true, 0);
    budget_recovered(core);
}

/* A position was heard of.  Only a step that nobody had finished before counts as one: a program
 * that fails at the same step each time makes none, however often it repeats those before. */
void budget_heard(struct core *core, uint64_t position)
{
    if (position > core->best_step)
        core->best_step = position;
    if (position <= core->furthest)
        return;
    core->furthest = position;
    core->stepped = true;
    if (core->program_failures) {
        core->program_failures = 0;
        record_soon(core);
    }
}

void budget_stepped(struct core *core)
{
    core->step_seen = true;
    core->carrier_tries = 0;
    core->comm_failures = 0;
    if (core->state != CORE_JOB_FORMING && core->state != CORE_JOB_LOADING)
        budget_recovered(core);
    if (core->healing.count == 0 && !core->healing.carriers)
        core->carrier_way = CORE_CARRIERS_SAME;
}

/* Rounded up: all buckets together are never shorter than the window. */
static uint64_t bucket_length(const struct core *core)
{
    return (core->config.restart_window - 1) / CORE_RESTART_BUCKETS + 1;
}

/* Makes the newest bucket the one of `now`. */
static void budget_slide(struct core *core)
{
    uint64_t buckets = (core->now - core->restart_since) / bucket_length(core);
    uint32_t by = buckets < CORE_RESTART_BUCKETS ? (uint32_t)buckets : CORE_RESTART_BUCKETS;
    uint32_t kept = CORE_RESTART_BUCKETS - by;

    for (uint32_t i = kept; i < CORE_RESTART_BUCKETS; i++)
        core->restart_count -= core->restart[i];
    memmove(core->restart + by, core->restart, kept * sizeof core->restart[0]);
    memset(core->restart, 0, by * sizeof core->restart[0]);
    core->restart_since += buckets * bucket_length(core);
    if (core->restart_count == 0)
        core->restart_since = core->now;
}

void budget_spend(struct core *core)
{
    budget_slide(core);
    core->restarts_total++;
    record_soon(core);
    if (core->restart_count >= core->config.max_restarts) {
        job_fail(core, 75, CORE_REASON_BUDGET, CORE_NO_RANK);
        return;
    }
    core->restart[0]++;
    core->restart_count++;
}

/* A record may be of a larger budget: the newest are kept. */
void budget_apply(struct core *core, const struct core_record *record)
{
    for (uint32_t i = 0; i < CORE_RESTART_BUCKETS; i++) {
        uint32_t room = core->config.max_restarts - core->restart_count;

        core->restart[i] = record->restarts[i] < room ? record->restarts[i] : room;
        core->restart_count += core->restart[i];
    }
    core->restart_since = core->born - record->restart_age;
}

void budget_blame(struct core *core, uint64_t round, bool program, int32_t exit_code, uint32_t rank)
{
    if (round != core->round || core->ending)
        return;
    core->round++;
    if (!program) {
        budget_spend(core);
        return;
    }
    if (core->stepped) {
        core->program_failures = 0;
        budget_spend(core);
    }
    core->stepped = false;
    core->program_failures++;
    record_soon(core);
    if (core->program_failures >= core->config.program_failures)
        job_fail(core, exit_code, CORE_REASON_PROGRAM, rank);
}
