/* The stream of events; see events.h. */
#include "coordinator/events.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLAY_MAX (64u << 20) /* bytes of earlier events that are read again */
#define LINE_MAX_BYTES 65536u

struct sink {
    int fd; /* -1: none */
    bool failed;
    char path[4096];
};

struct events {
    struct sink sink[2]; /* events.jsonl, the user's */
    char *line[EVENTS_KEPT];
    uint64_t end;
    uint64_t offset;
    json_t *counts;
};

static int sink_open(struct sink *sink, const char *path, struct rk_why *why)
{
    snprintf(sink->path, sizeof sink->path, "%s", path);
    sink->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return sink->fd < 0 ? rk_fail_errno(why, errno, "cannot open %s for events", path) : 0;
}

int events_open(const char *state_dir, const char *extra, struct events **events,
                struct rk_why *why)
{
    struct events *fresh = calloc(1, sizeof *fresh);
    char path[4096];
    struct stat info;
    int rc;

    if (!fresh)
        return rk_fail(why, RK_ENOMEM, "no memory for the events");
    fresh->sink[0].fd = fresh->sink[1].fd = -1;
    fresh->counts = json_object();
    snprintf(path, sizeof path, "%s/events.jsonl", state_dir);
    rc = fresh->counts ? sink_open(&fresh->sink[0], path, why) : RK_ENOMEM;
    if (rc == 0 && extra)
        rc = sink_open(&fresh->sink[1], extra, why);
    if (rc) {
        events_close(fresh);
        return rc;
    }
    if (fstat(fresh->sink[0].fd, &info) == 0)
        fresh->offset = (uint64_t)info.st_size;
    *events = fresh;
    return 0;
}

void events_close(struct events *events)
{
    if (!events)
        return;
    for (size_t i = 0; i < 2; i++)
        if (events->sink[i].fd >= 0)
            close(events->sink[i].fd);
    for (size_t i = 0; i < EVENTS_KEPT; i++)
        free(events->line[i]);
    json_decref(events->counts);
    free(events);
}

uint64_t events_offset(const struct events *events)
{
    return events->offset;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void count(struct events *events, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    json_int_t before;

    if (!name)
        return;
    before = json_integer_value(json_object_get(events->counts, name));
    json_object_set_new(events->counts, name, json_integer(before + 1));
}

static void keep(struct events *events, char *line)
{
    char **slot = &events->line[events->end % EVENTS_KEPT];

    free(*slot);
    *slot = line;
    events->end++;
}

uint64_t events_first(const struct events *events)
{
    return events->end > EVENTS_KEPT ? events->end - EVENTS_KEPT : 0;
}

uint64_t events_end(const struct events *events)
{
    return events->end;
}

const char *events_line(const struct events *events, uint64_t index)
{
    if (index >= events->end || index < events_first(events))
        return NULL;
    return events->line[index % EVENTS_KEPT];
}

json_t *events_counts(const struct events *events)
{
    return json_deep_copy(events->counts);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A full disk loses events, not the job. */
static void sink_write(struct sink *sink, const char *line, size_t size)
{
    ssize_t n;

    if (sink->fd < 0)
        return;
    do {
        n = write(sink->fd, line, size);
    } while (n < 0 && errno == EINTR);
    if ((n < 0 || (size_t)n != size) && !sink->failed)
        rk_warn("events are not written to %s: %s", sink->path, n < 0 ? strerror(errno) : "short");
    sink->failed = n < 0 || (size_t)n != size;
}

/* The user's file first: what a later coordinator finds in ours is in both. */
void events_add(struct events *events, json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(15));
    size_t size = text ? strlen(text) : 0;

    if (text && size < LINE_MAX_BYTES) {
        text[size] = '\n';
        sink_write(&events->sink[1], text, size + 1);
        sink_write(&events->sink[0], text, size + 1);
        text[size] = '\0';
        count(events, event);
        keep(events, text);
    } else {
        rk_warn("an event of %zu bytes is left out", size);
        free(text);
    }
    json_decref(event);
}

/* The line between `text` and `end`, which are not part of a string. */
static void replay_line(struct events *events, const char *text, size_t size,
                        void (*see)(void *context, const json_t *event), void *context)
{
    json_t *event = size > 0 && size < LINE_MAX_BYTES ? json_loadb(text, size, 0, NULL) : NULL;
    char *line;

    if (json_is_string(json_object_get(event, "event"))) {
        line = strndup(text, size);
        if (line) {
            count(events, event);
            keep(events, line);
        }
        see(context, event);
    }
    json_decref(event);
}

static char *read_from(int fd, uint64_t offset, uint64_t end, size_t *size)
{
    char *text;
    size_t used = 0;
    ssize_t n = 1;

    if (end - offset > REPLAY_MAX)
        offset = end - REPLAY_MAX;
    text = malloc((size_t)(end - offset) + 1);
    while (text && n > 0 && offset + used < end) {
        n = pread(fd, text + used, (size_t)(end - offset) - used, (off_t)(offset + used));
        used += n > 0 ? (size_t)n : 0;
    }
    *size = used;
    return text;
}

void events_replay(struct events *events, uint64_t offset,
                   void (*see)(void *context, const json_t *event), void *context)
{
    size_t size = 0;
    char *text;

    if (offset >= events->offset)
        return;
    text = read_from(events->sink[0].fd, offset, events->offset, &size);
    for (size_t at = 0; text && at < size;) {
        const char *newline = memchr(text + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - (text + at)) : size - at;

        replay_line(events, text + at, length, see, context);
        at += length + 1;
    }
    free(text);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    char *plain;

    if (value)
        return value;
    plain = strdup(text);
    for (char *at = plain; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    value = plain ? json_string(plain) : NULL;
    free(plain);
    return value ? value : json_null();
}

json_t *json_id(uint64_t id)
{
    char text[17];

    snprintf(text, sizeof text, "%016" PRIx64, id);
    return json_string(text);
}

json_t *json_ms(uint64_t ns)
{
    return json_real(round((double)ns / 1e3) / 1e3);
}
