/* Sets of shards, the deal, and the sum in tree order; see tree.h. */
#include "collectives/tree.h"

#include <assert.h>
#include <string.h>

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

/* The joins after part p; `open` and *depth are of the nodes that wait. */
static uint32_t joins_after(const struct tree_part *parts, uint32_t p, struct tree_node root,
                            struct tree_node *open, uint32_t *depth)
{
    uint32_t before = *depth + 1;

    if (root.level == TREE_SERIAL.level)
        return p == 0 ? 0 : 1;
    open[*depth] = parts[p].node;
    *depth = tree_join(open, before, open);
    return before - *depth;
}

void tree_terms(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, struct sum_term *list)
{
    struct tree_node open[TREE_MAX_LEVEL + 2];
    uint32_t depth = 0;

    for (uint32_t p = 0; p < part_count; p++) {
        const struct tree_part *part = &parts[p];
        size_t size = part->dtype == SUM_F32   ? sizeof(float)
                      : part->dtype == SUM_F64 ? sizeof(double)
                                               : sizeof(uint16_t);

        list[p] = (struct sum_term){.data = (const char *)part->data + from * size,
                                    .weight = part->weight,
                                    .dtype = (uint8_t)part->dtype,
                                    .joins = (uint8_t)joins_after(parts, p, root, open, &depth)};
    }
    assert(root.level == TREE_SERIAL.level ||
           (depth == 1 && open[0].level == root.level && open[0].index == root.index));
}

/* Whether the term's memory holds the values themselves. */
static bool is_plain(const struct sum_term *term)
{
    return (term->dtype == SUM_F32 || term->dtype == SUM_F64) && term->weight == 1.0f;
}

void tree_sum(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
              size_t from, size_t count, bool stream, float *out)
{
    const struct sum_kernels *sum = sum_best();
    struct sum_term list[RK_MAX_SHARDS];

    tree_terms(parts, part_count, root, from, list);
    if (part_count == 1)
        sum->load(list[0].dtype, list[0].data, list[0].weight, count, out + from);
    else if (part_count == 2 && is_plain(&list[0]) && is_plain(&list[1]))
        sum->add(list[0].data, list[1].data, count, stream, out + from);
    else
        sum->terms(list, part_count, count, stream, out + from);
    if (stream)
        sum_fence();
}

void tree_sum64(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                size_t from, size_t count, double *out)
{
    const struct sum_kernels *sum = sum_best();
    struct sum_term list[RK_MAX_SHARDS];

    tree_terms(parts, part_count, root, from, list);
    if (part_count == 1 && list[0].weight == 1.0f && list[0].data != out + from)
        memcpy(out + from, list[0].data, count * sizeof *out);
    else if (part_count == 1 && list[0].weight != 1.0f)
        sum->scale64(list[0].data, (double)list[0].weight, count, out + from);
    else if (part_count == 2 && is_plain(&list[0]) && is_plain(&list[1]))
        sum->add64(list[0].data, list[1].data, count, out + from);
    else if (part_count > 1)
        sum->terms64(list, part_count, count, out + from);
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
