/* Events for people.  What lasts is one event, then ever fewer; what happens to many pods at once
 * is told of some, and the rest as a number. */
#include "k8s/reconcile/state.h"

#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define LONGEST (900 * SECOND) /* between two reports of the same */
#define LOSSES_AT_ONCE 10u     /* then one each second */

void report_init(struct pods *pods)
{
    pods->pending_report.interval = pods->config.patience;
    pods->refusal_report.interval = pods->config.patience;
    pods->forbidden_report.interval = pods->config.patience;
}

static struct pods_action *report(struct pods *pods, struct report *report, const char *reason)
{
    struct pods_action *action = say(pods, PODS_DO_EVENT);

    action->reason = reason;
    action->warning = true;
    report->next = pods->now + report->interval;
    report->interval = 2 * report->interval < LONGEST ? 2 * report->interval : LONGEST;
    return action;
}

/* ---- losses ------------------------------------------------------------------------------------
 */

static bool is_plain(const struct end *end)
{
    switch (end->cause) {
    case END_EXIT:
        return end->exit_code == 0;
    case END_NONE:
    case END_ASKED:
    case END_UNWANTED:
    case END_SUSPENDED:
    case END_STOPPED:
        return true;
    default:
        return false;
    }
}

static void pay_for_loss(struct pods *pods)
{
    uint64_t paid = pods->losses_paid > pods->now ? pods->losses_paid : pods->now;

    pods->losses_paid = paid + SECOND;
}

void report_loss(struct pods *pods, const struct life *life, const char *text)
{
    struct pods_action *action;

    if (is_plain(&life->end))
        return;
    if (pods->losses_paid > pods->now + (LOSSES_AT_ONCE - 1) * SECOND) {
        pods->losses_untold++;
        return;
    }
    pay_for_loss(pods);
    action = say(pods, PODS_DO_EVENT);
    action->warning = true;
    action->reason = life->word == WORD_GONE ? "WorkerLost" : "WorkerFailedToStart";
    life_name_text(pods, life, action->name);
    memcpy(action->uid, life->uid, sizeof action->uid);
    snprintf(action->text, sizeof action->text, "%s", text);
}

static void report_losses(struct pods *pods)
{
    struct pods_action *action;

    if (pods->losses_untold == 0 || pods->losses_paid > pods->now || !say_room(pods, 1))
        return;
    pay_for_loss(pods);
    action = say(pods, PODS_DO_EVENT);
    action->warning = true;
    action->reason = "WorkersLost";
    sentence_losses(action->text, sizeof action->text, pods->losses_untold);
    pods->losses_untold = 0;
}

static void report_moves(struct pods *pods)
{
    struct pods_action *action;

    if (pods->moves_untold == 0 || !say_room(pods, 1))
        return;
    action = say(pods, PODS_DO_EVENT);
    action->reason = "WorkerAskedAgain";
    sentence_moves(action->text, sizeof action->text, pods->moves_untold);
    pods->moves_untold = 0;
}

/* ---- what lasts --------------------------------------------------------------------------------
 */

/* When pods that pend are reported; PODS_NONE when none does. */
static uint64_t pending_due(const struct pods *pods)
{
    uint64_t due;

    if (pods->pending.count == 0)
        return PODS_NONE;
    due = pods->life[pods->pending.head].since + pods->config.patience;
    return due > pods->pending_report.next ? due : pods->pending_report.next;
}

static void report_pending(struct pods *pods)
{
    const struct life *life;
    struct pods_action *action;

    if (pods->pending.count == 0 ||
        pods->life[pods->pending.head].since + pods->config.patience > pods->now)
        pods->pending_report = (struct report){0, pods->config.patience};
    if (pending_due(pods) > pods->now || !say_room(pods, 1))
        return;
    life = &pods->life[pods->pending.head];
    action = report(pods, &pods->pending_report, "WorkerPending");
    life_name_text(pods, life, action->name);
    memcpy(action->uid, life->uid, sizeof action->uid);
    sentence_pending(action->text, sizeof action->text, action->name, &life->end,
                     pods->pending.count, (pods->now - life->since) / SECOND);
}

static bool refusal_stands(const struct pods *pods)
{
    return pods->refused_creates && pods->creates.queue.count > 0 && !pods->suspended &&
           !pods->stopped;
}

static void report_refusal(struct pods *pods)
{
    struct pods_action *action;

    if (!refusal_stands(pods) || pods->refusal_report.next > pods->now || !say_room(pods, 1))
        return;
    action = report(pods, &pods->refusal_report, "WorkerNotCreated");
    sentence_refusal(action->text, sizeof action->text, pods->creates.queue.count, pods->refusal);
}

static bool forbidden_stands(const struct pods *pods)
{
    return pods->forbidden[0] != '\0' && pods->count[PODS_KILLED] + pods->count[PODS_DYING] > 0;
}

static void report_forbidden(struct pods *pods)
{
    struct pods_action *action;

    if (!forbidden_stands(pods) || pods->forbidden_report.next > pods->now || !say_room(pods, 1))
        return;
    action = report(pods, &pods->forbidden_report, "WorkerNotDeleted");
    sentence_undeletable(action->text, sizeof action->text, pods->namespace, pods->forbidden);
}

void report_all(struct pods *pods)
{
    report_losses(pods);
    report_moves(pods);
    report_pending(pods);
    report_refusal(pods);
    report_forbidden(pods);
}

uint64_t report_deadline(const struct pods *pods)
{
    uint64_t due = pending_due(pods);

    if (refusal_stands(pods) && pods->refusal_report.next < due)
        due = pods->refusal_report.next;
    if (forbidden_stands(pods) && pods->forbidden_report.next < due)
        due = pods->forbidden_report.next;
    if (pods->losses_untold > 0 && pods->losses_paid < due)
        due = pods->losses_paid;
    if (pods->moves_untold > 0)
        due = pods->now;
    return due;
}
