/* The double of cuda_double.h: libcudart-double.so. */
#include "tests/nccl/cuda_double.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES 8

struct task {
    struct task *next;
    bool (*poll)(void *context);
    void *context;
};

struct CUstream_st {
    struct task *head, **tail;
    struct CUstream_st *next;
};

struct CUevent_st {
    _Atomic unsigned recorded, reached;
};

struct mark {
    struct CUevent_st *event;
    unsigned number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool told_to_fail(const char *call)
{
    const char *which = getenv("CUDA_DOUBLE_FAIL");

    return which != NULL && strcmp(which, call) == 0;
}

/* The default stream, which other streams do not wait for here, and all others. */
static struct CUstream_st legacy = {.tail = &legacy.head};

static struct CUstream_st *stream_of(cudaStream_t stream)
{
    return stream == NULL ? &legacy : stream;
}

/* Does what can be done now of one stream; whether that was anything. */
static bool pump_one(struct CUstream_st *stream)
{
    struct task *task;
    bool moved = false;

    while ((task = stream->head) != NULL && task->poll(task->context)) {
        stream->head = task->next;
        if (stream->head == NULL)
            stream->tail = &stream->head;
        free(task->context);
        free(task);
        moved = true;
    }
    return moved;
}

/* The same of all streams, since they wait for each other; with the lock. */
static void pump(void)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (struct CUstream_st *stream = &legacy; stream != NULL; stream = stream->next)
            moved = pump_one(stream) || moved;
    }
}

void cuda_double_enqueue(cudaStream_t stream, bool (*poll)(void *context), void *context)
{
    struct CUstream_st *on = stream_of(stream);
    struct task *task = calloc(1, sizeof *task);

    if (task == NULL)
        abort();
    *task = (struct task){.poll = poll, .context = context};
    pthread_mutex_lock(&lock);
    *on->tail = task;
    on->tail = &task->next;
    pthread_mutex_unlock(&lock);
}

void cuda_double_pump(void)
{
    pthread_mutex_lock(&lock);
    pump();
    pthread_mutex_unlock(&lock);
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = told_to_fail("cudaSetDevice") ? 0 : DEVICES;
    return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    if (told_to_fail("cudaSetDevice"))
        return cudaErrorNoDevice;
    return device >= 0 && device < DEVICES ? cudaSuccess : cudaErrorInvalidDevice;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "cudaErrorNoDevice" : "cudaErrorOfTheDouble";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "told to fail";
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    if (told_to_fail("cudaStreamCreateWithFlags"))
        return cudaErrorMemoryAllocation;
    *stream = calloc(1, sizeof **stream);
    if (*stream == NULL)
        return cudaErrorMemoryAllocation;
    (*stream)->tail = &(*stream)->head;
    pthread_mutex_lock(&lock);
    (*stream)->next = legacy.next;
    legacy.next = *stream;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    struct CUstream_st *on = stream_of(stream);
    bool empty = false;

    if (told_to_fail("cudaStreamSynchronize"))
        return cudaErrorIllegalAddress;
    while (!empty) {
        pthread_mutex_lock(&lock);
        pump();
        empty = on->head == NULL;
        pthread_mutex_unlock(&lock);
        if (!empty)
            sched_yield();
    }
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    struct CUstream_st *before = &legacy;
    struct task *task;

    pthread_mutex_lock(&lock);
    while (before->next != stream)
        before = before->next;
    before->next = stream->next;
    pthread_mutex_unlock(&lock);
    while ((task = stream->head) != NULL) {
        stream->head = task->next;
        free(task->context);
        free(task);
    }
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    return *event == NULL ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

static bool reach(void *context)
{
    struct mark *mark = context;

    mark->event->reached = mark->number;
    return true;
}

struct crossing {
    struct CUevent_st *event;
    unsigned number;
};

static bool cross(void *context)
{
    struct crossing *crossing = context;

    return crossing->event->reached >= crossing->number;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    struct crossing *crossing = calloc(1, sizeof *crossing);

    (void)flags;
    if (crossing == NULL || told_to_fail("cudaStreamWaitEvent")) {
        free(crossing);
        return cudaErrorUnknown;
    }
    *crossing = (struct crossing){.event = event, .number = event->recorded};
    cuda_double_enqueue(stream, cross, crossing);
    return cudaSuccess;
}

/* ---- memory ---------------------------------------------------------------------------------- */

cudaError_t cudaMalloc(void **devPtr, size_t size)
{
    *devPtr = told_to_fail("cudaMalloc") ? NULL : malloc(size == 0 ? 1 : size);
    return *devPtr == NULL ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFree(void *devPtr)
{
    free(devPtr);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned flags)
{
    (void)flags;
    *pHost = told_to_fail("cudaHostAlloc") ? NULL : malloc(size == 0 ? 1 : size);
    return *pHost == NULL ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void *ptr)
{
    free(ptr);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void *ptr, size_t size, unsigned flags)
{
    (void)ptr, (void)size, (void)flags;
    return told_to_fail("cudaHostRegister") ? cudaErrorUnknown : cudaSuccess;
}

cudaError_t cudaHostUnregister(void *ptr)
{
    (void)ptr;
    return cudaSuccess;
}

struct fill {
    void *at;
    int value;
    size_t bytes;
};

static bool fill_now(void *context)
{
    struct fill *fill = context;

    memset(fill->at, fill->value, fill->bytes);
    return true;
}

cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream)
{
    struct fill *fill = calloc(1, sizeof *fill);

    if (fill == NULL)
        return cudaErrorUnknown;
    *fill = (struct fill){devPtr, value, count};
    cuda_double_enqueue(stream, fill_now, fill);
    return cudaSuccess;
}

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};

static bool copy_now(void *context)
{
    struct copy *copy = context;

    memcpy(copy->to, copy->from, copy->bytes);
    return true;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    struct copy *copy = calloc(1, sizeof *copy);

    (void)kind;
    if (copy == NULL || told_to_fail("cudaMemcpyAsync")) {
        free(copy);
        return cudaErrorUnknown;
    }
    *copy = (struct copy){.to = dst, .from = src, .bytes = count};
    cuda_double_enqueue(stream, copy_now, copy);
    return cudaSuccess;
}

/* Waits for the default stream only, as CUDA's does for streams that were made with
 * cudaStreamNonBlocking. */
cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind)
{
    cudaError_t error = cudaMemcpyAsync(dst, src, count, kind, NULL);

    return error == cudaSuccess ? cudaStreamSynchronize(NULL) : error;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct mark *mark = calloc(1, sizeof *mark);

    if (mark == NULL || told_to_fail("cudaEventRecord")) {
        free(mark);
        return cudaErrorUnknown;
    }
    *mark = (struct mark){.event = event, .number = ++event->recorded};
    cuda_double_enqueue(stream, reach, mark);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    if (told_to_fail("cudaEventQuery"))
        return cudaErrorIllegalAddress;
    pthread_mutex_lock(&lock);
    if (event->reached != event->recorded)
        pump();
    pthread_mutex_unlock(&lock);
    return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
}
