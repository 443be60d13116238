/* The core does its own arithmetic of deals, since it may not see the collectives: here the two are
 * held against each other, so that what a plan promises is what the ranks have room for. */
#include "collectives/tree.h"
#include "coordinator/core/bits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WORDS (RK_MAX_SHARDS / 64)
#define ROUNDS 40

static uint32_t random_next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Each round has another density, from none done to all done; every fourth is made of runs, as a
 * loss in the middle of a step leaves them. */
static void random_done(uint64_t *seed, uint32_t shards, uint32_t round, uint64_t done[WORDS])
{
    bool runs = round % 4 == 3;
    bool on = false;

    memset(done, 0, WORDS * sizeof done[0]);
    for (uint32_t s = 0; s < shards; s++) {
        if (!runs)
            on = random_next(seed) % (ROUNDS - 1) < round;
        else if (random_next(seed) % 8 == 0)
            on = !on;
        if (on)
            tree_set_add(done, s);
    }
}

/* The most nodes of any rank's share, and that the shares are the missing shards, each once. */
static uint32_t tree_share_nodes(const uint64_t *done, uint32_t shards, uint32_t world)
{
    uint64_t seen[WORDS];
    uint32_t most = 0;

    memcpy(seen, done, sizeof seen);
    for (uint32_t index = 0; index < world; index++) {
        uint64_t mine[WORDS] = {0};
        uint32_t nodes;

        tree_deal(done, shards, world, index, mine);
        nodes = tree_set_nodes(mine, shards);
        most = nodes > most ? nodes : most;
        for (uint32_t w = 0; w < WORDS; w++) {
            assert_true((seen[w] & mine[w]) == 0);
            seen[w] |= mine[w];
        }
    }
    assert_int_equal(tree_set_count(seen, shards), shards);
    return most;
}

static void test_rank_nodes(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= RK_MAX_SHARDS; shards *= 2)
        assert_int_equal(shards_rank_nodes(shards), tree_rank_nodes(shards));
}

static void check_world(uint64_t *seed, uint32_t shards, uint32_t world)
{
    uint64_t done[WORDS];

    for (uint32_t round = 0; round < ROUNDS; round++) {
        random_done(seed, shards, round, done);
        assert_int_equal(shards_share_nodes(done, shards, world),
                         tree_share_nodes(done, shards, world));
    }
}

static void test_every_world_of_few_shards(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (uint32_t shards = 1; shards <= 64; shards *= 2)
        for (uint32_t world = 1; world <= shards; world++)
            check_world(&seed, shards, world);
}

static void test_worlds_of_many_shards(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (uint32_t shards = 128; shards <= RK_MAX_SHARDS; shards *= 2) {
        check_world(&seed, shards, 1);
        check_world(&seed, shards, shards);
        for (uint32_t i = 0; i < 6; i++)
            check_world(&seed, shards, 1 + random_next(&seed) % shards);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rank_nodes),
        cmocka_unit_test(test_every_world_of_few_shards),
        cmocka_unit_test(test_worlds_of_many_shards),
    };

    return cmocka_run_group_tests_name("plan_rules", tests, NULL, NULL);
}
