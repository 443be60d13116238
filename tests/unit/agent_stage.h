/* A stage for one worker: a scripted coordinator over real ZeroMQ with CURVE, real wardens, agents
 * and ranks as processes, all in a folder of their own.
 *
 * The test program plays all parts: as `worker` it is reknit worker, as `rank` a small program on
 * worker/local.h (agent_rank.c).  Every wait has a deadline and fails the test when it passes. */
#ifndef RK_TESTS_UNIT_AGENT_STAGE_H
#define RK_TESTS_UNIT_AGENT_STAGE_H

#include "common/secret.h"
#include "common/wire.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STAGE_WORKERS 4
#define STAGE_WAIT_MS 60000

struct stage_worker {
    pid_t warden; /* 0: none, or collected */
    uint64_t id;  /* after stage_hello */
    int output;   /* read end of its standard output, non-blocking */
    int life;     /* write end of its life line */
};

struct stage {
    char folder[64], run[96], logs[96], checkpoints[96];
    struct secret secret;
    void *context, *router;
    uint32_t epoch;
    uint64_t stall_ns; /* of the next welcome */
    struct stage_worker worker[STAGE_WORKERS];
    Rk__Envelope *last; /* what stage_expect returned; freed by the next call */
};

/* To be called first in main: true when this process was another part, and is done with *code. */
bool stage_play(int argc, char **argv, int *code);

int stage_open(void **state);
int stage_close(void **state);

/* The coordinator's socket goes away and another, at the same address, takes its place. */
void stage_restart_coordinator(struct stage *stage);

/* Starts worker `index` of host group `group` with `slots` ranks of `program` (NULL ended). */
void stage_start(struct stage *stage, uint32_t index, const char *group, uint32_t slots,
                 const char *const *program);
/* `program` for a rank played by agent_rank.c. */
void stage_rank_program(const char *mode, const char *program[4]);

/* Waits for a message of `kind` from worker `index` (-1: any), leaving out others. */
const Rk__Envelope *stage_expect(struct stage *stage, int index, Rk__Envelope__BodyCase kind);
/* Waits for a heartbeat in which all ranks of the worker are in `state`. */
const Rk__Heartbeat *stage_expect_ranks(struct stage *stage, int index, Rk__RankState state);
void stage_say(struct stage *stage, uint32_t index, Rk__Envelope__BodyCase kind, void *body);

/* Hello and welcome; returns the hello. */
const Rk__Hello *stage_hello(struct stage *stage, uint32_t index, uint64_t silence_ns);
void stage_start_ranks(struct stage *stage, uint32_t index, uint32_t slots, uint32_t first_rank,
                       uint32_t generation);
/* Freeze, ack, go over ranks that are all of `index`; to the ack the caller may look. */
void stage_freeze(struct stage *stage, uint32_t index, uint64_t word, uint64_t fence);
void stage_go(struct stage *stage, uint32_t index, uint64_t word, uint32_t slots,
              uint64_t deal_step, uint64_t stop_at);

/* Waits for the warden's end; its wait status. */
int stage_wait(struct stage *stage, uint32_t index);
/* Waits until no process `pid` is there (a zombie counts as gone). */
void stage_wait_dead(pid_t pid);
/* Waits until `text` has come out of the worker's standard output; returns all that came. */
const char *stage_wait_output(struct stage *stage, uint32_t index, const char *text);
/* Reads a file below the stage's folder; static memory. */
const char *stage_read(const char *path);

/* agent_rank.c */
int rank_main(const char *mode);

#endif
