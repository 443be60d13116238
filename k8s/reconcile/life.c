/* A pod's life: the table of states and events, and what each cell does; the picture and the
 * invariants are in pods.c.
 *
 * A ticket is served by one life at a time.  A life that serves none (`surplus`) is a duplicate, or
 * a pod that nobody wants: it says no word, and its object goes. */
#include "k8s/reconcile/state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- entries -----------------------------------------------------------------------------------
 */

struct life *life_new(struct pods *pods, uint32_t ticket, uint32_t place)
{
    uint32_t index = pods->free_head;
    struct life *life;

    if (index == NONE && pods->touched == pods->capacity)
        return NULL;
    if (index == NONE)
        index = pods->touched++;
    else
        pods->free_head = pods->life[index].ring[CHAIN_QUEUE].next;
    life = &pods->life[index];
    *life = (struct life){.ticket = ticket,
                          .place = place,
                          .due = PODS_NONE,
                          .due_at = NONE,
                          .node = NONE,
                          .grace_s = 30,
                          .asked_s = -1,
                          .end = {.exit_code = -1, .signal = -1}};
    for (uint32_t c = 0; c < CHAINS; c++)
        life->ring[c] = (struct ring){index, index};
    pods->in_use++;
    pods->count[PODS_FREE]--;
    return life;
}

static void life_free(struct pods *pods, struct life *life)
{
    if (!life->surplus && life_of_ticket(pods, life->ticket) == life)
        map_remove(&pods->by_ticket, life->ticket);
    chain_remove(pods, &pods->owed, life_index(pods, life));
    site_leave(pods, life);
    life->ring[CHAIN_QUEUE].next = pods->free_head;
    pods->free_head = life_index(pods, life);
    pods->count[PODS_ENDED]--;
    pods->count[PODS_FREE]++;
    pods->in_use--;
    life->state = PODS_FREE;
}

struct life *life_of_ticket(const struct pods *pods, uint32_t ticket)
{
    uint32_t index = ticket ? map_find(&pods->by_ticket, ticket) : NONE;

    return index != NONE ? &pods->life[index] : NULL;
}

struct life *life_of_name(const struct pods *pods, uint32_t place, uint32_t n)
{
    uint32_t index = map_find(&pods->by_name, name_key(place, n));

    return index != NONE ? &pods->life[index] : NULL;
}

void life_serve(struct pods *pods, struct life *life)
{
    life->surplus = false;
    map_put(&pods->by_ticket, life->ticket, life_index(pods, life));
}

void life_name(struct pods *pods, struct life *life, uint32_t n)
{
    life_unname(pods, life);
    life->n = n;
    life->named = life->has_n = true;
    map_put(&pods->by_name, name_key(life->place, n), life_index(pods, life));
    if (pods->next_n[life->place] <= n)
        pods->next_n[life->place] = n + 1;
}

void life_unname(struct pods *pods, struct life *life)
{
    if (life->named)
        map_remove(&pods->by_name, name_key(life->place, life->n));
    life->named = false;
}

void life_name_text(const struct pods *pods, const struct life *life, char out[PODS_NAME])
{
    pods_name_write(pods->job, life->place, life->has_n ? life->n : pods->next_n[life->place], out);
}

bool life_counts(const struct life *life)
{
    return life->state >= PODS_WAITING && life->state <= PODS_LEAVING;
}

void life_owe(struct pods *pods, struct life *life, enum owed what)
{
    life->owed |= (uint8_t)what;
    if (!chain_has(pods, &pods->owed, life_index(pods, life)))
        chain_append(pods, &pods->owed, life_index(pods, life));
}

void life_said(struct pods *pods, struct life *life)
{
    life->owed &= (uint8_t)~OWED_WORD;
    if (life->state == PODS_ENDED)
        life_free(pods, life);
}

static bool pends(enum pods_state state)
{
    return state == PODS_AWAITED || state == PODS_PENDING;
}

