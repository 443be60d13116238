/* reknit.h - take part in a training job that survives the loss of its workers.
 *
 * Units:     sizes in elements or bytes as named, times in nanoseconds, steps count from 0.
 * Errors:    0 or a negative rk_error code; a positive return is an outcome documented here.
 *            rk_last_error(session) holds the sentence for a person.
 * Ownership: memory that is registered stays the caller's and must live until rk_leave returns.
 * Threads:   one thread at a time may use a session (the one that trains); rk_ready, rk_ready_range
 *            and rk_unused may be called by several at once.
 *
 * The loop of a program (see examples/tiny):
 *
 *     rk_join(&options, &session);
 *     rk_register_state(session, "weights", w, RK_F32, 2, (uint64_t[]){n, m});
 *     rk_register_gradient(session, "weights", g, n * m);
 *     rk_restore(session, &step);                   // fills the state, says how far it is
 *     while (step < steps && (rc = rk_step_begin(session, &step)) == 0) {
 *         do {
 *             while ((shard = rk_shard_next(session)) >= 0) {
 *                 compute_gradient_of(step, shard); // writes g, for this shard alone
 *                 rk_shard_done(session);
 *             }
 *         } while ((rc = rk_gradients_wait(session)) == RK_REFORMED);
 *         update(w, g);                             // g now holds the sum over all shards
 *         rk_step_end(session, &step);              // step counts finished steps
 *     }
 *     rk_leave(session);
 *
 * The sum is the same to the bit whoever computed which shard and however often the job lost
 * workers: shards are summed in one fixed binary tree (left half + right half, down to single
 * shards), as long as the program's own arithmetic does not reach across shards.
 *
 * That is --reduction exact of `reknit run`, and how a world of one sums.  Under --reduction fast
 * each rank adds its shards up in the order in which it does them, then ranks are added in the
 * order of ranks, and hosts in that of hosts: all ranks have the same bits, and a run of the same
 * world without a loss repeats them, but another world, or a loss, may change the last ones.  What
 * survives a loss is the same in both. */
#ifndef REKNIT_H
#define REKNIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RK_VERSION_MAJOR 0
#define RK_VERSION_MINOR 1

/* Errors that calls below return (the meaning of each: rk_error_text). */
#ifndef RK_COMMON_ERROR_H
enum rk_error {
    RK_EINVAL = -1,  /* an argument is not valid */
    RK_ESTATE = -2,  /* the call came out of order */
    RK_ENOMEM = -3,  /* memory could not be had */
    RK_EFULL = -4,   /* a fixed capacity is used up */
    RK_EEXIST = -6,  /* the name is taken */
    RK_EPROTO = -12, /* agent and library do not understand each other */
    RK_EVERSION = -13,
    RK_EUNAVAILABLE = -14, /* a library or a GPU that is needed is not there */
    RK_ENOTFINITE = -15,   /* a gradient is infinite or not a number */
    RK_EFENCED = -20,      /* this process is no longer a member of the job */
    RK_EAGENT = -21,       /* the agent of this host is gone */
    RK_ELAYOUT = -22,      /* ranks do not agree on what they registered */
};
#endif

/* Outcomes. */
#define RK_REFORMED                                                               \
    1 /* from rk_gradients_wait: a member was lost and this rank has shards to do \
       */
#define RK_STOPPED \
    2 /* from rk_step_begin: the job was asked to stop; leave the loop and rk_leave */

/* RK_F16 is IEEE 754 binary16, RK_BF16 the upper half of a float32. */
enum rk_dtype {
    RK_F32 = 1,
    RK_F64 = 2,
    RK_I32 = 3,
    RK_I64 = 4,
    RK_U8 = 5,
    RK_U64 = 6,
    RK_F16 = 7,
    RK_BF16 = 8
};

/* What rk_gradients_wait leaves: the sum over all shards; the sum divided by their number; the sum
 * of weight times gradient divided by the sum of the weights (rk_shard_weight). */
enum rk_reduce { RK_SUM = 0, RK_AVERAGE = 1, RK_WEIGHTED = 2 };

#define RK_MAX_DIMS 8
#define RK_MAX_NAME 127
#define RK_MAX_TENSORS 4096

struct rk_session; /* opaque; freed by rk_leave */

