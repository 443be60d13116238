/* The coordinator's shell in the simulation: letters to events, actions to letters. */
#include "tests/sim/sim.h"

#include "coordinator/core/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void actions_do(struct sim *sim, const struct core_actions *actions);

static void to_core_later(struct sim *sim, struct letter letter, uint64_t delay)
{
    struct letter *copy = sim_alloc(sizeof *copy);

    *copy = letter;
    sim_push(sim,
             (struct item){.kind = EV_TO_CORE, .who = UINT32_MAX, .letter = copy, .tag = sim->life},
             delay);
}

static double seconds(const struct sim *sim)
{
    return (double)(sim->now % (1000 * RK_S)) / 1e9;
}

/* A worker by its place in the simulation's list. */
static int number_of(struct rk_worker_id worker)
{
    return worker.value ? (int)(worker.value & 0xffffff) - 1 : -1;
}

static void trace_event(const struct sim *sim, const struct core_event *event)
{
    const struct core_worker_status *status =
        event->kind == CORE_EV_HELLO        ? event->hello.status
        : event->kind == CORE_EV_HEARTBEAT  ? event->heartbeat.status
        : event->kind == CORE_EV_FREEZE_ACK ? event->freeze_ack.status
                                            : NULL;

    if (sim->o.verbose < 2 || event->kind == CORE_EV_TICK)
        return;
    printf("%9.6f > %-12s w%-3d word %llx state %s", seconds(sim), core_event_name(event->kind),
           number_of(event->worker), (unsigned long long)event->word,
           core_state_name(core_state(sim->core)));
    for (uint32_t s = 0; status && s < sim->o.slots; s++)
        printf(", rank %d pid %d start %u %s at %lld", (int)status->rank[s].rank,
               (int)status->rank[s].pid, (uint32_t)status->rank[s].start,
               core_rank_state_name(status->rank[s].state),
               status->rank[s].has_state ? (long long)status->rank[s].position : -1);
    putchar('\n');
}

static void trace_action(const struct sim *sim, const struct core_action *action)
{
    if (sim->o.verbose > 1 && action->kind != CORE_DO_EVENT)
        printf("%9.6f < %-12s w%-3d word %llx step %lld slots %llx code %d\n", seconds(sim),
               core_action_name(action->kind), number_of(action->worker),
               (unsigned long long)action->word, (long long)action->step,
               (unsigned long long)action->slots, action->code);
}

static void boss_step(struct sim *sim, const struct core_event *event)
{
    struct core_actions actions;
    const char *broken;

    trace_event(sim, event);
    core_step(sim->core, event, &actions);
    sim->events++;
    sim_digest(sim, event->kind + (actions.count << 8));
    if (sim->o.workers < 64 || sim->events % 4096 == 0) {
        broken = core_check(sim->core, UINT32_MAX);
        if (broken)
            sim_fail(sim, broken);
    }
    actions_do(sim, &actions);
}

/* What is to be durable soon takes a while, and is lost with a coordinator that dies before. */
static void record_settle(struct sim *sim)
{
    if (sim->soon_at == 0 || sim->soon_at > sim->now)
        return;
    sim->durable = sim->soon;
    sim->has_durable = true;
    sim->soon_at = 0;
}

void boss_start(struct sim *sim)
{
    struct rk_why why;

    record_settle(sim);
    sim->soon_at = 0;
    if (core_new(&sim->config, sim->has_durable ? &sim->durable : NULL, ++sim->epoch, sim->now,
                 &sim->core, &why)) {
        sim_fail(sim, "core_new");
        return;
    }
    sim->life++;
    if (sim->has_durable)
        to_core_later(sim, (struct letter){.kind = CORE_EV_LAUNCHED}, sim_below(sim, 300 * RK_MS));
    boss_tick(sim, 0);
    for (uint32_t w = 0; w < sim->worker_count; w++)
        if (sim->worker[w].alive && sim->core)
            sim_push(sim, (struct item){.kind = EV_BEAT, .who = w, .tag = 1},
                     sim_below(sim, 100 * RK_MS));
}

