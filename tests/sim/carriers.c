/* Carriers in the simulation: launches that come up late, in part or never, and lose a carrier, a
 * host or their mpirun.  A step over several hosts needs one on each, and one that has ever talked
 * to a carrier that is gone is of no use to anybody. */
#include "tests/sim/sim.h"

#define NONE UINT32_MAX

struct crew_carrier {
    uint64_t host;
    uint32_t worker; /* under whose agent it runs */
    bool alive, talked;
};

struct crew {
    uint32_t job, size, runner;
    bool dead;
    struct crew_carrier *carrier; /* `size`, by place */
    struct crew *next;
};

static struct crew *crew_find(const struct sim *sim, uint32_t job)
{
    for (struct crew *crew = sim->crews; crew; crew = crew->next)
        if (crew->job == job && !crew->dead)
            return crew;
    return NULL;
}

static bool wanted(const struct sim *sim, const struct crew *crew)
{
    return !crew->dead && (crew->job == sim->serving_job || crew->job == sim->standby_job);
}

static void crew_later(struct sim *sim, const struct crew *crew, uint32_t what, uint64_t delay)
{
    sim_push(sim, (struct item){.kind = EV_CREW, .who = crew->job, .slot = what}, delay);
}

/* ---- what the coordinator says --------------------------------------------------------------- */

static void crew_new(struct sim *sim, uint32_t job, uint32_t runner)
{
    struct crew *crew = sim_alloc(sizeof *crew);
    struct core_plan plan;
    struct core_member member;
    uint32_t cursor = 0;

    if (job <= sim->newest_job)
        sim_fail(sim, "a number of carriers was given twice");
    sim->newest_job = job;
    core_plan_read(sim->core, &plan);
    *crew = (struct crew){.job = job, .runner = runner, .next = sim->crews};
    crew->carrier = sim_alloc((sim->o.workers + 1) * sizeof *crew->carrier);
    while (core_member_next(sim->core, &cursor, &member)) {
        if (member.host_index >= crew->size)
            crew->size = member.host_index + 1;
        crew->carrier[member.host_index].host = member.host.value;
    }
    sim->crews = crew;
    crew_later(sim, crew, 0, 20 * RK_MS + sim_below(sim, 300 * RK_MS));
}

void crews_told(struct sim *sim, const struct core_action *action)
{
    struct crew **at = &sim->crews;

    sim->serving_job = action->job;
    sim->standby_job = action->standby;
    while (*at) {
        if (wanted(sim, *at)) {
            at = &(*at)->next;
        } else {
            (*at)->dead = true;
            *at = (*at)->next;
        }
    }
    if (action->worker.value)
        crew_new(sim, action->standby ? action->standby : action->job,
                 worker_by_id(sim, action->worker));
}

/* ---- lives and deaths ------------------------------------------------------------------------ */

static uint32_t worker_of_host(struct sim *sim, uint64_t host)
{
    uint32_t found = NONE;
    uint32_t count = 0;

    for (uint32_t w = 0; w < sim->worker_count; w++)
        if (sim->worker[w].alive && sim->worker[w].arena->id == host &&
            sim_below(sim, ++count) == 0)
            found = w;
    return found;
}

static void come_up(struct sim *sim, struct crew *crew)
{
    if (crew->runner == NONE || !sim->worker[crew->runner].alive || sim_chance(sim, 0.03))
        return;
    if (sim_chance(sim, 0.03)) {
        agent_says_carrier(sim, crew->runner, CORE_EV_CARRIER_LOST, crew->job, 0, 0);
        return;
    }
    for (uint32_t p = 0; p < crew->size; p++) {
        struct crew_carrier *carrier = &crew->carrier[p];
        uint32_t w = worker_of_host(sim, carrier->host);

        if (w == NONE || sim_chance(sim, 0.02 / crew->size))
            continue;
        carrier->alive = true;
        carrier->worker = w;
        agent_says_carrier(sim, w, CORE_EV_CARRIER_UP, crew->job, p, crew->size);
    }
}

/* mpirun is gone, and a while later all that it had started. */
static void go_down(struct sim *sim, struct crew *crew)
{
    for (uint32_t p = 0; p < crew->size; p++) {
        struct crew_carrier *carrier = &crew->carrier[p];

        if (!carrier->alive)
            continue;
        carrier->alive = false;
        agent_says_carrier(sim, carrier->worker, CORE_EV_CARRIER_LOST, crew->job, 0, 0);
    }
}

void crew_event(struct sim *sim, const struct item *item)
{
    struct crew *crew = crew_find(sim, item->who);

    if (!crew)
        return;
    if (item->slot == 0)
        come_up(sim, crew);
    else
        go_down(sim, crew);
}

