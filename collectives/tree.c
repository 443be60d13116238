/* Sets of shards, the deal, and the sum in tree order; see tree.h. */
#include "collectives/tree.h"

#include <assert.h>

uint32_t tree_log2(uint32_t shards)
{
    return (uint32_t)__builtin_ctz(shards);
}

uint32_t tree_rank_nodes(uint32_t shards)
{
    return 2 * tree_log2(shards) + 1;
}

uint32_t tree_rank_buffers(uint32_t shards)
{
    return tree_rank_nodes(shards) + 1;
}

void tree_set_add_node(uint64_t *set, struct tree_node node)
{
    for (uint32_t i = 0; i < tree_width(node); i++)
        tree_set_add(set, tree_first(node) + i);
}

uint32_t tree_set_count(const uint64_t *set, uint32_t shards)
{
    uint32_t count = 0;

    for (uint32_t shard = 0; shard < shards; shard++)
        count += tree_set_has(set, shard);
    return count;
}

static bool has_all(const uint64_t *set, uint32_t first, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        if (!tree_set_has(set, first + i))
            return false;
    return true;
}

uint32_t tree_set_nodes(const uint64_t *set, uint32_t shards)
{
    uint32_t count = 0;

    for (uint32_t shard = 0; shard < shards;) {
        uint32_t width = shards;

        if (!tree_set_has(set, shard)) {
            shard++;
            continue;
        }
        while (shard % width != 0 || !has_all(set, shard, width))
            width /= 2;
        count++;
        shard += width;
    }
    return count;
}

void tree_deal(const uint64_t *done, uint32_t shards, uint32_t world, uint32_t index,
               uint64_t *mine)
{
    uint32_t missing = shards - (done == NULL ? 0 : tree_set_count(done, shards));
    uint32_t from = (uint32_t)((uint64_t)index * missing / world);
    uint32_t to = (uint32_t)(((uint64_t)index + 1) * missing / world);
    uint32_t at = 0;

    for (uint32_t shard = 0; shard < shards; shard++) {
        if (done != NULL && tree_set_has(done, shard))
            continue;
        if (at >= from && at < to)
            tree_set_add(mine, shard);
        at++;
    }
}

/* A sum under way. */
struct sum {
    const struct tree_part *parts;
    uint32_t part_count;
    struct tree_node root;
    enum sum_dtype space; /* what is summed in: SUM_F32 or SUM_F64 */
    size_t from;
    size_t count;
    char *out; /* element 0 */
};

/* The parts in their order, each with the joins that its coming makes possible. */
static void list_terms(const struct sum *sum, struct sum_term *list)
{
    struct tree_node open[TREE_MAX_LEVEL + 2];
    uint32_t depth = 0;

    for (uint32_t p = 0; p < sum->part_count; p++) {
        const struct tree_part *part = &sum->parts[p];
        uint32_t joined;

        open[depth++] = part->node;
        joined = tree_join(open, depth, open);
        list[p] =
            (struct sum_term){.data = (const char *)part->data + sum->from * sum_size(part->dtype),
                              .weight = part->weight,
                              .dtype = part->dtype,
                              .joins = (uint8_t)(depth - joined)};
        depth = joined;
    }
    assert(depth == 1 && open[0].level == sum->root.level && open[0].index == sum->root.index);
}

/* A big result goes past the caches, unless it lies where a part lies: those lines are in them. */
static bool wants_stream(const struct sum *sum)
{
    if (sum->count * sum_size(sum->space) < SUM_STREAM_BYTES)
        return false;
    for (uint32_t p = 0; p < sum->part_count; p++)
        if (sum->parts[p].data == sum->out)
            return false;
    return true;
}

/* Whether the term's memory holds the values themselves. */
static bool is_plain(const struct sum *sum, const struct sum_term *term)
{
    return term->dtype == sum->space && term->weight == 1.0f;
}

static void sum_list(const struct sum *sum, const struct sum_term *list)
{
    bool stream = wants_stream(sum);
    bool plain = is_plain(sum, &list[0]) && is_plain(sum, &list[sum->part_count - 1]);
    void *out = sum->out + sum->from * sum_size(sum->space);

    if (sum->part_count == 1 && list[0].weight == 1.0f)
        sum_convert(list[0].dtype, list[0].data, sum->space, sum->count, out);
    else if (sum->part_count == 2 && plain && sum->space == SUM_F32)
        sum_add(list[0].data, list[1].data, sum->count, stream, out);
    else if (sum->part_count == 2 && plain)
        sum_add64(list[0].data, list[1].data, sum->count, stream, out);
    else if (sum->space == SUM_F32)
        sum_terms(list, sum->part_count, sum->count, stream, out);
    else
        sum_terms64(list, sum->part_count, sum->count, stream, out);
    if (stream)
        sum_stream_end();
}

void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, float *out)
{
    struct sum sum = {parts, part_count, root, SUM_F32, from, count, (char *)out};
    struct sum_term list[RK_MAX_SHARDS];

    list_terms(&sum, list);
    sum_list(&sum, list);
}

void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out)
{
    struct sum sum = {parts, part_count, root, SUM_F64, from, count, (char *)out};
    struct sum_term list[RK_MAX_SHARDS];

    list_terms(&sum, list);
    sum_list(&sum, list);
}

uint32_t tree_join(const struct tree_node *nodes, uint32_t count, struct tree_node *joined)
{
    uint32_t depth = 0;

    for (uint32_t i = 0; i < count; i++) {
        joined[depth++] = nodes[i];
        while (depth >= 2 && joined[depth - 2].level == joined[depth - 1].level &&
               joined[depth - 2].index % 2 == 0 &&
               joined[depth - 2].index + 1 == joined[depth - 1].index) {
            joined[depth - 2].level++;
            joined[depth - 2].index /= 2;
            depth--;
        }
    }
    return depth;
}
