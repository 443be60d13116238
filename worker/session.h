/* The inside of a session: what worker/reknit.h shows as an opaque handle.  libc only.
 *
 * A session is a rank's seat in the arena and its view of the plan in force.  The files around it:
 * session.c joins, registers and leaves; membership.c follows the freeze and go words; step.c is
 * the loop over steps and shards; sampler.c is what does not depend on membership at all. */
#ifndef RK_WORKER_SESSION_H
#define RK_WORKER_SESSION_H

#include "collectives/arena.h"
#include "worker/reknit.h"

#include <stdbool.h>

enum session_phase {
    SESSION_JOINED,  /* registering */
    SESSION_BETWEEN, /* restored; between steps */
    SESSION_IN_STEP, /* after rk_step_begin */
    SESSION_SUMMED,  /* after rk_gradients_wait returned 0 */
    SESSION_BROKEN,  /* an error was returned that nothing but rk_leave can follow */
};

struct rk_session {
    struct rk_options options;
    enum session_phase phase;
    struct rk_why why;

    int agent; /* socket; -1: a world of one */
    struct arena arena;
    uint32_t block; /* of our agent in the arena */
    uint32_t seat;
    uint32_t rank;

    struct rk_layout *layout;
    void **data; /* of tensor i of the layout */
    uint32_t data_capacity;

    struct arena_plan plan; /* in force for us; word 0: none yet */
    rk_word acked;          /* the newest freeze word we acknowledged */
    uint32_t local_index;   /* our place in plan.local */
    uint64_t position;      /* finished steps */
    bool has_state;
    bool tell_progress; /* the next finished step is the first under its word */

    uint64_t todo[RK_MAX_SHARDS / 64]; /* dealt to us in this step and not done */
    int64_t shard;                     /* handed out and not done, or -1 */
};

struct arena_agent *session_block(const struct rk_session *session);
struct arena_seat *session_seat(const struct rk_session *session);

/* Returns `code` and keeps it as the session's last error. */
int session_fail(struct rk_session *session, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- membership.c ---------------------------------------------------------------------------- */

/* Follows the membership word: 0 when nothing changed, 1 when a new plan is in force (state
 * received, todo dealt anew), or an error.  Blocks from freeze to go. */
int session_follow(struct rk_session *session);
/* Blocks until this rank is a member that holds state. */
int session_enter(struct rk_session *session);
/* Looks whether the agent is still there and has said something; 0 or an error. */
int session_check_agent(struct rk_session *session);
/* Deals the shards of the step at `position` under the plan in force. */
void session_deal(struct rk_session *session);

/* ---- snapshots (session.c) ------------------------------------------------------------------- */

/* Copies the registered state into a snapshot of `position` unless there is one. */
int session_give_state(struct rk_session *session);
/* Copies snapshot `k` into the registered state. */
void session_take_state(struct rk_session *session, uint32_t k);

#endif
