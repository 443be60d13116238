/* The launcher's side: what is to be started, what has ended, and the outcome. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

void launches_done(struct launches *launches)
{
    free(launches->launch);
    *launches = (struct launches){0};
}

static int send_launches(struct coordinator *c, uint32_t *ticket, uint32_t *place, size_t count,
                         bool all)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Launch launch = RK__LAUNCH__INIT;

    if (!c->launches.launcher)
        return RK_EAGENT;
    launch.all = all;
    launch.ticket = ticket;
    launch.n_ticket = count;
    launch.place = place;
    launch.n_place = count;
    envelope.body_case = RK__ENVELOPE__BODY_LAUNCH;
    envelope.launch = &launch;
    return server_send(c->server, c->launches.launcher, &envelope);
}

/* All of them, or those that it was not told of. */
static size_t list(const struct launches *launches, bool all, uint32_t *ticket, uint32_t *place)
{
    size_t count = 0;

    for (size_t i = 0; i < launches->count; i++) {
        if (!all && launches->launch[i].said)
            continue;
        ticket[count] = launches->launch[i].ticket;
        place[count++] = launches->launch[i].place;
    }
    return count;
}

static void note_said(struct launches *launches)
{
    for (size_t i = 0; i < launches->count; i++)
        launches->launch[i].said = true;
    launches->unsaid = false;
}

/* Thousands of messages at once would be more than the launcher's queue takes. */
void launches_say(struct coordinator *c)
{
    struct launches *launches = &c->launches;
    uint32_t *ticket;
    uint32_t *place;

    if (!launches->launcher || !launches->unsaid)
        return;
    ticket = calloc(launches->count + 1, sizeof *ticket);
    place = calloc(launches->count + 1, sizeof *place);
    if (ticket && place) {
        size_t count = list(launches, false, ticket, place);

        if (count == 0 || send_launches(c, ticket, place, count, false) == 0)
            note_said(launches);
    }
    free(ticket);
    free(place);
}

static bool remember(struct launches *launches, uint32_t ticket, uint32_t place)
{
    if (launches->count == launches->capacity) {
        size_t capacity = launches->capacity ? 2 * launches->capacity : 16;
        struct launch *launch = realloc(launches->launch, capacity * sizeof *launch);

        if (!launch)
            return false;
        launches->launch = launch;
        launches->capacity = capacity;
    }
    launches->launch[launches->count++] = (struct launch){.ticket = ticket, .place = place};
    launches->unsaid = true;
    return true;
}

static bool forget(struct launches *launches, uint32_t ticket)
{
    for (size_t i = 0; i < launches->count; i++) {
        if (launches->launch[i].ticket != ticket)
            continue;
        launches->launch[i] = launches->launch[--launches->count];
        return true;
    }
    return false;
}

static void fail(struct coordinator *c, uint32_t ticket, bool final)
{
    struct core_event event = {.kind = CORE_EV_LAUNCH_FAILED, .now = c->now};

    event.launch_failed.ticket = ticket;
    event.launch_failed.final = final;
    coordinator_feed(c, &event);
}

void launches_start(struct coordinator *c, uint32_t ticket, uint32_t place)
{
    if (!remember(&c->launches, ticket, place)) {
        rk_warn("no memory to launch a worker: tried again later");
        fail(c, ticket, false);
    }
}

void launches_came(struct coordinator *c, uint32_t ticket)
{
    if (ticket)
        forget(&c->launches, ticket);
}

void launches_dial(struct coordinator *c, const char *endpoint, bool hang_up)
{
    struct rk_why why = {""};

    if (hang_up)
        server_hang_up(c->server, endpoint);
    else if (server_dial(c->server, endpoint, &why) != 0)
        rk_error_log("%s: the worker there cannot take part", why.text);
}

/* ---- a launcher that came (back) ------------------------------------------------------------- */

static void send_came(struct coordinator *c, uint32_t *ticket, size_t count)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__WorkerCame came = RK__WORKER_CAME__INIT;

    if (!c->launches.launcher || count == 0)
        return;
    came.ticket = ticket;
    came.n_ticket = count;
    envelope.body_case = RK__ENVELOPE__BODY_WORKER_CAME;
    envelope.worker_came = &came;
    server_send(c->server, c->launches.launcher, &envelope);
}

void launches_welcomed(struct coordinator *c, uint64_t worker)
{
    struct worker_info *info = workers_find(&c->workers, worker);

    if (info && info->ticket)
        send_came(c, &info->ticket, 1);
}

