/* Finds NCCL and the CUDA runtime; see api.h. */
#include "collectives/nccl/api.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const char cuda_built[] = "libcudart.so." TEXT(RK_CUDA_MAJOR);

/* libcudart carries its major version in its name; its functions used here are in each. */
static const char *const cuda_names[] = {cuda_built, "libcudart.so.13", "libcudart.so.12",
                                         "libcudart.so", NULL};
static const char *const nccl_names[] = {API_NCCL_DEFAULT, "libnccl.so", NULL};

static int load(const char *what, const char *path, const char *const *names, int scope,
                void **library, struct rk_why *why)
{
    const char *const given[] = {path, NULL};
    char first[256] = "";

    for (const char *const *name = path == NULL ? names : given; *name != NULL; name++) {
        const char *error;

        *library = dlopen(*name, RTLD_NOW | scope);
        if (*library != NULL)
            return 0;
        error = dlerror();
        if (first[0] == '\0' && error != NULL)
            snprintf(first, sizeof first, "%s", error);
    }
    return rk_fail(why, RK_EUNAVAILABLE,
                   "%s cannot be loaded: %s; install it, put its folder into LD_LIBRARY_PATH, or "
                   "use the mpi backend",
                   what, first);
}

static int find(void *library, const char *what, const char *symbol, void *function,
                struct rk_why *why)
{
    void *address = dlsym(library, symbol);

    memcpy(function, &address, sizeof address);
    if (address != NULL)
        return 0;
    return rk_fail(why, RK_EUNAVAILABLE,
                   "%s that was loaded has no %s; is it damaged, or of another make? install "
                   "NVIDIA's, or use the mpi backend",
                   what, symbol);
}

static int find_nccl(void *library, struct api *api, struct rk_why *why)
{
    int rc = 0;

    /* the version first: of a library too old, that is what a person wants to hear */
    if ((rc = find(library, "NCCL", "ncclGetVersion", &api->get_version, why)) != 0)
        return rc;
    if (api->get_version(&api->version) != ncclSuccess || api->version < API_NCCL_OLDEST)
        return rk_fail(why, RK_EVERSION,
                       "NCCL that was loaded has version number %d, and %d is the oldest that "
                       "works; install a newer one, or use the mpi backend",
                       api->version, API_NCCL_OLDEST);
#define X(field, symbol) rc = rc == 0 ? find(library, "NCCL", TEXT_(symbol), &api->field, why) : rc;
    API_NCCL_LIST(X)
#undef X
    (void)find(library, "NCCL", "ncclCommShrink", &api->shrink, NULL);
    (void)find(library, "NCCL", "ncclCommRevoke", &api->revoke, NULL);
    return rc;
}

static int find_cuda(void *library, struct api *api, struct rk_why *why)
{
    int rc = 0;

#define X(field, symbol) \
    rc = rc == 0 ? find(library, "the CUDA runtime", TEXT_(symbol), &api->field, why) : rc;
    API_CUDA_LIST(X)
#undef X
    return rc;
}

int api_open(const char *nccl, const char *cuda, struct api *api, struct rk_why *why)
{
    void *library;
    int rc = load("NCCL", nccl, nccl_names, RTLD_LOCAL, &library, why);

    memset(api, 0, sizeof *api);
    if (rc == 0)
        rc = find_nccl(library, api, why);
    if (rc == 0)
        /* for all: the kernels' plug-in takes the runtime that is there */
        rc = load("the CUDA runtime", cuda, cuda_names, RTLD_GLOBAL, &library, why);
    if (rc == 0)
        rc = find_cuda(library, api, why);
    return rc;
}

static const char *nccl_advice(ncclResult_t result)
{
    switch (result) {
    case ncclRemoteError:
        return "a peer is gone or unreachable: the next generation goes on without it";
    case ncclSystemError:
        return "look at the network and at /dev/shm; NCCL_DEBUG=WARN says more";
    case ncclUnhandledCudaError:
        return "look at `nvidia-smi` and the driver; NCCL_DEBUG=WARN says more";
    default:
        return "NCCL_DEBUG=WARN says more";
    }
}

int api_nccl_fail(const struct api *api, struct rk_why *why, ncclResult_t result, ncclComm_t comm,
                  const char *call, int rank, int world)
{
    const char *last = api->last_error(comm);

    return rk_fail(why, RK_ETRANSPORT, "rank %d of %d: %s: %s%s%.160s; %s", rank, world, call,
                   api->error_string(result), last != NULL && last[0] != '\0' ? ": " : "",
                   last != NULL ? last : "", nccl_advice(result));
}

static const char *cuda_advice(cudaError_t error)
{
    switch (error) {
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
        return "`nvidia-smi -L` lists the GPUs; give this host as many slots as it has, or use the "
               "mpi backend";
    case cudaErrorInsufficientDriver:
        return "the driver is older than the CUDA runtime: update it, or use the mpi backend";
    case cudaErrorMemoryAllocation:
        return "the GPU's memory is full: free some, or use fewer ranks on it";
    default:
        return "look at `nvidia-smi` and at `dmesg`";
    }
}

int api_cuda_fail(const struct api *api, struct rk_why *why, cudaError_t error, const char *call,
                  int device)
{
    return rk_fail(why, RK_EUNAVAILABLE, "GPU %d: %s: %s (%s); %s", device, call,
                   api->error_text(error), api->error_name(error), cuda_advice(error));
}
