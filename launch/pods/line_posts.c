/* The workers of a line: wanted from the reconciler, dialled, heard; see line.h.
 *
 * A worker is lost when the cluster says so, when it says goodbye, when it is silent, or when
 * another process answers in its place: whichever comes first. */
#include "launch/pods/line_state.h"

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOPBACK "127.0.0.1"
#define LINGER_MS 100
#define WANT_AGAIN RK_S
#define MESSAGES_A_TURN 4096

/* Before the list of pods is complete we know none. */
static struct post *find_ticket(struct line *line, uint32_t ticket)
{
    for (uint32_t i = 0; line->post != NULL && ticket != 0 && i < line->posts; i++)
        if (line->post[i].ticket == ticket)
            return &line->post[i];
    return NULL;
}

static struct post *find_id(struct line *line, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < line->posts; i++)
        if (line->post[i].id == id)
            return &line->post[i];
    return NULL;
}

static bool same_host(const struct post *post, const char *host, size_t label)
{
    return strcmp(post->address, host) == 0 ||
           (strlen(post->name) == label && strncmp(post->name, host, label) == 0);
}

/* The volume of a hostfile may lag behind, and names the pod that was in a place before. */
struct post *posts_find_host(struct line *line, const char *host)
{
    size_t label = strcspn(host, ".");
    char name[PODS_NAME];
    uint32_t place;
    uint32_t n;

    for (uint32_t i = 0; i < line->posts; i++)
        if (line->post[i].ticket != 0 && same_host(&line->post[i], host, label))
            return &line->post[i];
    snprintf(name, sizeof name, "%.*s", (int)label, host);
    if (pods_name_parse(line->shell->job->name, name, &place, &n) && place < line->posts)
        return &line->post[place];
    return NULL;
}

bool posts_say(struct line *line, const struct post *post, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    if (!post->connected)
        return false;
    envelope.body_case = kind;
    envelope.hello = body; /* all members of the union are pointers */
    return server_send(line->server, post->id, &envelope) == 0;
}

/* ---- losing ---------------------------------------------------------------------------------- */

static void hang_up(struct line *line, struct post *post)
{
    if (post->endpoint[0] != '\0')
        server_hang_up(line->server, post->endpoint);
    post->endpoint[0] = '\0';
    post->connected = false;
}

static void lose(struct line *line, struct post *post, const char *why)
{
    bool used = post->used;

    post->id = 0;
    post->connected = post->used = false;
    post->ready = 0;
    if (used)
        line_restart(line, "worker %s is lost: %s", post->name, why);
}

/* Another pod shall come in its place; `kill`: this one is not known to have ended. */
static void replace(struct line *line, struct post *post, bool kill, uint64_t delay)
{
    hang_up(line, post);
    post->over = kill ? post->ticket : 0;
    post->ticket = 0;
    post->want_at = line->shell->now + delay;
}

static void name_post(struct line *line, uint32_t place)
{
    line->post[place] = (struct post){.place = place};
    pods_name_write(line->shell->job->name, place, 0, line->post[place].name);
}

/* ---- with the reconciler --------------------------------------------------------------------- */

static void step(struct line *line, enum pods_event_kind kind, uint32_t ticket, uint32_t place)
{
    struct pods_event event = {.kind = kind, .ticket = ticket, .place = place};

    cluster_step(line->shell, &event);
}

static void dial(struct line *line, struct post *post, const char *address, const char *uid)
{
    struct rk_why why = {""};
    struct pods_view view;

    hang_up(line, post);
    if (pods_find(line->shell->pods, post->ticket, &view))
        pods_name_write(line->shell->job->name, view.place, view.n, post->name);
    snprintf(post->uid, sizeof post->uid, "%s", uid);
    snprintf(post->address, sizeof post->address, "%s", address);
    snprintf(post->endpoint, sizeof post->endpoint,
             strchr(address, ':') != NULL ? "tcp://[%s]:%u" : "tcp://%s:%u", address,
             line->shell->job->settings.port);
    if (server_dial(line->server, post->endpoint, &why) != 0)
        rk_warn("worker %s: %s", post->name, why.text);
}

