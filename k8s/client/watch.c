/* List and watch; see watch.h.
 *
 *     LISTING --whole list--> WATCHING --end of stream, from the last version--> WATCHING
 *        ^                       |
 *        +--- 410, no JSON ------+       either, on trouble --> WAITING --> where `next` says
 *
 * 1. `version` is that of the last list, event or bookmark that is in the store as a whole.
 * 2. At most one request runs, and none while WAITING.
 * 3. `depth` counts our functions under which callbacks run; a closed watch goes when it is 0. */
#include "k8s/client/watch.h"

#include "k8s/client/address.h"
#include "k8s/client/loop.h"
#include "k8s/client/object.h"
#include "k8s/client/pace.h"
#include "k8s/client/request.h"
#include "k8s/client/splitter.h"
#include "k8s/client/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 500u
#define LEAST_S 300u
#define MOST_S 600u
#define SLACK (30 * RK_S)
#define LONGEST (8u << 20)
#define PAGE_MOST (64u << 20)
#define LIST_DEADLINE (120 * RK_S)
#define SHORT_LIFE RK_S     /* a stream that ends sooner, with nothing said, has failed */
#define TRIES_OF_VERSION 3u /* before a version that the server has not reached is given up */

enum next { LIST, WATCH };

/* What a stream said that ends it. */
enum verdict { FINE, EXPIRED, BROKEN, REFUSED };

struct watch {
    struct api *api;
    struct watch_spec spec; /* path and selectors are owned */
    struct store *store;
    struct request *request;
    struct timer timer;
    struct backoff backoff;
    enum next next; /* what the timer does */
    uint32_t page;
    char *version;  /* "" : none */
    char *going_on; /* continue; NULL: the first page */
    bool synced;
    bool consistent;   /* list without a version, whatever it costs the server */
    bool whole;        /* list without pages: the server forgot the last ones on the way */
    uint32_t restarts; /* of the list, at once, since one was finished */
    uint32_t ahead;    /* refusals for a version that the server has not reached */
    struct splitter splitter;
    uint64_t started_at;
    uint64_t events;
    enum verdict verdict;
    uint64_t wait;     /* with REFUSED: as the server said */
    int code;          /* with REFUSED and BROKEN */
    struct rk_why why; /* with REFUSED and BROKEN */
    unsigned depth;
    bool closed;
};

static void start_list(struct watch *watch);
static void start_watch(struct watch *watch);

static void free_watch(struct watch *watch)
{
    timers_stop(loop_timers(watch->api), &watch->timer);
    request_cancel(watch->request);
    splitter_done(&watch->splitter);
    store_free(watch->store);
    free(watch->spec.path);
    free((char *)(uintptr_t)watch->spec.labels);
    free((char *)(uintptr_t)watch->spec.fields);
    free(watch->version);
    free(watch->going_on);
    free(watch);
}

static void enter(struct watch *watch)
{
    watch->depth++;
}

static void leave(struct watch *watch)
{
    if (--watch->depth == 0 && watch->closed)
        free_watch(watch);
}

void watch_close(struct watch *watch)
{
    if (watch == NULL || watch->closed)
        return;
    watch->closed = true;
    enter(watch);
    leave(watch);
}

/* Says what is wrong, and comes back after the server's wait or our own. */
static void wait_for(struct watch *watch, enum next next, int code, uint64_t wait, const char *why)
{
    uint64_t now = loop_now(watch->api);

    if (wait == 0)
        wait = backoff_fail(&watch->backoff, now, loop_draw(watch->api));
    watch->next = next;
    timers_set(loop_timers(watch->api), &watch->timer, now + wait);
    if (watch->spec.events.trouble != NULL)
        watch->spec.events.trouble(watch->spec.who, code, why);
}

static void on_timer(void *who)
{
    struct watch *watch = who;

    if (watch->next == LIST)
        start_list(watch);
    else
        start_watch(watch);
}

/* Replaces a text that is owned; what cannot be copied leaves the old one, which is the safe side
 * for a version: events come twice, none is missed. */
static void hold(char **to, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return;
    free(*to);
    *to = copy;
}

static void forget_page(struct watch *watch)
{
    free(watch->going_on);
    watch->going_on = NULL;
}

