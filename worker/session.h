/* The inside of a session: what worker/reknit.h shows as an opaque handle.  libc only.
 *
 * A session is a rank's seat in the arena and its view of the plan in force.  The files around it:
 * session.c joins and leaves; gradients.c is where gradients lie; membership.c follows the freeze
 * and go words; step.c is the loop over steps; shard.c works on the shard in hand; reduce.c sums
 * what all ranks have; sampler.c is what does not depend on membership at all; gpu.h is what
 * differs where gradients lie on a GPU. */
#ifndef RK_WORKER_SESSION_H
#define RK_WORKER_SESSION_H

#include "collectives/arena.h"
#include "collectives/life.h"
#include "worker/reknit.h"

#include <pthread.h>
#include <stdbool.h>

#define SESSION_STREAM_BYTES (UINT64_C(8) << 20) /* what no cache holds until it is read */

enum session_phase {
    SESSION_JOINED,  /* registering */
    SESSION_BETWEEN, /* restored; between steps */
    SESSION_IN_STEP, /* after rk_step_begin */
    SESSION_SUMMED,  /* after rk_gradients_wait returned 0 */
    SESSION_BROKEN,  /* an error was returned that nothing but rk_leave can follow */
};

struct session_gradient {
    uint32_t tensor; /* of the layout */
    uint32_t wide;   /* lanes of an element in gradient space: 1, or 2 for float64 */
    uint64_t at;     /* its first lane, known once the layout is whole */
    uint64_t lanes;
    uint64_t count; /* elements */
};

/* The shard that was handed out last, and how its gradient joins the partial sums. */
struct session_shard {
    bool is_last; /* of this rank in this step: its buckets are final when they are summed */
    uint32_t buffer;
    struct tree_node root;    /* what the shard and what it takes up make */
    struct arena_table taken; /* the partial sums that it takes up, sorted by place */
    struct arena_table next;  /* the table that results */
    float weight;
    _Atomic int error;   /* of a call from another thread */
    uint32_t bad_tensor; /* with RK_ENOTFINITE: where */
    uint64_t bad_element;
};

/* The sum of the step in hand, as far as this rank has got with it. */
struct session_sum {
    uint64_t tick;       /* of `part`; 0: none yet */
    uint32_t part_count; /* of the whole tree */
    struct tree_part *part;
    uint64_t reduced[ARENA_BUCKET_WORDS]; /* buckets of which our slice is in the result */
    uint32_t left;                        /* how many are not */
    bool sliced;                          /* we have said so */
};

struct rk_session {
    struct rk_options options;
    enum session_phase phase;
    struct rk_why why;

    int agent; /* socket; -1: a world of one */
    struct life *life;
    struct arena arena;
    uint32_t block; /* of our agent in the arena */
    uint32_t seat;
    uint32_t rank;

    struct rk_layout *layout;
    void **data; /* of tensor i of the layout */
    uint32_t data_capacity;

    struct session_gradient *gradient; /* by number */
    uint32_t gradient_count;
    uint32_t gradient_capacity;
    uint32_t *shared; /* tensors of the state in the arena, by number */
    uint32_t shared_count;
    uint32_t shared_capacity;
    struct gpu *gpu; /* where gradients lie; NULL: in the memory of the host */
    bool *on_gpu;    /* of tensor i: whether `data` is memory of the GPU */
    uint32_t on_gpu_capacity;
    bool has_private; /* there is state in the program's own memory, too */
    rk_update update; /* NULL: sums are left for the program */
    void *context;
    uint32_t *placed; /* numbers of gradients that are not empty, by rising place */
    uint32_t placed_count;
    char *window[2];               /* where rk_alloc's memory lies: float32, float64; NULL: none */
    double weight;                 /* what the hidden gradient of RK_WEIGHTED is registered with */
    uint32_t *bucket_need;         /* lanes of each bucket that belong to gradients */
    _Atomic uint32_t *bucket_left; /* of them, not ready yet in the shard in hand */

    struct arena_plan plan; /* in force for us; word 0: none yet */
    rk_word acked;          /* the newest freeze word we acknowledged */
    uint32_t local_index;   /* our place in plan.local */
    uint64_t position;      /* finished steps */
    bool has_state;
    bool tell_progress; /* the next finished step is the first under its word */

    uint64_t todo[RK_MAX_SHARDS / 64]; /* dealt to us in this step and not done */
    int64_t shard;                     /* handed out and not done, or -1 */
    struct session_shard work;         /* on `shard` */
    pthread_mutex_t reducing;          /* over `sum`: whoever has it sums */
    struct session_sum sum;
};

struct arena_agent *session_block(const struct rk_session *session);
struct arena_seat *session_seat(const struct rk_session *session);