static void runner_dies(struct sim *sim, struct crew *crew)
{
    crew->runner = NONE;
    crew_later(sim, crew, 1, 1 + sim_below(sim, 2 * RK_S));
}

void crews_worker_dies(struct sim *sim, uint32_t w)
{
    for (struct crew *crew = sim->crews; crew; crew = crew->next) {
        for (uint32_t p = 0; p < crew->size; p++)
            if (crew->carrier[p].worker == w)
                crew->carrier[p].alive = false;
        if (crew->runner == w)
            runner_dies(sim, crew);
    }
}

/* A fault: a carrier under `w`, or an mpirun there. */
void crews_fault(struct sim *sim, uint32_t w)
{
    bool mpirun = sim_chance(sim, 0.3);
    bool newest = sim_chance(sim, 0.5);

    for (struct crew *crew = sim->crews; crew; crew = crew->next) {
        if (!newest && crew->next)
            continue;
        if (mpirun && crew->runner != NONE && sim->worker[crew->runner].alive) {
            agent_says_carrier(sim, crew->runner, CORE_EV_CARRIER_LOST, crew->job, 0, 0);
            runner_dies(sim, crew);
            return;
        }
        for (uint32_t p = 0; p < crew->size; p++) {
            struct crew_carrier *carrier = &crew->carrier[p];

            if (!carrier->alive || carrier->worker != w)
                continue;
            carrier->alive = false;
            agent_says_carrier(sim, w, CORE_EV_CARRIER_LOST, crew->job, 0, 0);
            return;
        }
    }
}

/* ---- what agents and plans know of them ------------------------------------------------------ */

void crews_hello(const struct sim *sim, uint32_t w, struct core_carrier carrier[2])
{
    uint32_t count = 0;

    for (const struct crew *crew = sim->crews; crew && count < 2; crew = crew->next) {
        struct core_carrier *out = &carrier[count];

        if (!wanted(sim, crew))
            continue;
        *out = (struct core_carrier){
            .job = crew->job, .runs = crew->runner == w, .standby = crew->job == sim->standby_job};
        for (uint32_t p = 0; p < crew->size; p++) {
            if (!crew->carrier[p].alive || crew->carrier[p].worker != w)
                continue;
            out->place = p;
            out->hosts = crew->size;
        }
        count += out->runs || out->hosts;
    }
    if (count < 2)
        carrier[count] = (struct core_carrier){0};
}

static struct crew_carrier *carrier_on(struct crew *crew, uint64_t host)
{
    for (uint32_t p = 0; p < crew->size; p++)
        if (crew->carrier[p].host == host)
            return &crew->carrier[p];
    return NULL;
}

/* The carriers that a go names exist, and are those on its hosts. */
void crews_check_go(struct sim *sim, const struct plan *plan)
{
    struct crew *crew = crew_find(sim, plan->core.carrier_job);

    if (plan->core.hosts < 2)
        return;
    if (!crew || plan->core.carrier_job != sim->serving_job) {
        sim_fail(sim, "a go names carriers that do not serve");
        return;
    }
    if (!plan->core.carrier_part && crew->size != plan->core.hosts)
        sim_fail(sim, "a go means all carriers, but has other hosts");
    for (uint32_t m = 0; m < plan->core.world; m++) {
        struct rk_host_id host = plan->member[m].host;
        const struct crew_carrier *carrier = carrier_on(crew, host.value);

        if (!carrier)
            sim_fail(sim, "a go has a host without a carrier");
        else if (plan->core.carrier_part &&
                 core_carrier_place(sim->core, host) != (uint32_t)(carrier - crew->carrier))
            sim_fail(sim, "a go names another carrier than that of the host");
    }
}

/* Whether the sum of a step gets from host to host. */
bool crews_carry(struct sim *sim, const struct plan *plan)
{
    struct crew *crew = crew_find(sim, plan->core.carrier_job);

    if (plan->core.hosts < 2)
        return true;
    if (!crew)
        return false;
    for (uint32_t p = 0; p < crew->size; p++)
        if (crew->carrier[p].talked && !crew->carrier[p].alive)
            return false;
    for (uint32_t m = 0; m < plan->core.world; m++) {
        const struct crew_carrier *carrier = carrier_on(crew, plan->member[m].host.value);

        if (!carrier || !carrier->alive)
            return false;
    }
    for (uint32_t m = 0; m < plan->core.world; m++)
        carrier_on(crew, plan->member[m].host.value)->talked = true;
    return true;
}
