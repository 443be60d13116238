/* What the API server shows, level by level: whoever serves the pod's ticket is told what it is
 * now, and pods that serve none are to go. */
#include "k8s/reconcile/state.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- what it is now ----------------------------------------------------------------------------
 */

static bool is_dead(const struct pod_seen *seen)
{
    return seen->phase == SEEN_FAILED || seen->phase == SEEN_SUCCEEDED || seen->ended ||
           seen->restarted;
}

static bool can_never_run(const char *reason)
{
    return strcmp(reason, "InvalidImageName") == 0 || strcmp(reason, "ErrImageNeverPull") == 0;
}

static bool runs(enum pods_state state)
{
    return state == PODS_RUNNING || state == PODS_LEAVING;
}

static enum life_event classify(const struct pods *pods, const struct life *life,
                                const struct pod_seen *seen)
{
    bool alive = seen->running && seen->address[0] != '\0';

    if (is_dead(seen) || (seen->deleting && !seen->running && !runs(life->state)))
        return !seen->deleting && !pods->suspended && pods->config.keep > 0 &&
                       life->state != PODS_KILLED && life->state != PODS_DYING &&
                       !(pods->stopped && pods->policy == PODS_CLEAN_ALL)
                   ? LIFE_DIED_KEEP
                   : LIFE_DIED;
    if (seen->deleting || (seen->disrupted && (alive || runs(life->state))))
        return LIFE_LEAVES;
    if (alive)
        return LIFE_RUNS;
    return can_never_run(seen->wait_reason) && !runs(life->state) ? LIFE_HOPELESS : LIFE_PENDS;
}

/* ---- why ---------------------------------------------------------------------------------------
 */

static void because(struct end *end, const char *reason, const char *message)
{
    sentence_clean(end->reason, sizeof end->reason, reason);
    sentence_clean(end->message, sizeof end->message, message);
}

static enum end_cause cause_of(const struct pod_seen *seen)
{
    if (!is_dead(seen))
        return END_DELETED;
    if (seen->phase == SEEN_FAILED && (seen->reason[0] != '\0' || seen->disrupted || !seen->ended))
        return END_EVICTED;
    return seen->restarted ? END_RESTARTED : END_EXIT;
}

/* The coordinator hears of an end by a closed connection, and asks for a kill before the API shows
 * how it came.  SIGTERM is the first that a kill does, and SIGKILL comes after the grace. */
static bool ended_by_itself(const struct pod_seen *seen)
{
    if (!seen->ended || seen->exit_code == 0 || seen->exit_code == 128 + SIGTERM)
        return false;
    return strcmp(seen->end_reason, "OOMKilled") == 0 || !seen->deleting ||
           seen->ended_s + seen->grace_s <= seen->deleting_s;
}

static void explain_end(struct life *life, const struct pod_seen *seen)
{
    struct end *end = &life->end;
    enum end_cause cause = cause_of(seen);

    if (seen->ended) {
        sentence_exit(end, seen);
    } else if (seen->phase == SEEN_SUCCEEDED) {
        end->exit_code = 0;
        because(end, "", "");
    }
    if (life->state == PODS_KILLED && (end->cause != END_ASKED || !ended_by_itself(seen)))
        return;
    end->cause = cause;
    if (cause == END_EVICTED && seen->disrupted && seen->reason[0] == '\0')
        because(end, seen->disruption, seen->disruption_message);
    else if (cause == END_EVICTED)
        because(end, seen->reason, seen->message);
    else if (cause == END_DELETED)
        because(end, seen->disruption, seen->disruption_message);
}

static void explain(struct life *life, const struct pod_seen *seen, enum life_event event)
{
    if (life->state == PODS_KEPT || life->state == PODS_DYING)
        return;
    if (event == LIFE_DIED || event == LIFE_DIED_KEEP)
        explain_end(life, seen);
    else if (life->state == PODS_KILLED)
        return;
    else if (event == LIFE_LEAVES)
        because(&life->end, seen->disrupted ? seen->disruption : "deleted",
                seen->disrupted ? seen->disruption_message : "");
    else
        because(&life->end, seen->wait_reason, seen->wait_message);
}

