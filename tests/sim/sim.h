/* A job in one process: the core, a model of agents, ranks, arenas, network and storage, and a
 * seeded queue of events with faults among them.  Everything is a function of the options. */
#ifndef RK_TESTS_SIM_H
#define RK_TESTS_SIM_H

#include "common/clock.h"
#include "coordinator/core/core.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_SLOTS 4u
#define SIM_WORDS (RK_MAX_SHARDS / 64)

struct options {
    uint32_t workers, hosts, slots, shards, spares;
    uint64_t seconds; /* of faults; afterwards the job must come to its end */
    uint64_t steps;
    uint64_t seed;
    double faults; /* a second */
    bool no_restarts;
    bool gpus;        /* partial sums die with their rank; communicators fail with nobody lost */
    bool program;     /* that knows nothing of the library: no steps, exit code 0 at its end */
    uint32_t verbose; /* 1: notes; 2: and every event and action */
};

enum kind {
    EV_BOOT,      /* a launched worker comes up */
    EV_TO_CORE,   /* a message arrives at the coordinator */
    EV_TO_WORKER, /* or at a worker */
    EV_BEAT,
    EV_UP,      /* a rank enters */
    EV_READY,   /* a rank has done its shards */
    EV_ADVANCE, /* a rank has the result */
    EV_EXIT,    /* a rank that left ends */
    EV_FAULT,
    EV_TICK,
    EV_CORE_UP, /* the coordinator is started again */
    EV_GONE,    /* the launcher saw a worker end */
    EV_KILLED,  /* the end comes that a worker was told of */
    EV_CREW,    /* carriers come up, or go down */
    EV_STEP,    /* all ranks are ready, if the carriers are */
};

/* What a message carries; statuses are copied when it is sent. */
struct letter {
    enum core_event_kind kind;     /* to the core */
    enum core_action_kind action;  /* to a worker */
    rk_word word, frozen, lineage; /* as sent */
    struct core_rank_status rank[SIM_SLOTS];
    uint64_t snapshot[2];
    uint64_t a, b, c, serial;
    int32_t code;
    uint32_t ticket, members, world, job, slot;
    uint64_t host;
    bool flag, member;
    struct plan *plan;
    uint64_t done[SIM_WORDS];
    struct core_carrier carrier[2];
};

struct item {
    uint64_t time, order;
    enum kind kind;
    uint32_t who;  /* worker, or launch place */
    uint32_t slot; /* or ticket */
    uint64_t tag;  /* pid of the rank, life of the coordinator */
    rk_word word;
    struct letter *letter;
};

/* What a generation means, as the coordinator sent it. */
struct plan {
    struct core_plan core;
    uint64_t done[SIM_WORDS];
    struct core_member *member;
    uint32_t ready; /* ranks that are done with `step` */
    uint64_t step;
    uint32_t left_behind; /* members that stand still under a newer word */
    struct plan *next;
};

/* Shards that one rank, dead or alive, has finished. */
struct seat {
    uint64_t step;
    rk_word lineage;
    uint64_t set[SIM_WORDS];
    struct seat *next; /* ghosts */
};

struct arena {
    uint64_t id;
    uint32_t living;
    uint64_t complete, snapshot[2];
    struct seat *ghosts;
};

struct rank {
    struct core_rank_status status;
    uint64_t ready_step; /* 1 + step it is counted as ready in */
    uint32_t index;
    uint32_t world; /* of a program: ranks, as it was told when it was started */
    bool ended;     /* of a program: with 0, since it was started */
    struct seat seat;
};

struct worker {
    bool alive;
    struct rk_worker_id id;
    uint32_t ticket, place, group;
    struct arena *arena;
    uint64_t stalled; /* until */
    uint64_t ends_at; /* it knows that it will; 0: not */
    uint64_t last_sent, serial;
    rk_word frozen;
    struct plan *plan;
    uint64_t snapshot_at;
    struct rank rank[SIM_SLOTS];
};

