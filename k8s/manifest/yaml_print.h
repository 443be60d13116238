/* JSON values as YAML that kubectl and every other reader takes, the same bytes for the same value.
 *
 * Keys stand in the order of the object.  A string is plain where no reader of YAML 1.1 or 1.2
 * would take it for anything else, a literal block where it has lines that one keeps as they are,
 * and else in double quotes. */
#ifndef RK_K8S_MANIFEST_YAML_PRINT_H
#define RK_K8S_MANIFEST_YAML_PRINT_H

#include "common/error.h"

#include <jansson.h>

#define YAML_PRINT_MAX_DEPTH 256u

/* *out: one document, without `---`, to be freed.  RK_ENOMEM; RK_EINVAL: nested too deeply. */
int yaml_print(const json_t *value, char **out, struct rk_why *why);

/* Several documents, each behind a line of `---`. */
int yaml_print_all(const json_t *documents, char **out, struct rk_why *why);

#endif
