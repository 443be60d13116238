/* Ranks: their table, what statuses and exits say about them, their names.
 *
 * A status is level-triggered: it heals messages that were lost.  One and the same process only
 * ever goes forward (STARTING, READY, MEMBER, LEFT, DONE), so whatever says less than is known is
 * old and changes nothing; the pid tells processes of one slot apart. */
#include "coordinator/core/state.h"

#define SIGNAL_KILL 9
#define SIGNAL_TERM 15

/* 1 + the next state; 0: refused. */
#define TO(state) ((uint8_t)(1 + CORE_RANK_##state))

static const uint8_t rules[RANK_STATES][RANK_EV_COUNT_] = {
    [CORE_RANK_EMPTY][RANK_EV_START] = TO(STARTING),
    [CORE_RANK_STARTING][RANK_EV_UP] = TO(STARTING),
    [CORE_RANK_STARTING][RANK_EV_ENTER] = TO(READY),
    [CORE_RANK_STARTING][RANK_EV_GONE] = TO(EMPTY),
    [CORE_RANK_STARTING][RANK_EV_DONE] = TO(DONE),
    [CORE_RANK_STARTING][RANK_EV_DROP] = TO(EMPTY),
    [CORE_RANK_READY][RANK_EV_GO] = TO(MEMBER),
    [CORE_RANK_READY][RANK_EV_GONE] = TO(EMPTY),
    [CORE_RANK_READY][RANK_EV_DROP] = TO(EMPTY),
    [CORE_RANK_MEMBER][RANK_EV_GO] = TO(MEMBER),
    [CORE_RANK_MEMBER][RANK_EV_LEAVE] = TO(LEFT),
    [CORE_RANK_MEMBER][RANK_EV_GONE] = TO(EMPTY),
    [CORE_RANK_MEMBER][RANK_EV_DROP] = TO(EMPTY),
    [CORE_RANK_LEFT][RANK_EV_DONE] = TO(DONE),
    [CORE_RANK_LEFT][RANK_EV_DROP] = TO(EMPTY),
    [CORE_RANK_DONE][RANK_EV_DROP] = TO(EMPTY),
    [CORE_RANK_EMPTY][RANK_EV_DROP] = TO(EMPTY),
};

uint32_t rank_rule(enum core_rank_state state, enum rank_event event)
{
    return rules[state][event] ? rules[state][event] - 1u : RANK_STATES;
}

bool program_mode(const struct core *core)
{
    return core->config.mode == CORE_PROGRAM || !core->joined;
}

/* ---- the one function that assigns a rank's state -------------------------------------------- */

static void rank_count(struct core *core, struct worker *worker, const struct rank *rank, bool add)
{
    uint32_t one = add ? 1 : UINT32_MAX;

    worker->count[rank->state] += one;
    core->count[rank->state] += one;
    if (rank->state == CORE_RANK_READY && !rank->acked)
        core->waiting += one;
    if (rank->state == CORE_RANK_STARTING && !rank->up)
        core->unseen += one;
}

bool rank_move(struct core *core, struct worker *worker, uint32_t slot, enum rank_event event)
{
    struct rank *rank = &worker->rank[slot];
    uint32_t next = rank_rule((enum core_rank_state)rank->state, event);

    if (next == RANK_STATES) {
        core_refuse_event(core);
        return false;
    }
    rank_count(core, worker, rank, false);
    rank->state = (uint8_t)next;
    if (event == RANK_EV_START || next == CORE_RANK_EMPTY) {
        if (rank->pid)
            rank->dead_pid = rank->pid;
        rank->pid = 0;
        rank->doubt = 0;
        rank->up = rank->acked = rank->has_state = false;
        rank->position = 0;
    } else if (event != RANK_EV_GO) {
        rank->up = true;
    }
    rank_count(core, worker, rank, true);
    if (core->waiting && core->ready_since == CORE_NONE)
        core->ready_since = core->time;
    else if (!core->waiting)
        core->ready_since = CORE_NONE;
    worker_rank_changed(core, worker);
    return true;
}

void rank_set_acked(struct core *core, struct rank *rank, bool acked)
{
    if (rank->state == CORE_RANK_READY)
        core->waiting += (uint32_t)rank->acked - (uint32_t)acked;
    rank->acked = acked;
    if (!core->waiting)
        core->ready_since = CORE_NONE;
    else if (core->ready_since == CORE_NONE)
        core->ready_since = core->time;
}

/* ---- names ----------------------------------------------------------------------------------- */

bool rank_name(struct core *core, struct worker *worker, uint32_t slot, uint32_t name)
{
    if (name >= core->names.size || !bits_has(&core->names, name) || slot >= worker->slots ||
        worker->rank[slot].name != CORE_NO_RANK)
        return false;
    bits_remove(&core->names, name);
    core->name_owner[name] = (uint32_t)(worker - core->worker) * core->config.max_slots + slot;
    worker->rank[slot].name = worker->rank[slot].last_name = name;
    if (name >= core->name_top)
        core->name_top = name + 1;
    return true;
}

