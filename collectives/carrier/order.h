/* In which order the elements of a step travel between hosts, and which host sums which of them.
 * Pure bookkeeping, the same on every host.
 *
 * The vector is cut into buckets.  A backward pass makes the last one ready first, so every stream
 * goes through the buckets from the last to the first and can begin before the others are ready.
 * There are two ways to sum:
 *
 *   slices   each host sums its slice of each bucket from the parts of all, and gives it to all:
 *            every host sends (v + 1) (H - 1) / H of the vector, v vectors of its own and a result
 *   gather   each host gives its parts of everything to all, and all sum everything:
 *            v (H - 1) of the vector, but one way over the wire instead of two
 *
 * So two hosts with one vector each gather at any size, more hosts only short vectors.  Both give
 * the same bits.
 *
 * Rings and halving exchanges were weighed and left out.  A ring adds in the order of its hosts,
 * which is not the tree's.  Halving along the tree would do for hosts that hold whole subtrees, but
 * sends the same 2 (H - 1) / H of the vector as slices do, in 2 log2 H trips instead of two; it
 * could win only where a switch cannot take messages from all at once.  See README.md for what was
 * measured. */
#ifndef RK_COLLECTIVES_CARRIER_ORDER_H
#define RK_COLLECTIVES_CARRIER_ORDER_H

#include "collectives/carrier/slices.h"

/* What a way in one trip may send more, in bytes, than one in two. */
#define ORDER_TRIP_BYTES (UINT64_C(64) << 10)

struct order {
    uint64_t elements; /* 4 bytes each */
    uint64_t wide;     /* from here on they are halves of float64 ones */
    uint64_t bucket;   /* elements of each bucket but the last; not 0 */
    uint32_t hosts;
    bool gather;
};

uint32_t order_buckets(const struct order *order);
/* What `owner` sums of a bucket; in a gather everything, whoever asks. */
struct slice order_part(const struct order *order, uint32_t bucket, uint32_t owner);

/* Whether to gather vectors of `bytes` on the wire when host h brings vectors[h] of them. */
bool order_gathers(uint64_t bytes, const uint32_t *vectors, uint32_t hosts);

/* A way through all that one owner sums. */
struct walk {
    uint32_t bucket; /* in hand */
    uint64_t at;     /* the next element */
    uint64_t end;    /* of the owner's part of the bucket; `at` when all is over */
    uint64_t done;   /* elements passed */
};

void walk_start(const struct order *order, uint32_t owner, struct walk *walk);
static inline bool walk_is_over(const struct walk *walk)
{
    return walk->at == walk->end;
}
/* How many elements from walk->at on may go together, at most `limit`: of one bucket, one kind. */
uint64_t walk_run(const struct order *order, const struct walk *walk, uint64_t limit);
/* Goes on by `count`, which walk_run allows. */
void walk_pass(const struct order *order, uint32_t owner, struct walk *walk, uint64_t count);

#endif
