/* Carriers: who runs mpirun, on which hosts, and the remote shell between them.
 *
 * mpirun starts its daemons through `reknit rsh`, which asks its agent, which asks here; the host
 * it names is "rk-hINDEX-jJOB", INDEX in the order of the generation for which JOB was made. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_NAME_SIZE 40

void carriers_done(struct carriers *carriers)
{
    uint32_t failed = carriers->failed;

    if (carriers->job != 0)
        failed = carriers->up < carriers->hosts ? failed + 1 : 0;
    free(carriers->host);
    free(carriers->worker);
    *carriers = (struct carriers){.failed = failed};
}

/* The hosts of the generation, each with its first member's worker. */
static int take_hosts(struct coordinator *c, uint32_t job)
{
    struct core_plan plan;
    struct core_member member;
    uint32_t cursor = 0;

    if (c->carriers.job != 0 && c->carriers.up < c->carriers.hosts)
        rk_warn(
            "of carriers %u only %u of %u came up; look at carriers-%u.log in the job's logs, and "
            "at what `reknit doctor` says of Open MPI and host names on each host",
            c->carriers.job, c->carriers.up, c->carriers.hosts, c->carriers.job);
    carriers_done(&c->carriers);
    core_plan_read(c->core, &plan);
    c->carriers.job = job;
    c->carriers.host = calloc(plan.hosts + 1u, sizeof *c->carriers.host);
    c->carriers.worker = calloc(plan.hosts + 1u, sizeof *c->carriers.worker);
    if (!c->carriers.host || !c->carriers.worker)
        return RK_ENOMEM;
    c->carriers.hosts = plan.hosts;
    while (core_member_next(c->core, &cursor, &member)) {
        if (member.host_index >= plan.hosts || c->carriers.worker[member.host_index])
            continue;
        c->carriers.host[member.host_index] = member.host.value;
        c->carriers.worker[member.host_index] = member.worker.value;
    }
    return 0;
}

static void stop_older(struct coordinator *c, uint32_t job)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(c->core, &cursor, &view)) {
        Rk__Envelope envelope = RK__ENVELOPE__INIT;
        Rk__StopCarriers stop = RK__STOP_CARRIERS__INIT;

        if (!plan_hears(view.state))
            continue;
        stop.job = job;
        envelope.body_case = RK__ENVELOPE__BODY_STOP_CARRIERS;
        envelope.stop_carriers = &stop;
        server_send(c->server, view.worker.value, &envelope);
    }
}

static void send_start(struct coordinator *c, uint64_t worker, char **host)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__StartCarriers start = RK__START_CARRIERS__INIT;

    start.job = c->carriers.job;
    start.host = host;
    start.n_host = c->carriers.hosts;
    start.worker = c->carriers.worker;
    start.n_worker = c->carriers.hosts;
    envelope.body_case = RK__ENVELOPE__BODY_START_CARRIERS;
    envelope.start_carriers = &start;
    server_send(c->server, worker, &envelope);
}

void carriers_start(struct coordinator *c, const struct core_action *action)
{
    char(*name)[HOST_NAME_SIZE];
    char **host;

    stop_older(c, action->job);
    if (!action->worker.value || take_hosts(c, action->job) != 0)
        return;
    name = calloc(c->carriers.hosts + 1u, sizeof *name);
    host = calloc(c->carriers.hosts + 1u, sizeof *host);
    for (uint32_t i = 0; name && host && i < c->carriers.hosts; i++) {
        snprintf(name[i], sizeof name[i], "rk-h%u-j%u", i, action->job);
        host[i] = name[i];
    }
    if (name && host)
        send_start(c, action->worker.value, host);
    rk_info("carriers %u are started for %u hosts", action->job, c->carriers.hosts);
    free(name);
    free(host);
}

void carriers_state(struct coordinator *c, uint64_t worker, const Rk__CarrierState *state)
{
    struct worker_info *info = workers_find(&c->workers, worker);
    struct core_event event = {
        .kind = state->up ? CORE_EV_CARRIER_UP : CORE_EV_CARRIER_LOST,
        .now = c->now,
        .worker = {worker},
    };

    if (state->up && state->job == c->carriers.job)
        c->carriers.up++;
    if (!state->up && state->job == c->carriers.job)
        rk_warn("carrier of job %u on %s is lost: %s", state->job, info->host_name, state->why);
    if (state->up || info->carrier_job == state->job) {
        info->carrier_job = state->up ? state->job : 0;
        info->carrier_pid = state->up ? state->pid : 0;
    }
    event.carrier.job = state->job;
    coordinator_feed(c, &event);
}

/* ---- rsh ------------------------------------------------------------------------------------- */

static void answer(struct coordinator *c, uint64_t to, uint64_t request, int code, const char *why)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__RshStarted started = RK__RSH_STARTED__INIT;

    started.request = request;
    started.to = to;
    started.code = code;
    started.why = (char *)why;
    envelope.body_case = RK__ENVELOPE__BODY_RSH_STARTED;
    envelope.rsh_started = &started;
    server_send(c->server, to, &envelope);
}

/* A connected worker of the host `index`: the one named at the start, else any. */
static uint64_t worker_on(const struct coordinator *c, uint32_t index)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    if (server_connected(c->server, c->carriers.worker[index]))
        return c->carriers.worker[index];
    while (core_worker_next(c->core, &cursor, &view))
        if (view.host.value == c->carriers.host[index] && plan_hears(view.state) &&
            server_connected(c->server, view.worker.value))
            return view.worker.value;
    return 0;
}

static bool parse_host(const char *name, uint32_t *index, uint32_t *job)
{
    char again[HOST_NAME_SIZE];

    if (sscanf(name, "rk-h%9u-j%9u", index, job) != 2)
        return false;
    snprintf(again, sizeof again, "rk-h%u-j%u", *index, *job);
    return strcmp(again, name) == 0;
}

void carriers_rsh(struct coordinator *c, uint64_t worker, const Rk__RshRequest *request)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__RshStart start = RK__RSH_START__INIT;
    uint32_t index;
    uint32_t job;
    uint64_t target;

    if (!parse_host(request->host, &index, &job)) {
        answer(c, worker, request->request, RK_EINVAL, "the host is not one of the job's");
        return;
    }
    if (job != c->carriers.job || index >= c->carriers.hosts) {
        answer(c, worker, request->request, RK_ESTALE, "the host is of another carrier job");
        return;
    }
    target = worker_on(c, index);
    if (!target) {
        answer(c, worker, request->request, RK_ENOENT, "no worker of that host is connected");
        return;
    }
    start.request = request->request;
    start.from = worker;
    start.command = request->command;
    start.job = job;
    envelope.body_case = RK__ENVELOPE__BODY_RSH_START;
    envelope.rsh_start = &start;
    if (server_send(c->server, target, &envelope) != 0)
        answer(c, worker, request->request, RK_EUNAVAILABLE, "the worker of that host is gone");
}

void carriers_rsh_started(struct coordinator *c, uint64_t worker, const Rk__RshStarted *started)
{
    (void)worker;
    if (started->to && workers_find(&c->workers, started->to))
        answer(c, started->to, started->request, started->code, started->why);
}
