/* PID 1 around the reconciler, and its child, a coordinator that wants one pod for each place. */
#include "tests/reconcile/world.h"

#include "k8s/reconcile/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE 50u
#define BURST 100u

/* ---- actions -----------------------------------------------------------------------------------
 */

/* What a healthy, linked pod of a wanted ticket must never see. */
static bool is_needed(const struct world *w, uint32_t id)
{
    const struct object *object = &w->object[id];
    const struct seat *seat = &w->seat[object->place];

    return w->boss_up && !w->suspended && !w->stopped && object->linked && !object->deleting &&
           seat->heard && seat->linked && seat->dialled == id && seat->ticket == object->ticket;
}

static void request(struct world *w, const struct pods_action *action)
{
    struct item *item = world_push(w, action->kind == PODS_DO_CREATE ? EV_CREATE : EV_DELETE,
                                   1 + world_below(w, w->brown ? 2 * RK_S : 20 * RK_MS));
    uint32_t id = (uint32_t)strtoul(action->uid + 4, NULL, 10);

    item->tag = w->process;
    item->action = *action;
    if (action->kind == PODS_DO_DELETE) {
        if (strncmp(action->uid, "uid-", 4) != 0)
            world_fail(w, "a delete without uid");
        else if (id < w->objects && is_needed(w, id))
            world_fail(w, "a healthy pod that is wanted is deleted");
        return;
    }
    if (w->stopped || w->suspended)
        world_fail(w, "a create while nothing may be created");
    if (++w->in_flight > 32)
        world_fail(w, "more than 32 creates in flight");
    w->paid = (w->paid > w->now ? w->paid : w->now) + RK_S / RATE;
    if (w->paid > w->now + BURST * (RK_S / RATE))
        world_fail(w, "creates faster than their rate");
}

static void word(struct world *w, const struct pods_action *action)
{
    if (action->text[0] == '\0')
        world_fail(w, "a word without a sentence");
    if (w->words[action->ticket]++ > 0)
        world_fail(w, "a ticket's end is told twice");
    if (action->kind == PODS_DO_GONE)
        w->gone++;
    else
        w->failed++;
}

static void to_boss(struct world *w, const struct pods_action *action)
{
    uint64_t at = w->now + 1 + world_below(w, 5 * RK_MS);
    struct item *item;

    if (at <= w->to_boss_at)
        at = w->to_boss_at + 1;
    w->to_boss_at = at;
    item = world_push(w, EV_TO_BOSS, at - w->now);
    item->tag = w->boss;
    item->action = *action;
}

static void act(struct world *w, const struct pods_action *action)
{
    w->actions++;
    world_digest(w, (uint64_t)action->kind << 40 | action->ticket);
    world_digest(w, (uint64_t)action->n << 32 | action->place);
    world_say(w, "  -> %s ticket %u %s %s %s", pods_action_name(action->kind), action->ticket,
              action->name, action->uid, action->text);
    switch (action->kind) {
    case PODS_DO_CREATE:
    case PODS_DO_DELETE:
        request(w, action);
        break;
    case PODS_DO_GONE:
    case PODS_DO_FAILED:
        word(w, action);
        to_boss(w, action);
        break;
    case PODS_DO_DIAL:
    case PODS_DO_HANG_UP:
    case PODS_DO_NOTICE:
        to_boss(w, action);
        break;
    case PODS_DO_RELIST:
        process_relist(w);
        break;
    default:
        break;
    }
}

static void wake(struct world *w)
{
    uint64_t due = pods_deadline(w->pods);

    if (due == PODS_NONE || (w->tick_at > w->now && w->tick_at <= due))
        return;
    w->tick_at = due > w->now ? due : w->now + 1;
    world_push(w, EV_TICK, w->tick_at - w->now)->tag = w->process;
}

