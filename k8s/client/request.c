/* Requests: the queue, the tries, the deadlines; see request.h.
 *
 * A request is in one list at a time, and moves so:
 *
 *     WAITING or PROMPT -> RUNNING  -> done
 *             ^              |
 *             +--- DELAYED <-+        done, or cancelled anywhere -> DEAD, freed by free_dead
 *
 * 1. Every request but one that is DEAD or done has its timer set, from the first turn that sees
 *    it: to the end of its deadline, or to what comes sooner.
 * 2. `done` is called outside of libcurl, as the last thing that is done to a request. */
#include "k8s/client/request.h"
#include "k8s/client/loop.h"
#include "k8s/client/pace.h"
#include "k8s/client/sender.h"
#include "k8s/client/status.h"
#include "k8s/client/transfer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define DEADLINE (60 * RK_S)
#define SILENCE (20 * RK_S)
#define FIRST_ANSWER (30 * RK_S) /* for a stream to begin */
#define TRIES 10u
#define RENEWALS 5u
#define MOST (64u << 20)

/* PROMPT: streams and what is urgent, which are neither counted nor throttled. */
enum place { WAITING, PROMPT, RUNNING, DELAYED, DEAD, PLACES_, DONE };

struct request {
    TAILQ_ENTRY(request) link;
    enum place place;
    struct sender *sender;
    struct request_spec spec; /* path and body are owned, not the spec's */
    char *body;
    size_t size;
    struct timer timer;
    bool seen;
    uint64_t end; /* of the deadline */
    uint64_t tried_at;
    uint64_t again; /* when DELAYED */
    uint32_t tries;
    uint64_t version; /* of the credentials of this try */
    uint64_t refused; /* the version that a 401 was about; 0: none */
    uint32_t renewals;
    struct backoff backoff;
    struct transfer transfer;
    struct rk_why why; /* of the last try */
};

TAILQ_HEAD(requests, request);

struct sender {
    struct api *api;
    struct target target;
    struct credential credential;
    struct throttle throttle;
    bool throttled; /* its clock has begun */
    uint32_t rate, burst, in_flight;
    uint32_t running; /* those that are counted */
    bool multiplexed; /* the server has answered in HTTP/2 */
    struct timer pump;
    struct requests list[PLACES_];
};

static enum place entrance(const struct request_spec *spec)
{
    return spec->bytes != NULL || spec->urgent ? PROMPT : WAITING;
}

