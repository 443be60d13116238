/* Several hosts in one process with the talks of their carriers and played ranks; turns are drawn
 * by lot.  What fails ends the cmocka test that runs. */
#ifndef RK_TESTS_CARRIER_SCENE_H
#define RK_TESTS_CARRIER_SCENE_H

#include "collectives/carrier/talk.h"
#include "tests/carrier/field.h"
#include "tests/carrier/memory_wires.h"

#define SCENE_HOSTS 4u
#define SCENE_RANKS 16u
#define SCENE_TURNS 2000000u

struct scene_kind {
    uint32_t hosts;
    uint32_t shards;
    uint64_t elements;
    uint64_t wide; /* float64 elements behind them */
    uint64_t state_bytes;
    uint64_t bucket;             /* bytes, 0: as the arena has it */
    uint32_t ranks[SCENE_HOSTS]; /* of each host */
    uint32_t wire;
    enum arena_reduction reduction;
    uint64_t seed;
};

struct scene {
    uint32_t hosts;
    uint32_t world;
    uint64_t seed;
    struct wires *wires[SCENE_HOSTS];
    struct narrow narrow[SCENE_HOSTS];
    struct field field[SCENE_HOSTS];
    struct talk *talk[SCENE_HOSTS];
    struct arena_plan plan[SCENE_HOSTS];
    uint64_t set[SCENE_RANKS][RK_MAX_SHARDS / 64]; /* by plan[h].local[r].index */
};

void scene_init_as(struct scene *scene, const struct scene_kind *kind);
/* With two ranks on each host. */
void scene_init(struct scene *scene, uint32_t hosts, uint32_t shards, uint64_t elements,
                uint64_t state_bytes);
void scene_done(struct scene *scene);

/* Freeze and go of one host for `word`, or of all: a new talk over the same streams. */
void scene_go_host(struct scene *scene, uint32_t h, rk_word word, rk_word lineage,
                   uint64_t deal_step);
void scene_go(struct scene *scene, rk_word word, rk_word lineage, uint64_t deal_step);

/* Deals the shards anew, unevenly. */
void scene_deal(struct scene *scene);
/* The ranks of a host, or of all, have summed their shards of `step` and say so. */
void scene_compute(struct scene *scene, uint32_t host, uint64_t step);
void scene_compute_all(struct scene *scene, uint64_t step);

uint64_t scene_complete(const struct scene *scene, uint32_t host);
/* One turn of a host drawn by lot; the talk's return value. */
int scene_turn(struct scene *scene);
/* Turns until `step` is complete on all hosts, or on any. */
void scene_run(struct scene *scene, uint64_t step, bool all);
/* All hosts have the bits of a serial sum. */
void scene_check(const struct scene *scene, uint64_t step);

#endif
