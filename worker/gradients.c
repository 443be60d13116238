/* Registering tensors, and where gradients lie: in memory of the program's own, or in the seat's
 * leaf, mapped a second time at addresses that rk_alloc gives out before there is an arena. */
#include "worker/gpu.h"
#include "worker/session.h"

#include "collectives/sum.h"
#include "common/memory.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Address space that is set aside for what rk_alloc gives out of one kind; costs no memory. */
#define WINDOW_BYTES (UINT64_C(1) << 36)
#define HIDDEN_WEIGHTS "reknit.weights"

/* Makes room for one more of `size` bytes in an array of `count`. */
static int grow(struct rk_session *session, void **array, uint32_t count, uint32_t *capacity,
                size_t size)
{
    uint32_t wanted = *capacity == 0 ? 64 : 2 * *capacity;
    void *grown;

    if (count < *capacity)
        return 0;
    grown = realloc(*array, wanted * size);
    if (grown == NULL)
        return session_fail(session, RK_ENOMEM, "no memory to register another tensor");
    *array = grown;
    *capacity = wanted;
    return 0;
}

int session_add_tensor(struct rk_session *session, enum rk_tensor_kind kind, const char *name,
                       void *data, uint32_t dtype, uint32_t ndim, const uint64_t *shape)
{
    uint32_t count = session->layout->tensor_count;
    uint64_t elements = 1;
    int rc;

    if (session->phase != SESSION_JOINED)
        return session_fail(session, RK_ESTATE, "tensors are registered before rk_restore");
    if (name == NULL || (ndim > 0 && shape == NULL))
        return session_fail(session, RK_EINVAL, "a tensor needs a name and a shape");
    for (uint32_t d = 0; d < ndim && d < RK_LAYOUT_MAX_DIMS; d++)
        elements = elements == 0 || shape[d] == 0 ? 0 : 1;
    if (data == NULL && elements != 0)
        return session_fail(session, RK_EINVAL, "tensor %s has no memory", name);
    rc = grow(session, (void **)&session->data, count, &session->data_capacity,
              sizeof *session->data);
    if (rc == 0)
        rc = grow(session, (void **)&session->on_gpu, count, &session->on_gpu_capacity,
                  sizeof *session->on_gpu);
    if (rc == 0)
        rc = rk_layout_add(&session->layout, kind, name, dtype, ndim, shape, &session->why);
    if (rc != 0)
        return rc;
    session->data[count] = data;
    session->on_gpu[count] = false;
    return 0;
}

int rk_register_state(struct rk_session *session, const char *name, void *data, enum rk_dtype dtype,
                      uint32_t ndim, const uint64_t *shape)
{
    int rc = session_add_tensor(session, RK_TENSOR_STATE, name, data, dtype, ndim, shape);

    if (rc == 0)
        session->has_private = true;
    return rc;
}

/* For calls that give memory of the host to a session whose gradients lie on a GPU. */
static int no_gpu(struct rk_session *session, const char *call, const char *name)
{
    if (session->gpu == NULL)
        return 0;
    return session_fail(session, RK_ESTATE,
                        "%s: %s lies in the memory of the host, and rk_use_gpu was called; see "
                        "rk_register_gpu_gradient and rk_register_gpu_state",
                        call, name == NULL ? "" : name);
}

int rk_alloc_state(struct rk_session *session, const char *name, const void *initial,
                   enum rk_dtype dtype, uint32_t ndim, const uint64_t *shape, uint32_t *number)
{
    uint32_t t = session->layout->tensor_count;
    int rc = no_gpu(session, "rk_alloc_state", name);

    if (rc == 0)
        rc = grow(session, (void **)&session->shared, session->shared_count,
                  &session->shared_capacity, sizeof *session->shared);
    /* It has a place of its own, whatever `initial` is. */
    if (rc == 0)
        rc = session_add_tensor(session, RK_TENSOR_STATE, name, session, dtype, ndim, shape);
    if (rc != 0)
        return rc;
    session->layout->tensor[t].in_arena = 1;
    session->data[t] = (void *)(uintptr_t)initial;
    *number = session->shared_count;
    session->shared[session->shared_count++] = t;
    return 0;
}

