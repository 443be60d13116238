/* The state when no rank has it: the newest snapshot in an arena or the newest checkpoint. */
#include "coordinator/core/state.h"

#define LOAD_ERRORS 2u

static void find(struct core *core)
{
    core->load.state = LOAD_FINDING;
    core_emit(core, CORE_DO_FIND);
}

/* The newest snapshot on a host of the next plan; CORE_NONE: none. */
static uint64_t newest_snapshot(const struct core *core, uint32_t *host)
{
    uint64_t newest = CORE_NONE;

    for (uint32_t m = 0; m < core->member_count; m++) {
        const struct worker *worker = &core->worker[core->member[m].worker];

        for (uint32_t k = 0; k < 2; k++) {
            uint64_t step = worker->snapshot_step[k];

            if (step >= MAX_POSITION || (newest != CORE_NONE && step <= newest))
                continue;
            newest = step;
            *host = worker->host;
        }
    }
    return newest;
}

static void ask_loader(struct core *core)
{
    const struct member *member = &core->member[core->load.errors % core->member_count];
    struct core_action *action = core_emit(core, CORE_DO_LOAD);

    core->load.state = LOAD_LOADING;
    core->load.worker = member->worker;
    action->worker = core->worker[member->worker].id;
    action->step = core->load.step;
}

/* `step`: of the newest committed checkpoint, CORE_NONE: there is none. */
static void choose(struct core *core, uint64_t step)
{
    uint32_t host = NONE;
    uint64_t snapshot = newest_snapshot(core, &host);

    core->load.state = LOAD_NONE;
    if (snapshot != CORE_NONE && (step == CORE_NONE || snapshot >= step)) {
        core->load.step = snapshot;
        core->load.host = host;
        core->load.in_host = true;
    } else if (step != CORE_NONE) {
        core->load.step = step;
        ask_loader(core);
    }
}

enum core_job_state load_start(struct core *core)
{
    if (core->config.checkpoints)
        find(core);
    else
        choose(core, CORE_NONE);
    return CORE_JOB_LOADING;
}

bool load_ready(const struct core *core)
{
    return core->load.state == LOAD_NONE;
}

void load_found(struct core *core, const struct core_event *event)
{
    if (core->state != CORE_JOB_LOADING || core->load.state != LOAD_FINDING ||
        core->member_count == 0 || core->broken) {
        core_refuse_event(core);
        return;
    }
    core->checkpoint.committed = event->checkpoints.step;
    choose(core, event->checkpoints.step < MAX_POSITION ? event->checkpoints.step : CORE_NONE);
    if (core->load.state == LOAD_NONE && !core->load.in_host && event->checkpoints.damaged)
        job_fail(core, 65, CORE_REASON_CHECKPOINT, CORE_NO_RANK);
}

static void reject(struct core *core, int32_t code)
{
    core_emit(core, CORE_DO_REJECT)->step = core->load.step;
    core->out->action[core->out->count - 1].code = code;
    core_note_emit(core, CORE_NOTE_CHECKPOINT_REJECTED)->step = core->load.step;
    find(core);
}

void load_done(struct core *core, uint32_t index, const struct core_event *event)
{
    int32_t code = event->loaded.code;

    if (core->state != CORE_JOB_LOADING || core->load.state != LOAD_LOADING ||
        core->load.worker != index || event->word != core->word ||
        event->loaded.step != core->load.step) {
        core_refuse_event(core);
        return;
    }
    if (code == 0) {
        core->load.state = LOAD_NONE;
        core->load.host = core->worker[index].host;
        core->load.in_host = true;
    } else if (code == RK_EDATA || code == RK_EVERSION) {
        reject(core, code);
    } else if (code == RK_ELAYOUT) {
        job_fail(core, 65, CORE_REASON_LAYOUT, CORE_NO_RANK);
    } else if (++core->load.errors >= LOAD_ERRORS) {
        job_fail(core, 69, CORE_REASON_CHECKPOINT, CORE_NO_RANK);
    } else if (code == RK_ENOENT) {
        find(core);
    } else {
        ask_loader(core);
    }
}
