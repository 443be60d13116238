/* sim --workers N --seconds T --seed S [--seeds K]: plays jobs with random faults, each seed twice
 * to the same digest; a failing one prints the line that replays it. */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Memory of one run: given back all at once. */
struct block {
    struct block *next;
    max_align_t data[];
};
static struct block *blocks;

void *sim_alloc(size_t size)
{
    struct block *block = calloc(1, sizeof *block + size);

    if (!block)
        abort();
    block->next = blocks;
    blocks = block;
    return block->data;
}

static void sim_forget(void)
{
    while (blocks) {
        struct block *next = blocks->next;

        free(blocks);
        blocks = next;
    }
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t sim_random(struct sim *sim)
{
    uint64_t z = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return sim_random(sim) % bound;
}

bool sim_chance(struct sim *sim, double probability)
{
    return (double)(sim_random(sim) >> 11) * 0x1p-53 < probability;
}

void sim_fail(struct sim *sim, const char *what)
{
    if (!sim->failure)
        sim->failure = what;
}

void sim_digest(struct sim *sim, uint64_t value)
{
    sim->digest = (sim->digest ^ value ^ sim->now) * UINT64_C(0x100000001b3);
}

/* ---- the queue: a binary heap by time, then by order of birth -------------------------------- */

static bool item_before(const struct item *a, const struct item *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void sim_push(struct sim *sim, struct item item, uint64_t delay)
{
    uint32_t i = sim->heap_count++;

    if (sim->heap_count > sim->heap_room) {
        sim->heap_room = sim->heap_room ? sim->heap_room * 2 : 1024;
        sim->heap = realloc(sim->heap, sim->heap_room * sizeof *sim->heap);
        if (!sim->heap)
            abort();
    }
    item.time = sim->now + delay;
    item.order = sim->order++;
    for (; i > 0 && item_before(&item, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = item;
}

static struct item sim_pop(struct sim *sim)
{
    struct item first = sim->heap[0];
    struct item last = sim->heap[--sim->heap_count];
    uint32_t i = 0;

    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= sim->heap_count)
            break;
        child +=
            child + 1 < sim->heap_count && item_before(&sim->heap[child + 1], &sim->heap[child]);
        if (!item_before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return first;
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* A living worker, by chance; NONE when chance finds none. */
static uint32_t victim(struct sim *sim)
{
    for (uint32_t turn = 0; turn < 64 && sim->worker_count; turn++) {
        uint32_t w = (uint32_t)sim_below(sim, sim->worker_count);

        if (sim->worker[w].alive)
            return w;
    }
    return NONE;
}

static void host_die(struct sim *sim, uint32_t group)
{
    for (uint32_t w = 0; w < sim->worker_count; w++)
        if (sim->worker[w].alive && sim->worker[w].group == group)
            agent_die(sim, w, sim_chance(sim, 0.3));
}

/* One worker, or all of a host, will end. */
static void drain(struct sim *sim, uint32_t victim)
{
    bool host = sim_chance(sim, 0.2);
    uint64_t within = 20 * RK_MS + sim_below(sim, 4 * RK_S);

    for (uint32_t w = 0; w < sim->worker_count; w++)
        if (w == victim || (host && sim->worker[w].group == sim->worker[victim].group))
            agent_drain(sim, w, within);
}

static void fault(struct sim *sim)
{
    uint64_t kind = sim_below(sim, 100);
    uint32_t w = victim(sim);
    uint32_t index = kind < 46   ? 0
                     : kind < 64 ? 1
                     : kind < 69 ? 2
                     : kind < 80 ? 3
                     : kind < 86 ? 4
                     : kind < 90 ? 5
                                 : 6;

    if (w == NONE)
        return;
    sim->kills[index]++;
    if (index == 0)
        rank_die(sim, w, (uint32_t)sim_below(sim, sim->o.slots), 9);
    else if (index == 1)
        agent_die(sim, w, sim_chance(sim, 0.2));
    else if (index == 2)
        host_die(sim, sim->worker[w].group);
    else if (index == 3)
        sim->worker[w].stalled = sim->now + 50 * RK_MS + sim_below(sim, 2 * RK_S);
    else if (index == 4 && (sim->o.gpus || sim_chance(sim, 0.2)))
        agent_says_comm(sim, w);
    else if (index == 4)
        crews_fault(sim, w);
    else if (index == 6)
        drain(sim, w);
    else if (sim->core && !sim->o.no_restarts)
        boss_die(sim);
}

static void take_fault(struct sim *sim)
{
    uint64_t mean = (uint64_t)(1e9 / sim->o.faults);

    if (sim->now >= sim->deadline)
        return;
    for (uint64_t n = sim_chance(sim, 0.1) ? 1 + sim_below(sim, 5) : 1; n > 0; n--)
        fault(sim);
    sim_push(sim, (struct item){.kind = EV_FAULT}, 1 + sim_below(sim, 2 * mean));
}

/* ---- one run --------------------------------------------------------------------------------- */

/* Nothing of a worker's agent happens while it is stalled. */
static bool stalled(struct sim *sim, const struct item *item)
{
    struct worker *worker = &sim->worker[item->who];

    if (worker->stalled <= sim->now)
        return false;
    sim_push(sim, *item, worker->stalled - sim->now);
    return true;
}

static void take_beat(struct sim *sim, const struct item *item)
{
    if (!sim->worker[item->who].alive)
        return;
    if (item->tag == 1)
        agent_hello(sim, item->who);
    else
        agent_beat(sim, item->who);
}

static void take(struct sim *sim, const struct item *item)
{
    switch (item->kind) {
    case EV_BOOT:
        agent_boot(sim, item->who, item->slot);
        break;
    case EV_TO_CORE:
        boss_take(sim, item);
        break;
    case EV_TO_WORKER:
        if (item->tag == sim->life && !stalled(sim, item))
            agent_take(sim, item->who, item->letter);
        break;
    case EV_BEAT:
        take_beat(sim, item);
        break;
    case EV_UP:
        (sim->o.program ? program_up : rank_up)(sim, item);
        break;
    case EV_READY:
        rank_ready(sim, item);
        break;
    case EV_ADVANCE:
        rank_advance(sim, item);
        break;
    case EV_EXIT:
        (sim->o.program ? program_exit : rank_exit)(sim, item);
        break;
    case EV_FAULT:
        take_fault(sim);
        break;
    case EV_TICK:
        if (item->tag == sim->life)
            boss_tick(sim, 0);
        break;
    case EV_CORE_UP:
        boss_start(sim);
        break;
    case EV_GONE:
        boss_gone(sim, item);
        break;
    case EV_KILLED:
        agent_die(sim, item->who, sim_chance(sim, 0.2));
        break;
    case EV_CREW:
        crew_event(sim, item);
        break;
    case EV_STEP:
        rank_summed(sim, item);
        break;
    }
}

static void sim_init(struct sim *sim, const struct options *o)
{
    *sim = (struct sim){.o = *o, .random = o->seed, .now = 1000 * RK_S, .exit_code = -1};
    sim->config = (struct core_config){
        .capacity_workers = (o->workers + o->spares) * 2 + 64,
        .min_workers = 1,
        .target_workers = o->workers,
        .max_workers = o->workers,
        .spares = o->spares,
        .slots = o->slots,
        .shards = o->shards,
        .launches = true,
        .on_gpus = o->gpus,
        .mode = o->program && o->seed % 2 ? CORE_PROGRAM : CORE_AUTO,
        .gather = RK_S,
        .silence = RK_S,
        .launch_timeout = 5 * RK_S,
        .carrier_timeout = 2 * RK_S,
        .standby_carriers = o->seed % 4 != 0,
        .recover_timeout = 3 * RK_S,
        .checkpoints = o->seed % 3 != 0,
        .checkpoint_interval_steps = o->seed % 2 ? 20 : 0,
        .checkpoint_interval_ns = 500 * RK_MS,
        .checkpoint_timeout = 10 * RK_S,
        .max_restarts = 1000000,
        .restart_window = RK_S,
        .program_failures = 3,
    };
    sim->deadline = sim->now + o->seconds * RK_S;
    sim->worker_room = (o->workers + o->spares) * 40 + 4000;
    sim->coming = sim_alloc(sim->worker_room * sizeof *sim->coming);
    sim->worker = sim_alloc(sim->worker_room * sizeof *sim->worker);
    sim->group = sim_alloc(o->hosts * sizeof(struct arena *));
}

static void sim_judge(struct sim *sim)
{
    if (sim->failure)
        return;
    if (!sim->over)
        sim_fail(sim, "the job did not end");
    else if (sim->exit_code != 0 && !(sim->exit_code == 69 && sim->config.checkpoints))
        sim_fail(sim, "the job ended with another code than 0");
    else if (!sim->o.program && sim->finished_steps < sim->o.steps && sim->exit_code == 0)
        sim_fail(sim, "the job ended before all its steps were done");
    else if (sim->restarts == 0 && sim->exit_code == 0 &&
             /* of a program, a worker that was to start with the others had no part in it yet */
             ((sim->losses_recovered < sim->losses_early && !sim->o.program) ||
              sim->losses_recovered > sim->losses_noted))
        sim_fail(sim, "losses are missing in what was recovered");
}

static uint64_t play(const struct options *o, bool print, const char **failure)
{
    static struct sim sim;
    uint64_t limit;

    sim_init(&sim, o);
    limit = sim.deadline + 300 * RK_S;
    boss_start(&sim);
    sim_push(&sim, (struct item){.kind = EV_FAULT}, 300 * RK_MS);
    while (!sim.over && !sim.failure && sim.heap_count && sim.now < limit) {
        struct item item = sim_pop(&sim);

        sim.now = item.time;
        take(&sim, &item);
    }
    sim_judge(&sim);
    if (print)
        printf("seed %llu: %llu events, %u generations, %u commits, ranks %u workers %u hosts %u "
               "stalls %u carriers %u drains %u killed, %u drained, %u restarts, %llu losses, "
               "exit %d, %.1f s%s%s\n",
               (unsigned long long)o->seed, (unsigned long long)sim.events, sim.generations,
               sim.commits, sim.kills[0], sim.kills[1], sim.kills[2], sim.kills[3], sim.kills[4],
               sim.kills[6], sim.drained, sim.restarts, (unsigned long long)sim.losses_noted,
               sim.exit_code, (double)(sim.now - 1000 * RK_S) / 1e9, sim.failure ? ": " : "",
               sim.failure ? sim.failure : "");
    *failure = sim.failure;
    core_free(sim.core);
    free(sim.heap);
    sim_forget();
    return sim.digest;
}

static bool option(struct options *o, uint64_t *seeds, const char *name, const char *value)
{
    uint64_t number = strtoull(value, NULL, 10);

    if (strcmp(name, "--workers") == 0)
        o->workers = (uint32_t)number;
    else if (strcmp(name, "--seconds") == 0)
        o->seconds = number;
    else if (strcmp(name, "--seed") == 0)
        o->seed = number;
    else if (strcmp(name, "--seeds") == 0)
        *seeds = number;
    else if (strcmp(name, "--hosts") == 0)
        o->hosts = (uint32_t)number;
    else if (strcmp(name, "--slots") == 0)
        o->slots = (uint32_t)number;
    else if (strcmp(name, "--spares") == 0)
        o->spares = (uint32_t)number;
    else if (strcmp(name, "--shards") == 0)
        o->shards = (uint32_t)number;
    else if (strcmp(name, "--steps") == 0)
        o->steps = number;
    else if (strcmp(name, "--faults") == 0)
        o->faults = strtod(value, NULL);
    else if (strcmp(name, "--restarts") == 0)
        o->no_restarts = number == 0;
    else if (strcmp(name, "--gpus") == 0)
        o->gpus = number != 0;
    else if (strcmp(name, "--program") == 0)
        o->program = number != 0;
    else if (strcmp(name, "--verbose") == 0)
        o->verbose = (uint32_t)number;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.workers = 4,
                        .hosts = 2,
                        .slots = 1,
                        .shards = 16,
                        .seconds = 5,
                        .steps = 1200,
                        .seed = 1,
                        .faults = 4};
    uint64_t seeds = 1;
    uint64_t first;

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !option(&o, &seeds, argv[i], argv[i + 1])) {
            fprintf(stderr,
                    "usage: sim --workers N --seconds T --seed S [--seeds K] [--hosts H] "
                    "[--slots S] [--spares N] [--shards V] [--steps N] [--faults PER_SECOND] "
                    "[--restarts 0|1] [--gpus 0|1] [--program 0|1] [--verbose 1|2]\n");
            return 64;
        }
    }
    first = o.seed;
    for (; o.seed < first + seeds; o.seed++) {
        const char *failure = NULL;
        uint64_t digest = play(&o, true, &failure);

        o.verbose = 0;
        if (!failure && play(&o, false, &failure) != digest && !failure)
            failure = "two runs of one seed differ";
        if (failure) {
            printf(
                "FAILED: %s\nreplay: %s --workers %u --hosts %u --slots %u --spares %u --shards %u "
                "--seconds %llu --steps %llu --faults %g --restarts %d --gpus %d --program %d "
                "--seed %llu\n",
                failure, argv[0], o.workers, o.hosts, o.slots, o.spares, o.shards,
                (unsigned long long)o.seconds, (unsigned long long)o.steps, o.faults,
                !o.no_restarts, o.gpus, o.program, (unsigned long long)o.seed);
            return 1;
        }
    }
    return 0;
}
