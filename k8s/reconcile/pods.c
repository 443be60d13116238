/* The reconciler: birth, one step, time.
 *
 *   WAITING -> ASKED -> AWAITED -> PENDING -> RUNNING -> LEAVING     a life that is counted with
 *      ^         |         |          |          |          |
 *      +---------+---------+          v          v          v
 *                                  KILLED ----------------------> ENDED   (the object is gone)
 *                                     |     KEPT ---> DYING -----> ENDED
 *                                     +-------------> DYING
 *
 * What is true after each step (pods_check walks it in debug builds):
 *
 *   P1  A ticket is served by at most one life, the one that the map of tickets names; so at most
 *       one pod of a ticket is counted with.  A surplus life is DYING, KEPT or ENDED.
 *   P2  A name has one life, and what was named has an n below the next one of its place: a name
 *       that was seen or asked for is never asked for again for another ticket.
 *   P3  A life that is to be deleted, or is being deleted, has an object, whose uid is known.
 *   P4  A life is in the queue of creates if and only if it is WAITING; only KILLED and DYING lives
 *       are in that of deletes.
 *   P5  A life that the living coordinator wanted leaves only through a word, which is said once
 * for each time that it was wanted: what is ENDED owes it. P6  Creates and deletes in flight are
 * never more than allowed, nor fewer than lives that wait for a result. P7  The counters are sums.
 *   P8  A life that has a time is in the heap where it says, and no parent is later than its child.
 *   P9  No more than `keep` ended pods are kept while the job lasts, each with its object.
 *   P10 Only RUNNING and LEAVING lives are dialled, and only those that are dialled are linked.
 *   P11 What can only end by time has a time: KILLED and DYING lives are queued, in flight, or due.
 */
#include "k8s/reconcile/pods.h"

#include "k8s/reconcile/check.h"
#include "k8s/reconcile/state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define MOST_PLACES 65536u
#define SPARE_LIVES 256u
#define CHECKED_A_STEP 16u
#define LONGEST_N 9 /* digits */

/* ---- names -------------------------------------------------------------------------------------
 */

void pods_name_write(const char *job, uint32_t place, uint32_t n, char out[PODS_NAME])
{
    if (n == 0)
        snprintf(out, PODS_NAME, "%.63s-worker-%" PRIu32, job, place);
    else
        snprintf(out, PODS_NAME, "%.63s-worker-%" PRIu32 "-%" PRIu32, job, place, n);
}

/* Digits as pods_name_write makes them: no sign, no leading zero. */
static const char *parse_digits(const char *text, uint32_t *value)
{
    const char *end = text;

    *value = 0;
    while (*end >= '0' && *end <= '9' && end - text < LONGEST_N)
        *value = *value * 10 + (uint32_t)(*end++ - '0');
    return end == text || (*text == '0' && end - text > 1) ? NULL : end;
}

bool pods_name_parse(const char *job, const char *name, uint32_t *place, uint32_t *n)
{
    static const char middle[] = "-worker-";
    size_t length = strlen(job);
    const char *rest;

    if (strncmp(name, job, length) != 0 || strncmp(name + length, middle, sizeof middle - 1) != 0)
        return false;
    rest = parse_digits(name + length + sizeof middle - 1, place);
    *n = 0;
    if (rest != NULL && *rest == '-') {
        rest = parse_digits(rest + 1, n);
        if (*n == 0)
            return false;
    }
    return rest != NULL && *rest == '\0';
}

/* ---- birth -------------------------------------------------------------------------------------
 */

struct pods_config pods_config_default(void)
{
    return (struct pods_config){
        .job = "",
        .namespace = "",
        .owner = "",
        .places = 1,
        .keep = 10,
        .in_flight = 32,
        .per_second = 50,
        .burst = 100,
        .patience = 30 * SECOND,
        .hopeless = 30 * SECOND,
        .confirm = 5 * SECOND,
        .force = 30 * SECOND,
        .suspicion = 90 * SECOND, /* the cluster itself knows of a lost node by then */
        .back_off = SECOND / 2,
        .back_off_most = 30 * SECOND,
    };
}