static int add_gradient(struct rk_session *session, const char *name, void *data, uint32_t dtype,
                        uint64_t count)
{
    uint32_t tensor = session->layout->tensor_count;
    uint32_t wide = rk_layout_grad_size(dtype) / 4;
    int rc = grow(session, (void **)&session->gradient, session->gradient_count,
                  &session->gradient_capacity, sizeof *session->gradient);

    if (rc == 0)
        rc = session_add_tensor(session, RK_TENSOR_GRADIENT, name, data, dtype, 1, &count);
    if (rc != 0)
        return rc;
    session->gradient[session->gradient_count++] = (struct session_gradient){
        .tensor = tensor, .wide = wide, .lanes = count * wide, .count = count};
    return 0;
}

int rk_register_gradient_as(struct rk_session *session, const char *name, void *data,
                            enum rk_dtype dtype, uint64_t count)
{
    int rc = no_gpu(session, "rk_register_gradient", name);

    return rc != 0 ? rc : add_gradient(session, name, data, dtype, count);
}

int rk_register_gradient(struct rk_session *session, const char *name, float *data, uint64_t count)
{
    return rk_register_gradient_as(session, name, data, RK_F32, count);
}

int session_add_hidden(struct rk_session *session)
{
    if (session->options.reduce != RK_WEIGHTED || session->gpu != NULL)
        return 0; /* on a GPU weights go with the tables of partial sums */
    return add_gradient(session, HIDDEN_WEIGHTS, &session->weight, RK_F64, 1);
}

/* ---- memory of a GPU ------------------------------------------------------------------------- */

int rk_use_gpu(struct rk_session *session, int device, void *stream)
{
    int rc;

    if (session->phase != SESSION_JOINED || session->layout->tensor_count != 0)
        return session_fail(session, RK_ESTATE,
                            "rk_use_gpu comes after rk_join, before anything is registered");
    if (session->gpu != NULL)
        return session_fail(session, RK_ESTATE, "rk_use_gpu is called once");
    rc = gpu_open(session, device, stream);
    if (rc == 0)
        session->layout->on_gpus = 1;
    if (rc == 0 && session->agent < 0)
        arena_set_job(&session->arena, session->arena.header->shards, ARENA_EXACT, true);
    return rc;
}

int rk_register_gpu_state(struct rk_session *session, const char *name, void *data,
                          enum rk_dtype dtype, uint32_t ndim, const uint64_t *shape)
{
    uint32_t t = session->layout->tensor_count;
    int rc;

    if (session->gpu == NULL)
        return session_fail(session, RK_ESTATE, "state %s lies on a GPU: call rk_use_gpu first",
                            name == NULL ? "" : name);
    rc = rk_register_state(session, name, data, dtype, ndim, shape);
    if (rc == 0)
        session->on_gpu[t] = true;
    return rc;
}

int rk_register_gpu_gradient(struct rk_session *session, const char *name, void *data,
                             enum rk_dtype dtype, uint64_t count)
{
    uint32_t t = session->layout->tensor_count;
    int rc;

    if (session->gpu == NULL)
        return session_fail(session, RK_ESTATE, "gradient %s lies on a GPU: call rk_use_gpu first",
                            name == NULL ? "" : name);
    if (dtype == RK_F64)
        return session_fail(session, RK_EINVAL,
                            "gradient %s: on a GPU f32, f16 and bf16 are summed, not f64",
                            name == NULL ? "" : name);
    rc = add_gradient(session, name, data, dtype, count);
    if (rc == 0)
        session->on_gpu[t] = true;
    return rc;
}

/* ---- rk_alloc -------------------------------------------------------------------------------- */

static int open_window(struct rk_session *session, uint32_t which)
{
    void *window;

    if (session->window[which] != NULL)
        return 0;
    window = rk_memory_place(WINDOW_BYTES);
    if (window == NULL)
        return session_fail(session, RK_ENOMEM,
                            "rk_alloc: %llu GiB of address space are not to be had (%s); raise the "
                            "limit (ulimit -v) or register memory of the program's own",
                            (unsigned long long)(WINDOW_BYTES >> 30), strerror(errno));
    session->window[which] = window;
    return 0;
}

/* Lets the program use what of the window was given out; until rk_restore it is plain memory. */
static int open_pages(struct rk_session *session, const char *name, uint32_t which)
{
    uint64_t used = which == 0 ? session->layout->grad_narrow : session->layout->grad_wide;

    if (mprotect(session->window[which], used, PROT_READ | PROT_WRITE) != 0)
        return session_fail(session, RK_ENOMEM, "rk_alloc: gradient %s: %llu MiB are not to be had",
                            name, (unsigned long long)(used >> 20));
    return 0;
}

