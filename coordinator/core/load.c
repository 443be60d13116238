/* The state when no rank has it: the newest snapshot in an arena or the newest checkpoint. */
#include "coordinator/core/state.h"

#define LOAD_ERRORS 2u

static void find(struct core *core)
{
    core->load.state = LOAD_FINDING;
    core_emit(core, CORE_DO_FIND);
}

/* The newer of `newest` and a worker's snapshots; CORE_NONE: none. */
static uint64_t newer_snapshot(const struct worker *worker, uint64_t newest)
{
    for (uint32_t k = 0; k < 2; k++) {
        uint64_t step = worker->snapshot_step[k];

        if (step < MAX_POSITION && (newest == CORE_NONE || step > newest))
            newest = step;
    }
    return newest;
}

/* The newest snapshot on a host of the next plan; CORE_NONE: none. */
static uint64_t newest_snapshot(const struct core *core, uint32_t *host)
{
    uint64_t newest = CORE_NONE;

    for (uint32_t h = 0; h < core->host_count; h++) {
        const struct list *list = &core->host[core->plan_hosts[h]].workers;

        for (uint32_t i = list->head; i != NONE; i = list_next(list, i)) {
            uint64_t step = newer_snapshot(&core->worker[i], newest);

            if (!worker_living(&core->worker[i]) || step == newest)
                continue;
            newest = step;
            *host = core->plan_hosts[h];
        }
    }
    return newest;
}

bool load_waits(const struct core *core)
{
    uint32_t host = NONE;
    uint64_t newest = newest_snapshot(core, &host);
    uint64_t committed = core->checkpoint.committed;

    if (core->stopping || core->ending || core->load_until <= core->time)
        return false;
    if (committed != CORE_NONE && (newest == CORE_NONE || committed > newest))
        newest = committed;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        const struct worker *worker = &core->worker[i];

        if (core->host[worker->host].walk != core->walk &&
            worker->count[CORE_RANK_STARTING] + worker->count[CORE_RANK_READY] > 0 &&
            worker->state != CORE_WORKER_LEAVING && newer_snapshot(worker, newest) != newest)
            return true;
    }
    return false;
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
    if (core->load_until == CORE_NONE)
        core->load_until = core->time + core->config.gather;
    core->load.waits = load_waits(core);
    if (core->load.waits)
        return CORE_JOB_HELD;
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
    if (load_waits(core)) { /* the newest one is damaged, and a snapshot is newer than the next */
        core->broken = true;
        return;
    }
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
