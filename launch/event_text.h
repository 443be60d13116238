/* Events of a job in words: one sentence each, for the screen and `reknit events`. */
#ifndef RK_LAUNCH_EVENT_TEXT_H
#define RK_LAUNCH_EVENT_TEXT_H

#include "launch/screen.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of the event, or "". */
const char *event_name(const json_t *event);
/* Its fields, or `otherwise`. */
double event_number(const json_t *event, const char *field, double otherwise);
int64_t event_integer(const json_t *event, const char *field, int64_t otherwise);

/* The sentence, without a time; *tone as it should be shown.  Returns `out`. */
const char *event_text(const json_t *event, enum screen_tone *tone, char *out, size_t size);
/* Of a worker_lost or rank_exited: "rank 2 on vh1 was killed by signal 9".  Returns `out`. */
const char *event_loss_text(const json_t *event, char *out, size_t size);
/* A text of anybody's as JSON: what is not UTF-8 loses all that is not ASCII.  A new reference. */
json_t *event_string(const char *text);
/* True for worker_lost and rank_exited, unless that was meant to happen. */
bool event_is_loss(const json_t *event);

#endif
