/* The project's own benchmarks; each returns the process's exit code. */
#ifndef RK_LAUNCH_BENCH_H
#define RK_LAUNCH_BENCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_SUMS 65536u

/* A process of a rank: when its main began, and when it had the first sum to which it had
 * contributed; by rk_clock_now, 0: not yet. */
struct bench_process {
    _Atomic uint64_t began, summed;
};

/* A file that the ranks of `reknit bench recovery` map: when the first of them had the first sum of
 * a generation, by rk_clock_now; generation g stands at g modulo BENCH_SUMS, 0: none yet.  And
 * every process of theirs, in the order in which they began; those behind BENCH_SUMS are not. */
struct bench_sums {
    _Atomic uint64_t first[BENCH_SUMS];
    _Atomic uint32_t processes;
    struct bench_process process[BENCH_SUMS];
};

int bench_recovery(int argc, char **argv);
int bench_allreduce(int argc, char **argv);
int bench_overlap(int argc, char **argv);

/* The value below which `share` (0 to 1) of `count` values lie; sorts them.  0 for none. */
double bench_percentile(double *values, size_t count, double share);

#endif
