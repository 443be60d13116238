/* The double of cuda_double.h: libcudart-double.so. */
#include "tests/nccl/cuda_double.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct task {
    struct task *next;
    bool (*poll)(void *context);
    void *context;
};

struct CUstream_st {
    struct task *head, **tail;
};

struct CUevent_st {
    struct CUstream_st *stream;
    unsigned recorded, reached;
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

static void pump(struct CUstream_st *stream)
{
    struct task *task;

    while ((task = stream->head) != NULL && task->poll(task->context)) {
        stream->head = task->next;
        if (stream->head == NULL)
            stream->tail = &stream->head;
        free(task->context);
        free(task);
    }
}

void cuda_double_enqueue(cudaStream_t stream, bool (*poll)(void *context), void *context)
{
    struct task *task = calloc(1, sizeof *task);

    if (task == NULL)
        abort();
    *task = (struct task){.poll = poll, .context = context};
    pthread_mutex_lock(&lock);
    *stream->tail = task;
    stream->tail = &task->next;
    pthread_mutex_unlock(&lock);
}

cudaError_t cudaSetDevice(int device)
{
    if (told_to_fail("cudaSetDevice"))
        return cudaErrorNoDevice;
    return device >= 0 && device < 8 ? cudaSuccess : cudaErrorInvalidDevice;
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
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    struct task *task;

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

    if (crossing->event->reached < crossing->number)
        pump(crossing->event->stream);
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

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct mark *mark = calloc(1, sizeof *mark);

    if (mark == NULL || told_to_fail("cudaEventRecord")) {
        free(mark);
        return cudaErrorUnknown;
    }
    event->stream = stream;
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
        pump(event->stream);
    pthread_mutex_unlock(&lock);
    return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
}
