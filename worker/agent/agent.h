/* `reknit worker`: the warden and the agent of one worker; see README.md. */
#ifndef RK_WORKER_AGENT_AGENT_H
#define RK_WORKER_AGENT_AGENT_H

/* Runs a worker to its end and returns the process's exit code.  argv[0] is the command's name
 * ("worker"), options follow; --help lists them.  The calling process becomes the warden and must
 * have one thread.  With --write-shard or --load-state (used by agents on their own binary through
 * /proc/self/exe) it moves one checkpoint part instead. */
int command_worker(int argc, char **argv);

#endif
