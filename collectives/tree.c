/* Sets of shards, the deal, and the sum in tree order; see tree.h. */
#include "collectives/tree.h"

#include <assert.h>
#include <string.h>

/* Elements summed at a time: partial sums of all levels stay in the first-level cache. */
#define BLOCK 512u

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

/* One open node on the way through the parts: its value lies in `value`, or still in the part. */
struct open_node {
    struct tree_node node;
    const float *value;
};

static bool are_siblings(struct tree_node left, struct tree_node right)
{
    return left.level == right.level && left.index % 2 == 0 && left.index + 1 == right.index;
}

/* Joins the two topmost open nodes while they are siblings: into scratch, but what is the last
 * addition of all into `out`, unless that is NULL because more parts follow. */
static uint32_t join_top(const struct sum_kernels *sum, struct open_node *open, uint32_t depth,
                         size_t count, float scratch[][BLOCK], bool stream, float *out)
{
    while (depth >= 2 && are_siblings(open[depth - 2].node, open[depth - 1].node)) {
        struct open_node *left = &open[depth - 2];
        bool last = depth == 2 && out != NULL;
        float *into = last ? out : scratch[depth - 2];

        sum->add(left->value, open[depth - 1].value, count, last && stream, into);
        left->value = into;
        left->node.level++;
        left->node.index /= 2;
        depth--;
    }
    return depth;
}

static bool is_plain(const struct tree_part *part)
{
    return part->dtype == SUM_F32 && part->weight == 1.0f;
}

/* The values of a part from element `from` on: where they lie, or converted into `into`. */
static const float *values_of(const struct sum_kernels *sum, const struct tree_part *part,
                              size_t from, size_t count, float *into)
{
    size_t size = part->dtype == SUM_F32 ? sizeof(float) : sizeof(uint16_t);
    const char *data = (const char *)part->data + from * size;

    if (is_plain(part))
        return (const float *)(const void *)data;
    sum->load((enum sum_dtype)part->dtype, data, part->weight, count, into);
    return into;
}

static void sum_block(const struct sum_kernels *sum, const struct tree_part *parts,
                      uint32_t part_count, struct tree_node root, size_t from, size_t count,
                      bool stream, float *out)
{
    float scratch[TREE_MAX_LEVEL + 2][BLOCK];
    struct open_node open[TREE_MAX_LEVEL + 2];
    uint32_t depth = 1;

    open[0].node = parts[0].node;
    open[0].value = values_of(sum, &parts[0], from, count, scratch[0]);
    for (uint32_t p = 1; p < part_count; p++) {
        open[depth].node = parts[p].node;
        open[depth].value = values_of(sum, &parts[p], from, count, scratch[depth]);
        depth = join_top(sum, open, depth + 1, count, scratch, stream,
                         p + 1 == part_count ? out + from : NULL);
    }
    assert(depth == 1 && open[0].node.level == root.level && open[0].node.index == root.index);
    (void)root;
    if (open[0].value != out + from)
        memcpy(out + from, open[0].value, count * sizeof(float));
}

void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, bool stream, float *out)
{
    const struct sum_kernels *sum = sum_best();

    if (part_count == 2 && is_plain(&parts[0]) && is_plain(&parts[1])) {
        sum->add((const float *)parts[0].data + from, (const float *)parts[1].data + from, count,
                 stream, out + from);
        count = 0;
    }
    for (size_t done = 0; done < count; done += BLOCK) {
        size_t block = count - done < BLOCK ? count - done : BLOCK;

        sum_block(sum, parts, part_count, root, from + done, block, stream, out);
    }
    if (stream)
        sum_fence();
}

static void sum_block64(const struct sum_kernels *sum, const struct tree_part *parts,
                        uint32_t part_count, size_t from, size_t count, double *out)
{
    double scratch[TREE_MAX_LEVEL + 2][BLOCK / 2];
    struct tree_node node[TREE_MAX_LEVEL + 2];
    uint32_t depth = 0;

    for (uint32_t p = 0; p < part_count; p++) {
        node[depth] = parts[p].node;
        sum->scale64((const double *)parts[p].data + from, (double)parts[p].weight, count,
                     scratch[depth++]);
        for (; depth >= 2 && are_siblings(node[depth - 2], node[depth - 1]); depth--) {
            sum->add64(scratch[depth - 2], scratch[depth - 1], count, scratch[depth - 2]);
            node[depth - 2].level++;
            node[depth - 2].index /= 2;
        }
    }
    assert(depth == 1);
    memcpy(out + from, scratch[0], count * sizeof(double));
}

void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out)
{
    const struct sum_kernels *sum = sum_best();

    (void)root;
    for (size_t done = 0; done < count; done += BLOCK / 2) {
        size_t block = count - done < BLOCK / 2 ? count - done : BLOCK / 2;

        sum_block64(sum, parts, part_count, from + done, block, out);
    }
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
