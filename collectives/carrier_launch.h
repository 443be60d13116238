/* How one agent starts the carriers of all hosts: the command line of mpirun, the names that stand
 * for the hosts in it, and the environment of mpirun and of the daemons that reknit-rsh has
 * started on the hosts.  No MPI here: mpirun is found in PATH.
 *
 * Ownership: a struct carrier_command owns its strings (carrier_command_done).  Threads: any. */
#ifndef RK_COLLECTIVES_CARRIER_LAUNCH_H
#define RK_COLLECTIVES_CARRIER_LAUNCH_H

#include "common/error.h"

#include <stdint.h>

#define CARRIER_ENV_JOB "REKNIT_CARRIER_JOB"
#define CARRIER_PROGRAM "reknit-carrier"
#define CARRIER_HOST_MAX 32u
#define CARRIER_MAX_HOSTS 1024u

struct carrier_command {
    char **argv; /* NULL ended */
    char **envp; /* NULL ended */
    char *file;  /* what to execute as argv[0]; NULL: argv[0], looked up in PATH */
};

struct carrier_launch {
    uint32_t job;
    uint32_t hosts;         /* 2 .. CARRIER_MAX_HOSTS */
    const char *programs;   /* absolute folder of reknit-carrier and reknit-rsh; NULL: our own */
    const char *interface;  /* of the network between the hosts: carrier_interface(), a CIDR */
    const char *agent;      /* the agent's socket, for reknit-rsh */
    const char *directory;  /* an empty directory of this launch alone, removed after it */
    const char *const *env; /* what to start from, as environ */
};

/* The command to run in any directory with standard input from /dev/null.  mpirun exits when all
 * carriers have; its output is noise for people.  RK_EINVAL, RK_ENOMEM. */
int carrier_launch_command(const struct carrier_launch *launch, struct carrier_command *command,
                           struct rk_why *why);

/* How an agent runs `text`, the command that reknit-rsh asked for, on its own host: sh -c, in the
 * environment that the carrier needs; interface and hosts are not looked at.  It stays in the
 * foreground; its child, the carrier, is in a process group of its own. */
int carrier_launch_daemon(const struct carrier_launch *launch, const char *text,
                          struct carrier_command *command, struct rk_why *why);
void carrier_command_done(struct carrier_command *command);

/* The name of host `index` in job `job`: no real host has it, so that mpirun asks reknit-rsh for
 * every host, its own too.  And back: RK_EINVAL when it is no such name. */
void carrier_host_name(uint32_t job, uint32_t index, char name[CARRIER_HOST_MAX]);
int carrier_host_parse(const char *name, uint32_t *job, uint32_t *index);

/* The network interface that holds the numeric `address` of this host, "lo" for a loopback one.
 * RK_ENOENT when there is none. */
int carrier_interface(const char *address, char *name, uint32_t size, struct rk_why *why);

/* Whether `interface`, a name or a network as 10.1.0.0/16, is one that this host has.  RK_ENOENT
 * lists those that it has, RK_EINVAL when it is no network. */
int carrier_interface_check(const char *interface, struct rk_why *why);

#endif
