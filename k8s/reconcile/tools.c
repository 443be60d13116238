/* Maps, chains and a heap of times over the lives of a struct pods; none of them allocates after
 * its birth. */
#include "k8s/reconcile/state.h"

#include <assert.h>
#include <stdlib.h>

/* ---- maps: linear probing, with shifting back on removal ---------------------------------------
 */

bool map_init(struct map *map, uint32_t capacity)
{
    uint32_t size = 16;

    while (size < 2 * capacity)
        size *= 2;
    map->mask = size - 1;
    map->key = calloc(size, sizeof *map->key);
    map->value = calloc(size, sizeof *map->value);
    return map->key != NULL && map->value != NULL;
}

void map_done(struct map *map)
{
    free(map->key);
    free(map->value);
    *map = (struct map){0};
}

static uint32_t home_of(const struct map *map, uint64_t key)
{
    return (uint32_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & map->mask;
}

static uint32_t slot_of(const struct map *map, uint64_t key)
{
    uint32_t at = home_of(map, key);

    while (map->key[at] != 0 && map->key[at] != key)
        at = (at + 1) & map->mask;
    return at;
}

uint32_t map_find(const struct map *map, uint64_t key)
{
    uint32_t at = slot_of(map, key);

    return map->key[at] != 0 ? map->value[at] : NONE;
}

void map_put(struct map *map, uint64_t key, uint32_t value)
{
    uint32_t at = slot_of(map, key);

    assert(key != 0 && map->key[at] == 0);
    map->key[at] = key;
    map->value[at] = value;
}

/* Entries behind the hole move up when their home does not lie between the hole and themselves. */
void map_remove(struct map *map, uint64_t key)
{
    uint32_t hole = slot_of(map, key);

    if (map->key[hole] == 0)
        return;
    for (uint32_t at = (hole + 1) & map->mask; map->key[at] != 0; at = (at + 1) & map->mask) {
        uint32_t home = home_of(map, map->key[at]);

        if (((at - home) & map->mask) < ((at - hole) & map->mask))
            continue;
        map->key[hole] = map->key[at];
        map->value[hole] = map->value[at];
        hole = at;
    }
    map->key[hole] = 0;
}

/* ---- chains ------------------------------------------------------------------------------------
 */

void chain_init(struct chain *chain, enum chain_kind kind)
{
    *chain = (struct chain){.kind = kind, .head = NONE, .tail = NONE};
}

bool chain_has(const struct pods *pods, const struct chain *chain, uint32_t index)
{
    return pods->life[index].ring[chain->kind].next != index;
}

void chain_append(struct pods *pods, struct chain *chain, uint32_t index)
{
    assert(!chain_has(pods, chain, index));
    pods->life[index].ring[chain->kind] = (struct ring){chain->tail, NONE};
    if (chain->tail != NONE)
        pods->life[chain->tail].ring[chain->kind].next = index;
    else
        chain->head = index;
    chain->tail = index;
    chain->count++;
}

void chain_remove(struct pods *pods, struct chain *chain, uint32_t index)
{
    struct ring ring = pods->life[index].ring[chain->kind];

    if (ring.next == index)
        return;
    if (ring.prev != NONE)
        pods->life[ring.prev].ring[chain->kind].next = ring.next;
    else
        chain->head = ring.next;
    if (ring.next != NONE)
        pods->life[ring.next].ring[chain->kind].prev = ring.prev;
    else
        chain->tail = ring.prev;
    pods->life[index].ring[chain->kind] = (struct ring){index, index};
    chain->count--;
}

/* ---- times: a binary heap ----------------------------------------------------------------------
 */

static void heap_set(struct pods *pods, uint32_t at, uint32_t index)
{
    pods->heap[at] = index;
    pods->life[index].due_at = at;
}

static uint64_t heap_due(const struct pods *pods, uint32_t at)
{
    return pods->life[pods->heap[at]].due;
}

static void heap_rise(struct pods *pods, uint32_t at, uint32_t index)
{
    for (; at > 0 && pods->life[index].due < heap_due(pods, (at - 1) / 2); at = (at - 1) / 2)
        heap_set(pods, at, pods->heap[(at - 1) / 2]);
    heap_set(pods, at, index);
}

static void heap_sink(struct pods *pods, uint32_t at, uint32_t index)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= pods->heap_count)
            break;
        if (child + 1 < pods->heap_count && heap_due(pods, child + 1) < heap_due(pods, child))
            child++;
        if (heap_due(pods, child) >= pods->life[index].due)
            break;
        heap_set(pods, at, pods->heap[child]);
        at = child;
    }
    heap_set(pods, at, index);
}

static void heap_place(struct pods *pods, uint32_t at, uint32_t index)
{
    if (at > 0 && pods->life[index].due < heap_due(pods, (at - 1) / 2))
        heap_rise(pods, at, index);
    else
        heap_sink(pods, at, index);
}

void due_set(struct pods *pods, struct life *life, uint64_t due)
{
    uint32_t at = life->due_at;

    life->due = due;
    if (due != PODS_NONE) {
        if (at == NONE)
            heap_rise(pods, pods->heap_count++, life_index(pods, life));
        else
            heap_place(pods, at, life_index(pods, life));
        return;
    }
    if (at == NONE)
        return;
    life->due_at = NONE;
    pods->heap_count--;
    if (at < pods->heap_count)
        heap_place(pods, at, pods->heap[pods->heap_count]);
}

struct life *due_first(const struct pods *pods)
{
    return pods->heap_count ? &pods->life[pods->heap[0]] : NULL;
}

/* SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
uint64_t pods_draw(struct pods *pods)
{
    uint64_t z = (pods->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
