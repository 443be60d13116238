/* What losses cost: the restart budget, a program's failures in a row, and `recovered`.
 *
 * A round is what counts once: it begins when all that runs was taken into a generation, or when a
 * loss was counted.  A loss is counted if what was lost was started, or taken in, since the round
 * began; so of 512 losses in one generation one counts, and what dies again and again before it is
 * ever taken in counts each time. */
#include "coordinator/core/state.h"

void losses_add(struct core *core, uint64_t detect)
{
    if (core->pending.count++ == 0)
        core->pending.first = core->now - (detect < core->now ? detect : 0);
    if (detect > core->pending.detect)
        core->pending.detect = detect;
}

/* A generation goes on: what was lost before it recovers with its first step. */
void losses_go(struct core *core, bool in_place, uint64_t lost_steps)
{
    struct losses *healing = &core->healing;

    if (core->pending.count) {
        if (healing->count == 0)
            *healing = (struct losses){.first = core->pending.first, .in_place = true};
        healing->count += core->pending.count;
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

    if (core->healing.count == 0)
        return;
    action = core_note_emit(core, CORE_NOTE_RECOVERED);
    action->in_place = core->healing.in_place;
    action->losses = core->healing.count;
    action->lost_steps = core->healing.lost_steps;
    action->detect = core->healing.detect;
    action->recover = core->now - core->healing.first;
    core->healing = (struct losses){0};
    record_later(core);
}

/* The job ends well: losses that no step follows any more have recovered with it. */
void losses_end(struct core *core)
{
    losses_go(core, true, 0);
    budget_recovered(core);
}

void budget_stepped(struct core *core)
{
    core->stepped = core->step_seen = true;
    core->carrier_retries = 0;
    if (core->program_failures) {
        core->program_failures = 0;
        record_later(core);
    }
    if (core->state != CORE_JOB_FORMING && core->state != CORE_JOB_LOADING)
        budget_recovered(core);
}

void budget_spend(struct core *core)
{
    uint32_t kept = 0;

    while (kept < core->restart_count &&
           core->now - core->restart[kept] < core->config.restart_window)
        kept++;
    core->restart_count = kept;
    core->restarts_total++;
    record_later(core);
    if (kept >= core->config.max_restarts) {
        job_fail(core, 75, CORE_REASON_BUDGET, CORE_NO_RANK);
        return;
    }
    for (uint32_t i = kept; i > 0; i--)
        core->restart[i] = core->restart[i - 1];
    core->restart[0] = core->now;
    core->restart_count++;
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
    record_later(core);
    if (core->program_failures >= core->config.program_failures)
        job_fail(core, exit_code, CORE_REASON_PROGRAM, rank);
}
