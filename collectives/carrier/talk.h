/* One plan, served: what a carrier does from a go to the next freeze.
 *
 *   MEET      waits for the layout, says HELLO to all, hears theirs
 *   RESULTS   the result of the last finished step goes to the hosts that lack it, and they say to
 *             all when they have it
 *   STATE     the snapshot of the step that is dealt goes to the hosts that must take it
 *   RANKS     waits until the local ranks know with which nodes they will end the step
 *   STEP      exchanges the step, bucket by bucket as they become ready; then RANKS again
 *
 * In STEP a host's parts leave as soon as its own ranks are ready with a bucket, whatever others
 * do; a range is summed as soon as all parts of it are there, and leaves at once where others need
 * it (order.h says who sums what).  So the exchange runs while the ranks still compute.
 *
 * A talk never blocks: talk_turn() does a bounded piece of work.  It looks at the freeze word
 * before each access to the arena's sums, result and snapshots, and touches nothing once it has
 * changed.
 *
 * Invariants:
 *   T1  a packet is used only when its word is the plan's and its step the one in hand; an older
 *       word is dropped, a newer word or step is left in the window until we get there
 *   T2  the result is written only in RESULTS (by a host that lacks it) and in STEP after every
 *       host said READY, so when nobody needs the result before it any more: a rank announces what
 *       it will end step n with only in step n, so after rk_step_end of step n - 1, when it has
 *       taken over that result; READY says so of all ranks of a host, and a rank that comes new
 *       takes the state of a step whose result is no longer needed either.  Who gets a SLICE need
 *       not have heard every READY itself: its sender has
 *   T3  a step is summed only when the nodes of all hosts are disjoint and cover all shards
 *   T4  packets of a step leave before any of the next
 *   T5  each stream goes through the buckets in the one order, so the first range that is not
 *       summed yet finds its parts at the head of every window, and no window waits for another
 *   T6  a sum has the same bits on all hosts: it is made by one of them, or by all from the same
 *       numbers in the same order (of its own parts too a host takes what it sent)
 *   T7  a step is said to be complete when the result is whole and all parts have left: from then
 *       on the ranks overwrite their partial sums
 *   T8  no state of a step leaves before the result of the step before it is whole wherever it was
 *       lacking: else, if all who had that result died now, a new host could be at a step that
 *       nobody can bring the others to */
#ifndef RK_COLLECTIVES_CARRIER_TALK_H
#define RK_COLLECTIVES_CARRIER_TALK_H

#include "collectives/carrier/narrow.h"
#include "collectives/carrier/order.h"
#include "collectives/carrier/slices.h"
#include "collectives/carrier/wires.h"

enum talk_phase { TALK_MEET, TALK_RESULTS, TALK_STATE, TALK_RANKS, TALK_STEP };

/* What this carrier knows about a host; `self` too, where it makes sense. */
struct talk_host {
    uint32_t peer; /* place in the job; of self: unused */
    bool met;
    struct packet_hello hello;
    bool lags;          /* it lacks the result, as far as it has said */
    bool sent_result;   /* all of it was sent to it */
    bool told_whole;    /* WHOLE was sent to it */
    uint64_t caught_up; /* elements or bytes of a catch-up sent to it */
    /* of the step in hand */
    bool ready;
    bool told_ready; /* READY was sent to it */
    bool complete;   /* all its buckets are ready */
    uint32_t vectors;
    struct walk parts; /* sent to it */
    struct walk given; /* sums of ours that were sent to it */
    struct walk taken; /* sums of its that are here */
};

