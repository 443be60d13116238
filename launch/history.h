/* The history of a run as its events tell it: what the report at the end is made of. */
#ifndef RK_LAUNCH_HISTORY_H
#define RK_LAUNCH_HISTORY_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_ROWS 1000u

/* One interruption: a `recovered` event with the loss that began it. */
struct history_row {
    double t; /* seconds since 1970, of the first loss */
    char what[120];
    double detect_ms, recover_ms; /* -1: not known */
    int64_t lost_steps, losses;
    bool in_place;
};

struct history {
    double started, ended; /* seconds since 1970; 0: no such event */
    int64_t steps;         /* -1: not known */
    double goodput;        /* -1: not known */
    double samples_per_s;  /* -1: not known */
    double steps_per_s;
    int exit_code;
    char reason[24]; /* of the end */
    uint64_t checkpoints;
    int64_t checkpoint_step; /* of the newest */
    uint64_t rejected;
    size_t interruptions; /* all of them, also those beyond the rows */
    size_t in_place;
    int64_t lost_steps;
    struct history_row *row; /* freed by history_done */
    size_t rows;
    char pending[120]; /* the first loss since the last `recovered` */
    double pending_t, pending_detect;
    char failed[120];    /* the last loss of a rank */
    int64_t failed_rank; /* -1: none */
};

void history_init(struct history *history);
void history_done(struct history *history);
void history_take(struct history *history, const json_t *event);

/* Takes the speed from the report that comes with the job's outcome. */
void history_speed(struct history *history, const char *report_json);

/* Takes the events in the file `path` from byte `offset` on.  RK_ENOENT, RK_EIO; lines that are
 * not events are passed over. */
int history_read(struct history *history, const char *path, long offset, struct rk_why *why);

#endif
