/* Workers: who is in the job, who is out, who has not been heard of.
 *
 * The table says which message a worker in a state may send; what follows from it stands in the
 * handlers.  A worker that is out for good is answered with RK_EFENCED as long as it is known; an
 * unknown one that does not come empty-handed is one that was forgotten, and is out too. */
#include "coordinator/core/state.h"

#include <stdlib.h>

typedef void (*worker_handler)(struct core *, uint32_t, const struct core_event *);

/* ---- finding --------------------------------------------------------------------------------- */

/* The finishing mix of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint32_t hash_of(const struct core *core, uint64_t id)
{
    id = (id ^ (id >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    id = (id ^ (id >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(id ^ (id >> 31)) & core->hash_mask;
}

bool members_init(struct core *core)
{
    uint32_t capacity = core->config.capacity_workers;
    uint32_t buckets = 16;

    while (buckets < capacity)
        buckets *= 2;
    core->hash_mask = buckets - 1;
    core->worker = calloc(capacity, sizeof *core->worker);
    core->host = calloc(capacity, sizeof *core->host);
    core->rank_pool = calloc((size_t)capacity * core->config.max_slots, sizeof *core->rank_pool);
    core->worker_hash = malloc(buckets * sizeof *core->worker_hash);
    core->host_hash = malloc(buckets * sizeof *core->host_hash);
    core->order = calloc((size_t)capacity * 2, sizeof *core->order);
    core->order_hosts = calloc(capacity, sizeof *core->order_hosts);
    if (!core->worker || !core->host || !core->rank_pool || !core->worker_hash ||
        !core->host_hash || !core->order || !core->order_hosts)
        return false;
    for (uint32_t i = 0; i < buckets; i++)
        core->worker_hash[i] = core->host_hash[i] = NONE;
    core->free_worker = core->free_host = NONE;
    list_init(&core->heard, &core->worker->heard, sizeof *core->worker);
    list_init(&core->lost, &core->worker->heard, sizeof *core->worker);
    list_init(&core->owing, &core->worker->owe, sizeof *core->worker);
    drain_init(core);
    return true;
}

void members_done(struct core *core)
{
    free(core->worker);
    free(core->host);
    free(core->rank_pool);
    free(core->worker_hash);
    free(core->host_hash);
    free(core->order);
    free(core->order_hosts);
}

uint32_t worker_find(const struct core *core, struct rk_worker_id id)
{
    uint32_t index = core->worker_hash[hash_of(core, id.value)];

    while (index != NONE && core->worker[index].id.value != id.value)
        index = core->worker[index].hash_next;
    return index;
}

static uint32_t host_find(const struct core *core, struct rk_host_id id)
{
    uint32_t index = core->host_hash[hash_of(core, id.value)];

    while (index != NONE && core->host[index].id.value != id.value)
        index = core->host[index].hash_next;
    return index;
}

static void hash_remove(uint32_t *bucket, uint32_t index, const struct core *core, bool host)
{
    while (*bucket != index)
        bucket = host ? &core->host[*bucket].hash_next : &core->worker[*bucket].hash_next;
    *bucket = host ? core->host[index].hash_next : core->worker[index].hash_next;
}

/* The entry of a host, new when it is not known.  There are as many as workers. */
static uint32_t host_get(struct core *core, struct rk_host_id id)
{
    uint32_t index = host_find(core, id);
    uint32_t *bucket = &core->host_hash[hash_of(core, id.value)];
    struct host *host;

    if (index != NONE)
        return index;
    index = core->free_host != NONE ? core->free_host : core->used_hosts++;
    host = &core->host[index];
    if (index == core->free_host)
        core->free_host = host->hash_next;
    *host = (struct host){.id = id, .hash_next = *bucket};
    list_init(&host->workers, &core->worker->host_link, sizeof *core->worker);
    *bucket = index;
    return index;
}

static void host_put(struct core *core, uint32_t index)
{
    struct host *host = &core->host[index];

    if (host->workers.count)
        return;
    hash_remove(&core->host_hash[hash_of(core, host->id.value)], index, core, true);
    host->id.value = 0;
    host->hash_next = core->free_host;
    core->free_host = index;
}