/* An object of the server's goes into the store, and what it means to the owner. */
static int put(struct watch *watch, json_t *object, struct rk_why *why)
{
    const struct watch_events *events = &watch->spec.events;
    json_t *old;
    int rc;

    if (watch->spec.trim != NULL)
        watch->spec.trim(object);
    rc = store_put(watch->store, object, &old, why);
    if (rc == STORE_REPLACED && events->delete != NULL)
        events->delete (watch->spec.who, old);
    if (rc > STORE_SAME && events->upsert != NULL && !watch->closed)
        events->upsert(watch->spec.who, object, rc == STORE_CHANGED ? old : NULL);
    json_decref(old);
    return rc < 0 ? rc : 0;
}

static void drop(struct watch *watch, json_t *old)
{
    if (old != NULL && watch->spec.events.delete != NULL && !watch->closed)
        watch->spec.events.delete(watch->spec.who, old);
    json_decref(old);
}

/* ---- lists ---- */

/* Items of a list do not say what they are: PodList of v1 holds Pods of v1. */
static void name_kind(const json_t *list, json_t *item)
{
    const char *kind = object_kind(list);
    size_t length = strlen(kind);
    json_t *version = json_object_get(list, "apiVersion");

    if (length > 4 && strcmp(kind + length - 4, "List") == 0 && *object_kind(item) == '\0')
        json_object_set_new(item, "kind", json_stringn(kind, length - 4));
    if (version != NULL && json_object_get(item, "apiVersion") == NULL)
        json_object_set(item, "apiVersion", version);
}

static void end_list(struct watch *watch, const char *version)
{
    json_t *old;

    while (!watch->closed && (old = store_sweep(watch->store)) != NULL)
        drop(watch, old);
    hold(&watch->version, version);
    forget_page(watch);
    watch->synced = true;
    watch->consistent = watch->whole = false;
    watch->restarts = watch->ahead = 0;
    if (!watch->closed && watch->spec.events.end_relist != NULL)
        watch->spec.events.end_relist(watch->spec.who);
    if (!watch->closed)
        start_watch(watch);
}

/* Takes one page; a negative code when it is not what it must be. */
static int take_page(struct watch *watch, const json_t *list, struct rk_why *why)
{
    json_t *items = json_object_get(list, "items");
    int rc = 0;

    if (!json_is_object(list) || *object_version(list) == '\0' ||
        (items != NULL && !json_is_array(items) && !json_is_null(items)))
        return rk_fail(why, RK_EPROTO, "GET %.200s: the answer is no list", watch->spec.path);
    if (watch->going_on == NULL) {
        store_mark(watch->store);
        if (watch->spec.events.begin_relist != NULL)
            watch->spec.events.begin_relist(watch->spec.who);
    }
    for (size_t i = 0; i < json_array_size(items) && rc == 0 && !watch->closed; i++) {
        name_kind(list, json_array_get(items, i));
        rc = put(watch, json_array_get(items, i), why);
    }
    return rc;
}

static void on_page(struct watch *watch, const json_t *list)
{
    const char *going_on =
        json_string_value(json_object_get(json_object_get(list, "metadata"), "continue"));
    struct rk_why why = {""};
    int rc = take_page(watch, list, &why);

    if (watch->closed)
        return;
    if (rc != 0) {
        forget_page(watch);
        wait_for(watch, LIST, 200, 0, why.text);
    } else if (going_on != NULL && *going_on != '\0') {
        forget_page(watch);
        watch->going_on = strdup(going_on);
        if (watch->going_on != NULL)
            start_list(watch);
        else
            wait_for(watch, LIST, 200, 0, "no memory to go on with a list");
    } else {
        end_list(watch, object_version(list));
    }
}

/* A list begins again from its first page: at once, unless that was tried just now. */
static void restart_list(struct watch *watch, const struct response *response)
{
    forget_page(watch);
    if (watch->restarts++ == 0)
        start_list(watch);
    else
        wait_for(watch, LIST, response->code, response->retry_after, response->why);
}

static void on_list_failed(struct watch *watch, const struct response *response)
{
    bool ahead = status_has_cause(response->body, "ResourceVersionTooLarge");

    if (response->code == 410 || ahead) {
        watch->consistent = true;
        watch->whole = watch->going_on != NULL;
        restart_list(watch, response);
    } else if (response->rc == RK_EFULL && (watch->page > 1 || watch->whole)) {
        if (!watch->whole)
            watch->page /= 2;
        watch->whole = false;
        forget_page(watch);
        start_list(watch);
    } else {
        forget_page(watch);
        wait_for(watch, LIST, response->code, response->retry_after, response->why);
    }
}

static void on_list(void *who, const struct response *response)
{
    struct watch *watch = who;

    enter(watch);
    watch->request = NULL;
    if (response->rc == 0)
        on_page(watch, response->body);
    else
        on_list_failed(watch, response);
    leave(watch);
}

