/* The command line of `reknit coordinator`. */
#ifndef RK_COORDINATOR_OPTIONS_H
#define RK_COORDINATOR_OPTIONS_H

#include "common/error.h"
#include "common/id.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
    const char *job;
    const char *secret; /* see secret_read */
    const char *run_dir;
    const char *state_dir;
    const char *checkpoint_dir; /* NULL: none */
    const char *events;         /* a second place for events, NULL: none */
    const char *backend;
    const char *reduction;
    bool standby_carriers;
    const char *wire; /* f32 or bf16: of gradients between hosts */
    int listen_fd;
    uint32_t min_workers, workers, max_workers;
    uint32_t scale_to; /* --max-workers; 0: none */
    uint32_t spares;
    uint32_t least_epoch; /* 0: the next of the record */
    uint32_t slots, shards, max_restarts, keep;
    uint64_t gather, heartbeat, silence, orphan_timeout; /* ns */
    uint64_t stall_timeout;                              /* ns; 0: never */
    uint64_t launch_timeout;                             /* ns until a launched one says hello */
    uint64_t interval;                                   /* ns between checkpoints, 0: by steps */
    uint64_t interval_steps;                             /* both 0: only the final one */
    bool launcher;
    bool restarted; /* the last one died, as its supervisor saw: what that had ended is over */
    bool copied;    /* somebody keeps copies of the record: here it need not outlive the machine */
    bool print_rules;
    bool help;
};

/* Reads argv (argv[0] is the role's name).  RK_EINVAL says what is wrong with which option. */
int options_parse(struct options *options, int argc, char **argv, struct rk_why *why);
void options_print_help(void);

#endif
