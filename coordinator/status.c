/* The job as JSON, for people and their tools. */
#include "coordinator/shell.h"

#include "common/clock.h"

#include <unistd.h>

static void set_integer(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static const char *rank_state_name(enum core_rank_state state)
{
    switch (state) {
    case CORE_RANK_EMPTY:
        return "empty";
    case CORE_RANK_STARTING:
        return "starting";
    case CORE_RANK_READY:
        return "ready";
    case CORE_RANK_MEMBER:
        return "member";
    case CORE_RANK_LEFT:
        return "left";
    case CORE_RANK_DONE:
        return "done";
    }
    return "?";
}

static const char *worker_state_name(const struct core_worker_view *view)
{
    if (view->spare)
        return "spare";
    if (view->draining)
        return "draining";
    switch (view->state) {
    case CORE_WORKER_PRESENT:
        return "present";
    case CORE_WORKER_MEMBER:
        return "member";
    case CORE_WORKER_LEAVING:
        return "leaving";
    case CORE_WORKER_LOST:
        return "lost";
    default:
        return "?";
    }
}

/* The generation that a rank is a member of; 0: none. */
static uint64_t rank_generation(const struct core_plan *plan, enum core_rank_state state,
                                const struct worker_info *worker)
{
    if (plan->program)
        return state == CORE_RANK_STARTING ? rk_word_generation(plan->word) : 0;
    if (state == CORE_RANK_MEMBER || state == CORE_RANK_LEFT)
        return rk_word_generation(worker->word);
    return 0;
}

static json_t *rank_json(const struct core_plan *plan, const struct core_rank_status *status,
                         const struct worker_info *worker, uint32_t slot)
{
    const struct worker_rank *rank = &worker->rank[slot];
    bool alive = status->state != CORE_RANK_EMPTY && status->state != CORE_RANK_DONE;
    json_t *object = json_object();

    set_integer(object, "rank", status->rank);
    set_integer(object, "slot", slot);
    json_object_set_new(object, "pid", json_integer(alive ? status->pid : 0));
    json_object_set_new(object, "state", json_string(rank_state_name(status->state)));
    set_integer(object, "generation", rank_generation(plan, status->state, worker));
    set_integer(object, "start_generation", rank->start_generation);
    set_integer(object, "step", status->position);
    json_object_set_new(object, "busy_s", json_real((double)rank->busy / (double)RK_S));
    json_object_set_new(object, "numbers",
                        rank->numbers ? json_deep_copy(rank->numbers) : json_object());
    return object;
}

/* The steps whose state lies in the memory of a worker's host, whoever of its ranks dies. */
static json_t *snapshots_json(const struct core_worker_status *status)
{
    json_t *steps = json_array();

    for (uint32_t k = 0; k < 2; k++)
        if (status->snapshot_step[k] != CORE_NONE)
            json_array_append_new(steps, json_integer((json_int_t)status->snapshot_step[k]));
    return steps;
}

static json_t *worker_json(const struct core_plan *plan, const struct core_worker_view *view,
                           const struct worker_info *worker)
{
    json_t *object = json_object();
    json_t *ranks = json_array();

    json_object_set_new(object, "id", json_id(view->worker.value));
    set_integer(object, "ticket", view->ticket);
    set_integer(object, "place", view->place);
    json_object_set_new(object, "state", json_string(worker_state_name(view)));
    if (worker) {
        json_object_set_new(object, "host", json_text(worker->host_name));
        json_object_set_new(object, "host_id", json_id(worker->host));
        set_integer(object, "group", worker->group);
        json_object_set_new(object, "pid", json_integer(worker->pid));
        json_object_set_new(object, "warden_pid", json_integer(worker->warden_pid));
        json_object_set_new(object, "address", json_text(worker->address));
        json_object_set_new(object, "snapshots", snapshots_json(&view->status));
        for (uint32_t slot = 0; slot < view->status.slots && slot < worker->slots; slot++)
            if (view->status.rank[slot].rank != CORE_NO_RANK)
                json_array_append_new(ranks,
                                      rank_json(plan, &view->status.rank[slot], worker, slot));
    }
    json_object_set_new(object, "ranks", ranks);
    return object;
}

/* The carriers under a worker: those that serve, and those that stand by. */
static void add_carriers(const struct coordinator *c, const struct worker_info *worker,
                         json_t *carriers, json_t *standby)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct worker_carrier *carrier = &worker->carrier[i];

        if (carrier->pid &&
            (carrier->job == c->carriers.job || carrier->job == c->carriers.standby))
            json_array_append_new(carrier->job == c->carriers.job ? carriers : standby,
                                  json_pack("{s:i, s:s, s:i}", "job", (int)carrier->job, "host",
                                            worker->host_name, "pid", (int)carrier->pid));
    }
}

