/* The janitor: a small process that removes a job's runtime folder when `reknit run` was killed
 * and could not do it itself.  It waits until every process of the job is gone, within a limit. */
#ifndef RK_LAUNCH_JANITOR_H
#define RK_LAUNCH_JANITOR_H

#include "launch/directories.h"

#include <sys/types.h>

struct janitor {
    pid_t pid;
    int pipe; /* its end means that we are gone */
};

/* `self` is the path of reknit. */
int janitor_start(const char *self, const struct directories *directories, struct janitor *janitor,
                  struct rk_why *why);
/* After the folder was removed in good order: the janitor finds nothing to do and ends. */
void janitor_stop(struct janitor *janitor);

/* `reknit janitor`, the process itself. */
int command_janitor(int argc, char **argv);

#endif