/* Whether `count` more elements fit into the window. */
static bool window_has(const struct rk_session *session, uint32_t which, uint64_t count)
{
    uint64_t used = which == 0 ? session->layout->grad_narrow : session->layout->grad_wide;

    return count <= (WINDOW_BYTES - RK_LAYOUT_ALIGN - used) / (which == 0 ? 4 : 8);
}

int rk_alloc(struct rk_session *session, const char *name, enum rk_dtype dtype, uint64_t count,
             void **data)
{
    uint32_t which = dtype == RK_F64;
    uint32_t t = session->layout->tensor_count;
    struct rk_tensor *tensor;
    int rc = 0;

    if (dtype != RK_F32 && dtype != RK_F64)
        return session_fail(session, RK_EINVAL,
                            "rk_alloc: gradient %s: only f32 and f64 are summed where they lie; "
                            "register memory of the program's own for other types",
                            name == NULL ? "" : name);
    if (!window_has(session, which, count))
        return session_fail(session, RK_ENOMEM,
                            "rk_alloc: gradient %s: %llu elements are more than the %llu GiB that "
                            "gradients in the arena can have",
                            name == NULL ? "" : name, (unsigned long long)count,
                            (unsigned long long)(WINDOW_BYTES >> 30));
    if (session->phase == SESSION_JOINED)
        rc = no_gpu(session, "rk_alloc", name);
    if (session->phase == SESSION_JOINED && rc == 0)
        rc = open_window(session, which);
    if (rc == 0)
        rc = add_gradient(session, name, session->window[which], dtype, count);
    if (rc != 0)
        return rc;
    tensor = &session->layout->tensor[t];
    tensor->in_arena = 1;
    session->data[t] = session->window[which] + tensor->offset;
    *data = session->data[t];
    return count == 0 ? 0 : open_pages(session, name, which);
}

static int map_window(struct rk_session *session, uint32_t which, uint64_t from, uint64_t bytes)
{
    uint64_t leaf =
        arena_buffer_offset(&session->arena, session->seat, session->arena.header->leaf);
    void *at;

    if (session->window[which] == NULL || bytes == 0)
        return 0;
    at = mmap(session->window[which], bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
              session->arena.fd, (off_t)(leaf + from));
    if (at == MAP_FAILED)
        return session_fail(session, RK_ENOMEM, "rank %u: cannot map its gradients: %s",
                            session->rank, strerror(errno));
    rk_memory_populate(at, bytes, true);
    memset(at, 0, bytes); /* the seat may have been another's */
    return 0;
}

/* ---- where gradients and buckets lie --------------------------------------------------------- */

static int by_place(const void *left, const void *right, void *gradients)
{
    const struct session_gradient *gradient = gradients;
    uint64_t a = gradient[*(const uint32_t *)left].at;
    uint64_t b = gradient[*(const uint32_t *)right].at;

    return (a > b) - (a < b);
}

static void sort_gradients(struct rk_session *session)
{
    for (uint32_t g = 0; g < session->gradient_count; g++) {
        struct session_gradient *gradient = &session->gradient[g];

        gradient->at =
            rk_layout_grad_at(session->layout, &session->layout->tensor[gradient->tensor]) /
            sizeof(float);
        if (gradient->lanes != 0)
            session->placed[session->placed_count++] = g;
    }
    qsort_r(session->placed, session->placed_count, sizeof *session->placed, by_place,
            session->gradient);
}

static void count_lanes(struct rk_session *session)
{
    uint64_t bucket = session_bucket_lanes(session);

    for (uint32_t g = 0; g < session->gradient_count; g++) {
        uint64_t at = session->gradient[g].at;
        uint64_t end = at + session->gradient[g].lanes;

        while (at < end) {
            uint64_t next = (at / bucket + 1) * bucket;
            uint64_t stop = next < end ? next : end;

            session->bucket_need[at / bucket] += (uint32_t)(stop - at);
            at = stop;
        }
    }
}

uint32_t session_buckets(const struct rk_session *session)
{
    return session->gpu != NULL ? gpu_buckets(session) : arena_buckets(&session->arena);
}

uint64_t session_bucket_lanes(const struct rk_session *session)
{
    return session->gpu != NULL ? gpu_bucket_lanes(session)
                                : session->arena.header->bucket_bytes / sizeof(float);
}

