/* Objects by namespace and name: a hash table with chains; see store.h. */
#include "k8s/client/store.h"

#include "k8s/client/object.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64u

struct entry {
    struct entry *next;
    json_t *object;
    uint64_t hash;
    uint64_t round; /* of the last list that had it */
};

struct store {
    struct entry **slot;
    size_t slots; /* a power of two */
    size_t count;
    uint64_t round;
    size_t swept; /* the slot where store_sweep goes on */
};

int store_new(struct store **out, struct rk_why *why)
{
    struct store *store = calloc(1, sizeof *store);

    if (store != NULL)
        store->slot = calloc(FIRST_SLOTS, sizeof *store->slot);
    if (store == NULL || store->slot == NULL) {
        free(store);
        return rk_fail(why, RK_ENOMEM, "no memory for a store of objects");
    }
    store->slots = FIRST_SLOTS;
    *out = store;
    return 0;
}

static json_t *free_entry(struct entry *entry)
{
    json_t *object = entry->object;

    free(entry);
    return object;
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    for (size_t s = 0; s < store->slots; s++)
        while (store->slot[s] != NULL) {
            struct entry *entry = store->slot[s];

            store->slot[s] = entry->next;
            json_decref(free_entry(entry));
        }
    free(store->slot);
    free(store);
}

/* FNV-1a of namespace, a slash, and name. */
static uint64_t hash_of(const char *namespace, const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *namespace != '\0'; namespace ++)
        hash = (hash ^ (unsigned char)*namespace) * UINT64_C(0x100000001b3);
    hash = (hash ^ '/') * UINT64_C(0x100000001b3);
    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

/* Where the entry of this name hangs, or where one would be hung in. */
static struct entry **find(const struct store *store, const char *namespace, const char *name)
{
    uint64_t hash = hash_of(namespace, name);
    struct entry **at = &store->slot[hash & (store->slots - 1)];

    while (*at != NULL && ((*at)->hash != hash || strcmp(object_name((*at)->object), name) != 0 ||
                           strcmp(object_namespace((*at)->object), namespace) != 0))
        at = &(*at)->next;
    return at;
}

/* Twice the slots; without memory the chains grow longer instead. */
static void grow(struct store *store)
{
    size_t slots = store->slots * 2;
    struct entry **slot = calloc(slots, sizeof *slot);

    if (slot == NULL)
        return;
    for (size_t s = 0; s < store->slots; s++)
        while (store->slot[s] != NULL) {
            struct entry *entry = store->slot[s];

            store->slot[s] = entry->next;
            entry->next = slot[entry->hash & (slots - 1)];
            slot[entry->hash & (slots - 1)] = entry;
        }
    free(store->slot);
    store->slot = slot;
    store->slots = slots;
}

static int check(const json_t *object, struct rk_why *why)
{
    if (*object_name(object) != '\0' && *object_uid(object) != '\0' &&
        *object_version(object) != '\0')
        return 0;
    return rk_fail(why, RK_EDATA, "an object '%.100s' has no name, uid or resourceVersion",
                   object_name(object));
}

static int add(struct store *store, json_t *object, struct rk_why *why)
{
    struct entry *entry = calloc(1, sizeof *entry);
    struct entry **at;

    if (entry == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for an object");
    if (store->count >= store->slots)
        grow(store);
    at = find(store, object_namespace(object), object_name(object));
    entry->object = json_incref(object);
    entry->hash = hash_of(object_namespace(object), object_name(object));
    entry->round = store->round;
    entry->next = *at;
    *at = entry;
    store->count++;
    return STORE_ADDED;
}

int store_put(struct store *store, json_t *object, json_t **old, struct rk_why *why)
{
    struct entry *entry;
    bool same_uid;
    int rc = check(object, why);

    *old = NULL;
    if (rc != 0)
        return rc;
    entry = *find(store, object_namespace(object), object_name(object));
    if (entry == NULL)
        return add(store, object, why);
    entry->round = store->round;
    same_uid = strcmp(object_uid(entry->object), object_uid(object)) == 0;
    if (same_uid && strcmp(object_version(entry->object), object_version(object)) == 0)
        return STORE_SAME;
    *old = entry->object;
    entry->object = json_incref(object);
    return same_uid ? STORE_CHANGED : STORE_REPLACED;
}

static json_t *unhang(struct store *store, struct entry **at)
{
    struct entry *entry = *at;

    *at = entry->next;
    store->count--;
    return free_entry(entry);
}

int store_remove(struct store *store, const json_t *object, json_t **old, struct rk_why *why)
{
    struct entry **at;
    int rc = check(object, why);

    *old = NULL;
    if (rc != 0)
        return rc;
    at = find(store, object_namespace(object), object_name(object));
    if (*at != NULL)
        *old = unhang(store, at);
    return 0;
}

void store_mark(struct store *store)
{
    store->round++;
    store->swept = 0;
}

json_t *store_sweep(struct store *store)
{
    for (; store->swept < store->slots; store->swept++)
        for (struct entry **at = &store->slot[store->swept]; *at != NULL; at = &(*at)->next)
            if ((*at)->round != store->round)
                return unhang(store, at);
    return NULL;
}

const json_t *store_get(const struct store *store, const char *namespace, const char *name)
{
    struct entry *entry = *find(store, namespace != NULL ? namespace : "", name);

    return entry != NULL ? entry->object : NULL;
}

size_t store_count(const struct store *store)
{
    return store->count;
}

const json_t *store_next(const struct store *store, struct store_walk *walk)
{
    const struct entry *entry = walk->entry;

    entry = entry != NULL ? entry->next : NULL;
    while (entry == NULL && walk->slot < store->slots)
        entry = store->slot[walk->slot++];
    walk->entry = entry;
    return entry != NULL ? entry->object : NULL;
}

bool store_equals(const struct store *store, const json_t *items, struct rk_why *why)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const json_t *held = store_get(store, object_namespace(item), object_name(item));

        if (held == NULL || strcmp(object_uid(held), object_uid(item)) != 0 ||
            strcmp(object_version(held), object_version(item)) != 0) {
            rk_fail(why, RK_EDATA, "%s/%s: the server has version %s, the store %s",
                    object_namespace(item), object_name(item), object_version(item),
                    held != NULL ? object_version(held) : "none");
            return false;
        }
    }
    if (json_array_size(items) == store->count)
        return true;
    rk_fail(why, RK_EDATA, "the server has %zu objects, the store %zu", json_array_size(items),
            store->count);
    return false;
}
