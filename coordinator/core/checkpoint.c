/* Checkpoints: when, from which snapshots, who writes, and what becomes of an attempt that fails.
 *
 *   IDLE --due--> ASKED --all hosts have it--> WRITING --all parts--> COMMITTING --> IDLE
 *                   |  miss: IDLE, asked again further ahead  |  failed: WRITING again, or IDLE */
#include "coordinator/core/state.h"

#define MARGIN_NS (UINT64_C(500) * 1000 * 1000)
#define MARGIN_STEPS 2u
#define MARGIN_MAX 64u
#define FINAL_SILENCES 5u /* the last snapshot may be so late */

void checkpoint_init(struct core *core)
{
    core->checkpoint.committed = core->checkpoint.step = CORE_NONE;
    core->checkpoint.margin = 1;
    core->checkpoint.next_due = core->time + core->config.checkpoint_interval_ns;
    core->checkpoint.rate_time = core->time;
}

static bool in_plan(const struct core *core, uint32_t host)
{
    uint32_t index = core->host[host].index;

    return index < core->host_count && core->plan_hosts[index] == host;
}

/* ---- what follows ---------------------------------------------------------------------------- */

static void ask(struct core *core, uint64_t step)
{
    struct checkpoint *c = &core->checkpoint;

    c->step = step;
    c->request++;
    c->hosts_taken = 0;
    c->since = core->time;
    c->final = false;
}

/* Far enough ahead that every rank hears of it before it is there. */
static enum checkpoint_state on_due(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    uint64_t every = core->config.checkpoint_interval_steps;
    uint64_t ahead = c->step_ns ? MARGIN_NS / c->step_ns : MARGIN_STEPS;
    uint64_t base = core->best_step;
    uint64_t step;

    if (c->committed != CORE_NONE && c->committed > base)
        base = c->committed;
    ahead = (ahead < MARGIN_STEPS ? MARGIN_STEPS : ahead) * c->margin;
    /* ranks of quick steps need warning too, but only once they missed one */
    if (every && !c->hurried)
        step = (base + (c->margin > 1 ? ahead : 0)) / every * every + every;
    else
        step = base + ahead;
    ask(core, step);
    c->tries = 0;
    c->hurried = false;
    core_emit(core, CORE_DO_SNAPSHOT)->step = step;
    return CHECKPOINT_ASKED;
}

static enum checkpoint_state on_missed(struct core *core)
{
    if (core->checkpoint.margin < MARGIN_MAX)
        core->checkpoint.margin *= 2;
    return CHECKPOINT_IDLE;
}

static void writers_clear(struct core *core)
{
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        core->worker[i].writer = NONE;
        core->worker[i].owed_write = false;
    }
}

/* One worker of each host that has the snapshot; where that is one host, all its workers.  Spare
 * ones too at the end: nobody else may be left there. */
static void writers_choose(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    uint32_t hosts = 0;

    core->walk++;
    c->writers = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
            struct worker *worker = &core->worker[i];
            struct host *host = &core->host[worker->host];

            if (host->asked_snapshot != c->request || (worker->idle && !core->ending) ||
                (host->walk == core->walk && !(pass == 1 && hosts == 1)))
                continue;
            host->walk = core->walk;
            hosts += pass == 0;
            if (pass == 1) {
                worker->writer = c->writers++;
                worker->owed_write = true;
                worker_owe(core, i, OWE_WRITE);
            }
        }
        core->walk++;
    }
    c->missing = c->writers;
}

static enum checkpoint_state on_taken(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    struct core_action *action;

    writers_choose(core);
    if (c->writers == 0)
        return on_missed(core);
    c->attempt++;
    c->since = core->time;
    action = core_emit(core, CORE_DO_BEGIN);
    action->attempt = c->attempt;
    action->step = c->step;
    action->writers = c->writers;
    return CHECKPOINT_WRITING;
}

void checkpoint_write_emit(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];
    struct core_action *action;

    if (!worker->owed_write)
        return;
    worker->owed_write = false;
    action = core_emit(core, CORE_DO_WRITE);
    action->worker = worker->id;
    action->attempt = core->checkpoint.attempt;
    action->step = core->checkpoint.step;
    action->writer = worker->writer;
    action->writers = core->checkpoint.writers;
}

static enum checkpoint_state on_written(struct core *core)
{
    struct core_action *action = core_emit(core, CORE_DO_COMMIT);

    core->checkpoint.since = core->time;
    action->attempt = core->checkpoint.attempt;
    action->step = core->checkpoint.step;
    action->writers = core->checkpoint.writers;
    return CHECKPOINT_COMMITTING;
}

static void next_time(struct core *core)
{
    core->checkpoint.next_due = core->time + core->config.checkpoint_interval_ns;
}

