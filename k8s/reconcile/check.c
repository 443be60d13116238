/* The invariants of pods.c's opening comment, walked.  Sums are compared in a whole walk only;
 * after a step some lives are looked at in turn, so that a check costs the same at any size. */
#include "k8s/reconcile/check.h"

#include "k8s/reconcile/state.h"

static const char *check_names(const struct pods *pods, const struct life *life)
{
    uint32_t index = life_index(pods, life);

    if (!life->surplus && map_find(&pods->by_ticket, life->ticket) != index)
        return "P1: a life serves a ticket that the map gives to another";
    if (life->surplus && life->state != PODS_DYING && life->state != PODS_KEPT &&
        life->state != PODS_ENDED)
        return "P1: a pod that serves no ticket is counted with";
    if (life->named && map_find(&pods->by_name, name_key(life->place, life->n)) != index)
        return "P2: a name has another life";
    if (life->named && life->n >= pods->next_n[life->place])
        return "P2: a name in use could be asked for again";
    if (life->object && !life->named)
        return "P2: an object has no name";
    return NULL;
}

static const char *check_queues(const struct pods *pods, const struct life *life)
{
    bool queued = chain_has(pods, &pods->deletes.queue, life_index(pods, life));
    bool going = life->state == PODS_KILLED || life->state == PODS_DYING;

    if (life->deleting && (!life->object || life->uid[0] == '\0'))
        return "P3: a delete is in flight of what has no uid";
    if (life->state == PODS_WAITING && !queued)
        return "P4: a life waits in no queue";
    if (queued && life->state != PODS_WAITING && (!going || !life->object))
        return going ? "P3: an object without uid is to be deleted"
                     : "P4: a life in use is to be deleted";
    if (going && !queued && !life->deleting && !life->asking && life->due == PODS_NONE)
        return "P11: nothing will ever happen to a life that is to go";
    return NULL;
}

static const char *check_life(const struct pods *pods, const struct life *life)
{
    const char *broken;

    if (life->state == PODS_FREE)
        return NULL;
    broken = check_names(pods, life);
    if (broken == NULL)
        broken = check_queues(pods, life);
    if (broken != NULL)
        return broken;
    if (life->state == PODS_ENDED && !(life->owed & OWED_WORD))
        return "P5: a life is over and owes no word, yet it is here";
    if (life->owed && !chain_has(pods, &pods->owed, life_index(pods, life)))
        return "P5: what is owed will not be said";
    if ((life->due == PODS_NONE) != (life->due_at == NONE))
        return "P8: a time is not in the heap, or none is";
    if (life->due_at != NONE &&
        (life->due_at >= pods->heap_count || &pods->life[pods->heap[life->due_at]] != life ||
         pods->life[pods->heap[(life->due_at + 1) / 2 - (life->due_at > 0)]].due > life->due))
        return "P8: the heap is out of order";
    if (life->state == PODS_KEPT && !life->object)
        return "P9: what is kept has no object";
    if ((life->dialled && life->state != PODS_RUNNING && life->state != PODS_LEAVING) ||
        (life->linked && !life->dialled))
        return "P10: a life is dialled that does not run, or linked and not dialled";
    return NULL;
}

static const char *check_pods(const struct pods *pods)
{
    if (pods->creates.in_flight > pods->config.in_flight ||
        pods->deletes.in_flight > pods->config.in_flight)
        return "P6: more is in flight than may be";
    if (pods->count[PODS_FREE] + pods->in_use != pods->capacity)
        return "P7: lives do not add up";
    if (pods->creates.queue.count != pods->count[PODS_WAITING])
        return "P4: not all that waits is in the queue";
    if (pods->pending.count != pods->count[PODS_AWAITED] + pods->count[PODS_PENDING])
        return "P7: pending pods do not add up";
    if (!pods->stopped && pods->count[PODS_KEPT] > pods->config.keep)
        return "P9: more ended pods are kept than may be";
    return NULL;
}

static const char *check_sums(const struct pods *pods)
{
    uint32_t count[PODS_STATES] = {pods->capacity - pods->touched};
    uint32_t asking = 0;
    uint32_t deleting = 0;
    uint32_t ready = 0;

    for (uint32_t i = 0; i < pods->touched; i++) {
        const struct life *life = &pods->life[i];

        count[life->state]++;
        if (life->state == PODS_FREE)
            continue;
        asking += life->asking != 0;
        deleting += life->deleting != 0;
        ready += life->state == PODS_RUNNING && life->ready;
    }
    for (uint32_t s = 0; s < PODS_STATES; s++)
        if (count[s] != pods->count[s])
            return "P7: lives by state do not add up";
    if (ready != pods->ready)
        return "P7: ready pods do not add up";
    if (asking > pods->creates.in_flight || deleting > pods->deletes.in_flight)
        return "P6: a life waits for a result that will not come";
    return NULL;
}

const char *pods_check(struct pods *pods, uint32_t limit)
{
    const char *broken = check_pods(pods);
    bool whole = limit >= pods->capacity;

    for (uint32_t i = 0; broken == NULL && i < limit && i < pods->touched; i++) {
        pods->check_next = (pods->check_next + 1) % pods->touched;
        broken = check_life(pods, &pods->life[pods->check_next]);
    }
    return broken != NULL || !whole ? broken : check_sums(pods);
}
