/* libnccl and libcudart, found at run time: one binary serves machines with and without GPUs.
 *
 * Functions that every supported NCCL has are never NULL after api_open; those that came later are
 * NULL where the library is older, and their callers have another way.
 *
 * Ownership: struct api is the caller's and outlives all that was made with it.  The libraries stay
 * loaded for the life of the process: NCCL leaves threads behind.  Threads: api_open from one. */
#ifndef RK_COLLECTIVES_NCCL_API_H
#define RK_COLLECTIVES_NCCL_API_H

#include "common/error.h"

#include <nccl.h>
#include <stdbool.h>

#define API_NCCL_OLDEST 21800 /* as ncclGetVersion tells it: configs, non-blocking, abort */
#define API_NCCL_DEFAULT "libnccl.so.2"

/* X(field, symbol) */
#define API_NCCL_LIST(X)                  \
    X(get_version, ncclGetVersion)        \
    X(get_unique_id, ncclGetUniqueId)     \
    X(init_rank, ncclCommInitRankConfig)  \
    X(async_error, ncclCommGetAsyncError) \
    X(abort, ncclCommAbort)               \
    X(error_string, ncclGetErrorString)   \
    X(last_error, ncclGetLastError)       \
    X(all_reduce, ncclAllReduce)          \
    X(all_gather, ncclAllGather)          \
    X(send, ncclSend)                     \
    X(recv, ncclRecv)                     \
    X(group_start, ncclGroupStart)        \
    X(group_end, ncclGroupEnd)
#define API_CUDA_LIST(X)                         \
    X(set_device, cudaSetDevice)                 \
    X(device_count, cudaGetDeviceCount)          \
    X(error_text, cudaGetErrorString)            \
    X(error_name, cudaGetErrorName)              \
    X(stream_create, cudaStreamCreateWithFlags)  \
    X(stream_destroy, cudaStreamDestroy)         \
    X(event_create, cudaEventCreateWithFlags)    \
    X(event_destroy, cudaEventDestroy)           \
    X(event_record, cudaEventRecord)             \
    X(event_query, cudaEventQuery)               \
    X(stream_wait_event, cudaStreamWaitEvent)    \
    X(stream_synchronize, cudaStreamSynchronize) \
    X(memory_alloc, cudaMalloc)                  \
    X(memory_free, cudaFree)                     \
    X(host_alloc, cudaHostAlloc)                 \
    X(host_free, cudaFreeHost)                   \
    X(host_register, cudaHostRegister)           \
    X(host_unregister, cudaHostUnregister)       \
    X(memset_async, cudaMemsetAsync)             \
    X(memcpy_async, cudaMemcpyAsync)

struct api {
    int version; /* of NCCL: 10000 major + 100 minor + patch */
#define X(field, symbol) __typeof__(symbol) *(field);
    API_NCCL_LIST(X)
    API_CUDA_LIST(X)
#undef X
    /* from 2.27 and 2.28.7 on; declared here, since older headers lack them */
    ncclResult_t (*shrink)(ncclComm_t comm, int *lost, int lost_count, ncclComm_t *child,
                           ncclConfig_t *config, int flags);
    ncclResult_t (*revoke)(ncclComm_t comm, int flags);
};

/* Loads both libraries by name or path; NULL: by their usual names.  RK_EUNAVAILABLE: one cannot be
 * loaded or lacks a function; RK_EVERSION: NCCL is too old.  Then `api` is not to be used. */
int api_open(const char *nccl, const char *cuda, struct api *api, struct rk_why *why);

/* The sentence for a failed call: which, where, what the library says, what to do. */
int api_nccl_fail(const struct api *api, struct rk_why *why, ncclResult_t result, ncclComm_t comm,
                  const char *call, int rank, int world);
int api_cuda_fail(const struct api *api, struct rk_why *why, cudaError_t error, const char *call,
                  int device);

#endif
