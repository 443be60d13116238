/* Building and checking layouts; see layout.h. */
#include "common/layout.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    uint32_t size;
    const char *name;
} dtypes[] = {{0, NULL}, {4, "f32"}, {8, "f64"}, {4, "i32"}, {8, "i64"},
              {1, "u8"}, {8, "u64"}, {2, "f16"}, {2, "bf16"}};

enum { F32 = 1, F64 = 2, F16 = 7, BF16 = 8 };

uint32_t rk_dtype_size(uint32_t dtype)
{
    return dtype < sizeof dtypes / sizeof dtypes[0] ? dtypes[dtype].size : 0;
}

const char *rk_dtype_name(uint32_t dtype)
{
    return dtype < sizeof dtypes / sizeof dtypes[0] ? dtypes[dtype].name : NULL;
}

struct rk_layout *rk_layout_new(uint64_t seed, uint64_t batch)
{
    struct rk_layout *layout = calloc(1, sizeof *layout);

    if (layout == NULL)
        return NULL;
    layout->magic = RK_LAYOUT_MAGIC;
    layout->version = RK_LAYOUT_VERSION;
    layout->bytes = sizeof *layout;
    layout->seed = seed;
    layout->batch = batch;
    return layout;
}

void rk_layout_free(struct rk_layout *layout)
{
    free(layout);
}

static int check_name(const char *name, struct rk_why *why)
{
    size_t length = strnlen(name, RK_LAYOUT_NAME_MAX + 1);

    if (length == 0 || length > RK_LAYOUT_NAME_MAX)
        return rk_fail(why, RK_EINVAL, "a tensor's name must have 1 to %u characters",
                       RK_LAYOUT_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)name[i]))
            return rk_fail(why, RK_EINVAL,
                           "character %zu of a tensor's name is not printable; use letters, digits "
                           "and punctuation",
                           i + 1);
    return 0;
}

static int size_of(const char *name, uint32_t dtype, uint32_t ndim, const uint64_t *shape,
                   uint64_t *bytes, struct rk_why *why)
{
    uint64_t total = rk_dtype_size(dtype);
    bool empty = false;

    if (total == 0)
        return rk_fail(why, RK_EINVAL, "tensor %s: there is no element type %u", name, dtype);
    if (ndim > RK_LAYOUT_MAX_DIMS)
        return rk_fail(why, RK_EINVAL, "tensor %s: %u dimensions, at most %u are possible", name,
                       ndim, RK_LAYOUT_MAX_DIMS);
    for (uint32_t d = 0; d < ndim; d++)
        empty = empty || shape[d] == 0;
    for (uint32_t d = 0; d < ndim && !empty; d++)
        if (__builtin_mul_overflow(total, shape[d], &total) || total > (UINT64_C(1) << 56))
            return rk_fail(why, RK_EINVAL, "tensor %s: its size overflows at dimension %u", name,
                           d);
    *bytes = empty ? 0 : total;
    return 0;
}

static uint64_t align_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

uint32_t rk_layout_grad_size(uint32_t dtype)
{
    return dtype == F64 ? 8 : dtype == F32 || dtype == F16 || dtype == BF16 ? 4 : 0;
}

uint64_t rk_layout_grad_wide_from(const struct rk_layout *layout)
{
    return align_up(layout->grad_narrow, RK_LAYOUT_ALIGN);
}

uint64_t rk_layout_grad_bytes(const struct rk_layout *layout)
{
    return layout->grad_wide == 0 ? layout->grad_narrow
                                  : rk_layout_grad_wide_from(layout) + layout->grad_wide;
}

uint64_t rk_layout_grad_at(const struct rk_layout *layout, const struct rk_tensor *tensor)
{
    return tensor->offset + (tensor->dtype == F64 ? rk_layout_grad_wide_from(layout) : 0);
}

