/* How a host gets what others have already: the last result, and the state; see talk.h. */
#include "collectives/carrier/talk.h"

#include <string.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- results --------------------------------------------------------------------------------- */

/* Sends one more packet of the result to `host`; an empty vector is one empty packet. */
static int result_send(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    struct talk_host *to = &talk->host[host];
    struct packet *packet = wires_slot(talk->wires, to->peer);

    if (packet == NULL || talk_frozen(talk))
        return 0;
    talk_head(talk, packet, PACKET_RESULT);
    packet->header.from = to->caught_up;
    packet->header.count = (uint32_t)smaller(PACKET_FLOATS, talk->elements - to->caught_up);
    memcpy(packet->payload, arena_result(talk->arena) + to->caught_up,
           packet->header.count * sizeof(float));
    to->caught_up += packet->header.count;
    to->sent_result = to->caught_up == talk->elements;
    return talk_send(talk, host, moved, why);
}

/* Says to `host` that what we lacked is here. */
static int whole_send(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    struct packet *packet = wires_slot(talk->wires, talk->host[host].peer);

    if (packet == NULL)
        return 0;
    talk_head(talk, packet, PACKET_WHOLE);
    talk->host[host].told_whole = true;
    return talk_send(talk, host, moved, why);
}

/* What of the results is to be said to `host` now. */
static int results_say(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    const struct talk_host *self = &talk->host[talk->plan.host_index];
    const struct talk_host *to = &talk->host[host];

    if (talk->giver == talk->plan.host_index && to->lags && !to->sent_result)
        return result_send(talk, host, moved, why);
    if (talk->lagged && !self->lags && !to->told_whole)
        return whole_send(talk, host, moved, why);
    return 0;
}

int catch_up_results(struct talk *talk, bool *moved, struct rk_why *why)
{
    uint32_t self = talk->plan.host_index;
    bool waits = talk->host[self].lags;

    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        int rc = h == self ? 0 : results_say(talk, h, moved, why);

        if (rc != 0)
            return rc;
        waits |= talk->host[h].lags || (h != self && talk->lagged && !talk->host[h].told_whole);
    }
    if (waits)
        return 0;
    for (uint32_t h = 0; h < talk->plan.hosts; h++)
        talk->host[h].caught_up = 0;
    talk->taken = 0;
    talk->receiving = false;
    talk->phase = TALK_STATE;
    *moved = true;
    return 0;
}

int catch_up_result(struct talk *talk, uint32_t host, const struct packet *packet,
                    struct rk_why *why)
{
    struct talk_host *self = &talk->host[talk->plan.host_index];
    uint64_t from = packet->header.from;

    if (talk->phase == TALK_MEET)
        return 0;
    if (talk->phase != TALK_RESULTS || !self->lags || host != talk->giver ||
        packet->header.step != talk->step || from != talk->taken ||
        packet->header.count > talk->elements - from)
        return rk_fail(why, RK_EPROTO, "host %u sends a result that nobody asked for", host);
    memcpy(arena_result(talk->arena) + from, packet->payload, packet->header.count * sizeof(float));
    talk->taken += packet->header.count;
    if (talk->taken == talk->elements) {
        self->lags = false;
        arena_complete(talk->arena, talk->step - 1);
    }
    return 1;
}

int catch_up_whole(struct talk *talk, uint32_t host, struct rk_why *why)
{
    if (talk->phase == TALK_MEET)
        return 0;
    if (talk->phase != TALK_RESULTS || !talk->host[host].lags)
        return rk_fail(why, RK_EPROTO, "host %u has the result twice", host);
    talk->host[host].lags = false;
    return 1;
}

/* ---- state ----------------------------------------------------------------------------------- */

/* Sends one more packet of the snapshot to `host`, which then no longer needs it or does. */
static int state_send(struct talk *talk, uint32_t host, uint32_t snapshot, bool *moved,
                      struct rk_why *why)
{
    struct talk_host *to = &talk->host[host];
    struct packet *packet = wires_slot(talk->wires, to->peer);
    const char *data = arena_snapshot_data(talk->arena, snapshot);

    if (packet == NULL || talk_frozen(talk))
        return 0;
    talk_head(talk, packet, PACKET_STATE);
    packet->header.step = talk->plan.deal_step;
    packet->header.from = to->caught_up;
    packet->header.count = (uint32_t)smaller(PACKET_PAYLOAD, talk->state_bytes - to->caught_up);
    memcpy(packet->payload, data + to->caught_up, packet->header.count);
    atomic_thread_fence(memory_order_acquire);
    if (arena_snapshot_find(talk->arena, talk->plan.deal_step) != (int)snapshot)
        return rk_fail(why, RK_ETRANSPORT,
                       "the snapshot of step %llu was overwritten while it was "
                       "sent; it is sent again",
                       (unsigned long long)talk->plan.deal_step);
    to->caught_up += packet->header.count;
    if (to->caught_up == talk->state_bytes)
        to->hello.needs_state = 0;
    return talk_send(talk, host, moved, why);
}

static int state_give(struct talk *talk, bool *moved, bool *waits, struct rk_why *why)
{
    int snapshot = arena_snapshot_find(talk->arena, talk->plan.deal_step);

    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        int rc = 0;

        if (h == talk->plan.host_index || !talk->host[h].hello.needs_state)
            continue;
        if (snapshot >= 0)
            rc = state_send(talk, h, (uint32_t)snapshot, moved, why);
        if (rc != 0)
            return rc;
        *waits |= talk->host[h].hello.needs_state != 0;
    }
    return 0;
}

int catch_up_state(struct talk *talk, bool *moved, struct rk_why *why)
{
    uint32_t self = talk->plan.host_index;
    bool waits = talk->host[self].hello.needs_state != 0;
    int rc = 0;

    if (talk->plan.state_host == self)
        rc = state_give(talk, moved, &waits, why);
    if (rc != 0 || waits)
        return rc;
    exchange_begin(talk, talk->step);
    *moved = true;
    return 0;
}

int catch_up_snapshot(struct talk *talk, uint32_t host, const struct packet *packet,
                      struct rk_why *why)
{
    struct talk_host *self = &talk->host[talk->plan.host_index];
    uint64_t from = packet->header.from;

    if (talk->phase < TALK_STATE)
        return 0;
    if (talk->phase != TALK_STATE || !self->hello.needs_state || host != talk->plan.state_host ||
        packet->header.step != talk->plan.deal_step || from != talk->taken ||
        packet->header.count > talk->state_bytes - from)
        return rk_fail(why, RK_EPROTO, "host %u sends a state that nobody asked for", host);
    if (talk->taking < 0) {
        talk->taking = arena_snapshot_pick(talk->arena);
        if (talk->taking < 0)
            return 0; /* both are being read; one will be free */
        arena_snapshot_begin(talk->arena, (uint32_t)talk->taking);
    }
    memcpy((char *)arena_snapshot_data(talk->arena, (uint32_t)talk->taking) + from, packet->payload,
           packet->header.count);
    talk->receiving = true;
    talk->taken += packet->header.count;
    if (talk->taken == talk->state_bytes) {
        arena_snapshot_commit(talk->arena, (uint32_t)talk->taking, talk->plan.deal_step);
        self->hello.needs_state = 0;
    }
    return 1;
}
