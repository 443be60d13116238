/* The objects of lives: results of creates and deletes, and which ended pods are kept. */
#include "k8s/reconcile/state.h"

#include <stdio.h>
#include <string.h>

#define SHOWN                                                                           \
    (UINT64_C(30) * 1000000000) /* a pod that was created is seen by then, or asked for \
                                 */

/* ---- ended pods --------------------------------------------------------------------------------
 */

static bool older(const struct life *a, const struct life *b)
{
    if (a->ended_s != b->ended_s)
        return a->ended_s < b->ended_s;
    return name_key(a->place, a->n) < name_key(b->place, b->n);
}

/* The newest are kept, whatever the order in which they are heard of: so a new life of this
 * process keeps the same. */
void object_keep(struct pods *pods, struct life *life)
{
    uint32_t oldest = 0;

    if (pods->stopped)
        return;
    pods->kept[pods->kept_count++] = life_index(pods, life);
    if (pods->kept_count <= pods->config.keep)
        return;
    for (uint32_t i = 1; i < pods->kept_count; i++)
        if (older(&pods->life[pods->kept[i]], &pods->life[pods->kept[oldest]]))
            oldest = i;
    due_set(pods, &pods->life[pods->kept[oldest]], pods->now);
}

void object_unkeep(struct pods *pods, struct life *life)
{
    for (uint32_t i = 0; i < pods->kept_count; i++)
        if (pods->kept[i] == life_index(pods, life))
            pods->kept[i--] = pods->kept[--pods->kept_count];
}

/* ---- deletes -----------------------------------------------------------------------------------
 */

/* How long after an accepted delete its end has to be confirmed. */
static uint64_t delete_takes(const struct pods *pods, const struct life *life)
{
    uint64_t grace = life->asked_s < 0 ? life->grace_s : (uint32_t)life->asked_s;
    uint64_t rest = life->state == PODS_KILLED ? pods->config.confirm : pods->config.force;

    return grace * UINT64_C(1000000000) + rest;
}

void object_condemned(struct pods *pods, struct life *life)
{
    life->tries = 0;
    life->condemned = true;
    life->condemned_at = pods->now;
    if (life->state != PODS_KILLED && life->state != PODS_DYING)
        return;
    chain_remove(pods, &pods->deletes.queue, life_index(pods, life));
    due_set(pods, life, pods->now + delete_takes(pods, life));
}

void object_delete(struct pods *pods, struct life *life)
{
    uint32_t index = life_index(pods, life);

    if (!life->object || life->deleting || chain_has(pods, &pods->deletes.queue, index))
        return;
    if (life->condemned && !life->forced) {
        if (life->due == PODS_NONE)
            due_set(pods, life, pods->now + delete_takes(pods, life));
        return;
    }
    due_set(pods, life, PODS_NONE);
    chain_append(pods, &pods->deletes.queue, index);
}

static void forbidden(struct pods *pods, const char *message)
{
    if (pods->forbidden[0] == '\0')
        pods->forbidden_report = (struct report){pods->now, pods->config.patience};
    sentence_clean(pods->forbidden, sizeof pods->forbidden, message[0] != '\0' ? message : "403");
}

/* The entry's index in the low half finds it, the count above tells it from earlier uses. */
uint64_t object_request(struct pods *pods, const struct life *life)
{
    return ++pods->requests << 32 | life_index(pods, life);
}

static struct life *requested_by(const struct pods *pods, uint64_t request)
{
    uint64_t index = request & UINT32_MAX;

    return index < pods->capacity ? &pods->life[index] : NULL;
}

void object_deleted(struct pods *pods, const struct pods_result *result)
{
    struct life *life = requested_by(pods, result->request);
    bool done = result->outcome == PODS_OK || result->outcome == PODS_ABSENT;

    flow_ended(pods, &pods->deletes, done, result->retry_after);
    if (done)
        pods->forbidden[0] = '\0';
    else if (result->outcome == PODS_FORBIDDEN)
        forbidden(pods, result->message);
    if (life == NULL || life->deleting != result->request)
        return;
    life->deleting = 0;
    if (!done) {
        due_set(pods, life, pods->now + flow_back_off(pods, ++life->tries));
        return;
    }
    life->forced = false;
    object_condemned(pods, life);
    if (result->outcome == PODS_ABSENT && !life->seen)
        life_gone(pods, life);
}

