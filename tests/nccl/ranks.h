/* Ranks as processes that share a page; the test plays agent and coordinator.
 *
 * A rank tells the test how far it is (ranks_reach) and the test waits for that, with a deadline;
 * a rank waits for the test at ranks_gate.  CHECK ends a rank with a sentence when it does not
 * hold. */
#ifndef RK_TESTS_NCCL_RANKS_H
#define RK_TESTS_NCCL_RANKS_H

#include "collectives/nccl/comm.h"
#include "common/clock.h"

#include <sys/types.h>

#define RANKS_MAX 8
#define RANKS_IDS 4

struct ranks_shared {
    _Atomic uint64_t word; /* the membership word */
    _Atomic int gate;      /* ranks may go past gates up to this one */
    _Atomic int reached[RANKS_MAX];
    ncclUniqueId id[RANKS_IDS];
};

struct ranks {
    struct ranks_shared *shared;
    pid_t pid[RANKS_MAX];
    int count;
    char folder[64];
    struct api api; /* a rank's own, too: opened before the fork */
};

typedef void ranks_program(struct ranks *ranks, int rank);

#define CHECK(condition)                                   \
    do {                                                   \
        if (!(condition))                                  \
            ranks_give_up(__FILE__, __LINE__, #condition); \
    } while (0)
_Noreturn void ranks_give_up(const char *file, int line, const char *condition);

/* The test's side. */
void ranks_open(struct ranks *ranks, const char *folder, const char *nccl);
void ranks_start(struct ranks *ranks, int count, ranks_program *program);
void ranks_await(struct ranks *ranks, int rank, int mark);
void ranks_kill(struct ranks *ranks, int rank);
/* All that live end with 0, or the test fails; then what they left is removed. */
void ranks_finish(struct ranks *ranks);

/* A rank's side. */
void ranks_reach(struct ranks *ranks, int rank, int mark);
void ranks_gate(struct ranks *ranks, int gate);
struct comm *ranks_comm(struct ranks *ranks, int device);
/* Forms `word` and expects comm_formed to give `expected`. */
void ranks_form(struct comm *comm, rk_word word, int rank, int world, const ncclUniqueId *id,
                int lost, int expected);
/* One all-reduce and one all-gather of `count` elements; checks every element. */
void ranks_reduce(struct comm *comm, rk_word word, int rank, int world, size_t count);

#endif
