/* From what the server shows of a job to the lines that are worth saying.  Pure.
 *
 * It is told of the Job, its pods and its Events as they are, in any order and as often as one
 * likes, and keeps what it has said.  Changes that are alike and come together are one line with a
 * count, so that a job of thousands of workers says no more than a small one.
 *
 * Ownership: lines are the caller's to drop (fields).  Memory: without any, changes go unsaid. */
#ifndef RK_LAUNCH_SUBMIT_PROGRESS_H
#define RK_LAUNCH_SUBMIT_PROGRESS_H

#include "launch/screen.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct progress;

struct progress_line {
    enum screen_tone tone;
    const char *event; /* "pod_running"; a constant */
    char text[512];
    json_t *fields; /* of the change, or {"pods": [NAME...]} of several; owned by the caller */
};

enum progress_end { PROGRESS_RUNS, PROGRESS_SUCCEEDED, PROGRESS_FAILED, PROGRESS_DELETED };

/* Of one job: events about other objects than it and its pods are passed over.  NULL: no memory. */
struct progress *progress_new(const char *job);
void progress_free(struct progress *progress);

void progress_pod(struct progress *progress, const json_t *object);
void progress_pod_gone(struct progress *progress, const json_t *object);
void progress_job(struct progress *progress, const json_t *job);
void progress_job_gone(struct progress *progress, const json_t *job);
void progress_event(struct progress *progress, const json_t *event);

/* The next line; false: none is left. */
bool progress_take(struct progress *progress, struct progress_line *line);

enum progress_end progress_end(const struct progress *progress);

/* How things stand, for the live line: "3/4 workers run, the coordinator runs".  Returns `out`. */
const char *progress_summary(const struct progress *progress, char *out, size_t size);

#endif