/* The lowest free names for slots without one. */
void ranks_name(struct core *core, struct worker *worker)
{
    for (uint32_t s = 0; s < worker->slots; s++)
        if (worker->rank[s].name == CORE_NO_RANK)
            rank_name(core, worker, s, bits_next(&core->names, 0));
}

void ranks_forget(struct core *core, struct worker *worker)
{
    for (uint32_t s = 0; s < worker->slots; s++) {
        struct rank *rank = &worker->rank[s];

        rank_move(core, worker, s, RANK_EV_DROP);
        if (rank->name == CORE_NO_RANK)
            continue;
        bits_add(&core->names, rank->name);
        core->name_owner[rank->name] = NONE;
        rank->name = CORE_NO_RANK;
    }
    core->count[CORE_RANK_EMPTY] -= worker->slots;
    worker->count[CORE_RANK_EMPTY] = 0;
    while (core->name_top && core->name_owner[core->name_top - 1] == NONE)
        core->name_top--;
}

/* ---- starting -------------------------------------------------------------------------------- */

static void rank_start(struct core *core, struct worker *worker, uint32_t slot, bool replace)
{
    struct rank *rank = &worker->rank[slot];

    if (rank->name == CORE_NO_RANK || (rank->state != CORE_RANK_EMPTY && !replace))
        return;
    if (rank->state != CORE_RANK_EMPTY)
        rank_move(core, worker, slot, RANK_EV_DROP);
    rank_move(core, worker, slot, RANK_EV_START);
    rank->round = core->round;
    rank->started = core->time;
    rank->start = (uint64_t)core->epoch << 32 | core->starts;
    worker->owed_start |= UINT64_C(1) << slot;
    worker->owed_replace = worker->owed_replace || replace;
    worker_owe(core, (uint32_t)(worker - core->worker), OWE_START);
}

void ranks_start(struct core *core, struct worker *worker, bool replace)
{
    core->starts++;
    for (uint32_t s = 0; s < worker->slots; s++)
        rank_start(core, worker, s, replace);
}

/* In the order of places, so that names follow places when all are given at once. */
void ranks_start_all(struct core *core, bool replace)
{
    core->started_since = core->time;
    core->came_late = false;
    core->starts++;
    for (uint32_t p = 0; p < core->target; p++) {
        struct worker *worker;

        if (core->place[p].state != PLACE_TAKEN)
            continue;
        worker = &core->worker[core->place[p].worker];
        if (worker->state == CORE_WORKER_LEAVING)
            continue;
        ranks_name(core, worker);
        for (uint32_t s = 0; s < worker->slots; s++)
            rank_start(core, worker, s, replace);
    }
}

bool ranks_differ(const struct core *core)
{
    uint64_t start = 0;

    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        const struct worker *worker = &core->worker[i];

        if (worker->place >= core->target && !worker->draining)
            continue;
        for (uint32_t s = 0; s < worker->slots; s++) {
            if (worker->rank[s].state == CORE_RANK_EMPTY)
                continue;
            if (start && worker->rank[s].start != start)
                return true;
            start = worker->rank[s].start;
        }
    }
    return false;
}

/* ---- endings --------------------------------------------------------------------------------- */

static void exit_note(struct core *core, struct worker *worker, const struct rank *rank,
                      const struct rank_exit *exit, uint32_t slot)
{
    struct core_action *action;

    if (exit->quiet) {
        worker->rank[slot].last_name = rank->name;
        worker->owed_exits |= UINT64_C(1) << slot;
        worker_owe(core, (uint32_t)(worker - core->worker), OWE_EXITS);
        return;
    }
    action = core_note_emit(core, CORE_NOTE_RANK_EXITED);
    action->worker = worker->id;
    action->rank = rank->name;
    action->reason = exit->reason;
    action->exit_code = exit->exit_code;
    action->signal = exit->signal;
    action->detect = exit->detect;
}

static bool rank_replaced(const struct core *core, const struct worker *worker)
{
    return !program_mode(core) && !core->ending && !core->stopping &&
           core->state != CORE_JOB_GATHERING && core->state != CORE_JOB_RECOVERING &&
           worker->state != CORE_WORKER_LEAVING && worker->place != NONE;
}

