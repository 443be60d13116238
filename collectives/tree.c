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

static double load(const struct tree_part *p, size_t i)
{
    double v = p->dtype == 1   ? (double)((const float *)p->data)[i]
               : p->dtype == 2 ? ((const double *)p->data)[i]
                               : 0;
    if (p->dtype == 7) {
        _Float16 h;
        memcpy(&h, (const char *)p->data + 2 * i, 2);
        v = (double)(float)h;
    }
    if (p->dtype == 8) {
        uint32_t u = (uint32_t)((const uint16_t *)p->data)[i] << 16;
        float f;
        memcpy(&f, &u, 4);
        v = (double)f;
    }
    if (p->weight != 1.0f)
        v = p->dtype == 2 ? v * (double)p->weight : (double)((float)v * p->weight);
    return v;
}
static double one(const struct tree_part *parts, uint32_t n, size_t i, bool wide)
{
    struct tree_node node[16];
    double val[16];
    int d = 0;
    for (uint32_t p = 0; p < n; p++) {
        node[d] = parts[p].node;
        val[d++] = load(&parts[p], i);
        while (d >= 2 && node[d - 2].level == node[d - 1].level && node[d - 2].index % 2 == 0 &&
               node[d - 2].index + 1 == node[d - 1].index) {
            val[d - 2] =
                wide ? val[d - 2] + val[d - 1] : (double)((float)val[d - 2] + (float)val[d - 1]);
            node[d - 2].level++;
            node[d - 2].index /= 2;
            d--;
        }
    }
    return val[0];
}
/* out = left + right; out may be left. */
static void add(const float *left, const float *right, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = left[i] + right[i];
}

/* One open node on the way through the parts: its value lies in `value`, or still in the part. */
struct open_node {
    struct tree_node node;
    const float *value;
};

/* Joins the two topmost open nodes while they are siblings.  `scratch[d]` is the block of depth d.
 */
static uint32_t join_top(struct open_node *open, uint32_t depth, size_t count,
                         float scratch[][BLOCK])
{
    while (depth >= 2) {
        struct open_node *left = &open[depth - 2];
        const struct open_node *right = &open[depth - 1];

        if (left->node.level != right->node.level || left->node.index % 2 != 0 ||
            left->node.index + 1 != right->node.index)
            break;
        add(left->value, right->value, count, scratch[depth - 2]);
        left->value = scratch[depth - 2];
        left->node.level++;
        left->node.index /= 2;
        depth--;
    }
    return depth;
}

static void sum_block(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                      size_t from, size_t count, float *out)
{
    float scratch[TREE_MAX_LEVEL + 2][BLOCK];
    struct open_node open[TREE_MAX_LEVEL + 2] = {
        {parts[0].node, (const float *)parts[0].data + from}};
    uint32_t depth = 1;

    for (uint32_t p = 1; p < part_count; p++) {
        open[depth].node = parts[p].node;
        open[depth].value = (const float *)parts[p].data + from;
        depth = join_top(open, depth + 1, count, scratch);
    }
    assert(depth == 1 && open[0].node.level == root.level && open[0].node.index == root.index);
    (void)root;
    memcpy(out + from, open[0].value, count * sizeof(float));
}

static bool is_plain(const struct tree_part *parts, uint32_t part_count)
{
    for (uint32_t p = 0; p < part_count; p++)
        if (parts[p].dtype != 1 || parts[p].weight != 1.0f)
            return false;
    return true;
}

void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, float *out)
{
    if (!is_plain(parts, part_count)) {
        for (size_t i = from; i < from + count; i++)
            out[i] = (float)one(parts, part_count, i, false);
        return;
    }
    for (size_t done = 0; done < count; done += BLOCK) {
        size_t block = count - done < BLOCK ? count - done : BLOCK;

        sum_block(parts, part_count, root, from + done, block, out);
    }
}

void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out)
{
    (void)root;
    for (size_t i = from; i < from + count; i++)
        out[i] = one(parts, part_count, i, true);
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