/* A full disk waits for the next interval; all else is tried again from the same snapshots. */
static enum checkpoint_state on_failed(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    struct core_action *action = core_emit(core, CORE_DO_ABANDON);

    action->attempt = c->attempt;
    action->step = c->step;
    action->code = c->code;
    writers_clear(core);
    c->tries++;
    if (c->code == RK_ENOENT && c->tries < CHECKPOINT_TRIES)
        return on_missed(core);
    if (c->code == RK_ENOSPC || c->tries >= CHECKPOINT_TRIES) {
        c->skip_until = core->best_step + core->config.checkpoint_interval_steps;
        next_time(core);
        core->final_failed =
            core->ending && core->state == CORE_JOB_FINISHING && c->step == core->end_step;
        return CHECKPOINT_IDLE;
    }
    return on_taken(core);
}

static enum checkpoint_state on_committed(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;

    c->committed = c->step;
    c->margin = c->margin > 1 ? c->margin / 2 : 1;
    record_now(core);
    core_note_emit(core, CORE_NOTE_CHECKPOINT_COMMITTED)->step = c->step;
    next_time(core);
    return CHECKPOINT_IDLE;
}

/* ---- the table ------------------------------------------------------------------------------- */

struct checkpoint_rule {
    const char *name;
    enum checkpoint_state (*act)(struct core *);
};

static const struct checkpoint_rule rules[CHECKPOINT_COUNT_][CHECKPOINT_EV_COUNT_] = {
    [CHECKPOINT_IDLE][CHECKPOINT_EV_DUE] = {"snapshot -> asked", on_due},
    [CHECKPOINT_ASKED][CHECKPOINT_EV_TAKEN] = {"begin, write -> writing", on_taken},
    [CHECKPOINT_ASKED][CHECKPOINT_EV_MISSED] = {"-> idle", on_missed},
    [CHECKPOINT_WRITING][CHECKPOINT_EV_WRITTEN] = {"commit -> committing", on_written},
    [CHECKPOINT_WRITING][CHECKPOINT_EV_FAILED] = {"abandon -> writing, idle", on_failed},
    [CHECKPOINT_COMMITTING][CHECKPOINT_EV_COMMITTED] = {"-> idle", on_committed},
    [CHECKPOINT_COMMITTING][CHECKPOINT_EV_FAILED] = {"abandon -> writing, idle", on_failed},
};

static void fire(struct core *core, enum checkpoint_event event)
{
    const struct checkpoint_rule *rule = &rules[core->checkpoint.state][event];

    if (!rule->act) {
        core_refuse_event(core);
        return;
    }
    core->checkpoint.state = rule->act(core);
}

const char *checkpoint_rule_name(enum checkpoint_state state, enum checkpoint_event event)
{
    return rules[state][event].name;
}

const char *checkpoint_state_name(enum checkpoint_state state)
{
    static const char *const names[CHECKPOINT_COUNT_] = {"idle", "asked", "writing", "committing"};

    return names[state];
}