/* ---- creates -----------------------------------------------------------------------------------
 */

/* A pod that was made by a request of a life that is over. */
static void orphan(struct pods *pods, const struct pods_result *result)
{
    struct life *life;

    if (result->outcome != PODS_OK || life_of_name(pods, result->place, result->n) != NULL)
        return;
    life = life_new(pods, result->ticket, result->place);
    if (life == NULL)
        return;
    life->surplus = true;
    life->object = true;
    life->list = pods->list;
    sentence_clean(life->uid, sizeof life->uid, result->uid);
    life_name(pods, life, result->n);
    life_feed(pods, life, LIFE_SURPLUS);
}

static bool is_ours(const struct pods *pods, const struct pods_result *result)
{
    return result->holder == result->ticket &&
           (pods->owner[0] == '\0' || strcmp(pods->owner, result->owner) == 0);
}

static enum life_event create_event(const struct pods *pods, const struct pods_result *result)
{
    switch (result->outcome) {
    case PODS_OK:
        return LIFE_CREATED;
    case PODS_EXISTS:
        return is_ours(pods, result) ? LIFE_CREATED : LIFE_TAKEN;
    case PODS_QUOTA:
        return LIFE_REFUSED;
    case PODS_FORBIDDEN:
    case PODS_INVALID:
        return LIFE_IMPOSSIBLE;
    default:
        return LIFE_UNSURE;
    }
}

static void refusal(struct pods *pods, const struct pods_result *result)
{
    if (!pods->refused_creates)
        pods->refusal_report = (struct report){pods->now, pods->config.patience};
    pods->refused_creates = true;
    sentence_clean(pods->refusal, sizeof pods->refusal, result->message);
}

/* What had the name before is gone, though the watch is still to say so.  False when the object was
 * shown, and another life has it. */
static bool take_object(struct pods *pods, struct life *life, const struct pods_result *result)
{
    struct life *other = life_of_name(pods, result->place, result->n);

    if (other != NULL && other != life && strcmp(other->uid, result->uid) == 0)
        return false;
    if (other != NULL && other != life)
        life_feed(pods, other, LIFE_GONE);
    life_name(pods, life, result->n);
    life->object = true;
    life->maybe = false;
    life->list = pods->list;
    life->tries = 0;
    sentence_clean(life->uid, sizeof life->uid, result->uid);
    due_set(pods, life, pods->now + SHOWN);
    return true;
}

void object_created(struct pods *pods, const struct pods_result *result)
{
    struct life *life = requested_by(pods, result->request);
    enum life_event event = create_event(pods, result);

    flow_ended(pods, &pods->creates, event != LIFE_REFUSED && event != LIFE_UNSURE,
               result->retry_after);
    if (event == LIFE_CREATED)
        pods->refused_creates = false;
    else if (event == LIFE_REFUSED)
        refusal(pods, result);
    if (life == NULL || life->asking != result->request) {
        orphan(pods, result);
        return;
    }
    life->asking = 0;
    if (event == LIFE_UNSURE)
        life->landing = pods->now + LANDED;
    if (event == LIFE_CREATED && !life->object && !take_object(pods, life, result))
        event = LIFE_MISSING;
    if (event == LIFE_IMPOSSIBLE && life->state == PODS_ASKED) {
        life->end.cause = result->outcome == PODS_INVALID ? END_INVALID : END_FORBIDDEN;
        sentence_clean(life->end.message, sizeof life->end.message, result->message);
    }
    if (event != LIFE_CREATED && event != LIFE_UNSURE && event != LIFE_MISSING &&
        life->state != PODS_ASKED)
        event = life->object ? LIFE_EVENTS : life->maybe ? LIFE_UNSURE : LIFE_MISSING;
    if (event != LIFE_EVENTS)
        life_feed(pods, life, event);
}
