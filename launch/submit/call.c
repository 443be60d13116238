/* One request after the other; see submit.h.
 *
 * A command that people wait for may wait itself: each call takes turns of the API until its answer
 * is there. */
#include "launch/submit/submit.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define CALL_DEADLINE (60 * RK_S)
#define FIRST_TRIES 3u /* before anything was answered: the cluster may not be there at all */
#define TRIES 10u

static void take_signals(struct submit *submit)
{
    struct signalfd_siginfo info;
    struct winsize size;

    while (read(submit->signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo != SIGWINCH)
            submit->interrupted = true;
        else if (submit->screen != NULL && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
            screen_resize(submit->screen, size.ws_col);
    }
}

static int wait_ms(const struct submit *submit, uint64_t most)
{
    uint64_t left = submit->deadline > submit->now ? submit->deadline - submit->now : 0;

    if (submit->deadline != 0 && left < most)
        most = left;
    return (int)((most + RK_MS - 1) / RK_MS);
}

int submit_turn(struct submit *submit, uint64_t most, struct rk_why *why)
{
    struct pollfd wait[2] = {{.fd = api_fd(submit->api), .events = POLLIN},
                             {.fd = submit->signals, .events = POLLIN}};

    poll(wait, 2, wait_ms(submit, most));
    submit->now = rk_clock_now();
    submit->wall = rk_clock_wall();
    api_turn(submit->api, submit->now, submit->wall);
    take_signals(submit);
    if (submit->screen != NULL)
        screen_flush(submit->screen);
    submit->late = submit->deadline != 0 && submit->now >= submit->deadline;
    if (submit->interrupted)
        return rk_fail(why, RK_ETIMEDOUT, "interrupted");
    if (submit->late)
        return rk_fail(why, RK_ETIMEDOUT, "the time that --timeout gives has passed");
    return 0;
}

int submit_pause(struct submit *submit, uint64_t time, struct rk_why *why)
{
    uint64_t end = submit->now + time;
    int rc = 0;

    while (rc == 0 && submit->now < end)
        rc = submit_turn(submit, end - submit->now, why);
    return rc;
}

/* ---- calls ---------------------------------------------------------------------------------- */

struct asking {
    struct answer *answer; /* NULL: a text is wanted */
    char *text;
    size_t used, size;
    bool done;
};

static void on_done(void *who, const struct response *response)
{
    struct asking *asking = who;
    struct answer *answer = asking->answer;

    asking->done = true;
    if (answer == NULL)
        return;
    answer->rc = response->rc;
    answer->code = response->code;
    answer->body = json_incref((json_t *)(uintptr_t)response->body);
    snprintf(answer->reason, sizeof answer->reason, "%s", response->reason);
    snprintf(answer->why.text, sizeof answer->why.text, "%s", response->why);
}

static bool on_bytes(void *who, const char *bytes, size_t count)
{
    struct asking *asking = who;

    if (count > asking->size - 1 - asking->used)
        count = asking->size - 1 - asking->used;
    memcpy(asking->text + asking->used, bytes, count);
    asking->used += count;
    return asking->used < asking->size - 1;
}

/* RK_ETIMEDOUT when it ended without an answer. */
static int ask(struct submit *submit, const struct request_spec *spec, const struct asking *asking,
               uint64_t within, struct rk_why *why)
{
    struct request *request = NULL;
    uint64_t end = submit->now + within;
    int rc = api_send(submit->api, spec, &request, why);

    while (rc == 0 && !asking->done) {
        rc = submit_turn(submit, RK_S, why);
        if (rc == 0 && submit->now >= end && !asking->done)
            rc = rk_fail(why, RK_ETIMEDOUT, "the API server does not answer");
        if (rc != 0 && !asking->done)
            request_cancel(request);
    }
    return asking->done ? 0 : rc;
}

int submit_call(struct submit *submit, enum verb verb, char *path, const char *type,
                const json_t *body, struct answer *answer)
{
    struct asking asking = {.answer = answer};
    struct request_spec spec = {.verb = verb,
                                .path = path,
                                .type = type,
                                .body = body,
                                .deadline = CALL_DEADLINE,
                                .tries = json_object_size(submit->kinds) > 0 ? TRIES : FIRST_TRIES,
                                .done = on_done,
                                .who = &asking};
    int rc;

    *answer = (struct answer){.rc = 0};
    rc = ask(submit, &spec, &asking, 2 * CALL_DEADLINE, &answer->why);
    if (rc != 0)
        answer->rc = rc;
    return answer->rc;
}

void submit_call_text(struct submit *submit, char *path, char *text, size_t size)
{
    struct asking asking = {.text = text, .size = size};
    struct request_spec spec = {.verb = VERB_GET,
                                .path = path,
                                .tries = FIRST_TRIES,
                                .bytes = on_bytes,
                                .done = on_done,
                                .who = &asking};

    ask(submit, &spec, &asking, CALL_DEADLINE, NULL);
    text[asking.used] = '\0';
}

void answer_done(struct answer *answer)
{
    json_decref(answer->body);
    answer->body = NULL;
}