static const char *verb_name(enum verb verb)
{
    static const char *const names[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

    return names[verb];
}

static void move(struct request *request, enum place place)
{
    struct sender *sender = request->sender;

    TAILQ_REMOVE(&sender->list[request->place], request, link);
    request->place = place;
    if (place != DONE)
        TAILQ_INSERT_TAIL(&sender->list[place], request, link);
}

/* Back to those that wait, before the ones that no turn has seen. */
static void move_back(struct request *request)
{
    struct sender *sender = request->sender;
    enum place place = entrance(&request->spec);

    TAILQ_REMOVE(&sender->list[request->place], request, link);
    request->place = place;
    TAILQ_INSERT_HEAD(&sender->list[place], request, link);
    timers_set(loop_timers(sender->api), &request->timer, request->end);
}

static void close_transfer(struct request *request)
{
    struct sender *sender = request->sender;

    if (request->transfer.easy == NULL)
        return;
    curl_multi_remove_handle(loop_multi(sender->api), request->transfer.easy);
    transfer_close(&request->transfer);
    if (entrance(&request->spec) == WAITING)
        sender->running--;
}

static void free_request(struct request *request)
{
    timers_stop(loop_timers(request->sender->api), &request->timer);
    close_transfer(request);
    free(request->spec.path);
    free(request->body);
    free(request);
}

/* Tells the owner and ends.  Its memory goes a little later, as that of one that was cancelled. */
static void finish(struct request *request, struct response *response)
{
    timers_stop(loop_timers(request->sender->api), &request->timer);
    move(request, DONE);
    response->why = response->rc != 0 ? request->why.text : "";
    request->spec.done(request->spec.who, response);
    close_transfer(request);
    request->place = DEAD;
    TAILQ_INSERT_TAIL(&request->sender->list[DEAD], request, link);
}

/* Ends without a whole answer of the server. */
static void give_up(struct request *request, int rc)
{
    struct response response = {.rc = rc, .reason = "", .message = ""};

    if (request->transfer.easy != NULL)
        response.code = transfer_code(&request->transfer);
    finish(request, &response);
}

/* The try has failed: waits and tries again, or false when there is no time or no try left. */
static bool try_again(struct request *request, uint64_t wait)
{
    struct sender *sender = request->sender;
    uint64_t now = loop_now(sender->api);

    if (wait == 0)
        wait = backoff_fail(&request->backoff, now, loop_draw(sender->api));
    if (++request->tries >= request->spec.tries || now + wait >= request->end)
        return false;
    close_transfer(request);
    request->again = now + wait;
    move(request, DELAYED);
    timers_set(loop_timers(sender->api), &request->timer, request->again);
    return true;
}

static void fail_try(struct request *request, int rc)
{
    if (!try_again(request, 0))
        give_up(request, rc);
}

/* No byte for too long. */
static void on_silence(struct request *request, uint64_t now)
{
    struct sender *sender = request->sender;

    rk_fail(&request->why, RK_ETIMEDOUT,
            "%s %.200s: no byte came for %" PRIu64 " ms; the connection is given up",
            verb_name(request->spec.verb), request->spec.path,
            (now - request->transfer.heard_at) / RK_MS);
    if (sender->multiplexed)
        loop_break_silent(sender->api, request->tried_at);
    fail_try(request, RK_ETIMEDOUT);
}

static uint64_t silence_of(const struct request *request)
{
    if (!request->transfer.answered && request->spec.silence > FIRST_ANSWER)
        return FIRST_ANSWER;
    return request->spec.silence;
}

static void arm(struct request *request)
{
    uint64_t due = request->transfer.heard_at + silence_of(request);

    timers_set(loop_timers(request->sender->api), &request->timer,
               due < request->end ? due : request->end);
}

static void on_timer(void *who)
{
    struct request *request = who;
    uint64_t now = loop_now(request->sender->api);

    if (now >= request->end) {
        if (request->why.text[0] == '\0')
            rk_fail(&request->why, RK_ETIMEDOUT, "%s %.200s: not done within %" PRIu64 " ms",
                    verb_name(request->spec.verb), request->spec.path,
                    request->spec.deadline / RK_MS);
        give_up(request, RK_ETIMEDOUT);
    } else if (request->place == DELAYED) {
        move_back(request);
    } else if (request->place == RUNNING) {
        if (now >= request->transfer.heard_at + silence_of(request))
            on_silence(request, now);
        else
            arm(request);
    }
}

static bool on_stream(void *who, const char *bytes, size_t count)
{
    struct request *request = who;

    return request->place == RUNNING && request->spec.bytes(request->spec.who, bytes, count) &&
           request->place == RUNNING;
}

/* Takes all that the spec has; the path also when it fails. */
static struct request *new_request(struct sender *sender, const struct request_spec *spec)
{
    struct request *request = spec->path != NULL ? calloc(1, sizeof *request) : NULL;

    if (request == NULL)
        return NULL;
    if (spec->body != NULL) {
        request->body = json_dumps(spec->body, JSON_COMPACT);
        if (request->body == NULL) {
            free(request);
            return NULL;
        }
        request->size = strlen(request->body);
    }
    request->sender = sender;
    request->spec = *spec;
    request->spec.body = NULL;
    request->timer = (struct timer){.fire = on_timer, .who = request};
    request->backoff =
        (struct backoff){.first = RK_S / 4, .most = 10 * RK_S, .healthy = 120 * RK_S};
    return request;
}

int api_send(struct api *api, const struct request_spec *spec, struct request **out,
             struct rk_why *why)
{
    struct sender *sender = loop_sender(api);
    struct request *request = new_request(sender, spec);

    if (request == NULL) {
        free(spec->path);
        return rk_fail(why, RK_ENOMEM, "no memory for a request");
    }
    if (spec->type == NULL)
        request->spec.type = TYPE_JSON;
    if (spec->deadline == 0)
        request->spec.deadline = DEADLINE;
    if (spec->silence == 0)
        request->spec.silence = SILENCE;
    if (spec->tries == 0)
        request->spec.tries = TRIES;
    if (spec->most == 0)
        request->spec.most = MOST;
    request->place = entrance(spec);
    TAILQ_INSERT_TAIL(&sender->list[request->place], request, link);
    loop_wake(api);
    if (out != NULL)
        *out = request;
    return 0;
}

const char *request_trouble(const struct request *request)
{
    return request != NULL ? request->why.text : "";
}

void request_cancel(struct request *request)
{
    if (request == NULL || request->place == DONE || request->place == DEAD)
        return;
    timers_stop(loop_timers(request->sender->api), &request->timer);
    move(request, DEAD);
    loop_wake(request->sender->api);
}

static void start_try(struct request *request)
{
    struct sender *sender = request->sender;
    struct transfer_order order = {.verb = request->spec.verb,
                                   .path = request->spec.path,
                                   .type = request->spec.type,
                                   .body = request->body,
                                   .size = request->size};
    int rc;

    request->tried_at = loop_now(sender->api);
    request->transfer = (struct transfer){.api = sender->api,
                                          .heard_at = request->tried_at,
                                          .most = request->spec.most,
                                          .who = request};
    if (request->spec.bytes != NULL)
        request->transfer.bytes = on_stream;
    rc = transfer_open(&request->transfer, &sender->target, &sender->credential, &order,
                       &request->why);
    if (rc != 0) {
        transfer_close(&request->transfer);
        give_up(request, rc);
        return;
    }
    curl_easy_setopt(request->transfer.easy, CURLOPT_PRIVATE, request);
    request->version = sender->credential.version;
    move(request, RUNNING);
    if (entrance(&request->spec) == WAITING)
        sender->running++;
    arm(request);
    curl_multi_add_handle(loop_multi(sender->api), request->transfer.easy);
}

/* Requests that no turn has seen: their deadline begins now.  They are at the end of the lists. */
static void see_new(struct sender *sender, enum place place)
{
    uint64_t now = loop_now(sender->api);
    struct request *request = TAILQ_LAST(&sender->list[place], requests);

    for (; request != NULL && !request->seen; request = TAILQ_PREV(request, requests, link)) {
        request->seen = true;
        request->end = TIMERS_NEVER;
        if (request->spec.bytes == NULL)
            request->end = now + request->spec.deadline;
        if (request->spec.bytes == NULL)
            timers_set(loop_timers(sender->api), &request->timer, request->end);
    }
}

/* There are no credentials: nobody can be heard, so all try again later. */
static void fail_waiting(struct sender *sender, enum place place, const struct rk_why *why)
{
    struct request *request;

    while ((request = TAILQ_FIRST(&sender->list[place])) != NULL && request->seen) {
        request->why = *why;
        fail_try(request, RK_EUNAVAILABLE);
    }
}

/* True when one may be sent that is counted. */
static bool may_send(struct sender *sender)
{
    uint64_t again;

    if (sender->running >= sender->in_flight)
        return false;
    again = throttle_take(&sender->throttle, loop_now(sender->api));
    if (again != 0)
        timers_set(loop_timers(sender->api), &sender->pump, again);
    return again == 0;
}

static void free_dead(struct sender *sender)
{
    struct request *request;

    while ((request = TAILQ_FIRST(&sender->list[DEAD])) != NULL) {
        TAILQ_REMOVE(&sender->list[DEAD], request, link);
        free_request(request);
    }
}

/* Sends what may go. */
static void start_all(struct sender *sender)
{
    struct request *request;

    while ((request = TAILQ_FIRST(&sender->list[PROMPT])) != NULL && request->seen)
        start_try(request);
    while ((request = TAILQ_FIRST(&sender->list[WAITING])) != NULL && request->seen &&
           may_send(sender))
        start_try(request);
}

void sender_pump(struct sender *sender)
{
    uint64_t now = loop_now(sender->api);
    struct rk_why why = {""};
    int rc;

    if (!sender->throttled)
        throttle_init(&sender->throttle, sender->rate, sender->burst, now);
    sender->throttled = true;
    sender_reap(sender);
    see_new(sender, WAITING);
    see_new(sender, PROMPT);
    if (TAILQ_EMPTY(&sender->list[WAITING]) && TAILQ_EMPTY(&sender->list[PROMPT]))
        return;
    rc = credential_prepare(&sender->credential, now, loop_wall(sender->api), &why);
    if (rc < 0) {
        fail_waiting(sender, PROMPT, &why);
        fail_waiting(sender, WAITING, &why);
    }
    if (rc == 0)
        start_all(sender);
    free_dead(sender);
}

static void on_pump(void *who)
{
    (void)who; /* the turn pumps after its timers */
}

static void on_ready(void *who)
{
    struct sender *sender = who;

    loop_wake(sender->api);
}

/* libcurl says that there was no whole answer. */
static void on_broken(struct request *request, CURLcode result)
{
    const struct transfer *transfer = &request->transfer;
    const char *text = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(result);
    int rc = RK_EUNAVAILABLE;

    if (transfer->too_much)
        rc = rk_fail(&request->why, RK_EFULL, "%s %.200s: the answer is longer than %zu bytes",
                     verb_name(request->spec.verb), request->spec.path, transfer->most);
    else if (transfer->no_memory)
        rc = rk_fail(&request->why, RK_ENOMEM, "no memory for the answer to %s %.200s",
                     verb_name(request->spec.verb), request->spec.path);
    else
        rk_fail(&request->why, rc, "%s %.200s: %.200s", verb_name(request->spec.verb),
                request->spec.path, text);
    if (rc != RK_EUNAVAILABLE) {
        give_up(request, rc);
        return;
    }
    if (result == CURLE_SSL_CONNECT_ERROR || result == CURLE_PEER_FAILED_VERIFICATION ||
        result == CURLE_SSL_CACERT_BADFILE || result == CURLE_SSL_CERTPROBLEM)
        credential_distrust(&request->sender->credential);
    fail_try(request, rc);
}

static bool is_worth_a_try(int code)
{
    return code == 429 || code == 500 || (code >= 502 && code <= 504);
}

/* True when the answer was dealt with: the request will be sent again. */
static bool answer_again(struct request *request, const struct response *response)
{
    struct sender *sender = request->sender;

    /* Read again, they may be others, and those too may have grown old on the way. */
    if (response->code == 401 && request->refused != request->version &&
        request->renewals < RENEWALS && credential_refused(&sender->credential, request->version)) {
        request->refused = request->version;
        request->renewals++;
        close_transfer(request);
        move_back(request);
        return true;
    }
    if (response->code == 429)
        throttle_refused(&sender->throttle, loop_now(sender->api),
                         response->retry_after != 0 ? response->retry_after : RK_S);
    return is_worth_a_try(response->code) && try_again(request, response->retry_after);
}

/* A whole answer came. */
static void on_answer(struct request *request, int code)
{
    struct response response = {
        .code = code, .retry_after = request->transfer.retry_after, .reason = "", .message = ""};
    struct transfer *transfer = &request->transfer;
    bool good = code >= 200 && code < 300;
    json_t *body = NULL;

    if (transfer->used > 0)
        body = json_loadb(transfer->answer, transfer->used, JSON_ALLOW_NUL, NULL);
    response.body = body;
    status_read(&response);
    if (good && body == NULL && request->spec.bytes == NULL && code != 204) {
        rk_fail(&request->why, RK_EPROTO, "%s %.200s: the answer, %zu bytes, is no JSON",
                verb_name(request->spec.verb), request->spec.path, transfer->used);
        fail_try(request, RK_EPROTO);
        return;
    }
    if (good)
        throttle_accepted(&request->sender->throttle);
    else
        response.rc = rk_fail(&request->why, status_code(&response), "%s %.160s: %d %s: %.200s",
                              verb_name(request->spec.verb), request->spec.path, code,
                              response.reason, response.message);
    if (good || !answer_again(request, &response))
        finish(request, &response);
    json_decref(body);
}

static void on_complete(struct request *request, CURLcode result)
{
    struct response response = {.code = 200, .reason = "", .message = ""};
    long version = 0;

    curl_easy_getinfo(request->transfer.easy, CURLINFO_HTTP_VERSION, &version);
    if (version == CURL_HTTP_VERSION_2_0)
        request->sender->multiplexed = true;
    if (request->transfer.enough)
        finish(request, &response);
    else if (result != CURLE_OK)
        on_broken(request, result);
    else
        on_answer(request, transfer_code(&request->transfer));
}

void sender_reap(struct sender *sender)
{
    struct request *request;
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop_multi(sender->api), &left)) != NULL) {
        char *private = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        request = (struct request *)(void *)private;
        if (request->place == RUNNING)
            on_complete(request, message->data.result);
    }
    free_dead(sender);
}