/* Nothing is left of its object: the name is free, no time runs. */
static void life_strip(struct pods *pods, struct life *life)
{
    life_unname(pods, life);
    due_set(pods, life, PODS_NONE);
    chain_remove(pods, &pods->deletes.queue, life_index(pods, life));
    life->object = false;
    life->asking = life->deleting = 0; /* results that come yet are nobody's */
}

/* The one function that assigns a life's state. */
static void life_set(struct pods *pods, struct life *life, enum pods_state state)
{
    enum pods_state old = life->state;
    uint32_t index = life_index(pods, life);

    if (pends(old) && !pends(state))
        chain_remove(pods, &pods->pending, index);
    if (old == PODS_KEPT && state != old)
        object_unkeep(pods, life);
    if (old == PODS_RUNNING && state != old) {
        pods->ready -= life->ready;
        life->ready = false;
    }
    if (old != PODS_FREE)
        pods->count[old]--;
    pods->count[state]++;
    life->state = (uint8_t)state;
    if (state == PODS_WAITING && old != state)
        chain_append(pods, &pods->creates.queue, index);
    if (pends(state) && !pends(old)) {
        life->since = pods->now;
        chain_append(pods, &pods->pending, index);
    }
    if (state == PODS_ENDED) {
        life_strip(pods, life);
        if (!(life->owed & OWED_WORD))
            life_free(pods, life);
    }
}

/* ---- what the cells do -------------------------------------------------------------------------
 */

/* The coordinator that lives now wanted it, so it is told of the end.  Another may want it yet: to
 * tell it before that would cross with what it says, and make a pod that nobody wants. */
static bool wants_word(const struct pods *pods, const struct life *life)
{
    return !life->surplus && life->claimed == pods->coordinator;
}

static void hang_up(struct pods *pods, struct life *life)
{
    life->owed &= (uint8_t) ~(OWED_DIAL | OWED_NOTICE);
    if (life->dialled)
        life_owe(pods, life, OWED_HANG_UP);
    life->dialled = life->linked = false;
}

static void last_word(struct pods *pods, struct life *life, enum word word)
{
    if (wants_word(pods, life)) {
        life->word = (uint8_t)word;
        life_owe(pods, life, OWED_WORD);
    }
    hang_up(pods, life);
}

static void on_wanted(struct pods *pods, struct life *life)
{
    life->claimed = pods->coordinator;
}

/* It is over already: each time that it is wanted is answered. */
static void on_wanted_late(struct pods *pods, struct life *life)
{
    life->claimed = pods->coordinator;
    if (life->word == WORD_NONE)
        life->word = WORD_GONE;
    life_owe(pods, life, OWED_WORD);
}

static void on_ask(struct pods *pods, struct life *life)
{
    if (!life->named)
        life_name(pods, life, pods->next_n[life->place]);
    life->asking = object_request(pods, life);
    life->asked_at = pods->now;
    due_set(pods, life, PODS_NONE);
}

static void on_unsure(struct pods *pods, struct life *life)
{
    life->maybe = true;
    due_set(pods, life, pods->now + flow_back_off(pods, ++life->tries));
}

/* Not shown in all that time: asked for under the same name, whatever the first answer was. */
static void on_again(struct pods *pods, struct life *life)
{
    (void)pods;
    life->object = false;
    life->maybe = true;
}

static void on_taken(struct pods *pods, struct life *life)
{
    life->maybe = life->has_n = false;
    life_unname(pods, life);
    due_set(pods, life, PODS_NONE);
}

static void on_impossible(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_FINAL);
}

/* Its end is told when it is seen. */
static void on_kill(struct pods *pods, struct life *life)
{
    hang_up(pods, life);
    due_set(pods, life, PODS_NONE);
    if (life->condemned)
        due_set(pods, life,
                pods->now + life->grace_s * UINT64_C(1000000000) + pods->config.confirm);
    else
        object_delete(pods, life);
}

static void on_word(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_GONE);
}

