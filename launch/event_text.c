/* Events in words; see event_text.h. */
#include "launch/event_text.h"

#include "launch/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *event_name(const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));

    return name != NULL ? name : "";
}

double event_number(const json_t *event, const char *field, double otherwise)
{
    const json_t *value = json_object_get(event, field);

    return json_is_number(value) ? json_number_value(value) : otherwise;
}

int64_t event_integer(const json_t *event, const char *field, int64_t otherwise)
{
    const json_t *value = json_object_get(event, field);

    return json_is_number(value) ? (int64_t)json_number_value(value) : otherwise;
}

json_t *event_string(const char *text)
{
    json_t *value = json_string(text);
    char *plain = value == NULL ? strdup(text) : NULL;

    for (char *at = plain; at != NULL && *at != '\0'; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    if (plain != NULL)
        value = json_string(plain);
    free(plain);
    return value != NULL ? value : json_null();
}

/* Appends `before` and the field, be it a string or a number, when it is there and says something.
 */
static void append_field(char *out, size_t size, const json_t *event, const char *before,
                         const char *field)
{
    const json_t *value = json_object_get(event, field);

    if (json_is_string(value) && json_string_length(value) > 0)
        text_append(out, size, "%s%s", before, json_string_value(value));
    else if (json_is_integer(value))
        text_append(out, size, "%s%" PRId64, before, (int64_t)json_integer_value(value));
    else if (json_is_real(value))
        text_append(out, size, "%s%g", before, json_real_value(value));
}

static void append_milliseconds(char *out, size_t size, const json_t *event, const char *before,
                                const char *field)
{
    double ms = event_number(event, field, -1);
    char time[32];

    if (ms >= 0)
        text_append(out, size, "%s%s", before,
                    text_duration_print((uint64_t)(ms * 1e6), time, sizeof time));
}

static void append_mebibytes(char *out, size_t size, const json_t *event, const char *before,
                             const char *field)
{
    double bytes = event_number(event, field, 0);

    if (bytes > 0)
        text_append(out, size, "%s%.*f MiB", before, bytes < 10e6 ? 1 : 0, bytes / 1048576);
}

bool event_is_loss(const json_t *event)
{
    static const char *const harmless[] = {"none", "scaled", "drained", "stop", "kill"};
    const char *name = event_name(event);
    const char *reason = json_string_value(json_object_get(event, "reason"));

    for (size_t i = 0; reason != NULL && i < sizeof harmless / sizeof harmless[0]; i++)
        if (strcmp(reason, harmless[i]) == 0)
            return false;
    return strcmp(name, "worker_lost") == 0 || strcmp(name, "rank_exited") == 0;
}

const char *event_loss_text(const json_t *event, char *out, size_t size)
{
    bool rank = strcmp(event_name(event), "rank_exited") == 0;
    const char *reason = json_string_value(json_object_get(event, "reason"));
    int64_t signal = event_integer(event, "signal", 0);

    out[0] = '\0';
    append_field(out, size, event,
                 rank                                            ? "rank "
                 : json_is_true(json_object_get(event, "spare")) ? "spare worker "
                                                                 : "worker ",
                 rank ? "rank" : "worker");
    if (out[0] == '\0')
        text_append(out, size, rank ? "a rank" : "a worker");
    append_field(out, size, event, " on ", "host");
    if (!event_is_loss(event))
        text_append(out, size, rank ? " has ended" : " has left");
    else if (reason != NULL && strcmp(reason, "out_of_memory") == 0)
        text_append(out, size, " ran out of memory and was killed: give it more");
    else if (reason != NULL && strcmp(reason, "stalled") == 0)
        text_append(out, size, " hung for too long and was killed");
    else if (signal != 0 && (reason == NULL || strcmp(reason, "stopped") != 0))
        text_append(out, size, " was killed by signal %" PRId64, signal);
    else if (rank && (reason == NULL || strcmp(reason, "exit") == 0))
        text_append(out, size, " ended with exit code %" PRId64,
                    event_integer(event, "exit_code", 0));
    else if (reason != NULL && strcmp(reason, "stopped") == 0)
        text_append(out, size, " stood still and was killed");
    else if (reason != NULL && strcmp(reason, "silent") == 0)
        text_append(out, size, " fell silent");
    else if (reason != NULL && strcmp(reason, "closed") == 0)
        text_append(out, size, " is gone");
    else
        text_append(out, size, " was lost%s%s", reason != NULL ? ": " : "",
                    reason != NULL ? reason : "");
    return out;
}

static void recovered_text(const json_t *event, char *out, size_t size)
{
    const char *mode = json_string_value(json_object_get(event, "mode"));
    const char *carriers = json_string_value(json_object_get(event, "carriers"));
    int64_t losses = event_integer(event, "losses", 1);
    int64_t steps = event_integer(event, "lost_steps", 0);

    text_append(out, size, "recovered %s",
                mode != NULL && strcmp(mode, "in_place") == 0 ? "in place" : "by relaunch");
    if (losses > 1)
        text_append(out, size, " from %" PRId64 " losses", losses);
    append_milliseconds(out, size, event, " in ", "recover_ms");
    text_append(out, size, ", %" PRId64 " step%s lost", steps, steps == 1 ? "" : "s");
    if (carriers != NULL)
        text_append(out, size, ", %s",
                    strcmp(carriers, "standby") == 0 ? "carriers that stood by took over"
                                                     : "carriers were launched again");
}

static void delayed_text(const json_t *event, char *out, size_t size)
{
    text_append(out, size, "carriers%s did not come up, %" PRId64 " times in a row; the next try",
                json_is_true(json_object_get(event, "standby")) ? " that shall stand by" : "",
                event_integer(event, "tries", 1));
    append_milliseconds(out, size, event, " is in ", "wait_ms");
}

static void started_text(const json_t *event, char *out, size_t size)
{
    append_field(out, size, event, "generation ", "generation");
    append_field(out, size, event, ": ", "world_size");
    append_field(out, size, event, " ranks, workers ", "workers");
    if (event_integer(event, "generation", 0) == 1) {
        append_mebibytes(out, size, event, "; a host keeps ", "arena_bytes");
        append_mebibytes(out, size, event, " of shared memory: gradients ", "gradient_bytes");
        append_mebibytes(out, size, event, ", state ", "state_bytes");
        if (event_integer(event, "arena_bytes", 0) > 0)
            text_append(out, size, ", the rest for partial sums and snapshots");
    }
}

static void checkpoint_text(const json_t *event, char *out, size_t size)
{
    text_append(out, size, "checkpoint");
    append_field(out, size, event, " of step ", "step");
    text_append(out, size,
                strcmp(event_name(event), "checkpoint_committed") == 0 ? " committed"
                                                                       : " rejected");
    append_field(out, size, event, ": ", "reason");
}

static void other_text(const json_t *event, char *out, size_t size)
{
    const char *name = event_name(event);

    if (strcmp(name, "job_started") == 0) {
        text_append(out, size, "job started");
        append_field(out, size, event, ", workers ", "workers");
        append_field(out, size, event, ", shards ", "shards");
        append_field(out, size, event, ", reduction ", "reduction");
    } else if (strcmp(name, "job_finished") == 0) {
        text_append(out, size, "job ended");
        append_field(out, size, event, ", exit code ", "exit_code");
        append_field(out, size, event, ", steps ", "steps");
    } else if (strcmp(name, "worker_joined") == 0) {
        append_field(out, size, event, "worker ", "worker");
        text_append(out, size, " joined");
        append_field(out, size, event, " on ", "host");
    } else if (strcmp(name, "drained") == 0) {
        append_field(out, size, event, "worker ", "worker");
        append_field(out, size, event, " on ", "host");
        text_append(out, size, " has handed over, and leaves");
    } else if (strcmp(name, "scaled") == 0) {
        text_append(out, size, "scaled");
        append_field(out, size, event, " to workers ", "workers");
    } else {
        for (const char *at = name; *at != '\0'; at++)
            text_append(out, size, "%c", *at == '_' ? ' ' : *at);
    }
}

const char *event_text(const json_t *event, enum screen_tone *tone, char *out, size_t size)
{
    const char *name = event_name(event);

    out[0] = '\0';
    *tone = SCREEN_PLAIN;
    if (strcmp(name, "recovered") == 0) {
        *tone = SCREEN_GOOD;
        recovered_text(event, out, size);
    } else if (strcmp(name, "carriers_delayed") == 0) {
        *tone = SCREEN_BAD;
        delayed_text(event, out, size);
    } else if (strcmp(name, "worker_lost") == 0 || strcmp(name, "rank_exited") == 0) {
        *tone = event_is_loss(event) ? SCREEN_BAD : SCREEN_QUIET;
        event_loss_text(event, out, size);
        append_milliseconds(out, size, event, ", noticed in ", "detect_ms");
    } else if (strcmp(name, "generation_started") == 0) {
        started_text(event, out, size);
    } else if (strncmp(name, "checkpoint_", 11) == 0) {
        *tone = strcmp(name, "checkpoint_rejected") == 0 ? SCREEN_BAD : SCREEN_QUIET;
        checkpoint_text(event, out, size);
    } else {
        other_text(event, out, size);
    }
    return out;
}
