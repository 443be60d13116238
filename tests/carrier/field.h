/* A host to test carriers on: an arena with a layout, ranks that are played, and what they must
 * get.  Every number is a function of (step, shard, element), so any sum can be checked. */
#ifndef RK_TESTS_CARRIER_FIELD_H
#define RK_TESTS_CARRIER_FIELD_H

#include "collectives/arena.h"

struct field {
    uint32_t shards;
    uint64_t elements; /* of gradient space, 4 bytes each */
    uint64_t wide;     /* where those begin that are half a float64 */
    uint64_t state_bytes;
    enum arena_reduction reduction;
    bool still; /* all steps have the gradients of the first */
    struct arena arena;
    uint32_t block; /* of the agent */
};

/* Numbers without a random source: the next of a sequence. */
uint64_t field_next(uint64_t *seed);

/* A new arena with its layout and one agent block: `elements` float32 gradients, `wide` float64
 * ones, buckets of `bucket` bytes (0: as the arena has them).  field->reduction is set by the
 * caller.  Ends the process when there is no memory. */
void field_init_as(struct field *field, uint32_t host, uint32_t shards, uint64_t elements,
                   uint64_t wide, uint64_t state_bytes, uint64_t bucket);
void field_init(struct field *field, uint32_t host, uint32_t shards, uint64_t elements,
                uint64_t state_bytes);
void field_done(struct field *field);

/* A seat for a rank; `slot` is for the claim only. */
uint32_t field_seat(struct field *field, uint32_t slot);

/* The rank in `seat` has summed the shards of `set` for `step` and says so, or dies before. */
void field_finish(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step,
                  const uint64_t *set);
void field_ready(struct field *field, uint32_t seat, const struct arena_plan *plan, uint64_t step);

/* The same bit by bit: the rank in `seat` knows what it will end `step` with, of which nothing can
 * be read yet; bucket b of it is there; all is there and published. */
void field_announce(struct field *field, uint32_t seat, const struct arena_plan *plan,
                    uint64_t step, const uint64_t *set);
void field_release(struct field *field, uint32_t seat, uint64_t step, uint32_t b);
void field_publish(struct field *field, uint32_t seat, const struct arena_plan *plan,
                   uint64_t step);
/* The rank goes on: its partial sums are overwritten. */
void field_trash(struct field *field, uint32_t seat);

/* Deals all shards to `ranks` sets, unevenly, so that each set is in at most `most` nodes. */
void field_deal(uint32_t shards, uint32_t ranks, uint32_t most, uint64_t *seed,
                uint64_t set[][RK_MAX_SHARDS / 64]);

/* Elements from .. from + count - 1 of the sum of a node as one process would make it; `from` and
 * `count` are even beyond `wide`. */
void field_sum(const struct field *field, uint64_t step, struct tree_node node, uint64_t from,
               uint64_t count, float *out);
/* Whether the result is that of a serial sum: to the bit, or as near as any order comes to it where
 * the reduction is fast. */
bool field_result_is(const struct field *field, uint64_t step);
/* Of the float64 elements only. */
bool field_wide_result_is(const struct field *field, uint64_t step);

/* A snapshot of `step`, and whether there is a right one. */
void field_snapshot(struct field *field, uint64_t step);
bool field_snapshot_is(const struct field *field, uint64_t step);

#endif
