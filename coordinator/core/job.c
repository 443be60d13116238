/* The life of a job as a table: what is the case (level, from counters and flags) against where
 * the job is.  job_consider fires what is pending until nothing is. */
#include "coordinator/core/state.h"

#include <assert.h>

#define JOB_TURNS 16u

void job_set(struct core *core, enum core_job_state state)
{
    core->state = state;
}

void job_fail(struct core *core, int32_t exit_code, enum core_reason reason, uint32_t rank)
{
    if (core->fatal != CORE_REASON_NONE)
        return;
    core->fatal = reason;
    core->exit_code = exit_code;
    core->fatal_rank = rank;
}

/* ---- what follows ---------------------------------------------------------------------------- */

/* Ranks that the coordinator before had started were told of its world. */
static enum core_job_state job_start_ranks(struct core *core)
{
    bool again =
        program_mode(core) && core->count[CORE_RANK_STARTING] + core->count[CORE_RANK_DONE];

    if (again)
        drains_drop(core);
    core->adopting = core->broken = false;
    ranks_start_all(core, again);
    return CORE_JOB_STARTING;
}

static enum core_job_state job_form(struct core *core)
{
    form_start(core);
    return CORE_JOB_FORMING;
}

/* A program without the library runs: its generation has no word and no steps. */
static enum core_job_state job_up(struct core *core)
{
    core->generation++;
    core->plan.program = true;
    core->plan.members = core->taken;
    core->plan.world = core->count[CORE_RANK_STARTING] + core->count[CORE_RANK_DONE];
    core->started = true;
    core->broken = (core->came_late && core->count[CORE_RANK_STARTING] > 0) || ranks_differ(core);
    record_now(core);
    form_note(core);
    losses_go(core, false, 0);
    budget_recovered(core);
    return CORE_JOB_RUNNING;
}

static enum core_job_state job_broken(struct core *core)
{
    uint32_t alive = core->count[CORE_RANK_READY] + core->count[CORE_RANK_MEMBER];

    if (program_mode(core))
        drains_drop(core);
    core->broken = false;
    if (program_mode(core)) {
        core->plan.program = false;
        ranks_start_all(core, true);
        return CORE_JOB_STARTING;
    }
    if (alive && core->state != CORE_JOB_STARTING)
        return job_form(core);
    if (core->stopping && !alive)
        return finish_start(core);
    if (core->ending) { /* its members left while it was formed; what they left may be lost too */
        core->broken = true;
        return finish_start(core);
    }
    ranks_start_all(core, false);
    return CORE_JOB_STARTING;
}

static enum core_job_state job_stop(struct core *core)
{
    if (core->count[CORE_RANK_READY] + core->count[CORE_RANK_MEMBER] && !program_mode(core) &&
        core->started)
        return job_form(core);
    return finish_end(core);
}

struct job_rule {
    const char *name;
    enum core_job_state (*act)(struct core *);
};

#define R(event, name, act) [JOB_EV_##event] = {name, act}
#define FAILS R(FAILED, "-> ended", finish_failed)

/* An empty cell never comes to pass: job_pending looks at the state. */
static const struct job_rule rules[CORE_JOB_COUNT_][JOB_EV_COUNT_] = {
    [CORE_JOB_GATHERING] = {FAILS, R(GATHERED, "start ranks -> starting", job_start_ranks),
                            R(STOP, "-> ended", finish_end)},
    [CORE_JOB_RECOVERING] = {FAILS, R(CAME, "-> running, forming, starting", recover_done)},
    [CORE_JOB_STARTING] = {FAILS, R(UP, "-> running", job_up),
                           R(READY, "freeze -> forming", job_form),
                           R(BROKEN, "start ranks", job_broken),
                           R(STOP, "-> forming, ended", job_stop), R(OVER, "-> ended", finish_end)},
    [CORE_JOB_FORMING] = {FAILS, R(BROKEN, "freeze again", job_broken),
                          R(ACKED, "go -> running, held, loading, starting", form_decide)},
    [CORE_JOB_LOADING] = {FAILS, R(BROKEN, "freeze -> forming", job_broken),
                          R(LOADED, "go -> running", form_go)},
    [CORE_JOB_RUNNING] = {FAILS, R(READY, "freeze -> forming", job_form),
                          R(BROKEN, "freeze -> forming, starting", job_broken),
                          R(LEFT, "-> finishing", finish_start),
                          R(STOP, "freeze -> forming, ended", job_stop),
                          R(OVER, "-> ended", finish_end)},
    [CORE_JOB_HELD] = {FAILS, R(READY, "freeze -> forming", job_form),
                       R(BROKEN, "freeze -> forming, starting", job_broken),
                       R(LATE, "-> loading", form_decide), R(STOP, "freeze -> forming", job_stop)},
    [CORE_JOB_FINISHING] = {FAILS, R(BROKEN, "wait, or -> forming, starting", finish_broken),
                            R(OVER, "-> ended", finish_end)},
};

const char *job_rule_name(enum core_job_state state, enum job_event event)
{
    return rules[state][event].name;
}

const char *job_event_name(enum job_event event)
{
    static const char *const names[JOB_EV_COUNT_] = {"failed", "came",   "gathered", "up",
                                                     "ready",  "broken", "acked",    "loaded",
                                                     "late",   "left",   "stop",     "over"};

    return names[event];
}

