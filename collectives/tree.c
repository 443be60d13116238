/* Sets of shards, the deal, and the sum in tree order; see tree.h. */
#include "collectives/tree.h"

#include <assert.h>

/* Bytes of results made at a time: partial sums of all levels stay in the first-level cache. */
#define BLOCK_BYTES 4096u

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

/* A sum under way: what all of its blocks have in common. */
struct sum {
    const struct tree_part *parts;
    uint32_t part_count;
    struct tree_node root;
    enum sum_dtype space; /* what is summed in: SUM_F32 or SUM_F64 */
    bool stream;
    char *out; /* element 0 */
};

/* One open node on the way through the parts: its value lies in a scratch block, or in the part. */
struct open_node {
    struct tree_node node;
    const char *value;
};

static void add(const struct sum *sum, const void *left, const void *right, size_t count,
                bool stream, void *out)
{
    if (sum->space == SUM_F32)
        sum_add(left, right, count, stream, out);
    else
        sum_add64(left, right, count, stream, out);
}

/* Whether the part's memory holds the values themselves. */
static bool is_plain(const struct sum *sum, const struct tree_part *part)
{
    return part->dtype == sum->space && part->weight == 1.0f;
}

/* The part's values from element `from`: multiplied, in the type of the sum. */
static void load(const struct sum *sum, const struct tree_part *part, size_t from, size_t count,
                 void *out)
{
    const char *data = (const char *)part->data + from * sum_size(part->dtype);

    if (sum->space == SUM_F32) {
        sum_load(part->dtype, data, part->weight, count, out);
        return;
    }
    sum_convert(SUM_F64, data, SUM_F64, count, out);
    if (part->weight != 1.0f)
        sum_scale64(out, count, (double)part->weight);
}

static bool are_siblings(struct tree_node left, struct tree_node right)
{
    return left.level == right.level && left.index % 2 == 0 && left.index + 1 == right.index;
}

/* Joins the two topmost open nodes while they are siblings, the last time into the result.
 * `scratch[d]` is the block of depth d. */
static uint32_t join_top(const struct sum *sum, struct open_node *open, uint32_t depth, size_t from,
                         size_t count, char scratch[][BLOCK_BYTES])
{
    while (depth >= 2 && are_siblings(open[depth - 2].node, open[depth - 1].node)) {
        struct open_node *left = &open[depth - 2];
        bool last = left->node.level + 1 == sum->root.level;
        char *to = last ? sum->out + from * sum_size(sum->space) : scratch[depth - 2];

        add(sum, left->value, open[depth - 1].value, count, last && sum->stream, to);
        left->value = to;
        left->node.level++;
        left->node.index /= 2;
        depth--;
    }
    return depth;
}

/* At least two parts. */
static void sum_block(const struct sum *sum, size_t from, size_t count)
{
    _Alignas(64) char scratch[TREE_MAX_LEVEL + 2][BLOCK_BYTES];
    struct open_node open[TREE_MAX_LEVEL + 2];
    uint32_t depth = 0;

    for (uint32_t p = 0; p < sum->part_count; p++) {
        const struct tree_part *part = &sum->parts[p];

        open[depth].node = part->node;
        open[depth].value = (const char *)part->data + from * sum_size(part->dtype);
        if (!is_plain(sum, part)) {
            load(sum, part, from, count, scratch[depth]);
            open[depth].value = scratch[depth];
        }
        depth = join_top(sum, open, depth + 1, from, count, scratch);
    }
    assert(depth == 1 && open[0].node.level == sum->root.level &&
           open[0].node.index == sum->root.index);
}

/* A big result goes past the caches, unless it lies where a part lies: those lines are in them. */
static bool wants_stream(const struct sum *sum, size_t count)
{
    if (count * sum_size(sum->space) < SUM_STREAM_BYTES)
        return false;
    for (uint32_t p = 0; p < sum->part_count; p++)
        if (sum->parts[p].data == sum->out)
            return false;
    return true;
}

/* Blocks end at cache lines of the result. */
static void sum_blocks(const struct sum *sum, size_t from, size_t count)
{
    size_t size = sum_size(sum->space);
    size_t off = ((uintptr_t)sum->out + from * size) % 64 / size;
    size_t block = BLOCK_BYTES / size - off;

    for (size_t done = 0; done < count; done += block, block = BLOCK_BYTES / size) {
        if (block > count - done)
            block = count - done;
        sum_block(sum, from + done, block);
    }
}

static void sum_all(struct sum *sum, size_t from, size_t count)
{
    const struct tree_part *parts = sum->parts;
    size_t size = sum_size(sum->space);

    sum->stream = wants_stream(sum, count);
    if (sum->part_count == 1)
        load(sum, parts, from, count, sum->out + from * size);
    else if (sum->part_count == 2 && is_plain(sum, &parts[0]) && is_plain(sum, &parts[1]))
        add(sum, (const char *)parts[0].data + from * size,
            (const char *)parts[1].data + from * size, count, sum->stream, sum->out + from * size);
    else
        sum_blocks(sum, from, count);
    if (sum->stream)
        sum_stream_end();
}

void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, float *out)
{
    struct sum sum = {parts, part_count, root, SUM_F32, false, (char *)out};

    sum_all(&sum, from, count);
}

void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out)
{
    struct sum sum = {parts, part_count, root, SUM_F64, false, (char *)out};

    sum_all(&sum, from, count);
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