/* Tickets of earlier lives whose workers are still to come, or to come back. */
static void hear(struct coordinator *c, const Rk__LauncherHello *hello)
{
    uint32_t places = c->config.max_workers + c->config.spares;
    struct core_event event = {.kind = CORE_EV_LAUNCHED, .now = c->now};
    uint32_t *ticket = calloc(hello->n_ticket + 1, sizeof *ticket);

    if (!ticket || c->launches.heard) {
        free(ticket);
        return;
    }
    c->launches.heard = true;
    for (size_t i = 0; i < hello->n_ticket; i++)
        if (hello->ticket[i] && !workers_by_ticket(&c->workers, hello->ticket[i]) &&
            remember(&c->launches, hello->ticket[i], (hello->ticket[i] - 1) % places))
            ticket[event.launched.count++] = hello->ticket[i];
    event.launched.ticket = ticket;
    coordinator_feed(c, &event);
    free(ticket);
}

/* All that is wanted: those that take part, and those that are to come. */
static void tell_all(struct coordinator *c)
{
    size_t count = c->launches.count;
    uint32_t *ticket = calloc(c->config.capacity_workers + count + 1, sizeof *ticket);
    uint32_t *place = calloc(count + 1, sizeof *place);
    struct core_worker_view view;
    uint32_t cursor = 0;
    size_t came = 0;

    if (ticket && place) {
        while (core_worker_next(c->core, &cursor, &view))
            if (view.ticket && came < c->config.capacity_workers)
                ticket[came++] = view.ticket;
        send_came(c, ticket, came);
        count = list(&c->launches, true, ticket, place);
        if (send_launches(c, ticket, place, count, true) == 0)
            note_said(&c->launches);
    } else {
        rk_warn("no memory to tell the launcher what it is to run: it goes on as it is");
    }
    free(ticket);
    free(place);
}

void launches_hello(struct coordinator *c, uint64_t launcher, const Rk__LauncherHello *hello)
{
    rk_info("launcher connected, pid %d, %zu workers run there", hello->pid, hello->n_ticket);
    c->launches.launcher = launcher;
    c->launches.supervisor_pid = hello->pid;
    server_dial_only(c->server, hello->endpoint, hello->n_endpoint);
    for (size_t i = 0; i < hello->n_endpoint; i++)
        launches_dial(c, hello->endpoint[i], false);
    hear(c, hello);
    tell_all(c);
}

void launches_notice(struct coordinator *c, const Rk__Notice *notice)
{
    struct worker_info *worker = workers_by_ticket(&c->workers, notice->ticket);
    struct core_event event = {.kind = CORE_EV_DRAIN, .now = c->now};

    if (!worker || c->ended)
        return;
    rk_info("worker on %s will end soon: %s", worker->host_name, notice->why);
    event.worker.value = worker->id;
    event.drain.within = notice->within_ns;
    coordinator_feed(c, &event);
}

/* ---- what the launcher says ------------------------------------------------------------------ */

void launches_gone(struct coordinator *c, const Rk__WorkerGone *gone)
{
    struct worker_info *worker = workers_by_ticket(&c->workers, gone->ticket);
    struct core_event event = {.kind = CORE_EV_CLOSED, .now = c->now};

    event.worker.value = worker ? worker->id : gone->worker;
    event.closed.ended = true;
    if (forget(&c->launches, gone->ticket) || !event.worker.value) {
        rk_warn("worker of ticket %u ended before it said hello, status %d: %s", gone->ticket,
                gone->status, gone->why);
        fail(c, gone->ticket, false);
        return;
    }
    if (!c->ended)
        coordinator_feed(c, &event);
}

void launches_failed(struct coordinator *c, const Rk__LaunchFailed *failed)
{
    rk_warn("worker of ticket %u cannot be started: %s", failed->ticket, failed->why);
    forget(&c->launches, failed->ticket);
    if (failed->final && c->why[0] == '\0')
        snprintf(c->why, sizeof c->why, "no worker could be started: %s", failed->why);
    fail(c, failed->ticket, failed->final);
}

void launches_kill(struct coordinator *c, const struct core_action *action)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__KillWorker kill = RK__KILL_WORKER__INIT;

    forget(&c->launches, action->ticket);
    if (!c->launches.launcher)
        return;
    kill.worker = action->worker.value;
    kill.ticket = action->ticket;
    envelope.body_case = RK__ENVELOPE__BODY_KILL_WORKER;
    envelope.kill_worker = &kill;
    server_send(c->server, c->launches.launcher, &envelope);
}

void launches_outcome(struct coordinator *c, const char *report)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Outcome outcome = RK__OUTCOME__INIT;

    outcome.exit_code = c->exit_code;
    outcome.why = c->why;
    outcome.report_json = (char *)(report ? report : "{}");
    envelope.body_case = RK__ENVELOPE__BODY_OUTCOME;
    envelope.outcome = &outcome;
    server_send(c->server, c->launches.launcher, &envelope);
}
