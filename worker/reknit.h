/* reknit.h - take part in a training job that survives the loss of its workers.
 *
 * Units:     sizes in elements or bytes as named, times in nanoseconds, steps count from 0.
 * Errors:    0 or a negative rk_error code; a positive return is an outcome documented here.
 *            rk_last_error(session) holds the sentence for a person.
 * Ownership: memory that is registered stays the caller's and must live until rk_leave returns.
 * Threads:   one thread at a time may use a session (the one that trains).
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
 * shards), as long as the program's own arithmetic does not reach across shards. */
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
    RK_EFENCED = -20, /* this process is no longer a member of the job */
    RK_EAGENT = -21,  /* the agent of this host is gone */
    RK_ELAYOUT = -22, /* ranks do not agree on what they registered */
};
#endif

/* Outcomes. */
#define RK_REFORMED                                                               \
    1 /* from rk_gradients_wait: a member was lost and this rank has shards to do \
       */
#define RK_STOPPED \
    2 /* from rk_step_begin: the job was asked to stop; leave the loop and rk_leave */

enum rk_dtype {
    RK_F32 = 1,
    RK_F64 = 2,
    RK_I32 = 3,
    RK_I64 = 4,
    RK_U8 = 5,
    RK_U64 = 6,
    RK_F16 = 7, /* IEEE 754 binary16 */
    RK_BF16 = 8 /* the upper half of a binary32 */
};

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

/* Registers `count` float32 gradient elements at `data`.  The program writes the gradient of one
 * shard there; rk_gradients_wait leaves the sum over all shards there.  Registered pieces are
 * summed as one vector in the order of registration.  Errors as rk_register_state. */
int rk_register_gradient(struct rk_session *session, const char *name, float *data, uint64_t count);

/* Enters the job's membership: blocks until this rank is a member of a generation, fills the
 * registered state from a surviving rank, a snapshot or a checkpoint (or leaves it as the program
 * initialised it when the job starts fresh), and sets *step to the number of finished steps.
 * Every rank of a fresh job must have initialised its state to the same values.
 * Errors: RK_ELAYOUT (this rank registered something else than the others, or than the checkpoint
 * holds), RK_EAGENT, RK_EFENCED, RK_ENOMEM (the arena does not fit; the sentence names sizes). */
int rk_restore(struct rk_session *session, uint64_t *step);

/* Begins step *step.  0: go on.  RK_STOPPED: the job was asked to stop before this step. */
int rk_step_begin(struct rk_session *session, uint64_t *step);

/* The next shard (0 .. V-1) whose gradient this rank shall compute in this step, or -1 when there
 * is none for now.  Negative values below -1 are errors (rk_error codes other than -1 never
 * appear here; RK_ESTATE, RK_EAGENT, RK_EFENCED do). */
int64_t rk_shard_next(struct rk_session *session);

/* Says that the registered gradient memory now holds the gradient of the shard last handed out.
 * The memory may be overwritten at once afterwards. */
int rk_shard_done(struct rk_session *session);

/* Waits until the gradients of all shards of this step are summed and leaves the sum in the
 * registered gradient memory.  RK_REFORMED: members were lost and some of their shards are this
 * rank's now: call rk_shard_next again.  Every wait ends when the membership changes. */
int rk_gradients_wait(struct rk_session *session);

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
