/* Random numbers for jitter, from a seed that the owner gives: the same seed, the same run. */
#ifndef RK_K8S_CLIENT_DRAW_H
#define RK_K8S_CLIENT_DRAW_H

#include <stdint.h>

struct draw {
    uint64_t state; /* the seed, at first */
};

/* SplitMix64 (Steele, Lea, Flood 2014): good enough to spread retries, not for secrets. */
static inline uint64_t draw_next(struct draw *draw)
{
    uint64_t z = (draw->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* least..most, both included; least <= most. */
static inline uint64_t draw_between(struct draw *draw, uint64_t least, uint64_t most)
{
    uint64_t span = most - least + 1;

    return span == 0 ? draw_next(draw) : least + draw_next(draw) % span;
}

#endif