struct talk {
    struct arena *arena;
    struct wires *wires;
    struct narrow *narrow;
    uint32_t block; /* of this host's agent, whose freeze word rules */
    struct arena_plan plan;
    enum talk_phase phase;
    uint64_t step;
    uint32_t met_count;
    uint32_t greeted;  /* peers before this one have our HELLO */
    uint64_t elements; /* of the gradient vector */
    uint64_t state_bytes;
    uint32_t giver; /* of the result; plan.hosts: nobody */
    bool lagged;    /* this host lacked the result */
    uint64_t taken; /* elements or bytes of a catch-up received */
    int taking;     /* the snapshot being written, or negative */
    bool receiving; /* a catch-up has begun to arrive */
    struct order order;
    /* the step in hand */
    uint32_t ready_count;
    bool merged;         /* merge is sealed */
    bool completed;      /* the result is whole and announced */
    uint32_t ready_from; /* buckets from this one on are ready on this host */
    uint32_t open_from;  /* and their parts may be sent and summed */
    struct walk sum;     /* what we sum; that before it is in the result */
    uint32_t piece_count;
    uint32_t node_count; /* joined nodes of this host */
    uint32_t vectors;    /* that it brings: one for each node, or one in all (ARENA_FAST) */
    struct tree_node node[RK_MAX_SHARDS];
    uint32_t node_from[RK_MAX_SHARDS + 1]; /* first piece of each vector */
    struct arena_piece piece[RK_MAX_SHARDS];
    struct merge merge;
    struct tree_part part[RK_MAX_SHARDS];
    struct talk_host host[]; /* plan.hosts */
};

/* A talk about `plan`, which is copied, of the agent with `block`; freed by talk_free (takes NULL).
 * `narrow`, zeroed at first, keeps what rounding holds back from one plan to the next; the caller
 * owns it (narrow_done).  RK_ENOMEM; RK_EDATA when the plan is not for a job of this size. */
int talk_new(struct arena *arena, struct wires *wires, struct narrow *narrow, uint32_t block,
             const struct arena_plan *plan, struct talk **out, struct rk_why *why);
void talk_free(struct talk *talk);

/* Goes on as far as a bounded piece of work goes.  *moved: something happened.  RK_EDATA,
 * RK_EPROTO: a bug or a stale peer, nothing wrong was written; RK_ETRANSPORT. */
int talk_turn(struct talk *talk, bool *moved, struct rk_why *why);

/* Whether it waits for this host's ranks only, so that the bell tells when to look again. */
bool talk_waits_here(const struct talk *talk);
/* Nanoseconds without anything moving after which something is broken; 0: it may take any time. */
uint64_t talk_patience(const struct talk *talk);

/* ---- the parts of it: catch_up.c, exchange.c, give.c ------------------------------------------
 */

bool talk_frozen(const struct talk *talk);
/* Fills the header of a packet for now; the rest of it is 0 but vectors, which is 1. */
void talk_head(const struct talk *talk, struct packet *packet, enum packet_kind kind);
int talk_send(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why);

/* One turn of a phase; they set talk->phase when it is over. */
int catch_up_results(struct talk *talk, bool *moved, struct rk_why *why);
int catch_up_state(struct talk *talk, bool *moved, struct rk_why *why);
void exchange_begin(struct talk *talk, uint64_t step);
int exchange_ranks(struct talk *talk, bool *moved, struct rk_why *why);
int exchange_step(struct talk *talk, bool *moved, struct rk_why *why);

/* Whether element `at` travels as bfloat16. */
bool give_is_narrow(const struct talk *talk, uint64_t at);
/* The elements of a packet of `vectors` vectors that begins at `at`. */
uint32_t give_limit(const struct talk *talk, uint64_t at, uint32_t vectors);
/* Opens buckets that have become ready. */
void give_open(struct talk *talk, bool *moved);
/* Whether hosts add what each of them has, one after the other (ARENA_FAST). */
bool give_is_serial(const struct talk *talk);
/* Sums all our vectors into out[0 .. count - 1], one after the other. */
void give_sum(struct talk *talk, uint64_t from, size_t count, float *out);
/* Fills one packet for `host` if there is room and something to say. */
int give_next(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why);
/* Whether all parts have left; whether all is said of the step. */
bool give_parts_are_over(const struct talk *talk);
bool give_is_over(const struct talk *talk);
/* Whether the step goes on only when the local ranks are ready with another bucket. */
bool give_waits_here(const struct talk *talk);

/* Uses a packet of the plan's word.  1: done with it; 0: not yet; or an error. */
int catch_up_result(struct talk *talk, uint32_t host, const struct packet *packet,
                    struct rk_why *why);
int catch_up_whole(struct talk *talk, uint32_t host, struct rk_why *why);
int catch_up_snapshot(struct talk *talk, uint32_t host, const struct packet *packet,
                      struct rk_why *why);
int exchange_packet(struct talk *talk, uint32_t host, const struct packet *packet,
                    struct rk_why *why);

#endif
