/* Carriers: MPI jobs over the hosts of a generation.  One serves it; another, over the same hosts,
 * stands by and takes over when the first is lost; where none can, the carriers are launched again.
 *
 *             given           all up
 *   NONE ---------> STARTING -------> UP ----------------> HOLED    a carrier is gone, and perhaps
 *    ^ ^               |              |  one carrier gone    |      its whole host
 *    | | dropped       | lost, late   | lost                 | lost, late
 *    | +---------------+------------->+----> BROKEN <--------+
 *    +---------------------------------------- | ^
 *                 dropped, or given again <----+
 *
 * A launch that stands by has never talked, so it may lose a host and serve the others.  One that
 * serves may not: with a carrier gone it is BROKEN, and the next generation gets another. */
#include "coordinator/core/state.h"

#define WAIT_FIRST (RK_S / 4)
#define WAIT_MOST (60 * RK_S)
#define WAITS_SAID 3u /* waits of a launch that shall stand by are told of from here on */

/* The whole behaviour of a launch.  An empty cell, 0, is a refused event. */
static const struct launch_rule {
    const char *name;
    enum launch_state next;
} rules[LAUNCH_COUNT_][LAUNCH_EV_COUNT_] = {
    [LAUNCH_NONE][LAUNCH_EV_GIVEN] = {"-> starting", LAUNCH_STARTING},
    [LAUNCH_STARTING][LAUNCH_EV_ALL_UP] = {"-> up", LAUNCH_UP},
    [LAUNCH_STARTING][LAUNCH_EV_LOST] = {"-> broken", LAUNCH_BROKEN},
    [LAUNCH_STARTING][LAUNCH_EV_LATE] = {"-> broken", LAUNCH_BROKEN},
    [LAUNCH_STARTING][LAUNCH_EV_CALLED] = {"serves once it is up", LAUNCH_STARTING},
    [LAUNCH_STARTING][LAUNCH_EV_DROPPED] = {"-> none", LAUNCH_NONE},
    [LAUNCH_UP][LAUNCH_EV_LOST] = {"-> broken", LAUNCH_BROKEN},
    [LAUNCH_UP][LAUNCH_EV_HOLE] = {"-> holed", LAUNCH_HOLED},
    [LAUNCH_UP][LAUNCH_EV_CALLED] = {"serves", LAUNCH_UP},
    [LAUNCH_UP][LAUNCH_EV_DROPPED] = {"-> none", LAUNCH_NONE},
    [LAUNCH_HOLED][LAUNCH_EV_LOST] = {"-> broken", LAUNCH_BROKEN},
    [LAUNCH_HOLED][LAUNCH_EV_LATE] = {"-> broken", LAUNCH_BROKEN},
    [LAUNCH_HOLED][LAUNCH_EV_HOLE] = {"one hole more", LAUNCH_HOLED},
    [LAUNCH_HOLED][LAUNCH_EV_CALLED] = {"serves the rest -> up", LAUNCH_UP},
    [LAUNCH_HOLED][LAUNCH_EV_DROPPED] = {"-> none", LAUNCH_NONE},
    [LAUNCH_BROKEN][LAUNCH_EV_GIVEN] = {"-> starting", LAUNCH_STARTING},
    [LAUNCH_BROKEN][LAUNCH_EV_DROPPED] = {"-> none", LAUNCH_NONE},
};

const char *launch_rule_name(enum launch_state state, enum launch_event event)
{
    return rules[state][event].name;
}

static struct launch *serving(struct core *core)
{
    return &core->launch[core->serves];
}

/* Every assignment of a launch's state. */
static bool launch_move(struct core *core, struct launch *launch, enum launch_event event)
{
    const struct launch_rule *rule = &rules[launch->state][event];

    if (!rule->name) {
        core_refuse_event(core);
        return false;
    }
    launch->state = rule->next;
    if (launch->state == LAUNCH_UP && launch == serving(core))
        core->settled = core->time;
    if (launch->state == LAUNCH_NONE || launch->state == LAUNCH_BROKEN)
        launch->alive = 0;
    return true;
}