struct rk_options {
    size_t struct_size; /* sizeof(struct rk_options), so that the struct can grow */
    uint64_t seed;      /* of the sampler and of rk_random; part of the job's identity */
    uint64_t batch;     /* samples in one global batch, at least 1 */
    uint32_t shards;    /* used only when no coordinator runs this program (a world of one): a power
                         * of two up to 1024, 0 means 8.  Under one its --shards counts. */
    uint32_t reduce;    /* enum rk_reduce */
    uint32_t check_finite; /* 1: rk_shard_done refuses gradients that are infinite or NaN, with
                            * RK_ENOTFINITE and a sentence that names rank, shard, gradient and
                            * element; nothing of the shard has been summed then */
    uint64_t bucket_bytes; /* of gradient that is summed at a time, a multiple of 4096; 0: 1 MiB */
};

/* Joins the job named by the environment that `reknit` gave this process (REKNIT_AGENT), or, when
 * there is none, makes a world of one.  *session is set only on 0.  The sentence of an error is
 * written to standard error too, since there is no session to hold it.
 * Errors: RK_EINVAL, RK_ENOMEM, RK_EAGENT (the agent cannot be reached), RK_EVERSION. */
int rk_join(const struct rk_options *options, struct rk_session **session);

/* Registers a tensor of the training state (weights, optimiser moments, counters): `data` holds
 * the product of `shape[0..ndim)` elements of `dtype`, row major, contiguous; ndim 0 is one
 * element, and a dimension may be 0.  All ranks register the same names, types and shapes in the
 * same order, and hold the same values at each step's end.  `name` is copied, unique, 1 to
 * RK_MAX_NAME printable characters.
 * Errors: RK_EINVAL, RK_EFULL, RK_ENOMEM, RK_ESTATE (after rk_restore). */
int rk_register_state(struct rk_session *session, const char *name, void *data, enum rk_dtype dtype,
                      uint32_t ndim, const uint64_t *shape);

/* Registers a tensor of the state that lies in the arena, once for all ranks of the host, and sets
 * *number to its number (from 0, by order).  `initial` is what it holds when the job starts fresh
 * (NULL: zeros); it is read in rk_restore.  The state is read by rk_state and made anew in each
 * step by the update that rk_fuse names: each rank makes its slice, and all have the whole of it
 * without a copy.  Errors as rk_register_state. */
int rk_alloc_state(struct rk_session *session, const char *name, const void *initial,
                   enum rk_dtype dtype, uint32_t ndim, const uint64_t *shape, uint32_t *number);

/* Registers `count` float32 gradient elements at `data`.  The program writes the gradient of one
 * shard there, between rk_shard_next and rk_shard_done; rk_gradients_wait leaves the sum over all
 * shards there.  Gradients are numbered from 0 in the order in which they are registered or
 * allocated.  Errors as rk_register_state. */
int rk_register_gradient(struct rk_session *session, const char *name, float *data, uint64_t count);

/* As rk_register_gradient for elements of RK_F32, RK_F64, RK_F16 or RK_BF16.  16-bit ones are
 * summed in float32 and the sum is rounded once, to nearest even, when it is left in `data`. */
int rk_register_gradient_as(struct rk_session *session, const char *name, void *data,
                            enum rk_dtype dtype, uint64_t count);

/* Registers a gradient of `count` RK_F32 or RK_F64 elements whose memory lies in the arena, and
 * sets *data to it (64-byte aligned, zeros, valid until rk_leave): what a shard's gradient is
 * written to is then summed where it lies, without a copy.  The sum is not put there but beside:
 * rk_result. Between rk_shard_done and the rk_shard_next after it, or the 0 of rk_gradients_wait,
 * the memory must not be written.  Errors as rk_register_state; RK_EINVAL for other types: 16-bit
 * gradients are converted as they are summed, so that the program's own memory serves them best. */
int rk_alloc(struct rk_session *session, const char *name, enum rk_dtype dtype, uint64_t count,
             void **data);

/* ---- GPUs -------------------------------------------------------------------------------------
 *
 * Gradients that lie in the memory of a GPU are summed there, with the same bits as in the memory
 * of a host, and NCCL moves them: start the job with --backend nccl.  All gradients lie there then;
 * state may lie in either memory.  libnccl, the CUDA runtime and libreknit-cuda.so are loaded when
 * rk_use_gpu is called. */

/* The GPU of this rank's place on its host, modulo how many there are. */
#define RK_GPU_BY_PLACE (-1)

/* Says that gradients lie in the memory of GPU `device`, which becomes this thread's, and that what
 * the program does there is queued on `stream` (a cudaStream_t; NULL: the default stream).  After
 * rk_join, before anything is registered.  rk_shard_done and rk_unused queue their work behind what
 * the stream has by then and before what it is given later; rk_gradients_wait waits for it.
 * Errors: RK_EUNAVAILABLE (built without CUDA, or no GPU, driver or library here), RK_EVERSION,
 * RK_ENOMEM, RK_ESTATE. */
int rk_use_gpu(struct rk_session *session, int device, void *stream);