/* ---- states ---------------------------------------------------------------------------------- */

bool worker_living(const struct worker *worker)
{
    return worker->state == CORE_WORKER_PRESENT || worker->state == CORE_WORKER_MEMBER ||
           worker->state == CORE_WORKER_LEAVING;
}

void worker_set(struct core *core, struct worker *worker, enum core_member_state state)
{
    uint32_t index = (uint32_t)(worker - core->worker);
    bool before = worker_living(worker);
    bool after;

    if (worker->state == CORE_WORKER_LOST)
        list_remove(&core->lost, index);
    core->members -= worker->state == CORE_WORKER_MEMBER;
    worker->state = state;
    core->members += worker->state == CORE_WORKER_MEMBER;
    after = worker_living(worker);
    if (after && !before) {
        list_append(&core->heard, index);
        core->living++;
        core->host[worker->host].living++;
    } else if (before && !after) {
        list_remove(&core->heard, index);
        core->living--;
        core->host[worker->host].living--;
    }
    if (state == CORE_WORKER_LOST)
        list_append(&core->lost, index);
}

void worker_rank_changed(struct core *core, struct worker *worker)
{
    bool member = worker->count[CORE_RANK_MEMBER] + worker->count[CORE_RANK_LEFT] > 0;

    if (worker->state == CORE_WORKER_PRESENT && member)
        worker_set(core, worker, CORE_WORKER_MEMBER);
    else if (worker->state == CORE_WORKER_MEMBER && !member)
        worker_set(core, worker, CORE_WORKER_PRESENT);
}

static void worker_free(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];
    uint32_t host = worker->host;

    worker_set(core, worker, CORE_WORKER_ABSENT);
    list_remove(&core->host[host].workers, index);
    host_put(core, host);
    hash_remove(&core->worker_hash[hash_of(core, worker->id.value)], index, core, false);
    if (worker->order != NONE)
        core->order[worker->order] = NONE;
    worker->id.value = 0;
    worker->hash_next = core->free_worker;
    core->free_worker = index;
}

static bool worker_entry_free(const struct core *core)
{
    return core->free_worker != NONE || core->used_workers < core->config.capacity_workers;
}

/* An entry for a new worker: a free one, or that of a lost one on whose host nobody lives, for
 * whom nobody asks any more.  NONE: all are taken. */
static uint32_t worker_entry(struct core *core)
{
    uint32_t index = core->lost.head;

    for (uint32_t turn = 0; !worker_entry_free(core) && index != NONE && turn < 64; turn++) {
        struct worker *worker = &core->worker[index];
        uint32_t next = list_next(&core->lost, index);

        if (!worker->owed && core->host[worker->host].living == 0)
            worker_free(core, index);
        index = next;
    }
    if (!worker_entry_free(core))
        return NONE;
    index = core->free_worker;
    if (index == NONE)
        return core->used_workers++;
    core->free_worker = core->worker[index].hash_next;
    return index;
}

static uint32_t worker_new(struct core *core, const struct core_event *event)
{
    uint32_t index = worker_entry(core);
    uint32_t *bucket = &core->worker_hash[hash_of(core, event->worker.value)];
    struct worker *worker;
    struct rank *rank;

    if (index == NONE)
        return NONE;
    worker = &core->worker[index];
    rank = core->rank_pool + (size_t)index * core->config.max_slots;
    *worker = (struct worker){
        .id = event->worker,
        .rank = rank,
        .place = NONE,
        .writer = NONE,
        .order = NONE,
        .slots = event->hello.status->slots,
        .last_heard = core->time,
        .serial = event->serial,
        .round = core->round,
        .snapshot_step = {CORE_NONE, CORE_NONE},
        .hash_next = *bucket,
    };
    *bucket = index;
    for (uint32_t s = 0; s < core->config.max_slots; s++)
        rank[s] = (struct rank){.name = CORE_NO_RANK};
    worker->count[CORE_RANK_EMPTY] = worker->slots;
    core->count[CORE_RANK_EMPTY] += worker->slots;
    worker->host = host_get(core, event->hello.host);
    list_append(&core->host[worker->host].workers, index);
    worker_set(core, worker, CORE_WORKER_PRESENT);
    order_append(core, index);
    return index;
}