/* Nobody dials it, so nothing comes of it should it appear; then it is deleted. */
static void on_unknown_end(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_GONE);
    life->maybe = true;
    due_set(pods, life, pods->now + LANDED);
}

static void on_unknown_again(struct pods *pods, struct life *life)
{
    life->maybe = true;
    if (!life->object)
        due_set(pods, life, pods->now + LANDED);
}

static void on_surplus(struct pods *pods, struct life *life)
{
    hang_up(pods, life);
    if (!life->surplus && life_of_ticket(pods, life->ticket) == life)
        map_remove(&pods->by_ticket, life->ticket);
    life->surplus = true;
    due_set(pods, life, life->object ? PODS_NONE : pods->now + LANDED);
    object_delete(pods, life);
}

/* Containers that the kubelet tries again and again; it mostly stays in vain. */
static bool seldom_heals(const char *reason)
{
    static const char *const reasons[] = {"CreateContainerConfigError", "CreateContainerError",
                                          "RunContainerError"};

    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
}

static void on_pends(struct pods *pods, struct life *life)
{
    if (!seldom_heals(life->end.reason))
        due_set(pods, life, PODS_NONE);
    else if (life->state != PODS_PENDING || life->due == PODS_NONE)
        due_set(pods, life, pods->now + pods->config.hopeless);
}

static void dial(struct pods *pods, struct life *life, const char *address)
{
    if (address[0] == '\0')
        return;
    if (strcmp(life->address, address) != 0) {
        if (life->dialled)
            life_owe(pods, life, OWED_HANG_UP);
        life->dialled = life->linked = false;
        snprintf(life->address, sizeof life->address, "%s", address);
    }
    if (!life->dialled)
        life_owe(pods, life, OWED_DIAL);
}

static void on_runs(struct pods *pods, struct life *life)
{
    const struct pod_seen *seen = pods->event->seen;

    dial(pods, life, seen->address);
    if (life->state == PODS_LEAVING)
        return;
    due_set(pods, life, PODS_NONE);
    pods->ready -= life->state == PODS_RUNNING && life->ready;
    life->ready = seen->ready;
    pods->ready += seen->ready;
}

/* Notice is given once; a deletion after it only says when. */
static void on_leaves(struct pods *pods, struct life *life)
{
    const struct pod_seen *seen = pods->event->seen;
    uint64_t end = pods->now + life->grace_s * UINT64_C(1000000000);

    dial(pods, life, seen->running ? seen->address : "");
    if (life->state != PODS_LEAVING) {
        life->deadline = end;
        due_set(pods, life, PODS_NONE);
        life_owe(pods, life, OWED_NOTICE);
    }
    if (life->condemned && life->due == PODS_NONE)
        due_set(pods, life, end + pods->config.confirm);
}

static void on_died(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_GONE);
    due_set(pods, life, PODS_NONE);
    object_delete(pods, life);
}

static void on_died_keep(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_GONE);
    due_set(pods, life, PODS_NONE);
    object_keep(pods, life);
}

static void on_hopeless(struct pods *pods, struct life *life)
{
    life->end.cause = END_HOPELESS;
    last_word(pods, life, WORD_FAILED);
    due_set(pods, life, PODS_NONE);
    object_delete(pods, life);
}

static void on_lost(struct pods *pods, struct life *life)
{
    if (life->state != PODS_KILLED)
        life->end.cause = END_LOST;
    last_word(pods, life, WORD_GONE);
    life->forced = true;
    object_delete(pods, life);
}

static void on_force(struct pods *pods, struct life *life)
{
    if (life->condemned)
        life->forced = true;
    object_delete(pods, life);
}

static void on_silence(struct pods *pods, struct life *life)
{
    suspect_silence(pods, life);
    if (life->state != PODS_KILLED)
        life->end.cause = END_SILENT;
    last_word(pods, life, WORD_GONE);
    due_set(pods, life, pods->now + pods->config.force);
}