/* Workers with their ranks, the carriers among them, and a loss if a program reports one. */
static void add_workers(const struct coordinator *c, const struct core_plan *plan, json_t *status)
{
    json_t *workers = json_array();
    json_t *carriers = json_array();
    json_t *standby = json_array();
    struct core_worker_view view;
    uint32_t cursor = 0;
    json_t *loss = NULL;

    while (core_worker_next(c->core, &cursor, &view)) {
        const struct worker_info *worker = workers_find(&c->workers, view.worker.value);

        if (view.state == CORE_WORKER_ABSENT)
            continue;
        json_array_append_new(workers, worker_json(plan, &view, worker));
        if (worker)
            add_carriers(c, worker, carriers, standby);
        for (uint32_t slot = 0; worker && !loss && slot < worker->slots; slot++)
            loss = json_object_get(worker->rank[slot].numbers, "loss");
    }
    if (loss)
        json_object_set(status, "loss", loss);
    json_object_set_new(status, "workers", workers);
    json_object_set_new(status, "carriers", carriers);
    json_object_set_new(status, "standby_carriers", standby);
}

static json_t *checkpoint_json(const struct coordinator *c)
{
    json_t *object = json_object();

    json_object_set_new(object, "directory",
                        c->options.checkpoint_dir ? json_text(c->options.checkpoint_dir)
                                                  : json_null());
    if (c->committed_step != CORE_NONE) {
        set_integer(object, "committed_step", c->committed_step);
        json_object_set_new(object, "dirname", json_text(c->committed_dirname));
    }
    return object;
}

static json_t *refused_json(const struct coordinator *c)
{
    const struct server_counters *counters = server_counters(c->server);
    json_t *object = json_object();

#define X(name) set_integer(object, #name, counters->name);
    SERVER_COUNTERS(X)
#undef X
    set_integer(object, "events", core_refused(c->core));
    return object;
}

json_t *status_json(const struct coordinator *c)
{
    json_t *status = json_object();
    struct core_plan plan;
    struct core_record record;
    double steps_per_s = rate_steps_per_s(c);

    core_plan_read(c->core, &plan);
    core_record_read(c->core, c->now, &record);
    json_object_set_new(status, "job", json_text(c->options.job));
    set_integer(status, "epoch", c->record.core.epoch);
    set_integer(status, "generation", rk_word_generation(plan.word));
    json_object_set_new(status, "state", json_string(core_state_name(core_state(c->core))));
    set_integer(status, "step", c->rate.step);
    set_integer(status, "world_size", plan.world);
    set_integer(status, "target_workers", record.target_workers);
    set_integer(status, "min_workers", c->config.min_workers);
    set_integer(status, "shards", c->config.shards);
    json_object_set_new(status, "reduction", json_string(c->options.reduction));
    json_object_set_new(status, "coordinator_pid", json_integer(getpid()));
    json_object_set_new(status, "supervisor_pid", json_integer(c->launches.supervisor_pid));
    json_object_set_new(status, "uptime_s", json_real((double)(c->wall - c->record.started) / 1e9));
    json_object_set_new(status, "steps_per_s", json_real(steps_per_s));
    json_object_set_new(status, "samples_per_s", json_real(steps_per_s * (double)report_batch(c)));
    json_object_set_new(status, "goodput", json_real(report_goodput(c)));
    add_workers(c, &plan, status);
    json_object_set_new(status, "checkpoint", checkpoint_json(c));
    json_object_set_new(status, "events", events_counts(c->events));
    json_object_set_new(status, "refused", refused_json(c));
    return status;
}
