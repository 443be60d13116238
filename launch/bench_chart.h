/* The picture of `reknit bench allreduce`: time by size, both logarithmic, a line for each engine.
 */
#ifndef RK_LAUNCH_BENCH_CHART_H
#define RK_LAUNCH_BENCH_CHART_H

#include "common/error.h"
#include "launch/bench_engine.h"

#include <jansson.h>
#include <stddef.h>

/* Writes an SVG file from the result's "sizes" (their "bytes" and "ENGINE_us").  RK_EIO. */
int chart_write(const char *path, const json_t *result, const enum engine *engines, size_t count,
                struct rk_why *why);

#endif