static int config_check(const struct pods_config *c, struct rk_why *why)
{
    if (c->job[0] == '\0' || strlen(c->job) > 63 || strlen(c->namespace) > 63)
        return rk_fail(why, RK_EINVAL, "\"%s\" in \"%s\" is no name of a job: 1 to 63 characters",
                       c->job, c->namespace);
    if (strlen(c->owner) >= PODS_UID)
        return rk_fail(why, RK_EINVAL, "\"%s\" is no uid", c->owner);
    if (c->places == 0 || c->places > MOST_PLACES || c->keep > c->places + SPARE_LIVES / 2)
        return rk_fail(why, RK_EINVAL, "%u places with %u ended pods kept cannot be: give 1 to %u",
                       c->places, c->keep, MOST_PLACES);
    if (c->in_flight == 0 || c->per_second == 0 || c->burst == 0 || c->patience == 0 ||
        c->hopeless == 0 || c->confirm == 0 || c->force == 0 || c->suspicion == 0 ||
        c->back_off < 2 || c->back_off_most < c->back_off)
        return rk_fail(why, RK_EINVAL, "a limit or a time of the reconciler is 0");
    return 0;
}

static bool allocate(struct pods *pods)
{
    pods->capacity = 3 * pods->config.places + pods->config.keep + SPARE_LIVES;
    pods->life = calloc(pods->capacity, sizeof *pods->life);
    pods->heap = calloc(pods->capacity, sizeof *pods->heap);
    pods->next_n = calloc(pods->config.places, sizeof *pods->next_n);
    pods->kept = calloc(pods->config.keep + 2, sizeof *pods->kept);
    if (pods->life == NULL || pods->heap == NULL || pods->next_n == NULL || pods->kept == NULL)
        return false;
    pods->free_head = NONE;
    return map_init(&pods->by_ticket, pods->capacity) && map_init(&pods->by_name, pods->capacity) &&
           site_init(pods);
}

