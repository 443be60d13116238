/* Nodes that have pods of ours, or are lost: a pod may be shown on a node after the node's loss. */
#include "k8s/reconcile/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPARE_SITES 256u

bool site_init(struct pods *pods)
{
    pods->sites = pods->config.places + SPARE_SITES;
    pods->buckets = 2 * pods->sites;
    pods->site = calloc(pods->sites, sizeof *pods->site);
    pods->bucket = malloc(pods->buckets * sizeof *pods->bucket);
    if (pods->site == NULL || pods->bucket == NULL)
        return false;
    for (uint32_t b = 0; b < pods->buckets; b++)
        pods->bucket[b] = NONE;
    pods->free_site = NONE;
    return true;
}

void site_done(struct pods *pods)
{
    free(pods->site);
    free(pods->bucket);
}

/* FNV-1a (Fowler, Noll and Vo). */
static uint32_t bucket_of(const struct pods *pods, const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (uint32_t)((hash >> 16) % pods->buckets);
}

uint32_t site_find(const struct pods *pods, const char *name)
{
    uint32_t s = pods->bucket[bucket_of(pods, name)];

    while (s != NONE && strcmp(pods->site[s].name, name) != 0)
        s = pods->site[s].next;
    return s;
}

uint32_t site_take(struct pods *pods, const char *name)
{
    uint32_t s = site_find(pods, name);
    uint32_t b = bucket_of(pods, name);

    if (s != NONE)
        return s;
    s = pods->free_site;
    if (strlen(name) >= NODE_NAME || (s == NONE && pods->sites_touched == pods->sites))
        return NONE;
    if (s == NONE)
        s = pods->sites_touched++;
    else
        pods->free_site = pods->site[s].next;
    pods->site[s] = (struct site){.next = pods->bucket[b], .state = PODS_NODE_READY};
    chain_init(&pods->site[s].lives, CHAIN_NODE);
    snprintf(pods->site[s].name, sizeof pods->site[s].name, "%s", name);
    pods->bucket[b] = s;
    return s;
}

/* One that is well and has no pod of ours needs no memory. */
static void site_give_back(struct pods *pods, uint32_t s)
{
    uint32_t *link = &pods->bucket[bucket_of(pods, pods->site[s].name)];

    if (pods->site[s].lives.count != 0 || pods->site[s].state != PODS_NODE_READY)
        return;
    while (*link != s)
        link = &pods->site[*link].next;
    *link = pods->site[s].next;
    pods->site[s].next = pods->free_site;
    pods->free_site = s;
}

void site_settle(struct pods *pods, struct life *life, const char *name)
{
    if (life->node != NONE || name[0] == '\0')
        return;
    life->node = site_take(pods, name);
    if (life->node != NONE)
        chain_append(pods, &pods->site[life->node].lives, life_index(pods, life));
}

void site_leave(struct pods *pods, struct life *life)
{
    uint32_t s = life->node;

    if (s == NONE)
        return;
    life->node = NONE;
    chain_remove(pods, &pods->site[s].lives, life_index(pods, life));
    site_give_back(pods, s);
}

bool site_lost(const struct pods *pods, const struct life *life)
{
    return life->node != NONE && pods->site[life->node].state != PODS_NODE_READY;
}

const char *site_name(const struct pods *pods, const struct life *life)
{
    return life->node != NONE ? pods->site[life->node].name : "";
}

void observe_node(struct pods *pods, const char *name, enum pods_node state)
{
    uint32_t s = state == PODS_NODE_READY ? site_find(pods, name) : site_take(pods, name);
    uint32_t next;

    pods->node_source = true;
    if (state == PODS_NODE_READY)
        suspect_clear(pods, name);
    else
        suspect_node(pods, name, PODS_NONE);
    if (s == NONE) {
        pods->refused += state != PODS_NODE_READY;
        return;
    }
    pods->site[s].state = state;
    if (state == PODS_NODE_READY) {
        site_give_back(pods, s);
        return;
    }
    for (uint32_t i = pods->site[s].lives.head; i != NONE; i = next) {
        struct life *life = &pods->life[i];

        next = life->ring[CHAIN_NODE].next;
        if (!life->linked && life_rule(life->state, LIFE_LOST, NULL))
            life_feed(pods, life, LIFE_LOST);
    }
}
