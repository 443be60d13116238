/* The arena: the shared memory of one host, in which a step's gradients, their sum and the
 * snapshots of the training state lie.  It outlives ranks, carriers and any one agent.
 *
 * It is one sealed memfd.  The first agent of a job on a host makes it; every other agent gets it
 * from a living one, every rank and carrier from its agent (SCM_RIGHTS over the agent's socket).
 *
 *   [ header | agent blocks | seats | carrier block | layout ]  ARENA_CONTROL_BYTES, from the start
 *   [ result G | snapshot 0 S | snapshot 1 S ]                  once the layout is known
 *   [ shared 0 S | shared 1 S ]                                 where state lies in the arena
 *   [ seat 0: B buffers of G ] ... [ seat 63 ... ]              each allocated when taken
 *
 *   G gradient space, S state bytes (both rounded up to ARENA_ALIGN, or to large pages where they
 * are large; a seat, and what lies before the first, begin and end at large pages likewise), V
 * shards, B = 2 log2 V + 2 partial-sum buffers a seat (ARENA_FAST: 2), and one more, the leaf, when
 * gradients' own memory lies in the arena (rk_alloc): the program writes a shard's gradient there,
 * and where it is the last shard of the step it is summed where it lies.
 *
 * Who writes what (each field has one writer at a time; no locks, so a writer may die anywhere):
 *
 *   header.layout, sizes     the agent that holds the host's file lock
 *   agent block              its agent; when it is fenced, the agent that fenced it
 *   seat, fields of the rank the rank that sits there; `state`, owner: the owner's agent or a
 * fencer result                   hosts == 1: each local rank its slice; else the carrier
 *   complete_step            whoever finishes a result; only grows
 *   snapshot k               the one designated rank of the plan, or the carrier, or the loader
 *
 * The bell: after each change that somebody may wait for, arena_ring().  Waits spin, yield, then
 * sleep on the bell (futex) and look again; each also looks at the freeze word (rank, carrier).
 *
 * Shared state (rk_alloc_state): one copy for all ranks of the host, of the state after p steps in
 * place p % 2, valid when its stamp is p + 1.  The ranks make the state after step n from that
 * before it and the sum, each its slice, in the other place; so a death at any point leaves the old
 * one whole.  Place p % 2 is overwritten in step p + 1, when all members are ready in it, so when
 * nobody needs the state after p steps.
 *
 * Freeze and go, the barrier on which everything rests.  For the next membership word w:
 *   1. the agent kills what is out on this host and waits until it is dead, turns its seats into
 *      ghosts, stores w in its block's freeze_word and rings;
 *   2. each rank of the agent, at its next library call or from inside its wait, writes its
 *      position, stores w in seat.ack_word and tells its agent (socket); so does the carrier.
 *      From then on it touches nothing in the arena until go_word == w (or a newer freeze);
 *   3. when all have, the agent acknowledges to the coordinator what it sees (struct arena_report);
 *   4. on GO the agent writes its block's plan, then stores w in go_word and rings.
 * So nobody refills a buffer that an old generation may still read or write, and every plan is
 * made from positions at which nothing moves.
 *
 * Positions: position n of a rank = number of finished steps; it computes step n.  All ranks that
 * hold state are at n or n + 1; when some are at n + 1 the result of step n is complete in their
 * host's arena, so the step whose shards must be dealt again is the highest position.
 *
 * Buckets: gradient space is cut into ranges of about a MiB.  A rank that works on its last shard
 * of a step tells for each bucket when its part of it is final (bucket_ready, under bucket_tick);
 * the ranks sum a bucket as soon as all of them have said so, each its slice of it, while the rest
 * of the gradient is still being computed.  That a result of step n is overwritten only when nobody
 * needs it any more holds for each bucket alone: a bucket of step n + 1 is summed when all members
 * are ready with it in step n + 1, so when all have finished step n.
 *
 * On GPUs (--backend nccl): gradients, partial sums and results lie in the memory of the ranks'
 * GPUs and NCCL moves them; here are the plans, the tables of partial sums and the snapshots.  Sums
 * die with their rank, so ghosts count for nothing, and no result is ever complete here: a rank
 * that is a step behind gets it from one that is not, over NCCL.
 *
 * Lineage: a table of partial sums counts for step s only with (step, lineage) equal to
 * (s, arena_plan_lineage(plan, s)).  A plan that keeps the done shards of its deal_step keeps
 * their lineage; one that discards them starts a new one. */
