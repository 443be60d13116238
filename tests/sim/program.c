/* Ranks of a program without the library: each works for a while and ends with 0, whatever becomes
 * of the others.  What is promised of them: a job that is finished had one start of all ranks, of
 * which each has done its work. */
#include "tests/sim/sim.h"

/* Its process is there, and its agent says so. */
void program_up(struct sim *sim, const struct item *item)
{
    struct rank *rank = rank_of(sim, item);
    struct item end = *item;

    if (!rank || rank->status.state != CORE_RANK_STARTING)
        return;
    end.kind = EV_EXIT;
    sim_push(sim, end, 50 * RK_MS + sim_below(sim, RK_S));
}

void program_exit(struct sim *sim, const struct item *item)
{
    struct rank *rank = rank_of(sim, item);

    if (!rank || rank->status.state != CORE_RANK_STARTING || sim->over)
        return;
    rank->status.state = CORE_RANK_DONE;
    rank->ended = true;
    agent_says_exit(sim, item->who, item->slot, 0, false);
}

/* Ranks that ended with 0 under a start's number; their worker may have died since, unheard. */
static uint32_t ended_of(const struct sim *sim, uint64_t start)
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < sim->worker_count; w++)
        for (uint32_t s = 0; s < sim->o.slots; s++)
            count += sim->worker[w].rank[s].ended && sim->worker[w].rank[s].status.start == start;
    return count;
}

void program_check(struct sim *sim)
{
    bool whole = sim->exit_code != 0;

    for (uint32_t w = 0; w < sim->worker_count; w++)
        for (uint32_t s = 0; s < sim->o.slots; s++) {
            const struct rank *rank = &sim->worker[w].rank[s];

            whole = whole || (rank->ended && ended_of(sim, rank->status.start) == rank->world);
        }
    if (!whole)
        sim_fail(sim, "the job is finished, and of no start all ranks have done their work");
}