void boss_die(struct sim *sim)
{
    core_free(sim->core);
    sim->core = NULL;
    sim->life++;
    sim->restarts++;
    sim_push(sim, (struct item){.kind = EV_CORE_UP}, 50 * RK_MS + sim_below(sim, RK_S));
}

void boss_tick(struct sim *sim, uint64_t late)
{
    struct core_event event = {.kind = CORE_EV_TICK, .now = sim->now, .tick.late = late};
    uint64_t life = sim->life;
    uint64_t deadline;
    uint64_t wait;

    if (!sim->core)
        return;
    for (uint32_t turn = 0; turn < 100000 && sim->core && life == sim->life; turn++) {
        boss_step(sim, &event);
        event.tick.late = 0;
        if (!sim->core || life != sim->life || core_deadline(sim->core) > sim->now)
            break;
        if (turn > 1000 + 4 * sim->o.workers) {
            sim_fail(sim, "the core asks for ticks for ever");
            return;
        }
    }
    if (!sim->core || life != sim->life)
        return;
    deadline = core_deadline(sim->core);
    wait = deadline == CORE_NONE || deadline > sim->now + 50 * RK_MS ? 50 * RK_MS
                                                                     : deadline - sim->now;
    sim_push(sim, (struct item){.kind = EV_TICK, .tag = sim->life}, wait);
}

/* ---- letters in ------------------------------------------------------------------------------ */

static void status_fill(const struct sim *sim, const struct letter *letter,
                        struct core_worker_status *status)
{
    status->slots = sim->o.slots;
    status->layout_hash = 7;
    status->snapshot_step[0] = letter->snapshot[0];
    status->snapshot_step[1] = letter->snapshot[1];
    for (uint32_t s = 0; s < sim->o.slots; s++)
        status->rank[s] = letter->rank[s];
}

static void event_fill(const struct sim *sim, const struct letter *letter, struct core_event *event,
                       const struct core_worker_status *status)
{
    switch (letter->kind) {
    case CORE_EV_HELLO:
        event->hello.host.value = letter->host;
        event->hello.ticket = letter->ticket;
        event->hello.members = letter->members;
        event->hello.member = letter->member;
        event->hello.frozen_word = letter->frozen;
        event->hello.lineage = letter->lineage;
        event->hello.deal_step = letter->a;
        event->hello.stop_at = letter->b;
        memcpy(event->hello.carrier, letter->carrier, sizeof letter->carrier);
        event->hello.status = status;
        break;
    case CORE_EV_HEARTBEAT:
        event->heartbeat.status = status;
        break;
    case CORE_EV_FREEZE_ACK:
        event->freeze_ack.status = status;
        event->freeze_ack.deal_step = letter->a;
        event->freeze_ack.complete_step = letter->b;
        event->freeze_ack.max_nodes = 1;
        event->freeze_ack.lineage = letter->lineage;
        event->freeze_ack.done = letter->done;
        break;
    case CORE_EV_RANK_EXITED:
        event->rank_exited.slot = letter->slot;
        event->rank_exited.signal = letter->code > 0 ? letter->code : 0;
        event->rank_exited.joined = !sim->o.program;
        event->rank_exited.left = letter->flag;
        event->rank_exited.pid = (int32_t)letter->a;
        event->rank_exited.detect = RK_MS;
        event->rank_exited.start = letter->b;
        break;
    case CORE_EV_PROGRESS:
        event->progress.position = letter->a;
        break;
    case CORE_EV_SNAPSHOT:
        event->snapshot.step = letter->a;
        event->snapshot.missed = letter->flag;
        break;
    case CORE_EV_SHARD_WRITTEN:
    case CORE_EV_COMMITTED:
        event->shard_written.attempt = (uint32_t)letter->a;
        event->shard_written.code = letter->code;
        break;
    case CORE_EV_LOADED:
        event->loaded.step = letter->a;
        event->loaded.code = letter->code;
        break;
    case CORE_EV_CARRIER_UP:
    case CORE_EV_CARRIER_LOST:
        event->carrier.job = letter->job;
        event->carrier.place = (uint32_t)letter->a;
        event->carrier.hosts = (uint32_t)letter->b;
        break;
    case CORE_EV_CHECKPOINTS:
        event->checkpoints.step = letter->a;
        break;
    case CORE_EV_LAUNCH_FAILED:
        event->launch_failed.ticket = letter->ticket;
        break;
    case CORE_EV_COMM_FAILED:
        event->comm_failed.waited = letter->a;
        break;
    case CORE_EV_DRAIN:
        event->drain.within = letter->a;
        break;
    default:
        break;
    }
}

