/* The history of a run; see history.h. */
#include "launch/history.h"

#include "launch/event_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void history_init(struct history *history)
{
    *history = (struct history){
        .steps = -1,
        .goodput = -1,
        .samples_per_s = -1,
        .steps_per_s = -1,
        .checkpoint_step = -1,
        .failed_rank = -1,
        .pending_detect = -1,
    };
}

void history_done(struct history *history)
{
    free(history->row);
    history->row = NULL;
    history->rows = 0;
}

static void take_loss(struct history *history, const json_t *event)
{
    if (!event_is_loss(event))
        return;
    if (strcmp(event_name(event), "rank_exited") == 0 &&
        (event_integer(event, "signal", 0) != 0 || event_integer(event, "exit_code", 0) != 0)) {
        event_loss_text(event, history->failed, sizeof history->failed);
        history->failed_rank = event_integer(event, "rank", -1);
    }
    if (history->pending[0] != '\0')
        return;
    event_loss_text(event, history->pending, sizeof history->pending);
    history->pending_t = event_number(event, "t", 0);
    history->pending_detect = event_number(event, "detect_ms", -1);
}

static void take_recovered(struct history *history, const json_t *event)
{
    const char *mode = json_string_value(json_object_get(event, "mode"));
    struct history_row row = {
        .t = history->pending[0] != '\0' ? history->pending_t : event_number(event, "t", 0),
        .detect_ms = event_number(event, "detect_ms", history->pending_detect),
        .recover_ms = event_number(event, "recover_ms", -1),
        .lost_steps = event_integer(event, "lost_steps", 0),
        .losses = event_integer(event, "losses", 1),
        .in_place = mode != NULL && strcmp(mode, "in_place") == 0,
    };
    struct history_row *grown;

    snprintf(row.what, sizeof row.what, "%s",
             history->pending[0] != '\0'              ? history->pending
             : event_integer(event, "losses", 1) == 0 ? "carriers were lost"
                                                      : "a loss");
    history->pending[0] = '\0';
    history->interruptions++;
    history->in_place += row.in_place ? 1 : 0;
    history->lost_steps += row.lost_steps;
    if (history->rows == HISTORY_ROWS)
        return;
    grown = realloc(history->row, (history->rows + 1) * sizeof *grown);
    if (grown == NULL)
        return;
    history->row = grown;
    history->row[history->rows++] = row;
}

void history_take(struct history *history, const json_t *event)
{
    const char *name = event_name(event);
    double t = event_number(event, "t", 0);

    if (history->started <= 0)
        history->started = t;
    if (strcmp(name, "recovered") == 0) {
        take_recovered(history, event);
    } else if (strcmp(name, "worker_lost") == 0 || strcmp(name, "rank_exited") == 0) {
        take_loss(history, event);
    } else if (strcmp(name, "checkpoint_committed") == 0) {
        history->checkpoints++;
        history->checkpoint_step = event_integer(event, "step", history->checkpoint_step);
    } else if (strcmp(name, "checkpoint_rejected") == 0) {
        history->rejected++;
    } else if (strcmp(name, "job_finished") == 0) {
        history->ended = t;
        history->steps = event_integer(event, "steps", -1);
        history->goodput = event_number(event, "goodput", -1);
        snprintf(history->reason, sizeof history->reason, "%.20s",
                 json_is_string(json_object_get(event, "reason"))
                     ? json_string_value(json_object_get(event, "reason"))
                     : "");
        history->exit_code = (int)event_integer(event, "exit_code", 0);
    }
}

void history_speed(struct history *history, const char *report_json)
{
    json_t *report = json_loads(report_json, 0, NULL);

    history->samples_per_s = event_number(report, "samples_per_s", -1);
    history->steps_per_s = event_number(report, "steps_per_s", -1);
    json_decref(report);
}

int history_read(struct history *history, const char *path, long offset, struct rk_why *why)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return rk_fail_errno(why, errno, "the events %s cannot be read", path);
    if (fseek(file, offset, SEEK_SET) != 0) {
        fclose(file);
        return rk_fail_errno(why, errno, "the events %s cannot be read", path);
    }
    while (getline(&line, &size, file) > 0) {
        json_t *event = json_loads(line, 0, NULL);

        if (json_is_object(event))
            history_take(history, event);
        json_decref(event);
    }
    free(line);
    fclose(file);
    return 0;
}
