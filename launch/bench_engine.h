/* The engines that `reknit bench allreduce` and `overlap` set against each other: each run is a set
 * of processes of its own that sums a vector some hundred times and writes down how long it took.
 */
#ifndef RK_LAUNCH_BENCH_ENGINE_H
#define RK_LAUNCH_BENCH_ENGINE_H

#include "common/error.h"

#include <stdint.h>

enum engine {
    ENGINE_LIMIT,         /* an addition past the caches, by threads */
    ENGINE_ARENA,         /* ours, memory of rk_alloc */
    ENGINE_FAST,          /* the same with --reduction fast */
    ENGINE_OWN,           /* ours, the program's own memory */
    ENGINE_OVERLAP,       /* ours, summed while it is written */
    ENGINE_FUSED,         /* ours, updated by SGD where it is summed */
    ENGINE_OPENMPI,       /* MPI_Allreduce as it comes */
    ENGINE_OPENMPI_TUNED, /* with the segmented ring, the best that was found for shared memory */
    ENGINE_OPENMPI_SGD,   /* as it comes, then each rank updates by SGD */
    ENGINE_MPICH,
    ENGINE_GLOO,
    ENGINES
};

struct engine_job {
    uint32_t ranks;     /* up to 64 */
    uint32_t shards;    /* of ours; a power of two, at least ranks */
    uint32_t hosts;     /* virtual ones, for ours */
    uint64_t bytes;     /* of the vector, a multiple of 4 */
    const char *folder; /* for the board, logs and temporary files */
};

/* Microseconds: medians, over the rounds, of the slowest rank's. */
struct engine_times {
    double fill, sync, whole; /* as struct board_times of bench_board.h */
};

/* "ours", "openmpi", ... as in --json. */
const char *engine_name(enum engine engine);

/* Runs one engine.  RK_EUNAVAILABLE: it is not on this machine; RK_EJOB: it failed, or took longer
 * than two minutes and was ended. */
int engine_run(enum engine engine, const struct engine_job *job, struct engine_times *times,
               struct rk_why *why);

#endif
