/* Loads the plug-in of kernels.h. */
#include "collectives/nccl/kernels.h"

#include <dlfcn.h>
#include <string.h>

int kernels_open(const char *path, const struct gpu_kernels **kernels, struct rk_why *why)
{
    const char *name = path == NULL ? KERNELS_PLUGIN : path;
    const struct gpu_kernels *(*symbol)(void);
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    void *address;

    if (library == NULL)
        return rk_fail(why, RK_EUNAVAILABLE,
                       "the kernels for GPUs cannot be loaded: %.300s; build reknit where nvcc is, "
                       "put the folder of %s into LD_LIBRARY_PATH, or use the mpi backend",
                       dlerror(), KERNELS_PLUGIN);
    address = dlsym(library, KERNELS_SYMBOL);
    if (address == NULL)
        return rk_fail(why, RK_EUNAVAILABLE, "%s has no %s: it is not reknit's; remove it", name,
                       KERNELS_SYMBOL);
    memcpy(&symbol, &address, sizeof symbol);
    if (symbol()->abi != KERNELS_ABI)
        return rk_fail(why, RK_EVERSION,
                       "%s is of interface %u, and this program of %u; install both from one build",
                       name, symbol()->abi, KERNELS_ABI);
    *kernels = symbol();
    return 0;
}
