/* A command and all that comes of it, under one process that can end the whole of it.
 *
 *     whoever starts it (an agent; the first process of the coordinator's pod)
 *       holder     parent of whatever below it loses its own; dies with its starter, and takes
 *                  all along
 *         command  and its descendants, also those that make daemons of themselves
 *
 * The holder says how the command ended as soon as it has, and stays until nothing is left below.
 * When the holder itself is killed by SIGKILL, the command is too, and what else was below it comes
 * to the next such parent above. */
#ifndef RK_WORKER_SERVE_HOLD_H
#define RK_WORKER_SERVE_HOLD_H

#include "common/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct hold {
    char *const *argv; /* argv[0] is looked up in PATH */
    int in, out, err;  /* its standard streams */
};

struct held {
    pid_t pid;  /* of the holder: the caller's child, to be reaped by it; 0: none */
    int status; /* readable when the command has ended; -1: closed */
};

/* Starts it in a session of its own, with default signals, our environment and no descriptor but
 * those three.  When it cannot be executed it says so on `err` and ends with 127 or 126. */
int hold_start(const struct hold *hold, struct held *held, struct rk_why *why);

/* True when the command has ended: *status as of waitpid. */
bool hold_ended(struct held *held, int *status);

/* Kills all that is left, soon. */
void hold_kill(const struct held *held);

/* The holder was reaped, or is of no interest. */
void hold_done(struct held *held);

#endif
