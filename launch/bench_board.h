/* The board on which the ranks of a benchmark's engine write how long each round took, and where
 * they meet before it: a file that the benchmark makes and all ranks map.  Only for ranks on one
 * machine. */
#ifndef RK_LAUNCH_BENCH_BOARD_H
#define RK_LAUNCH_BENCH_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BOARD_RANKS 64u
#define BOARD_ROUNDS 1024u

/* Of one round of one rank, in microseconds. */
struct board_times {
    double fill;  /* writing the gradient once, or once for each shard */
    double sync;  /* from the last rank's having done so to the sum, or the update, being there; and
                     what shards before the last took to be added up */
    double whole; /* from the first write to the sum; without a meeting between them */
};

struct board {
    _Atomic uint32_t arrived;
    _Atomic uint32_t turn;
    uint32_t ranks;
    uint32_t rounds;
    uint64_t bytes; /* of the gradient, a multiple of 4 */
    struct board_times times[BOARD_RANKS][BOARD_ROUNDS];
};

/* Maps the file at `path`, NULL when it cannot be. */
struct board *board_open(const char *path);
void board_close(struct board *board); /* takes NULL */
/* Waits for all ranks: false when one has not come within a minute. */
bool board_meet(struct board *board);

#endif
