/* Agents of several hosts, played in one process: each has a socket and an arena; one of them runs
 * mpirun, and reknit-rsh asks it for daemons.  Nothing here waits without a deadline. */
#ifndef RK_TESTS_CARRIER_AGENTS_H
#define RK_TESTS_CARRIER_AGENTS_H

#include "tests/carrier/field.h"

#include <sys/types.h>

#define AGENTS_HOSTS 4u
#define AGENTS_RANKS 3u /* seats of each host; plan.local_count of them are ranks: 2 at first */

struct played_host {
    struct field field;
    struct arena_plan plan;
    char path[160]; /* of the agent's socket */
    char directory[160];
    int listener;
    int carrier; /* its connection, -1: none */
    uint32_t carrier_job;
    pid_t daemon;
    rk_word acked;
};

struct agents {
    uint32_t hosts;
    uint32_t job;
    pid_t mpirun;
    int mpirun_status;
    uint32_t daemons; /* asked for by reknit-rsh in this job */
    char directory[100];
    char programs[512]; /* the folder of reknit-carrier and reknit-rsh */
    struct played_host host[AGENTS_HOSTS];
};

/* `programs`: the absolute folder of reknit-carrier and reknit-rsh. */
void agents_init(struct agents *agents, const char *programs, uint32_t hosts, uint32_t shards,
                 uint64_t elements, uint64_t state_bytes);
/* Kills what is left, removes files. */
void agents_done(struct agents *agents);

/* Starts the next job of carriers. */
void agents_launch(struct agents *agents);
/* SIGKILL for all processes of the job, as agents do. */
void agents_kill(struct agents *agents);

/* Serves sockets and children for a short while. */
void agents_turn(struct agents *agents);

/* The word is frozen on every host and, if `wait`, acknowledged by every carrier. */
void agents_freeze(struct agents *agents, rk_word word, bool wait);
/* Plans with `deal_step` and lineage, served by the present job. */
void agents_go(struct agents *agents, rk_word word, rk_word lineage, uint64_t deal_step);

/* Turns until the condition holds; ends the process with `what` when it does not in 60 s. */
#define AGENTS_UNTIL(agents, condition, what)       \
    do {                                            \
        uint64_t end_ = agents_deadline();          \
        while (!(condition))                        \
            agents_turn_before(agents, end_, what); \
    } while (0)
uint64_t agents_deadline(void);
void agents_turn_before(struct agents *agents, uint64_t deadline, const char *what);

/* How many hosts have a carrier of the present job. */
uint32_t agents_carriers(const struct agents *agents);

#endif
