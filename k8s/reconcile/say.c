/* From what is owed to actions, while there is room; the rest follows at once. */
#include "k8s/reconcile/state.h"

#include <stdio.h>
#include <string.h>

#define MOST_OF_A_LIFE 5u /* hang up, dial, notice, word, and the event that goes with it */
#define SOON_S 1          /* the grace of a worker that is out already */

bool say_room(const struct pods *pods, uint32_t count)
{
    return pods->actions->count + count <= PODS_MAX_ACTIONS;
}

struct pods_action *say(struct pods *pods, enum pods_action_kind kind)
{
    struct pods_action *action = &pods->actions->action[pods->actions->count++];

    *action = (struct pods_action){
        .kind = kind, .grace_s = -1, .exit_code = -1, .signal = -1, .reason = ""};
    return action;
}

static struct pods_action *say_of(struct pods *pods, const struct life *life,
                                  enum pods_action_kind kind)
{
    struct pods_action *action = say(pods, kind);

    action->ticket = life->ticket;
    action->place = life->place;
    action->n = life->n;
    life_name_text(pods, life, action->name);
    memcpy(action->uid, life->uid, sizeof action->uid);
    return action;
}

static void say_dial(struct pods *pods, struct life *life)
{
    struct pods_action *action = say_of(pods, life, PODS_DO_DIAL);

    memcpy(action->address, life->address, sizeof action->address);
    life->dialled = true;
}

static void say_notice(struct pods *pods, struct life *life)
{
    struct pods_action *action = say_of(pods, life, PODS_DO_NOTICE);

    action->deadline = life->deadline;
    sentence_notice(action->text, sizeof action->text, action->name, site_name(pods, life),
                    &life->end);
}

static void say_word(struct pods *pods, const struct life *life)
{
    struct pods_action *action =
        say_of(pods, life, life->word == WORD_GONE ? PODS_DO_GONE : PODS_DO_FAILED);

    action->final = life->word == WORD_FINAL;
    action->signal = life->end.signal;
    action->exit_code = life->end.signal > 0 ? -1 : life->end.exit_code;
    action->oom = life->end.oom;
    sentence_end(action->text, sizeof action->text, action->name, site_name(pods, life),
                 pods->namespace, &life->end);
    report_loss(pods, life, action->text);
}

static void say_owed(struct pods *pods, struct life *life)
{
    uint8_t owed = life->owed;

    life->owed = 0;
    chain_remove(pods, &pods->owed, life_index(pods, life));
    if (owed & OWED_HANG_UP)
        say_of(pods, life, PODS_DO_HANG_UP);
    if (owed & OWED_DIAL)
        say_dial(pods, life);
    if (owed & OWED_NOTICE)
        say_notice(pods, life);
    if (owed & OWED_WORD) {
        say_word(pods, life);
        life_said(pods, life);
    }
}

static void say_delete(struct pods *pods, struct life *life)
{
    struct pods_action *action = say_of(pods, life, PODS_DO_DELETE);
    bool out = life->state == PODS_KILLED && life->end.cause == END_ASKED;

    chain_remove(pods, &pods->deletes.queue, life_index(pods, life));
    action->grace_s = life->forced ? 0 : out ? SOON_S : -1;
    life->asked_s = action->grace_s;
    life->deleting = action->request = object_request(pods, life);
    flow_began(&pods->deletes, pods->now);
}

static void say_create(struct pods *pods, struct life *life)
{
    struct pods_action *action;

    life_feed(pods, life, LIFE_ASK);
    action = say_of(pods, life, PODS_DO_CREATE);
    action->request = life->asking;
    suspect_names(pods, action->text, sizeof action->text);
    flow_began(&pods->creates, pods->now);
}

static uint64_t creates_next(const struct pods *pods)
{
    return pods->synced && !pods->suspended && !pods->stopped ? flow_next(&pods->creates)
                                                              : PODS_NONE;
}

/* There is room again for the pods that had none. */
static bool may_relist(const struct pods *pods)
{
    return pods->overflow && pods->in_use <= pods->capacity - pods->capacity / 8;
}

void say_all(struct pods *pods)
{
    while (pods->owed.count && say_room(pods, MOST_OF_A_LIFE))
        say_owed(pods, &pods->life[pods->owed.head]);
    report_all(pods);
    if (may_relist(pods) && say_room(pods, 1)) {
        pods->overflow = false;
        say(pods, PODS_DO_RELIST);
    }
    while (flow_next(&pods->deletes) <= pods->now && say_room(pods, 1))
        say_delete(pods, &pods->life[pods->deletes.queue.head]);
    while (creates_next(pods) <= pods->now && say_room(pods, 1))
        say_create(pods, &pods->life[pods->creates.queue.head]);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t say_deadline(const struct pods *pods)
{
    const struct life *first = due_first(pods);
    uint64_t due = least(flow_next(&pods->deletes), creates_next(pods));

    if (pods->owed.count || may_relist(pods))
        return pods->now;
    due = least(due, report_deadline(pods));
    due = least(due, suspect_deadline(pods));
    return first != NULL ? least(due, first->due) : due;
}
