/* The sets of kernels that are built; the processor decides which can be run. */
#ifndef RK_COLLECTIVES_SUM_PATHS_H
#define RK_COLLECTIVES_SUM_PATHS_H

#include "collectives/sum.h"

extern const struct sum_kernels sum_portable;
extern const struct sum_kernels sum_avx2;
extern const struct sum_kernels sum_avx512;

#endif
