/* The fixed binary tree over V shards, in which gradients are summed whoever computed them.
 *
 * Node (level, index) stands for shards index * 2^level .. (index + 1) * 2^level - 1, and its value
 * is, by definition, value(level - 1, 2 index) + value(level - 1, 2 index + 1) in float32, element
 * by element.  So a value depends on the shards alone, never on who summed which part when. */
#ifndef RK_COLLECTIVES_TREE_H
#define RK_COLLECTIVES_TREE_H

#include "collectives/sum.h"
#include "common/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_MAX_LEVEL 10u /* log2 RK_MAX_SHARDS */
#define TREE_MAX_NODES 24u /* more than any rank holds at once: 2 log2 V + 1 */

struct tree_node {
    uint16_t level;
    uint16_t index;
};

/* No node, but instead of one as the root of a sum: parts are added in the order in which they are
 * given, ((a + b) + c) + ..., whatever they stand for. */
#define TREE_SERIAL ((struct tree_node){.level = UINT16_MAX})

static inline uint32_t tree_first(struct tree_node node)
{
    return (uint32_t)node.index << node.level;
}
static inline uint32_t tree_width(struct tree_node node)
{
    return UINT32_C(1) << node.level;
}

/* log2 of a power of two; the number of partial sums a rank may hold for V shards; the number of
 * buffers its seat has. */
uint32_t tree_log2(uint32_t shards);
uint32_t tree_rank_nodes(uint32_t shards);
uint32_t tree_rank_buffers(uint32_t shards);

/* ---- sets of shards: bit s of word s / 64 ---------------------------------------------------- */

static inline bool tree_set_has(const uint64_t *set, uint32_t shard)
{
    return (set[shard / 64] >> (shard % 64)) & 1;
}
static inline void tree_set_add(uint64_t *set, uint32_t shard)
{
    set[shard / 64] |= UINT64_C(1) << (shard % 64);
}
void tree_set_add_node(uint64_t *set, struct tree_node node);
uint32_t tree_set_count(const uint64_t *set, uint32_t shards);
/* How many nodes the set's maximal decomposition has. */
uint32_t tree_set_nodes(const uint64_t *set, uint32_t shards);

/* ---- the deal -------------------------------------------------------------------------------- */

/* Adds to `mine` the shards that member `index` of `world` computes of those not in `done` (NULL:
 * none is done): the missing ones in rising order, cut into `world` runs whose lengths differ by
 * at most one. */
void tree_deal(const uint64_t *done, uint32_t shards, uint32_t world, uint32_t index,
               uint64_t *mine);

/* ---- sums ------------------------------------------------------------------------------------ */

/* A partial sum, or the gradient of a shard, whose values are `weight` times what lies there. */
struct tree_part {
    struct tree_node node;
    uint32_t dtype;   /* enum sum_dtype */
    float weight;     /* 1: as it lies there */
    const void *data; /* element 0 of the vector */
};

static inline struct tree_part tree_part_typed(struct tree_node node, const void *data,
                                               uint32_t dtype, float weight)
{
    return (struct tree_part){.node = node, .dtype = dtype, .weight = weight, .data = data};
}
static inline struct tree_part tree_part_f32(struct tree_node node, const void *data)
{
    return tree_part_typed(node, data, SUM_F32, 1.0f);
}
static inline struct tree_part tree_part_f64(struct tree_node node, const void *data)
{
    return tree_part_typed(node, data, SUM_F64, 1.0f);
}

/* Sums `parts` (sorted by place, disjoint, together the whole of node `root`, or any where it is
 * TREE_SERIAL) over elements from .. from + count - 1 into out[from .. from + count - 1], exactly
 * as the tree says: in float32 for parts of SUM_F32, SUM_F16 and SUM_BF16.  `out` may be the data
 * of a SUM_F32 part.  `stream`: nobody reads the result soon, so it goes past the caches. */
void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, bool stream, float *out);
/* The terms (sum.h) of such a sum, one for each part, from element `from` on: into `list`. */
void tree_terms(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, struct sum_term *list);
/* The same in float64 for parts of SUM_F64. */
void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out);

/* The nodes that sorted disjoint `nodes` make when siblings are joined as far as possible, into
 * `joined` (room for count); returns how many. */
uint32_t tree_join(const struct tree_node *nodes, uint32_t count, struct tree_node *joined);

#endif