static void on_delete(struct pods *pods, struct life *life)
{
    object_delete(pods, life);
}

/* Its name is kept, so that what appears under it is known for what it is, and deleted. */
static void on_landing(struct pods *pods, struct life *life)
{
    chain_remove(pods, &pods->deletes.queue, life_index(pods, life));
    life->object = life->seen = life->condemned = life->forced = false;
    life->deleting = 0;
    life->maybe = true;
    due_set(pods, life, life->landing);
}

static void on_landing_word(struct pods *pods, struct life *life)
{
    last_word(pods, life, WORD_GONE);
    on_landing(pods, life);
}

static void on_nothing(struct pods *pods, struct life *life)
{
    (void)pods;
    (void)life;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

struct rule {
    enum pods_state next;
    void (*act)(struct pods *pods, struct life *life);
};

/* Cells that are the same wherever a pod may be shown. */
#define SHOWN_ALIVE                                                                 \
    [LIFE_PENDS] = {PODS_PENDING, on_pends}, [LIFE_RUNS] = {PODS_RUNNING, on_runs}, \
    [LIFE_LEAVES] = {PODS_LEAVING, on_leaves}, [LIFE_HOPELESS] = {PODS_DYING, on_hopeless}
#define SHOWN_DEAD [LIFE_DIED] = {PODS_DYING, on_died}, [LIFE_DIED_KEEP] = {PODS_KEPT, on_died_keep}
#define NO_LONGER_WANTED \
    [LIFE_KILL] = {PODS_KILLED, on_kill}, [LIFE_SURPLUS] = {PODS_DYING, on_surplus}

/* The whole behaviour of a pod's life.  An empty cell is a refused event. */
static const struct rule rules[PODS_STATES][LIFE_EVENTS] = {
    [PODS_FREE] = {SHOWN_ALIVE, SHOWN_DEAD, [LIFE_WANT] = {PODS_WAITING, on_wanted},
                   [LIFE_SURPLUS] = {PODS_DYING, on_surplus}},
    [PODS_WAITING] =
        {SHOWN_ALIVE,
         SHOWN_DEAD, [LIFE_WANT] = {PODS_WAITING, on_wanted}, [LIFE_ASK] = {PODS_ASKED, on_ask},
         [LIFE_KILL] = {PODS_ENDED, on_word}, [LIFE_KILL_MAYBE] = {PODS_DYING, on_unknown_end},
         [LIFE_SURPLUS] = {PODS_DYING, on_surplus}},
    [PODS_ASKED] =
        {SHOWN_ALIVE, SHOWN_DEAD, NO_LONGER_WANTED, [LIFE_WANT] = {PODS_ASKED, on_wanted},
         [LIFE_CREATED] = {PODS_AWAITED, on_nothing}, [LIFE_UNSURE] = {PODS_AWAITED, on_unsure},
         [LIFE_REFUSED] = {PODS_WAITING, on_nothing}, [LIFE_TAKEN] = {PODS_WAITING, on_taken},
         [LIFE_IMPOSSIBLE] = {PODS_ENDED, on_impossible}},
    [PODS_AWAITED] =
        {SHOWN_ALIVE, SHOWN_DEAD, NO_LONGER_WANTED, [LIFE_WANT] = {PODS_AWAITED, on_wanted},
         [LIFE_KILL_MAYBE] = {PODS_DYING, on_unknown_end}, [LIFE_AGAIN] = {PODS_WAITING, on_again},
         [LIFE_MISSING] = {PODS_WAITING, on_taken}, [LIFE_GONE] = {PODS_ENDED, on_word},
         [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing_word}},
    [PODS_PENDING] =
        {SHOWN_ALIVE, SHOWN_DEAD, NO_LONGER_WANTED, [LIFE_WANT] = {PODS_PENDING, on_wanted},
         [LIFE_CREATED] = {PODS_PENDING, on_nothing}, [LIFE_UNSURE] = {PODS_PENDING, on_nothing},
         [LIFE_LOST] = {PODS_DYING, on_lost}, [LIFE_GONE] = {PODS_ENDED, on_word},
         [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing_word}},
    [PODS_RUNNING] =
        {SHOWN_DEAD, NO_LONGER_WANTED, [LIFE_WANT] = {PODS_RUNNING, on_wanted},
         [LIFE_CREATED] = {PODS_RUNNING, on_nothing}, [LIFE_UNSURE] = {PODS_RUNNING, on_nothing},
         [LIFE_PENDS] = {PODS_RUNNING, on_nothing}, [LIFE_RUNS] = {PODS_RUNNING, on_runs},
         [LIFE_LEAVES] = {PODS_LEAVING, on_leaves}, [LIFE_LOST] = {PODS_DYING, on_lost},
         [LIFE_GONE] = {PODS_ENDED, on_word}, [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing_word}},
    [PODS_LEAVING] =
        {SHOWN_DEAD, NO_LONGER_WANTED, [LIFE_WANT] = {PODS_LEAVING, on_wanted},
         [LIFE_CREATED] = {PODS_LEAVING, on_nothing}, [LIFE_UNSURE] = {PODS_LEAVING, on_nothing},
         [LIFE_PENDS] = {PODS_LEAVING, on_nothing}, [LIFE_RUNS] = {PODS_LEAVING, on_runs},
         [LIFE_LEAVES] = {PODS_LEAVING, on_leaves}, [LIFE_LOST] = {PODS_DYING, on_lost},
         [LIFE_SILENCE] = {PODS_DYING, on_silence}, [LIFE_GONE] = {PODS_ENDED, on_word},
         [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing_word}},
    [PODS_KILLED] = {[LIFE_WANT] = {PODS_KILLED, on_wanted},
                     [LIFE_CREATED] = {PODS_KILLED, on_delete},
                     [LIFE_UNSURE] = {PODS_DYING, on_unknown_end},
                     [LIFE_MISSING] = {PODS_ENDED, on_word},
                     [LIFE_PENDS] = {PODS_KILLED, on_delete},
                     [LIFE_RUNS] = {PODS_KILLED, on_delete},
                     [LIFE_LEAVES] = {PODS_KILLED, on_delete},
                     [LIFE_HOPELESS] = {PODS_KILLED, on_delete},
                     [LIFE_DIED] = {PODS_DYING, on_died},
                     [LIFE_LOST] = {PODS_DYING, on_lost},
                     [LIFE_AGAIN] = {PODS_KILLED, on_delete},
                     [LIFE_SILENCE] = {PODS_DYING, on_silence},
                     [LIFE_GONE] = {PODS_ENDED, on_word},
                     [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing_word}},
    [PODS_KEPT] = {[LIFE_WANT] = {PODS_KEPT, on_wanted_late},
                   [LIFE_CREATED] = {PODS_KEPT, on_nothing},
                   [LIFE_UNSURE] = {PODS_KEPT, on_nothing},
                   [LIFE_DIED] = {PODS_DYING, on_delete},
                   [LIFE_DIED_KEEP] = {PODS_KEPT, on_nothing},
                   [LIFE_CLEAN] = {PODS_DYING, on_delete},
                   [LIFE_GONE] = {PODS_ENDED, on_nothing},
                   [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing}},
    [PODS_DYING] = {[LIFE_WANT] = {PODS_DYING, on_wanted_late},
                    [LIFE_CREATED] = {PODS_DYING, on_delete},
                    [LIFE_UNSURE] = {PODS_DYING, on_unknown_again},
                    [LIFE_MISSING] = {PODS_ENDED, on_nothing},
                    [LIFE_PENDS] = {PODS_DYING, on_delete},
                    [LIFE_RUNS] = {PODS_DYING, on_delete},
                    [LIFE_LEAVES] = {PODS_DYING, on_delete},
                    [LIFE_HOPELESS] = {PODS_DYING, on_delete},
                    [LIFE_DIED] = {PODS_DYING, on_delete},
                    [LIFE_LOST] = {PODS_DYING, on_force},
                    [LIFE_AGAIN] = {PODS_DYING, on_delete},
                    [LIFE_GONE] = {PODS_ENDED, on_nothing},
                    [LIFE_GONE_MAYBE] = {PODS_DYING, on_landing}},
    [PODS_ENDED] = {[LIFE_WANT] = {PODS_ENDED, on_wanted_late}},
};

bool life_rule(enum pods_state state, enum life_event event, enum pods_state *next)
{
    if (rules[state][event].act == NULL)
        return false;
    if (next != NULL)
        *next = rules[state][event].next;
    return true;
}

void life_feed(struct pods *pods, struct life *life, enum life_event event)
{
    const struct rule *rule = &rules[life->state][event];

    if (rule->act == NULL) {
        pods->refused++;
        return;
    }
    if (life->state == PODS_WAITING && rule->next != PODS_WAITING) /* one queue at a time */
        chain_remove(pods, &pods->creates.queue, life_index(pods, life));
    rule->act(pods, life);
    life_set(pods, life, rule->next);
}

void life_kill(struct pods *pods, struct life *life, enum end_cause cause)
{
    bool blind = !life->object && !life->asking && life->maybe;

    if (!life_counts(life))
        return;
    life->end.cause = cause;
    life_feed(pods, life, blind ? LIFE_KILL_MAYBE : LIFE_KILL);
}

bool life_replace(struct pods *pods, struct life *life)
{
    struct life *other = life_new(pods, life->ticket, life->place);

    if (other == NULL)
        return false;
    life_feed(pods, life, LIFE_SURPLUS);
    life_serve(pods, other);
    life_feed(pods, other, LIFE_WANT);
    other->claimed = life->claimed;
    return true;
}

void life_gone(struct pods *pods, struct life *life)
{
    life_feed(pods, life, life->landing > pods->now ? LIFE_GONE_MAYBE : LIFE_GONE);
}

/* ---- time --------------------------------------------------------------------------------------
 */

/* The object is still there long after its delete was accepted: it is asked for again, for the
 * watch need not have seen what came and went between two lists; by force where nobody confirms it.
 */
static void overdue(struct pods *pods, struct life *life)
{
    if (life->condemned && (site_lost(pods, life) || !pods->node_source))
        life->forced = true;
    life->condemned = false;
    life_feed(pods, life, LIFE_AGAIN);
}

void life_due(struct pods *pods, struct life *life)
{
    due_set(pods, life, PODS_NONE);
    switch ((enum pods_state)life->state) {
    case PODS_AWAITED:
        if (pods->stopped)
            life_kill(pods, life, END_STOPPED);
        else
            life_feed(pods, life, LIFE_AGAIN);
        break;
    case PODS_PENDING:
        life_feed(pods, life, LIFE_HOPELESS);
        break;
    case PODS_KEPT:
        life_feed(pods, life, LIFE_CLEAN);
        break;
    case PODS_KILLED:
        life_feed(pods, life, life->condemned ? LIFE_SILENCE : LIFE_AGAIN);
        break;
    case PODS_DYING:
        if (life->object)
            overdue(pods, life);
        else if (!life->asking)
            life_feed(pods, life, LIFE_MISSING);
        break;
    default:
        life_feed(pods, life, LIFE_SILENCE);
        break;
    }
}

const char *life_event_name(enum life_event event)
{
    static const char *const names[LIFE_EVENTS] = {
        "want",    "kill",    "kill maybe", "surplus",    "ask",   "created",
        "unsure",  "refused", "taken",      "impossible", "pends", "runs",
        "leaves",  "died",    "died, keep", "hopeless",   "gone",  "gone, maybe",
        "missing", "lost",    "again",      "silence",    "clean"};

    return event < LIFE_EVENTS ? names[event] : "unknown";
}
