/* Processes as an agent sees them: what /proc says, descriptors that stand for one process and no
 * other (pidfd), and starting one so that it dies with us and inherits nothing by accident. */
#ifndef RK_WORKER_AGENT_PROCESS_H
#define RK_WORKER_AGENT_PROCESS_H

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* From /proc/PID/stat. */
struct process_facts {
    char state; /* 'R', 'S', 'D', 'T' (stopped), 't' (traced), 'Z', ... */
    pid_t parent;
    pid_t group;
    pid_t session;
    uint64_t start; /* ticks since boot: with the pid, a name that is never used twice */
    int status;     /* as of waitpid, once it has begun to end; before, or not ours to know: 0 */
};

/* False when there is no such process. */
bool process_read(pid_t pid, struct process_facts *facts);
/* A stopped process (SIGSTOP) answers nobody; one that a person traces is not one.  0 is none. */
bool process_stopped(pid_t pid);
/* For how long it has been one, as seen by calls that come again and again; `*since` is kept for
 * them, 0 at first. */
uint64_t process_stopped_for(pid_t pid, uint64_t now, uint64_t *since);

/* Whether a signal has killed it and none of its threads has memory any more: it can touch nothing
 * that it shared, though the kernel may take long to free the rest, and `pidfd` tells of nothing
 * before that.  *status as of waitpid.  False when pidfd has told: the number may be another's. */
bool process_is_spent(pid_t pid, int pidfd, int *status);

/* A close-on-exec pidfd of `pid`.  With start != 0 the process must have that start time.
 * RK_ENOENT: there is no such process (any more).  RK_EUNAVAILABLE: there may be; it could not be
 * looked at, for want of descriptors or memory. */
int process_open(pid_t pid, uint64_t start);

/* Whether `pid` is `ancestor` or descends from it, by the parents that /proc names. */
bool process_descends(pid_t pid, pid_t ancestor);

/* SIGKILL to every process of `session` (and of the process group of that number). */
void process_kill_session(pid_t session);

#define SPAWN_KEEP 2

struct spawn {
    const char *file; /* what to execute; NULL: argv[0].  Looked up in PATH */
    char *const *argv;
    char *const *envp;
    int out, err;         /* descriptors for 1 and 2; -1: /dev/null */
    int keep[SPAWN_KEEP]; /* descriptors that are inherited under their own numbers; -1: none */
    unsigned long files;  /* most open files, soft limit; 0: as many as we may have */
};

/* Starts a child in a session of its own with standard input from /dev/null, default signals, and
 * no descriptor but those named; the kernel kills it when the calling thread ends.  *pidfd stands
 * for it.  When the program cannot be executed the child says so on its standard error and exits
 * with 127 (not found) or 126.  Returns its pid, or an error code. */
pid_t process_spawn(const struct spawn *spawn, int *pidfd, struct rk_why *why);

/* The environment `base` without the variables that `set` ("NAME=VALUE", NULL ended) names, and
 * then those; freed with one free().  "NAME=" alone removes NAME.  NULL: no memory. */
char **process_environment(char *const *base, char *const *set);

#endif