#ifndef RK_COLLECTIVES_ARENA_H
#define RK_COLLECTIVES_ARENA_H

#include "collectives/tree.h"
#include "common/error.h"
#include "common/id.h"
#include "common/layout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_MAGIC UINT64_C(0x314152414b4e4b52)
#define ARENA_VERSION 5u
#define ARENA_ALIGN UINT64_C(4096)
#define ARENA_CONTROL_BYTES (UINT64_C(4) << 20)
#define ARENA_AGENTS 64u
#define ARENA_SEATS 64u
#define ARENA_SNAPSHOTS 2u
#define ARENA_SHARED 2u
#define ARENA_REPORTS 8u
#define ARENA_NO_STEP UINT64_MAX
#define ARENA_NO_BUFFER UINT32_MAX
#define ARENA_BUCKET_BYTES (UINT64_C(1) << 20) /* unless the program says another */
#define ARENA_MAX_BUCKETS 4096u                /* buckets grow where there would be more */
#define ARENA_BUCKET_WORDS (ARENA_MAX_BUCKETS / 64)

#define ARENA_CARRIERS 1024u /* most of one launch */
#define ARENA_COMM_LOST 64u  /* ranks by which a communicator is shrunk at once */
#define ARENA_COMM_ID 128u   /* bytes of what NCCL's ranks meet by */

/* Of float32 gradients between hosts; float64 ones travel as they are. */
enum arena_wire { ARENA_WIRE_F32, ARENA_WIRE_BF16 };

/* Exact: shards are summed in one fixed tree, and a seat keeps a partial sum for each subtree that
 * it has.  Fast: a rank adds its shards up in the order in which it computes them, in one partial
 * sum that all nodes of its table share, and ranks are added in the order of their first shards:
 * hosts' sums in the order of hosts.  It has two buffers, of which one is whole at any time. */
enum arena_reduction { ARENA_EXACT, ARENA_FAST };

/* What a generation means to the ranks of one host. */
struct arena_member {
    uint32_t seat;
    uint32_t rank;  /* the name, kept over losses */
    uint32_t index; /* 0 .. world - 1 in this generation; the deal goes by it */
    uint32_t pad;
};

struct arena_plan {
    rk_word word;
    rk_word lineage;        /* of the partial sums of deal_step that count */
    uint64_t deal_step;     /* its missing shards are dealt again; later steps are dealt evenly */
    uint64_t stop_at;       /* ranks stop before this step; ARENA_NO_STEP: go on */
    uint64_t restart_count; /* for people */
    uint32_t world;         /* ranks in the generation */
    uint32_t hosts;         /* arenas in the generation */
    uint32_t host_index;    /* of this host, 0 .. hosts - 1 */
    uint32_t carrier_job;   /* the carriers that serve it; 0 when hosts == 1 */
    uint32_t shards;        /* V */
    uint32_t fresh;   /* 1: nothing was ever finished; ranks keep the state they initialised */
    uint32_t restart; /* 1: no rank held state (fresh, or relaunched): old sums count for nothing */
    uint32_t give_state; /* 1: a local rank at deal_step must leave its state in a snapshot */
    uint32_t take_state; /* 1: the carrier or the loader brings the state of deal_step here */
    uint32_t state_host; /* host_index of the host that gives the state to the others */
    uint32_t wire;       /* enum arena_wire: how gradients travel between hosts */
    uint32_t local_count;
    /* On GPUs: the word of the communicator that is shrunk by these of its ranks, 0: a new one. */
    rk_word comm_from;
    uint32_t comm_lost_count;
    uint32_t comm_lost[ARENA_COMM_LOST];
    uint64_t carriers[ARENA_CARRIERS / 64]; /* those of carrier_job that take part; none: all */
    struct arena_member local[ARENA_SEATS]; /* the members on this host, by rising index */
    uint64_t done[RK_MAX_SHARDS / 64];      /* shards of deal_step that need no dealing */
};

