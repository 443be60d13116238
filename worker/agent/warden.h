/* The warden: the first process of a worker, which outlives the agent and leaves nothing behind. */
#ifndef RK_WORKER_AGENT_WARDEN_H
#define RK_WORKER_AGENT_WARDEN_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes the calling process (one thread) the warden and forks the agent.  In the warden it returns
 * only when every descendant is dead: true, with *exit_code being the agent's (128 + n for signal
 * n).  In the agent it returns false at once, with SIGTERM, SIGINT and SIGHUP blocked and *warden
 * set.  `supervised`: somebody else reads the terminal's signals and will say what to do. */
bool warden_start(bool supervised, pid_t *warden, int *exit_code);

#endif
