/* Actions of the core to messages and deeds. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define SHUTDOWN_GRACE UINT64_C(2000000000)

void output_refuse(struct coordinator *c, uint64_t worker, int code, const char *why)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Refused refused = RK__REFUSED__INIT;

    refused.code = code;
    refused.why = (char *)why;
    refused.final = code == RK_EFENCED || code == RK_EVERSION;
    envelope.body_case = RK__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    server_send(c->server, worker, &envelope);
}

void output_shutdown_one(struct coordinator *c, uint64_t worker, const char *why)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Shutdown shutdown = RK__SHUTDOWN__INIT;

    shutdown.why = (char *)why;
    shutdown.grace_ns = SHUTDOWN_GRACE;
    envelope.body_case = RK__ENVELOPE__BODY_SHUTDOWN;
    envelope.shutdown = &shutdown;
    server_send(c->server, worker, &envelope);
}

/* To every worker that is connected, those that the core has never heard of included. */
void output_shutdown(struct coordinator *c, const char *why)
{
    struct worker_info *worker;
    uint32_t cursor = 0;

    while ((worker = id_map_next(&c->workers.by_id, &cursor)) != NULL)
        if (server_connected(c->server, worker->id))
            output_shutdown_one(c, worker->id, why);
}

static void refuse(struct coordinator *c, const struct core_action *action)
{
    output_refuse(c, action->worker.value, action->code,
                  action->code == RK_EFENCED ? "this worker was given up: it must end"
                                             : rk_error_text(action->code));
}

/* One that is asked to leave ends in order; one that is out is told that it is. */
static void kill_worker(struct coordinator *c, const struct core_action *action)
{
    launches_kill(c, action);
    if (!action->worker.value || !server_connected(c->server, action->worker.value))
        return;
    if (action->reason == CORE_REASON_SCALED)
        output_shutdown_one(c, action->worker.value, "the job goes on with fewer workers");
    else if (action->reason == CORE_REASON_DRAINED)
        output_shutdown_one(c, action->worker.value, "it has handed over");
    else
        output_refuse(c, action->worker.value, RK_EFENCED, "this worker was given up: it must end");
}

static void snapshot(struct coordinator *c, const struct core_action *action)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(c->core, &cursor, &view)) {
        Rk__Envelope envelope = RK__ENVELOPE__INIT;
        Rk__SnapshotAt at = RK__SNAPSHOT_AT__INIT;

        if (view.state != CORE_WORKER_MEMBER)
            continue;
        at.step = action->step;
        envelope.body_case = RK__ENVELOPE__BODY_SNAPSHOT_AT;
        envelope.snapshot_at = &at;
        server_send(c->server, view.worker.value, &envelope);
    }
}

static void load(struct coordinator *c, const struct core_action *action)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__LoadState state = RK__LOAD_STATE__INIT;

    state.word = action->word;
    state.step = action->step;
    state.dirname = (char *)saves_dirname(c->saves, action->step);
    envelope.body_case = RK__ENVELOPE__BODY_LOAD_STATE;
    envelope.load_state = &state;
    server_send(c->server, action->worker.value, &envelope);
}

/* ---- record and end -------------------------------------------------------------------------- */

static void write_record(struct coordinator *c, bool later)
{
    core_record_read(c->core, c->now, &c->record.core);
    if (later)
        recorder_put(c->recorder, &c->record);
    else if (recorder_write(c->recorder, &c->record) == RK_ESTALE)
        c->superseded = true;
}

static void say_end_unloaded(struct coordinator *c, const struct core_action *action)
{
    if (action->exit_code == 65)
        snprintf(c->why, sizeof c->why,
                 "every checkpoint in %s is damaged, nothing was deleted: see reknit checkpoint "
                 "verify; to start from the beginning use another --checkpoint-dir",
                 c->options.checkpoint_dir);
    else
        snprintf(c->why, sizeof c->why, "no checkpoint in %s could be loaded",
                 c->options.checkpoint_dir);
}