bool posts_act(struct line *line, const struct pods_action *action)
{
    struct post *post = find_ticket(line, action->ticket);

    switch (action->kind) {
    case PODS_DO_DIAL:
        if (post != NULL)
            dial(line, post, action->address, action->uid);
        return true;
    case PODS_DO_HANG_UP:
        if (post != NULL)
            hang_up(line, post);
        return true;
    case PODS_DO_GONE:
    case PODS_DO_FAILED:
        if (post == NULL)
            return true;
        lose(line, post, action->text);
        replace(line, post, false, action->kind == PODS_DO_FAILED ? WANT_AGAIN : 0);
        if (action->kind == PODS_DO_FAILED && action->final)
            shell_end(line->shell, rk_error_exit_code(RK_EUNAVAILABLE), action->text);
        return true;
    default:
        return false;
    }
}

static bool is_there(const struct line *line, const struct pods_view *view)
{
    return view->ticket != 0 && view->place < line->posts && view->state >= PODS_WAITING &&
           view->state <= PODS_LEAVING;
}

/* Of two pods at one place the newer is kept. */
static void adopt(struct line *line)
{
    struct pods_view view;
    uint32_t cursor = 0;

    while (pods_next(line->shell->pods, &cursor, &view)) {
        if (line->tickets <= view.ticket)
            line->tickets = view.ticket + 1;
        if (is_there(line, &view) && line->post[view.place].ticket < view.ticket)
            line->post[view.place].ticket = view.ticket;
    }
}

static void dial_known(struct line *line, struct post *post)
{
    char address[PODS_ADDRESS];
    char uid[PODS_UID];
    struct pods_view view;

    if (post->endpoint[0] != '\0' || !pods_find(line->shell->pods, post->ticket, &view) ||
        (view.state != PODS_RUNNING && view.state != PODS_LEAVING) || view.address[0] == '\0')
        return;
    snprintf(address, sizeof address, "%s", view.address);
    snprintf(uid, sizeof uid, "%s", view.uid);
    dial(line, post, address, uid);
}

void posts_tell(struct line *line)
{
    adopt(line);
    step(line, PODS_EV_COORDINATOR, 0, 0);
    for (uint32_t i = 0; i < line->posts; i++) {
        struct post *post = &line->post[i];

        if (post->ticket == 0)
            post->ticket = render_ticket(line->shell->job, i) >= line->tickets
                               ? render_ticket(line->shell->job, i)
                               : line->tickets++;
        step(line, PODS_EV_WANT, post->ticket, i);
    }
    for (uint32_t i = 0; i < line->posts; i++)
        if (line->tickets <= line->post[i].ticket)
            line->tickets = line->post[i].ticket + 1;
    step(line, PODS_EV_TOLD, 0, 0);
    for (uint32_t i = 0; i < line->posts; i++)
        dial_known(line, &line->post[i]);
}

static void want_missing(struct line *line)
{
    bool changed = false;

    for (uint32_t i = 0; i < line->posts; i++) {
        struct post *post = &line->post[i];

        if (post->over != 0)
            step(line, PODS_EV_KILL, post->over, post->place);
        post->over = 0;
        if (post->ticket != 0 || line->shell->now < post->want_at)
            continue;
        post->ticket = line->tickets++;
        changed = true;
        step(line, PODS_EV_WANT, post->ticket, post->place);
    }
    if (changed)
        files_save(line);
}