/* Returns `code` and keeps it as the session's last error. */
int session_fail(struct rk_session *session, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- membership.c ---------------------------------------------------------------------------- */

/* Says whom this rank waits for from now on; for nobody: its program has control, or what we do for
 * it, on a GPU too.  What takes too long is ended, --stall-timeout.  Returns what was said before.
 */
enum arena_wait session_waits(struct rk_session *session, enum arena_wait wait);
/* Follows the membership word: 0 when nothing changed, 1 when a new plan is in force (state
 * received, todo dealt anew), or an error.  Blocks from freeze to go. */
int session_follow(struct rk_session *session);
/* Blocks until this rank is a member that holds state. */
int session_enter(struct rk_session *session);
/* At a step's end: gives the state that the plan asks of this rank when it counted as there before
 * it was. */
int session_give_late(struct rk_session *session);
/* Looks whether the agent is still there and has said something; 0 or an error. */
int session_check_agent(struct rk_session *session);
/* Deals the shards of the step at `position` under the plan in force. */
void session_deal(struct rk_session *session);

/* ---- gradients.c ----------------------------------------------------------------------------- */

/* Adds a tensor with the program's memory at `data`. */
int session_add_tensor(struct rk_session *session, enum rk_tensor_kind kind, const char *name,
                       void *data, uint32_t dtype, uint32_t ndim, const uint64_t *shape);
/* Before the layout is declared: what the library registers for itself. */
int session_add_hidden(struct rk_session *session);
/* Once the arena has its layout and our seat its memory: maps what rk_alloc gave out to the seat's
 * leaf, and learns where gradients and buckets lie. */
int session_place_gradients(struct rk_session *session);
/* The buckets in which gradients are summed: how many, of so many lanes but the last. */
uint32_t session_buckets(const struct rk_session *session);
uint64_t session_bucket_lanes(const struct rk_session *session);
/* The first of `placed` that ends behind `lane`. */
uint32_t session_first_behind(const struct rk_session *session, uint64_t lane);
/* What of a range of lanes belongs to one gradient: its lanes from .. from + count - 1. */
struct session_piece {
    uint32_t number;
    const struct session_gradient *gradient;
    uint64_t from, count;
};
/* The pieces of lanes from .. from + count - 1 one by one, by place: *next = session_first_behind(
 * session, from) first; false when there is no further one. */
bool session_next_piece(const struct rk_session *session, uint64_t from, uint64_t count,
                        uint32_t *next, struct session_piece *piece);
/* Leaves the sum of the step in the program's own gradient memory. */
void session_copy_result(struct rk_session *session);
void session_free_gradients(struct rk_session *session);

/* ---- shared.c -------------------------------------------------------------------------------- */

/* Where a tensor of the state lies now. */
const void *session_state_data(const struct rk_session *session, uint32_t tensor);
/* Puts what the program initialised into the arena as the state after 0 steps. */
void session_share_initial(struct rk_session *session);
/* Makes the shared state of `position` from snapshot `k`. */
void session_share_snapshot(struct rk_session *session, uint32_t k, uint64_t position);
/* Whether this rank is the one that does so on its host: nobody else here has state. */
bool session_shares(const struct rk_session *session);

/* Whether new state is larger than what caches hold until it is read, so that it goes past them. */
bool session_streams_state(const struct rk_session *session);

/* ---- shard.c --------------------------------------------------------------------------------- */

/* The partial sums of the step in hand that this rank has, a copy. */
void session_read_table(const struct rk_session *session, struct arena_table *table);
/* Forgets those of the step that is dealt whose shards are not done under the plan. */
void session_keep_done(struct rk_session *session);
/* Prepares for `shard`, which is handed out now: the last one of the step when `is_last`. */
int session_shard_begin(struct rk_session *session, uint32_t shard, bool is_last);
/* All of its gradient is there: puts it into this rank's table of partial sums. */
int session_shard_publish(struct rk_session *session);
/* Tells everybody that this rank has nothing to add to the step in hand. */
void session_shards_end(struct rk_session *session);

/* ---- reduce.c -------------------------------------------------------------------------------- */

/* Sums our slice of at most `limit` buckets that all have.  RK_EPROTO: the parts are no tree. */
int session_reduce(struct rk_session *session, uint32_t limit);
/* Waits for the sum of the step.  RK_REFORMED: there is more to do. */
int session_wait_for_sum(struct rk_session *session);
bool session_has_todo(const struct rk_session *session);

/* ---- snapshots (session.c) ------------------------------------------------------------------- */

/* Copies the registered state into a snapshot of `position` unless there is one. */
int session_give_state(struct rk_session *session);
/* Copies snapshot `k` into the registered state. */
int session_take_state(struct rk_session *session, uint32_t k);

#endif
