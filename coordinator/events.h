/* The stream of events: one JSON object a line, in STATE_DIR/events.jsonl, in a file of the user's,
 * and, the newest ones, in memory for clients. */
#ifndef RK_COORDINATOR_EVENTS_H
#define RK_COORDINATOR_EVENTS_H

#include "common/error.h"

#include <jansson.h>
#include <stdint.h>

#define EVENTS_KEPT 4096u

struct events;

/* Opens both files for appending; `extra` may be NULL. */
int events_open(const char *state_dir, const char *extra, struct events **events,
                struct rk_why *why);
void events_close(struct events *events); /* takes NULL */

/* Bytes in events.jsonl when it was opened. */
uint64_t events_offset(const struct events *events);

/* Takes the events that stand behind `offset` of events.jsonl into memory (a coordinator that went
 * before wrote them) and shows each to `see`.  Lines that are not events are passed over. */
void events_replay(struct events *events, uint64_t offset,
                   void (*see)(void *context, const json_t *event), void *context);

/* Appends one.  `event` is {"t":...,"event":NAME,...}; its reference is taken over. */
void events_add(struct events *events, json_t *event);

/* Indices of the oldest event kept and of the one that comes next. */
uint64_t events_first(const struct events *events);
uint64_t events_end(const struct events *events);
/* Its text, or NULL when it is not kept any more.  Valid until the next events_add. */
const char *events_line(const struct events *events, uint64_t index);

/* {"worker_lost": 3, ...}, a new reference. */
json_t *events_counts(const struct events *events);

/* A JSON string of any text: what is not UTF-8 becomes '?'. */
json_t *json_text(const char *text);
/* 16 hex digits. */
json_t *json_id(uint64_t id);
/* Nanoseconds as milliseconds with three digits behind the point. */
json_t *json_ms(uint64_t ns);

#endif
