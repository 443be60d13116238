/* Events of the API; see notices.h.
 *
 * An entry is one Event object.  It is due when `said` is more than `sent`; at most one request of
 * it runs.  Entries are in the order in which they were last said. */
#include "k8s/client/notices.h"

#include "k8s/client/address.h"
#include "k8s/client/loop.h"
#include "k8s/client/object.h"
#include "k8s/client/pace.h"
#include "k8s/client/request.h"
#include "k8s/client/when.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define EVENTS "events.k8s.io/v1"
#define MOST_ENTRIES 512u
#define SERIES (360 * RK_S) /* said again within it counts as the same */
#define PAUSE (10 * RK_S)   /* between two requests of one Event */
#define WORD_MOST 128u

struct entry {
    TAILQ_ENTRY(entry) link;
    struct notices *notices;
    json_t *key; /* what makes two the same */
    char *namespace;
    char *name;                 /* NULL: not sent yet */
    bool fresh;                 /* said since the last turn, whose time is thus not known yet */
    uint64_t said, sent, asked; /* counts; asked: as of the request that runs */
    uint64_t said_at, said_wall, sent_at;
    struct request *request;
};

TAILQ_HEAD(entries, entry);

struct notices {
    struct api *api;
    struct notices_spec spec; /* texts are owned */
    struct entries entries;
    size_t count;
    struct throttle throttle;
    struct timer timer;
    uint64_t number; /* of the next name */
    uint64_t dropped;
};

size_t notice_cut(const char *text, size_t most)
{
    size_t length = strlen(text);

    if (length <= most)
        return length;
    length = most;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

static void free_entry(struct entry *entry)
{
    request_cancel(entry->request);
    json_decref(entry->key);
    free(entry->namespace);
    free(entry->name);
    free(entry);
}

static void drop_entry(struct notices *notices, struct entry *entry)
{
    TAILQ_REMOVE(&notices->entries, entry, link);
    notices->count--;
    free_entry(entry);
}

/* The reference that an Event has to an object. */
static json_t *reference_to(const json_t *object)
{
    json_t *reference = json_pack("{s:s, s:s, s:s}", "kind", object_kind(object), "name",
                                  object_name(object), "uid", object_uid(object));
    const char *version = json_string_value(json_object_get(object, "apiVersion"));

    if (*object_namespace(object) != '\0')
        json_object_set_new(reference, "namespace", json_string(object_namespace(object)));
    if (version != NULL)
        json_object_set_new(reference, "apiVersion", json_string(version));
    return reference;
}

static json_t *cut_text(const char *text, size_t most)
{
    return json_stringn(text, notice_cut(text, most));
}

/* What makes two notices the same, and most of an Event. */
static json_t *key_of(const struct notices *notices, const struct notice *notice)
{
    json_t *key = json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "regarding", reference_to(notice->regarding), "type",
        notice->warning ? "Warning" : "Normal", "reason", cut_text(notice->reason, WORD_MOST),
        "action", cut_text(notice->action, WORD_MOST), "note",
        cut_text(notice->note, NOTICE_NOTE_MOST), "reportingController",
        cut_text(notices->spec.controller, WORD_MOST), "reportingInstance",
        cut_text(notices->spec.instance, WORD_MOST));

    if (key != NULL && notice->related != NULL)
        json_object_set_new(key, "related", reference_to(notice->related));
    return key;
}

/* NAME.HEX as upstream's names are; unique by the time and a number. */
static bool make_name(struct entry *entry)
{
    const char *about =
        json_string_value(json_object_get(json_object_get(entry->key, "regarding"), "name"));

    if (entry->name == NULL &&
        asprintf(&entry->name, "%.*s.%" PRIx64 "%04" PRIx64, (int)strnlen(about, 220), about,
                 entry->said_wall, entry->notices->number++ % 65536) < 0)
        entry->name = NULL;
    return entry->name != NULL;
}

/* The whole Event; NULL: no memory. */
static json_t *body_of(struct entry *entry)
{
    json_t *body = make_name(entry) ? json_pack("{s:s, s:s, s:{s:s, s:s}}", "apiVersion", EVENTS,
                                                "kind", "Event", "metadata", "name", entry->name,
                                                "namespace", entry->namespace)
                                    : NULL;
    char text[WHEN_SIZE];

    if (body != NULL && json_object_update(body, entry->key) == 0 &&
        json_object_set_new(body, "eventTime", json_string(when_micro(entry->said_wall, text))) ==
            0)
        return body;
    json_decref(body);
    return NULL;
}

static int make_entry(struct notices *notices, const struct notice *notice, json_t *key,
                      struct entry **out)
{
    struct entry *entry = calloc(1, sizeof *entry);
    const char *namespace = object_namespace(notice->regarding);

    if (entry == NULL)
        return RK_ENOMEM;
    entry->notices = notices;
    entry->key = json_incref(key);
    entry->namespace = strdup(*namespace != '\0' ? namespace : "default");
    if (entry->namespace == NULL) {
        free_entry(entry);
        return RK_ENOMEM;
    }
    *out = entry;
    return 0;
}

static struct entry *find(const struct notices *notices, const json_t *key, uint64_t now)
{
    struct entry *entry;

    TAILQ_FOREACH(entry, &notices->entries, link)
    {
        if ((entry->fresh || now - entry->said_at < SERIES) && json_equal(entry->key, key))
            return entry;
    }
    return NULL;
}