/* As rk_register_state, for memory of that GPU. */
int rk_register_gpu_state(struct rk_session *session, const char *name, void *data,
                          enum rk_dtype dtype, uint32_t ndim, const uint64_t *shape);
/* As rk_register_gradient_as, for memory of that GPU: RK_F32, RK_F16 or RK_BF16. */
int rk_register_gpu_gradient(struct rk_session *session, const char *name, void *data,
                             enum rk_dtype dtype, uint64_t count);

/* Enters the job's membership: blocks until this rank is a member of a generation, fills the
 * registered state from a surviving rank, a snapshot or a checkpoint (or leaves it as the program
 * initialised it when the job starts fresh), and sets *step to the number of finished steps.
 * Every rank of a fresh job must have initialised its state to the same values.
 * Errors: RK_ELAYOUT (this rank registered something else than the others, or than the checkpoint
 * holds), RK_EAGENT, RK_EFENCED, RK_ENOMEM (the arena does not fit; the sentence names sizes). */
int rk_restore(struct rk_session *session, uint64_t *step);

/* ---- updates that are fused with the sum ------------------------------------------------------
 */

/* A run of summed gradient elements that this rank is to turn into state. */
struct rk_slice {
    uint32_t gradient; /* its number */
    uint64_t first;    /* elements first .. first + count - 1 of it */
    uint64_t count;
    const void *sum; /* of element `first`; float for f32, f16 and bf16 gradients, double for f64 */
    double scale;    /* what to multiply the sum with: 1, or 1 / shards for RK_AVERAGE */
};

/* Makes from rk_state the elements of rk_next_state that belong to `slice`: all of them, from
 * nothing but the old state, the sum and `context`, since it may be called again for the same slice
 * when the membership changes.  A return other than 0 ends the step's wait with RK_EINVAL, a
 * negative one with itself. */
typedef int (*rk_update)(void *context, struct rk_session *session, const struct rk_slice *slice);

/* Between steps: from now on rk_gradients_wait leaves no sum but calls `update` with the slices of
 * it that are this rank's, while they are in the cache, and rk_ready may call it too, from the
 * thread that calls it, one at a time.  The state after the step is whole when rk_gradients_wait
 * returns 0.  Every rank does so.  RK_ESTATE: there is no state in the arena, a step is under way,
 * or the job reduces by RK_WEIGHTED (the weights are known only at the end). */
int rk_fuse(struct rk_session *session, rk_update update, void *context);

/* State number `number` in the arena: what it is after `*step` steps, as rk_restore and rk_step_end
 * say it, and, in the step, where `update` writes what it will be.  Both move with each step.  NULL
 * when there is no such state, or no step for the second. */
const void *rk_state(const struct rk_session *session, uint32_t number);
void *rk_next_state(const struct rk_session *session, uint32_t number);

/* Ready-made updates for float32 gradients and state: the context is the struct.  weights[g],
 * first[g] and second[g] are the numbers of the state tensors that belong to gradient g and have as
 * many elements.  The struct is the program's and may be changed between steps.
 *
 * SGD: with g the scaled sum plus decay * w, v = momentum * v + g and w = w - rate * v; where first
 * is NULL there is no velocity and w = w - rate * g. */
struct rk_sgd {
    float rate;
    float momentum;
    float decay;
    const uint32_t *weights;
    const uint32_t *first;
};
int rk_update_sgd(void *context, struct rk_session *session, const struct rk_slice *slice);

/* After Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, with the bias
 * corrected for the step in hand. */
struct rk_adamw {
    float rate;
    float beta1;
    float beta2;
    float epsilon;
    float decay;
    const float *decays; /* by gradient, instead of `decay`; or NULL */
    const uint32_t *weights;
    const uint32_t *first;
    const uint32_t *second;
};
int rk_update_adamw(void *context, struct rk_session *session, const struct rk_slice *slice);

/* AdamW in place on `count` elements in the memory of the session's GPU, queued on the stream of
 * rk_use_gpu; with the bias corrected for step + 1 steps.  `decays` and the numbers in the struct
 * are not used.  RK_ESTATE, RK_EUNAVAILABLE. */
int rk_gpu_adamw(struct rk_session *session, const struct rk_adamw *adamw, uint64_t step,
                 uint64_t count, const float *gradient, float *weights, float *first,
                 float *second);

/* ---- the loop -------------------------------------------------------------------------------- */

/* Begins step *step.  0: go on.  RK_STOPPED: the job was asked to stop before this step. */
int rk_step_begin(struct rk_session *session, uint64_t *step);

