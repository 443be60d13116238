/* What `reknit pods` and the coordinator say to each other, as the launcher of a job; see shell.h.
 */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "launch/event_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINGER_MS 100

static int say(struct shell *shell, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    if (shell->link == NULL)
        return RK_EAGENT;
    envelope.body_case = kind;
    envelope.launcher_hello = body; /* all members of the union are pointers */
    return link_send(shell->link, &envelope);
}

/* ---- dialling -------------------------------------------------------------------------------- */

static struct dialled *find(struct shell *shell, uint32_t ticket)
{
    for (size_t i = 0; i < shell->dialled_count; i++)
        if (shell->dialled[i].ticket == ticket)
            return &shell->dialled[i];
    return NULL;
}

static void say_dial(struct shell *shell, const char *endpoint, bool hang_up)
{
    Rk__Dial dial = RK__DIAL__INIT;

    dial.endpoint = (char *)(uintptr_t)endpoint;
    dial.hang_up = hang_up;
    say(shell, RK__ENVELOPE__BODY_DIAL, &dial);
}

void talk_dial(struct shell *shell, uint32_t ticket, const char *address)
{
    struct dialled *grown;
    struct dialled *dialled;

    talk_hang_up(shell, ticket);
    grown = realloc(shell->dialled, (shell->dialled_count + 1) * sizeof *grown);
    if (grown == NULL) {
        rk_error_log("no memory to dial worker %u at %s", ticket, address);
        return;
    }
    shell->dialled = grown;
    dialled = &grown[shell->dialled_count++];
    dialled->ticket = ticket;
    snprintf(dialled->endpoint, sizeof dialled->endpoint,
             strchr(address, ':') != NULL ? "tcp://[%s]:%u" : "tcp://%s:%u", address,
             shell->job->settings.port);
    say_dial(shell, dialled->endpoint, false);
}

void talk_hang_up(struct shell *shell, uint32_t ticket)
{
    struct dialled *dialled = find(shell, ticket);

    if (dialled == NULL)
        return;
    say_dial(shell, dialled->endpoint, true);
    *dialled = shell->dialled[--shell->dialled_count];
}

/* ---- what is said ---------------------------------------------------------------------------- */

static bool is_launched(const struct pods_view *view)
{
    return view->ticket != 0 && view->state >= PODS_WAITING && view->state <= PODS_LEAVING;
}

static size_t list_tickets(const struct shell *shell, uint32_t *ticket, size_t room)
{
    struct pods_view view;
    uint32_t cursor = 0;
    size_t count = own_tickets(shell, ticket, room);

    while (count < room && pods_next(shell->pods, &cursor, &view))
        if (is_launched(&view))
            ticket[count++] = view.ticket;
    return count;
}

static void say_hello(struct shell *shell)
{
    Rk__LauncherHello hello = RK__LAUNCHER_HELLO__INIT;
    size_t room = 0;
    uint32_t *ticket;
    char **endpoint;

    for (int state = PODS_WAITING; state <= PODS_LEAVING; state++)
        room += pods_count(shell->pods, (enum pods_state)state);
    room += crew_running(&shell->own.crew);
    ticket = calloc(room + 1, sizeof *ticket);
    endpoint = calloc(shell->dialled_count + 1, sizeof *endpoint);
    if (ticket != NULL && endpoint != NULL) {
        hello.pid = (int32_t)getpid();
        hello.ticket = ticket;
        hello.n_ticket = list_tickets(shell, ticket, room);
        hello.endpoint = endpoint;
        for (size_t i = 0; i < shell->dialled_count; i++)
            endpoint[hello.n_endpoint++] = shell->dialled[i].endpoint;
        say(shell, RK__ENVELOPE__BODY_LAUNCHER_HELLO, &hello);
    }
    free(ticket);
    free(endpoint);
}

/* A coordinator that started, or that we lost: it tells what it wants, and is told again what it
 * has to know. */
static void greet(struct shell *shell)
{
    struct pods_event event = {.kind = PODS_EV_COORDINATOR};

    say_hello(shell);
    cluster_step(shell, &event);
}

void talk_notice(struct shell *shell, const struct pods_action *action)
{
    Rk__Notice notice = RK__NOTICE__INIT;

    notice.ticket = action->ticket;
    if (action->deadline != PODS_NONE && action->deadline > shell->now)
        notice.within_ns = action->deadline - shell->now;
    notice.why = (char *)(uintptr_t)action->text;
    say(shell, RK__ENVELOPE__BODY_NOTICE, &notice);
}

