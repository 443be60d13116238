/* Whether the user's program is there and can be executed, and what to say when not. */
#ifndef RK_LAUNCH_PROGRAM_H
#define RK_LAUNCH_PROGRAM_H

#include "common/error.h"

/* 0, or RK_ENOENT, RK_EACCES with a sentence that tells where was looked.  A name without '/' is
 * looked up in PATH, as execvp does. */
int program_check(const char *program, struct rk_why *why);

#endif
