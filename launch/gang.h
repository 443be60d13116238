/* The option --gang, which four commands have. */
#ifndef RK_LAUNCH_GANG_H
#define RK_LAUNCH_GANG_H

#include "launch/arguments.h"

/* A take function; an enum render_gang is at the offset.  RK_EINVAL names those that there are. */
int argument_gang(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why);

#endif
