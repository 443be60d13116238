/* What `reknit status`, `events`, `scale`, `stop`, `kill` and the supervisor ask for. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_A_TURN 256u /* to one client */

static int reply(struct coordinator *c, uint64_t client, int code, const char *text)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Reply message = RK__REPLY__INIT;

    message.code = code;
    message.text = (char *)text;
    message.last = true;
    envelope.body_case = RK__ENVELOPE__BODY_REPLY;
    envelope.reply = &message;
    return server_send(c->server, client, &envelope);
}

static void reply_json(struct coordinator *c, uint64_t client, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);

    if (!text || reply(c, client, 0, text) != 0)
        reply(c, client, RK_EFULL, "{\"why\":\"the answer is too large\"}");
    free(text);
    json_decref(value);
}

static void reply_why(struct coordinator *c, uint64_t client, int code, const char *why)
{
    json_t *value = json_object();
    char *text;

    json_object_set_new(value, "why", json_text(why));
    text = json_dumps(value, JSON_COMPACT);
    reply(c, client, code, text ? text : "{}");
    free(text);
    json_decref(value);
}

/* ---- events ---------------------------------------------------------------------------------- */

static struct follower *follower_of(struct coordinator *c, uint64_t client)
{
    for (uint32_t i = 0; i < MAX_FOLLOWERS; i++)
        if (c->clients.follower[i].client == client)
            return &c->clients.follower[i];
    return NULL;
}

static void follow(struct coordinator *c, uint64_t client, bool forever)
{
    struct follower *follower = follower_of(c, client);

    if (!follower)
        follower = follower_of(c, 0);
    if (!follower) {
        reply_why(c, client, RK_EFULL, "too many clients follow the events already");
        return;
    }
    *follower = (struct follower){client, events_first(c->events), forever};
}

static int send_event(struct coordinator *c, uint64_t to, uint64_t index)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Event event = RK__EVENT__INIT;

    event.json = (char *)events_line(c->events, index);
    event.index = index;
    envelope.body_case = RK__ENVELOPE__BODY_EVENT;
    envelope.event = &event;
    return server_send(c->server, to, &envelope);
}

/* True: it did not take all that there is. */
static bool serve(struct coordinator *c, struct follower *follower)
{
    uint64_t end = events_end(c->events);
    uint32_t sent = 0;

    if (follower->next < events_first(c->events))
        follower->next = events_first(c->events);
    for (; follower->next < end && sent < EVENTS_A_TURN; sent++) {
        int rc = send_event(c, follower->client, follower->next);

        if (rc == RK_EFULL)
            return true;
        if (rc == RK_EAGENT) {
            *follower = (struct follower){0};
            return false;
        }
        follower->next++;
    }
    if (follower->next < end)
        return true;
    if (!follower->follow || c->ended) {
        reply(c, follower->client, 0, "{}");
        *follower = (struct follower){0};
    }
    return false;
}

/* The launcher shows the events that happen from now on. */
static bool serve_launcher(struct coordinator *c)
{
    uint64_t end = events_end(c->events);

    if (!c->launches.launcher)
        return false;
    if (c->clients.launcher_next < events_first(c->events))
        c->clients.launcher_next = events_first(c->events);
    while (c->clients.launcher_next < end) {
        int rc = send_event(c, c->launches.launcher, c->clients.launcher_next);

        if (rc)
            return rc == RK_EFULL;
        c->clients.launcher_next++;
    }
    return false;
}

bool clients_events(struct coordinator *c)
{
    bool more = serve_launcher(c);

    for (uint32_t i = 0; i < MAX_FOLLOWERS; i++)
        if (c->clients.follower[i].client)
            more = serve(c, &c->clients.follower[i]) || more;
    return more;
}

void clients_closed(struct coordinator *c, uint64_t client)
{
    struct follower *follower = follower_of(c, client);

    if (follower)
        *follower = (struct follower){0};
}

/* ---- orders ---------------------------------------------------------------------------------- */