/* The next shard (0 .. V-1) whose gradient this rank shall compute in this step, or -1 when there
 * is none for now.  Negative values below -1 are errors (rk_error codes other than -1 never
 * appear here; RK_ESTATE, RK_EAGENT, RK_EFENCED do). */
int64_t rk_shard_next(struct rk_session *session);

/* Says that the registered gradient memory now holds the gradient of the shard last handed out.
 * The memory may be overwritten at once afterwards. */
int rk_shard_done(struct rk_session *session);

/* Says that elements first .. first + count - 1 of gradient number `gradient` are final for the
 * shard in hand, so that they are summed while the rest is still being computed, bucket by bucket.
 * Each element once a shard, in any order, from any thread; all calls return before rk_shard_done
 * is called, which does the same for whatever was not said.  rk_ready: all of the gradient's
 * elements. Order and buckets make no difference to the sum's bits. Errors: RK_EINVAL (no such
 * elements), RK_ESTATE (no shard in hand, or said twice: then rk_shard_done returns RK_ESTATE too).
 */
int rk_ready_range(struct rk_session *session, uint32_t gradient, uint64_t first, uint64_t count);
int rk_ready(struct rk_session *session, uint32_t gradient);
/* Says that this shard has no gradient for it: zeros are written there and it is ready. */
int rk_unused(struct rk_session *session, uint32_t gradient);

/* RK_WEIGHTED only: the weight of the shard in hand, finite and >= 0; before its first rk_ready,
 * and 1 when it is not said.  RK_EINVAL, RK_ESTATE. */
int rk_shard_weight(struct rk_session *session, double weight);

/* Waits until the gradients of all shards of this step are summed and leaves the sum in the
 * registered gradient memory.  RK_REFORMED: members were lost and some of their shards are this
 * rank's now: call rk_shard_next again.  Every wait ends when the membership changes. */
int rk_gradients_wait(struct rk_session *session);

/* Where the sum of gradient number `gradient` is to be read after rk_gradients_wait returned 0 and
 * until the next rk_step_begin.  For memory of the program's own that memory itself, and what lies
 * there has been averaged and rounded.  For memory of rk_alloc a place beside it, shared by the
 * ranks of the host and not to be written, with the plain sum: rk_result_scale() is what to
 * multiply it with (1, or 1 / shards, or 1 / the sum of the weights).  NULL when there is no such
 * gradient, or when rk_fuse named an update, which gets the sum instead. */
const void *rk_result(const struct rk_session *session, uint32_t gradient);
double rk_result_scale(const struct rk_session *session);

/* Says that the state now is that of after the step.  *step is set to the number of finished
 * steps. */
int rk_step_end(struct rk_session *session, uint64_t *step);

/* Leaves the job in good order: hands the state over for the final checkpoint and frees the
 * session (which is freed whatever the return).  A rank that exits without it is a lost rank.
 * With a negative return of another call in hand it only frees the session. */
int rk_leave(struct rk_session *session);

/* ---- facts about this rank; cheap, no waiting ------------------------------------------------ */

uint32_t rk_rank(const struct rk_session *session);       /* this rank's name, kept over losses */
uint32_t rk_world_size(const struct rk_session *session); /* ranks in the present generation */
uint32_t rk_shards(const struct rk_session *session);     /* V */
uint64_t rk_generation(const struct rk_session *session);
int rk_is_first(
    const struct rk_session *session); /* 1 in the one rank that should talk to people */
const char *rk_last_error(const struct rk_session *session);
const char *rk_error_text(int code);

/* Reports a number about the step just computed, for the live line and `reknit status`; "loss" is
 * known there.  The name is one of the program's own, up to 31 characters; at most 8 names. */
int rk_report(struct rk_session *session, const char *name, double value);

/* ---- data and randomness that do not depend on who computes ---------------------------------- */

/* The samples of the global batch that belong to `shard`: positions *first .. *first + *count - 1
 * of 0 .. batch-1.  Shards differ by at most one sample; every sample is in exactly one. */
void rk_shard_samples(const struct rk_session *session, uint64_t shard, uint64_t *first,
                      uint64_t *count);

/* The index in 0 .. dataset_size-1 of sample `position` of the global batch of `step`: each pass
 * over the data set is a seeded permutation of it (a Feistel network with cycle walking, after
 * Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002).  dataset_size >= 1. */
uint64_t rk_sample(const struct rk_session *session, uint64_t step, uint64_t position,
                   uint64_t dataset_size);

/* 64 random bits that are a pure function of (seed, step, shard, counter): counter-based, after
 * Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011 (Philox 4x32-10). */
uint64_t rk_random(const struct rk_session *session, uint64_t step, uint64_t shard,
                   uint64_t counter);

#ifdef __cplusplus
}
#endif
#endif
