/* Memory of a GPU for a program that is compiled without CUDA: the calls of the runtime that
 * rk_use_gpu has loaded.  All wait until they are done; each ends the process when it fails. */
#ifndef RK_TESTS_GPU_MEMORY_H
#define RK_TESTS_GPU_MEMORY_H

#include <stddef.h>

void *gpu_memory_new(size_t bytes);
void gpu_memory_free(void *gpu);
void gpu_memory_put(void *gpu, const void *host, size_t bytes);
void gpu_memory_get(void *host, const void *gpu, size_t bytes);

#endif
