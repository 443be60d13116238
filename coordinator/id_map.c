/* Linear probing with shifting back on removal; see id_map.h. */
#include "coordinator/id_map.h"

#include "common/error.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_CAPACITY 64u

static uint32_t home_of(const struct id_map *map, uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (map->capacity - 1);
}

static struct id_entry *slot_of(const struct id_map *map, uint64_t id)
{
    uint32_t at = home_of(map, id);

    while (map->entry[at].id != 0 && map->entry[at].id != id)
        at = (at + 1) & (map->capacity - 1);
    return &map->entry[at];
}

void id_map_done(struct id_map *map)
{
    free(map->entry);
    *map = (struct id_map){0};
}

void *id_map_find(const struct id_map *map, uint64_t id)
{
    return map->capacity ? slot_of(map, id)->value : NULL;
}

static int grow(struct id_map *map)
{
    struct id_map bigger = {.capacity = map->capacity ? 2 * map->capacity : FIRST_CAPACITY};

    bigger.entry = calloc(bigger.capacity, sizeof *bigger.entry);
    if (!bigger.entry)
        return RK_ENOMEM;
    for (uint32_t i = 0; i < map->capacity; i++)
        if (map->entry[i].id != 0)
            *slot_of(&bigger, map->entry[i].id) = map->entry[i];
    bigger.count = map->count;
    free(map->entry);
    *map = bigger;
    return 0;
}

int id_map_put(struct id_map *map, uint64_t id, void *value)
{
    struct id_entry *entry;

    assert(id != 0 && value != NULL);
    if (2 * (map->count + 1) > map->capacity && grow(map) != 0)
        return RK_ENOMEM;
    entry = slot_of(map, id);
    map->count += entry->id == 0;
    *entry = (struct id_entry){id, value};
    return 0;
}

/* Entries behind the hole move up when their home does not lie between the hole and themselves. */
static void close_hole(struct id_map *map, uint32_t hole)
{
    uint32_t mask = map->capacity - 1;

    for (uint32_t at = (hole + 1) & mask; map->entry[at].id != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(map, map->entry[at].id);

        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->entry[hole] = map->entry[at];
            hole = at;
        }
    }
    map->entry[hole] = (struct id_entry){0};
}

void *id_map_remove(struct id_map *map, uint64_t id)
{
    struct id_entry *entry = map->capacity ? slot_of(map, id) : NULL;
    void *value = entry ? entry->value : NULL;

    if (!value)
        return NULL;
    close_hole(map, (uint32_t)(entry - map->entry));
    map->count--;
    return value;
}

void *id_map_next(const struct id_map *map, uint32_t *cursor)
{
    while (*cursor < map->capacity) {
        struct id_entry *entry = &map->entry[(*cursor)++];

        if (entry->id != 0)
            return entry->value;
    }
    return NULL;
}
