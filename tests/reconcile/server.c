/* The API server and its watch, kubelets and nodes, as a model: see world.h. */
#include "tests/reconcile/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool pod_lives(const struct world *w, uint32_t id)
{
    const struct object *object = &w->object[id];

    return object->exists && object->stage == STAGE_RUNNING && object->node != NONE &&
           !w->node_down[object->node];
}

uint32_t pod_some(struct world *w)
{
    for (uint32_t turn = 0; turn < 64 && w->objects > 1; turn++) {
        uint32_t id = 1 + (uint32_t)world_below(w, w->objects - 1);

        if (w->object[id].exists && w->object[id].stage != STAGE_ENDED && !w->object[id].foreign)
            return id;
    }
    return NONE;
}

/* ---- the watch ---------------------------------------------------------------------------------
 */

/* Changes of one object arrive in order, those of several in any; some twice. */
void server_changed(struct world *w, uint32_t id)
{
    struct object *object = &w->object[id];
    uint64_t at = w->now + 1 + world_below(w, world_chance(w, 0.05) ? 2 * RK_S : 30 * RK_MS);
    struct item *item;

    if (!w->watching)
        return;
    if (at <= object->shown)
        at = object->shown + 1;
    if (at <= w->listed_at)
        at = w->listed_at + 1;
    for (int copies = world_chance(w, 0.03) ? 2 : 1; copies > 0; copies--) {
        object->shown = at;
        item = world_push(w, EV_WATCH, at - w->now);
        item->who = id;
        item->tag = w->watch;
        item->shot = *object;
        at++;
    }
}

