/* reknit-rsh under a user's own command line, in the coordinator's pod: it behaves like ssh. */
#ifndef RK_LAUNCH_RSH_LINE_H
#define RK_LAUNCH_RSH_LINE_H

#include "launch/rsh_words.h"

/* Runs the command by way of the socket at `path`; the exit code. */
int rsh_line(const char *path, const struct rsh_words *words);

#endif