/* The launcher knows of all that it started; those who said hello are left out by the shell. */
static void launched(struct sim *sim, struct core_event *event)
{
    uint32_t *ticket = sim_alloc((sim->coming_count + sim->worker_count) * sizeof *ticket);
    struct core_worker_view view;

    memcpy(ticket, sim->coming, sim->coming_count * sizeof *ticket);
    event->launched.ticket = ticket;
    event->launched.count = sim->coming_count;
    for (uint32_t w = 0; w < sim->worker_count; w++)
        if (sim->worker[w].alive && !core_worker_find(sim->core, sim->worker[w].id, &view))
            ticket[event->launched.count++] = sim->worker[w].ticket;
}

void boss_take(struct sim *sim, const struct item *item)
{
    static struct core_worker_status status;
    struct core_event event = {.kind = item->letter->kind, .now = sim->now};

    if (!sim->core || item->tag != sim->life)
        return; /* the connection it was sent on is gone */
    if (item->who != UINT32_MAX)
        event.worker = sim->worker[item->who].id;
    event.word = item->letter->word;
    event.serial = item->letter->serial;
    status_fill(sim, item->letter, &status);
    event_fill(sim, item->letter, &event, &status);
    if (event.kind == CORE_EV_LAUNCHED)
        launched(sim, &event);
    if (event.kind == CORE_EV_COMMITTED && item->letter->code == 0 && sim->committed_count < 64)
        sim->committed[sim->committed_count++] = item->letter->b;
    boss_step(sim, &event);
}

void boss_gone(struct sim *sim, const struct item *item)
{
    struct core_event event = {
        .kind = CORE_EV_CLOSED,
        .now = sim->now,
        .worker = sim->worker[item->who].id,
        .closed = {.detect = RK_MS, .ended = item->slot == 1},
    };

    if (sim->core)
        boss_step(sim, &event);
}

/* ---- actions out ----------------------------------------------------------------------------- */

/* No host whose ranks start has a newer snapshot than the one that is gone on from. */
static void relaunch_check(struct sim *sim, const struct core_plan *plan)
{
    uint64_t committed = sim->soon_at != 0  ? sim->soon.committed_step
                         : sim->has_durable ? sim->durable.committed_step
                                            : CORE_NONE;
    struct core_worker_view view;
    uint32_t cursor = 0;

    if (!plan->restart || plan->stop_at != CORE_NONE || sim->leaving ||
        sim->now > sim->newest_go_at + sim->config.gather)
        return;
    while (core_worker_next(sim->core, &cursor, &view)) {
        bool starts = false;

        for (uint32_t s = 0; s < sim->o.slots; s++)
            starts = starts || view.status.rank[s].state == CORE_RANK_STARTING ||
                     view.status.rank[s].state == CORE_RANK_READY;
        for (uint32_t k = 0; k < 2 && starts; k++)
            if (view.status.snapshot_step[k] != CORE_NONE &&
                view.status.snapshot_step[k] > plan->deal_step &&
                (committed == CORE_NONE || view.status.snapshot_step[k] > committed))
                sim_fail(sim, "steps were lost that a living host has");
    }
}

static struct plan *plan_take(struct sim *sim, rk_word word)
{
    struct plan *plan = sim->plans;
    struct core_member member;
    uint32_t cursor = 0;
    uint32_t count = 0;