/* One agent's part of the control area. */
struct arena_agent {
    _Atomic uint64_t worker; /* rk_worker_id, 0: free */
    _Atomic int32_t agent_pid;
    _Atomic int32_t warden_pid;
    _Atomic uint64_t agent_start; /* start time of /proc/PID/stat, against reuse of pids */
    _Atomic uint64_t warden_start;
    _Atomic uint64_t freeze_word;
    _Atomic uint64_t go_word;
    _Atomic uint64_t snapshot_at; /* ranks leave a snapshot when they reach this position */
    _Atomic uint32_t pinned;      /* bit k: snapshot k is being read (checkpoint writer) */
    uint32_t pad;
    struct arena_plan plan; /* valid while go_word == freeze_word */
    unsigned char comm_id[ARENA_COMM_ID];
    _Atomic uint64_t comm_word; /* the generation that comm_id is for; 0: none yet */
};

enum arena_seat_state { ARENA_SEAT_FREE, ARENA_SEAT_TAKEN, ARENA_SEAT_GHOST };

/* Whom a rank waits for: nobody, as its program has control; for its step's sum, which takes no
 * longer than the slowest of all programs and the wire; for the coordinator, for its state or for
 * who reads it. */
enum arena_wait { ARENA_WAIT_NONE, ARENA_WAIT_SUM, ARENA_WAIT_OTHERS };
#define ARENA_WAITS 4u /* arena_seat.waits is a multiple of this and an arena_wait */

/* Partial sums that a rank has finished for one step. */
struct arena_node {
    struct tree_node node;
    uint32_t buffer; /* of this seat, 0 .. B - 1 */
};

struct arena_table {
    uint64_t step;
    rk_word lineage;
    uint32_t count;
    uint32_t pad;
    struct arena_node node[TREE_MAX_NODES];
};

struct arena_number {
    char name[32];
    _Atomic double value;
};

/* A place for one rank.  A ghost is the seat of a dead rank whose finished shards still count. */
struct arena_seat {
    _Atomic uint32_t state; /* enum arena_seat_state */
    _Atomic uint32_t slot;  /* local rank within its worker */
    _Atomic uint64_t worker;
    _Atomic uint32_t rank;
    _Atomic int32_t pid;
    _Atomic uint64_t pid_start;
    _Atomic uint32_t allocated; /* its buffers have memory; 2: and large pages were asked for */
    _Atomic uint32_t life;      /* of the rank's process, see life.h */

    /* written by the rank */
    _Alignas(64) _Atomic uint64_t ack_word;
    _Atomic uint64_t ack_position; /* where it stood then, ARENA_NO_STEP without state */
    _Atomic uint64_t position;     /* finished steps */
    _Atomic uint32_t has_state;    /* the rank's state is that of `position` */
    _Atomic uint32_t waits;        /* enum arena_wait, and above it how often that has changed */
    _Atomic uint64_t comm_word;    /* of its communicator, when that is whole; else 0 */
    _Atomic uint32_t left;         /* rk_leave was reached: `position` is final */
    _Atomic uint64_t ready;        /* arena_tick(word, step): all shards of mine are in the table */
    _Atomic uint64_t sliced;       /* arena_tick(word, step): my slice of the result is written */
    _Atomic uint32_t active;       /* which of the two tables is valid */
    _Atomic uint32_t report_count;
    struct arena_number report[ARENA_REPORTS];
    struct arena_table table[2];
    struct arena_table final;     /* with which the step of bucket_tick ends for this rank */
    _Atomic uint64_t bucket_tick; /* arena_tick(word, step): final and bucket_ready are of it */
    _Atomic uint64_t bucket_ready[ARENA_BUCKET_WORDS]; /* bit b % 64 of word b / 64 */
};

