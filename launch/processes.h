/* Starting the processes of a job, and ending whole families of them. */
#ifndef RK_LAUNCH_PROCESSES_H
#define RK_LAUNCH_PROCESSES_H

#include "common/error.h"

#include <sys/types.h>

#define PROCESS_KEEP_MAX 4

struct process_start {
    const char *path; /* looked up in PATH when it has no '/' */
    char *const *argv;
    int in;                     /* its standard input, -1: /dev/null */
    int keep[PROCESS_KEEP_MAX]; /* descriptors that survive the exec; -1: none */
    int death_signal;           /* when we die; 0: none */
};

struct process {
    pid_t pid;
    int out, err; /* our ends of its standard output and error; non-blocking, close-on-exec */
};

/* Starts it in a session of its own with an empty signal mask.  A failed exec ends with 127. */
int process_start(const struct process_start *start, struct process *process, struct rk_why *why);

/* Kills `root` and all below it, the root last, so that nothing slips out to another parent. */
void processes_kill_tree(pid_t root);
/* Kills all our children and below but `spared`, and reaps them, until none is left or `ms` have
 * passed. */
void processes_kill_all(pid_t spared, int ms);

#endif
