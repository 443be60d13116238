/* Whom `reknit bench recovery` kills: a rank, a carrier, mpirun, or all processes of a host. */
#ifndef RK_LAUNCH_BENCH_VICTIMS_H
#define RK_LAUNCH_BENCH_VICTIMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define VICTIMS_MOST 256u

enum victim { VICTIM_RANK, VICTIM_CARRIER, VICTIM_MPIRUN, VICTIM_HOST, VICTIM_COUNT_ };
extern const char *const victim_names[VICTIM_COUNT_];

/* Reads a word of victim_names; false: it is none of them. */
bool victim_parse(const char *word, enum victim *kind);

/* Whether all that the status of a job shows of carriers is there: one on each of `hosts` hosts,
 * and another that stands by, where `standby` is set. */
bool victims_whole(const json_t *status, size_t hosts, bool standby);

/* Fills `pids` with what is to be killed at once, a random one of its kind, of the job that the
 * environment's REKNIT_JOB calls `job`; returns how many there are, 0: none now. */
size_t victims_pick(const json_t *status, enum victim kind, const char *job,
                    pid_t pids[VICTIMS_MOST]);

#endif