void talk_gone(struct shell *shell, uint32_t ticket, int status, const char *why)
{
    Rk__WorkerGone gone = RK__WORKER_GONE__INIT;

    gone.ticket = ticket;
    gone.status = status;
    gone.why = (char *)(uintptr_t)why;
    say(shell, RK__ENVELOPE__BODY_WORKER_GONE, &gone);
}

void talk_failed(struct shell *shell, uint32_t ticket, bool final, const char *why)
{
    Rk__LaunchFailed failed = RK__LAUNCH_FAILED__INIT;

    failed.ticket = ticket;
    failed.final = final;
    failed.why = (char *)(uintptr_t)why;
    say(shell, RK__ENVELOPE__BODY_LAUNCH_FAILED, &failed);
}

void talk_resize(struct shell *shell, uint32_t workers)
{
    Rk__Resize resize = RK__RESIZE__INIT;

    resize.workers = workers;
    say(shell, RK__ENVELOPE__BODY_RESIZE, &resize);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void take_launch(struct shell *shell, const Rk__Launch *launch)
{
    struct pods_event told = {.kind = PODS_EV_TOLD};

    for (size_t i = 0; i < launch->n_ticket && i < launch->n_place; i++) {
        struct pods_event event = {.kind = PODS_EV_WANT,
                                   .ticket = launch->ticket[i],
                                   .place = launch->place[i] - mpijob_own(shell->job)};

        if (own_has(shell, launch->ticket[i]))
            own_launch(shell, launch->ticket[i], launch->place[i]);
        else
            cluster_step(shell, &event);
    }
    if (launch->all)
        cluster_step(shell, &told);
}

static void take_came(struct shell *shell, const Rk__WorkerCame *came)
{
    for (size_t i = 0; i < came->n_ticket; i++) {
        struct pods_event event = {.kind = PODS_EV_LINK, .ticket = came->ticket[i], .up = true};

        cluster_step(shell, &event);
    }
}

static void take_event(struct shell *shell, const char *text)
{
    json_t *event = json_loads(text, 0, NULL);
    enum screen_tone tone;
    char sentence[400];

    if (json_is_object(event)) {
        rk_info("%s", event_text(event, &tone, sentence, sizeof sentence));
        causes_event(shell, event);
    }
    json_decref(event);
}

static void take_refused(struct shell *shell, const Rk__Refused *refused)
{
    if (refused->final)
        shell_end(shell, rk_error_exit_code(refused->code), refused->why);
    else if (refused->code == RK_ESTATE)
        say_hello(shell);
}

static void take(struct shell *shell, const Rk__Envelope *envelope)
{
    struct pods_event event = {.kind = PODS_EV_KILL};

    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_LAUNCH:
        take_launch(shell, envelope->launch);
        break;
    case RK__ENVELOPE__BODY_WORKER_CAME:
        take_came(shell, envelope->worker_came);
        break;
    case RK__ENVELOPE__BODY_KILL_WORKER:
        event.ticket = envelope->kill_worker->ticket;
        if (own_has(shell, event.ticket))
            own_kill(shell, event.ticket);
        else
            cluster_step(shell, &event);
        break;
    case RK__ENVELOPE__BODY_EVENT:
        take_event(shell, envelope->event->json);
        break;
    case RK__ENVELOPE__BODY_OUTCOME:
        shell_end(shell, envelope->outcome->exit_code, envelope->outcome->why);
        break;
    case RK__ENVELOPE__BODY_RESIZE:
        resize_answer(shell, envelope->resize);
        break;
    case RK__ENVELOPE__BODY_REFUSED:
        take_refused(shell, envelope->refused);
        break;
    default:
        break;
    }
}

void talk_hear(struct shell *shell)
{
    Rk__Envelope *envelope;
    bool up;

    if (shell->link == NULL)
        return;
    up = link_up(shell->link);
    while (shell->link != NULL && link_receive(shell->link, &envelope) == 0) {
        take(shell, envelope);
        wire_free(envelope);
    }
    if (up && !shell->link_was_up)
        greet(shell);
    shell->link_was_up = up;
}

int talk_open(struct shell *shell, struct rk_why *why)
{
    uint64_t id;
    int rc = secret_random_id(&id, why);

    return rc == 0 ? link_open(&shell->secret, id, &shell->link, why) : rc;
}

void talk_close(struct shell *shell)
{
    link_close(shell->link, LINGER_MS);
    shell->link = NULL;
}
