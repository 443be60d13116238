/* The end: ranks have left, the final checkpoint, the exit code. */
#include "coordinator/core/state.h"

#define GRACE 5u /* silences that the rest may take once they can no longer be helped */

enum core_job_state finish_start(struct core *core)
{
    core->grace = CORE_NONE;
    core->checkpoint.tries = 0;
    core->checkpoint.final = false;
    core->final_failed = false;
    if (core->end_step == CORE_NONE)
        core->end_step = core->best_step;
    core->ending = true;
    return CORE_JOB_FINISHING;
}

/* Somebody is at the end, or what they left is: the rest need not reach it. */
static bool end_is_safe(const struct core *core)
{
    if (core->count[CORE_RANK_LEFT] + core->count[CORE_RANK_DONE])
        return true;
    if (core->checkpoint.committed != CORE_NONE && core->checkpoint.committed >= core->end_step)
        return true;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i))
        for (uint32_t k = 0; k < 2; k++)
            if (core->worker[i].snapshot_step[k] == core->end_step)
                return true;
    return false;
}

enum core_job_state finish_broken(struct core *core)
{
    uint32_t alive = core->count[CORE_RANK_READY] + core->count[CORE_RANK_MEMBER];

    core->broken = false;
    if (end_is_safe(core) || (core->stopping && !alive)) {
        if (core->grace == CORE_NONE)
            core->grace = core->time + GRACE * core->config.silence;
        return CORE_JOB_FINISHING;
    }
    core->ending = false;
    core->left_code = 0;
    core->end_step = core->grace = CORE_NONE;
    ranks_start_all(core, false);
    if (!alive)
        return CORE_JOB_STARTING;
    form_start(core);
    return CORE_JOB_FORMING;
}

/* Somebody wants it over: who has not left by then is not waited for. */
void finish_hurry(struct core *core)
{
    if (core->state == CORE_JOB_FINISHING && core->grace == CORE_NONE)
        core->grace = core->time + GRACE * core->config.silence;
}

/* Who is ready but was in no generation has no part in the end, and is not waited for. */
bool finish_over(struct core *core)
{
    bool late = core->time >= core->grace;

    if ((core->count[CORE_RANK_MEMBER] && !late) || !checkpoint_final(core))
        return false;
    return core->count[CORE_RANK_LEFT] == 0 || late;
}

/* The record first: a coordinator that dies from here on, with workers that have gone, does not
 * find a job that lacks them. */
static enum core_job_state finish(struct core *core)
{
    record_now(core);
    core_emit(core, CORE_DO_SHUTDOWN);
    return CORE_JOB_ENDED;
}

enum core_job_state finish_end(struct core *core)
{
    losses_end(core);
    if (core->stopping && core->fatal == CORE_REASON_NONE)
        core->fatal = CORE_REASON_STOP;
    if (core->left_code)
        core->exit_code = core->left_code;
    else if (core->final_failed)
        core->exit_code = 69;
    else
        core->exit_code = core->stopping && core->stop_signal ? 128 + core->stop_signal : 0;
    if (core->final_failed && !core->left_code)
        core->fatal = CORE_REASON_SAVE;
    return finish(core);
}

enum core_job_state finish_failed(struct core *core)
{
    return finish(core);
}