static char *make_path(const struct watch *watch)
{
    char *path = strdup(watch->spec.path);

    if (watch->spec.labels != NULL)
        api_query(&path, "labelSelector", watch->spec.labels);
    if (watch->spec.fields != NULL)
        api_query(&path, "fieldSelector", watch->spec.fields);
    return path;
}

static void ask(struct watch *watch, enum next what, const struct request_spec *spec)
{
    struct rk_why why = {""};

    if (api_send(watch->api, spec, &watch->request, &why) == 0)
        return;
    forget_page(watch);
    wait_for(watch, what, 0, 0, why.text);
}

static void start_list(struct watch *watch)
{
    struct request_spec spec = {.verb = VERB_GET,
                                .path = make_path(watch),
                                .deadline = LIST_DEADLINE,
                                .most = watch->spec.page_most,
                                .done = on_list,
                                .who = watch};
    char number[16];

    snprintf(number, sizeof number, "%u", watch->page);
    if (!watch->whole)
        api_query(&spec.path, "limit", number);
    /* A continue token carries its version; the server refuses both.  Without NotOlderThan a list
     * in pages is of exactly that version, and shows nothing that is newer. */
    if (watch->going_on != NULL) {
        api_query(&spec.path, "continue", watch->going_on);
    } else if (*watch->version != '\0' && !watch->consistent) {
        api_query(&spec.path, "resourceVersion", watch->version);
        api_query(&spec.path, "resourceVersionMatch", "NotOlderThan");
        spec.tries = TRIES_OF_VERSION;
    }
    ask(watch, LIST, &spec);
}

/* ---- streams ---- */

/* What could not be read is in no list that may be as old as what we have: a consistent one then.
 */
static void stop_broken(struct watch *watch)
{
    watch->verdict = BROKEN;
    watch->consistent = true;
    watch->code = 200;
}

static void on_error_event(struct watch *watch, const json_t *status)
{
    struct response response = {.code = (int)json_integer_value(json_object_get(status, "code")),
                                .body = status};

    status_read(&response);
    watch->code = response.code;
    watch->wait = response.retry_after;
    watch->verdict = REFUSED;
    if (response.code == 410 || strcmp(response.reason, "Expired") == 0 ||
        strcmp(response.reason, "Gone") == 0)
        watch->verdict = EXPIRED;
    rk_fail(&watch->why, RK_EUNAVAILABLE,
            "the watch of %.200s was ended by the server: %d %s: %.150s", watch->spec.path,
            response.code, response.reason, response.message);
}

/* An event that is an object; false: the stream ends here. */
static bool on_object(struct watch *watch, const char *type, json_t *object)
{
    json_t *old = NULL;
    int rc = 0;

    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
        rc = put(watch, object, &watch->why);
    else if (strcmp(type, "DELETED") == 0)
        rc = store_remove(watch->store, object, &old, &watch->why);
    else if (strcmp(type, "BOOKMARK") != 0 || *object_version(object) == '\0')
        rc = rk_fail(&watch->why, RK_EPROTO, "the watch of %.200s brought a '%.40s', not an event",
                     watch->spec.path, type);
    if (rc != 0) {
        stop_broken(watch);
        return false;
    }
    drop(watch, old);
    if (watch->closed)
        return false;
    hold(&watch->version, object_version(object));
    return true;
}

