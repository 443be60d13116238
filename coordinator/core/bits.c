/* Sets of small numbers in two levels, and how many partial sums a deal of shards makes. */
#include "coordinator/core/bits.h"

#include <stdlib.h>

bool bits_init(struct bits *bits, uint32_t size)
{
    bits->size = size;
    bits->words = size / 64 + 1;
    bits->word = calloc(bits->words, sizeof *bits->word);
    bits->summary = calloc(bits->words / 64 + 1, sizeof *bits->summary);
    return bits->word && bits->summary;
}

void bits_done(struct bits *bits)
{
    free(bits->word);
    free(bits->summary);
}

bool bits_has(const struct bits *bits, uint32_t number)
{
    return number < bits->size && (bits->word[number / 64] >> (number % 64)) & 1;
}

void bits_add(struct bits *bits, uint32_t number)
{
    uint32_t word = number / 64;

    bits->word[word] |= UINT64_C(1) << (number % 64);
    bits->summary[word / 64] |= UINT64_C(1) << (word % 64);
}

void bits_remove(struct bits *bits, uint32_t number)
{
    uint32_t word = number / 64;

    bits->word[word] &= ~(UINT64_C(1) << (number % 64));
    if (bits->word[word] == 0)
        bits->summary[word / 64] &= ~(UINT64_C(1) << (word % 64));
}

/* The bits of `word` at and above `from`. */
static uint64_t bits_above(uint64_t word, uint32_t from)
{
    return word & (~UINT64_C(0) << from);
}

uint32_t bits_next(const struct bits *bits, uint32_t from)
{
    uint32_t word = from / 64;
    uint64_t rest;

    if (from >= bits->size)
        return BITS_NONE;
    rest = bits_above(bits->word[word], from % 64);
    if (rest)
        return word * 64 + (uint32_t)__builtin_ctzll(rest);
    word++;
    for (uint32_t s = word / 64; s <= (bits->words - 1) / 64 && word < bits->words; s++) {
        rest = bits_above(bits->summary[s], s == word / 64 ? word % 64 : 0);
        if (rest) {
            word = s * 64 + (uint32_t)__builtin_ctzll(rest);
            return word * 64 + (uint32_t)__builtin_ctzll(bits->word[word]);
        }
    }
    return BITS_NONE;
}

/* ---- shards ---------------------------------------------------------------------------------- */

static uint32_t shards_log2(uint32_t shards)
{
    return shards > 1 ? 31 - (uint32_t)__builtin_clz(shards) : 0;
}

uint32_t shards_rank_nodes(uint32_t shards)
{
    return 2 * shards_log2(shards) + 1;
}

static bool shard_has(const uint64_t *set, uint32_t shard)
{
    return (set[shard / 64] >> (shard % 64)) & 1;
}

/* The nodes of a set: as in a binary counter, two halves become their whole. */
static uint32_t shards_nodes(const uint64_t *set, uint32_t shards)
{
    uint64_t level[SHARD_WORDS];
    uint32_t nodes = 0;

    for (uint32_t w = 0; w < SHARD_WORDS; w++)
        level[w] = w * 64 < shards ? set[w] : 0;
    for (uint32_t width = shards; width > 1; width /= 2) {
        uint64_t above[SHARD_WORDS] = {0};

        for (uint32_t i = 0; i < width; i += 2) {
            bool left = shard_has(level, i);
            bool right = shard_has(level, i + 1);

            if (left && right)
                above[i / 128] |= UINT64_C(1) << (i / 2 % 64);
            else if (left || right)
                nodes++;
        }
        for (uint32_t w = 0; w < SHARD_WORDS; w++)
            level[w] = above[w];
    }
    return nodes + (uint32_t)(level[0] & 1);
}

uint32_t shards_share_nodes(const uint64_t *done, uint32_t shards, uint32_t world)
{
    uint32_t missing = 0;
    uint32_t shard = 0;
    uint32_t most = 0;
    uint64_t dealt = 0;

    for (uint32_t s = 0; s < shards; s++)
        missing += !shard_has(done, s);
    for (uint32_t index = 0; index < world && dealt < missing; index++) {
        uint64_t end = (uint64_t)missing * (index + 1) / world;
        uint64_t set[SHARD_WORDS] = {0};
        uint32_t nodes;

        if (end == dealt)
            continue;
        for (; dealt < end; shard++) {
            if (shard_has(done, shard))
                continue;
            set[shard / 64] |= UINT64_C(1) << (shard % 64);
            dealt++;
        }
        nodes = shards_nodes(set, shards);
        most = nodes > most ? nodes : most;
    }
    return most;
}
