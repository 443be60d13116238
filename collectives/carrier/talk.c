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

int talk_new(struct arena *arena, struct wires *wires, struct narrow *narrow, uint32_t block,
             const struct arena_plan *plan, struct talk **out, struct rk_why *why)
{
    struct talk *talk;

    if (plan->hosts != plan_carriers(plan, wires_size(wires)) || plan->host_index >= plan->hosts ||
        !plan_has_carrier(plan, wires_self(wires)))
        return rk_fail(why, RK_EDATA, "the plan has %u hosts, and %u of the job's %u carriers",
                       plan->hosts, plan_carriers(plan, wires_size(wires)), wires_size(wires));
    talk = calloc(1, sizeof *talk + plan->hosts * sizeof talk->host[0]);
    if (talk == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a talk of %u hosts", plan->hosts);
    talk->arena = arena;
    talk->wires = wires;
    talk->narrow = narrow;
    talk->block = block;
    talk->plan = *plan;
    talk->giver = plan->hosts;
    talk->taking = -1;
    if (plan->restart)
        narrow_forget(narrow);
    *out = talk;
    return 0;
}

void talk_free(struct talk *talk)
{
    free(talk);
}

/* ---- meeting --------------------------------------------------------------------------------- */

/* How many nodes an even deal, as of all steps but the first of a plan, gives to this host. */
static uint32_t even_nodes(const struct arena_plan *plan)
{
    uint64_t set[RK_MAX_SHARDS / 64] = {0};

    for (uint32_t m = 0; m < plan->local_count; m++)
        tree_deal(NULL, plan->shards, plan->world, plan->local[m].index, set);
    return tree_set_nodes(set, plan->shards);
}

static struct packet_hello hello_of(const struct talk *talk)
{
    const struct arena_plan *plan = &talk->plan;
    bool has_state = arena_snapshot_find(talk->arena, plan->deal_step) >= 0;
    uint64_t complete = atomic_load(&talk->arena->header->complete_step);

    return (struct packet_hello){
        .deal_step = plan->deal_step,
        .grad_count = talk->elements,
        .state_bytes = talk->state_bytes,
        .shards = plan->shards,
        .hosts = plan->hosts,
        .state_host = plan->state_host,
        .job = plan->carrier_job,
        .complete_step = complete,
        .has_result = arena_has_result(talk->arena, complete),
        .needs_state = plan->take_state != 0 && !has_state && plan->state_host != plan->host_index,
        .vectors = give_is_serial(talk) ? 1 : even_nodes(plan),
        .wire = plan->wire,
        .reduction = talk->arena->header->reduction,
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
        talk->elements = arena_grad_lanes(talk->arena);
        talk->state_bytes = talk->arena->header->state_bytes;
        if (talk->plan.wire == ARENA_WIRE_BF16)
            rc = narrow_take(talk->narrow, talk->elements, why);
        if (rc != 0)
            return rc;
        self->hello = hello_of(talk);
        self->met = true;
        talk->met_count++;
    }
    for (; talk->greeted < wires_size(talk->wires); talk->greeted++) {
        struct packet *packet;

        if (talk->greeted == wires_self(talk->wires) ||
            !plan_has_carrier(&talk->plan, talk->greeted))
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
        theirs.job != mine->job || theirs.wire != mine->wire || theirs.reduction != mine->reduction)
        return rk_fail(why, RK_EDATA, "host %u has another plan or layout", host);
    if (host >= talk->plan.hosts || talk->host[host].met)
        return rk_fail(why, RK_EDATA, "two carriers are host %u", host);
    talk->host[host].met = true;
    talk->host[host].peer = peer;
    talk->host[host].hello = theirs;
    talk->met_count++;
    return 0;
}

/* How the steps of this plan will go. */
static int plan_order(struct talk *talk, struct rk_why *why)
{
    uint32_t hosts = talk->plan.hosts;
    bool narrow = talk->plan.wire == ARENA_WIRE_BF16;
    uint32_t *vectors = calloc(hosts, sizeof *vectors);

    if (vectors == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for %u hosts", hosts);
    for (uint32_t h = 0; h < hosts; h++)
        vectors[h] = narrow ? 1 : talk->host[h].hello.vectors;
    talk->order =
        (struct order){.elements = talk->elements,
                       .wide = rk_layout_grad_wide_from(arena_layout(talk->arena)) / sizeof(float),
                       .bucket = talk->arena->header->bucket_bytes / sizeof(float),
                       .hosts = hosts};
    talk->order.gather =
        order_gathers(talk->elements * (narrow ? sizeof(uint16_t) : sizeof(float)), vectors, hosts);
    free(vectors);
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
        host[h] = (struct progress_host){.complete_step = talk->host[h].hello.complete_step,
                                         .has_result = talk->host[h].hello.has_result != 0};
    rc = progress_read(host, hosts, talk->plan.deal_step, &progress, why);
    for (uint32_t h = 0; rc == 0 && h < hosts; h++)
        talk->host[h].lags = host[h].lags;
    free(host);
    if (rc != 0)
        return rc;
    talk->lagged = talk->host[talk->plan.host_index].lags;
    talk->step = progress.step;
    talk->giver = progress.giver;
    talk->phase = TALK_RESULTS;
    return plan_order(talk, why);
}

static int meet(struct talk *talk, bool *moved, struct rk_why *why)
{
    const struct talk_host *self = &talk->host[talk->plan.host_index];
    int rc = meet_say(talk, moved, why);

    if (rc != 0 || !self->met || talk->greeted < wires_size(talk->wires) ||
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
    case PACKET_WHOLE:
        return catch_up_whole(talk, host, why);
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
    return talk->phase == TALK_RANKS || (talk->phase == TALK_STEP && give_waits_here(talk));
}

/* Whether no rank anywhere has anything to do before the step is over. */
static bool ranks_are_done(const struct talk *talk)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++)
        if (!talk->host[h].complete)
            return false;
    return true;
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
        return ranks_are_done(talk) ? MOVE_PATIENCE : 0;
    default:
        return 0;
    }
}
