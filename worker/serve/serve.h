/* `reknit worker --serve`: in a worker's pod, in sshd's place, starts what a user's own command
 * line asks for through `reknit-rsh` in the coordinator's pod.
 *
 * It has no say in anything: the first process of the coordinator's pod (launch/pods/line*.c)
 * dials it and tells it what to start, what goes to and comes from its standard streams, and what
 * to kill.  What was started for one run of the command line (a `line`) is killed when the next
 * begins, and when nobody has spoken for SERVE_SILENCE. */
#ifndef RK_WORKER_SERVE_SERVE_H
#define RK_WORKER_SERVE_SERVE_H

#include "common/clock.h"
#include "worker/agent/options.h"

#define SERVE_SILENCE (5 * RK_S)

/* To the end of the pod; the process's exit code.  SIGTERM, SIGINT and SIGHUP are blocked. */
int serve_main(const struct agent_options *options);

#endif
