/* Why ranks, workers and the job ended, kept in the cluster; see shell.h.
 *
 * A pod goes with its log, and a cluster drops Events after an hour.  So the newest losses stand in
 * the ConfigMap NAME-record under `losses`, one a line, and how the job ended under `end`, for as
 * long as the job itself is there.  Each is an Event too. */
#include "launch/pods/line.h"

#include "k8s/client/when.h"
#include "k8s/reconcile/sentence.h"
#include "launch/event_text.h"
#include "launch/text.h"

#include <stdio.h>
#include <string.h>

#define AT_ONCE 10u /* Events about ranks, then one each second */

static void append(struct causes *causes, const char *line)
{
    snprintf(causes->loss[causes->count % CAUSES_KEPT], CAUSE_SIZE, "%s", line);
    causes->count++;
}

static void note(struct shell *shell, const char *text)
{
    char line[CAUSE_SIZE];
    char at[WHEN_SIZE];

    snprintf(line, sizeof line, "%s %s", when_seconds(shell->wall, at), text);
    append(&shell->causes, line);
    shell->causes.changed++;
    keeper_look(shell);
}

/* ---- what the reconciler tells --------------------------------------------------------------- */

static bool is_loss(const struct pods_action *action)
{
    return strcmp(action->reason, "WorkerLost") == 0 ||
           strcmp(action->reason, "WorkerFailedToStart") == 0 ||
           strcmp(action->reason, "WorkersLost") == 0;
}

void causes_told(struct shell *shell, const struct pods_action *action)
{
    struct pods_action told = *action;
    uint32_t place;
    uint32_t n;

    if (is_loss(action)) {
        if (pods_name_parse(shell->job->name, action->name, &place, &n)) {
            sentence_worker(told.text, sizeof told.text, place, shell->job->slots);
            text_append(told.text, sizeof told.text, "%s", action->text);
        }
        note(shell, told.text);
    }
    cluster_tell(shell, &told);
}

/* ---- what the coordinator tells -------------------------------------------------------------- */

static const char *string_of(const json_t *event, const char *field)
{
    const char *text = json_string_value(json_object_get(event, field));

    return text != NULL ? text : "";
}

/* The end of an agent's process is the end of its container, of which the reconciler tells more. */
static bool is_told_here(const json_t *event)
{
    return event_is_loss(event) && (strcmp(event_name(event), "rank_exited") == 0 ||
                                    strcmp(string_of(event, "reason"), "silent") == 0);
}

static void describe(struct shell *shell, const json_t *event, struct pods_action *told)
{
    uint32_t ticket = (uint32_t)event_integer(event, "ticket", 0);
    char tail[END_LOG];
    struct pods_view view;

    event_loss_text(event, told->text, sizeof told->text);
    if (shell->pods != NULL && pods_find(shell->pods, ticket, &view)) {
        pods_name_write(shell->job->name, view.place, view.n, told->name);
        snprintf(told->uid, sizeof told->uid, "%s", view.uid);
        if (view.node[0] != '\0')
            text_append(told->text, sizeof told->text, " (node %s)", view.node);
    }
    sentence_tail(tail, sizeof tail, string_of(event, "last_lines"));
    if (tail[0] != '\0')
        text_append(told->text, sizeof told->text, "; its last lines: %s", tail);
}

static bool pay(struct shell *shell)
{
    struct causes *causes = &shell->causes;
    uint64_t paid = causes->paid > shell->now ? causes->paid : shell->now;

    if (paid > shell->now + (AT_ONCE - 1) * RK_S) {
        causes->untold++;
        return false;
    }
    causes->paid = paid + RK_S;
    return true;
}

void causes_event(struct shell *shell, const json_t *event)
{
    struct pods_action told = {.kind = PODS_DO_EVENT, .warning = true};

    if (!is_told_here(event))
        return;
    told.reason = strcmp(event_name(event), "rank_exited") == 0 ? "RankLost" : "WorkerSilent";
    describe(shell, event, &told);
    note(shell, told.text);
    if (!pay(shell))
        return;
    if (shell->causes.untold > 0)
        text_append(told.text, sizeof told.text, "; %u more were lost before",
                    shell->causes.untold);
    shell->causes.untold = 0;
    cluster_tell(shell, &told);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The first line of `why`, and the last ones of what follows it, or of what the job's command has
 * printed. */
void causes_end(struct shell *shell, int exit_code, const char *why)
{
    struct pods_action told = {
        .kind = PODS_DO_EVENT, .warning = exit_code != 0, .reason = "JobFailed"};
    size_t head = strcspn(why, "\n");
    char first[400];
    char tail[END_LOG];

    snprintf(first, sizeof first, "%.*s", (int)head, why);
    sentence_clean(first, sizeof first, first);
    sentence_tail(tail, sizeof tail, why + head);
    snprintf(told.text, sizeof told.text, "exit code %d: %s%s%s", exit_code, first,
             tail[0] != '\0' ? " " : "", tail);
    if (tail[0] == '\0' && exit_code != 0) {
        sentence_tail(tail, sizeof tail, line_last_lines(shell));
        text_append(told.text, sizeof told.text, "%s%s",
                    tail[0] != '\0' ? "; its last lines: " : "", tail);
    }
    snprintf(shell->causes.end, sizeof shell->causes.end, "%s", told.text);
    shell->causes.changed++;
    keeper_look(shell);
    if (exit_code != 0 && !shell->suspended)
        cluster_tell(shell, &told);
}

/* ---- in the ConfigMap ------------------------------------------------------------------------ */

/* Of an earlier process. */
void causes_load(struct shell *shell, const char *losses)
{
    char line[CAUSE_SIZE];

    shell->causes.count = 0;
    while (*losses != '\0') {
        size_t length = strcspn(losses, "\n");

        snprintf(line, sizeof line, "%.*s", (int)length, losses);
        append(&shell->causes, line);
        losses += length + (losses[length] == '\n');
    }
}

void causes_fill(const struct shell *shell, json_t *data)
{
    const struct causes *causes = &shell->causes;
    uint32_t first = causes->count > CAUSES_KEPT ? causes->count - CAUSES_KEPT : 0;
    char text[CAUSES_KEPT * CAUSE_SIZE] = "";

    for (uint32_t i = first; i < causes->count; i++)
        text_append(text, sizeof text, "%s\n", causes->loss[i % CAUSES_KEPT]);
    json_object_set_new(data, "losses", event_string(text));
    if (causes->end[0] != '\0')
        json_object_set_new(data, "end", event_string(causes->end));
    else
        json_object_del(data, "end");
}