/* ---- what is the case ------------------------------------------------------------------------ */

static bool gathered(const struct core *core)
{
    return core->taken >= core->target || (core->taken >= core->config.min_workers &&
                                           core->time >= core->born + core->config.gather);
}

static bool program_over(const struct core *core)
{
    return program_mode(core) && core->count[CORE_RANK_DONE] > 0 &&
           core->count[CORE_RANK_STARTING] == 0 && core->taken > 0 && !core->broken;
}

static bool ready(const struct core *core)
{
    return core->waiting && !core->ending &&
           (core->count[CORE_RANK_STARTING] == 0 ||
            core->time >= core->ready_since + form_settle(core));
}

/* Whether to take the program for one without the library: nobody has joined for a while. */
static bool settled(const struct core *core)
{
    return core->config.mode == CORE_PROGRAM || core->time >= core->started_since + AUTO_SETTLE;
}

/* Telling all to start takes time that grows with them; the losses of that time share the next
 * round. */
uint64_t job_again(const struct core *core)
{
    return program_mode(core) ? core->started_since + core->taken * START_PACE : core->time;
}

static bool broken(const struct core *core)
{
    return core->broken && core->time >= job_again(core);
}

static enum job_event pending_starting(const struct core *core)
{
    if (core->stopping)
        return JOB_EV_STOP;
    if (broken(core))
        return JOB_EV_BROKEN;
    if (program_over(core))
        return core->plan.program ? JOB_EV_OVER : JOB_EV_UP;
    if (program_mode(core))
        return core->unseen == 0 && core->count[CORE_RANK_STARTING] && settled(core) &&
                       !core->broken
                   ? JOB_EV_UP
                   : JOB_EV_COUNT_;
    if (core->count[CORE_RANK_READY] == 0)
        return JOB_EV_COUNT_;
    return core->count[CORE_RANK_STARTING] == 0 ||
                   core->time >= core->ready_since + core->config.gather
               ? JOB_EV_READY
               : JOB_EV_COUNT_;
}

static enum job_event pending_running(const struct core *core)
{
    if (core->ending && core->state == CORE_JOB_RUNNING)
        return JOB_EV_LEFT;
    if (core->stopping && core->plan.stop_at == CORE_NONE)
        return JOB_EV_STOP;
    if (broken(core) || ((core->leave_later || core->drain_later) && core->step_seen))
        return JOB_EV_BROKEN;
    if (program_over(core))
        return JOB_EV_OVER;
    if (core->load.waits && !load_waits(core))
        return JOB_EV_LATE;
    return ready(core) ? JOB_EV_READY : JOB_EV_COUNT_;
}

static enum job_event job_pending(struct core *core)
{
    if (core->fatal != CORE_REASON_NONE)
        return JOB_EV_FAILED;
    switch (core->state) {
    case CORE_JOB_GATHERING:
        return core->stopping ? JOB_EV_STOP : gathered(core) ? JOB_EV_GATHERED : JOB_EV_COUNT_;
    case CORE_JOB_RECOVERING:
        return recover_came(core) ? JOB_EV_CAME : JOB_EV_COUNT_;
    case CORE_JOB_STARTING:
        return pending_starting(core);
    case CORE_JOB_FORMING:
        return core->broken ? JOB_EV_BROKEN : core->acks.missing ? JOB_EV_COUNT_ : JOB_EV_ACKED;
    case CORE_JOB_LOADING:
        return core->broken                              ? JOB_EV_BROKEN
               : load_ready(core) && !core->acks.missing ? JOB_EV_LOADED
                                                         : JOB_EV_COUNT_;
    case CORE_JOB_RUNNING:
    case CORE_JOB_HELD:
        return pending_running(core);
    case CORE_JOB_FINISHING:
        return core->broken ? JOB_EV_BROKEN : finish_over(core) ? JOB_EV_OVER : JOB_EV_COUNT_;
    default:
        return JOB_EV_COUNT_;
    }
}

static void job_ended(struct core *core)
{
    struct core_action *action;

    if (core->finish_said)
        return;
    core->finish_said = true;
    action = core_note_emit(core, CORE_NOTE_JOB_FINISHED);
    action->exit_code = core->exit_code;
    action->step = core->best_step;
    action->reason = core->fatal;
    action->rank = core->fatal_rank;
    action = core_emit(core, CORE_DO_FINISH);
    action->exit_code = core->exit_code;
    action->step = core->best_step;
    action->reason = core->fatal;
    action->rank = core->fatal_rank;
}

void job_consider(struct core *core)
{
    if (core->state == CORE_JOB_ENDED) {
        if (core->owing.count == 0 && core->absent == 0)
            job_ended(core);
        return;
    }
    if (places_hopeless(core))
        job_fail(core, 69, CORE_REASON_LAUNCH, CORE_NO_RANK);
    for (uint32_t turn = 0; turn < JOB_TURNS && core->state != CORE_JOB_ENDED; turn++) {
        enum job_event event = job_pending(core);

        if (event == JOB_EV_COUNT_)
            return;
        assert(rules[core->state][event].act);
        job_set(core, rules[core->state][event].act(core));
    }
}
