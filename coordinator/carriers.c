/* Carriers, those that serve and those that stand by: who runs mpirun, on which hosts, and the
 * remote shell between them.
 *
 * mpirun starts its daemons through reknit-rsh, which asks its agent, which asks here; the host
 * it names is "rk-hINDEX-jJOB", INDEX in the order of the generation for which JOB was made. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_NAME_SIZE 40

static void launch_done(struct carriers_launch *launch)
{
    free(launch->host);
    free(launch->worker);
    *launch = (struct carriers_launch){.job = 0};
}

void carriers_done(struct carriers *carriers)
{
    for (uint32_t l = 0; l < 2; l++)
        launch_done(&carriers->launch[l]);
}

static struct carriers_launch *launch_find(struct carriers *carriers, uint32_t job)
{
    for (uint32_t l = 0; job && l < 2; l++)
        if (carriers->launch[l].job == job)
            return &carriers->launch[l];
    return NULL;
}

/* Lets go of a launch that shall not live any more. */
static void launch_end(struct carriers *carriers, struct carriers_launch *launch)
{
    bool came = launch->up >= launch->hosts;

    if (launch->job == 0)
        return;
    if (!came)
        rk_warn(
            "of carriers %u only %u of %u came up; look at carriers-%u.log in the job's logs, and "
            "at what `reknit doctor` says of Open MPI and host names on each host",
            launch->job, launch->up, launch->hosts, launch->job);
    if (launch->job == carriers->job)
        carriers->failed = came ? 0 : carriers->failed + 1;
    launch_done(launch);
}

/* The worker under which the carrier of `launch` on `host` is to run, 0: none. */
static uint64_t worker_of(const struct carriers_launch *launch, uint64_t host)
{
    for (uint32_t h = 0; h < launch->hosts; h++)
        if (launch->host[h] == host)
            return launch->worker[h];
    return 0;
}

/* The hosts of the generation, each with the worker under which its carrier is to run: the first
 * member's, or another's where that one has the carrier of the `other` launch. */
static int take_hosts(struct coordinator *c, struct carriers_launch *launch, uint32_t job,
                      const struct carriers_launch *other)
{
    struct core_plan plan;
    struct core_member member;
    uint32_t cursor = 0;

    core_plan_read(c->core, &plan);
    launch->job = job;
    launch->host = calloc(plan.hosts + 1u, sizeof *launch->host);
    launch->worker = calloc(plan.hosts + 1u, sizeof *launch->worker);
    if (!launch->host || !launch->worker)
        return RK_ENOMEM;
    launch->hosts = plan.hosts;
    while (core_member_next(c->core, &cursor, &member)) {
        uint64_t *worker;

        if (member.host_index >= plan.hosts)
            continue;
        worker = &launch->worker[member.host_index];
        if (*worker && *worker != worker_of(other, member.host.value))
            continue;
        launch->host[member.host_index] = member.host.value;
        *worker = member.worker.value;
    }
    return 0;
}

static void say_keep(struct coordinator *c)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(c->core, &cursor, &view)) {
        Rk__Envelope envelope = RK__ENVELOPE__INIT;
        Rk__KeepCarriers keep = RK__KEEP_CARRIERS__INIT;

        if (!plan_hears(view.state))
            continue;
        keep.job = c->carriers.job;
        keep.standby = c->carriers.standby;
        envelope.body_case = RK__ENVELOPE__BODY_KEEP_CARRIERS;
        envelope.keep_carriers = &keep;
        server_send(c->server, view.worker.value, &envelope);
    }
}

static void send_start(struct coordinator *c, const struct carriers_launch *launch, uint64_t worker,
                       char **host)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__StartCarriers start = RK__START_CARRIERS__INIT;

    start.job = launch->job;
    start.host = host;
    start.n_host = launch->hosts;
    start.worker = launch->worker;
    start.n_worker = launch->hosts;
    envelope.body_case = RK__ENVELOPE__BODY_START_CARRIERS;
    envelope.start_carriers = &start;
    server_send(c->server, worker, &envelope);
}

static void start(struct coordinator *c, struct carriers_launch *launch, uint64_t worker)
{
    char(*name)[HOST_NAME_SIZE] = calloc(launch->hosts + 1u, sizeof *name);
    char **host = calloc(launch->hosts + 1u, sizeof *host);

    for (uint32_t i = 0; name && host && i < launch->hosts; i++) {
        snprintf(name[i], sizeof name[i], "rk-h%u-j%u", i, launch->job);
        host[i] = name[i];
    }
    if (name && host)
        send_start(c, launch, worker, host);
    rk_info("carriers %u are started for %u hosts%s", launch->job, launch->hosts,
            launch->job == c->carriers.standby ? ", to stand by" : "");
    free(name);
    free(host);
}

