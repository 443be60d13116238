/* A map from 64-bit ids, never 0, to pointers: open addressing that grows. */
#ifndef RK_COORDINATOR_ID_MAP_H
#define RK_COORDINATOR_ID_MAP_H

#include <stdint.h>

struct id_entry {
    uint64_t id; /* 0: free */
    void *value;
};

struct id_map {
    struct id_entry *entry;
    uint32_t capacity; /* 0 or a power of two, never more than half full */
    uint32_t count;
};

/* Frees the map, not what its values point to. */
void id_map_done(struct id_map *map);

/* The value of `id`, or NULL. */
void *id_map_find(const struct id_map *map, uint64_t id);
/* Sets it.  RK_ENOMEM: nothing changed. */
int id_map_put(struct id_map *map, uint64_t id, void *value);
/* Takes it out and returns its value, or NULL.  Not while walking. */
void *id_map_remove(struct id_map *map, uint64_t id);
/* Values one by one: *cursor starts as 0; NULL when there is no further one. */
void *id_map_next(const struct id_map *map, uint32_t *cursor);

#endif
