/* Carriers: one MPI job over the hosts of a generation, launched again whenever it is in doubt. */
#include "coordinator/core/state.h"

/* All hosts of the plan, and none else, have a carrier of the newest job. */
static bool carriers_serve(const struct core *core)
{
    if (core->carrier_broken || core->carrier_job == 0 || core->carrier_hosts != core->host_count)
        return false;
    for (uint32_t h = 0; h < core->host_count; h++)
        if (core->host[core->plan_hosts[h]].carrier_job != core->carrier_job)
            return false;
    return true;
}

/* The n-th worker of the first host that is a member, n the number of tries. */
static uint32_t runner(const struct core *core)
{
    uint32_t first = 1;

    while (first < core->member_count &&
           core->member[first].host_index == core->member[0].host_index)
        first++;
    return core->member[core->carrier_retries % first].worker;
}

void carriers_prepare(struct core *core, struct plan *plan)
{
    struct core_action *action;

    if (core->host_count <= 1) {
        core->carrier_broken = false;
        core->carrier_hosts = 0;
        return;
    }
    plan->carrier_job = core->carrier_job;
    if (carriers_serve(core))
        return;
    plan->carrier_job = ++core->carrier_job;
    core->carrier_broken = false;
    core->carrier_hosts = core->host_count;
    core->carrier_up = 0;
    core->carrier_since = core->time;
    for (uint32_t h = 0; h < core->host_count; h++)
        core->host[core->plan_hosts[h]].carrier_job = core->carrier_job;
    action = core_emit(core, CORE_DO_CARRIERS);
    action->job = core->carrier_job;
    core->carrier_runner = runner(core);
    action->worker = core->worker[core->carrier_runner].id;
    core->carrier_retries++;
}

/* The job cannot be used any more: the next generation gets another.  Tries without a step in
 * between are paid for, so that they come to an end. */
static void carriers_lost(struct core *core)
{
    core->carrier_broken = true;
    if (core->state == CORE_JOB_RUNNING)
        core->broken = true;
    if (core->carrier_retries > CARRIER_FREE_TRIES)
        budget_spend(core);
}

void carriers_event(struct core *core, uint32_t index, const struct core_event *event)
{
    struct host *host = &core->host[core->worker[index].host];

    if (event->carrier.job != core->carrier_job || host->carrier_job != core->carrier_job ||
        core->carrier_hosts == 0 || core->carrier_broken) {
        core_refuse_event(core);
        return;
    }
    if (event->kind == CORE_EV_CARRIER_LOST) {
        carriers_lost(core);
    } else if (host->carrier_up != core->carrier_job) {
        host->carrier_up = core->carrier_job;
        host->carrier_worker = index;
        core->carrier_up++;
    }
}

/* mpirun and carriers are children of agents and die with them, and nobody is left to say so. */
void carriers_worker_lost(struct core *core, uint32_t index)
{
    const struct host *host = &core->host[core->worker[index].host];

    if (core->carrier_hosts == 0 || host->carrier_job != core->carrier_job)
        return;
    if (index == core->carrier_runner || host->carrier_up != core->carrier_job ||
        host->carrier_worker == index)
        core->carrier_broken = true;
}

void carriers_tick(struct core *core)
{
    if (carriers_deadline(core) <= core->time)
        carriers_lost(core);
}

uint64_t carriers_deadline(const struct core *core)
{
    if (core->state != CORE_JOB_RUNNING || core->carrier_hosts == 0 || core->carrier_broken ||
        core->carrier_up >= core->carrier_hosts)
        return CORE_NONE;
    return core->carrier_since + core->config.carrier_timeout;
}
