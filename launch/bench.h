/* The project's own benchmarks; each returns the process's exit code. */
#ifndef RK_LAUNCH_BENCH_H
#define RK_LAUNCH_BENCH_H

#include <stddef.h>

int bench_recovery(int argc, char **argv);
int bench_allreduce(int argc, char **argv);
int bench_overlap(int argc, char **argv);

/* The value below which `share` (0 to 1) of `count` values lie; sorts them.  0 for none. */
double bench_percentile(double *values, size_t count, double share);

#endif