/* ---- what a worker is owed ------------------------------------------------------------------- */

void worker_owe(struct core *core, uint32_t index, uint32_t what)
{
    struct worker *worker = &core->worker[index];

    if (!worker->owed)
        list_append(&core->owing, index);
    worker->owed |= what;
}

static void pay_note(struct core *core, const struct worker *worker, enum core_note note)
{
    struct core_action *action = core_note_emit(core, note);

    action->worker = worker->id;
    action->ticket = worker->ticket;
    action->place = worker->place;
    if (note == CORE_NOTE_WORKER_LOST) {
        action->reason = worker->reason;
        action->detect = worker->detect;
        action->spare = worker->was_spare;
    }
}

static void pay_exit(struct core *core, struct worker *worker)
{
    uint32_t slot = (uint32_t)__builtin_ctzll(worker->owed_exits);
    struct core_action *action = core_note_emit(core, CORE_NOTE_RANK_EXITED);

    worker->owed_exits &= worker->owed_exits - 1;
    action->worker = worker->id;
    action->rank = worker->rank[slot].last_name;
    if (!worker->owed_exits)
        worker->owed &= ~(uint32_t)OWE_EXITS;
}

static void pay_start(struct core *core, struct worker *worker)
{
    struct core_action *action = core_emit(core, CORE_DO_START_RANKS);

    action->worker = worker->id;
    action->slots = worker->owed_start;
    action->replace = worker->owed_replace;
    worker->owed_start = 0;
    worker->owed_replace = false;
}

/* One action of what a worker is owed, in the order of causes. */
static void pay_one(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];
    uint32_t what = worker->owed & (~worker->owed + 1);

    if (worker->owed & OWE_EXITS)
        what = OWE_EXITS;
    if (worker->owed & OWE_JOINED)
        what = OWE_JOINED;
    if (what == OWE_EXITS) {
        pay_exit(core, worker);
        return;
    }
    worker->owed &= ~what;
    if (core->state == CORE_JOB_ENDED && (what == OWE_START || what == OWE_WRITE))
        return;
    if (what == OWE_JOINED) {
        pay_note(core, worker, CORE_NOTE_WORKER_JOINED);
    } else if (what == OWE_START) {
        pay_start(core, worker);
    } else if (what == OWE_WRITE) {
        checkpoint_write_emit(core, index);
    } else if (what == OWE_LOST) {
        pay_note(core, worker,
                 worker->reason == CORE_REASON_DRAINED ? CORE_NOTE_DRAINED : CORE_NOTE_WORKER_LOST);
    } else {
        struct core_action *action = core_emit(core, CORE_DO_KILL_WORKER);

        action->worker = worker->id;
        action->ticket = worker->ticket;
        action->reason = worker->reason;
    }
}

void workers_pay(struct core *core)
{
    while (core->owing.head != NONE && core_room(core)) {
        uint32_t index = core->owing.head;
        struct worker *worker = &core->worker[index];

        pay_one(core, index);
        if (worker->owed)
            continue;
        list_remove(&core->owing, index);
        if (worker->state == CORE_WORKER_LOST && worker->ended)
            worker_free(core, index);
    }
}

/* ---- loss ------------------------------------------------------------------------------------ */

void worker_lost(struct core *core, uint32_t index, enum core_reason reason, uint64_t detect)
{
    struct worker *worker = &core->worker[index];
    uint32_t members = worker->count[CORE_RANK_READY] + worker->count[CORE_RANK_MEMBER];
    uint32_t going = members + worker->count[CORE_RANK_STARTING];
    bool told = reason == CORE_REASON_SCALED || reason == CORE_REASON_DRAINED;
    bool leaving = worker->state == CORE_WORKER_LEAVING || worker->draining;
    bool finished = going == 0 && worker->count[CORE_RANK_LEFT] + worker->count[CORE_RANK_DONE];
    bool idle = worker->idle && going == 0 && !finished; /* else it came from an earlier life */

    form_worker_lost(core, worker);
    carriers_worker_lost(core, index);
    ranks_forget(core, worker);
    drain_worker_lost(core, worker);
    place_leave(core, worker);
    worker_set(core, worker, CORE_WORKER_LOST);
    worker->reason = reason;
    worker->detect = detect;
    worker->was_spare = idle;
    worker_owe(core, index, OWE_LOST | OWE_KILL);
    worker->owed &= ~(uint32_t)(OWE_START | OWE_WRITE);
    checkpoint_worker_lost(core, worker);
    core->broken = core->broken || (program_mode(core) && going);
    if (told || idle)
        return;
    core->broken = core->broken || members || finished;
    if (finished)
        return;
    losses_add(core, detect);
    if (!leaving)
        budget_blame(core, worker->round, false, 0, CORE_NO_RANK);
}

