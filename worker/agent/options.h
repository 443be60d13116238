/* The command line of `reknit worker`. */
#ifndef RK_WORKER_AGENT_OPTIONS_H
#define RK_WORKER_AGENT_OPTIONS_H

#include "common/error.h"
#include "common/id.h"

#include <stdbool.h>
#include <stdint.h>

/* Strings point into argv. */
struct agent_options {
    const char *job;
    const char *secret; /* as secret_read takes it */
    uint32_t listen;    /* port, 0: connects */
    uint32_t ticket;
    const char *group;
    const char *host_name;
    const char *address;
    const char *interface; /* between carriers: a name or a network; NULL: that of `address` */
    uint32_t slots;
    const char *run_dir;
    const char *log_dir;        /* NULL: output is not kept */
    const char *checkpoint_dir; /* NULL: none */
    int life_fd;                /* -1: none */
    uint64_t orphan_ns;
    bool serve;     /* start what a user's own command line asks for, and no ranks */
    char **program; /* NULL ended */
    bool help;
};

int agent_options_parse(struct agent_options *options, int argc, char **argv, struct rk_why *why);
void agent_options_print_help(void);

#endif
