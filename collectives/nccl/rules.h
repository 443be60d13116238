/* The life of a rank's communicator as a table, without NCCL: event in, next state out.
 *
 *           FORM             DONE           REVOKE              DONE          SHRINK
 *   ABSENT ------> FORMING ------> READY ------------> REVOKING ------> HELD ------> SHRINKING
 *                                  |  ^        HOLD (no revoke)          ^               |
 *                                  +--|----------------------------------+     DONE      |
 *                                     +--------------------------------------------------+
 *
 *   FAILED (FORMING, REVOKING, SHRINKING) and ABORT (from anywhere) lead to ABSENT.
 *   STUCK: a call into NCCL did not come back; nothing leads out of it.
 *
 * 1. Work is launched in READY only.
 * 2. Each way into ABSENT aborts what there is; HELD keeps an old communicator only to shrink it.
 * 3. READY is left only for the next generation, or for good.
 * 4. An empty cell refuses the event and changes nothing. */
#ifndef RK_COLLECTIVES_NCCL_RULES_H
#define RK_COLLECTIVES_NCCL_RULES_H

#define COMM_STATE_LIST(X) X(ABSENT) X(FORMING) X(READY) X(REVOKING) X(HELD) X(SHRINKING) X(STUCK)
#define COMM_EVENT_LIST(X) X(FORM) X(SHRINK) X(DONE) X(FAILED) X(REVOKE) X(HOLD) X(ABORT) X(HUNG)

enum comm_state {
#define X(name) COMM_##name,
    COMM_STATE_LIST(X)
#undef X
        COMM_STATES
};

enum comm_event {
#define X(name) COMM_EV_##name,
    COMM_EVENT_LIST(X)
#undef X
        COMM_EVENTS
};

/* The state after `event`, or -1: refused. */
int comm_next(enum comm_state state, enum comm_event event);
const char *comm_state_name(enum comm_state state);

#endif