void process_feed(struct world *w, struct pods_event event)
{
    static struct pods_actions actions;
    const char *broken;

    if (w->pods == NULL)
        return;
    event.now = w->now;
    world_say(w, "%s ticket %u %s", pods_event_name(event.kind), event.ticket,
              event.seen != NULL   ? event.seen->name
              : event.name != NULL ? event.name
                                   : "");
    pods_step(w->pods, &event, &actions);
    w->steps++;
    if (w->o.pods <= 16 || w->steps % 256 == 0) {
        broken = pods_check(w->pods, UINT32_MAX);
        if (broken != NULL)
            world_fail(w, broken);
    }
    for (uint32_t i = 0; i < actions.count; i++)
        act(w, &actions.action[i]);
    if (w->pods != NULL)
        wake(w);
}

/* ---- the process -------------------------------------------------------------------------------
 */

void process_relist(struct world *w)
{
    w->watch++;
    w->watching = false;
    process_feed(w, (struct pods_event){.kind = PODS_EV_LIST_BEGIN});
    world_push(w, EV_LIST, 1 + world_below(w, 100 * RK_MS))->tag = w->watch;
}

static void tell_nodes(struct world *w)
{
    for (uint32_t node = 0; w->node_source && node < w->o.nodes; node++) {
        struct item *item = world_push(w, EV_NODE, 1 + world_below(w, RK_S));

        item->tag = w->process;
        item->who = node;
    }
}

void process_start(struct world *w)
{
    struct pods_config config = pods_config_default();
    struct rk_why why = {""};

    config.job = "j";
    config.namespace = "n";
    config.owner = "owner";
    config.places = w->o.pods;
    config.seed = w->o.seed + w->process;
    w->process++;
    w->born = w->now;
    w->in_flight = 0;
    w->paid = w->tick_at = 0;
    if (pods_new(&config, &w->pods, &why) != 0)
        abort();
    if (w->suspended)
        process_feed(w, (struct pods_event){.kind = PODS_EV_SUSPEND});
    if (w->stopped)
        process_feed(w, (struct pods_event){.kind = PODS_EV_STOP, .policy = w->policy});
    tell_nodes(w);
    process_relist(w);
    boss_start(w);
}

void process_end(struct world *w)
{
    boss_die(w);
    pods_free(w->pods);
    w->pods = NULL;
    w->process++;
    w->watch++;
    w->watching = false;
}

void process_die(struct world *w)
{
    w->restarts++;
    process_end(w);
    world_push(w, EV_PROCESS, 1 + world_below(w, 2 * RK_S));
}

void process_answer(struct world *w, struct item *item)
{
    struct pods_event event = {.result = item->event.result};

    if (item->tag != w->process || w->pods == NULL)
        return;
    event.kind = item->action.kind == PODS_DO_CREATE ? PODS_EV_CREATED : PODS_EV_DELETED;
    event.result.request = item->action.request;
    event.result.ticket = item->action.ticket;
    event.result.place = item->action.place;
    event.result.n = item->action.n;
    event.result.uid = event.kind == PODS_EV_CREATED ? item->uid : item->action.uid;
    event.result.message = "exceeded quota: gpus";
    if (event.kind == PODS_EV_CREATED)
        w->in_flight--;
    process_feed(w, event);
}

static void write_avoids(char *text, size_t size, uint64_t nodes)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t node = 0; node < MOST_NODES; node++)
        if (nodes >> node & 1)
            used += (size_t)snprintf(text + used, size - used, "%sn%u", used > 0 ? " " : "", node);
}

