/* Putting JSON together without an `if` at each step: the first thing that goes wrong is kept, and
 * what follows does no harm.  Look at `rc` once, at the end.
 *
 * Ownership: a value given to build_set or build_push is taken, also when that fails.  What
 * build_child and build_list return belongs to the object it was asked of. */
#ifndef RK_K8S_RENDER_BUILD_H
#define RK_K8S_RENDER_BUILD_H

#include "common/error.h"

#include <jansson.h>

struct build {
    int rc;             /* 0, or the code of the first fault */
    struct rk_why *why; /* its sentence; may be NULL */
};

/* Notes a fault; later ones are forgotten. */
void build_fail(struct build *build, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A value that could not be had (NULL) is a fault: no memory. */
json_t *build_made(struct build *build, json_t *value);
void build_set(struct build *build, json_t *object, const char *key, json_t *value);
void build_text(struct build *build, json_t *object, const char *key, const char *text);
void build_push(struct build *build, json_t *array, json_t *value);
void build_word(struct build *build, json_t *array, const char *word);

/* The object, or the array, under `key`; made where there is none.  RK_EDATA is noted where
 * something else is there; `where` is the path of `object` for the sentence.  NULL then. */
json_t *build_child(struct build *build, json_t *object, const char *key, const char *where);
json_t *build_list(struct build *build, json_t *object, const char *key, const char *where);

/* Removes `key` where what stands there is empty. */
void build_drop_empty(json_t *object, const char *key);

/* A deep copy with the keys of all objects in order and without fields that are null, which the API
 * takes for absent.  The order of arrays is the user's and stays. */
json_t *build_sorted(struct build *build, const json_t *value);

#endif
