/* Slices, the merge of nodes, and the progress of hosts; see slices.h. */
#include "collectives/carrier/slices.h"

#include "collectives/carrier/packet.h"

#include <stdlib.h>
#include <string.h>

#define LINE_FLOATS 16u

static uint64_t slice_edge(uint64_t elements, uint32_t hosts, uint32_t host)
{
    uint64_t lines = elements / LINE_FLOATS;
    uint64_t edge = (lines / hosts * host + lines % hosts * host / hosts) * LINE_FLOATS;

    return host == hosts ? elements : edge;
}

struct slice slice_of(uint64_t elements, uint32_t hosts, uint32_t host)
{
    uint64_t from = slice_edge(elements, hosts, host);

    return (struct slice){.from = from, .count = slice_edge(elements, hosts, host + 1) - from};
}

uint32_t slice_packet_count(uint32_t vectors, uint32_t size)
{
    uint32_t count = PACKET_PAYLOAD / size / vectors;

    return count > LINE_FLOATS ? count / LINE_FLOATS * LINE_FLOATS : count;
}

void merge_clear(struct merge *merge)
{
    merge->count = 0;
    memset(merge->set, 0, sizeof merge->set);
}

static bool set_meets(const uint64_t *set, struct tree_node node)
{
    for (uint32_t s = tree_first(node); s < tree_first(node) + tree_width(node); s++)
        if (tree_set_has(set, s))
            return true;
    return false;
}

int merge_add(struct merge *merge, uint32_t shards, uint32_t host, const struct tree_node *nodes,
              uint32_t count, struct rk_why *why)
{
    for (uint32_t n = 0; n < count; n++) {
        if (nodes[n].level > tree_log2(shards) || nodes[n].index >= shards >> nodes[n].level)
            return rk_fail(why, RK_EDATA, "host %u brings node (%u, %u) of a tree of %u shards",
                           host, nodes[n].level, nodes[n].index, shards);
        if (set_meets(merge->set, nodes[n]))
            return rk_fail(why, RK_EDATA,
                           "host %u brings shards %u to %u, of which another has some too", host,
                           tree_first(nodes[n]), tree_first(nodes[n]) + tree_width(nodes[n]) - 1);
        tree_set_add_node(merge->set, nodes[n]);
        merge->part[merge->count++] =
            (struct merge_part){.node = nodes[n], .host = host, .vector = n};
    }
    return 0;
}

static int by_place(const void *left, const void *right)
{
    uint32_t a = tree_first(((const struct merge_part *)left)->node);
    uint32_t b = tree_first(((const struct merge_part *)right)->node);

    return (a > b) - (a < b);
}

int merge_seal(struct merge *merge, uint32_t shards, struct rk_why *why)
{
    uint32_t count = tree_set_count(merge->set, shards);

    if (count != shards)
        return rk_fail(why, RK_EDATA, "the hosts bring %u of %u shards", count, shards);
    qsort(merge->part, merge->count, sizeof merge->part[0], by_place);
    return 0;
}

static uint64_t effective_step(const struct progress_host *host, uint64_t deal_step)
{
    uint64_t complete = host->complete_step;

    if (complete > deal_step + 1 || complete + 1 < deal_step)
        return deal_step;
    return complete;
}

int progress_read(struct progress_host *host, uint32_t hosts, uint64_t deal_step,
                  struct progress *progress, struct rk_why *why)
{
    bool anyone_lags = false;

    *progress = (struct progress){.step = deal_step, .giver = hosts};
    for (uint32_t h = 0; h < hosts; h++)
        if (effective_step(&host[h], deal_step) > progress->step)
            progress->step = effective_step(&host[h], deal_step);
    for (uint32_t h = 0; h < hosts; h++) {
        uint64_t step = effective_step(&host[h], deal_step);

        if (step + 1 < progress->step)
            return rk_fail(why, RK_EDATA, "host %u has finished %llu steps and another %llu", h,
                           (unsigned long long)step, (unsigned long long)progress->step);
        host[h].lags = step < progress->step;
        anyone_lags |= host[h].lags;
        if (progress->giver == hosts && host[h].complete_step == progress->step &&
            host[h].has_result)
            progress->giver = h;
    }
    if (!anyone_lags || progress->giver == hosts) {
        progress->giver = hosts;
        for (uint32_t h = 0; h < hosts; h++)
            host[h].lags = false;
    }
    return 0;
}

bool plan_has_carrier(const struct arena_plan *plan, uint32_t peer)
{
    return plan_carriers(plan, 0) == 0 ||
           (peer < ARENA_CARRIERS && (plan->carriers[peer / 64] >> (peer % 64) & 1) != 0);
}

uint32_t plan_carriers(const struct arena_plan *plan, uint32_t size)
{
    uint32_t count = 0;

    for (uint32_t w = 0; w < ARENA_CARRIERS / 64; w++)
        count += (uint32_t)__builtin_popcountll(plan->carriers[w]);
    return count == 0 ? size : count;
}

enum verdict plan_verdict(const struct arena_plan *plan, uint32_t job, rk_word seen, bool served)
{
    if (plan->hosts > 1 && plan->carrier_job == job)
        return plan->host_index < plan->hosts ? VERDICT_SERVE : VERDICT_LEAVE;
    if (served || plan->carrier_job > job)
        return VERDICT_LEAVE;
    return plan->hosts == 1 && plan->word != seen ? VERDICT_LEAVE : VERDICT_WAIT;
}
