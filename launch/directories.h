/* Where a job lives on disk, and the locks that make it the only one of its name and folder.
 *
 *   BASE/JOB/          lock, job.secret, alive, host-GROUP/: gone when the job ends
 *   STATE/             lock, record, logs/, events.jsonl, report.json: stays
 *
 * BASE is REKNIT_RUNTIME_DIR, else XDG_RUNTIME_DIR/reknit when that can be written, else
 * TMPDIR/reknit-UID.  STATE is CHECKPOINT_DIR/.reknit, else XDG_STATE_HOME/reknit/JOB. */
#ifndef RK_LAUNCH_DIRECTORIES_H
#define RK_LAUNCH_DIRECTORIES_H

#include "common/error.h"
#include "common/id.h"

#include <limits.h>
#include <stdbool.h>

struct directories {
    char name[RK_JOB_NAME_MAX + 1];
    char base[PATH_MAX];
    bool base_ours; /* made for reknit alone: removed when it is empty */
    char run[PATH_MAX];
    char state[PATH_MAX];
    char logs[PATH_MAX];
    int run_lock, state_lock; /* held while open */
    int alive;                /* flock shared: every process of the job inherits it */
};

/* BASE, as above; not made.  RK_EFULL when a path is too long. */
int directories_base(char *base, size_t size, bool *ours, struct rk_why *why);
/* STATE of a job that has no checkpoint directory, not made; RK_EUNAVAILABLE. */
int directories_state(const char *job, char *path, size_t size, struct rk_why *why);

/* Makes and locks all of it for a new run, and sweeps what a dead run of this name left. RK_EEXIST:
 * a job of this name runs, or another job uses the checkpoint directory; the sentence names its
 * pid.  `name_taken` (may be NULL) says that it is the name. */
int directories_open(const char *name, const char *checkpoint_dir, struct directories *directories,
                     bool *name_taken, struct rk_why *why);
/* Lets go of the locks; `remove`: after removing the runtime folder. */
void directories_close(struct directories *directories, bool remove);

/* mkdir -p; RK_EACCES, ... with the name of what could not be made. */
int directories_make(const char *path, unsigned mode, struct rk_why *why);

/* Where the state of `job` is: of a job with a checkpoint directory, what the last run of this name
 * noted.  RK_ENOENT. */
int directories_find_state(const char *job, char *path, size_t size, struct rk_why *why);

#endif
