/* The layout: what the ranks of a job registered, in one flat, checked piece of bytes.
 *
 * A rank builds it from its rk_register_ calls, the agent compares it with that of the other
 * ranks, the arena keeps it, a checkpoint's manifest repeats it.  It is the same for every rank of
 * a job, on every host, at every world size.
 *
 * State space: the tensors of the state lie one after the other, each at the next multiple of
 * RK_LAYOUT_ALIGN; `offset` and `state_bytes` are in that space.  A snapshot is the state space,
 * byte for byte.
 *
 * Gradient space: where gradients are summed, in their accumulators' type, one after the other,
 * each at the next multiple of RK_LAYOUT_GRAD_ALIGN.  First all that are summed in float32 (f32,
 * f16 and bf16), then, from a page's start, all that are summed in float64 (f64).  A lane is 4
 * bytes of it. */
#ifndef RK_COMMON_LAYOUT_H
#define RK_COMMON_LAYOUT_H

#include "common/error.h"

#include <stdint.h>

#define RK_LAYOUT_MAGIC UINT64_C(0x54554f59414c4b52) /* "RKLAYOUT", little endian */
#define RK_LAYOUT_VERSION 1u
#define RK_LAYOUT_ALIGN UINT64_C(4096)
#define RK_LAYOUT_GRAD_ALIGN UINT64_C(64)
#define RK_LAYOUT_MAX_TENSORS 4096u
#define RK_LAYOUT_MAX_DIMS 8u
#define RK_LAYOUT_NAME_MAX 127u
#define RK_LAYOUT_MAX_BYTES \
    (sizeof(struct rk_layout) + RK_LAYOUT_MAX_TENSORS * sizeof(struct rk_tensor))

enum rk_tensor_kind { RK_TENSOR_STATE = 1, RK_TENSOR_GRADIENT = 2 };

/* Numbers as enum rk_dtype of worker/reknit.h: 1 f32, 2 f64, 3 i32, 4 i64, 5 u8, 6 u64, 7 f16,
 * 8 bf16. */
struct rk_tensor {
    char name[RK_LAYOUT_NAME_MAX + 1]; /* NUL ended, printable, unique within its kind */
    uint32_t kind;                     /* enum rk_tensor_kind */
    uint32_t dtype;
    uint32_t ndim;
    uint32_t in_arena; /* 1: its memory is rk_alloc's or rk_alloc_state's, in the arena; else 0 */
    uint64_t shape[RK_LAYOUT_MAX_DIMS]; /* unused ones are 0 */
    uint64_t bytes;                     /* product of shape times the size of dtype */
    uint64_t offset; /* bytes: in state space, or in its part of gradient space */
};

struct rk_layout {
    uint64_t magic;
    uint32_t version;
    uint32_t tensor_count;
    uint64_t bytes;       /* of this whole piece: header and tensors */
    uint64_t seed;        /* of the sampler */
    uint64_t batch;       /* samples in a global batch */
    uint64_t state_bytes; /* of state space, a multiple of RK_LAYOUT_ALIGN */
    uint64_t grad_narrow; /* bytes of the part of gradient space that is summed in float32 */
    uint64_t grad_wide;   /* and in float64 */
    uint64_t bucket;      /* bytes of a bucket of gradient space; 0: as the arena chooses */
    uint32_t reduce;      /* enum rk_reduce of worker/reknit.h */
    uint32_t on_gpus;     /* 1: gradients lie in the memory of GPUs and are summed there */
    struct rk_tensor tensor[];
};

/* Size in bytes of one element of `dtype`, or 0 when there is no such type. */
uint32_t rk_dtype_size(uint32_t dtype);
/* "f32", "i64", ...; NULL when there is no such type. */
const char *rk_dtype_name(uint32_t dtype);

/* A layout without tensors, grown by rk_layout_add; freed with rk_layout_free. */
struct rk_layout *rk_layout_new(uint64_t seed, uint64_t batch);
void rk_layout_free(struct rk_layout *layout);

/* Bytes that an element of a gradient of `dtype` takes in gradient space: 4, 8, or 0 when there can
 * be no gradient of that type. */
uint32_t rk_layout_grad_size(uint32_t dtype);
/* Where the wide part begins, and the size of gradient space; in bytes. */
uint64_t rk_layout_grad_wide_from(const struct rk_layout *layout);
uint64_t rk_layout_grad_bytes(const struct rk_layout *layout);
/* Where a gradient lies in gradient space, in bytes. */
uint64_t rk_layout_grad_at(const struct rk_layout *layout, const struct rk_tensor *tensor);

/* Gives `tensor` the offset behind what `layout` holds, and counts it into the layout's sums. */
void rk_layout_place(struct rk_layout *layout, struct rk_tensor *tensor);

/* Adds a tensor, giving it its offset.  *layout may move.  RK_EINVAL (name, type, shape whose size
 * overflows), RK_EEXIST (name taken), RK_EFULL, RK_ENOMEM; nothing changed on failure. */
int rk_layout_add(struct rk_layout **layout, enum rk_tensor_kind kind, const char *name,
                  uint32_t dtype, uint32_t ndim, const uint64_t *shape, struct rk_why *why);

/* Checks `size` bytes that came from elsewhere: every count, name, size and offset.  After 0 the
 * piece can be used as a struct rk_layout without further checks. */
int rk_layout_check(const void *data, size_t size, struct rk_why *why);

/* 0 when equal; else RK_ELAYOUT and a sentence that names the first difference, with `mine` and
 * `theirs` called `mine_name` and `theirs_name` ("rank 2", "the checkpoint"). */
int rk_layout_compare(const struct rk_layout *mine, const char *mine_name,
                      const struct rk_layout *theirs, const char *theirs_name, struct rk_why *why);

#endif