const char *checkpoint_event_name(enum checkpoint_event event)
{
    static const char *const names[CHECKPOINT_EV_COUNT_] = {"due",     "taken",  "missed",
                                                            "written", "failed", "committed"};

    return names[event];
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void host_taken(struct core *core, uint32_t index)
{
    struct checkpoint *c = &core->checkpoint;
    uint32_t h = core->worker[index].host;

    if (core->host[h].asked_snapshot == c->request)
        return;
    core->host[h].asked_snapshot = c->request;
    c->hosts_taken += in_plan(core, h) || core->state == CORE_JOB_FINISHING;
    if (core->state != CORE_JOB_FINISHING && c->hosts_taken >= core->host_count)
        fire(core, CHECKPOINT_EV_TAKEN);
}

void checkpoint_snapshot(struct core *core, uint32_t index, uint64_t step, bool missed)
{
    if (core->checkpoint.state != CHECKPOINT_ASKED || step != core->checkpoint.step)
        return;
    if (missed)
        fire(core, CHECKPOINT_EV_MISSED);
    else
        host_taken(core, index);
}

void checkpoint_status(struct core *core, uint32_t index)
{
    const struct worker *worker = &core->worker[index];

    if (core->checkpoint.state == CHECKPOINT_ASKED &&
        (worker->snapshot_step[0] == core->checkpoint.step ||
         worker->snapshot_step[1] == core->checkpoint.step))
        host_taken(core, index);
}

void checkpoint_written(struct core *core, uint32_t index, const struct core_event *event)
{
    struct checkpoint *c = &core->checkpoint;
    struct worker *worker = &core->worker[index];

    if (c->state != CHECKPOINT_WRITING || event->shard_written.attempt != c->attempt ||
        worker->writer == NONE || worker->owed_write) {
        core_refuse_event(core);
        return;
    }
    c->code = event->shard_written.code;
    if (c->code) {
        fire(core, CHECKPOINT_EV_FAILED);
        return;
    }
    worker->writer = NONE;
    if (--c->missing == 0)
        fire(core, CHECKPOINT_EV_WRITTEN);
}

void checkpoint_committed(struct core *core, const struct core_event *event)
{
    struct checkpoint *c = &core->checkpoint;

    if (c->state != CHECKPOINT_COMMITTING || event->committed.attempt != c->attempt) {
        core_refuse_event(core);
        return;
    }
    c->code = event->committed.code;
    fire(core, c->code ? CHECKPOINT_EV_FAILED : CHECKPOINT_EV_COMMITTED);
}

void checkpoint_worker_lost(struct core *core, struct worker *worker)
{
    bool writes = worker->writer != NONE;

    worker->writer = NONE;
    worker->owed_write = false;
    if (!writes || core->checkpoint.state != CHECKPOINT_WRITING)
        return;
    core->checkpoint.code = RK_EAGENT;
    fire(core, CHECKPOINT_EV_FAILED);
}

/* A new generation does not know what the last was asked for. */
void checkpoint_go(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;

    if (c->state != CHECKPOINT_ASKED)
        return;
    c->hosts_taken = 0;
    for (uint32_t h = 0; h < core->host_count; h++)
        c->hosts_taken += core->host[core->plan_hosts[h]].asked_snapshot == c->request;
    if (c->hosts_taken == core->host_count)
        fire(core, CHECKPOINT_EV_TAKEN);
    else if (c->step <= core->plan.deal_step)
        fire(core, CHECKPOINT_EV_MISSED);
    else
        core_emit(core, CORE_DO_SNAPSHOT)->step = c->step;
}

void checkpoint_progress(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;

    if (core->best_step < c->rate_step || core->time < c->rate_time + MARGIN_NS)
        return;
    if (core->best_step > c->rate_step)
        c->step_ns = (core->time - c->rate_time) / (core->best_step - c->rate_step);
    c->rate_step = core->best_step;
    c->rate_time = core->time;
}

static bool due(const struct core *core)
{
    const struct checkpoint *c = &core->checkpoint;

    if (c->state != CHECKPOINT_IDLE || core->state != CORE_JOB_RUNNING ||
        !core->config.checkpoints || program_mode(core) || core->ending || core->stopping ||
        !core->step_seen)
        return false;
    if (c->hurried)
        return true;
    if (core->config.checkpoint_interval_steps)
        return core->best_step >= c->skip_until;
    return core->config.checkpoint_interval_ns && core->time >= c->next_due;
}

void checkpoint_hurry(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;

    c->hurried = true;
    if (c->state == CHECKPOINT_ASKED && core->state == CORE_JOB_RUNNING)
        c->state = CHECKPOINT_IDLE; /* that step may be too far ahead */
}

void checkpoint_tick(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    bool late = core->time >= c->since + core->config.checkpoint_timeout;

    checkpoint_progress(core);
    if (due(core)) {
        fire(core, CHECKPOINT_EV_DUE);
    } else if (late && c->state == CHECKPOINT_ASKED && core->state == CORE_JOB_RUNNING &&
               core->best_step > c->step) {
        fire(core, CHECKPOINT_EV_MISSED);
    } else if (late && (c->state == CHECKPOINT_WRITING || c->state == CHECKPOINT_COMMITTING)) {
        c->code = RK_ETIMEDOUT;
        fire(core, CHECKPOINT_EV_FAILED);
    }
}

uint64_t checkpoint_deadline(const struct core *core)
{
    const struct checkpoint *c = &core->checkpoint;

    if (c->state == CHECKPOINT_WRITING || c->state == CHECKPOINT_COMMITTING)
        return c->since + core->config.checkpoint_timeout;
    if (core->state == CORE_JOB_FINISHING && c->state == CHECKPOINT_ASKED && c->final)
        return c->since + (core->time < c->since + core->config.silence ? 1 : FINAL_SILENCES) *
                              core->config.silence;
    if (due(core))
        return core->time;
    if (c->state == CHECKPOINT_IDLE && core->state == CORE_JOB_RUNNING &&
        core->config.checkpoint_interval_ns && core->config.checkpoints && core->step_seen &&
        core->config.checkpoint_interval_steps == 0)
        return c->next_due;
    return CORE_NONE;
}

/* ---- the final one --------------------------------------------------------------------------- */

static void final_ask(struct core *core)
{
    ask(core, core->end_step);
    core->checkpoint.final = true;
    core->checkpoint.state = CHECKPOINT_ASKED;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i))
        checkpoint_status(core, i);
}

static uint32_t hosts_living(struct core *core)
{
    uint32_t hosts = 0;

    core->walk++;
    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        struct host *host = &core->host[core->worker[i].host];

        hosts += host->walk != core->walk;
        host->walk = core->walk;
    }
    return hosts;
}

bool checkpoint_final(struct core *core)
{
    struct checkpoint *c = &core->checkpoint;
    uint64_t waited;

    if (!core->config.checkpoints || program_mode(core) || core->end_step == 0 ||
        core->final_failed || (c->committed != CORE_NONE && c->committed >= core->end_step))
        return true;
    if (c->state == CHECKPOINT_ASKED && !c->final)
        c->state = CHECKPOINT_IDLE; /* it may have been asked for long ago */
    if (c->state == CHECKPOINT_IDLE)
        final_ask(core);
    if (c->state != CHECKPOINT_ASKED)
        return false;
    waited = core->time - c->since;
    if (c->hosts_taken && (c->hosts_taken >= hosts_living(core) || waited >= core->config.silence))
        fire(core, CHECKPOINT_EV_TAKEN);
    else if (!c->hosts_taken && waited >= FINAL_SILENCES * core->config.silence)
        core->final_failed = true;
    return core->final_failed;
}