static int scale(struct coordinator *c, uint64_t workers, struct rk_why *why)
{
    struct core_event event = {.kind = CORE_EV_SCALE, .now = c->now};
    uint64_t refused = core_refused(c->core);

    if (workers < c->config.min_workers || workers > c->config.max_workers)
        return rk_fail(why, RK_EINVAL, "%llu workers cannot be: this job takes %u to %u",
                       (unsigned long long)workers, c->config.min_workers, c->config.max_workers);
    /* workers of the last coordinator that have not said hello yet could not be told to leave */
    if (core_state(c->core) == CORE_JOB_RECOVERING)
        return rk_fail(why, RK_EUNAVAILABLE,
                       "the coordinator has just started and finds out who is there: ask again");
    event.scale.workers = (uint32_t)workers;
    coordinator_feed(c, &event);
    return core_refused(c->core) == refused ? 0 : rk_fail(why, RK_ESTATE, "the job is ending");
}

static void scale_asked(struct coordinator *c, uint64_t client, uint64_t workers)
{
    struct rk_why why = {""};
    int rc = scale(c, workers, &why);

    if (rc != 0)
        reply_why(c, client, rc, why.text);
    else
        reply(c, client, 0, "{}");
}

/* How many workers were told. */
static uint32_t drain_all(struct coordinator *c, const Rk__Request *request)
{
    uint32_t count = 0;
    struct worker_info *worker;
    uint32_t cursor = 0;

    while ((worker = id_map_next(&c->workers.by_id, &cursor)) != NULL) {
        struct core_event event = {.kind = CORE_EV_DRAIN, .now = c->now, .worker = {worker->id}};
        struct core_worker_view view;

        if ((request->number ? request->number != worker->id
                             : strcmp(request->host, worker->host_name) != 0) ||
            !core_worker_find(c->core, event.worker, &view) || view.state == CORE_WORKER_LOST)
            continue;
        event.drain.within = request->within_ns;
        coordinator_feed(c, &event);
        count++;
    }
    return count;
}

static void drain(struct coordinator *c, uint64_t client, const Rk__Request *request)
{
    uint32_t count = c->ended ? 0 : drain_all(c, request);

    if (c->ended)
        reply_why(c, client, RK_ESTATE, "the job is ending");
    else if (count == 0)
        reply_why(c, client, RK_ENOENT,
                  "no such worker is in the job: see `reknit status` for their ids and hosts");
    else
        reply_json(c, client, json_pack("{s:i}", "workers", (int)count));
}

void clients_resize(struct coordinator *c, uint64_t launcher, const Rk__Resize *resize)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Resize answer = RK__RESIZE__INIT;
    struct rk_why why = {""};

    answer.workers = resize->workers;
    answer.code = scale(c, resize->workers, &why);
    answer.why = why.text;
    envelope.body_case = RK__ENVELOPE__BODY_RESIZE;
    envelope.resize = &answer;
    server_send(c->server, launcher, &envelope);
}

static void stop(struct coordinator *c, uint64_t client, uint64_t number)
{
    struct core_event event = {.kind = CORE_EV_STOP, .now = c->now};

    /* `reknit stop` is to the job what SIGTERM is to `reknit run` */
    event.stop.signal = number == SIGINT ? SIGINT : SIGTERM;
    reply(c, client, 0, "{}");
    coordinator_feed(c, &event);
}

static void kill_job(struct coordinator *c, uint64_t client)
{
    struct core_event event = {.kind = CORE_EV_KILL, .now = c->now};

    reply(c, client, 0, "{}");
    coordinator_feed(c, &event);
}

static json_t *supervisor(const struct coordinator *c)
{
    return json_pack("{s:s, s:i, s:i}", "job", c->options.job, "supervisor_pid",
                     (int)c->launches.supervisor_pid, "coordinator_pid", (int)getpid());
}

void clients_request(struct coordinator *c, uint64_t client, const Rk__Request *request)
{
    switch (request->verb) {
    case RK__VERB__VERB_STATUS:
        reply_json(c, client, status_json(c));
        break;
    case RK__VERB__VERB_EVENTS:
        follow(c, client, request->follow);
        break;
    case RK__VERB__VERB_SCALE:
        scale_asked(c, client, request->number);
        break;
    case RK__VERB__VERB_DRAIN:
        drain(c, client, request);
        break;
    case RK__VERB__VERB_STOP:
        stop(c, client, request->number);
        break;
    case RK__VERB__VERB_KILL:
        kill_job(c, client);
        break;
    case RK__VERB__VERB_SUPERVISOR:
        reply_json(c, client, supervisor(c));
        break;
    default:
        reply_why(c, client, RK_EINVAL, "nothing was asked for");
        break;
    }
}
