/* What a plain scalar means: `on` is true, 0755 is 493, 1e3 is 1000. */
#ifndef RK_K8S_MANIFEST_YAML_SCALAR_H
#define RK_K8S_MANIFEST_YAML_SCALAR_H

#include <jansson.h>
#include <stdbool.h>

enum scalar_kind {
    SCALAR_TEXT,
    SCALAR_NULL,
    SCALAR_BOOLEAN,
    SCALAR_NUMBER,
    SCALAR_NOT_FINITE, /* .inf and .nan, which JSON cannot say */
};

/* The kind of a plain scalar as Go's YAML 1.1 reader has it, and its value (a new reference; NULL
 * with SCALAR_NOT_FINITE, and when there is no memory).  Numbers without a fraction are integers
 * where 64 bits hold them. */
enum scalar_kind scalar_resolve(const char *text, json_t **value);

/* True when some reader of YAML 1.1 or 1.2 takes this plain text for something else than a string:
 * also base 60 numbers, dates, `=` and `<<`, which scalar_resolve leaves strings. */
bool scalar_is_ambiguous(const char *text);

#endif
