/* Writes the record on a thread of its own where nothing waits for it.
 *
 * Records that are put are written one at a time, the newest only; one that must be there now is
 * written by the caller, after what is under way, and what was put before it is forgotten.  So the
 * file never goes back.  Threads: one caller. */
#ifndef RK_COORDINATOR_RECORDER_H
#define RK_COORDINATOR_RECORDER_H

#include "coordinator/record.h"

struct recorder;

/* Writes to `state_dir`, which the caller keeps, each record durably or not (record_write).
 * RK_ENOMEM; RK_EIO: no thread. */
int recorder_open(const char *state_dir, bool durable, struct recorder **out, struct rk_why *why);
/* Writes what was put, then ends; takes NULL. */
void recorder_close(struct recorder *recorder);

/* In 20 ms, with what is put meanwhile: those who recover do so without the disk.  A failure of
 * either is logged. */
void recorder_put(struct recorder *recorder, const struct record *record);
/* Now: as record_write. */
int recorder_write(struct recorder *recorder, const struct record *record);
/* Whether one that was put found that another coordinator has taken over. */
bool recorder_superseded(struct recorder *recorder);

#endif
