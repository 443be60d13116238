/* The role `reknit coordinator`: the shell around the core (DESIGN, "One job, end to end"). */
#ifndef RK_COORDINATOR_COORDINATOR_H
#define RK_COORDINATOR_COORDINATOR_H

#include "common/error.h"

/* Runs a job's coordinator until the job ends; returns the job's exit code. */
int command_coordinator(int argc, char **argv);

/* Before a coordinator with --copied: what the last one left in that folder is replaced by `copy`,
 * the text of a copy of it, where that is newer or a power failure has damaged the folder's; `copy`
 * NULL or empty: nobody has one.  RK_EDATA: the copy is damaged, and needed; RK_EIO, RK_ENOSPC,
 * RK_EACCES. */
int coordinator_restore(const char *state_dir, const char *copy, struct rk_why *why);

#endif