void rank_gone(struct core *core, struct worker *worker, uint32_t slot,
               const struct rank_exit *exit)
{
    struct rank *rank = &worker->rank[slot];
    bool member = rank->state == CORE_RANK_READY || rank->state == CORE_RANK_MEMBER;
    int32_t code = exit->signal ? 128 + exit->signal : exit->exit_code;

    exit_note(core, worker, rank, exit, slot);
    if (!rank_move(core, worker, slot, RANK_EV_GONE))
        return;
    core->broken = core->broken || member || program_mode(core);
    losses_add(core, exit->detect);
    budget_blame(core, rank->round, exit->by_program, code, rank->name);
    if (rank_replaced(core, worker)) {
        core->starts++;
        rank_start(core, worker, slot, false);
    }
}

/* A rank that is at the end: the highest position of such is the job's end. */
void rank_reached(struct core *core, const struct rank *rank)
{
    core->ending = true;
    if (core->end_step == CORE_NONE || rank->position > core->end_step)
        core->end_step = rank->position;
}

static void rank_ended_well(struct core *core, struct worker *worker, uint32_t slot, int32_t code)
{
    struct rank *rank = &worker->rank[slot];

    if (rank->state == CORE_RANK_MEMBER && rank_move(core, worker, slot, RANK_EV_LEAVE))
        rank_reached(core, rank);
    if (rank_move(core, worker, slot, RANK_EV_DONE) && code && !core->left_code)
        core->left_code = code;
}

/* A rank says on leaving how far it came, which may be further than the last heartbeat knew. */
static void position_take(struct core *core, struct rank *rank, uint64_t position)
{
    if (position >= MAX_POSITION || position <= rank->position)
        return;
    rank->position = position;
    budget_heard(core, position);
}

/* It was said by a worker that had not heard of the newest start yet.  Ranks that have joined are
 * told by what they hold: one that lives is taken as it is, and its partial sums with it. */
static bool is_of_another_start(const struct core *core, const struct rank *rank, uint64_t start)
{
    return program_mode(core) && start && rank->start && start != rank->start;
}

static bool exit_is_old(const struct core *core, const struct worker *worker,
                        const struct rank *rank, const struct core_event *event)
{
    int32_t pid = event->rank_exited.pid;

    if (rank->state == CORE_RANK_EMPTY || rank->state == CORE_RANK_DONE ||
        is_of_another_start(core, rank, event->rank_exited.start))
        return true;
    if (pid && (pid == rank->dead_pid || (rank->pid && pid != rank->pid)))
        return true;
    return (worker->owed_start >> event->rank_exited.slot) & 1;
}

void rank_exited(struct core *core, struct worker *worker, const struct core_event *event)
{
    uint32_t slot = event->rank_exited.slot;
    int32_t code = event->rank_exited.exit_code;
    int32_t signal = event->rank_exited.signal;
    bool killed = signal == SIGNAL_KILL || signal == SIGNAL_TERM;
    struct rank_exit exit = {.exit_code = code, .signal = signal};
    struct rank *rank;

    if (slot >= worker->slots || exit_is_old(core, worker, &worker->rank[slot], event)) {
        core_refuse_event(core);
        return;
    }
    rank = &worker->rank[slot];
    if (event->rank_exited.pid)
        rank->pid = event->rank_exited.pid;
    if (event->rank_exited.joined && !core->joined && core->config.mode == CORE_AUTO) {
        core->joined = true;
        record_later(core);
    }
    if (rank->state == CORE_RANK_LEFT ||
        (event->rank_exited.left && rank->state == CORE_RANK_MEMBER)) {
        position_take(core, rank, event->rank_exited.position);
        rank_ended_well(core, worker, slot, killed ? 0 : signal ? 128 + signal : code);
        return;
    }
    if (program_mode(core) && code == 0 && signal == 0 && rank->state == CORE_RANK_STARTING) {
        rank_move(core, worker, slot, RANK_EV_DONE);
        return;
    }
    exit.reason = event->rank_exited.stopped                   ? CORE_REASON_STOPPED
                  : event->rank_exited.stalled                 ? CORE_REASON_STALLED
                  : killed && event->rank_exited.out_of_memory ? CORE_REASON_MEMORY
                  : signal                                     ? CORE_REASON_SIGNAL
                                                               : CORE_REASON_EXIT;
    exit.detect = event->rank_exited.detect;
    exit.by_program = event->rank_exited.stalled ||
                      (!event->rank_exited.stopped && (signal ? !killed : code != 0));
    rank_gone(core, worker, slot, &exit);
}

/* ---- statuses -------------------------------------------------------------------------------- */

/* The worker does not know of a start: START_RANKS was lost, or the exit, or is on its way. */
static void start_again(struct core *core, struct worker *worker, uint32_t slot, bool sure)
{
    struct rank *rank = &worker->rank[slot];

    if (rank->state != CORE_RANK_STARTING || rank->up ||
        (rank->started + core->config.silence > core->time && !sure))
        return;
    rank->started = core->time;
    worker->owed_start |= UINT64_C(1) << slot;
    worker_owe(core, (uint32_t)(worker - core->worker), OWE_START);
}