void worker_fenced(struct core *core, uint32_t index)
{
    core->worker[index].ended = true;
    if (!core->worker[index].owed)
        worker_free(core, index);
}

void workers_silent(struct core *core)
{
    while (core->heard.head != NONE) {
        uint32_t index = core->heard.head;
        uint64_t last = core->worker[index].last_heard;

        if (last + core->config.silence > core->time)
            break;
        worker_lost(core, index, CORE_REASON_SILENT, core->time - last);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void refuse_to(struct core *core, struct rk_worker_id id, int32_t code)
{
    struct core_action *action = core_emit(core, CORE_DO_REFUSE);

    action->worker = id;
    action->code = code;
    core_refuse_event(core);
}

static void alive(struct core *core, uint32_t index)
{
    struct worker *worker = &core->worker[index];

    worker->last_heard = core->time;
    list_remove(&core->heard, index);
    list_append(&core->heard, index);
}

/* The first layout that a worker declares is the job's. */
static void layout(struct core *core, const struct core_worker_status *status)
{
    if (!status->layout_hash)
        return;
    if (!core->layout_hash)
        core->layout_hash = status->layout_hash;
    if (core->layout_hash != status->layout_hash)
        job_fail(core, 65, CORE_REASON_LAYOUT, CORE_NO_RANK);
}

static void status_take(struct core *core, uint32_t index, const struct core_worker_status *status,
                        bool sure)
{
    struct worker *worker = &core->worker[index];

    layout(core, status);
    worker->layout_hash = status->layout_hash;
    worker->snapshot_step[0] = status->snapshot_step[0];
    worker->snapshot_step[1] = status->snapshot_step[1];
    ranks_status(core, worker, status, sure);
    checkpoint_status(core, index);
}

static void welcome(struct core *core, uint32_t index)
{
    core_emit(core, CORE_DO_WELCOME)->worker = core->worker[index].id;
}

/* Freeze or go may have been lost with the connection. */
static void say_again(struct core *core, uint32_t index, const struct core_event *event)
{
    struct worker *worker = &core->worker[index];

    if (worker->asked == core->word && core->plan.word != core->word) {
        core_emit(core, CORE_DO_FREEZE)->worker = worker->id;
    } else if (core->plan.word == core->word && worker->acked == core->word &&
               event->word < core->word && core->time >= worker->go_again) {
        worker->go_again = core->time + core->config.silence;
        core_emit(core, CORE_DO_GO)->worker = worker->id;
    }
}

/* A worker without history: it has no plan and runs nothing. */
static bool empty_handed(const struct core_event *event)
{
    const struct core_worker_status *status = event->hello.status;

    for (uint32_t s = 0; s < status->slots; s++)
        if (status->rank[s].state != CORE_RANK_EMPTY)
            return false;
    return event->word == 0;
}

static void on_new(struct core *core, uint32_t none, const struct core_event *event)
{
    const struct core_worker_status *status = event->hello.status;
    uint32_t index;

    /* Who comes when the end is near is not needed; who was there before the coordinator is. */
    bool late = core->ending && !core->adopting;

    (void)none;
    if (!empty_handed(event) && !core->adopting) {
        refuse_to(core, event->worker, RK_EFENCED);
        return;
    }
    if (event->worker.value == 0 || event->hello.host.value == 0 || status->slots == 0 ||
        status->slots > core->config.max_slots || late) {
        refuse_to(core, event->worker, late ? RK_EFENCED : RK_EINVAL);
        return;
    }
    index = worker_new(core, event);
    if (index == NONE) {
        refuse_to(core, event->worker, RK_EFULL);
        return;
    }
    if (!place_take(core, index, event->hello.ticket, !empty_handed(event)) ||
        !recover_hello(core, index, event)) {
        ranks_forget(core, &core->worker[index]);
        place_leave(core, &core->worker[index]);
        worker_set(core, &core->worker[index], CORE_WORKER_LOST);
        worker_owe(core, index, OWE_KILL);
        core->worker[index].owed = OWE_KILL;
        refuse_to(core, event->worker, RK_EFENCED);
        return;
    }
    welcome(core, index);
    if (empty_handed(event))
        worker_owe(core, index, OWE_JOINED);
    status_take(core, index, status, true);
    form_ask(core, index);
}

static void on_again(struct core *core, uint32_t index, const struct core_event *event)
{
    const struct worker *worker = &core->worker[index];

    if (event->hello.host.value != core->host[worker->host].id.value ||
        event->hello.status->slots != worker->slots) {
        refuse_to(core, event->worker, RK_EINVAL);
        return;
    }
    alive(core, index);
    welcome(core, index);
    status_take(core, index, event->hello.status, true);
    say_again(core, index, event);
}

static void on_heartbeat(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    status_take(core, index, event->heartbeat.status, false);
    if (core->state == CORE_JOB_RUNNING)
        say_again(core, index, event);
}

static void on_closed(struct core *core, uint32_t index, const struct core_event *event)
{
    worker_lost(core, index, CORE_REASON_CLOSED, event->closed.detect);
    if (event->closed.ended)
        worker_fenced(core, index);
}

static void on_fenced(struct core *core, uint32_t index, const struct core_event *event)
{
    if (event->closed.ended)
        worker_fenced(core, index);
}

static void on_rank_exited(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    rank_exited(core, &core->worker[index], event);
}

static void on_ack(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    if (event->word != core->word || core->plan.word == core->word ||
        core->worker[index].asked != core->word || core->worker[index].acked == core->word) {
        core_refuse_event(core);
        return;
    }
    status_take(core, index, event->freeze_ack.status, true);
    form_ack(core, index, event);
}

static void on_progress(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    if (event->word != core->plan.word || event->word != core->word ||
        event->progress.position >= MAX_POSITION ||
        core->worker[index].count[CORE_RANK_MEMBER] + core->worker[index].count[CORE_RANK_LEFT] ==
            0) {
        core_refuse_event(core);
        return;
    }
    budget_heard(core, event->progress.position);
    if (event->progress.position > core->plan.deal_step)
        budget_stepped(core);
    checkpoint_progress(core);
}

static void on_snapshot(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    checkpoint_snapshot(core, index, event->snapshot.step, event->snapshot.missed);
}

static void on_written(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    checkpoint_written(core, index, event);
}

static void on_loaded(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    load_done(core, index, event);
}

static void on_carrier(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    carriers_event(core, index, event);
}

/* A member that is still given its state keeps all others waiting, and may do so, and so may
 * carriers that are still to come: from when all is there the wait counts. */
static bool may_wait(const struct core *core, uint64_t waited)
{
    if (core->time < core->settled + waited)
        return true;
    for (uint32_t m = 0; m < core->member_count; m++)
        if (!core->worker[core->member[m].worker].rank[core->member[m].slot].has_state)
            return true;
    return false;
}

static void on_comm(struct core *core, uint32_t index, const struct core_event *event)
{
    alive(core, index);
    if (event->word != core->plan.word || core->state != CORE_JOB_RUNNING || core->broken ||
        core->ending || (event->comm_failed.waited && may_wait(core, event->comm_failed.waited))) {
        core_refuse_event(core);
        return;
    }
    if (event->comm_failed.waited && carriers_stuck(core))
        return;
    budget_comm_failed(core);
    core->broken = true;
}

static void on_drain(struct core *core, uint32_t index, const struct core_event *event)
{
    drain_start(core, index, event->drain.within);
}

static void on_stranger(struct core *core, uint32_t none, const struct core_event *event)
{
    (void)none;
    refuse_to(core, event->worker, RK_ESTATE);
}

static void on_zombie(struct core *core, uint32_t index, const struct core_event *event)
{
    (void)index;
    refuse_to(core, event->worker, RK_EFENCED);
}

struct worker_rule {
    const char *name;
    worker_handler act;
};
#define RULE(text, act) \
    {                   \
        text, act       \
    }
/* What all three kinds of living workers may say. */
#define LIVING(state)                                                    \
    [state][CORE_EV_HELLO] = RULE("welcome again", on_again),            \
    [state][CORE_EV_HEARTBEAT] = RULE("alive", on_heartbeat),            \
    [state][CORE_EV_CLOSED] = RULE("-> lost", on_closed),                \
    [state][CORE_EV_RANK_EXITED] = RULE("rank ended", on_rank_exited),   \
    [state][CORE_EV_FREEZE_ACK] = RULE("count the ack", on_ack),         \
    [state][CORE_EV_SNAPSHOT] = RULE("count the snapshot", on_snapshot), \
    [state][CORE_EV_SHARD_WRITTEN] = RULE("count the part", on_written), \
    [state][CORE_EV_LOADED] = RULE("state is there", on_loaded),         \
    [state][CORE_EV_CARRIER_UP] = RULE("count the carrier", on_carrier), \
    [state][CORE_EV_CARRIER_LOST] = RULE("new carriers", on_carrier),    \
    [state][CORE_EV_DRAIN] = RULE("a successor, -> leaving", on_drain)

/* The whole behaviour of a worker as others see it.  An empty cell is a refused event. */
static const struct worker_rule rules[CORE_WORKER_COUNT_][CORE_EV_COUNT_] = {
    [CORE_WORKER_ABSENT][CORE_EV_HELLO] = RULE("-> present, or refused", on_new),
    [CORE_WORKER_ABSENT][CORE_EV_HEARTBEAT] = RULE("say hello", on_stranger),
    LIVING(CORE_WORKER_PRESENT),
    LIVING(CORE_WORKER_MEMBER),
    LIVING(CORE_WORKER_LEAVING),
    [CORE_WORKER_MEMBER][CORE_EV_PROGRESS] = RULE("a step is done", on_progress),
    [CORE_WORKER_LEAVING][CORE_EV_PROGRESS] = RULE("a step is done", on_progress),
    [CORE_WORKER_MEMBER][CORE_EV_COMM_FAILED] = RULE("freeze -> forming", on_comm),
    [CORE_WORKER_LEAVING][CORE_EV_COMM_FAILED] = RULE("freeze -> forming", on_comm),
    [CORE_WORKER_LOST][CORE_EV_HELLO] = RULE("fenced", on_zombie),
    [CORE_WORKER_LOST][CORE_EV_HEARTBEAT] = RULE("fenced", on_zombie),
    [CORE_WORKER_LOST][CORE_EV_CLOSED] = RULE("dead, if the launcher says so", on_fenced),
};

const char *worker_rule_name(enum core_member_state state, enum core_event_kind kind)
{
    return rules[state][kind].name;
}

/* Statuses are walked up to their slots: no more than the worker has.  One that was overtaken by
 * another message of its worker could speak of a process that ended since. */
static bool status_fits(const struct core *core, uint32_t index, const struct core_event *event)
{
    const struct core_worker_status *status;

    if (event->kind == CORE_EV_HELLO)
        status = event->hello.status;
    else if (event->kind == CORE_EV_HEARTBEAT)
        status = event->heartbeat.status;
    else if (event->kind == CORE_EV_FREEZE_ACK)
        status = event->freeze_ack.status;
    else
        return true;
    if (!status || status->slots > RK_MAX_SLOTS ||
        (index != NONE && event->serial && event->serial < core->worker[index].serial))
        return false;
    return index == NONE || event->kind == CORE_EV_HELLO ||
           status->slots <= core->worker[index].slots;
}

void members_event(struct core *core, const struct core_event *event)
{
    uint32_t index = worker_find(core, event->worker);
    enum core_member_state state = index == NONE ? CORE_WORKER_ABSENT : core->worker[index].state;
    const struct worker_rule *rule = &rules[state][event->kind];

    if (!rule->act || !status_fits(core, index, event)) {
        core_refuse_event(core);
        return;
    }
    if (index != NONE && event->serial > core->worker[index].serial)
        core->worker[index].serial = event->serial;
    rule->act(core, index, event);
}

/* ---- order ----------------------------------------------------------------------------------- */

static void order_put(struct core *core, uint32_t index)
{
    core->worker[index].order = core->order_count;
    core->order[core->order_count++] = index;
}

void order_append(struct core *core, uint32_t index)
{
    if (core->order_count == core->config.capacity_workers * 2)
        order_build(core);
    else
        order_put(core, index);
}

/* Hosts in the order of their lowest rank's name, a host's workers likewise, then those without
 * names. */
void order_build(struct core *core)
{
    uint32_t host_count = 0;

    for (uint32_t i = 0; i < core->used_workers; i++)
        core->worker[i].order = NONE;
    for (uint32_t h = 0; h < core->used_hosts; h++)
        core->host[h].fill = 0;
    for (uint32_t name = 0; name < core->name_top; name++) {
        uint32_t owner = core->name_owner[name];

        if (owner == NONE)
            continue;
        owner = core->worker[owner / core->config.max_slots].host;
        if (core->host[owner].fill++ == 0)
            core->order_hosts[host_count++] = owner;
    }
    core->order_count = 0;
    for (uint32_t h = 0; h < host_count; h++) {
        struct host *host = &core->host[core->order_hosts[h]];

        host->first = core->order_count;
        core->order_count += host->workers.count;
        host->fill = 0;
    }
    for (uint32_t i = 0; i < core->order_count; i++)
        core->order[i] = NONE;
    for (uint32_t name = 0; name < core->name_top; name++) {
        uint32_t owner = core->name_owner[name];
        struct worker *worker;

        if (owner == NONE)
            continue;
        worker = &core->worker[owner / core->config.max_slots];
        if (worker->order != NONE)
            continue;
        worker->order = core->host[worker->host].first + core->host[worker->host].fill++;
        core->order[worker->order] = (uint32_t)(worker - core->worker);
    }
    for (uint32_t i = 0; i < core->used_workers; i++)
        if (worker_living(&core->worker[i]) && core->worker[i].order == NONE)
            order_put(core, i);
}

bool core_worker_next(const struct core *core, uint32_t *cursor, struct core_worker_view *view)
{
    while (*cursor < core->order_count) {
        uint32_t index = core->order[(*cursor)++];

        if (index != NONE && worker_living(&core->worker[index]))
            return core_worker_find(core, core->worker[index].id, view);
    }
    return false;
}

bool core_worker_find(const struct core *core, struct rk_worker_id id,
                      struct core_worker_view *view)
{
    uint32_t index = worker_find(core, id);
    const struct worker *worker;

    if (index == NONE)
        return false;
    worker = &core->worker[index];
    *view = (struct core_worker_view){
        .worker = worker->id,
        .host = core->host[worker->host].id,
        .state = worker->state,
        .draining = worker->draining,
        .spare = worker->idle,
        .place = worker->place,
        .ticket = worker->ticket,
        .last_heard = worker->last_heard + core->late,
    };
    view->status.slots = worker->slots;
    view->status.layout_hash = worker->layout_hash;
    view->status.snapshot_step[0] = worker->snapshot_step[0];
    view->status.snapshot_step[1] = worker->snapshot_step[1];
    for (uint32_t s = 0; s < worker->slots; s++) {
        const struct rank *rank = &worker->rank[s];

        view->status.rank[s] =
            (struct core_rank_status){rank->name,      (enum core_rank_state)rank->state,
                                      rank->has_state, rank->position,
                                      rank->pid,       rank->start};
    }
    return true;
}

bool core_fence_next(const struct core *core, struct rk_host_id id, uint32_t *cursor,
                     struct rk_worker_id *worker)
{
    uint32_t host = host_find(core, id);
    uint32_t index;

    if (host == NONE)
        return false;
    index = *cursor ? *cursor - 1 : core->host[host].workers.head;
    while (index != NONE && index < core->config.capacity_workers) {
        uint32_t next = list_next(&core->host[host].workers, index);

        if (core->worker[index].state == CORE_WORKER_LOST) {
            *worker = core->worker[index].id;
            *cursor = next == NONE ? NONE : next + 1;
            return true;
        }
        index = next;
    }
    return false;
}
