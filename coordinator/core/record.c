/* What survives a coordinator. */
#include "coordinator/core/state.h"

void record_now(struct core *core)
{
    core->record_later = false;
    core_emit(core, CORE_DO_RECORD);
}

void record_later(struct core *core)
{
    core->record_later = true;
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
        .restart_count = core->restart_count,
        .started = core->started && core->state != CORE_JOB_ENDED,
        .stopping = core->stopping && core->state != CORE_JOB_ENDED,
        .joined = core->joined,
        .losses = core->pending.count + core->healing.count,
        .stop_signal = core->stop_signal,
        .launch_serial = core->launch_serial,
        .carrier_job = core->carrier_job,
    };
    for (uint32_t i = 0; i < core->restart_count; i++)
        record->restart_age[i] = now - core->restart[i];
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
    core->best_step = record->best_step;
    core->checkpoint.committed = record->committed_step;
    core->program_failures = record->program_failures;
    core->restarts_total = record->restarts_total;
    core->launch_serial = record->launch_serial + 1;
    core->carrier_job = record->carrier_job;
    core->restart_count =
        record->restart_count < CORE_MAX_RESTARTS ? record->restart_count : CORE_MAX_RESTARTS;
    if (core->restart_count > config->max_restarts)
        core->restart_count = config->max_restarts;
    for (uint32_t i = 0; i < core->restart_count; i++)
        core->restart[i] = core->born - record->restart_age[i];
    if (record->target_workers >= config->min_workers &&
        record->target_workers <= config->max_workers)
        core->target = record->target_workers;
    if (core->started)
        core->state = CORE_JOB_RECOVERING;
}
