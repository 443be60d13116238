/* The fixed tree: the same bits whoever summed what, and a deal that gives each shard to one. */
#include "collectives/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT 1500

static float leaf_value(uint32_t shard, size_t i)
{
    uint32_t x = shard * 2654435761u + (uint32_t)i * 40503u + 12345u;

    x ^= x >> 13;
    x *= 2246822519u;
    return ((float)(x >> 8) - 8388608.0f) * (shard % 3 == 0 ? 1e-3f : 7.3f);
}

/* The definition, by recursion. */
static float serial(uint32_t level, uint32_t index, size_t i)
{
    return level == 0 ? leaf_value(index, i)
                      : serial(level - 1, 2 * index, i) + serial(level - 1, 2 * index + 1, i);
}

/* Cuts node into random parts, whose values are made by the definition. */
static void cut(struct tree_node node, uint32_t *seed, struct tree_part *parts, uint32_t *count)
{
    *seed = *seed * 1664525u + 1013904223u;
    if (node.level > 0 && (*seed >> 16) % 3 != 0) {
        struct tree_node left = {(uint16_t)(node.level - 1), (uint16_t)(2 * node.index)};
        struct tree_node right = {left.level, (uint16_t)(left.index + 1)};

        cut(left, seed, parts, count);
        cut(right, seed, parts, count);
        return;
    }
    float *data = malloc(COUNT * sizeof *data);
    for (size_t i = 0; i < COUNT; i++)
        data[i] = serial(node.level, node.index, i);
    parts[(*count)++] = tree_part_f32(node, data);
}

static void sums_are_those_of_the_definition(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct tree_part parts[64];
        uint32_t count = 0;
        uint32_t random = seed;
        struct tree_node root = {.level = (uint16_t)(seed % 6), .index = 0};
        static float out[COUNT];

        cut(root, &random, parts, &count);
        /* in two pieces, so that slices are seen not to matter */
        tree_sum(parts, count, root, 0, seed * 7, seed % 2 == 0, out);
        tree_sum(parts, count, root, seed * 7, COUNT - seed * 7, seed % 2 == 0, out);
        for (size_t i = 0; i < COUNT; i++) {
            float expected = serial(root.level, 0, i);

            assert_memory_equal(&out[i], &expected, sizeof expected);
        }
        for (uint32_t p = 0; p < count; p++)
            free((void *)parts[p].data);
    }
}

/* Parts of any nodes, added in the order in which they are given. */
static void serial_sums_keep_the_order(void **state)
{
    enum { PARTS = 40 };
    static float values[PARTS][COUNT];
    static double wide[PARTS][COUNT];
    static float out[COUNT];
    static double wide_out[COUNT];
    struct tree_part parts[PARTS];
    struct tree_part wide_parts[PARTS];

    (void)state;
    for (uint32_t p = 0; p < PARTS; p++) {
        for (size_t i = 0; i < COUNT; i++) {
            values[p][i] = serial(0, p, i);
            wide[p][i] = (double)values[p][i] / 3;
        }
        parts[p] = tree_part_f32((struct tree_node){0}, values[p]);
        wide_parts[p] = tree_part_f64((struct tree_node){0}, wide[p]);
    }
    for (uint32_t count = 1; count <= PARTS; count++) {
        tree_sum(parts, count, TREE_SERIAL, 0, COUNT, count % 2 == 0, out);
        tree_sum64(wide_parts, count, TREE_SERIAL, 0, COUNT, wide_out);
        for (size_t i = 0; i < COUNT; i++) {
            float expected = values[0][i];
            double wide_expected = wide[0][i];

            for (uint32_t p = 1; p < count; p++) {
                expected += values[p][i];
                wide_expected += wide[p][i];
            }
            assert_memory_equal(&out[i], &expected, sizeof expected);
            assert_memory_equal(&wide_out[i], &wide_expected, sizeof wide_expected);
        }
    }
}

static void deal_gives_each_missing_shard_to_one(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= RK_MAX_SHARDS; shards *= 4) {
        for (uint32_t world = 1; world <= 9; world++) {
            uint64_t done[RK_MAX_SHARDS / 64] = {0};
            uint32_t seen[RK_MAX_SHARDS] = {0};

            for (uint32_t s = 0; s < shards; s += 3)
                tree_set_add(done, s);
            for (uint32_t index = 0; index < world; index++) {
                uint64_t mine[RK_MAX_SHARDS / 64] = {0};
                uint32_t missing = shards - tree_set_count(done, shards);

                tree_deal(done, shards, world, index, mine);
                assert_in_range(tree_set_count(mine, shards), missing / world, missing / world + 1);
                for (uint32_t s = 0; s < shards; s++)
                    seen[s] += tree_set_has(mine, s);
            }
            for (uint32_t s = 0; s < shards; s++)
                assert_int_equal(seen[s], tree_set_has(done, s) ? 0 : 1);
        }
    }
}

static void runs_of_shards_have_few_nodes(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < 64; from++) {
        for (uint32_t to = from; to <= 64; to++) {
            uint64_t set[RK_MAX_SHARDS / 64] = {0};

            for (uint32_t s = from; s < to; s++)
                tree_set_add(set, s);
            assert_true(tree_set_nodes(set, 64) < tree_rank_nodes(64));
            assert_int_equal(tree_set_nodes(set, 64) == 0, from == to);
        }
    }
}

static void joining_goes_as_far_as_siblings_do(void **state)
{
    const struct tree_node nodes[] = {{0, 0}, {0, 1}, {1, 1}, {2, 1}, {0, 9}, {0, 10}, {0, 11}};
    struct tree_node joined[7];

    (void)state;
    assert_int_equal(tree_join(nodes, 7, joined), 3);
    assert_int_equal(joined[0].level, 3);
    assert_int_equal(joined[0].index, 0);
    assert_int_equal(joined[1].level, 0);
    assert_int_equal(joined[1].index, 9);
    assert_int_equal(joined[2].level, 1);
    assert_int_equal(joined[2].index, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_definition),
        cmocka_unit_test(serial_sums_keep_the_order),
        cmocka_unit_test(deal_gives_each_missing_shard_to_one),
        cmocka_unit_test(runs_of_shards_have_few_nodes),
        cmocka_unit_test(joining_goes_as_far_as_siblings_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
