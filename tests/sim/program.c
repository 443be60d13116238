/* Ranks of a program without the library: each works for a while and ends with 0, whatever becomes
 * of the others.  What is promised of them: a job that is finished had one start of all ranks, of
 * which each has done its work. */
#include "tests/sim/sim.h"

#include <string.h>

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
    rank->ended_at = sim->now;
    agent_says_exit(sim, item->who, item->slot, 0, false);
}

/* A worker may have died since, unheard. */
void program_check(struct sim *sim)
{
    uint32_t world = 0;
    uint32_t done = 0;

    for (uint32_t w = 0; w < sim->worker_count && sim->exit_code == 0; w++)
        for (uint32_t s = 0; s < sim->o.slots; s++) {
            const struct rank *rank = &sim->worker[w].rank[s];

            if (rank->ended_at <= sim->newest_start_at)
                continue;
            if (world != 0 && rank->world != world)
                sim_fail(sim, "ranks of two starts ended in one job");
            world = rank->world;
            done++;
        }
    if (sim->exit_code == 0 && (done == 0 || done != world))
        sim_fail(sim, "the job ended before all of its ranks had");
}
