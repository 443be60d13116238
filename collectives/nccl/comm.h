/* One rank's NCCL communicator, re-formed in place from generation to generation.
 *
 * An owner thread makes every call into NCCL; communicators are non-blocking, so it polls.  A
 * watchdog sees a call that does not come back (ncclCommAbort is known to hang): then the
 * communicator is STUCK for good, `stuck` is called once, and the process must be replaced.
 *
 * A generation has ended for a rank once `*word` of its options is no longer the word that it was
 * formed for, or once its communicator failed.  Every wait ends then, and nothing counts any more.
 * But work under way is stopped only when the next generation is asked for, which is after every
 * member acknowledged the end: what an aborted rank last sent could be taken for a result by a peer
 * that does not know yet.  The next generation is formed by shrinking the old communicator by the
 * lost ranks (revoked first, where the library can), or from a new id.
 *
 * Units: nanoseconds, elements.  Errors: RK_ESTALE, the generation is over: wait for the next;
 * RK_ETRANSPORT, NCCL failed: form the next generation from a new id, or, where comm_state says
 * STUCK, be replaced.  Ownership: buffers stay the caller's; those of an operation must live until
 * comm_wait gave 0, or until the next generation is formed: the GPU may still use them.
 * Threads: any, but comm_free. */
#ifndef RK_COLLECTIVES_NCCL_COMM_H
#define RK_COLLECTIVES_NCCL_COMM_H

#include "collectives/nccl/api.h"
#include "collectives/nccl/rules.h"
#include "common/id.h"

#include <cuda_runtime_api.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COMM_MAX_OPS 64 /* under way at once */
#define COMM_MAX_LOST 1024

struct comm;

struct comm_options {
    const struct api *api;
    int device;                   /* CUDA's number of the GPU */
    const _Atomic uint64_t *word; /* the membership word, as the agent publishes it */
    uint64_t form_limit;          /* how long forming, revoking or shrinking may take */
    uint64_t call_limit;          /* how long one call into NCCL or CUDA may take */
    /* Called by the watchdog, once; may be NULL. */
    void (*stuck)(void *context, const struct rk_why *why);
    void *context;
};

struct comm_membership {
    rk_word word;
    int rank; /* in this generation */
    int world;
    const ncclUniqueId *id; /* NULL: shrink the generation before */
    const int *lost;        /* ranks of the generation before, rising; for a shrink */
    int lost_count;
};

enum comm_kind { COMM_ALL_REDUCE, COMM_ALL_GATHER, COMM_EXCHANGE };

/* A part of an exchange: what this rank sends to `peer`, or receives from it. */
struct comm_piece {
    int peer; /* in this generation, another rank */
    size_t count;
    const void *send; /* NULL: receives */
    void *recv;
};

/* all_reduce: recv = the sum of all ranks' send, in NCCL's own order; may be in place.
 * all_gather: recv = `count` elements of rank 0, then those of rank 1, ...
 * exchange: all pieces at once; between two ranks those sent match those received, in order. */
struct comm_op {
    enum comm_kind kind;
    ncclDataType_t type;
    size_t count;
    const void *send; /* device memory */
    void *recv;
    const struct comm_piece *piece; /* EXCHANGE: instead of count, send and recv; may be none */
    uint32_t piece_count;
    cudaEvent_t after; /* begins when this is reached, which was recorded before; NULL: at once */
};

/* Starts the owner and the watchdog and takes the GPU.  RK_EUNAVAILABLE: the GPU cannot be had. */
int comm_new(const struct comm_options *options, struct comm **out, struct rk_why *why);
/* From now on every wait ends with RK_ESTALE, so that a thread that is in one can be joined. */
void comm_stop(struct comm *comm);
/* Aborts what there is; so only after comm_wait of all that was posted, or in a generation that is
 * over for all.  Where a call is stuck, its thread and memory are left behind. */
void comm_free(struct comm *comm);

/* Asks for the communicator of a generation; returns at once.  RK_ESTALE: `word` is not newer than
 * all that were asked for before; RK_EINVAL: a rank, or the list of the lost, makes no sense. */
int comm_form(struct comm *comm, const struct comm_membership *to, struct rk_why *why);
/* Waits until it is ready: 0, RK_ESTALE, or RK_ETRANSPORT: then the old communicator is gone, too.
 */
int comm_formed(struct comm *comm, rk_word word, struct rk_why *why);

/* Queues an operation, in the same order on all ranks.  RK_EFULL: COMM_MAX_OPS are under way. */
int comm_post(struct comm *comm, rk_word word, const struct comm_op *op, uint64_t *ticket,
              struct rk_why *why);
/* Waits until it is done: 0, RK_ESTALE or RK_ETRANSPORT, and then recv holds anything. */
int comm_wait(struct comm *comm, rk_word word, uint64_t ticket, struct rk_why *why);
enum comm_state comm_state(struct comm *comm);
/* The word of the communicator that the next generation can be shrunk from, 0: there is none. */
rk_word comm_whole(struct comm *comm);

#endif