/* The worker sees no process in this slot. */
static void status_empty(struct core *core, struct worker *worker, uint32_t slot,
                         const struct core_rank_status *status, bool sure)
{
    struct rank *rank = &worker->rank[slot];
    struct rank_exit exit = {.reason = CORE_REASON_NONE, .quiet = true};
    bool same = status->pid && status->pid == rank->pid;

    if (rank->state == CORE_RANK_EMPTY || rank->state == CORE_RANK_DONE ||
        (status->pid && status->pid == rank->dead_pid && rank->up))
        return;
    if (rank->state == CORE_RANK_STARTING && !rank->up) {
        start_again(core, worker, slot, sure);
        return;
    }
    if (!sure && !same && ++rank->doubt < 2)
        return;
    if (rank->state == CORE_RANK_LEFT)
        rank_ended_well(core, worker, slot, 0);
    else
        rank_gone(core, worker, slot, &exit);
}

static void rank_enter(struct core *core, struct worker *worker, uint32_t slot)
{
    if (!rank_move(core, worker, slot, RANK_EV_ENTER) || core->joined ||
        core->config.mode == CORE_PROGRAM)
        return;
    core->joined = true;
    record_later(core);
}

static void status_position(struct core *core, struct rank *rank,
                            const struct core_rank_status *status)
{
    if (!status->has_state || status->position >= MAX_POSITION ||
        (rank->has_state && status->position <= rank->position))
        return;
    if (rank->state != CORE_RANK_READY && rank->state != CORE_RANK_MEMBER &&
        rank->state != CORE_RANK_LEFT && rank->state != CORE_RANK_DONE)
        return;
    if (!rank->has_state)
        core->settled = core->time;
    rank->has_state = true;
    rank->position = status->position;
    budget_heard(core, rank->position);
    if (core->state == CORE_JOB_RUNNING && core->plan.word == core->word &&
        rank->state == CORE_RANK_MEMBER && rank->position > core->plan.deal_step)
        budget_stepped(core);
}

/* Another process is there than the one that is known: that one ended and nobody said so. */
static bool status_other(struct core *core, struct worker *worker, uint32_t slot,
                         const struct core_rank_status *status)
{
    const struct rank_exit exit = {.reason = CORE_REASON_NONE, .quiet = true};
    struct rank *rank = &worker->rank[slot];

    if (!status->pid || !rank->pid || status->pid == rank->pid)
        return false;
    if (rank->state < CORE_RANK_LEFT)
        rank_gone(core, worker, slot, &exit);
    return true;
}

static void status_rank(struct core *core, struct worker *worker, uint32_t slot,
                        const struct core_rank_status *status, bool sure)
{
    struct rank *rank = &worker->rank[slot];

    if (is_of_another_start(core, rank, status->start)) {
        start_again(core, worker, slot, sure);
        if (status->state != CORE_RANK_EMPTY)
            worker->owed_replace |= (worker->owed_start >> slot) & 1;
        return;
    }
    if (status->state == CORE_RANK_EMPTY) {
        status_empty(core, worker, slot, status, sure);
        return;
    }
    if (status->state > CORE_RANK_DONE || rank->state == CORE_RANK_EMPTY ||
        (status->pid && status->pid == rank->dead_pid) || ((worker->owed_start >> slot) & 1) ||
        status_other(core, worker, slot, status))
        return;
    if (status->pid)
        rank->pid = status->pid;
    rank->doubt = 0;
    if (rank->state == CORE_RANK_STARTING && !rank->up)
        rank_move(core, worker, slot, RANK_EV_UP);
    if (rank->state == CORE_RANK_STARTING && status->state >= CORE_RANK_READY &&
        status->state <= CORE_RANK_MEMBER)
        rank_enter(core, worker, slot);
    status_position(core, rank, status);
    if (rank->state == CORE_RANK_MEMBER && status->state >= CORE_RANK_LEFT)
        rank_move(core, worker, slot, RANK_EV_LEAVE);
    if (rank->state == CORE_RANK_LEFT && status->state == CORE_RANK_DONE)
        rank_move(core, worker, slot, RANK_EV_DONE);
    if (rank->state == CORE_RANK_STARTING && status->state == CORE_RANK_DONE && program_mode(core))
        rank_move(core, worker, slot, RANK_EV_DONE);
    if ((rank->state == CORE_RANK_LEFT || rank->state == CORE_RANK_DONE) && !program_mode(core))
        rank_reached(core, rank);
}

void ranks_status(struct core *core, struct worker *worker, const struct core_worker_status *status,
                  bool sure)
{
    for (uint32_t s = 0; s < status->slots && s < worker->slots; s++)
        if (worker->rank[s].name != CORE_NO_RANK)
            status_rank(core, worker, s, &status->rank[s], sure);
}