/* ---- one pod -----------------------------------------------------------------------------------
 */

static void take_facts(struct pods *pods, struct life *life, const struct pod_seen *seen)
{
    if (!life->object) {
        life->tries = 0;
        snprintf(life->uid, sizeof life->uid, "%s", seen->uid);
    }
    life->object = life->seen = true;
    life->maybe = false;
    life->list = pods->list;
    life->grace_s = seen->grace_s;
    /* who ended as planned is less worth keeping than who did not */
    life->ended_s = seen->phase == SEEN_SUCCEEDED ? 0 : seen->ended_s;
    site_settle(pods, life, seen->node);
    if (seen->deleting && !life->condemned)
        object_condemned(pods, life);
}

static bool node_is_lost(const struct pods *pods, const struct life *life,
                         const struct pod_seen *seen)
{
    return site_lost(pods, life) || seen->phase == SEEN_UNKNOWN ||
           strcmp(seen->reason, "NodeLost") == 0;
}

/* Something new that only the kubelet of its node can have written. */
static bool kubelet_spoke(const struct life *life, const struct pod_seen *seen,
                          enum life_event event)
{
    if (seen->ended)
        return !life->over;
    if (life->state != PODS_PENDING && life->state != PODS_AWAITED)
        return false;
    return event == LIFE_RUNS ||
           (seen->node[0] != '\0' && seen->wait_reason[0] != '\0' &&
            strncmp(life->end.reason, seen->wait_reason, sizeof life->end.reason - 1) != 0);
}

static void show(struct pods *pods, struct life *life, const struct pod_seen *seen)
{
    bool before = life->seen;
    enum life_event event;
    bool spoke;

    take_facts(pods, life, seen);
    event = classify(pods, life, seen);
    spoke = before && kubelet_spoke(life, seen, event);
    life->over = seen->ended;
    explain(life, seen, event);
    life_feed(pods, life, event);
    suspect_shown(pods, life, seen, spoke);
    if (life->state == PODS_FREE || life->state == PODS_ENDED || is_dead(seen))
        return;
    if (node_is_lost(pods, life, seen) && !site_lost(pods, life))
        suspect_node(pods, seen->node, pods->now + pods->config.suspicion);
    if (node_is_lost(pods, life, seen) && !life->linked &&
        life_rule(life->state, LIFE_LOST, NULL) && !life->forced)
        life_feed(pods, life, LIFE_LOST);
    else if (pods->suspended)
        life_kill(pods, life, END_SUSPENDED);
    else if (pods->stopped && pods->policy != PODS_CLEAN_NONE)
        life_kill(pods, life, END_STOPPED);
}

/* ---- pods that are not known -------------------------------------------------------------------
 */

/* How far the pod of a life has come: of two for one ticket the one that is furthest stays. */
static uint32_t progress(const struct life *life)
{
    static const uint8_t of_state[PODS_STATES] = {
        [PODS_PENDING] = 2, [PODS_RUNNING] = 3, [PODS_LEAVING] = 1};

    return life->linked ? 4 : of_state[life->state];
}

static uint32_t progress_seen(const struct pod_seen *seen)
{
    if (is_dead(seen))
        return 0;
    return seen->deleting ? 1 : seen->running && seen->address[0] != '\0' ? 3 : 2;
}

static void show_surplus(struct pods *pods, struct life *life, const struct pod_seen *seen)
{
    life->surplus = true;
    take_facts(pods, life, seen);
    if (is_dead(seen) && classify(pods, life, seen) == LIFE_DIED_KEEP)
        life_feed(pods, life, LIFE_DIED_KEEP);
    else
        life_feed(pods, life, LIFE_SURPLUS);
}

static void take_over(struct pods *pods, struct life *life, struct life *old)
{
    life->claimed = old->claimed;
    life_feed(pods, old, LIFE_SURPLUS);
    life_serve(pods, life);
}

