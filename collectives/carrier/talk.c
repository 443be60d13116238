/* The phases of a talk, the meeting at its start, and who gets which packet; see talk.h. */
#include "collectives/carrier/talk.h"

#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define MEET_PATIENCE (30 * RK_S)
#define MOVE_PATIENCE (10 * RK_S)

bool talk_frozen(const struct talk *talk)
{
    return atomic_load_explicit(&talk->arena->header->agent[talk->block].freeze_word,
                                memory_order_acquire) != talk->plan.word;
}

void talk_head(const struct talk *talk, struct packet *packet, enum packet_kind kind)
{
    packet->header = (struct packet_header){.magic = PACKET_MAGIC,
                                            .kind = (uint16_t)kind,
                                            .host = (uint16_t)talk->plan.host_index,
                                            .word = talk->plan.word,
                                            .step = talk->step,
                                            .vectors = 1};
}

int talk_send(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    *moved = true;
    return wires_send(talk->wires, talk->host[host].peer, why);
}

int talk_new(struct arena *arena, struct wires *wires, uint32_t block,
             const struct arena_plan *plan, struct talk **out, struct rk_why *why)
{
    struct talk *talk;

    if (plan->hosts != wires_size(wires) || plan->host_index >= plan->hosts)
        return rk_fail(why, RK_EDATA, "the plan has %u hosts and the job %u carriers", plan->hosts,
                       wires_size(wires));
    talk = calloc(1, sizeof *talk + plan->hosts * sizeof talk->host[0]);
    if (talk == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a talk of %u hosts", plan->hosts);
    talk->arena = arena;
    talk->wires = wires;
    talk->block = block;
    talk->plan = *plan;
    talk->giver = plan->hosts;
    talk->taking = -1;
    *out = talk;
    return 0;
}

void talk_free(struct talk *talk)
{
    free(talk);
}

/* ---- meeting --------------------------------------------------------------------------------- */

static struct packet_hello hello_of(const struct talk *talk)
{
    const struct arena_plan *plan = &talk->plan;
    bool has_state = arena_snapshot_find(talk->arena, plan->deal_step) >= 0;

    return (struct packet_hello){
        .deal_step = plan->deal_step,
        .grad_count = talk->elements,
        .state_bytes = talk->state_bytes,
        .shards = plan->shards,
        .hosts = plan->hosts,
        .state_host = plan->state_host,
        .job = plan->carrier_job,
        .complete_step = atomic_load(&talk->arena->header->complete_step),
        .needs_state = plan->take_state != 0 && !has_state && plan->state_host != plan->host_index,
    };
}

/* Says hello once the layout is known.  Slots are free: a peer that does not drain what an older
 * word left in its window cannot meet us either. */
static int meet_say(struct talk *talk, bool *moved, struct rk_why *why)
{
    const struct rk_layout *layout = arena_layout(talk->arena);
    struct talk_host *self = &talk->host[talk->plan.host_index];
    int rc;

    if (!self->met) {
        if (layout == NULL || talk_frozen(talk))
            return 0;
        rc = arena_refresh(talk->arena, why);
        if (rc != 0)
            return rc;
        talk->elements = rk_layout_grad_bytes(layout) / sizeof(float);
        talk->state_bytes = talk->arena->header->state_bytes;
        self->hello = hello_of(talk);
        self->met = true;
        talk->met_count++;
    }
    for (; talk->greeted < talk->plan.hosts; talk->greeted++) {
        struct packet *packet;

        if (talk->greeted == wires_self(talk->wires))
            continue;
        packet = wires_slot(talk->wires, talk->greeted);
        if (packet == NULL)
            return 0;
        talk_head(talk, packet, PACKET_HELLO);
        packet->header.count = 1;
        memcpy(packet->payload, &self->hello, sizeof self->hello);
        *moved = true;
        rc = wires_send(talk->wires, talk->greeted, why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int meet_hear(struct talk *talk, uint32_t peer, const struct packet *packet,
                     struct rk_why *why)
{
    const struct packet_hello *mine = &talk->host[talk->plan.host_index].hello;
    struct packet_hello theirs;
    uint32_t host = packet->header.host;

    memcpy(&theirs, packet->payload, sizeof theirs);
    if (theirs.deal_step != mine->deal_step || theirs.grad_count != mine->grad_count ||
        theirs.state_bytes != mine->state_bytes || theirs.shards != mine->shards ||
        theirs.hosts != mine->hosts || theirs.state_host != mine->state_host ||
        theirs.job != mine->job)
        return rk_fail(why, RK_EDATA, "host %u has another plan or layout", host);
    if (host >= talk->plan.hosts || talk->host[host].met)
        return rk_fail(why, RK_EDATA, "two carriers are host %u", host);
    talk->host[host].met = true;
    talk->host[host].peer = peer;
    talk->host[host].hello = theirs;
    talk->met_count++;
    return 0;
}

/* All are there: who lacks what. */
static int meet_end(struct talk *talk, struct rk_why *why)
{
    uint32_t hosts = talk->plan.hosts;
    struct progress_host *host = calloc(hosts, sizeof *host);
    struct progress progress;
    int rc;

    if (host == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for %u hosts", hosts);
    for (uint32_t h = 0; h < hosts; h++)
        host[h] = (struct progress_host){.complete_step = talk->host[h].hello.complete_step};
    rc = progress_read(host, hosts, talk->plan.deal_step, &progress, why);
    for (uint32_t h = 0; rc == 0 && h < hosts; h++)
        talk->host[h].lags = host[h].lags;
    free(host);
    if (rc != 0)
        return rc;
    talk->step = progress.step;
    talk->giver = progress.giver;
    talk->phase = TALK_RESULTS;
    return 0;
}

static int meet(struct talk *talk, bool *moved, struct rk_why *why)
{
    const struct talk_host *self = &talk->host[talk->plan.host_index];
    int rc = meet_say(talk, moved, why);

    if (rc != 0 || !self->met || talk->greeted < talk->plan.hosts ||
        talk->met_count < talk->plan.hosts)
        return rc;
    *moved = true;
    return meet_end(talk, why);
}

/* ---- packets --------------------------------------------------------------------------------- */

/* The host that sends from place `peer`, or plan.hosts when it has not said hello. */
static uint32_t host_of(const struct talk *talk, uint32_t peer)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index && talk->host[h].met && talk->host[h].peer == peer)
            return h;
    return talk->plan.hosts;
}

/* 1: done with the packet; 0: leave it; or an error. */
static int use_packet(struct talk *talk, uint32_t peer, const struct packet *packet,
                      struct rk_why *why)
{
    const struct packet_header *header = &packet->header;
    uint32_t host;
    int rc;

    if (header->word != talk->plan.word)
        return header->word < talk->plan.word;
    if (!talk->host[talk->plan.host_index].met)
        return 0;
    host = host_of(talk, peer);
    if (header->kind == PACKET_HELLO && host == talk->plan.hosts) {
        rc = meet_hear(talk, peer, packet, why);
        return rc == 0 ? 1 : rc;
    }
    if (host == talk->plan.hosts || header->host != host || header->kind == PACKET_HELLO)
        return rk_fail(why, RK_EPROTO, "a packet of kind %u from place %u out of turn",
                       header->kind, peer);
    switch (header->kind) {
    case PACKET_RESULT:
        return catch_up_result(talk, host, packet, why);
    case PACKET_STATE:
        return catch_up_snapshot(talk, host, packet, why);
    default:
        return exchange_packet(talk, host, packet, why);
    }
}

static int use_packets(struct talk *talk, bool *moved, struct rk_why *why)
{
    for (uint32_t peer = 0; peer < wires_size(talk->wires); peer++) {
        const struct packet *packet;

        if (peer == wires_self(talk->wires))
            continue;
        while ((packet = wires_head(talk->wires, peer)) != NULL && !talk_frozen(talk)) {
            int rc = use_packet(talk, peer, packet, why);

            if (rc == 0)
                break;
            if (rc > 0)
                rc = wires_pop(talk->wires, peer, why);
            if (rc < 0)
                return rc;
            *moved = true;
        }
    }
    return 0;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static int (*const phases[])(struct talk *, bool *, struct rk_why *) = {
    [TALK_MEET] = meet,
    [TALK_RESULTS] = catch_up_results,
    [TALK_STATE] = catch_up_state,
    [TALK_RANKS] = exchange_ranks,
    [TALK_STEP] = exchange_step,
};

int talk_turn(struct talk *talk, bool *moved, struct rk_why *why)
{
    int rc;

    *moved = false;
    rc = wires_turn(talk->wires, moved, why);
    if (rc == 0 && !talk_frozen(talk))
        rc = use_packets(talk, moved, why);
    if (rc == 0 && !talk_frozen(talk))
        rc = phases[talk->phase](talk, moved, why);
    return rc;
}

bool talk_waits_here(const struct talk *talk)
{
    const struct arena_plan *plan = &talk->plan;

    if (wires_sending(talk->wires))
        return false;
    if (talk->phase == TALK_MEET)
        return !talk->host[plan->host_index].met;
    if (talk->phase == TALK_STATE)
        return plan->state_host == plan->host_index &&
               arena_snapshot_find(talk->arena, plan->deal_step) < 0;
    return talk->phase == TALK_RANKS;
}

uint64_t talk_patience(const struct talk *talk)
{
    switch (talk->phase) {
    case TALK_MEET:
        return talk->host[talk->plan.host_index].met ? MEET_PATIENCE : 0;
    case TALK_RESULTS:
        return MOVE_PATIENCE;
    case TALK_STATE:
        return talk->receiving || wires_sending(talk->wires) ? MOVE_PATIENCE : 0;
    case TALK_STEP:
        return talk->ready_count == talk->plan.hosts ? MOVE_PATIENCE : 0;
    default:
        return 0;
    }
}
