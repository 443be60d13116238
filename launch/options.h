/* What `reknit run` was asked for. */
#ifndef RK_LAUNCH_OPTIONS_H
#define RK_LAUNCH_OPTIONS_H

#include "common/error.h"
#include "launch/arguments.h"
#include "launch/hosts.h"

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_MAX_WORKERS 1024u

struct run_options {
    const char *workers; /* as given, or made from the hosts */
    char workers_text[32];
    uint32_t min_workers, max_workers;
    uint32_t spares;
    uint32_t slots; /* ranks of the largest worker */
    uint32_t shards;
    uint32_t virtual_hosts; /* 0: none */
    const char *hosts_text;
    struct hosts hosts; /* empty: all on this machine */
    const char *rsh;
    const char *remote_path;
    const char *address;
    const char *name; /* NULL: from the program's name */
    const char *backend;
    const char *checkpoint_dir; /* absolute, or NULL */
    char *checkpoint_path;      /* owns it */
    const char *checkpoint_interval;
    uint32_t keep;
    uint32_t max_restarts;
    const char *reduction;
    const char *wire;
    const char *standby_carriers; /* yes or no */
    const char *interface;        /* NULL: that of the workers' addresses */
    const char *events;
    bool quiet;
    uint32_t most_workers;   /* that the job may be scaled to; 0: as `workers` says */
    uint32_t least_epoch;    /* of the coordinator; 0: its record says */
    bool copied;             /* its record is copied to where it outlives this machine */
    uint64_t launch_timeout; /* ns; 0: the coordinator's own */
    uint64_t gather, heartbeat, silence, orphan; /* ns */
    uint64_t stall;                              /* ns; 0: never */
    char **program;                              /* NULL ended */
};

extern const struct command run_command;

/* Parses and checks argv[1..] into *options, to be freed by run_options_done whatever the return.
 * argv is reordered and must live as long as *options.  0, ARGUMENTS_HELP, or RK_EINVAL,
 * RK_EUNAVAILABLE (a thing that is not in this version, a program that is not there), RK_ENOENT,
 * RK_EACCES, ... with the sentence. */
int run_options_parse(int argc, char **argv, struct run_options *options, struct rk_why *why);
void run_options_done(struct run_options *options);

/* The ranks of the largest world these options allow. */
uint32_t run_options_largest_world(const struct run_options *options);

/* The shards of a batch for a world of so many ranks at most, unless it is said. */
uint32_t run_options_shards(uint32_t world);

/* The job's name made from a program's path: lower case letters, digits and '-', at most
 * RK_JOB_NAME_MAX bytes.  `number` > 1 is appended. */
void run_options_name_of(const char *program, unsigned number, char *name, size_t size);

#endif
