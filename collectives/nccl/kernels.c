/* Loads the plug-in of kernels.h. */
#include "collectives/nccl/kernels.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The plug-in in the folder of the library or program that this code is part of, or NULL. */
static void *open_beside(void)
{
    static const char here;
    char path[4096];
    Dl_info info;
    const char *end;

    if (dladdr(&here, &info) == 0 || info.dli_fname == NULL)
        return NULL;
    end = strrchr(info.dli_fname, '/');
    if (end == NULL || snprintf(path, sizeof path, "%.*s/%s", (int)(end - info.dli_fname),
                                info.dli_fname, KERNELS_PLUGIN) >= (int)sizeof path)
        return NULL;
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

int kernels_open(const char *path, const struct gpu_kernels **kernels, struct rk_why *why)
{
    const char *name = path == NULL ? KERNELS_PLUGIN : path;
    const struct gpu_kernels *(*symbol)(void);
    void *library = path == NULL ? open_beside() : NULL;
    void *address;

    if (library == NULL)
        library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
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