static bool on_line(void *who, const char *line, size_t length)
{
    struct watch *watch = who;
    json_t *event = json_loadb(line, length, JSON_ALLOW_NUL, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    bool more = false;

    if (type == NULL || !json_is_object(object)) {
        rk_fail(&watch->why, RK_EPROTO, "the watch of %.200s brought %zu bytes that are no event",
                watch->spec.path, length);
        stop_broken(watch);
    } else if (strcmp(type, "ERROR") == 0) {
        on_error_event(watch, object);
    } else {
        watch->events++;
        more = on_object(watch, type, object);
    }
    json_decref(event);
    return more;
}

static bool on_bytes(void *who, const char *bytes, size_t count)
{
    struct watch *watch = who;
    bool more;
    int rc;

    enter(watch);
    rc = splitter_feed(&watch->splitter, bytes, count, on_line, watch, &watch->why);
    if (rc < 0)
        stop_broken(watch);
    more = rc == 0 && !watch->closed;
    leave(watch);
    return more;
}

/* The server will not give what comes after `version`; its whole state then. */
static void relist(struct watch *watch)
{
    struct response response = {.code = 410, .why = watch->why.text};

    restart_list(watch, &response);
}

static void on_refused(struct watch *watch, const struct response *response)
{
    if (status_has_cause(response->body, "ResourceVersionTooLarge") &&
        ++watch->ahead >= TRIES_OF_VERSION) {
        watch->consistent = true;
        wait_for(watch, LIST, response->code, response->retry_after, response->why);
        return;
    }
    wait_for(watch, WATCH, response->code, response->retry_after, response->why);
}

/* A stream that ended by itself, or broke: on at once if it was of use. */
static void go_on(struct watch *watch, const struct response *response)
{
    uint64_t life = loop_now(watch->api) - watch->started_at;

    if (watch->events > 0 || life >= SHORT_LIFE)
        start_watch(watch);
    else
        wait_for(watch, WATCH, response->code, 0,
                 response->rc != 0 ? response->why : "a watch ended at once and brought nothing");
}

static void on_end(void *who, const struct response *response)
{
    struct watch *watch = who;

    enter(watch);
    watch->request = NULL;
    splitter_reset(&watch->splitter);
    if (watch->verdict == EXPIRED || response->code == 410)
        relist(watch);
    else if (watch->verdict == BROKEN)
        wait_for(watch, LIST, watch->code, 0, watch->why.text);
    else if (watch->verdict == REFUSED)
        wait_for(watch, WATCH, watch->code, watch->wait, watch->why.text);
    else if (response->code == 200)
        go_on(watch, response);
    else
        on_refused(watch, response);
    leave(watch);
}

static void start_watch(struct watch *watch)
{
    uint32_t seconds =
        (uint32_t)draw_between(loop_draw(watch->api), watch->spec.least_s, watch->spec.most_s);
    struct request_spec spec = {.verb = VERB_GET,
                                .path = make_path(watch),
                                .silence = seconds * RK_S + watch->spec.slack,
                                .tries = 1,
                                .bytes = on_bytes,
                                .done = on_end,
                                .who = watch};
    char number[16];

    snprintf(number, sizeof number, "%u", seconds);
    api_query(&spec.path, "watch", "1");
    api_query(&spec.path, "allowWatchBookmarks", "true");
    api_query(&spec.path, "resourceVersion", watch->version);
    api_query(&spec.path, "timeoutSeconds", number);
    watch->events = 0;
    watch->verdict = FINE;
    watch->started_at = loop_now(watch->api);
    ask(watch, WATCH, &spec);
}

/* ---- life ---- */

static void fill_in(struct watch_spec *spec)
{
    if (spec->page == 0)
        spec->page = PAGE;
    if (spec->least_s == 0)
        spec->least_s = LEAST_S;
    if (spec->most_s == 0)
        spec->most_s = MOST_S;
    if (spec->most_s < spec->least_s)
        spec->most_s = spec->least_s;
    if (spec->slack == 0)
        spec->slack = SLACK;
    if (spec->longest == 0)
        spec->longest = LONGEST;
    if (spec->page_most == 0)
        spec->page_most = PAGE_MOST;
}

static struct watch *new_watch(struct api *api, const struct watch_spec *spec)
{
    struct watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL) {
        free(spec->path);
        return NULL;
    }
    watch->api = api;
    watch->spec = *spec;
    fill_in(&watch->spec);
    watch->spec.labels = spec->labels != NULL ? strdup(spec->labels) : NULL;
    watch->spec.fields = spec->fields != NULL ? strdup(spec->fields) : NULL;
    watch->version = strdup("");
    watch->page = watch->spec.page;
    watch->splitter.most = watch->spec.longest;
    watch->timer = (struct timer){.fire = on_timer, .who = watch};
    watch->backoff =
        (struct backoff){.first = 800 * RK_MS, .most = 30 * RK_S, .healthy = 120 * RK_S};
    if (spec->path != NULL && watch->version != NULL &&
        (watch->spec.labels != NULL || spec->labels == NULL) &&
        (watch->spec.fields != NULL || spec->fields == NULL))
        return watch;
    free_watch(watch);
    return NULL;
}

int watch_open(struct api *api, const struct watch_spec *spec, struct watch **out,
               struct rk_why *why)
{
    struct watch *watch = new_watch(api, spec);
    int rc;

    if (watch == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a watch");
    rc = store_new(&watch->store, why);
    if (rc != 0) {
        free_watch(watch);
        return rc;
    }
    start_list(watch);
    *out = watch;
    return 0;
}

const struct store *watch_store(const struct watch *watch)
{
    return watch->store;
}

bool watch_is_synced(const struct watch *watch)
{
    return watch->synced;
}

const char *watch_version(const struct watch *watch)
{
    return watch->version;
}
