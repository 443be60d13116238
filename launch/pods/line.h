/* The user's own command line, where a job has no program that agents start: it runs in this pod,
 * and what it asks for through `reknit-rsh` runs in the worker pods (worker/serve).
 *
 *     gathers -> settles -> runs -> (it ended well, or by itself) over
 *        ^          |         |
 *        +----------+- ends <-+ a worker was lost
 *
 * Each run is a line with a number.  A worker says that it is ready for a line when it runs nothing
 * of another one, and a line starts when all, or after the gather time enough, are ready: so there
 * is no start that races with a worker's, and nothing of an old line is left when the next begins,
 * be it of an earlier first process of this pod. */
#ifndef RK_LAUNCH_PODS_LINE_H
#define RK_LAUNCH_PODS_LINE_H

#include "launch/pods/shell.h"

#include <stdbool.h>
#include <zmq.h>

#define LINE_ITEMS 5

/* `words`: the command, NULL ended, borrowed.  Sets the variables by which an MPI finds its
 * launch agent and its hosts. */
int line_open(struct shell *shell, char **words, struct rk_why *why);
void line_close(struct shell *shell);

/* Before that: what earlier runs left in this pod is replaced by `copy`, its copy in the cluster,
 * where that is newer; NULL or empty: there is none.  RK_EIO. */
int line_restore(const struct shell *shell, const char *copy, struct rk_why *why);
/* The first list of the job's pods is complete. */
void line_listed(struct shell *shell);
/* The job has so many workers from now on: those that run go on, new ones count from the next run,
 * and a run that used one that goes begins anew.  False: not now. */
bool line_resize(struct shell *shell, uint32_t workers);
/* What the reconciler says about a worker; false: that is for somebody else. */
bool line_act(struct shell *shell, const struct pods_action *action);

/* What to wait for, at most LINE_ITEMS; how many, and until when. */
int line_items(struct shell *shell, zmq_pollitem_t *items);
uint64_t line_deadline(const struct shell *shell);
void line_turn(struct shell *shell);
/* A child of this process is no more. */
void line_reaped(struct shell *shell, pid_t pid);
/* The end of what the command has printed; "" without one.  Valid until the next turn. */
const char *line_last_lines(struct shell *shell);
/* Nothing of it is left here. */
bool line_idle(const struct shell *shell);

#endif