void server_list(struct world *w, struct item *item)
{
    struct item *listed;
    uint64_t delay = 1 + world_below(w, 200 * RK_MS);

    if (item->tag != w->watch)
        return;
    listed = world_push(w, EV_LISTED, delay);
    listed->tag = w->watch;
    listed->list = calloc(w->objects, sizeof *listed->list);
    if (listed->list == NULL)
        abort();
    for (uint32_t id = 1; id < w->objects; id++)
        if (w->object[id].exists)
            listed->list[listed->count++] = w->object[id];
    w->watching = true;
    w->listed_at = w->now + delay;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static uint32_t named(const struct world *w, uint32_t place, uint32_t n)
{
    for (uint32_t id = w->objects - 1; id > 0; id--)
        if (w->object[id].exists && w->object[id].place == place && w->object[id].n == n)
            return id;
    return NONE;
}

static uint32_t add_object(struct world *w, uint32_t place, uint32_t n, uint32_t ticket)
{
    struct object *object;

    if (w->objects == w->object_room) {
        w->object_room = 2 * w->object_room + 64;
        w->object = realloc(w->object, w->object_room * sizeof *w->object);
        if (w->object == NULL)
            abort();
    }
    object = &w->object[w->objects];
    *object = (struct object){.id = w->objects,
                              .place = place,
                              .n = n,
                              .ticket = ticket,
                              .node = NONE,
                              .grace_s = 30,
                              .exists = true,
                              .wait = "",
                              .status = "",
                              .end = "",
                              .ended_s = (int64_t)(w->now / RK_S)};
    /* a server tells of what had the name before first */
    for (uint32_t id = 1; id < w->objects; id++)
        if (w->object[id].place == place && w->object[id].n == n &&
            w->object[id].shown > object->shown)
            object->shown = w->object[id].shown;
    return w->objects++;
}

static void made(struct world *w, uint32_t id)
{
    struct item *item;
    uint64_t slow = world_chance(w, 0.1) ? 40 * RK_S : 500 * RK_MS;

    w->starts++;
    if (!world_calm(w) && !w->o.restarts && world_chance(w, 0.02))
        w->object[id].never = world_chance(w, 0.5) ? "InvalidImageName" : "RunContainerError";
    item = world_push(w, EV_SCHEDULE, 1 + world_below(w, slow));
    item->who = id;
    server_changed(w, id);
}

/* What the client hears of a request: the answer, or that the connection broke. */
static void answer(struct world *w, const struct item *request, enum pods_outcome outcome,
                   uint32_t holder)
{
    bool lost = world_chance(w, w->brown ? 0.5 : 0.02);
    uint64_t late = lost && world_chance(w, 0.5) ? 5 * RK_S : 0; /* a client waits in vain */
    struct item *item = world_push(w, EV_ANSWER, 1 + late + world_below(w, 50 * RK_MS));

    item->tag = request->tag;
    item->action = request->action;
    item->event.result.outcome = lost ? PODS_UNSURE : outcome;
    item->event.result.holder = holder != NONE ? w->object[holder].ticket : 0;
    item->event.result.owner = holder != NONE && w->object[holder].foreign ? "another" : "owner";
    snprintf(item->uid, sizeof item->uid, "uid-%u", holder != NONE ? w->object[holder].id : 0);
}

/* The names in a create, "n3 n1". */
static uint64_t nodes_of(const char *names)
{
    uint64_t nodes = 0;

    for (const char *at = names; (at = strchr(at, 'n')) != NULL; at++)
        nodes |= UINT64_C(1) << strtoul(at + 1, NULL, 10);
    return nodes;
}

void server_create(struct world *w, struct item *item)
{
    const struct pods_action *action = &item->action;
    uint32_t id = named(w, action->place, action->n);

    w->creates++;
    if (world_chance(w, w->brown ? 0.3 : 0.01)) { /* lost on its way there, or nearly */
        if (world_chance(w, 0.3))
            world_push(w, EV_CREATE, 1 + world_below(w, 20 * RK_S))->action = *action;
        answer(w, item, PODS_UNSURE, NONE);
        return;
    }
    if (id != NONE) {
        answer(w, item, PODS_EXISTS, id);
        return;
    }
    if (w->quota && world_chance(w, 0.9)) {
        answer(w, item, PODS_QUOTA, NONE);
        return;
    }
    id = add_object(w, action->place, action->n, action->ticket);
    w->object[id].avoids = nodes_of(action->text);
    made(w, id);
    answer(w, item, PODS_OK, id);
}

/* A pod of another job, or of a job of the same name before this one, has a name of ours. */
void server_foreign(struct world *w, uint32_t place, uint32_t n)
{
    uint32_t id;

    if (named(w, place, n) != NONE)
        return;
    id = add_object(w, place, n, 0);
    w->object[id].foreign = true;
    made(w, id);
}

void pod_delete(struct world *w, uint32_t id, uint32_t grace_s)
{
    struct object *object = &w->object[id];
    bool unbound = object->node == NONE;
    struct item *item;

    if (grace_s == 0 || unbound) {
        item = world_push(w, EV_REMOVE, 0);
        item->who = id;
        item->tag = 1; /* whatever its kubelet says */
        return;
    }
    if (!object->deleting || grace_s < object->grace_s) {
        object->deleting = true;
        object->grace_s = grace_s;
        server_changed(w, id);
    }
    item = world_push(w, object->stage == STAGE_RUNNING ? EV_ENDED : EV_REMOVE,
                      1 + world_below(w, grace_s * RK_S));
    item->who = id;
}

static uint32_t uid_of(const struct pods_action *action)
{
    return (uint32_t)strtoul(action->uid + 4, NULL, 10);
}

void server_delete(struct world *w, struct item *item)
{
    uint32_t id = uid_of(&item->action);
    int32_t grace_s = item->action.grace_s;

    w->deletes++;
    if (world_chance(w, w->brown ? 0.3 : 0.01)) {
        answer(w, item, PODS_UNSURE, NONE);
        return;
    }
    if (id == 0 || id >= w->objects || !w->object[id].exists) {
        answer(w, item, PODS_ABSENT, NONE);
        return;
    }
    answer(w, item, PODS_OK, NONE);
    pod_delete(w, id, grace_s < 0 ? w->object[id].grace_s : (uint32_t)grace_s);
}

/* ---- kubelets ----------------------------------------------------------------------------------
 */

static bool node_answers(struct world *w, uint32_t id, const struct item *item)
{
    uint32_t node = w->object[id].node;

    if (node == NONE || (!w->node_down[node] && !w->node_silent[node]))
        return true;
    world_push(w, item->kind, RK_S)->who = id; /* when it is back */
    return false;
}

/* The scheduler learns late of a lost node; until then it may bind pods to it. */
static bool takes(struct world *w, const struct object *object, uint32_t node)
{
    bool lost = w->node_down[node] || w->node_silent[node];

    return !(object->avoids >> node & 1) && (!lost || world_chance(w, 0.3));
}

void kubelet_schedule(struct world *w, const struct item *item)
{
    struct object *object = &w->object[item->who];
    uint32_t node = (uint32_t)world_below(w, w->o.nodes);
    uint64_t pull = world_chance(w, 0.05) ? 60 * RK_S : 2 * RK_S;

    if (!object->exists || object->deleting)
        return;
    if (!takes(w, object, node)) {
        object->wait = "Unschedulable";
        server_changed(w, object->id);
        world_push(w, EV_SCHEDULE, 5 * RK_S)->who = object->id;
        return;
    }
    object->node = node;
    object->wait = w->node_down[node] || w->node_silent[node] ? ""
                   : object->never != NULL                    ? object->never
                   : world_chance(w, 0.1)                     ? "ImagePullBackOff"
                                                              : "ContainerCreating";
    server_changed(w, object->id);
    world_push(w, EV_START, 1 + world_below(w, pull))->who = object->id;
}

void kubelet_start(struct world *w, const struct item *item)
{
    struct object *object = &w->object[item->who];

    if (!object->exists || object->deleting || object->stage != STAGE_PENDING ||
        !node_answers(w, object->id, item))
        return;
    if (object->never == NULL)
        object->stage = STAGE_RUNNING;
    object->wait = object->never != NULL ? object->never : "";
    server_changed(w, object->id);
}

static void link_ends(struct world *w, uint32_t id)
{
    struct item *item;

    if (!w->object[id].linked)
        return;
    w->object[id].linked = false;
    item = world_push(w, EV_CLOSED, 1 + world_below(w, RK_S));
    item->who = id;
    item->tag = w->boss;
}

void pod_end(struct world *w, uint32_t id, const char *status, const char *end, int32_t code)
{
    struct object *object = &w->object[id];

    object->stage = STAGE_ENDED;
    object->status = status;
    object->end = end;
    object->exit_code = code;
    object->ended_s = (int64_t)(w->now / RK_S);
    link_ends(w, id);
    server_changed(w, id);
}

void kubelet_ended(struct world *w, const struct item *item)
{
    struct object *object = &w->object[item->who];

    if (!object->exists || !node_answers(w, object->id, item))
        return;
    if (object->stage != STAGE_ENDED)
        pod_end(w, object->id, "", "Error", world_chance(w, 0.5) ? 0 : 143);
    if (object->deleting)
        world_push(w, EV_REMOVE, 1 + world_below(w, RK_S))->who = object->id;
}

void kubelet_remove(struct world *w, const struct item *item)
{
    struct object *object = &w->object[item->who];

    if (!object->exists || (item->tag != 1 && !node_answers(w, object->id, item)))
        return;
    object->exists = false;
    link_ends(w, object->id);
    server_changed(w, object->id);
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

static void node_tell(struct world *w, uint32_t node, bool lost)
{
    struct item *item;

    if (!w->node_source)
        return;
    item = world_push(w, EV_NODE, 1 + world_below(w, lost ? 40 * RK_S : RK_S));
    item->tag = w->process;
    item->who = node;
}

static void node_pods(struct world *w, uint32_t node, void (*act)(struct world *, uint32_t))
{
    for (uint32_t id = 1; id < w->objects; id++)
        if (w->object[id].exists && w->object[id].node == node)
            act(w, id);
}

static void after_reboot(struct world *w, uint32_t id)
{
    if (w->object[id].stage == STAGE_RUNNING)
        pod_end(w, id, "", "Error", 137);
}

/* The machine is gone, or only its kubelet is silent and its pods go on. */
void node_fault(struct world *w, uint32_t node)
{
    if (w->node_down[node] || w->node_silent[node])
        return;
    if (world_chance(w, 0.5)) {
        w->node_silent[node] = true;
    } else {
        w->node_down[node] = true;
        node_pods(w, node, link_ends);
    }
    node_tell(w, node, true);
}

void node_return(struct world *w, uint32_t node)
{
    if (w->node_down[node])
        node_pods(w, node, after_reboot);
    w->node_down[node] = w->node_silent[node] = false;
    node_tell(w, node, false);
}
