/* Who sums what: the slices of the vector, one for each host, the nodes that the hosts bring to a
 * step, and how far each host is when a generation begins.  Pure bookkeeping. */
#ifndef RK_COLLECTIVES_CARRIER_SLICES_H
#define RK_COLLECTIVES_CARRIER_SLICES_H

#include "collectives/arena.h"

struct slice {
    uint64_t from;
    uint64_t count;
};

/* Slice `host` of `hosts` over `elements`: disjoint, in order, together all; begins on a cache
 * line; may be empty. */
struct slice slice_of(uint64_t elements, uint32_t hosts, uint32_t host);

/* One partial sum that takes part in a step: vector `vector` of those that `host` brings. */
struct merge_part {
    struct tree_node node;
    uint32_t host;
    uint32_t vector;
};

struct merge {
    uint32_t count;
    uint64_t set[RK_MAX_SHARDS / 64];
    struct merge_part part[RK_MAX_SHARDS];
};

void merge_clear(struct merge *merge);
/* Adds `count` nodes of one host.  RK_EDATA when one is outside of the tree or overlaps with what
 * is there. */
int merge_add(struct merge *merge, uint32_t shards, uint32_t host, const struct tree_node *nodes,
              uint32_t count, struct rk_why *why);
/* Sorts by place.  RK_EDATA when a shard is missing. */
int merge_seal(struct merge *merge, uint32_t shards, struct rk_why *why);

/* Elements of `vectors` vectors, each of `size` bytes, that go into one packet. */
uint32_t slice_packet_count(uint32_t vectors, uint32_t size);

/* How far the hosts are.  The step to go on with is the furthest; `giver` has the result of the
 * step before it and those with lags[h] lack it.  Who came when that step was over is past it
 * without having its result.  Hosts that are further from `deal_step` than a rank can be count as
 * at `deal_step`; one that takes the state for a new rank may yet have ranks that wait for the
 * result. */
struct progress {
    uint64_t step;
    uint32_t giver; /* hosts: nobody needs to give */
};
struct progress_host {
    uint64_t complete_step;
    bool has_result; /* of the step before that */
    bool lags;       /* out */
};
/* RK_EDATA when hosts are two steps apart. */
int progress_read(struct progress_host *host, uint32_t hosts, uint64_t deal_step,
                  struct progress *progress, struct rk_why *why);

/* What a carrier of `job` does about a plan, which may be of other hosts only: `seen` is the word
 * in force when it came, `served` whether it has served a plan before. */
enum verdict { VERDICT_SERVE, VERDICT_WAIT, VERDICT_LEAVE };
enum verdict plan_verdict(const struct arena_plan *plan, uint32_t job, rk_word seen, bool served);

/* Whether carrier `peer` of the plan's job takes part in it. */
bool plan_has_carrier(const struct arena_plan *plan, uint32_t peer);
/* How many do, of a job of `size`. */
uint32_t plan_carriers(const struct arena_plan *plan, uint32_t size);

#endif
