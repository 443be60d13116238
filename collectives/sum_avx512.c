/* The kernels of sum.h for processors with AVX512. */
#include "collectives/sum_paths.h"

#define SUM_TABLE sum_avx512
#define SUM_NAME "avx512"
#define SUM_VECTOR 64u
#include "collectives/sum_kernels.h"
