/* The kernels of sum.h for processors with AVX2. */
#include "collectives/sum_paths.h"

#define SUM_TABLE sum_avx2
#define SUM_NAME "avx2"
#define SUM_VECTOR 32u
#include "collectives/sum_kernels.h"
