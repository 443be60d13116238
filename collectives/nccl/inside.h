/* What comm.c (the callers' side, the watchdog) and owner.c share.  `lock` guards all of struct
 * comm but what is the owner's alone; nobody holds it while in a call into NCCL or CUDA. */
#ifndef RK_COLLECTIVES_NCCL_INSIDE_H
#define RK_COLLECTIVES_NCCL_INSIDE_H

#include "collectives/nccl/comm.h"

#include <cuda_runtime_api.h>
#include <pthread.h>

enum op_stage { OP_POSTED, OP_LAUNCHING, OP_RUNNING };

struct comm {
    struct comm_options options;
    pthread_t owner;
    pthread_t watchdog;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything of what is below */

    enum comm_state state;
    bool opened;  /* the owner has the GPU, or `failure` says why not */
    bool stopped; /* comm_stop */
    bool closing;
    bool closed;

    struct comm_membership wanted; /* while wanted.word != 0, not yet taken up */
    ncclUniqueId wanted_id;
    int wanted_lost[COMM_MAX_LOST];
    rk_word asked; /* the newest word that was ever wanted */

    rk_word word; /* of the generation that is formed, or being formed */
    int rank;
    int world;
    rk_word failed; /* the word for which `failure` and `why` stand */
    int failure;
    struct rk_why why;

    /* Tickets of the generation begin at `first`; those below `done` are done. */
    struct comm_op op[COMM_MAX_OPS];
    uint64_t first;
    uint64_t done;
    uint64_t posted;

    const char *calling; /* the call that the owner is in */
    uint64_t called_at;

    /* the owner's alone */
    int lost[COMM_MAX_LOST];
    ncclComm_t handle;
    ncclComm_t volatile child; /* of a shrink; NCCL's threads write it */
    cudaStream_t stream;
    cudaEvent_t event[COMM_MAX_OPS];
    enum op_stage stage[COMM_MAX_OPS];
    uint64_t started;  /* when this state began that has a limit */
    uint64_t launched; /* tickets below are in OP_RUNNING or done */
};

void *comm_owner(void *argument);

/* With the lock: moves by the table; false: refused. */
bool comm_event(struct comm *comm, enum comm_event event);
/* With the lock: sleeps until something changed, or for `longest`. */
void comm_sleep(struct comm *comm, uint64_t longest);
bool comm_over(const struct comm *comm, rk_word word);

#endif