    if (plan && plan->core.word == word)
        return plan;
    plan = sim_alloc(sizeof *plan);
    core_plan_read(sim->core, &plan->core);
    memcpy(plan->done, plan->core.done, sizeof plan->done);
    plan->member = sim_alloc((plan->core.world + 1) * sizeof *plan->member);
    while (core_member_next(sim->core, &cursor, &member))
        if (count < plan->core.world)
            plan->member[count++] = member;
    if (sim->o.verbose > 1)
        printf("%9.6f   plan         world %u, hosts %u, carriers %u\n", seconds(sim),
               plan->core.world, plan->core.hosts, plan->core.carrier_job);
    if (count != plan->core.world)
        sim_fail(sim, "a plan's world is not the number of its members");
    crews_check_go(sim, plan);
    relaunch_check(sim, &plan->core);
    plan->step = plan->core.deal_step;
    plan->next = sim->plans;
    sim->plans = plan;
    sim->newest_go = word;
    sim->newest_go_at = sim->now;
    sim->generations++;
    return plan;
}

static struct letter *letter_of(const struct core_action *action)
{
    struct letter *letter = sim_alloc(sizeof *letter);

    letter->action = action->kind;
    letter->word = action->word;
    letter->a = action->step;
    letter->b = action->attempt;
    letter->c = action->slots;
    letter->job = action->job;
    letter->code = action->code;
    return letter;
}

/* Ranks that run, or are to start, as plan.c of the coordinator counts them. */
static uint32_t world_of(const struct sim *sim)
{
    struct core_worker_view view;
    uint32_t cursor = 0;
    uint32_t world = 0;

    while (core_worker_next(sim->core, &cursor, &view))
        for (uint32_t s = 0; s < view.status.slots && !view.spare; s++)
            world += view.status.rank[s].rank != CORE_NO_RANK &&
                     view.status.rank[s].state != CORE_RANK_EMPTY;
    return world;
}

static void to_worker(struct sim *sim, uint32_t w, const struct core_action *action,
                      struct plan *plan)
{
    struct letter *letter = letter_of(action);

    letter->plan = plan;
    letter->flag = action->replace;
    if (action->kind == CORE_DO_START_RANKS) {
        struct core_worker_view view;

        core_worker_find(sim->core, sim->worker[w].id, &view);
        letter->world = sim->o.program ? world_of(sim) : 0;
        for (uint32_t s = 0; s < sim->o.slots; s++)
            letter->rank[s] = view.status.rank[s];
    }
    sim_push(sim, (struct item){.kind = EV_TO_WORKER, .who = w, .letter = letter, .tag = sim->life},
             50 * RK_US + sim_below(sim, RK_MS));
}

static void to_all(struct sim *sim, const struct core_action *action, struct plan *plan)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(sim->core, &cursor, &view))
        to_worker(sim, worker_by_id(sim, view.worker), action, plan);
}

/* Whom a freeze names to a host is killed there before the host acks. */
static void fence(struct sim *sim, const struct core_action *action)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(sim->core, &cursor, &view)) {
        struct rk_worker_id out;
        uint32_t at = 0;

        if (action->worker.value && action->worker.value != view.worker.value)
            continue;
        while (core_fence_next(sim->core, view.host, &at, &out))
            agent_die(sim, worker_by_id(sim, out), true);
    }
}

static void launch_comes(struct sim *sim, const struct core_action *action)
{
    if (sim->coming_count == sim->worker_room) {
        sim_fail(sim, "more launches than the simulation has room for");
        return;
    }
    sim->coming[sim->coming_count++] = action->ticket;
    sim_push(sim, (struct item){.kind = EV_BOOT, .who = action->place, .slot = action->ticket},
             20 * RK_MS + sim_below(sim, 200 * RK_MS));
}

static void launch(struct sim *sim, const struct core_action *action)
{
    if (sim_chance(sim, 0.02))
        to_core_later(sim, (struct letter){.kind = CORE_EV_LAUNCH_FAILED, .ticket = action->ticket},
                      10 * RK_MS);
    else
        launch_comes(sim, action);
}

static void find(struct sim *sim)
{
    uint64_t newest = CORE_NONE;

    for (uint32_t i = 0; i < sim->committed_count; i++)
        if (newest == CORE_NONE || sim->committed[i] > newest)
            newest = sim->committed[i];
    to_core_later(sim, (struct letter){.kind = CORE_EV_CHECKPOINTS, .a = newest}, RK_MS);
}