/* The highest places go.  A run that used one of them begins anew. */
void posts_resize(struct line *line, uint32_t posts)
{
    for (uint32_t i = posts; i < line->posts; i++) {
        struct post *post = &line->post[i];

        lose(line, post, "the job goes on with fewer workers");
        hang_up(line, post);
        if (post->ticket != 0)
            step(line, PODS_EV_KILL, post->ticket, i);
    }
    for (uint32_t i = line->posts; i < posts; i++)
        name_post(line, i);
    line->posts = posts;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void say_begin(struct line *line, const struct post *post)
{
    Rk__LineBegin begin = RK__LINE_BEGIN__INIT;

    begin.line = line->number;
    begin.ask = line->ask;
    posts_say(line, post, RK__ENVELOPE__BODY_LINE_BEGIN, &begin);
}

static void take_hello(struct line *line, uint64_t id, const Rk__Hello *hello)
{
    struct post *post = find_ticket(line, hello->ticket);

    if (post == NULL || strcmp(hello->identity, post->uid) != 0) {
        rk_debug("a worker with ticket %u that is not meant: %s", hello->ticket, hello->host_name);
        return;
    }
    if (post->id != 0 && post->id != id)
        lose(line, post, "its process was started anew");
    if (post->id == 0)
        rk_info("worker %s is there, at %s", post->name, post->address);
    post->id = id;
    post->connected = true;
    post->heard = line->shell->now;
    calls_again(line, post);
    say_begin(line, post);
}

static void take_ready(struct line *line, struct post *post, const Rk__LineReady *ready)
{
    if (ready->line != line->number)
        return;
    if (ready->ask > post->answered)
        post->answered = ready->ask;
    post->ready = ready->broken ? 0 : ready->line;
    if (ready->broken && (post->used || line->state == LINE_GATHERS))
        line_restart(line, "worker %s had not heard of this pod for long, and killed what ran",
                     post->name);
}

static void take_goodbye(struct line *line, struct post *post, const char *why)
{
    lose(line, post, why);
    replace(line, post, true, 0);
}

static void take(struct line *line, const struct server_input *input)
{
    const Rk__Envelope *envelope = input->envelope;
    struct post *post = find_id(line, input->sender);

    if (envelope->body_case == RK__ENVELOPE__BODY_HELLO) {
        take_hello(line, input->sender, envelope->hello);
        return;
    }
    if (post == NULL)
        return;
    post->heard = line->shell->now;
    if (envelope->body_case == RK__ENVELOPE__BODY_LINE_READY)
        take_ready(line, post, envelope->line_ready);
    else if (envelope->body_case == RK__ENVELOPE__BODY_GOODBYE)
        take_goodbye(line, post, envelope->goodbye->why);
    else
        calls_take(line, post, envelope);
}

static void receive(struct line *line)
{
    struct server_input input;

    for (int i = 0; i < MESSAGES_A_TURN && server_next(line->server, &input) == 0; i++) {
        if (input.kind == SERVER_MESSAGE) {
            take(line, &input);
            wire_free(input.envelope);
            continue;
        }
        struct post *post = find_id(line, input.sender);
        if (post != NULL)
            post->connected = false; /* it may come back; silence or the cluster says if not */
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

void posts_ping(struct line *line)
{
    line->ask++;
    line->ping_at = line->shell->now + LINE_PING;
    for (uint32_t i = 0; i < line->posts; i++)
        if (line->post[i].connected)
            say_begin(line, &line->post[i]);
}

static void notice_silence(struct line *line)
{
    char why[64];

    for (uint32_t i = 0; i < line->posts; i++) {
        struct post *post = &line->post[i];

        if (post->id == 0 || line->shell->now < post->heard + LINE_SILENCE)
            continue;
        snprintf(why, sizeof why, "silent for %.1f s",
                 (double)(line->shell->now - post->heard) / (double)RK_S);
        rk_warn("worker %s is given up: %s", post->name, why);
        lose(line, post, why);
        replace(line, post, true, 0);
    }
}

/* When our own loop was late, nobody else was silent. */
static void forgive(struct line *line)
{
    uint64_t late = line->shell->now > line->ping_at ? line->shell->now - line->ping_at : 0;

    for (uint32_t i = 0; late > RK_S && line->ping_at != 0 && i < line->posts; i++)
        line->post[i].heard += late;
}

bool posts_is_ready(const struct line *line, const struct post *post)
{
    return post->connected && post->ready == line->number;
}

void posts_turn(struct line *line)
{
    forgive(line);
    receive(line);
    if (server_highest_epoch(line->server) > line->shell->options.least_epoch)
        shell_leave(line->shell, "another pod has taken this job over");
    if (line->shell->now >= line->ping_at)
        posts_ping(line);
    if (line->state == LINE_OVER)
        return;
    notice_silence(line);
    want_missing(line);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Nobody calls us: the socket listens since the server must have one. */
static int open_server(struct line *line, struct rk_why *why)
{
    struct shell *shell = line->shell;
    char endpoint[sizeof shell->secret.endpoint];
    int fd = -1;
    int rc;

    if (!keeper_epoch(shell, &shell->options.least_epoch))
        return rk_fail(why, RK_ESTATE, "the job has no epoch for this pod");
    rc = coordinator_listen(LOOPBACK, &fd, endpoint, sizeof endpoint, why);
    return rc == 0 ? server_open(&shell->secret, fd, shell->options.least_epoch, &line->server, why)
                   : rc;
}

int posts_open(struct line *line, struct rk_why *why)
{
    uint32_t room = line->shell->resize.most + line->shell->job->settings.spares;

    line->post = calloc(room + 1, sizeof *line->post);
    if (line->post == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for %u workers", room);
    for (uint32_t i = 0; i < line->posts; i++)
        name_post(line, i);
    return open_server(line, why);
}

void posts_close(struct line *line)
{
    server_close(line->server, LINGER_MS);
    free(line->post);
}