void rk_layout_place(struct rk_layout *layout, struct rk_tensor *tensor)
{
    uint32_t size = rk_dtype_size(tensor->dtype);
    uint64_t *grad = tensor->dtype == F64 ? &layout->grad_wide : &layout->grad_narrow;

    if (tensor->kind == RK_TENSOR_STATE) {
        tensor->offset = layout->state_bytes;
        layout->state_bytes += align_up(tensor->bytes, RK_LAYOUT_ALIGN);
    } else {
        tensor->offset = *grad;
        *grad += size == 0 ? 0
                           : align_up(tensor->bytes / size * rk_layout_grad_size(tensor->dtype),
                                      RK_LAYOUT_GRAD_ALIGN);
    }
}

int rk_layout_add(struct rk_layout **layout, enum rk_tensor_kind kind, const char *name,
                  uint32_t dtype, uint32_t ndim, const uint64_t *shape, struct rk_why *why)
{
    struct rk_tensor tensor = {.kind = kind, .dtype = dtype, .ndim = ndim};
    struct rk_layout *grown;
    int rc = check_name(name, why);

    if (rc == 0)
        rc = size_of(name, dtype, ndim, shape, &tensor.bytes, why);
    if (rc != 0)
        return rc;
    if (kind == RK_TENSOR_GRADIENT && rk_layout_grad_size(dtype) == 0)
        return rk_fail(why, RK_EINVAL,
                       "gradient %s: type %s cannot be summed; use f32, f64, f16 or bf16", name,
                       rk_dtype_name(dtype));
    if ((*layout)->tensor_count == RK_LAYOUT_MAX_TENSORS)
        return rk_fail(why, RK_EFULL, "tensor %s is one too many; at most %u can be registered",
                       name, RK_LAYOUT_MAX_TENSORS);
    for (uint32_t i = 0; i < (*layout)->tensor_count; i++)
        if ((*layout)->tensor[i].kind == (uint32_t)kind &&
            strcmp((*layout)->tensor[i].name, name) == 0)
            return rk_fail(why, RK_EEXIST, "tensor %s is registered already", name);
    grown = realloc(*layout, (size_t)(*layout)->bytes + sizeof tensor);
    if (grown == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the description of tensor %s", name);
    memcpy(tensor.name, name, strlen(name));
    if (ndim > 0)
        memcpy(tensor.shape, shape, ndim * sizeof *shape);
    *layout = grown;
    struct rk_tensor *slot = &grown->tensor[grown->tensor_count];
    rk_layout_place(grown, &tensor);
    grown->tensor_count++;
    grown->bytes += sizeof tensor;
    *slot = tensor;
    return 0;
}

static int check_tensor(const struct rk_layout *layout, struct rk_layout *sums, uint32_t i,
                        struct rk_why *why)
{
    const struct rk_tensor *tensor = &layout->tensor[i];
    struct rk_tensor again = *tensor;
    uint64_t bytes;
    int rc;

    if (memchr(tensor->name, 0, sizeof tensor->name) == NULL || check_name(tensor->name, NULL) != 0)
        return rk_fail(why, RK_EDATA, "layout: tensor %u has no proper name", i);
    if (tensor->kind != RK_TENSOR_STATE && tensor->kind != RK_TENSOR_GRADIENT)
        return rk_fail(why, RK_EDATA, "layout: tensor %s has unknown kind %u", tensor->name,
                       tensor->kind);
    rc = size_of(tensor->name, tensor->dtype, tensor->ndim, tensor->shape, &bytes, why);
    if (rc != 0)
        return RK_EDATA;
    if (tensor->kind == RK_TENSOR_GRADIENT && rk_layout_grad_size(tensor->dtype) == 0)
        return rk_fail(why, RK_EDATA, "layout: gradient %s is of a type that cannot be summed",
                       tensor->name);
    if (tensor->in_arena > 1)
        return rk_fail(why, RK_EDATA, "layout: tensor %s lies nowhere", tensor->name);
    rk_layout_place(sums, &again);
    if (bytes != tensor->bytes || again.offset != tensor->offset)
        return rk_fail(why, RK_EDATA,
                       "layout: size or offset of tensor %s is not what its shape says",
                       tensor->name);
    if (sums->state_bytes > (UINT64_C(1) << 57) || rk_layout_grad_bytes(sums) > (UINT64_C(1) << 57))
        return rk_fail(why, RK_EDATA, "layout: tensors are too large at %s", tensor->name);
    return 0;
}

int rk_layout_check(const void *data, size_t size, struct rk_why *why)
{
    const struct rk_layout *layout = data;
    struct rk_layout sums = {.bytes = 0};

    if (size < sizeof *layout || layout->magic != RK_LAYOUT_MAGIC)
        return rk_fail(why, RK_EDATA, "layout: %zu bytes that are not a layout", size);
    if (layout->version != RK_LAYOUT_VERSION)
        return rk_fail(why, RK_EVERSION, "layout: version %u, this program knows %u",
                       layout->version, RK_LAYOUT_VERSION);
    if (layout->tensor_count > RK_LAYOUT_MAX_TENSORS || layout->bytes != size ||
        size != sizeof *layout + layout->tensor_count * sizeof(struct rk_tensor))
        return rk_fail(why, RK_EDATA, "layout: %u tensors do not make %zu bytes",
                       layout->tensor_count, size);
    if (layout->batch == 0)
        return rk_fail(why, RK_EDATA, "layout: the global batch is 0");
    for (uint32_t i = 0; i < layout->tensor_count; i++) {
        int rc = check_tensor(layout, &sums, i, why);

        if (rc != 0)
            return rc;
    }
    if (layout->bucket % RK_LAYOUT_ALIGN != 0 || layout->reduce > 2)
        return rk_fail(why, RK_EDATA, "layout: buckets of %llu bytes, reduction %u",
                       (unsigned long long)layout->bucket, layout->reduce);
    if (sums.state_bytes != layout->state_bytes || sums.grad_narrow != layout->grad_narrow ||
        sums.grad_wide != layout->grad_wide)
        return rk_fail(why, RK_EDATA, "layout: its sums do not agree with its tensors");
    return 0;
}

/* What makes a tensor; where a gradient's memory lies is no part of it. */
static bool is_same(const struct rk_tensor *mine, const struct rk_tensor *theirs)
{
    return mine->kind == theirs->kind && mine->dtype == theirs->dtype &&
           mine->ndim == theirs->ndim && strcmp(mine->name, theirs->name) == 0 &&
           memcmp(mine->shape, theirs->shape, sizeof mine->shape) == 0;
}

int rk_layout_compare(const struct rk_layout *mine, const char *mine_name,
                      const struct rk_layout *theirs, const char *theirs_name, struct rk_why *why)
{
    if (mine->seed != theirs->seed)
        return rk_fail(why, RK_ELAYOUT,
                       "%s uses seed %llu, %s seed %llu; start with the same seed, or in another "
                       "checkpoint directory",
                       mine_name, (unsigned long long)mine->seed, theirs_name,
                       (unsigned long long)theirs->seed);
    if (mine->batch != theirs->batch)
        return rk_fail(why, RK_ELAYOUT,
                       "%s uses a global batch of %llu samples, %s one of %llu; use the same",
                       mine_name, (unsigned long long)mine->batch, theirs_name,
                       (unsigned long long)theirs->batch);
    for (uint32_t i = 0; i < mine->tensor_count && i < theirs->tensor_count; i++)
        if (!is_same(&mine->tensor[i], &theirs->tensor[i]))
            return rk_fail(why, RK_ELAYOUT,
                           "tensor %u: %s registered %s (%s, %llu bytes), %s registered %s (%s, "
                           "%llu bytes); register the same names, types and shapes in one order",
                           i, mine_name, mine->tensor[i].name, rk_dtype_name(mine->tensor[i].dtype),
                           (unsigned long long)mine->tensor[i].bytes, theirs_name,
                           theirs->tensor[i].name, rk_dtype_name(theirs->tensor[i].dtype),
                           (unsigned long long)theirs->tensor[i].bytes);
    if (mine->tensor_count != theirs->tensor_count)
        return rk_fail(why, RK_ELAYOUT, "%s registered %u tensors, %s %u", mine_name,
                       mine->tensor_count, theirs_name, theirs->tensor_count);
    return 0;
}
