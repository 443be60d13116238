/* The one screen at the end of `reknit run`. */
#ifndef RK_LAUNCH_REPORT_H
#define RK_LAUNCH_REPORT_H

#include "launch/history.h"

struct report {
    const char *job;
    int exit_code;
    const char *why;            /* the coordinator's sentence, or "" */
    const char *logs;           /* folder of the log files */
    const char *checkpoint_dir; /* or NULL */
    double wall_s;
    uint64_t dropped; /* lines that were not shown */
    const struct history *history;
};

/* The report as text that the caller frees, or NULL without memory.  For a program that failed it
 * reads the last lines of the rank's log. */
char *report_text(const struct report *report);

/* The newest log of `rank` in `logs`: its path into out.  RK_ENOENT. */
int report_rank_log(const char *logs, int64_t rank, char *out, size_t size);

#endif
