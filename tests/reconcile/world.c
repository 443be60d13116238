/* pods_sim --pods N --steps N --faults PER_SECOND --seed S [--seeds K]: plays the pods of jobs with
 * random delays, orders and faults, each seed twice to the same digest; a failing one prints the
 * line that replays it. */
#include "tests/reconcile/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLES (900 * RK_S)
#define MOST_LIVES 1024u /* of one place */

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t world_random(struct world *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t world_below(struct world *w, uint64_t bound)
{
    return world_random(w) % bound;
}

bool world_chance(struct world *w, double probability)
{
    return (double)(world_random(w) >> 11) * 0x1p-53 < probability;
}

void world_fail(struct world *w, const char *what)
{
    if (w->failure == NULL)
        w->failure = what;
}

void world_digest(struct world *w, uint64_t value)
{
    w->digest = (w->digest ^ value ^ w->now) * UINT64_C(0x100000001b3);
}

void world_say(const struct world *w, const char *format, ...)
{
    va_list arguments;

    if (w->o.verbose == 0)
        return;
    printf("%10.4f ", (double)w->now / 1e9);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

bool world_calm(const struct world *w)
{
    return w->faults_left == 0;
}

/* ---- the queue: a binary heap by time, then by order of birth ----------------------------------
 */

static bool before(const struct item *a, const struct item *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

/* The caller fills the rest of the item. */
struct item *world_push(struct world *w, enum kind kind, uint64_t delay)
{
    struct item *item = calloc(1, sizeof *item);
    uint32_t i = w->heap_count++;

    if (w->heap_count > w->heap_room) {
        w->heap_room = w->heap_room ? 2 * w->heap_room : 1024;
        w->heap = realloc(w->heap, w->heap_room * sizeof *w->heap);
    }
    if (item == NULL || w->heap == NULL)
        abort();
    item->kind = kind;
    item->time = w->now + delay;
    item->order = w->order++;
    for (; i > 0 && before(item, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = item;
    return item;
}

static struct item *pop(struct world *w)
{
    struct item *first = w->heap[0];
    struct item *last = w->heap[--w->heap_count];
    uint32_t i = 0;

    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child >= w->heap_count)
            break;
        child += child + 1 < w->heap_count && before(w->heap[child + 1], w->heap[child]);
        if (!before(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

static void discard(struct item *item)
{
    free(item->list);
    free(item);
}

/* ---- faults ------------------------------------------------------------------------------------
 */

static void pod_fault(struct world *w)
{
    uint32_t id = pod_some(w);
    struct object *object;

    if (id == NONE)
        return;
    object = &w->object[id];
    switch (world_below(w, 6)) {
    case 0:
        if (pod_lives(w, id))
            pod_end(w, id, "", "Error", (int32_t)world_below(w, 3));
        break;
    case 1:
        if (pod_lives(w, id))
            pod_end(w, id, "", "OOMKilled", 137);
        break;
    case 2:
        if (object->node != NONE && !w->node_down[object->node])
            pod_end(w, id, "Evicted", "", 137);
        break;
    case 3:
        object->disrupted = true;
        server_changed(w, id);
        pod_delete(w, id, object->grace_s);
        break;
    case 4:
        pod_delete(w, id, 0);
        break;
    default:
        pod_delete(w, id, object->grace_s);
        break;
    }
}

static void process_fault(struct world *w)
{
    switch (world_below(w, 4)) {
    case 0:
        if (w->pods != NULL)
            process_die(w);
        break;
    case 1:
        if (w->boss_up) {
            boss_die(w);
            world_push(w, EV_BOSS, 1 + world_below(w, 2 * RK_S))->tag = w->process;
        }
        break;
    case 2:
        if (w->pods != NULL)
            process_relist(w);
        break;
    default:
        w->brown = !w->brown;
        break;
    }
}

static void suspend_fault(struct world *w)
{
    w->suspended = !w->suspended;
    process_feed(w, (struct pods_event){.kind = w->suspended ? PODS_EV_SUSPEND : PODS_EV_RESUME});
}

static void any_fault(struct world *w)
{
    uint64_t kind = world_below(w, 100);
    uint32_t node = (uint32_t)world_below(w, w->o.nodes);

    if (w->o.restarts || kind < 20)
        process_fault(w);
    else if (kind < 70)
        pod_fault(w);
    else if (kind < 80)
        node_fault(w, node);
    else if (kind < 88)
        node_return(w, node);
    else if (kind < 92)
        w->quota = !w->quota;
    else if (kind < 96 && w->boss_up)
        boss_scale(w, 1 + (uint32_t)world_below(w, w->o.pods));
    else if (kind < 98)
        server_foreign(w, (uint32_t)world_below(w, w->o.pods), (uint32_t)world_below(w, 4));
    else
        suspend_fault(w);
}

/* The faults cease: all that is broken comes back. */
static void calm(struct world *w)
{
    w->quota = w->brown = false;
    w->calm_at = w->now;
    for (uint32_t node = 0; node < w->o.nodes; node++)
        node_return(w, node);
    if (w->suspended)
        suspend_fault(w);
}

static void take_fault(struct world *w)
{
    if (w->faults_left == 0 || --w->faults_left == 0) {
        w->faults_left = 0;
        calm(w);
        return;
    }
    any_fault(w);
    world_push(w, EV_FAULT, 1 + world_below(w, (uint64_t)(2e9 / w->o.faults)));
}

/* ---- one run -----------------------------------------------------------------------------------
 */

static void take_node(struct world *w, const struct item *item)
{
    char name[16];
    bool lost = w->node_down[item->who] || w->node_silent[item->who];

    if (item->tag != w->process)
        return;
    snprintf(name, sizeof name, "n%u", item->who);
    process_feed(w, (struct pods_event){.kind = PODS_EV_NODE,
                                        .name = name,
                                        .node = lost ? PODS_NODE_LOST : PODS_NODE_READY});
}

static void take_from_boss(struct world *w, const struct item *item)
{
    if (item->tag != w->boss)
        return;
    if (item->event.kind == PODS_EV_WANT)
        w->words[item->event.ticket] = 0;
    if (item->event.kind == PODS_EV_LINK && item->event.up)
        w->seat[(item->event.ticket - 1) % w->o.pods].heard = true;
    process_feed(w, item->event);
}

static void take_tick(struct world *w, const struct item *item)
{
    if (item->tag != w->process)
        return;
    if (w->tick_at <= w->now)
        w->tick_at = 0;
    process_feed(w, (struct pods_event){.kind = PODS_EV_TICK});
}

static void take_of_processes(struct world *w, struct item *item)
{
    switch (item->kind) {
    case EV_PROCESS:
        process_start(w);
        break;
    case EV_BOSS:
        if (item->tag == w->process && !w->boss_up)
            boss_start(w);
        break;
    case EV_TO_BOSS:
        boss_take(w, item);
        break;
    case EV_FROM_BOSS:
        take_from_boss(w, item);
        break;
    case EV_DIAL:
        boss_dial(w, item);
        break;
    case EV_CLOSED:
        boss_closed(w, item);
        break;
    case EV_TICKET:
        boss_ticket(w, item);
        break;
    case EV_ANSWER:
        process_answer(w, item);
        break;
    case EV_WATCH:
        process_watch(w, item);
        break;
    case EV_LISTED:
        process_listed(w, item);
        break;
    default:
        break;
    }
}

static void take(struct world *w, struct item *item)
{
    switch (item->kind) {
    case EV_FAULT:
        take_fault(w);
        break;
    case EV_TICK:
        take_tick(w, item);
        break;
    case EV_CREATE:
        server_create(w, item);
        break;
    case EV_DELETE:
        server_delete(w, item);
        break;
    case EV_LIST:
        server_list(w, item);
        break;
    case EV_NODE:
        take_node(w, item);
        break;
    case EV_SCHEDULE:
        kubelet_schedule(w, item);
        break;
    case EV_START:
        kubelet_start(w, item);
        break;
    case EV_ENDED:
        kubelet_ended(w, item);
        break;
    case EV_REMOVE:
        kubelet_remove(w, item);
        break;
    default:
        take_of_processes(w, item);
        break;
    }
}

static void run_until(struct world *w, uint64_t end)
{
    while (w->failure == NULL && w->heap_count > 0 && w->heap[0]->time <= end) {
        struct item *item = pop(w);

        w->now = item->time;
        take(w, item);
        discard(item);
    }
    w->now = end;
}

static void begin(struct world *w, const struct options *o)
{
    *w = (struct world){.o = *o, .random = o->seed, .now = 1000 * RK_S};
    w->object_room = 1024;
    w->objects = 1;
    w->object = calloc(w->object_room, sizeof *w->object);
    w->seat = calloc(o->pods, sizeof *w->seat);
    w->words_room = MOST_LIVES * o->pods;
    w->words = calloc(w->words_room, 1);
    if (w->object == NULL || w->seat == NULL || w->words == NULL)
        abort();
    w->node_source = o->seed % 2 == 0;
    w->target = o->pods;
    w->policy = (enum pods_policy)(o->seed / 2 % 3);
    w->faults_left = o->faults > 0 ? o->steps : 0;
    for (uint32_t place = 0; place < o->pods; place++)
        w->seat[place] = (struct seat){.ticket = 1 + place, .dialled = NONE};
}

static void end(struct world *w)
{
    while (w->heap_count > 0)
        discard(pop(w));
    free(w->heap);
    free(w->object);
    free(w->seat);
    free(w->words);
    pods_free(w->pods);
}

/* A request of a process that died may land after the next one has ended; not in this model. */
static bool requests_may_land(const struct world *w)
{
    return w->now < w->born + 30 * RK_S;
}

/* The process ends as soon as it may; what it leaves behind stays. */
static void play_the_stop(struct world *w)
{
    uint64_t limit = w->now + SETTLES;

    while (requests_may_land(w))
        run_until(w, w->now + RK_S);
    w->stopped = true;
    boss_die(w);
    process_feed(w, (struct pods_event){.kind = PODS_EV_STOP, .policy = w->policy});
    while (w->failure == NULL && w->now < limit &&
           (w->pods == NULL || !pods_idle(w->pods) || requests_may_land(w)))
        run_until(w, w->now + RK_S / 4);
    if (w->failure == NULL && (w->pods == NULL || !pods_idle(w->pods)))
        world_fail(w, "the reconciler does not come to rest after the end");
    process_end(w);
    run_until(w, w->now + SETTLES);
    if (w->failure == NULL)
        judge_stopped(w);
}

static void play_to_the_end(struct world *w)
{
    process_start(w);
    if (w->faults_left > 0)
        world_push(w, EV_FAULT, RK_S);
    while (w->failure == NULL && !world_calm(w))
        run_until(w, w->now + RK_S);
    if (w->o.seed % 4 != 0) { /* else it is stopped in the middle of all */
        run_until(w, w->now + SETTLES);
        if (w->failure == NULL)
            judge_settled(w);
    }
    if (w->failure == NULL)
        play_the_stop(w);
}

static uint64_t play(const struct options *o, bool print, const char **failure)
{
    static struct world world;
    struct world *w = &world;

    begin(w, o);
    play_to_the_end(w);
    if (print)
        printf("seed %llu: %llu steps, %llu actions, %llu creates, %llu deletes, %llu pods, "
               "%llu gone, %llu failed, %llu restarts, %llu of the coordinator%s%s\n",
               (unsigned long long)o->seed, (unsigned long long)w->steps,
               (unsigned long long)w->actions, (unsigned long long)w->creates,
               (unsigned long long)w->deletes, (unsigned long long)w->starts,
               (unsigned long long)w->gone, (unsigned long long)w->failed,
               (unsigned long long)w->restarts, (unsigned long long)w->boss_restarts,
               w->failure ? ": " : "", w->failure ? w->failure : "");
    *failure = w->failure;
    end(w);
    return w->digest;
}

static bool option(struct options *o, uint64_t *seeds, const char *name, const char *value)
{
    uint64_t number = strtoull(value, NULL, 10);

    if (strcmp(name, "--pods") == 0)
        o->pods = (uint32_t)number;
    else if (strcmp(name, "--nodes") == 0)
        o->nodes = (uint32_t)number;
    else if (strcmp(name, "--steps") == 0)
        o->steps = number;
    else if (strcmp(name, "--seed") == 0)
        o->seed = number;
    else if (strcmp(name, "--seeds") == 0)
        *seeds = number;
    else if (strcmp(name, "--faults") == 0)
        o->faults = strtod(value, NULL);
    else if (strcmp(name, "--restarts-only") == 0)
        o->restarts = number != 0;
    else if (strcmp(name, "--verbose") == 0)
        o->verbose = (uint32_t)number;
    else
        return false;
    return true;
}

static bool options_fit(const struct options *o)
{
    return o->pods > 0 && o->pods <= 65536 && o->nodes > 0 && o->nodes <= MOST_NODES;
}

int main(int argc, char **argv)
{
    struct options o = {.pods = 4, .nodes = 3, .steps = 60, .seed = 1, .faults = 1};
    uint64_t seeds = 1;
    uint64_t first;

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !option(&o, &seeds, argv[i], argv[i + 1]) || !options_fit(&o)) {
            fprintf(stderr, "usage: pods_sim [--pods N] [--nodes N] [--steps N] "
                            "[--faults PER_SECOND] [--restarts-only 0|1] [--seed S] [--seeds K] "
                            "[--verbose 1]\n");
            return 64;
        }
    }
    first = o.seed;
    for (; o.seed < first + seeds; o.seed++) {
        const char *failure = NULL;
        uint64_t digest = play(&o, o.verbose || seeds <= 16, &failure);

        o.verbose = 0;
        if (failure == NULL && play(&o, false, &failure) != digest && failure == NULL)
            failure = "two runs of one seed differ";
        if (failure != NULL) {
            printf("FAILED: %s\nreplay: %s --pods %u --nodes %u --steps %llu --faults %g "
                   "--restarts-only %d --seed %llu\n",
                   failure, argv[0], o.pods, o.nodes, (unsigned long long)o.steps, o.faults,
                   o.restarts, (unsigned long long)o.seed);
            return 1;
        }
    }
    return 0;
}