/* The job's end in a sentence. */
static void say_end(struct coordinator *c, const struct core_action *action)
{
    switch (action->reason) {
    case CORE_REASON_PROGRAM:
        snprintf(c->why, sizeof c->why,
                 "the program failed for good: rank %u on %s ended with %s %d%s%s",
                 action->rank == CORE_NO_RANK ? c->last_words.rank : action->rank,
                 c->last_words.host, action->exit_code > 128 ? "signal" : "exit code",
                 action->exit_code > 128 ? action->exit_code - 128 : action->exit_code,
                 c->last_words.lines[0] ? "; its last lines:\n" : "", c->last_words.lines);
        break;
    case CORE_REASON_BUDGET:
        snprintf(c->why, sizeof c->why,
                 "the restart budget is spent: more than %u in an hour (--max-restarts)%s",
                 c->config.max_restarts,
                 c->carriers.failed < 2
                     ? ""
                     : "; the carriers of the last generations did not come up on "
                       "all hosts: look at carriers-*.log in the logs, and at "
                       "what `reknit doctor` says of Open MPI and host names");
        break;
    case CORE_REASON_LAUNCH:
        snprintf(c->why, sizeof c->why, "no worker could be started");
        break;
    case CORE_REASON_LAYOUT:
        snprintf(c->why, sizeof c->why, "the ranks do not register the same tensors");
        break;
    case CORE_REASON_CHECKPOINT:
        say_end_unloaded(c, action);
        break;
    case CORE_REASON_SAVE:
        snprintf(c->why, sizeof c->why, "the final checkpoint, of step %llu, is not written: %s",
                 (unsigned long long)action->step,
                 saves_trouble(c->saves)[0] ? saves_trouble(c->saves)
                                            : "no host has the state of the last step any more");
        break;
    case CORE_REASON_COMM:
        snprintf(c->why, sizeof c->why,
                 "the GPUs' communicators failed again and again with nobody lost: %s",
                 c->comms.why);
        break;
    case CORE_REASON_STOP:
        snprintf(c->why, sizeof c->why, "the job was stopped");
        break;
    case CORE_REASON_KILL:
        snprintf(c->why, sizeof c->why, "the job was ended at once");
        break;
    default:
        snprintf(c->why, sizeof c->why, "%s",
                 action->exit_code == 0 ? "the job finished" : core_reason_name(action->reason));
        break;
    }
}

static void finish(struct coordinator *c, const struct core_action *action)
{
    if (c->ended)
        return;
    c->ended = true;
    c->exit_code = action->exit_code;
    if (c->why[0] == '\0')
        say_end(c, action);
}

void output_do(struct coordinator *c, const struct core_action *action)
{
    switch (action->kind) {
    case CORE_DO_RECORD:
        write_record(c, action->later);
        break;
    case CORE_DO_WELCOME:
        plan_welcome(c, action->worker.value);
        launches_welcomed(c, action->worker.value);
        break;
    case CORE_DO_REFUSE:
        refuse(c, action);
        break;
    case CORE_DO_LAUNCH:
        launches_start(c, action->ticket, action->place);
        break;
    case CORE_DO_KILL_WORKER:
        kill_worker(c, action);
        break;
    case CORE_DO_START_RANKS:
        plan_start_ranks(c, action);
        break;
    case CORE_DO_FREEZE:
        plan_freeze(c, action);
        break;
    case CORE_DO_GO:
        plan_go(c, action);
        break;
    case CORE_DO_SNAPSHOT:
        snapshot(c, action);
        break;
    case CORE_DO_LOAD:
        load(c, action);
        break;
    case CORE_DO_FIND:
    case CORE_DO_REJECT:
    case CORE_DO_BEGIN:
    case CORE_DO_WRITE:
    case CORE_DO_COMMIT:
    case CORE_DO_ABANDON:
        saves_do(c, action);
        break;
    case CORE_DO_CARRIERS:
        carriers_do(c, action);
        break;
    case CORE_DO_EVENT:
        notes_add(c, action);
        break;
    case CORE_DO_SHUTDOWN:
        output_shutdown(c, "the job is over");
        break;
    case CORE_DO_FINISH:
        finish(c, action);
        break;
    case CORE_DO_COUNT_:
        break;
    }
}
