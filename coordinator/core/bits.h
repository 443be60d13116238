/* A set of small numbers that knows its lowest member, and the deal of shards as sums need it. */
#ifndef RK_COORDINATOR_CORE_BITS_H
#define RK_COORDINATOR_CORE_BITS_H

#include "common/id.h"

#include <stdbool.h>
#include <stdint.h>

#define BITS_NONE UINT32_MAX

struct bits {
    uint32_t size;
    uint32_t words;
    uint64_t *word;    /* bit n % 64 of word n / 64 */
    uint64_t *summary; /* bit w % 64 of word w / 64: word w is not 0 */
};

/* An empty set of numbers below `size`; false when memory is short.  bits_done frees. */
bool bits_init(struct bits *bits, uint32_t size);
void bits_done(struct bits *bits);

bool bits_has(const struct bits *bits, uint32_t number);
void bits_add(struct bits *bits, uint32_t number);
void bits_remove(struct bits *bits, uint32_t number);
/* The lowest member that is not below `from`, or BITS_NONE. */
uint32_t bits_next(const struct bits *bits, uint32_t from);

/* ---- shards ---------------------------------------------------------------------------------- */

#define SHARD_WORDS (RK_MAX_SHARDS / 64)

/* The nodes (maximal aligned runs, as in collectives/tree.h) of the largest share when the shards
 * missing in `done` are dealt to `world` members. */
uint32_t shards_share_nodes(const uint64_t *done, uint32_t shards, uint32_t world);
/* 2 log2 V + 1: the partial sums one rank may hold. */
uint32_t shards_rank_nodes(uint32_t shards);

#endif
