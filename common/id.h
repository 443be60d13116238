/* Ids that could be swapped by mistake are one-field structs; the membership word orders lives. */
#ifndef RK_COMMON_ID_H
#define RK_COMMON_ID_H

#include <stdbool.h>
#include <stdint.h>

/* A worker's name for its whole life: 64 random bits drawn by the agent, never 0. */
struct rk_worker_id {
    uint64_t value;
};
/* A host's name: 64 random bits drawn when its arena is made, never 0.  Workers that carry the
 * same host id share an arena. */
struct rk_host_id {
    uint64_t value;
};

/* (epoch, generation) in one word that only grows: epoch in the upper 24 bits, generation in the
 * lower 40.  0 is "none yet". */
typedef uint64_t rk_word;

static inline rk_word rk_word_make(uint32_t epoch, uint64_t generation)
{
    return ((uint64_t)epoch << 40) | (generation & ((UINT64_C(1) << 40) - 1));
}
static inline uint32_t rk_word_epoch(rk_word word)
{
    return (uint32_t)(word >> 40);
}
static inline uint64_t rk_word_generation(rk_word word)
{
    return word & ((UINT64_C(1) << 40) - 1);
}

#define RK_MAX_SHARDS 1024 /* virtual shards of a global batch, a power of two */
#define RK_MAX_SLOTS 64    /* ranks under one worker */
#define RK_JOB_NAME_MAX 63 /* as a Kubernetes label */

#endif