static void feed_pod(struct world *w, const struct object *shot)
{
    char name[PODS_NAME];
    char uid[PODS_UID];
    char node[16] = "";
    char address[PODS_ADDRESS] = "";
    bool ended = shot->stage == STAGE_ENDED;
    char avoids[PODS_AVOIDED * 8];
    struct pod_seen seen = {
        .name = name, .uid = uid, .node = node, .address = address, .avoids = avoids};

    write_avoids(avoids, sizeof avoids, shot->avoids);

    pods_name_write("j", shot->place, shot->n, name);
    snprintf(uid, sizeof uid, "uid-%u", shot->id);
    if (shot->node != NONE)
        snprintf(node, sizeof node, "n%u", shot->node);
    if (shot->stage == STAGE_RUNNING) /* few addresses, so that they are used again */
        snprintf(address, sizeof address, "10.0.0.%u", shot->id % 7);
    seen.owner = shot->foreign ? "another" : "owner";
    seen.ticket = shot->ticket;
    seen.place = shot->place;
    seen.phase = !ended ? (shot->stage == STAGE_RUNNING ? SEEN_RUNNING : SEEN_PENDING)
                 : shot->exit_code == 0 ? SEEN_SUCCEEDED
                                        : SEEN_FAILED;
    seen.reason = shot->status;
    seen.message = "";
    seen.deleting = shot->deleting;
    seen.grace_s = shot->grace_s;
    seen.disrupted = shot->disrupted;
    seen.disruption = shot->disrupted ? "PreemptionByScheduler" : "";
    seen.disruption_message = "";
    seen.ready = seen.running = shot->stage == STAGE_RUNNING;
    seen.ended = ended;
    seen.exit_code = shot->exit_code;
    seen.end_reason = shot->end;
    seen.end_message = "";
    seen.wait_reason = shot->wait;
    seen.wait_message = "";
    seen.ended_s = shot->ended_s;
    if (shot->exists)
        process_feed(w, (struct pods_event){.kind = PODS_EV_POD, .seen = &seen});
    else
        process_feed(w, (struct pods_event){.kind = PODS_EV_POD_GONE, .name = name, .uid = uid});
}

void process_watch(struct world *w, const struct item *item)
{
    if (item->tag == w->watch && w->pods != NULL)
        feed_pod(w, &item->shot);
}

void process_listed(struct world *w, struct item *item)
{
    uint64_t watch = w->watch;

    for (uint32_t left = item->count; left > 0; left--) {
        uint32_t i = (uint32_t)world_below(w, left);
        struct object shot = item->list[i];

        if (item->tag != w->watch || w->pods == NULL)
            return;
        item->list[i] = item->list[left - 1];
        feed_pod(w, &shot);
        if (!world_calm(w) && w->o.faults > 0 && world_chance(w, 0.1 / w->o.pods)) {
            process_relist(w); /* the list broke off */
            return;
        }
    }
    if (item->tag == watch && watch == w->watch)
        process_feed(w, (struct pods_event){.kind = PODS_EV_LIST_END});
}

/* ---- the coordinator ---------------------------------------------------------------------------
 */

void boss_says(struct world *w, struct pods_event event)
{
    uint64_t at = w->now + 1 + world_below(w, 5 * RK_MS);
    struct item *item;

    if (at <= w->from_boss_at)
        at = w->from_boss_at + 1;
    w->from_boss_at = at;
    item = world_push(w, EV_FROM_BOSS, at - w->now);
    item->tag = w->boss;
    item->event = event;
}

static void wants(struct world *w, uint32_t place)
{
    boss_says(w, (struct pods_event){
                     .kind = PODS_EV_WANT, .ticket = w->seat[place].ticket, .place = place});
}

/* Its record says which tickets it gave; it does not know what became of them. */
void boss_start(struct world *w)
{
    w->boss++;
    w->boss_up = true;
    memset(w->words, 0, w->words_room);
    process_feed(w, (struct pods_event){.kind = PODS_EV_COORDINATOR});
    for (uint32_t place = 0; place < w->target; place++) {
        w->seat[place].linked = w->seat[place].heard = false;
        w->seat[place].dialled = NONE;
        if (w->seat[place].ticket != 0)
            wants(w, place);
        else
            world_push(w, EV_TICKET, RK_S)->who = place;
    }
    boss_says(w, (struct pods_event){.kind = PODS_EV_TOLD});
}

