/* What `reknit run` and the coordinator say to each other; see supervisor.h. */
#include "common/clock.h"
#include "launch/event_text.h"
#include "launch/supervisor.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_EVERY_TERMINAL (200 * RK_MS)
#define STATUS_EVERY (2 * RK_S)
#define REMOTE_SHELL_FAILED 255
#define NOT_EXECUTABLE 126
#define NOT_FOUND 127
#define LINGER_MS 100
#define YOUNG (15 * RK_S) /* a remote shell that fails within this time never got there */

static int say(struct link *link, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    envelope.body_case = kind;
    envelope.launcher_hello = body; /* all members of the union are pointers */
    return link_send(link, &envelope);
}

static int say_request(struct supervisor *s, Rk__Verb verb, uint64_t number)
{
    Rk__Request request = RK__REQUEST__INIT;

    request.verb = verb;
    request.number = number;
    return say(s->requests, RK__ENVELOPE__BODY_REQUEST, &request);
}

static void say_hello(struct supervisor *s)
{
    Rk__LauncherHello hello = RK__LAUNCHER_HELLO__INIT;
    uint32_t *tickets = calloc(s->workers.count + 1, sizeof *tickets);

    if (tickets == NULL)
        return;
    hello.pid = (int32_t)getpid();
    hello.ticket = tickets;
    for (size_t i = 0; i < s->workers.count; i++)
        if (s->workers.worker[i]->relayed.process.pid > 0)
            tickets[hello.n_ticket++] = s->workers.worker[i]->ticket;
    say(s->link, RK__ENVELOPE__BODY_LAUNCHER_HELLO, &hello);
    free(tickets);
}

static void say_failed(struct supervisor *s, uint32_t ticket, const char *why, bool final)
{
    Rk__LaunchFailed failed = RK__LAUNCH_FAILED__INIT;

    failed.ticket = ticket;
    failed.why = (char *)(uintptr_t)why;
    failed.final = final;
    screen_note(s->screen, SCREEN_BAD, why);
    say(s->link, RK__ENVELOPE__BODY_LAUNCH_FAILED, &failed);
}

/* True when the process ended because the worker could not be started at all. */
static bool say_not_started(struct supervisor *s, const struct worker *worker, int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    const char *path = s->options.remote_path != NULL ? s->options.remote_path : s->self;
    char why[400];

    if (code == NOT_FOUND && worker->place.target == NULL)
        snprintf(why, sizeof why, "reknit itself (%.200s) cannot be started", s->self);
    else if (code == NOT_FOUND || code == NOT_EXECUTABLE)
        snprintf(why, sizeof why,
                 "%.200s cannot be executed on %.100s: install reknit there, or give --remote-path",
                 path, worker->place.host_name);
    else if (worker->place.target != NULL && code == REMOTE_SHELL_FAILED &&
             s->now < worker->started + YOUNG)
        snprintf(why, sizeof why, "%.60s cannot reach %.200s: see worker-%u.log", s->options.rsh,
                 worker->place.target, worker->ticket);
    else
        return false;
    say_failed(s, worker->ticket, why, code != REMOTE_SHELL_FAILED);
    return true;
}

void conversation_worker_gone(struct supervisor *s, const struct worker *worker, int status)
{
    Rk__WorkerGone gone = RK__WORKER_GONE__INIT;
    char why[64];

    if (s->ended || say_not_started(s, worker, status))
        return;
    if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof why, "exit code %d", WEXITSTATUS(status));
    gone.ticket = worker->ticket;
    gone.worker = worker->id;
    gone.status = status;
    gone.why = why;
    say(s->link, RK__ENVELOPE__BODY_WORKER_GONE, &gone);
}

/* ---- what comes -------------------------------------------------------------------------------
 */

static void take_launch(struct supervisor *s, const Rk__Launch *launch)
{
    for (size_t i = 0; i < launch->n_ticket && i < launch->n_place && !s->ended; i++) {
        struct rk_why why = {""};

        if (crew_launch(&s->workers, launch->ticket[i], launch->place[i], s->now, &why) != 0)
            say_failed(s, launch->ticket[i], why.text, false);
    }
}