struct arena_snapshot {
    _Atomic uint64_t stamp; /* 0: not valid; else 1 + the number of finished steps it holds */
};

/* The carrier's part; the carrier writes it, its agent clears it when it is dead. */
struct arena_carrier {
    _Atomic int32_t pid;
    _Atomic uint32_t job;
    _Atomic uint64_t ack_word;
    _Atomic uint64_t bytes; /* sent so far, for people */
};

enum arena_layout_state { ARENA_LAYOUT_NONE, ARENA_LAYOUT_READY };

struct arena_header {
    uint64_t magic;
    uint32_t version;
    uint32_t shards;           /* V */
    uint64_t host;             /* rk_host_id */
    uint32_t reduction;        /* enum arena_reduction */
    _Atomic uint32_t enlarged; /* large pages were asked for */
    uint32_t on_gpus; /* 1: partial sums lie on the ranks' GPUs, and there are no results here */
    _Alignas(64) _Atomic uint32_t bell;
    _Atomic uint32_t sleepers;
    _Alignas(64) _Atomic uint64_t complete_step; /* results of steps < this are complete */
    _Atomic uint64_t result_step; /* of the steps < this the result area holds the last; 0: none */
    _Atomic uint32_t layout_state;
    uint32_t buffers; /* B */
    uint32_t leaf;    /* the buffer that is the leaf, or ARENA_NO_BUFFER */
    uint32_t bucket_count;
    uint64_t bucket_bytes;  /* of all but the last */
    uint64_t grad_bytes;    /* G */
    uint64_t state_bytes;   /* S */
    uint64_t result_offset; /* all offsets in bytes from the arena's start */
    uint64_t snapshot_offset;
    uint64_t shared_offset;
    uint64_t seat_offset;
    uint64_t seat_bytes;  /* of all buffers of a seat */
    uint64_t total_bytes; /* size of the memfd */
    struct arena_snapshot snapshot[ARENA_SNAPSHOTS];
    struct arena_snapshot shared[ARENA_SHARED];
    struct arena_carrier carrier;
    struct arena_agent agent[ARENA_AGENTS];
    struct arena_seat seat[ARENA_SEATS];
};

/* A mapping of the arena in this process. */
struct arena {
    int fd;
    uint64_t mapped; /* bytes */
    struct arena_header *header;
    bool alone; /* nobody else is to run on the processor of a rank of ours that waits */
};

/* ---- making and mapping ---------------------------------------------------------------------- */

/* Makes a new arena of control size for V = shards.  The caller owns *arena (arena_close). */
int arena_create(struct arena *arena, struct rk_host_id host, uint32_t shards, struct rk_why *why);
/* Maps an arena from `fd` and checks it; takes `fd` over on success only. */
int arena_open(struct arena *arena, int fd, struct rk_why *why);
/* Unmaps and closes; harmless on a zeroed struct. */
void arena_close(struct arena *arena);
/* Maps again when the arena has grown since (arena_declare in another process). */
int arena_refresh(struct arena *arena, struct rk_why *why);

/* Under the host's file lock: takes `layout` over when the arena has none yet (grows, allocates
 * result and snapshots whole, seals the size), else compares: RK_ELAYOUT names the difference.
 * RK_ENOMEM names the size and the limit it met. */
int arena_declare(struct arena *arena, const struct rk_layout *layout, struct rk_why *why);
/* The layout taken over, or NULL. */
const struct rk_layout *arena_layout(const struct arena *arena);
/* Gives seat `seat` its memory; RK_ENOMEM names size and limit. */
int arena_seat_allocate(struct arena *arena, uint32_t seat, struct rk_why *why);
/* The bytes one seat takes, and all that a host with `ranks` ranks takes, once there is a layout.
 */
