/* What survives the coordinator: one small text file, STATE_DIR/record, closed by its checksum.
 *
 * It is replaced whole (new file, fsync, rename, fsync of the folder), so a reader sees the old one
 * or the new one.  Where somebody copies it to where it outlives this machine, it need not outlive
 * a power failure here: then the disk is not waited for, which takes a tenth of a second when
 * others keep it busy, and meanwhile nobody would be told of a loss.  Who may write it is decided
 * by its epoch, compared and swapped under a lock (STATE_DIR/record.lock): a coordinator takes the
 * next epoch before it speaks, and one that finds a higher epoch than its own there has been
 * superseded. */
#ifndef RK_COORDINATOR_RECORD_H
#define RK_COORDINATOR_RECORD_H

#include "common/error.h"
#include "coordinator/core/core.h"

#include <stdbool.h>
#include <stdint.h>

#define RECORD_RUN_MAX 40

struct record {
    char job[RK_JOB_NAME_MAX + 1];
    char run[RECORD_RUN_MAX + 1]; /* one `reknit run`: the job's public key; printable */
    uint64_t started;             /* wall clock when the run began, ns */
    uint64_t events_offset;       /* bytes of events.jsonl that are of earlier runs */
    uint64_t changes;             /* how often it was replaced: the younger copy has more */
    struct core_record core;      /* its epoch is the coordinator's */
};

/* Takes the next epoch: reads what is there, raises the epoch and writes it back.  *again, in:
 * whether one that is over counts, too, as for a coordinator that is started again since the last
 * one died.  Out: a record of the same `run` that counts was there and *record continues it; else
 * *record is a fresh one, of which only epoch, job, run, started (= `wall`) and events_offset (as
 * given) are set.
 * `least` is the least epoch to take, 0: the next.  One that is above the next means that the
 * record is a copy that may be some changes old: names that are counted there go on with a gap.
 * RK_EDATA: the record is damaged; RK_EFULL: no further epoch; RK_EIO, RK_ENOSPC, RK_EACCES,
 * RK_ETIMEDOUT (somebody holds the lock). */
int record_take(const char *state_dir, const char *job, const char *run, uint64_t wall,
                uint64_t events_offset, uint32_t least, struct record *record, bool *again,
                struct rk_why *why);

/* Replaces it (`changes` is counted here); `durable`: on the disk, too, when this returns.
 * RK_ESTALE: another coordinator has taken a higher epoch. */
int record_write(const char *state_dir, const struct record *record, bool durable,
                 struct rk_why *why);

/* Reads it.  RK_ENOENT: none yet; RK_EDATA, RK_EIO, RK_EACCES. */
int record_read(const char *state_dir, struct record *record, struct rk_why *why);

#endif
