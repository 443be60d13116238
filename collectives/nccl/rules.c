/* The table of rules.h. */
#include "collectives/nccl/rules.h"

#define TO(state) ((COMM_##state) + 1) /* so that 0 is an empty cell */

/* The whole behaviour.  An empty cell is a refused event. */
static const unsigned char rules[COMM_STATES][COMM_EVENTS] = {
    [COMM_ABSENT] =
        {[COMM_EV_FORM] = TO(FORMING), [COMM_EV_ABORT] = TO(ABSENT), [COMM_EV_HUNG] = TO(STUCK)},
    [COMM_FORMING] = {[COMM_EV_DONE] = TO(READY),
                      [COMM_EV_FAILED] = TO(ABSENT),
                      [COMM_EV_ABORT] = TO(ABSENT),
                      [COMM_EV_HUNG] = TO(STUCK)},
    [COMM_READY] = {[COMM_EV_REVOKE] = TO(REVOKING),
                    [COMM_EV_HOLD] = TO(HELD),
                    [COMM_EV_ABORT] = TO(ABSENT),
                    [COMM_EV_HUNG] = TO(STUCK)},
    [COMM_REVOKING] = {[COMM_EV_DONE] = TO(HELD),
                       [COMM_EV_FAILED] = TO(ABSENT),
                       [COMM_EV_ABORT] = TO(ABSENT),
                       [COMM_EV_HUNG] = TO(STUCK)},
    [COMM_HELD] = {[COMM_EV_SHRINK] = TO(SHRINKING),
                   [COMM_EV_ABORT] = TO(ABSENT),
                   [COMM_EV_HUNG] = TO(STUCK)},
    [COMM_SHRINKING] = {[COMM_EV_DONE] = TO(READY),
                        [COMM_EV_FAILED] = TO(ABSENT),
                        [COMM_EV_ABORT] = TO(ABSENT),
                        [COMM_EV_HUNG] = TO(STUCK)},
};

int comm_next(enum comm_state state, enum comm_event event)
{
    return (int)rules[state][event] - 1;
}

const char *comm_state_name(enum comm_state state)
{
    static const char *const names[COMM_STATES] = {
#define X(name) #name,
        COMM_STATE_LIST(X)
#undef X
    };

    return names[state];
}