static void note(struct sim *sim, const struct core_action *action)
{
    if (action->note == CORE_NOTE_RANK_EXITED ||
        (action->note == CORE_NOTE_WORKER_LOST && action->reason != CORE_REASON_SCALED &&
         !action->spare)) {
        sim->losses_noted++;
        sim->losses_early += !sim->leaving;
    } else if (action->note == CORE_NOTE_RECOVERED) {
        sim->losses_recovered += action->losses;
    } else if (action->note == CORE_NOTE_DRAINED) {
        sim->drained++;
    } else if (action->note == CORE_NOTE_CHECKPOINT_COMMITTED) {
        sim->commits++;
    } else if (action->note == CORE_NOTE_JOB_FINISHED) {
        sim->exit_code = action->exit_code;
    }
    if (sim->o.verbose)
        printf("%9.6f = %s w%d rank %d reason %s step %lld losses %u\n", seconds(sim),
               core_note_name(action->note), number_of(action->worker), (int)action->rank,
               core_reason_name(action->reason), (long long)action->step, action->losses);
}

static void record(struct sim *sim, bool later)
{
    record_settle(sim);
    core_record_read(sim->core, sim->now, later ? &sim->soon : &sim->durable);
    sim->has_durable = sim->has_durable || !later;
    sim->soon_at = later ? sim->now + 1 + sim_below(sim, 20 * RK_MS) : 0;
}

static void action_do(struct sim *sim, const struct core_action *action)
{
    uint32_t w = action->worker.value ? worker_by_id(sim, action->worker) : UINT32_MAX;
    struct plan *plan = action->kind == CORE_DO_GO ? plan_take(sim, action->word) : NULL;

    switch (action->kind) {
    case CORE_DO_RECORD:
        record(sim, action->later);
        break;
    case CORE_DO_EVENT:
        note(sim, action);
        break;
    case CORE_DO_LAUNCH:
        launch(sim, action);
        break;
    case CORE_DO_FIND:
        find(sim);
        break;
    case CORE_DO_REJECT:
        for (uint32_t i = 0; i < sim->committed_count; i++)
            if (sim->committed[i] == action->step)
                sim->committed[i--] = sim->committed[--sim->committed_count];
        break;
    case CORE_DO_COMMIT:
        to_core_later(sim,
                      (struct letter){.kind = CORE_EV_COMMITTED,
                                      .a = action->attempt,
                                      .b = action->step,
                                      .code = sim_chance(sim, 0.05) ? RK_EIO : 0},
                      2 * RK_MS);
        break;
    case CORE_DO_KILL_WORKER:
        if (w != UINT32_MAX) {
            agent_die(sim, w, true);
            sim_push(sim, (struct item){.kind = EV_GONE, .who = w, .slot = 1}, 5 * RK_MS);
        }
        break;
    case CORE_DO_CARRIERS:
        crews_told(sim, action);
        break;
    case CORE_DO_FINISH:
        sim->over = true;
        if (sim->o.program)
            program_check(sim);
        break;
    case CORE_DO_FREEZE:
        fence(sim, action);
        /* fall through */
    default:
        if (w != UINT32_MAX)
            to_worker(sim, w, action, plan);
        else if (action->kind == CORE_DO_FREEZE || action->kind == CORE_DO_GO ||
                 action->kind == CORE_DO_SNAPSHOT)
            to_all(sim, action, plan);
        break;
    }
}

/* A coordinator may be killed between any two of its actions. */
static void actions_do(struct sim *sim, const struct core_actions *actions)
{
    for (uint32_t i = 0; i < actions->count && !sim->failure; i++) {
        sim_digest(sim, actions->action[i].kind ^ actions->action[i].word);
        trace_action(sim, &actions->action[i]);
        action_do(sim, &actions->action[i]);
        if (!sim->o.no_restarts && sim->now < sim->deadline && sim_chance(sim, 0.00005)) {
            boss_die(sim);
            return;
        }
    }
}