uint64_t arena_seat_bytes(const struct arena_header *header);
/* Gives this process the pages of what a step of a rank in seat `own` works on, or, where `own` is
 * ARENA_SEATS, of a carrier: result, snapshots, partial sums.  So its first step need not wait for
 * each of them.  Changes nothing; takes a while, and does nothing where there is no layout yet. */
void arena_populate(const struct arena *arena, uint32_t own);
uint64_t arena_host_bytes(const struct arena_header *header, uint32_t ranks);
/* Before a layout is declared: the job's V and reduction, and whether sums lie on GPUs. */
void arena_set_job(struct arena *arena, uint32_t shards, enum arena_reduction reduction,
                   bool on_gpus);
/* float32 elements of gradient space in the arena: none where it lies on GPUs. */
uint64_t arena_grad_lanes(const struct arena *arena);
/* How many of a seat's buffers are for partial sums: all but the leaf. */
uint32_t arena_partial_buffers(const struct arena_header *header);

/* Places in gradient space, as float lanes (common/layout.h says where float64 begins). */
float *arena_result(const struct arena *arena);
void *arena_snapshot_data(const struct arena *arena, uint32_t snapshot);
void *arena_shared_data(const struct arena *arena, uint64_t position);
float *arena_buffer(const struct arena *arena, uint32_t seat, uint32_t buffer);

/* Where the bytes of a buffer of a seat begin in the memfd, for a mapping of their own. */
uint64_t arena_buffer_offset(const struct arena *arena, uint32_t seat, uint32_t buffer);

/* Lanes *from .. *from + *count - 1 of bucket b; b < arena_buckets(). */
uint32_t arena_buckets(const struct arena *arena);
void arena_bucket_range(const struct arena *arena, uint32_t b, uint64_t *from, uint64_t *count);

/* Sums lanes from .. from + count - 1 of `parts`, as tree_sum does for node `root`, into `out`
 * (lane 0 of gradient space): float32 or float64 additions as the lanes are.  `from` and `count`
 * are multiples of 2 where they touch the float64 part.  `stream` as tree_sum says. */
void arena_sum(const struct arena *arena, const struct tree_part *parts, uint32_t part_count,
               struct tree_node root, uint64_t from, uint64_t count, bool stream, float *out);

/* ---- for agents ------------------------------------------------------------------------------ */

/* Claims a block for a worker; its index, or RK_EFULL. */
int arena_agent_claim(struct arena *arena, struct rk_worker_id worker);
/* Claims a seat for (worker, slot, rank), preferring one that has memory; index or RK_EFULL.  A
 * ghost is taken again only when its sums are of a step that is complete, or when `held`: no plan
 * is in force. */
int arena_seat_claim(struct arena *arena, struct rk_worker_id worker, uint32_t slot, uint32_t rank,
                     bool held);
/* Puts `plan` in force in block `agent`: between freeze and go only.  A plan that takes the job
 * back to an earlier step (all state was lost) takes complete_step back with it. */
void arena_go(struct arena *arena, uint32_t agent, const struct arena_plan *plan);
/* The rank in it is dead: keeps its finished shards countable. */
void arena_seat_ghost(struct arena *arena, uint32_t seat);

/* What a worker tells the coordinator in its acknowledgement, besides its ranks' positions. */
struct arena_report {
    uint64_t complete_step;
    uint64_t snapshot_step[ARENA_SNAPSHOTS]; /* ARENA_NO_STEP when not valid */
    uint64_t deal_step;                      /* the step that `done` is about */
    rk_word lineage;
    uint32_t max_nodes; /* the most partial sums that one of the counted seats holds */
    uint64_t done[RK_MAX_SHARDS / 64];
};

/* Reads that for `worker`'s ranks and all ghosts of the host; on GPUs, for those of its ranks that
 * acknowledged `word`.  `previous` is the plan under which they worked, NULL when there was none.
 * Call only between freeze and go. */
void arena_report_read(const struct arena *arena, struct rk_worker_id worker, rk_word word,
                       const struct arena_plan *previous, struct arena_report *report);

/* ---- for all --------------------------------------------------------------------------------- */