int pods_new(const struct pods_config *config, struct pods **out, struct rk_why *why)
{
    struct pods *pods;
    int rc = config_check(config, why);

    if (rc != 0)
        return rc;
    pods = calloc(1, sizeof *pods);
    if (pods == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the pods of a job");
    pods->config = *config;
    if (!allocate(pods)) {
        pods_free(pods);
        return rk_fail(why, RK_ENOMEM, "no memory for %u pods", config->places);
    }
    snprintf(pods->job, sizeof pods->job, "%s", config->job);
    snprintf(pods->namespace, sizeof pods->namespace, "%s", config->namespace);
    snprintf(pods->owner, sizeof pods->owner, "%s", config->owner);
    pods->config.job = pods->job;
    pods->config.namespace = pods->namespace;
    pods->config.owner = pods->owner;
    pods->random = config->seed;
    pods->count[PODS_FREE] = pods->capacity;
    chain_init(&pods->owed, CHAIN_OWED);
    chain_init(&pods->pending, CHAIN_PENDING);
    flow_init(&pods->creates, config);
    flow_init(&pods->deletes, config);
    report_init(pods);
    *out = pods;
    return 0;
}

void pods_free(struct pods *pods)
{
    if (pods == NULL)
        return;
    map_done(&pods->by_ticket);
    map_done(&pods->by_name);
    site_done(pods);
    free(pods->kept);
    free(pods->next_n);
    free(pods->heap);
    free(pods->life);
    free(pods);
}

/* ---- the coordinator's side --------------------------------------------------------------------
 */

/* Its agents are dialled again, and it is told again of those that will end soon.  Words that are
 * owed to the one before wait for this one to want the ticket. */
static void coordinator_up(struct pods *pods)
{
    pods->coordinator++;
    pods->told = false;
    for (uint32_t i = 0; i < pods->touched; i++) {
        struct life *life = &pods->life[i];

        life->dialled = life->linked = false;
        life->owed &= (uint8_t)~OWED_HANG_UP;
        life_said(pods, life);
        if (life->state != PODS_RUNNING && life->state != PODS_LEAVING)
            continue;
        if (life->address[0] != '\0')
            life_owe(pods, life, OWED_DIAL);
        if (life->state == PODS_LEAVING)
            life_owe(pods, life, OWED_NOTICE);
    }
}

static void refuse_want(struct pods *pods, const struct pods_event *event)
{
    struct pods_action *action = say(pods, PODS_DO_FAILED);
    struct end end = {.cause = END_NO_ROOM};

    action->ticket = event->ticket;
    action->place = event->place;
    pods_name_write(pods->job, event->place, 0, action->name);
    sentence_end(action->text, sizeof action->text, action->name, "", pods->namespace, &end);
}

static void want(struct pods *pods, const struct pods_event *event)
{
    struct life *life = life_of_ticket(pods, event->ticket);

    if (event->ticket == 0 || event->place >= pods->config.places ||
        (life != NULL && life->place != event->place)) {
        pods->refused++;
        return;
    }
    if (life == NULL) {
        life = life_new(pods, event->ticket, event->place);
        if (life == NULL) {
            refuse_want(pods, event);
            return;
        }
        life_serve(pods, life);
    }
    life_feed(pods, life, LIFE_WANT);
}

static void told(struct pods *pods)
{
    pods->told = true;
    for (uint32_t i = 0; i < pods->touched; i++)
        if (life_counts(&pods->life[i]) && pods->life[i].claimed != pods->coordinator)
            life_kill(pods, &pods->life[i], END_UNWANTED);
}

/* An agent that the coordinator let in is one that it wants. */
static void linked(struct pods *pods, const struct pods_event *event)
{
    struct life *life = life_of_ticket(pods, event->ticket);

    if (life == NULL || !life->dialled) {
        pods->refused += event->up;
        return;
    }
    life->linked = event->up;
    if (event->up)
        life->claimed = pods->coordinator;
    else if (site_lost(pods, life))
        life_feed(pods, life, LIFE_LOST);
}

static void kill_ticket(struct pods *pods, uint32_t ticket)
{
    struct life *life = life_of_ticket(pods, ticket);

    if (life != NULL)
        life_kill(pods, life, END_ASKED);
}

/* ---- the job's end, and its pauses -------------------------------------------------------------
 */

static void stop(struct pods *pods, enum pods_policy policy)
{
    pods->stopped = true;
    pods->policy = policy;
    for (uint32_t i = 0; i < pods->touched; i++) {
        struct life *life = &pods->life[i];

        if (life->state == PODS_WAITING || (policy != PODS_CLEAN_NONE && life_counts(life)))
            life_kill(pods, life, END_STOPPED);
        else if (policy == PODS_CLEAN_ALL && life->state == PODS_KEPT)
            life_feed(pods, life, LIFE_CLEAN);
    }
}

/* Tickets that have no pod wait for the end of it. */
static void suspend(struct pods *pods)
{
    pods->suspended = true;
    for (uint32_t i = 0; i < pods->touched; i++)
        if (life_counts(&pods->life[i]) && pods->life[i].state != PODS_WAITING)
            life_kill(pods, &pods->life[i], END_SUSPENDED);
}

/* ---- one step ----------------------------------------------------------------------------------
 */

static void take(struct pods *pods, const struct pods_event *event)
{
    switch (event->kind) {
    case PODS_EV_COORDINATOR:
        coordinator_up(pods);
        break;
    case PODS_EV_WANT:
        want(pods, event);
        break;
    case PODS_EV_KILL:
        kill_ticket(pods, event->ticket);
        break;
    case PODS_EV_TOLD:
        told(pods);
        break;
    case PODS_EV_LINK:
        linked(pods, event);
        break;
    case PODS_EV_LIST_BEGIN:
        observe_list_begin(pods);
        break;
    case PODS_EV_POD:
        observe_pod(pods, event->seen);
        break;
    case PODS_EV_POD_GONE:
        observe_gone(pods, event->name, event->uid);
        break;
    case PODS_EV_LIST_END:
        observe_list_end(pods);
        break;
    case PODS_EV_CREATED:
        object_created(pods, &event->result);
        break;
    case PODS_EV_DELETED:
        object_deleted(pods, &event->result);
        break;
    case PODS_EV_NODE:
        observe_node(pods, event->name, event->node);
        break;
    case PODS_EV_STOP:
        stop(pods, event->policy);
        break;
    case PODS_EV_SUSPEND:
        suspend(pods);
        break;
    case PODS_EV_RESUME:
        pods->suspended = false;
        break;
    default:
        break;
    }
}

void pods_step(struct pods *pods, const struct pods_event *event, struct pods_actions *actions)
{
    struct life *life;

    actions->count = 0;
    pods->actions = actions;
    pods->event = event;
    if (event->now > pods->now)
        pods->now = event->now;
    take(pods, event);
    while ((life = due_first(pods)) != NULL && life->due <= pods->now)
        life_due(pods, life);
    suspect_turn(pods);
    say_all(pods);
    pods->event = NULL;
    pods->actions = NULL;
    assert(pods_check(pods, CHECKED_A_STEP) == NULL);
}

uint64_t pods_deadline(const struct pods *pods)
{
    uint64_t due = say_deadline(pods);

    return due > pods->now ? due : pods->now;
}

/* Whether all that are dying have ended, and the server knows that their objects are to go: the
 * kubelet, which told of the end, puts them away, and an old one takes half a minute for that. */
static bool all_put_away(const struct pods *pods)
{
    uint32_t left = pods->count[PODS_DYING];

    for (uint32_t i = 0; i < pods->touched && left > 0; i++) {
        const struct life *life = &pods->life[i];

        if (life->state != PODS_DYING)
            continue;
        if (!life->over || !life->condemned)
            return false;
        left--;
    }
    return true;
}

bool pods_idle(const struct pods *pods)
{
    return pods->synced && !pods->listing && pods->owed.count == 0 &&
           pods->creates.in_flight == 0 && pods->deletes.in_flight == 0 &&
           pods->deletes.queue.count == 0 && pods->count[PODS_KILLED] == 0 && all_put_away(pods);
}

uint64_t pods_refused(const struct pods *pods)
{
    return pods->refused;
}

/* ---- looking at it -----------------------------------------------------------------------------
 */

static void view_of(const struct pods *pods, const struct life *life, struct pods_view *view)
{
    *view = (struct pods_view){
        .state = life->state,
        .ticket = life->surplus ? 0 : life->ticket,
        .place = life->place,
        .n = life->n,
        .ready = life->ready,
        .linked = life->linked,
        .uid = life->object ? life->uid : "",
        .address = life->address,
        .node = site_name(pods, life),
    };
}

bool pods_next(const struct pods *pods, uint32_t *cursor, struct pods_view *view)
{
    while (*cursor < pods->touched) {
        const struct life *life = &pods->life[(*cursor)++];

        if (life->state != PODS_FREE) {
            view_of(pods, life, view);
            return true;
        }
    }
    return false;
}

bool pods_find(const struct pods *pods, uint32_t ticket, struct pods_view *view)
{
    const struct life *life = life_of_ticket(pods, ticket);

    if (life == NULL)
        return false;
    view_of(pods, life, view);
    return true;
}

uint32_t pods_count(const struct pods *pods, enum pods_state state)
{
    return pods->count[state];
}

uint32_t pods_ready(const struct pods *pods)
{
    return pods->ready;
}
