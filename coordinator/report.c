/* What the run was worth: steps, speed, interruptions, and the part of its time that made steps
 * which stayed. */
#include "coordinator/shell.h"

#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINT_GAP (100 * RK_MS)

/* ---- speed ----------------------------------------------------------------------------------- */

void rate_take(struct coordinator *c, uint64_t step)
{
    struct rate *rate = &c->rate;
    const struct rate_point *last;

    if (step <= rate->step && rate->count > 0)
        return;
    rate->step = step;
    last = &rate->point[(rate->count + RATE_POINTS - 1) % RATE_POINTS];
    if (rate->count > 0 && c->now - last->now < POINT_GAP)
        return;
    rate->point[rate->count % RATE_POINTS] = (struct rate_point){c->now, step};
    rate->count++;
}

void rate_restart(struct coordinator *c, uint64_t step)
{
    c->rate.step = step;
    c->rate.count = 0;
}

/* Over the points kept, and until now if none came for long. */
double rate_steps_per_s(const struct coordinator *c)
{
    const struct rate *rate = &c->rate;
    uint32_t kept = rate->count < RATE_POINTS ? rate->count : RATE_POINTS;
    const struct rate_point *first;
    const struct rate_point *last;
    uint64_t until;

    if (kept < 2)
        return 0;
    first = &rate->point[(rate->count - kept) % RATE_POINTS];
    last = &rate->point[(rate->count - 1) % RATE_POINTS];
    until = c->now - last->now > RK_S ? c->now : last->now;
    return (double)(last->step - first->step) / ((double)(until - first->now) / 1e9);
}

uint64_t report_batch(const struct coordinator *c)
{
    const struct worker_info *worker;
    uint32_t cursor = 0;

    while ((worker = id_map_next(&c->workers.by_id, &cursor)) != NULL)
        if (worker->batch)
            return worker->batch;
    return 0;
}

/* ---- the account ----------------------------------------------------------------------------- */

static double number_of(const json_t *event, const char *name)
{
    return json_number_value(json_object_get(event, name));
}

static void see_recovered(struct report *report, const json_t *event)
{
    const char *mode = json_string_value(json_object_get(event, "mode"));
    struct interruption interruption = {
        .t = number_of(event, "t"),
        .detect_ms = number_of(event, "detect_ms"),
        .recover_ms = number_of(event, "recover_ms"),
        .lost_steps = (uint64_t)number_of(event, "lost_steps"),
        .losses = (uint64_t)number_of(event, "losses"),
        .in_place = mode && strcmp(mode, "in_place") == 0,
    };

    report->lost_ms += interruption.recover_ms;
    report->lost_steps += interruption.lost_steps;
    if (report->interruptions < MAX_INTERRUPTIONS)
        report->interruption[report->interruptions] = interruption;
    report->interruptions++;
}

void report_see(void *coordinator, const json_t *event)
{
    struct report *report = &((struct coordinator *)coordinator)->report;
    const char *name = json_string_value(json_object_get(event, "event"));

    if (strcmp(name, "recovered") == 0)
        see_recovered(report, event);
    if (strcmp(name, "generation_started") == 0 && !report->began) {
        report->began = true;
        report->first_generation = number_of(event, "t");
        report->start_step = (uint64_t)number_of(event, "step");
    }
    report->ended = report->ended || strcmp(name, "job_finished") == 0;
}

/* Seconds: of the run, before the first generation, of a step, and lost to interruptions. */
struct account {
    double wall, startup, lost, step;
    uint64_t steps;
};

static struct account account_of(const struct coordinator *c)
{
    const struct report *report = &c->report;
    double started = (double)c->record.started / 1e9;
    struct account account = {.wall = (double)c->wall / 1e9 - started};
    double training;

    if (account.wall <= 0)
        account.wall = 1e-9;
    account.startup = report->began ? report->first_generation - started : account.wall;
    account.lost = report->lost_ms / 1e3;
    account.steps = c->rate.step > report->start_step ? c->rate.step - report->start_step : 0;
    training = account.wall - account.startup - account.lost;
    if (account.steps > 0 && training > 0)
        account.step = training / (double)(account.steps + report->lost_steps);
    account.lost += account.step * (double)report->lost_steps;
    return account;
}

static double goodput_of(const struct account *account)
{
    double productive = account->wall - account->startup - account->lost;

    return productive > 0 && account->steps > 0 ? productive / account->wall : 0;
}

double report_goodput(const struct coordinator *c)
{
    struct account account = account_of(c);

    return goodput_of(&account);
}

static json_t *interruptions_json(const struct report *report)
{
    json_t *list = json_array();

    for (uint64_t i = 0; i < report->interruptions && i < MAX_INTERRUPTIONS; i++) {
        const struct interruption *interruption = &report->interruption[i];

        json_array_append_new(
            list, json_pack("{s:f, s:s, s:f, s:f, s:I, s:I}", "t", interruption->t, "mode",
                            interruption->in_place ? "in_place" : "relaunch", "detect_ms",
                            interruption->detect_ms, "recover_ms", interruption->recover_ms,
                            "lost_steps", (json_int_t)interruption->lost_steps, "losses",
                            (json_int_t)interruption->losses));
    }
    return list;
}

json_t *report_json(const struct coordinator *c)
{
    struct account account = account_of(c);
    double training = account.wall - account.startup;
    double steps_per_s = training > 0 ? (double)account.steps / training : 0;
    json_t *report = json_object();

    json_object_set_new(report, "job", json_text(c->options.job));
    json_object_set_new(report, "exit_code", json_integer(c->exit_code));
    json_object_set_new(report, "why", json_text(c->why));
    json_object_set_new(report, "start_step", json_integer((json_int_t)c->report.start_step));
    json_object_set_new(report, "step", json_integer((json_int_t)c->rate.step));
    json_object_set_new(report, "steps", json_integer((json_int_t)account.steps));
    json_object_set_new(report, "wall_s", json_real(account.wall));
    json_object_set_new(report, "startup_s", json_real(account.startup));
    json_object_set_new(report, "lost_s", json_real(account.lost));
    json_object_set_new(report, "lost_steps", json_integer((json_int_t)c->report.lost_steps));
    json_object_set_new(report, "goodput", json_real(goodput_of(&account)));
    json_object_set_new(report, "steps_per_s", json_real(steps_per_s));
    json_object_set_new(report, "samples_per_s", json_real(steps_per_s * (double)report_batch(c)));
    json_object_set_new(report, "epochs", json_integer(c->record.core.epoch));
    json_object_set_new(report, "interruption_count",
                        json_integer((json_int_t)c->report.interruptions));
    json_object_set_new(report, "interruptions", interruptions_json(&c->report));
    json_object_set_new(report, "events", events_counts(c->events));
    return report;
}

char *report_write(const struct coordinator *c)
{
    json_t *report = report_json(c);
    char *text = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(15));
    char path[4096];

    json_decref(report);
    if (!text)
        return NULL;
    snprintf(path, sizeof path, "%s/report.json", c->options.state_dir);
    FILE *file = fopen(path, "we");
    if (!file || fprintf(file, "%s\n", text) < 0)
        rk_warn("%s is not written: %s", path, strerror(errno));
    if (file)
        fclose(file);
    return text;
}