/* One word for (generation, step): equal only when both are. */
static inline uint64_t arena_tick(rk_word word, uint64_t step)
{
    return (word << 40) | (step & ((UINT64_C(1) << 40) - 1));
}

/* The lineage that sums of `step` carry under `plan`. */
static inline rk_word arena_plan_lineage(const struct arena_plan *plan, uint64_t step)
{
    return step == plan->deal_step ? plan->lineage : plan->word;
}

/* Wakes whoever sleeps on the bell. */
void arena_ring(struct arena *arena);

/* One turn of a wait: call with *turn = 0 first.  Spins, yields, then sleeps until the bell rings
 * or 50 ms pass; where each waits on a processor of its own, it yields for longer, since to be
 * woken takes longer than what ranks of one step differ by.  Take `bell` with arena_bell() before
 * looking at the condition. */
uint32_t arena_bell(const struct arena *arena);
void arena_pause(struct arena *arena, uint32_t bell, uint32_t *turn);

/* complete_step = max(complete_step, step + 1), then rings. */
void arena_complete(struct arena *arena, uint64_t step);
/* Whether the result of step complete_step - 1 lies here.  It does not on a host that came when
 * that step was over: such a host is past the step all the same. */
bool arena_has_result(const struct arena *arena, uint64_t complete_step);

/* The valid table of a seat when it is of (step, lineage), else NULL. */
const struct arena_table *arena_table_of(const struct arena_seat *seat, uint64_t step,
                                         rk_word lineage);

/* For the rank of a seat.  It will end the step of `tick` with `table`; no bucket of it is final
 * yet. */
void arena_announce(struct arena_seat *seat, uint64_t tick, const struct arena_table *table);
/* Bucket b of it is final; all of them are, and nothing is left to do.  Ring the bell after the
 * first; the second does. */
void arena_bucket_done(struct arena_seat *seat, uint32_t b);
void arena_ready(struct arena *arena, struct arena_seat *seat, uint64_t tick);

/* Whether bucket b of `step` is final in all local members' partial sums. */
bool arena_bucket_is_ready(const struct arena *arena, const struct arena_plan *plan, uint64_t step,
                           uint32_t b);

/* The partial sums with which `step` ends on this host under `plan`, sorted by place in the tree,
 * with where they lie: those of its local members, of ghosts, and of ranks that acknowledged the
 * plan's word and are not in it (asked to leave, they are about to end), and of nobody else
 * (whoever is none of these was in no acknowledgement, so its shards were dealt again).  Their
 * buckets are to be read when they are ready.  At most `capacity`; returns how many, RK_ENOENT when
 * a member does not know yet what it will end with, or RK_EFULL. */
struct arena_piece {
    struct tree_node node;
    const float *data;
};
int arena_pieces(const struct arena *arena, const struct arena_plan *plan, uint64_t step,
                 struct arena_piece *pieces, uint32_t capacity);
/* Keeps of several pieces that share one partial sum (ARENA_FAST) the first; how many are left. */
uint32_t arena_pieces_distinct(struct arena_piece *pieces, uint32_t count);

/* Whether the shared state after `position` steps is there. */
bool arena_shared_has(const struct arena *arena, uint64_t position);
/* Before its place is written, and when it is whole. */
void arena_shared_begin(struct arena *arena, uint64_t position);
void arena_shared_commit(struct arena *arena, uint64_t position);

/* The snapshot to write next: not pinned by an agent, and the older one if there is a choice; or
 * RK_EFULL.  arena_snapshot_begin makes it not valid, arena_snapshot_commit valid at `step`. */
int arena_snapshot_pick(const struct arena *arena);
void arena_snapshot_begin(struct arena *arena, uint32_t snapshot);
void arena_snapshot_commit(struct arena *arena, uint32_t snapshot, uint64_t step);
/* The valid snapshot of exactly `step`, or RK_ENOENT; the newest valid one, or RK_ENOENT. */
int arena_snapshot_find(const struct arena *arena, uint64_t step);
int arena_snapshot_newest(const struct arena *arena);

#endif
