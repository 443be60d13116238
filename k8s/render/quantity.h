/* Quantities as Kubernetes writes them ("500m", "1.5Gi", "2e3"), exact to a billionth, as the API
 * keeps them: smaller parts are rounded up, and nothing larger than 2^63 - 1 is one. */
#ifndef RK_K8S_RENDER_QUANTITY_H
#define RK_K8S_RENDER_QUANTITY_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define QUANTITY_TEXT 48 /* bytes that hold any printed quantity */

struct quantity {
    __int128 nano; /* billionths of one */
    bool binary;   /* was written with Ki, Mi, ...: is printed so too */
};

/* A string or a number of the manifest.  RK_EDATA: not a quantity, or too large. */
int quantity_parse(const json_t *value, struct quantity *quantity, struct rk_why *why);
/* *sum += times * quantity; the first that is not zero gives the sum its way of writing.  RK_EDATA:
 * too large, and *sum is what it was. */
int quantity_add(struct quantity *sum, const struct quantity *quantity, uint32_t times,
                 struct rk_why *why);
/* The canonical form: the largest suffix that leaves a whole number.  Returns `text`. */
const char *quantity_print(const struct quantity *quantity, char text[QUANTITY_TEXT]);

#endif