void carriers_do(struct coordinator *c, const struct core_action *action)
{
    uint32_t job = action->standby ? action->standby : action->job;
    struct carriers_launch *launch;

    for (uint32_t l = 0; l < 2; l++) {
        launch = &c->carriers.launch[l];
        if (launch->job != action->job && launch->job != action->standby)
            launch_end(&c->carriers, launch);
    }
    if (action->job && action->job == c->carriers.standby)
        rk_info("carriers %u, which stood by, take over", action->job);
    c->carriers.job = action->job;
    c->carriers.standby = action->standby;
    say_keep(c);
    if (!action->worker.value)
        return;
    bool second = c->carriers.launch[0].job != 0;
    launch = &c->carriers.launch[second];
    launch_done(launch);
    if (take_hosts(c, launch, job, &c->carriers.launch[!second]) == 0)
        start(c, launch, action->worker.value);
}

/* What runs under a worker, by pid: mpirun's end is none of its carrier's. */
static void note_carrier(const struct carriers *carriers, struct worker_info *info,
                         const Rk__CarrierState *state)
{
    struct worker_carrier *entry = NULL;

    for (uint32_t i = 0; i < 2; i++) {
        struct worker_carrier *carrier = &info->carrier[i];

        if (carrier->pid && carrier->job != carriers->job && carrier->job != carriers->standby)
            *carrier = (struct worker_carrier){.job = 0};
        if (carrier->pid == state->pid || (state->up && !entry && !carrier->pid))
            entry = carrier;
    }
    if (entry)
        *entry = state->up ? (struct worker_carrier){state->job, state->pid}
                           : (struct worker_carrier){.job = 0};
}

void carriers_state(struct coordinator *c, uint64_t worker, const Rk__CarrierState *state)
{
    struct worker_info *info = workers_find(&c->workers, worker);
    struct carriers_launch *launch = launch_find(&c->carriers, state->job);
    struct core_event event = {
        .kind = state->up ? CORE_EV_CARRIER_UP : CORE_EV_CARRIER_LOST,
        .now = c->now,
        .worker = {worker},
    };

    if (state->up && launch)
        launch->up++;
    if (!state->up && (state->job == c->carriers.job || state->job == c->carriers.standby))
        rk_warn("carrier of job %u%s on %s is lost: %s", state->job,
                state->job == c->carriers.standby ? ", which stands by," : "", info->host_name,
                state->why);
    note_carrier(&c->carriers, info, state);
    event.carrier.job = state->job;
    event.carrier.place = state->place;
    event.carrier.hosts = state->hosts;
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
static uint64_t worker_on(const struct coordinator *c, const struct carriers_launch *launch,
                          uint32_t index)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    if (server_connected(c->server, launch->worker[index]))
        return launch->worker[index];
    while (core_worker_next(c->core, &cursor, &view))
        if (view.host.value == launch->host[index] && plan_hears(view.state) &&
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
    Rk__RshStart rsh = RK__RSH_START__INIT;
    const struct carriers_launch *launch;
    uint32_t index;
    uint32_t job;
    uint64_t target;

    if (!parse_host(request->host, &index, &job)) {
        answer(c, worker, request->request, RK_EINVAL, "the host is not one of the job's");
        return;
    }
    launch = launch_find(&c->carriers, job);
    if (!launch || index >= launch->hosts) {
        answer(c, worker, request->request, RK_ESTALE, "the host is of another carrier job");
        return;
    }
    target = worker_on(c, launch, index);
    if (!target) {
        answer(c, worker, request->request, RK_ENOENT, "no worker of that host is connected");
        return;
    }
    rsh.request = request->request;
    rsh.from = worker;
    rsh.command = request->command;
    rsh.job = job;
    envelope.body_case = RK__ENVELOPE__BODY_RSH_START;
    envelope.rsh_start = &rsh;
    if (server_send(c->server, target, &envelope) != 0)
        answer(c, worker, request->request, RK_EUNAVAILABLE, "the worker of that host is gone");
}

void carriers_rsh_started(struct coordinator *c, uint64_t worker, const Rk__RshStarted *started)
{
    (void)worker;
    if (started->to && workers_find(&c->workers, started->to))
        answer(c, started->to, started->request, started->code, started->why);
}