/* Room for one more: the oldest one that is sent goes, or the oldest of all. */
static void make_room(struct notices *notices)
{
    struct entry *entry;

    if (notices->count < MOST_ENTRIES)
        return;
    TAILQ_FOREACH(entry, &notices->entries, link)
    {
        if (entry->sent == entry->said)
            break;
    }
    if (entry == NULL) {
        entry = TAILQ_FIRST(&notices->entries);
        notices->dropped += entry->said - entry->sent;
    }
    drop_entry(notices, entry);
}

int notices_say(struct notices *notices, const struct notice *notice, struct rk_why *why)
{
    uint64_t now = loop_now(notices->api);
    json_t *key = key_of(notices, notice);
    struct entry *entry = key != NULL ? find(notices, key, now) : NULL;
    int rc = key != NULL ? 0 : RK_ENOMEM;

    if (entry != NULL) {
        TAILQ_REMOVE(&notices->entries, entry, link);
    } else if (rc == 0) {
        make_room(notices);
        rc = make_entry(notices, notice, key, &entry);
        if (rc == 0)
            notices->count++;
    }
    json_decref(key);
    if (rc != 0)
        return rk_fail(why, rc, "no memory for an event");
    TAILQ_INSERT_TAIL(&notices->entries, entry, link);
    entry->said++;
    entry->fresh = true;
    timers_set(loop_timers(notices->api), &notices->timer, 0);
    loop_wake(notices->api);
    return 0;
}

static void on_sent(void *who, const struct response *response)
{
    struct entry *entry = who;
    struct notices *notices = entry->notices;

    entry->request = NULL;
    entry->sent = entry->asked;
    /* AlreadyExists: an earlier try of this very Event got through. */
    if (response->rc != 0 && response->rc != RK_EEXIST) {
        drop_entry(notices, entry);
        if (notices->spec.trouble != NULL)
            notices->spec.trouble(notices->spec.who, response->why);
        return;
    }
    if (entry->said > entry->sent)
        timers_set(loop_timers(notices->api), &notices->timer, 0);
}

/* Adds how often it was said. */
static void add_series(const struct entry *entry, json_t *body)
{
    char text[WHEN_SIZE];

    if (body != NULL)
        json_object_set_new(body, "series",
                            json_pack("{s:I, s:s}", "count", (json_int_t)entry->said,
                                      "lastObservedTime", when_micro(entry->said_wall, text)));
}

static void ask(struct notices *notices, struct entry *entry)
{
    bool first = entry->sent == 0;
    json_t *body = first ? body_of(entry) : json_object();
    struct request_spec spec = {
        .verb = first ? VERB_POST : VERB_PATCH,
        .type = first ? TYPE_JSON : TYPE_MERGE_PATCH,
        .done = on_sent,
        .who = entry,
    };

    if (entry->said > 1)
        add_series(entry, body);
    entry->asked = entry->said;
    entry->sent_at = loop_now(notices->api);
    if (body == NULL)
        return;
    spec.path = api_path(EVENTS, entry->namespace, "events", first ? NULL : entry->name, NULL);
    spec.body = body;
    api_send(notices->api, &spec, &entry->request, NULL);
    json_decref(body);
}

/* When this entry may go; TIMERS_NEVER: there is nothing to be sent. */
static uint64_t due_of(const struct entry *entry)
{
    if (entry->said == entry->sent || entry->request != NULL)
        return TIMERS_NEVER;
    return entry->sent_at == 0 ? 0 : entry->sent_at + PAUSE;
}

static void on_timer(void *who)
{
    struct notices *notices = who;
    uint64_t now = loop_now(notices->api);
    uint64_t next = TIMERS_NEVER;
    struct entry *entry;

    if (notices->throttle.full_rate == 0)
        throttle_init(&notices->throttle, 5, 50, now);
    TAILQ_FOREACH(entry, &notices->entries, link)
    {
        uint64_t due = due_of(entry);

        if (entry->fresh) {
            entry->said_at = now;
            entry->said_wall = loop_wall(notices->api);
            entry->fresh = false;
        }
        if (due <= now) {
            due = throttle_take(&notices->throttle, now);
            if (due == 0) {
                ask(notices, entry);
                due = due_of(entry);
            }
        }
        if (due < next)
            next = due;
    }
    if (next != TIMERS_NEVER)
        timers_set(loop_timers(notices->api), &notices->timer, next);
}

int notices_open(struct api *api, const struct notices_spec *spec, struct notices **out,
                 struct rk_why *why)
{
    struct notices *notices = calloc(1, sizeof *notices);

    if (notices == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for events");
    notices->api = api;
    notices->spec = *spec;
    TAILQ_INIT(&notices->entries);
    notices->timer = (struct timer){.fire = on_timer, .who = notices};
    notices->spec.controller = strdup(spec->controller);
    notices->spec.instance = strdup(spec->instance);
    if (notices->spec.controller == NULL || notices->spec.instance == NULL) {
        notices_close(notices);
        return rk_fail(why, RK_ENOMEM, "no memory for events");
    }
    *out = notices;
    return 0;
}

void notices_close(struct notices *notices)
{
    struct entry *entry;

    if (notices == NULL)
        return;
    timers_stop(loop_timers(notices->api), &notices->timer);
    while ((entry = TAILQ_FIRST(&notices->entries)) != NULL) {
        TAILQ_REMOVE(&notices->entries, entry, link);
        free_entry(entry);
    }
    free((char *)(uintptr_t)notices->spec.controller);
    free((char *)(uintptr_t)notices->spec.instance);
    free(notices);
}

uint64_t notices_dropped(const struct notices *notices)
{
    return notices->dropped;
}

bool notices_are_sent(const struct notices *notices)
{
    const struct entry *entry;

    TAILQ_FOREACH(entry, &notices->entries, link)
    {
        if (entry->said != entry->sent)
            return false;
    }
    return true;
}
