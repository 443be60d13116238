/* The members of a generation and what it means for them. */
#include "coordinator/core/state.h"

/* Hosts in the order of their lowest name among the ranks wanted, ranks within a host by name: two
 * walks over the names, a counting sort by host between them. */
uint32_t plan_walk(struct core *core,
                   bool (*wanted)(const struct core *, const struct worker *, const struct rank *))
{
    uint32_t slots = core->config.max_slots;
    uint32_t workers = 0;
    uint32_t first = 0;

    core->member_count = core->host_count = 0;
    core->walk++;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t name = 0; name < core->name_top; name++) {
            uint32_t owner = core->name_owner[name];
            struct worker *worker = owner == NONE ? NULL : &core->worker[owner / slots];
            struct host *host;

            if (!worker || !wanted(core, worker, &worker->rank[owner % slots]))
                continue;
            host = &core->host[worker->host];
            if (host->walk != core->walk) {
                host->walk = core->walk;
                host->index = core->host_count;
                host->first = 0;
                core->plan_hosts[core->host_count++] = worker->host;
            }
            if (pass == 0) {
                host->first++;
                workers += worker->walk != core->walk;
                worker->walk = core->walk;
                core->member_count++;
            } else {
                core->member[host->first++] = (struct member){
                    .worker = owner / slots, .slot = owner % slots, .host_index = host->index};
            }
        }
        for (uint32_t h = 0; h < core->host_count && pass == 0; h++) {
            struct host *host = &core->host[core->plan_hosts[h]];
            uint32_t count = host->first;

            host->first = first;
            first += count;
        }
    }
    return workers;
}

void plan_note_members(struct core *core, const struct plan *plan)
{
    for (uint32_t m = 0; m < core->member_count; m++) {
        struct member *member = &core->member[m];
        const struct rank *rank = &core->worker[member->worker].rank[member->slot];

        member->at = rank->has_state && rank->position == plan->deal_step;
        member->without = !rank->has_state;
    }
}

/* The state of `step` is in the rank, or the result that leads it there is in its arena. */
bool plan_rank_has(const struct core *core, const struct worker *worker, const struct rank *rank,
                   uint64_t step)
{
    (void)core;
    return rank->has_state && (rank->position == step ||
                               (rank->position + 1 == step && worker->complete_step >= step));
}

/* The lineage that partial sums of `step` carry under the last plan; 0: there was none. */
rk_word plan_lineage(const struct core *core, uint64_t step)
{
    return step == core->plan.deal_step ? core->plan.lineage : core->plan.word;
}

void core_plan_read(const struct core *core, struct core_plan *out)
{
    const struct plan *plan = &core->plan;

    *out = (struct core_plan){
        .word = plan->program ? rk_word_make(core->epoch, core->generation) : plan->word,
        .program = plan->program,
        .lineage = plan->lineage,
        .deal_step = plan->deal_step,
        .stop_at = plan->stop_at,
        .world = plan->world,
        .members = plan->members,
        .hosts = plan->hosts,
        .carrier_job = plan->carrier_job,
        .carrier_part = plan->carrier_part,
        .fresh = plan->fresh,
        .restart = plan->restart,
        .done = plan->done,
        .restarts = core->restarts_total,
    };
    if (plan->state_host != NONE)
        out->state_host = core->host[plan->state_host].id;
}

bool core_member_next(const struct core *core, uint32_t *cursor, struct core_member *out)
{
    const struct member *member;
    const struct worker *worker;
    const struct rank *rank;

    while (*cursor < core->member_count) {
        uint32_t index = (*cursor)++;

        member = &core->member[index];
        worker = &core->worker[member->worker];
        if (!worker_living(worker))
            continue;
        rank = &worker->rank[member->slot];
        *out = (struct core_member){
            .worker = worker->id,
            .host = core->host[worker->host].id,
            .slot = member->slot,
            .rank = rank->name,
            .index = index,
            .host_index = member->host_index,
            .has_state = member->at,
            .stateless = member->without,
        };
        return true;
    }
    return false;
}