int sender_new(struct api *api, const struct api_options *options, struct sender **out,
               struct rk_why *why)
{
    struct sender *sender = calloc(1, sizeof *sender);
    int rc;

    if (sender == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the client of the API server");
    sender->api = api;
    for (int place = 0; place < PLACES_; place++)
        TAILQ_INIT(&sender->list[place]);
    sender->rate = options->rate != 0 ? options->rate : 50;
    sender->burst = options->burst != 0 ? options->burst : 100;
    sender->in_flight = options->in_flight != 0 ? options->in_flight : 64;
    sender->pump = (struct timer){.fire = on_pump, .who = sender};
    rc = target_init(&sender->target, loop_config(api), options->user_agent, why);
    if (rc != 0) {
        free(sender);
        return rc;
    }
    credential_init(&sender->credential, loop_config(api), api, loop_draw(api), on_ready, sender);
    *out = sender;
    return 0;
}

void sender_free(struct sender *sender)
{
    if (sender == NULL)
        return;
    for (int place = 0; place < PLACES_; place++) {
        struct request *request;

        while ((request = TAILQ_FIRST(&sender->list[place])) != NULL) {
            TAILQ_REMOVE(&sender->list[place], request, link);
            free_request(request);
        }
    }
    timers_stop(loop_timers(sender->api), &sender->pump);
    credential_done(&sender->credential);
    target_done(&sender->target);
    free(sender);
}
