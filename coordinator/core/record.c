/* What survives a coordinator. */
#include "coordinator/core/state.h"

#include <string.h>

void record_now(struct core *core)
{
    core->record_later = core->record_soon = false;
    core_emit(core, CORE_DO_RECORD);
}

void record_later(struct core *core)
{
    core->record_later = true;
}

void record_soon(struct core *core)
{
    core->record_soon = true;
}

void core_record_read(const struct core *core, uint64_t now, struct core_record *record)
{
    *record = (struct core_record){
        .epoch = core->epoch,
        .generation = core->generation,
        .target_workers = core->target,
        .best_step = core->best_step,
        .committed_step = core->checkpoint.committed,
        .program_failures = core->program_failures,
        .restarts_total = core->restarts_total,
        .restart_age = core->restart_count ? now - core->restart_since : 0,
        .started = core->started,
        .stopping = core->stopping,
        .joined = core->joined,
        .losses = core->pending.count + core->healing.count,
        .stop_signal = core->stop_signal,
        .launch_serial = core->launch_serial,
        .carrier_job = core->carrier_job,
        .over = core->state == CORE_JOB_ENDED,
        .exit_code = core->exit_code,
        .reason = core->fatal,
    };
    memcpy(record->restarts, core->restart, sizeof record->restarts);
}

void record_apply(struct core *core, const struct core_record *record)
{
    const struct core_config *config = &core->config;

    core->adopting = true;
    core->started = record->started;
    core->joined = record->joined;
    core->stopping = record->stopping;
    core->stop_signal = record->stop_signal;
    core->healing = (struct losses){.count = record->losses, .first = core->born, .in_place = true};
    core->generation = core->noted_generation = record->generation;
    core->word = rk_word_make(core->epoch, 0);
    core->best_step = core->furthest = record->best_step;
    core->checkpoint.committed = record->committed_step;
    core->program_failures = record->program_failures;
    core->restarts_total = record->restarts_total;
    core->launch_serial = record->launch_serial + 1;
    core->carrier_job = record->carrier_job;
    budget_apply(core, record);
    if (record->target_workers >= config->min_workers &&
        record->target_workers <= config->max_workers)
        core->target = record->target_workers;
    if (core->started)
        core->state = CORE_JOB_RECOVERING;
    if (record->over) {
        core->state = CORE_JOB_ENDED;
        core->exit_code = record->exit_code;
        core->fatal = record->reason;
    }
}