/* The pod may be that of a life that has none, or whose own request made it after all. */
static bool serves_as(const struct life *life, uint32_t n)
{
    return (life->state == PODS_WAITING && !life->maybe) ||
           (life->state == PODS_ASKED && !life->named && life->n == n);
}

static void adopt(struct pods *pods, const struct pod_seen *seen, uint32_t n)
{
    struct life *old = life_of_ticket(pods, seen->ticket);
    struct life *life;

    if (old != NULL && serves_as(old, n)) {
        life_name(pods, old, n);
        show(pods, old, seen);
        return;
    }
    life = life_new(pods, seen->ticket, seen->place);
    if (life == NULL) {
        pods->overflow = true;
        return;
    }
    life_name(pods, life, n);
    if (old == NULL && (!pods->told || is_dead(seen))) {
        life_serve(pods, life);
        show(pods, life, seen);
    } else if (old != NULL && life_counts(old) && progress_seen(seen) > progress(old)) {
        take_over(pods, life, old);
        show(pods, life, seen);
    } else {
        show_surplus(pods, life, seen);
    }
}

/* The name that a life wanted is another's: it takes the next one. */
static void lose_name(struct pods *pods, struct life *life)
{
    life_unname(pods, life);
    life->has_n = life->maybe = false;
    if (!life->asking && life->state != PODS_WAITING)
        life_feed(pods, life, LIFE_MISSING);
}

/* ---- objects that are gone ---------------------------------------------------------------------
 */

static void object_gone(struct pods *pods, struct life *life)
{
    if (life_counts(life)) {
        if (life->state != PODS_LEAVING)
            because(&life->end, "", "");
        life->end.cause = END_DELETED;
    }
    life_gone(pods, life);
}

void observe_gone(struct pods *pods, const char *name, const char *uid)
{
    struct life *life;
    uint32_t place;
    uint32_t n;

    if (!pods_name_parse(pods->job, name, &place, &n) || place >= pods->config.places)
        return;
    life = life_of_name(pods, place, n);
    if (life != NULL && life->object && strcmp(life->uid, uid) == 0)
        object_gone(pods, life);
}

void observe_list_begin(struct pods *pods)
{
    pods->list++;
    pods->listing = true;
}

/* A pod whose create was answered while the list was on its way need not stand in it. */
void observe_list_end(struct pods *pods)
{
    if (!pods->listing)
        return;
    pods->listing = false;
    pods->synced = true;
    for (uint32_t i = 0; i < pods->touched; i++) {
        struct life *life = &pods->life[i];

        if (life->state != PODS_FREE && life->object && life->list != pods->list)
            object_gone(pods, life);
    }
}

/* ---- one pod that is shown ---------------------------------------------------------------------
 */

static bool is_ours(const struct pods *pods, const struct pod_seen *seen, uint32_t place)
{
    return (pods->owner[0] == '\0' || strcmp(pods->owner, seen->owner) == 0) && seen->ticket != 0 &&
           seen->place == place && strlen(seen->uid) < PODS_UID &&
           strlen(seen->address) < PODS_ADDRESS;
}

void observe_pod(struct pods *pods, const struct pod_seen *seen)
{
    struct life *life;
    uint32_t place;
    uint32_t n;

    if (!pods_name_parse(pods->job, seen->name, &place, &n) || place >= pods->config.places)
        return;
    if (pods->next_n[place] <= n)
        pods->next_n[place] = n + 1;
    life = life_of_name(pods, place, n);
    if (life != NULL && life->object && strcmp(life->uid, seen->uid) != 0) {
        object_gone(pods, life);
        life = life_of_name(pods, place, n);
    }
    if (!is_ours(pods, seen, place))
        return;
    if (life != NULL && !life->object && life->ticket != seen->ticket) {
        lose_name(pods, life);
        life = NULL;
    }
    if (life != NULL)
        show(pods, life, seen);
    else
        adopt(pods, seen, n);
}
