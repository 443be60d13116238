/* The kernels of sum.h for any processor of the architecture. */
#include "collectives/sum_paths.h"

#define SUM_TABLE sum_portable
#define SUM_NAME "portable"
#define SUM_VECTOR 16u
#include "collectives/sum_kernels.h"