static void take_event(struct supervisor *s, const char *text)
{
    json_t *event = json_loads(text, 0, NULL);
    enum screen_tone tone;
    char sentence[400];
    char clean[400];
    size_t size;

    if (!json_is_object(event)) {
        json_decref(event);
        return;
    }
    event_text(event, &tone, sentence, sizeof sentence);
    size = screen_clean(sentence, strlen(sentence), clean, sizeof clean - 1);
    clean[size] = '\0';
    snprintf(s->status.last_event, sizeof s->status.last_event, "%.*s",
             (int)sizeof s->status.last_event - 1, clean);
    screen_note(s->screen, tone, clean);
    json_decref(event);
}

static void take_status(struct supervisor *s, const char *text)
{
    json_t *status = json_loads(text, 0, NULL);
    const char *state = json_string_value(json_object_get(status, "state"));
    const json_t *loss = json_object_get(status, "loss");

    if (json_is_object(status) && state != NULL) {
        snprintf(s->status.state, sizeof s->status.state, "%.20s", state);
        s->status.step = (uint64_t)event_integer(status, "step", 0);
        s->status.target = (uint32_t)event_integer(status, "target_workers", 0);
        s->status.workers = (uint32_t)json_array_size(json_object_get(status, "workers"));
        s->status.samples_per_s = event_number(status, "samples_per_s", 0);
        s->status.has_loss = json_is_number(loss);
        s->status.loss = json_number_value(loss);
    }
    json_decref(status);
}

static void take_outcome(struct supervisor *s, const Rk__Outcome *outcome)
{
    if (s->report_json == NULL)
        s->report_json = strdup(outcome->report_json);
    supervisor_end(s, outcome->exit_code, outcome->why);
}

static void take(struct supervisor *s, const Rk__Envelope *envelope)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_LAUNCH:
        take_launch(s, envelope->launch);
        break;
    case RK__ENVELOPE__BODY_KILL_WORKER:
        crew_kill(&s->workers, envelope->kill_worker->ticket, envelope->kill_worker->worker);
        break;
    case RK__ENVELOPE__BODY_EVENT:
        take_event(s, envelope->event->json);
        break;
    case RK__ENVELOPE__BODY_REPLY:
        if (envelope->reply->code == 0)
            take_status(s, envelope->reply->text);
        break;
    case RK__ENVELOPE__BODY_OUTCOME:
        take_outcome(s, envelope->outcome);
        break;
    case RK__ENVELOPE__BODY_REFUSED:
        if (envelope->refused->final)
            supervisor_end(s, rk_error_exit_code(envelope->refused->code), envelope->refused->why);
        else if (envelope->refused->code == RK_ESTATE)
            say_hello(s);
        break;
    default:
        break;
    }
}

static void take_all(struct supervisor *s, struct link *link)
{
    Rk__Envelope *envelope;

    while (link_receive(link, &envelope) == 0) {
        take(s, envelope);
        wire_free(envelope);
    }
}

void conversation_turn(struct supervisor *s)
{
    bool up;
    bool requests_up;

    if (s->link == NULL)
        return;
    up = link_up(s->link);
    requests_up = link_up(s->requests);
    take_all(s, s->link);
    take_all(s, s->requests);
    if (up && !s->link_was_up)
        say_hello(s);
    s->link_was_up = up;
    if (s->ended || !requests_up)
        return;
    if (s->stops_said < s->stops_wanted &&
        say_request(s, RK__VERB__VERB_STOP, (uint64_t)s->stop_signal) == 0)
        s->stops_said++;
    if (s->now >= s->next_status && say_request(s, RK__VERB__VERB_STATUS, 0) == 0)
        s->next_status = s->now + (isatty(STDOUT_FILENO) ? STATUS_EVERY_TERMINAL : STATUS_EVERY);
}

void conversation_end(struct supervisor *s)
{
    link_close(s->link, LINGER_MS);
    link_close(s->requests, 0);
    s->link = s->requests = NULL;
}
