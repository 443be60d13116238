/* The role `reknit coordinator`: the shell around the core (DESIGN, "One job, end to end"). */
#ifndef RK_COORDINATOR_COORDINATOR_H
#define RK_COORDINATOR_COORDINATOR_H

/* Runs a job's coordinator until the job ends; returns the job's exit code. */
int command_coordinator(int argc, char **argv);

#endif