uint32_t session_first_behind(const struct rk_session *session, uint64_t lane)
{
    uint32_t from = 0;
    uint32_t to = session->placed_count;

    while (from < to) {
        uint32_t middle = (from + to) / 2;
        const struct session_gradient *gradient = &session->gradient[session->placed[middle]];

        if (gradient->at + gradient->lanes > lane)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

bool session_next_piece(const struct rk_session *session, uint64_t from, uint64_t count,
                        uint32_t *next, struct session_piece *piece)
{
    const struct session_gradient *gradient;
    uint64_t end;

    if (*next == session->placed_count)
        return false;
    piece->number = session->placed[(*next)++];
    piece->gradient = gradient = &session->gradient[piece->number];
    if (gradient->at >= from + count)
        return false;
    end = gradient->at + gradient->lanes < from + count ? gradient->at + gradient->lanes
                                                        : from + count;
    piece->from = gradient->at > from ? gradient->at : from;
    piece->count = end - piece->from;
    return true;
}

int session_place_gradients(struct rk_session *session)
{
    const struct rk_layout *layout = session->layout;
    uint64_t wide = rk_layout_grad_wide_from(layout);
    uint32_t buckets = session_buckets(session);
    int rc = map_window(session, 0, 0, wide);

    if (rc == 0)
        rc = map_window(session, 1, wide, layout->grad_wide);
    if (rc != 0)
        return rc;
    session->placed = calloc(session->gradient_count + 1u, sizeof *session->placed);
    session->bucket_need = calloc(buckets + 1u, sizeof *session->bucket_need);
    session->bucket_left = calloc(buckets + 1u, sizeof *session->bucket_left);
    session->sum.part = calloc(RK_MAX_SHARDS, sizeof *session->sum.part);
    if (session->placed == NULL || session->bucket_need == NULL || session->bucket_left == NULL ||
        session->sum.part == NULL)
        return session_fail(session, RK_ENOMEM, "rank %u: no memory for %u buckets", session->rank,
                            buckets);
    sort_gradients(session);
    count_lanes(session);
    return 0;
}

void session_free_gradients(struct rk_session *session)
{
    for (uint32_t which = 0; which < 2; which++)
        if (session->window[which] != NULL)
            munmap(session->window[which], WINDOW_BYTES);
    free(session->gradient);
    free(session->shared);
    free(session->placed);
    free(session->bucket_need);
    free((void *)session->bucket_left);
    free(session->sum.part);
}

/* ---- the result ------------------------------------------------------------------------------ */

static const float *result_of(const struct rk_session *session, uint32_t gradient)
{
    return arena_result(&session->arena) + session->gradient[gradient].at;
}

static double weight_sum(const struct rk_session *session)
{
    double sum;

    if (session->gpu != NULL)
        return gpu_weight(session);
    memcpy(&sum, result_of(session, session->gradient_count - 1), sizeof sum);
    return sum;
}

double rk_result_scale(const struct rk_session *session)
{
    switch (session->options.reduce) {
    case RK_AVERAGE:
        return 1.0 / session->plan.shards;
    case RK_WEIGHTED:
        return 1.0 / weight_sum(session);
    default:
        return 1.0;
    }
}

const void *rk_result(const struct rk_session *session, uint32_t gradient)
{
    uint32_t tensor;

    if (session->phase != SESSION_SUMMED && session->phase != SESSION_BETWEEN)
        return NULL;
    if (gradient >= session->gradient_count || session->update != NULL)
        return NULL;
    tensor = session->gradient[gradient].tensor;
    return session->layout->tensor[tensor].in_arena ? result_of(session, gradient)
                                                    : session->data[tensor];
}

/* Sum times scale, in the program's type: the factor is applied in the accumulators' type and the
 * product rounded once. */
static void copy_scaled(const float *sum, double scale, uint32_t dtype, uint64_t count, void *out)
{
    const struct sum_kernels *kernels = sum_best();

    if (dtype == RK_F64)
        kernels->scale64((const double *)(const void *)sum, scale, count, out);
    else if (dtype == RK_F32 && scale == 1.0)
        memcpy(out, sum, count * sizeof(float));
    else
        kernels->store(sum, (float)scale, (enum sum_dtype)dtype, count, out);
}

void session_copy_result(struct rk_session *session)
{
    double scale = rk_result_scale(session);

    for (uint32_t p = 0; p < session->placed_count; p++) {
        const struct session_gradient *gradient = &session->gradient[session->placed[p]];
        const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];

        if (!tensor->in_arena)
            copy_scaled(result_of(session, session->placed[p]), scale, tensor->dtype,
                        gradient->count, session->data[gradient->tensor]);
    }
}
