/* The invariants of core.c's opening comment, walked.  Sums are compared in a whole walk only;
 * after a step some workers are looked at in turn, so that a check costs the same at any size. */
#include "coordinator/core/state.h"

static const char *check_rank(const struct core *core, const struct worker *worker, uint32_t slot)
{
    const struct rank *rank = &worker->rank[slot];
    uint32_t owner = (uint32_t)(worker - core->worker) * core->config.max_slots + slot;

    if (rank->name == CORE_NO_RANK)
        return rank->state == CORE_RANK_EMPTY ? NULL : "I5: a rank without a name is not empty";
    if (rank->name >= core->name_top || core->name_owner[rank->name] != owner ||
        bits_has(&core->names, rank->name))
        return "I5: a name has another owner";
    return NULL;
}

static const char *check_living(const struct core *core, const struct worker *worker)
{
    uint32_t count[RANK_STATES] = {0};

    if (worker->acked > worker->asked)
        return "I1: a worker acked what it was not asked for";
    if ((worker->state == CORE_WORKER_MEMBER) !=
            (worker->count[CORE_RANK_MEMBER] + worker->count[CORE_RANK_LEFT] > 0) &&
        worker->state != CORE_WORKER_LEAVING)
        return "I4: a worker is a member if and only if one of its ranks is";
    for (uint32_t s = 0; s < worker->slots; s++) {
        const char *broken = check_rank(core, worker, s);

        if (broken)
            return broken;
        count[worker->rank[s].state]++;
    }
    for (uint32_t s = 0; s < RANK_STATES; s++)
        if (count[s] != worker->count[s])
            return "I2: a worker's ranks by state do not add up";
    if (worker->place != NONE && (core->place[worker->place].state != PLACE_TAKEN ||
                                  &core->worker[core->place[worker->place].worker] != worker))
        return "I6: a place is taken by another worker";
    if (worker->idle && worker->place != NONE && worker->place < core->target)
        return "I13: a spare has a place of the job";
    if (worker->draining && (worker->place != NONE || worker->idle))
        return "I13: a worker that drains has a place";
    return NULL;
}

static const char *check_worker(const struct core *core, const struct worker *worker)
{
    if (worker->state == CORE_WORKER_ABSENT)
        return worker->owed ? "I10: an absent worker is owed something" : NULL;
    if (core->host[worker->host].id.value == 0)
        return "I3: a worker without a host";
    if (worker_living(worker))
        return check_living(core, worker);
    if (worker->place != NONE || worker->writer != NONE)
        return "I3: a lost worker has a place or a part to write";
    for (uint32_t s = 0; s < worker->slots; s++)
        if (worker->rank[s].name != CORE_NO_RANK || worker->rank[s].state != CORE_RANK_EMPTY)
            return "I3: a lost worker has a rank";
    return NULL;
}

static const char *check_job(const struct core *core)
{
    bool formed = core->state == CORE_JOB_FORMING || core->state == CORE_JOB_LOADING ||
                  core->state == CORE_JOB_HELD;
    uint64_t restarts = 0;

    if (core->plan.word > core->word || rk_word_epoch(core->word) > core->epoch)
        return "I1: a word from the future";
    if (core->heard.count != core->living || core->members > core->living)
        return "I2: living workers do not add up";
    if (formed && core->plan.word == core->word)
        return "I7: ranks go on while a generation is formed";
    if (core->state == CORE_JOB_RUNNING && core->plan.word != core->word && !core->plan.program)
        return "I7: the job runs without a plan";
    for (uint32_t i = 0; i < CORE_RESTART_BUCKETS; i++)
        restarts += core->restart[i];
    if (restarts != core->restart_count || restarts > core->config.max_restarts)
        return "I9: the restarts do not add up, or are more than the budget has";
    if (core->acks.missing > core->living)
        return "I2: more acks are missing than workers live";
    return carriers_check(core);
}

static const char *check_sums(const struct core *core)
{
    uint32_t count[RANK_STATES] = {0};
    uint32_t waiting = 0;
    uint32_t unseen = 0;
    uint32_t missing = 0;
    uint32_t writers = 0;
    bool formed = core->state == CORE_JOB_FORMING || core->state == CORE_JOB_LOADING ||
                  core->state == CORE_JOB_HELD;

    for (uint32_t i = core->heard.head; i != NONE; i = list_next(&core->heard, i)) {
        const struct worker *worker = &core->worker[i];

        missing += worker->asked == core->word && worker->acked != core->word;
        writers += worker->writer != NONE;
        for (uint32_t s = 0; s < worker->slots; s++) {
            const struct rank *rank = &worker->rank[s];

            count[rank->state]++;
            waiting += rank->state == CORE_RANK_READY && !rank->acked;
            unseen += rank->state == CORE_RANK_STARTING && !rank->up;
        }
    }
    for (uint32_t s = 0; s < RANK_STATES; s++)
        if (count[s] != core->count[s])
            return "I2: ranks by state do not add up";
    if (waiting != core->waiting || unseen != core->unseen)
        return "I2: ranks that wait, or were not seen, do not add up";
    if (formed && missing != core->acks.missing)
        return "I2: missing acks do not add up";
    if (core->checkpoint.state == CHECKPOINT_WRITING && writers != core->checkpoint.missing)
        return "I8: missing parts are not owed by living workers";
    return NULL;
}

const char *core_check(struct core *core, uint32_t limit)
{
    const char *broken = check_job(core);
    bool whole = limit >= core->config.capacity_workers;

    for (uint32_t n = 0; !broken && n < limit && n < core->used_workers; n++) {
        broken = check_worker(core, &core->worker[core->check_next]);
        core->check_next = (core->check_next + 1) % core->used_workers;
    }
    return broken || !whole ? broken : check_sums(core);
}