static struct launch *standby(struct core *core)
{
    return &core->launch[!core->serves];
}

static uint32_t slot_of(const struct core *core, const struct launch *launch)
{
    return (uint32_t)(launch - core->launch);
}

static bool lives(const struct launch *launch)
{
    return launch->state == LAUNCH_STARTING || launch->state == LAUNCH_UP ||
           launch->state == LAUNCH_HOLED;
}

/* The carrier of `launch` on `host`; NULL: that host has no part in it. */
static struct host_carrier *carrier_of(const struct core *core, const struct launch *launch,
                                       struct host *host)
{
    struct host_carrier *carrier = &host->carrier[slot_of(core, launch)];

    return lives(launch) && carrier->job == launch->job ? carrier : NULL;
}

static struct host *plan_host(struct core *core, uint32_t index)
{
    return &core->host[core->plan_hosts[index]];
}

/* 0 for the first tries, then longer and longer. */
static uint64_t wait_after(uint32_t tries, uint32_t free_tries)
{
    uint32_t over = tries > free_tries ? tries - free_tries - 1 : 0;

    if (tries <= free_tries)
        return 0;
    return over < 8 && WAIT_FIRST << over < WAIT_MOST ? WAIT_FIRST << over : WAIT_MOST;
}

static void note_wait(struct core *core, const struct launch *launch, uint32_t tries, uint64_t wait)
{
    struct core_action *action = core_note_emit(core, CORE_NOTE_CARRIERS_DELAYED);

    action->job = launch->job;
    action->standby = launch != serving(core) ? launch->job : 0;
    action->tries = tries;
    action->wait = wait;
}

/* Says which launches shall live; `starts`: the one whose mpirun is to be started. */
static void say(struct core *core, const struct launch *starts)
{
    struct core_action *action = core_emit(core, CORE_DO_CARRIERS);

    action->job = lives(serving(core)) ? serving(core)->job : 0;
    action->standby = lives(standby(core)) ? standby(core)->job : 0;
    if (!starts)
        return;
    action->worker = core->worker[starts->runner].id;
}

/* ---- giving a launch ------------------------------------------------------------------------- */

/* Members of the host of member `from`, going on in steps of `by`, 1 or -1. */
static uint32_t run_length(const struct core *core, uint32_t from, int32_t by)
{
    uint32_t count = 1;

    while (count < core->member_count &&
           core->member[from + (uint32_t)by * count].host_index == core->member[from].host_index)
        count++;
    return count;
}

/* The n-th worker of the first host that is a member, n the number of tries.  A launch that stands
 * by has its mpirun on another host than the one that serves: the first, or the last. */
static uint32_t runner(struct core *core, bool serves)
{
    uint32_t last = core->member_count - 1;
    uint32_t tries = serves ? core->carrier_tries : core->standby_tries;
    uint32_t host = core->worker[core->member[0].worker].host;

    if (serves || core->worker[serving(core)->runner].host != host)
        return core->member[tries % run_length(core, 0, 1)].worker;
    return core->member[last - tries % run_length(core, last, -1)].worker;
}

