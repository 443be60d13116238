/* The core's notes to events of the stream, with names and addresses that the core does not know.
 */
#include "coordinator/shell.h"

#include "common/log.h"

#include <math.h>
#include <string.h>

#define NOTED_LINES 512u /* bytes */

json_t *notes_new(const struct coordinator *c, const char *name)
{
    json_t *event = json_object();

    json_object_set_new(event, "t", json_real(round((double)c->wall / 1e3) / 1e6));
    json_object_set_new(event, "event", json_string(name));
    return event;
}

static void set_integer(json_t *event, const char *name, uint64_t value)
{
    json_object_set_new(event, name, json_integer((json_int_t)value));
}

static void add_worker(const struct coordinator *c, json_t *event, const struct core_action *action)
{
    const struct worker_info *worker = workers_find(&c->workers, action->worker.value);

    if (!action->worker.value)
        return;
    json_object_set_new(event, "worker", json_id(action->worker.value));
    if (!worker)
        return;
    json_object_set_new(event, "host", json_text(worker->host_name));
    set_integer(event, "ticket", worker->ticket);
    set_integer(event, "pid", (uint64_t)worker->pid);
}

/* The end of what the rank has printed, as far as this coordinator has heard it. */
static void add_last_words(const struct coordinator *c, json_t *event,
                           const struct core_action *action)
{
    const char *lines = c->last_words.lines;
    size_t length = strlen(lines);
    const char *end;

    if (action->rank != c->last_words.rank || length == 0 ||
        (action->exit_code == 0 && action->signal == 0))
        return;
    if (length > NOTED_LINES) {
        lines += length - NOTED_LINES;
        end = strchr(lines, '\n');
        lines = end != NULL && end[1] != '\0' ? end + 1 : lines;
    }
    json_object_set_new(event, "last_lines", json_text(lines));
}

static void add_loss(const struct coordinator *c, json_t *event, const struct core_action *action)
{
    json_object_set_new(event, "reason", json_string(core_reason_name(action->reason)));
    json_object_set_new(event, "detect_ms", json_ms(action->detect));
    if (action->note == CORE_NOTE_RANK_EXITED) {
        json_object_set_new(event, "exit_code", json_integer(action->exit_code));
        json_object_set_new(event, "signal", json_integer(action->signal));
        add_last_words(c, event, action);
    }
}

static void add_recovered(json_t *event, const struct core_action *action)
{
    json_object_set_new(event, "mode", json_string(action->in_place ? "in_place" : "relaunch"));
    json_object_set_new(event, "detect_ms", json_ms(action->detect));
    json_object_set_new(event, "recover_ms", json_ms(action->recover));
    set_integer(event, "lost_steps", action->lost_steps);
    set_integer(event, "losses", action->losses);
    if (action->carriers != CORE_CARRIERS_SAME)
        json_object_set_new(
            event, "carriers",
            json_string(action->carriers == CORE_CARRIERS_STANDBY ? "standby" : "relaunch"));
    set_integer(event, "generation", rk_word_generation(action->word));
}

static void add_delayed(json_t *event, const struct core_action *action)
{
    json_object_set_new(event, "standby", json_boolean(action->standby != 0));
    set_integer(event, "tries", action->tries);
    json_object_set_new(event, "wait_ms", json_ms(action->wait));
}

static void add_finished(const struct coordinator *c, json_t *event,
                         const struct core_action *action)
{
    json_object_set_new(event, "exit_code", json_integer(action->exit_code));
    json_object_set_new(event, "reason", json_string(core_reason_name(action->reason)));
    set_integer(event, "steps", c->rate.step);
    json_object_set_new(event, "goodput", json_real(report_goodput(c)));
}

static void add_started(const struct coordinator *c, json_t *event,
                        const struct core_action *action)
{
    json_object_set_new(event, "job", json_string(c->options.job));
    set_integer(event, "epoch", c->record.core.epoch);
    set_integer(event, "workers", action->workers);
    set_integer(event, "slots", c->options.slots);
    set_integer(event, "shards", c->options.shards);
    json_object_set_new(event, "reduction", json_string(c->options.reduction));
}

/* What the job takes in shared memory: the host that takes most. */
static void add_footprint(const struct coordinator *c, json_t *event)
{
    struct worker_info most = {0};
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(c->core, &cursor, &view)) {
        const struct worker_info *worker = workers_find(&c->workers, view.worker.value);

        if (worker != NULL && worker->arena_bytes > most.arena_bytes)
            most = *worker;
    }
    if (most.arena_bytes == 0)
        return;
    set_integer(event, "arena_bytes", most.arena_bytes);
    set_integer(event, "gradient_bytes", most.gradient_bytes);
    set_integer(event, "state_bytes", most.state_bytes);
}

static void add_generation(const struct coordinator *c, json_t *event,
                           const struct core_action *action)
{
    struct core_plan plan;

    core_plan_read(c->core, &plan);
    set_integer(event, "generation", rk_word_generation(action->word));
    set_integer(event, "epoch", rk_word_epoch(action->word));
    set_integer(event, "world_size", action->world);
    set_integer(event, "workers", action->workers);
    if (plan.hosts > 0)
        set_integer(event, "hosts", plan.hosts);
    set_integer(event, "step", plan.deal_step);
    add_footprint(c, event);
}

/* A generation that begins from a snapshot or a checkpoint may begin at an earlier step. */
static void note_restart(struct coordinator *c)
{
    struct core_plan plan;

    core_plan_read(c->core, &plan);
    if (plan.restart)
        rate_restart(c, plan.deal_step);
}

static void add_fields(const struct coordinator *c, json_t *event, const struct core_action *action)
{
    const char *dirname;

    switch (action->note) {
    case CORE_NOTE_JOB_STARTED:
        add_started(c, event, action);
        break;
    case CORE_NOTE_WORKER_JOINED:
        if (action->place != UINT32_MAX)
            set_integer(event, "place", action->place);
        break;
    case CORE_NOTE_DRAINED:
        break;
    case CORE_NOTE_WORKER_LOST:
        if (action->spare)
            json_object_set_new(event, "spare", json_true());
        add_loss(c, event, action);
        break;
    case CORE_NOTE_RANK_EXITED:
        add_loss(c, event, action);
        break;
    case CORE_NOTE_GENERATION_STARTED:
        add_generation(c, event, action);
        break;
    case CORE_NOTE_CHECKPOINT_COMMITTED:
    case CORE_NOTE_CHECKPOINT_REJECTED:
        set_integer(event, "step", action->step);
        dirname = saves_dirname(c->saves, action->step);
        json_object_set_new(event, "dirname", json_text(dirname));
        break;
    case CORE_NOTE_RECOVERED:
        add_recovered(event, action);
        break;
    case CORE_NOTE_SCALED:
        set_integer(event, "workers", action->workers);
        break;
    case CORE_NOTE_JOB_FINISHED:
        add_finished(c, event, action);
        break;
    case CORE_NOTE_CARRIERS_DELAYED:
        add_delayed(event, action);
        break;
    }
}

void notes_add(struct coordinator *c, const struct core_action *action)
{
    json_t *event;

    if (action->note == CORE_NOTE_JOB_FINISHED && c->report.ended)
        return; /* the last coordinator said so, and died then */
    event = notes_new(c, core_note_name(action->note));
    add_worker(c, event, action);
    if (action->rank != CORE_NO_RANK)
        set_integer(event, "rank", action->rank);
    add_fields(c, event, action);
    if (action->note == CORE_NOTE_GENERATION_STARTED)
        note_restart(c);
    report_see(c, event);
    events_add(c->events, event);
}
