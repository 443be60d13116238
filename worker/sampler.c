/* Samples and random numbers as pure functions of (seed, step, shard); see reknit.h. */
#include "worker/session.h"

void rk_shard_samples(const struct rk_session *session, uint64_t shard, uint64_t *first,
                      uint64_t *count)
{
    unsigned __int128 batch = session->options.batch;
    uint32_t shards = session->arena.header->shards;
    uint64_t from = (uint64_t)(batch * shard / shards);
    uint64_t to = (uint64_t)(batch * (shard + 1) / shards);

    *first = from;
    *count = to - from;
}

/* Philox 4x32-10: ten rounds of multiplications over a 128-bit counter with a 64-bit key. */
static void philox(uint32_t counter[4], uint64_t key)
{
    uint32_t k0 = (uint32_t)key;
    uint32_t k1 = (uint32_t)(key >> 32);

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * counter[2];
        uint32_t c1 = counter[1];
        uint32_t c3 = counter[3];

        counter[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        counter[1] = (uint32_t)p1;
        counter[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        counter[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* The counter is 128 bits wide: two draws chain (step, shard) and counter, so that none is cut. */
static uint64_t draw(uint64_t seed, uint64_t step, uint64_t shard, uint64_t counter)
{
    uint32_t block[4] = {(uint32_t)step, (uint32_t)(step >> 32), (uint32_t)shard,
                         (uint32_t)(shard >> 32)};
    uint64_t key;

    philox(block, seed);
    key = (uint64_t)block[1] << 32 | block[0];
    block[0] = (uint32_t)counter;
    block[1] = (uint32_t)(counter >> 32);
    philox(block, key);
    return (uint64_t)block[1] << 32 | block[0];
}

uint64_t rk_random(const struct rk_session *session, uint64_t step, uint64_t shard,
                   uint64_t counter)
{
    return draw(session->options.seed, step, shard, counter);
}

/* A permutation of 0 .. 4^bits - 1: a balanced Feistel network of four rounds. */
static uint64_t feistel(uint64_t value, uint32_t bits, uint64_t seed, uint64_t pass)
{
    uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t left = value >> bits;
    uint64_t right = value & mask;

    for (uint64_t round = 0; round < 4; round++) {
        uint64_t mixed = draw(seed ^ UINT64_C(0x5fe15fe15fe15fe1), pass, round, right) & mask;
        uint64_t old = right;

        right = left ^ mixed;
        left = old;
    }
    return left << bits | right;
}

uint64_t rk_sample(const struct rk_session *session, uint64_t step, uint64_t position,
                   uint64_t dataset_size)
{
    unsigned __int128 at = (unsigned __int128)step * session->options.batch + position;
    uint64_t pass = (uint64_t)(at / dataset_size);
    uint64_t value = (uint64_t)(at % dataset_size);
    uint32_t bits = 1;

    while (bits < 32 && (UINT64_C(1) << (2 * bits)) < dataset_size)
        bits++;
    /* Cycle walking: at most four times as many values as samples, so a few turns on average. */
    do {
        value = feistel(value, bits, session->options.seed, pass);
    } while (value >= dataset_size);
    return value;
}