/* A new number, over all hosts of the plan. */
static void launch_give(struct core *core, struct launch *launch)
{
    bool serves = launch == serving(core);
    uint32_t slot = slot_of(core, launch);

    if (!launch_move(core, launch, LAUNCH_EV_GIVEN))
        return;
    launch->job = ++core->carrier_job;
    launch->hosts = core->host_count;
    launch->alive = 0;
    launch->since = core->time;
    launch->runner = runner(core, serves);
    launch->served = 0;
    for (uint32_t h = 0; h < core->host_count; h++)
        plan_host(core, h)->carrier[slot] =
            (struct host_carrier){.job = launch->job, .worker = NONE, .place = h};
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* All hosts of the plan, and none else, are those that it serves. */
static bool launch_serves(struct core *core)
{
    const struct launch *launch = serving(core);

    if (!lives(launch) || launch->served != core->host_count)
        return false;
    for (uint32_t h = 0; h < core->host_count; h++) {
        const struct host_carrier *carrier = carrier_of(core, launch, plan_host(core, h));

        if (!carrier || !carrier->serves)
            return false;
    }
    return true;
}

/* It can serve the plan: each host of it has a carrier there, or one that is still to come. */
static bool launch_covers(struct core *core, const struct launch *launch)
{
    if (!lives(launch) || (launch->state == LAUNCH_STARTING && launch->hosts != core->host_count))
        return false;
    for (uint32_t h = 0; h < core->host_count; h++) {
        const struct host_carrier *carrier = carrier_of(core, launch, plan_host(core, h));

        if (!carrier || (!carrier->up && launch->state != LAUNCH_STARTING))
            return false;
    }
    return true;
}

static void launch_drop(struct core *core, struct launch *launch)
{
    if (launch->state != LAUNCH_NONE)
        launch_move(core, launch, LAUNCH_EV_DROPPED);
}

/* From now on it serves the hosts of the plan, and only those. */
static void launch_takes(struct core *core, struct launch *launch)
{
    launch->served = core->host_count;
    for (uint32_t h = 0; h < core->host_count; h++)
        plan_host(core, h)->carrier[slot_of(core, launch)].serves = true;
}

static enum carriers_change standby_takes_over(struct core *core)
{
    struct launch *next = standby(core);

    launch_drop(core, serving(core));
    launch_move(core, next, LAUNCH_EV_CALLED);
    core->serves = slot_of(core, next);
    core->standby_tries = 0;
    core->standby_again = core->time;
    core->carrier_way = CORE_CARRIERS_STANDBY;
    return CARRIERS_CHANGED;
}

static enum carriers_change carriers_again(struct core *core)
{
    launch_drop(core, standby(core));
    launch_drop(core, serving(core));
    launch_give(core, serving(core));
    core->carrier_way = CORE_CARRIERS_RELAUNCH;
    return CARRIERS_LAUNCHED;
}

static enum carriers_change change(struct core *core)
{
    enum carriers_change way = CARRIERS_KEPT;

    if (core->host_count <= 1) {
        if (lives(serving(core)) || lives(standby(core)))
            way = CARRIERS_CHANGED;
        launch_drop(core, standby(core));
        launch_drop(core, serving(core));
    } else if (!launch_serves(core)) {
        if (launch_covers(core, standby(core)))
            way = standby_takes_over(core);
        else
            way = carriers_again(core);
        core->carrier_tries++;
        launch_takes(core, serving(core));
    } else if (lives(standby(core)) && !launch_covers(core, standby(core))) {
        launch_drop(core, standby(core));
        way = CARRIERS_CHANGED;
    }
    return way;
}

enum carriers_change carriers_prepare(struct core *core, struct plan *plan)
{
    enum carriers_change way = change(core);

    if (core->host_count > 1) {
        plan->carrier_job = serving(core)->job;
        plan->carrier_part = serving(core)->hosts != core->host_count;
    }
    return way;
}

void carriers_say(struct core *core, enum carriers_change way)
{
    if (way != CARRIERS_KEPT)
        say(core, way == CARRIERS_LAUNCHED ? serving(core) : NULL);
}

uint32_t core_carrier_place(const struct core *core, struct rk_host_id host)
{
    const struct launch *launch = &core->launch[core->serves];

    for (uint32_t h = 0; h < core->host_count; h++)
        if (core->host[core->plan_hosts[h]].id.value == host.value)
            return core->host[core->plan_hosts[h]].carrier[slot_of(core, launch)].place;
    return NONE;
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* Its carriers that are left are killed before anybody is asked to stand still: MPI may hold one
 * whose peer has died in a loop in which it hears nothing (seen with btl tcp of 4.1.4).
 *
 * The next generation gets other carriers: at once where some stand by, or for the first tries; a
 * cut network must not cost a launch, and a generation, every moment.  Tries without a step in
 * between are paid for, so that they come to an end. */
static void serving_lost(struct core *core, enum launch_event event)
{
    uint64_t wait = wait_after(core->carrier_tries, CARRIER_FREE_TRIES);

    if (!launch_move(core, serving(core), event))
        return;
    say(core, NULL);
    core->carrier_again = core->time;
    if (core->state != CORE_JOB_RUNNING)
        return;
    losses_carriers(core);
    if (core->carrier_tries > CARRIER_FREE_TRIES)
        budget_spend(core);
    if (wait && !launch_covers(core, standby(core))) {
        core->carrier_again += wait;
        note_wait(core, serving(core), core->carrier_tries, wait);
    } else {
        core->broken = true;
    }
}

bool carriers_stuck(struct core *core)
{
    enum launch_state state = serving(core)->state;

    if (state == LAUNCH_UP || state == LAUNCH_HOLED)
        serving_lost(core, LAUNCH_EV_LOST);
    else if (state != LAUNCH_NONE)
        core_refuse_event(core); /* others come, in their time */
    return state != LAUNCH_NONE;
}

static void standby_lost(struct core *core, enum launch_event event)
{
    struct launch *launch = standby(core);
    uint64_t wait;

    if (!launch_move(core, launch, event))
        return;
    if (core->time - launch->since > core->config.carrier_timeout)
        core->standby_tries = 0; /* it was of use for a while */
    core->standby_tries++;
    wait = wait_after(core->standby_tries, 0);
    core->standby_again = core->time + wait;
    if (core->standby_tries >= WAITS_SAID)
        note_wait(core, launch, core->standby_tries, wait);
    say(core, NULL);
}

/* Its carrier on one host is gone, perhaps with the host: whether it can still take over shows when
 * the next generation is made, or when a moment has passed and none was. */
static void standby_hole(struct core *core, struct host_carrier *carrier)
{
    struct launch *launch = standby(core);

    if (!carrier->up)
        return;
    if (launch->state == LAUNCH_UP)
        launch->holed = core->time;
    launch_move(core, launch, LAUNCH_EV_HOLE);
    carrier->up = false;
    launch->alive--;
}

static void carrier_lost(struct core *core, struct launch *launch, uint32_t index,
                         struct host_carrier *carrier)
{
    if (launch == serving(core))
        serving_lost(core, LAUNCH_EV_LOST);
    else if (launch->state == LAUNCH_STARTING || index == launch->runner ||
             carrier->worker != index)
        standby_lost(core, LAUNCH_EV_LOST);
    else
        standby_hole(core, carrier);
}

static void carrier_up(struct core *core, struct launch *launch, uint32_t index,
                       const struct core_event *event, struct host_carrier *carrier)
{
    if (carrier->up || launch->state != LAUNCH_STARTING || event->carrier.hosts != launch->hosts ||
        event->carrier.place >= launch->hosts) {
        core_refuse_event(core);
        return;
    }
    carrier->up = true;
    carrier->worker = index;
    carrier->place = event->carrier.place;
    if (++launch->alive == launch->hosts)
        launch_move(core, launch, LAUNCH_EV_ALL_UP);
}

/* While a new coordinator still gathers what lives: what a worker told of is gone (`job` 0: all).
 */
static void unhear(struct core *core, uint32_t index, uint32_t job)
{
    struct host *host = &core->host[core->worker[index].host];

    for (uint32_t s = 0; s < 2; s++) {
        struct host_carrier *carrier = &host->carrier[s];
        struct recover_runner *runs = &core->recover.runner[s];

        if (carrier->up && carrier->worker == index && (job == 0 || carrier->job == job)) {
            if (s == 0) /* its peers have talked to it */
                core->recover.torn = carrier->job;
            *carrier = (struct host_carrier){.worker = NONE};
        }
        if (runs->job && runs->index == index && (job == 0 || runs->job == job))
            *runs = (struct recover_runner){0};
    }
}

void carriers_event(struct core *core, uint32_t index, const struct core_event *event)
{
    struct host *host = &core->host[core->worker[index].host];

    if (core->state == CORE_JOB_RECOVERING && event->kind == CORE_EV_CARRIER_LOST) {
        unhear(core, index, event->carrier.job);
        return;
    }
    for (uint32_t s = 0; s < 2; s++) {
        struct launch *launch = &core->launch[s];
        struct host_carrier *carrier = carrier_of(core, launch, host);

        if (!carrier || event->carrier.job != launch->job || (launch->served && !carrier->serves))
            continue;
        if (event->kind == CORE_EV_CARRIER_UP)
            carrier_up(core, launch, index, event, carrier);
        else
            carrier_lost(core, launch, index, carrier);
        return;
    }
    core_refuse_event(core);
}

/* mpirun and carriers are children of agents and die with them, and nobody is left to say so. */
void carriers_worker_lost(struct core *core, uint32_t index)
{
    struct host *host = &core->host[core->worker[index].host];

    if (core->state == CORE_JOB_RECOVERING)
        unhear(core, index, 0);
    for (uint32_t s = 0; s < 2; s++) {
        struct launch *launch = &core->launch[s];
        struct host_carrier *carrier = carrier_of(core, launch, host);

        if (lives(launch) && index == launch->runner)
            launch == serving(core) ? serving_lost(core, LAUNCH_EV_LOST)
                                    : standby_lost(core, LAUNCH_EV_LOST);
        else if (carrier && (!launch->served || carrier->serves) &&
                 (launch->state == LAUNCH_STARTING ? !carrier->up || carrier->worker == index
                                                   : carrier->up && carrier->worker == index))
            carrier_lost(core, launch, index, carrier);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t launch_deadline(const struct core *core, const struct launch *launch)
{
    if (launch->state == LAUNCH_STARTING)
        return launch->since + core->config.carrier_timeout;
    return launch->state == LAUNCH_HOLED ? launch->holed + form_settle(core) : CORE_NONE;
}

/* A job that steps, over carriers that are all there, can do with a second set of them. */
static bool wants_standby(const struct core *core)
{
    const struct launch *other = &core->launch[!core->serves];

    return core->config.standby_carriers && core->state == CORE_JOB_RUNNING && !core->broken &&
           !core->stopping && !core->ending && core->step_seen &&
           core->launch[core->serves].state == LAUNCH_UP &&
           (other->state == LAUNCH_NONE || other->state == LAUNCH_BROKEN);
}

void carriers_tick(struct core *core)
{
    if (core->state != CORE_JOB_RUNNING)
        return;
    if (launch_deadline(core, serving(core)) <= core->time)
        serving_lost(core, LAUNCH_EV_LATE);
    if (launch_deadline(core, standby(core)) <= core->time)
        standby_lost(core, LAUNCH_EV_LATE);
    if (serving(core)->state == LAUNCH_BROKEN && core->carrier_again <= core->time)
        core->broken = true;
}

void carriers_consider(struct core *core)
{
    if (!wants_standby(core) || core->standby_again > core->time || !core_room(core))
        return;
    launch_give(core, standby(core));
    record_now(core);
    say(core, standby(core));
}

uint64_t carriers_deadline(const struct core *core)
{
    const struct launch *launch = &core->launch[core->serves];
    uint64_t deadline = launch_deadline(core, launch);
    uint64_t other = launch_deadline(core, &core->launch[!core->serves]);

    if (core->state != CORE_JOB_RUNNING)
        return CORE_NONE;
    if (launch->state == LAUNCH_BROKEN && !core->broken)
        deadline = core->carrier_again;
    if (wants_standby(core))
        other = core->standby_again > core->time ? core->standby_again : core->time;
    return deadline < other ? deadline : other;
}

/* ---- a new coordinator ----------------------------------------------------------------------- */

/* What one worker says: the carriers that run under it, and whether mpirun does. */
void carriers_heard(struct core *core, uint32_t index, const struct core_event *event)
{
    struct host *host = &core->host[core->worker[index].host];

    for (uint32_t i = 0; i < 2; i++) {
        const struct core_carrier *heard = &event->hello.carrier[i];
        struct host_carrier *carrier = &host->carrier[heard->standby];

        if (heard->job > core->carrier_job)
            core->carrier_job = heard->job;
        if (heard->runs)
            core->recover.runner[heard->standby] = (struct recover_runner){heard->job, index};
        if (heard->hosts == 0 || heard->job < carrier->job)
            continue;
        *carrier = (struct host_carrier){.job = heard->job,
                                         .up = true,
                                         .serves = !heard->standby,
                                         .worker = index,
                                         .place = heard->place};
        core->recover.carrier_hosts[heard->standby] = heard->hosts;
    }
}

/* Hosts outside of the plan may have some, too. */
static uint32_t carriers_of(const struct core *core, uint32_t slot, uint32_t job)
{
    uint32_t count = 0;

    for (uint32_t h = 0; h < core->used_hosts; h++)
        count += core->host[h].id.value && core->host[h].carrier[slot].up &&
                 core->host[h].carrier[slot].job == job;
    return count;
}

/* Takes a launch over that lives on all hosts of the plan, mpirun included. */
static bool launch_adopt(struct core *core, uint32_t slot)
{
    struct launch *launch = &core->launch[slot];
    uint32_t job = core->host_count ? plan_host(core, 0)->carrier[slot].job : 0;

    if (job == 0 || core->recover.runner[slot].job != job || core->recover.torn == job)
        return false;
    for (uint32_t h = 0; h < core->host_count; h++)
        if (plan_host(core, h)->carrier[slot].job != job)
            return false;
    launch_move(core, launch, LAUNCH_EV_GIVEN);
    launch->job = job;
    launch->hosts = core->recover.carrier_hosts[slot];
    launch->alive = carriers_of(core, slot, job);
    launch->runner = core->recover.runner[slot].index;
    launch->since = core->time;
    launch_move(core, launch, LAUNCH_EV_ALL_UP);
    return true;
}

/* `whole`: all workers of the plan came.  Else those that serve may have lost one that they talked
 * to, and do not serve any more. */
bool carriers_adopt(struct core *core, bool whole)
{
    bool served = true;

    if (core->host_count > 1) {
        launch_adopt(core, 1);
        served = whole && launch_adopt(core, 0);
    }
    if (lives(serving(core))) {
        launch_takes(core, serving(core));
        core->plan.carrier_job = serving(core)->job;
        core->plan.carrier_part = serving(core)->hosts != core->host_count;
    }
    if (core->carrier_job)
        say(core, NULL);
    if (!served)
        losses_carriers(core);
    return served;
}

/* ---- the invariants -------------------------------------------------------------------------- */

const char *carriers_check(const struct core *core)
{
    const struct launch *serves = &core->launch[core->serves];
    const struct launch *stands_by = &core->launch[!core->serves];

    if (lives(serves) && lives(stands_by) && serves->job == stands_by->job)
        return "I11: one launch of carriers serves and stands by";
    for (uint32_t s = 0; s < 2; s++) {
        const struct launch *launch = &core->launch[s];

        if (launch->job > core->carrier_job)
            return "I11: carriers of a number that was never given";
        if (launch->alive > launch->hosts || (!lives(launch) && launch->alive))
            return "I12: more carriers live than were launched";
        if ((launch->state == LAUNCH_STARTING) && launch->alive == launch->hosts)
            return "I12: carriers that are all there still start";
    }
    if (serves->state == LAUNCH_HOLED)
        return "I12: carriers serve though one is gone";
    if (core->state == CORE_JOB_RUNNING && core->plan.hosts > 1 && lives(serves) &&
        core->plan.carrier_job != serves->job)
        return "I11: the plan names other carriers than those that serve";
    return NULL;
}
