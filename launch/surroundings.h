/* What surrounds the process: its environment and the kernel's random source.  The one file of
 * launch/ that asks them; the rest is told. */
#ifndef RK_LAUNCH_SURROUNDINGS_H
#define RK_LAUNCH_SURROUNDINGS_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/* The value, or NULL when the variable is unset or empty. */
const char *surroundings_get(const char *name);
void surroundings_set(const char *name, const char *value);
/* A random number that is not 0: an id of a launcher or client. */
uint64_t surroundings_random(void);
/* The path of this very program.  RK_EIO. */
int surroundings_self(char *path, size_t size, struct rk_why *why);
/* The user's home directory, from HOME or the password file; NULL when neither knows. */
const char *surroundings_home(void);

#endif
