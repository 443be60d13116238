/* What a Role gives.  Pure. */
#ifndef RK_LAUNCH_SUBMIT_ROLES_H
#define RK_LAUNCH_SUBMIT_ROLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether one of `rules`, a Role's, allows the verb on all objects of the resource
 * ("pods", "pods/log") of the group ("" for the core). */
bool roles_allow(const json_t *rules, const char *group, const char *resource, const char *verb);

/* The verbs that `wanted` (rules) has and `rules` has not, as "create pods, get jobs.batch", cut to
 * `size`; returns their number. */
size_t roles_missing(const json_t *rules, const json_t *wanted, char *text, size_t size);

/* "jobs.batch", "pods". */
const char *roles_name(const char *group, const char *resource, char *out, size_t size);

#endif
