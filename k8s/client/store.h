/* A copy of what the server has of one kind: objects by namespace and name, as a watch tells them.
 *
 * Units: none.  Errors: RK_EDATA: an object without a name, uid or resourceVersion; RK_ENOMEM: the
 * store is as it was.  Ownership: the store holds references; what it hands out is borrowed until
 * it changes, but for `old`, which is the caller's to drop.  Threads: none. */
#ifndef RK_K8S_CLIENT_STORE_H
#define RK_K8S_CLIENT_STORE_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct store;

enum store_outcome {
    STORE_SAME = 1, /* the same uid and resourceVersion: what was there stays */
    STORE_ADDED,
    STORE_CHANGED,
    STORE_REPLACED, /* the name was used again: another uid */
};

int store_new(struct store **out, struct rk_why *why);
void store_free(struct store *store);

/* Takes a reference of `object`.  An outcome, with *old what was there (NULL for the first two), or
 * a negative code. */
int store_put(struct store *store, json_t *object, json_t **old, struct rk_why *why);

/* Takes out what has the name of `object`; *old is NULL when there was nothing. */
int store_remove(struct store *store, const json_t *object, json_t **old, struct rk_why *why);

/* A list begins: what is not put until store_sweep is not there any more. */
void store_mark(struct store *store);

/* Takes out one that was not put since store_mark, NULL when there is none left. */
json_t *store_sweep(struct store *store);

/* `namespace` NULL or "" for kinds that have none.  NULL: there is none. */
const json_t *store_get(const struct store *store, const char *namespace, const char *name);
size_t store_count(const struct store *store);

/* Walks over all in no order; `walk` begins as zero, NULL is the end.  Nothing may change it. */
struct store_walk {
    size_t slot;
    const void *entry;
};
const json_t *store_next(const struct store *store, struct store_walk *walk);

/* Whether it holds exactly the objects of `items` (an array), each of the same uid and
 * resourceVersion; the sentence names the first that differs. */
bool store_equals(const struct store *store, const json_t *items, struct rk_why *why);

#endif
