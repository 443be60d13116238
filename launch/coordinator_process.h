/* The coordinator's process: started, and started again when it dies by anything but an orderly
 * end, at most 20 times within a minute. */
#ifndef RK_LAUNCH_COORDINATOR_PROCESS_H
#define RK_LAUNCH_COORDINATOR_PROCESS_H

#include "launch/crew.h"

#define COORDINATOR_STARTS 20u

struct coordinator_process {
    struct relayed relayed;
    int listen_fd; /* bound and listening; each life of the coordinator inherits it */
    uint64_t started[COORDINATOR_STARTS]; /* a ring of the latest starts */
    uint32_t starts;
};

/* Binds and listens at `address`, port of the kernel's choice; `endpoint` is how others reach it.
 */
int coordinator_listen(const char *address, int *fd, char *endpoint, size_t size,
                       struct rk_why *why);
/* This machine's address on the way to `host`; RK_EUNAVAILABLE. */
int coordinator_address_towards(const char *host, char *address, size_t size, struct rk_why *why);

/* Starts it.  RK_EBUDGET: 20 starts within the last minute. */
int coordinator_process_start(struct coordinator_process *process, const struct crew_job *job,
                              uint64_t now, struct rk_why *why);

#endif
