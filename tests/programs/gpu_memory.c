/* See gpu_memory.h. */
#include "tests/programs/gpu_memory.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TO_GPU 1 /* cudaMemcpyHostToDevice */
#define FROM_GPU 2

static void *find(const char *symbol)
{
    void *address = dlsym(RTLD_DEFAULT, symbol);

    if (address != NULL)
        return address;
    fprintf(stderr, "gpu_memory: no CUDA runtime is loaded that has %s\n", symbol);
    exit(EXIT_FAILURE);
}

static void check(int error, const char *call)
{
    if (error == 0)
        return;
    fprintf(stderr, "gpu_memory: %s: CUDA error %d\n", call, error);
    exit(EXIT_FAILURE);
}

void *gpu_memory_new(size_t bytes)
{
    void *address = find("cudaMalloc");
    int (*allocate)(void **, size_t);
    void *memory = NULL;

    memcpy(&allocate, &address, sizeof address);
    check(allocate(&memory, bytes), "cudaMalloc");
    return memory;
}

void gpu_memory_free(void *gpu)
{
    void *address = find("cudaFree");
    int (*release)(void *);

    memcpy(&release, &address, sizeof address);
    check(release(gpu), "cudaFree");
}

static void copy(void *to, const void *from, size_t bytes, int kind)
{
    void *address = find("cudaMemcpy");
    int (*call)(void *, const void *, size_t, int);

    memcpy(&call, &address, sizeof address);
    check(call(to, from, bytes, kind), "cudaMemcpy");
}

void gpu_memory_put(void *gpu, const void *host, size_t bytes)
{
    copy(gpu, host, bytes, TO_GPU);
}

void gpu_memory_get(void *host, const void *gpu, size_t bytes)
{
    copy(host, gpu, bytes, FROM_GPU);
}