struct sim {
    struct options o;
    uint64_t random, now, order, digest;
    struct item *heap;
    uint32_t heap_count, heap_room;
    struct core *core;
    struct core_config config;
    struct core_record durable;
    bool has_durable;
    struct core_record soon; /* not durable before soon_at, 0: none */
    uint64_t soon_at;
    uint32_t epoch;
    uint64_t life; /* of the coordinator */
    struct worker *worker;
    uint32_t worker_count, worker_room;
    uint32_t *coming; /* tickets whose workers have not come up */
    uint32_t coming_count;
    struct arena **group; /* the arena of each host in use, NULL: none */
    struct arena **arena; /* all ever made */
    uint32_t arena_count, arena_room;
    struct plan *plans;
    rk_word newest_go;
    uint64_t newest_go_at;
    struct crew *crews;                            /* launches of carriers, the newest first */
    uint32_t serving_job, standby_job, newest_job; /* as the coordinator said last */
    uint64_t committed[64], finished_steps;
    uint32_t committed_count;
    int32_t pid;
    bool over, leaving;
    int32_t exit_code;
    uint64_t events, losses_noted, losses_recovered, losses_early;
    uint32_t kills[8], restarts, generations, commits, drained;
    const char *failure;
    uint64_t deadline;
};

/* ---- sim.c: time, chance, the queue ---------------------------------------------------------- */

uint64_t sim_random(struct sim *sim);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_chance(struct sim *sim, double probability);
void sim_push(struct sim *sim, struct item item, uint64_t delay);
void sim_fail(struct sim *sim, const char *what);
void sim_digest(struct sim *sim, uint64_t value);
void *sim_alloc(size_t size);

/* ---- agents.c: workers, their ranks, their arenas -------------------------------------------- */

uint32_t worker_by_id(const struct sim *sim, struct rk_worker_id id);
void agent_boot(struct sim *sim, uint32_t place, uint32_t ticket);
void agent_beat(struct sim *sim, uint32_t w);
void agent_hello(struct sim *sim, uint32_t w);
void agent_take(struct sim *sim, uint32_t w, struct letter *letter);
void agent_die(struct sim *sim, uint32_t w, bool silent);
/* Its communicator has failed. */
void agent_says_comm(struct sim *sim, uint32_t w);
void agent_drain(struct sim *sim, uint32_t w, uint64_t within);
void rank_die(struct sim *sim, uint32_t w, uint32_t slot, int32_t signal);
void rank_up(struct sim *sim, const struct item *item);
void rank_ready(struct sim *sim, const struct item *item);
void rank_advance(struct sim *sim, const struct item *item);
void rank_exit(struct sim *sim, const struct item *item);
void agent_says_exit(struct sim *sim, uint32_t w, uint32_t slot, int32_t signal, bool left);
struct rank *rank_of(struct sim *sim, const struct item *item);
void rank_summed(struct sim *sim, const struct item *item);
void agent_says_carrier(struct sim *sim, uint32_t w, enum core_event_kind kind, uint32_t job,
                        uint32_t place, uint32_t hosts);

/* ---- program.c: ranks that know nothing of the library --------------------------------------- */

void program_up(struct sim *sim, const struct item *item);
void program_exit(struct sim *sim, const struct item *item);
/* The job says that it is finished: all ranks of one start have done all of their work. */
void program_check(struct sim *sim);

/* ---- carriers.c ------------------------------------------------------------------------------ */

void crews_told(struct sim *sim, const struct core_action *action);
void crew_event(struct sim *sim, const struct item *item);
void crews_worker_dies(struct sim *sim, uint32_t w);
void crews_fault(struct sim *sim, uint32_t w);
void crews_hello(const struct sim *sim, uint32_t w, struct core_carrier carrier[2]);
void crews_check_go(struct sim *sim, const struct plan *plan);
bool crews_carry(struct sim *sim, const struct plan *plan);

/* ---- boss.c: the coordinator's shell -----------------------------------------------------------
 */

void boss_start(struct sim *sim);
void boss_die(struct sim *sim);
void boss_take(struct sim *sim, const struct item *item);
void boss_tick(struct sim *sim, uint64_t late);
void boss_gone(struct sim *sim, const struct item *item);

#endif
