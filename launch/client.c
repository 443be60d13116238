/* Clients of a job; see client.h. */
#include "launch/client.h"

#include "common/clock.h"
#include "launch/directories.h"
#include "launch/lock.h"
#include "launch/surroundings.h"
#include "launch/text.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define STEP_MS 100
#define NAMES_SHOWN 300

/* Names of the jobs that run, up to what fits into `names`; the last one into `name`. */
static size_t list_jobs(const char *base, char *name, size_t name_size, char *names, size_t size)
{
    DIR *folder = opendir(base);
    struct dirent *entry;
    size_t count = 0;

    names[0] = '\0';
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char path[PATH_MAX];
        struct lock_holder holder;

        if (entry->d_name[0] == '.' ||
            (size_t)snprintf(path, sizeof path, "%s/%s/lock", base, entry->d_name) >= sizeof path ||
            !lock_held(path, &holder) || strcmp(holder.who, LOCK_JANITOR) == 0)
            continue;
        snprintf(name, name_size, "%s", entry->d_name);
        text_append(names, size, "%s%s", count++ > 0 ? ", " : "", entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    return count;
}

static int find_job(const char *wanted, const char *base, char *name, size_t size,
                    struct rk_why *why)
{
    char path[PATH_MAX];
    char names[NAMES_SHOWN];
    char last[NAME_MAX + 1] = "";
    struct lock_holder holder;
    size_t count;

    if (wanted != NULL && strchr(wanted, '/') == NULL && strlen(wanted) < size &&
        (size_t)snprintf(path, sizeof path, "%s/%s/lock", base, wanted) < sizeof path &&
        lock_held(path, &holder)) {
        snprintf(name, size, "%s", wanted);
        return 0;
    }
    count = list_jobs(base, last, sizeof last, names, sizeof names);
    if (wanted != NULL && count > 0)
        return rk_fail(why, RK_ENOENT, "no job named '%.63s' is running here; these are: %s",
                       wanted, names);
    if (count == 0)
        return rk_fail(why, RK_ENOENT, "no job%s%.63s%s is running here (looked in %.200s)",
                       wanted != NULL ? " named '" : "", wanted != NULL ? wanted : "",
                       wanted != NULL ? "'" : "", base);
    if (count > 1)
        return rk_fail(why, RK_EINVAL, "several jobs are running, name one: %s", names);
    snprintf(name, size, "%.*s", (int)size - 1, last);
    return 0;
}

int client_open(const char *wanted, struct client *client, struct rk_why *why)
{
    char base[PATH_MAX];
    char path[PATH_MAX];
    struct secret secret;
    bool ours;
    int rc = directories_base(base, sizeof base, &ours, why);

    memset(client, 0, sizeof *client);
    if (rc == 0)
        rc = find_job(wanted, base, client->job, sizeof client->job, why);
    if (rc == 0 &&
        (size_t)snprintf(path, sizeof path, "%s/%s/job.secret", base, client->job) >= sizeof path)
        rc = rk_fail(why, RK_EFULL, "the path %.200s is too long", base);
    if (rc == 0)
        rc = secret_read(&secret, path, why);
    if (rc == 0)
        rc = link_open(&secret, surroundings_random(), &client->link, why);
    return rc;
}

void client_close(struct client *client)
{
    link_close(client->link, STEP_MS);
    client->link = NULL;
}

static void wait_link(struct client *client)
{
    zmq_pollitem_t items[] = {{.socket = link_socket(client->link), .events = ZMQ_POLLIN},
                              {.socket = link_monitor(client->link), .events = ZMQ_POLLIN}};

    zmq_poll(items, 2, STEP_MS);
}

static int send_request(struct client *client, const struct client_request *request,
                        uint64_t deadline, struct rk_why *why)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Request body = RK__REQUEST__INIT;

    body.verb = request->verb;
    if (request->host != NULL)
        body.host = (char *)(uintptr_t)request->host;
    body.within_ns = request->within_ns;
    body.number = request->number;
    body.follow = request->follow;
    envelope.body_case = RK__ENVELOPE__BODY_REQUEST;
    envelope.request = &body;
    while (!link_up(client->link) || link_send(client->link, &envelope) != 0) {
        if (rk_clock_now() >= deadline)
            return rk_fail(why, RK_ETIMEDOUT,
                           "the coordinator of '%s' does not answer; is it being restarted? try "
                           "again in a moment",
                           client->job);
        wait_link(client);
    }
    return 0;
}

/* An error's text is {"why": sentence}. */
static int take_refusal(int code, const char *text, struct rk_why *why)
{
    json_t *value = json_loads(text, 0, NULL);
    const char *sentence = json_string_value(json_object_get(value, "why"));

    rk_fail(why, code, "%s", sentence != NULL ? sentence : text);
    json_decref(value);
    return code;
}

enum answer { ANSWER_MORE, ANSWER_LAST, ANSWER_NONE };

/* Takes one message; *rc is set with ANSWER_LAST. */
static enum answer take_answer(const struct client_request *request, const Rk__Envelope *envelope,
                               char **text, int *rc, struct rk_why *why)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_EVENT:
        *rc = 0;
        if (request->take != NULL && !request->take(request->who, envelope->event->json))
            return ANSWER_LAST;
        return ANSWER_MORE;
    case RK__ENVELOPE__BODY_REPLY:
        *rc = envelope->reply->code;
        if (*rc != 0)
            take_refusal(*rc, envelope->reply->text, why);
        else if (text != NULL)
            *text = strdup(envelope->reply->text);
        return envelope->reply->last || *rc != 0 ? ANSWER_LAST : ANSWER_MORE;
    case RK__ENVELOPE__BODY_REFUSED:
        *rc = rk_fail(why, envelope->refused->code, "%s", envelope->refused->why);
        return ANSWER_LAST;
    default:
        return ANSWER_NONE;
    }
}

int client_ask(struct client *client, const struct client_request *request, char **text,
               struct rk_why *why)
{
    uint64_t deadline = rk_clock_now() + CLIENT_WAIT_MS * RK_MS;
    bool for_ever = request->wait_ms == CLIENT_FOR_EVER;
    int rc = send_request(client, request, deadline, why);

    if (rc != 0)
        return rc;
    deadline = rk_clock_now() + (uint64_t)(for_ever ? 0 : request->wait_ms) * RK_MS;
    for (;;) {
        Rk__Envelope *envelope;
        enum answer answer = ANSWER_NONE;

        while (answer != ANSWER_LAST && link_receive(client->link, &envelope) == 0) {
            answer = take_answer(request, envelope, text, &rc, why);
            wire_free(envelope);
            if (answer == ANSWER_MORE && !for_ever)
                deadline = rk_clock_now() + (uint64_t)request->wait_ms * RK_MS;
        }
        if (answer == ANSWER_LAST)
            return rc;
        if (!link_up(client->link))
            return rk_fail(why, RK_ESTATE, "the connection to the coordinator of '%s' broke",
                           client->job);
        if (!for_ever && rk_clock_now() >= deadline)
            return rk_fail(why, RK_ETIMEDOUT, "the coordinator of '%s' did not answer within %d s",
                           client->job, request->wait_ms / 1000);
        wait_link(client);
    }
}