void boss_die(struct world *w)
{
    w->boss_restarts++;
    w->boss_up = false;
    w->boss++;
    for (uint32_t id = 1; id < w->objects; id++)
        w->object[id].linked = false;
}

static void fill_later(struct world *w, uint32_t place, uint64_t delay)
{
    w->seat[place] = (struct seat){.serial = w->seat[place].serial, .dialled = NONE};
    world_push(w, EV_TICKET, 1 + delay)->who = place;
}

void boss_ticket(struct world *w, const struct item *item)
{
    uint32_t place = item->who;

    if (!w->boss_up || place >= w->target || w->seat[place].ticket != 0)
        return;
    w->seat[place].ticket = 1 + place + w->o.pods * ++w->seat[place].serial;
    if (w->seat[place].ticket >= w->words_room)
        abort();
    wants(w, place);
}

void boss_scale(struct world *w, uint32_t target)
{
    for (uint32_t place = target; place < w->target; place++) {
        if (w->seat[place].ticket != 0)
            boss_says(w,
                      (struct pods_event){.kind = PODS_EV_KILL, .ticket = w->seat[place].ticket});
        w->seat[place] = (struct seat){.serial = w->seat[place].serial, .dialled = NONE};
    }
    for (uint32_t place = w->target; place < target; place++)
        world_push(w, EV_TICKET, 1 + world_below(w, RK_S))->who = place;
    w->target = target;
}

static void try_link(struct world *w, uint32_t place, uint32_t id)
{
    struct seat *seat = &w->seat[place];

    if (!pod_lives(w, id) || w->object[id].ticket != seat->ticket) {
        struct item *item = world_push(w, EV_DIAL, RK_S);

        item->who = place;
        item->tag = w->boss;
        item->shot.id = id;
        return;
    }
    seat->linked = w->object[id].linked = true;
    boss_says(w, (struct pods_event){.kind = PODS_EV_LINK, .ticket = seat->ticket, .up = true});
}

void boss_dial(struct world *w, const struct item *item)
{
    const struct seat *seat = &w->seat[item->who];

    if (item->tag == w->boss && w->boss_up && seat->dialled == item->shot.id && !seat->linked)
        try_link(w, item->who, item->shot.id);
}

void boss_closed(struct world *w, const struct item *item)
{
    const struct object *object = &w->object[item->who];
    struct seat *seat = &w->seat[object->place];

    if (item->tag != w->boss || !w->boss_up || seat->ticket != object->ticket || !seat->linked ||
        seat->dialled != object->id)
        return;
    boss_says(w, (struct pods_event){.kind = PODS_EV_LINK, .ticket = seat->ticket});
    boss_says(w, (struct pods_event){.kind = PODS_EV_KILL, .ticket = seat->ticket});
    fill_later(w, object->place, world_below(w, 100 * RK_MS));
}

void boss_take(struct world *w, const struct item *item)
{
    const struct pods_action *action = &item->action;
    struct seat *seat = &w->seat[action->place];

    if (item->tag != w->boss || !w->boss_up || seat->ticket != action->ticket)
        return;
    if (action->kind == PODS_DO_DIAL) {
        seat->linked = seat->heard = false;
        seat->dialled = (uint32_t)strtoul(action->uid + 4, NULL, 10);
        try_link(w, action->place, seat->dialled);
    } else if (action->kind == PODS_DO_HANG_UP) {
        if (seat->dialled != NONE)
            w->object[seat->dialled].linked = false;
        seat->linked = false;
        seat->dialled = NONE;
    } else if (action->kind == PODS_DO_GONE) {
        if (seat->dialled != NONE)
            w->object[seat->dialled].linked = false;
        fill_later(w, action->place, world_below(w, 100 * RK_MS));
    } else if (action->kind == PODS_DO_FAILED) {
        fill_later(w, action->place, RK_S + world_below(w, RK_S));
    }
}
