/* One step between hosts: each sums its slice of the vector from the nodes of all, and gives it to
 * all, packet by packet, so that summing and both directions of the wire overlap; see talk.h. */
#include "collectives/carrier/talk.h"

#include <string.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static struct slice slice_at(const struct talk *talk, uint32_t host)
{
    return slice_of(talk->elements, talk->plan.hosts, host);
}

void exchange_begin(struct talk *talk, uint64_t step)
{
    talk->step = step;
    talk->phase = TALK_RANKS;
    talk->ready_count = 0;
    talk->merged = false;
    talk->completed = false;
    talk->summed = 0;
    merge_clear(&talk->merge);
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        struct talk_host *host = &talk->host[h];

        host->ready = false;
        host->told_ready = false;
        host->vectors = 0;
        host->parts_sent = 0;
        host->slice_sent = 0;
        host->slice_got = 0;
    }
}

/* ---- the local ranks ------------------------------------------------------------------------- */

static bool ranks_are_ready(const struct talk *talk)
{
    uint64_t tick = arena_tick(talk->plan.word, talk->step);

    for (uint32_t m = 0; m < talk->plan.local_count; m++) {
        const struct arena_seat *seat = &talk->arena->header->seat[talk->plan.local[m].seat];

        if (atomic_load_explicit(&seat->ready, memory_order_acquire) != tick)
            return false;
    }
    return true;
}

/* The pieces on this host, the nodes that they make, and which pieces make which. */
static int gather_pieces(struct talk *talk, struct rk_why *why)
{
    struct tree_node node[RK_MAX_SHARDS];
    uint32_t piece = 0;
    int count = arena_pieces(talk->arena, &talk->plan, talk->step, talk->piece, RK_MAX_SHARDS);

    if (count < 0)
        return rk_fail(why, RK_EDATA, "this host has more partial sums than there are shards");
    talk->piece_count = (uint32_t)count;
    for (uint32_t p = 0; p < talk->piece_count; p++)
        node[p] = talk->piece[p].node;
    if (merge_add(&talk->merge, talk->plan.shards, talk->plan.host_index, node, talk->piece_count,
                  why) != 0)
        return RK_EDATA;
    talk->node_count = tree_join(node, talk->piece_count, talk->node);
    for (uint32_t n = 0; n < talk->node_count; n++) {
        uint32_t end = tree_first(talk->node[n]) + tree_width(talk->node[n]);

        talk->node_from[n] = piece;
        while (piece < talk->piece_count && tree_first(talk->piece[piece].node) < end)
            piece++;
    }
    talk->node_from[talk->node_count] = piece;
    return 0;
}

int exchange_ranks(struct talk *talk, bool *moved, struct rk_why *why)
{
    int rc;

    if (!ranks_are_ready(talk) || talk_frozen(talk))
        return 0;
    rc = gather_pieces(talk, why);
    if (rc != 0)
        return rc;
    talk->host[talk->plan.host_index].ready = true;
    talk->ready_count++;
    talk->phase = TALK_STEP;
    *moved = true;
    return 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_ready(struct talk *talk, uint32_t host, struct packet *packet, bool *moved,
                      struct rk_why *why)
{
    talk_head(talk, packet, PACKET_READY);
    packet->header.from = arena_plan_lineage(&talk->plan, talk->step);
    packet->header.count = talk->node_count;
    memcpy(packet->payload, talk->node, talk->node_count * sizeof talk->node[0]);
    talk->host[host].told_ready = true;
    return talk_send(talk, host, moved, why);
}

/* Sums the next elements of `host`'s slice, one vector for each of our nodes. */
static int send_part(struct talk *talk, uint32_t host, struct packet *packet, bool *moved,
                     struct rk_why *why)
{
    struct talk_host *to = &talk->host[host];
    struct slice slice = slice_at(talk, host);
    uint64_t from = slice.from + to->parts_sent;
    size_t count = smaller(slice_packet_count(talk->node_count), slice.count - to->parts_sent);
    float *values = (float *)(void *)packet->payload;

    talk_head(talk, packet, PACKET_PART);
    packet->header.from = from;
    packet->header.count = (uint32_t)count;
    packet->header.vectors = talk->node_count;
    for (uint32_t n = 0; n < talk->node_count; n++) {
        uint32_t first = talk->node_from[n];
        uint32_t parts = talk->node_from[n + 1] - first;

        for (uint32_t p = 0; p < parts; p++)
            talk->part[p] = tree_part_f32(talk->piece[first + p].node, talk->piece[first + p].data);
        arena_sum(talk->arena, talk->part, parts, talk->node[n], from, count, false,
                  values + n * count - from);
    }
    to->parts_sent += count;
    return talk_send(talk, host, moved, why);
}

static int send_slice(struct talk *talk, uint32_t host, struct packet *packet, uint64_t count,
                      bool *moved, struct rk_why *why)
{
    struct talk_host *to = &talk->host[host];
    uint64_t from = slice_at(talk, talk->plan.host_index).from + to->slice_sent;

    talk_head(talk, packet, PACKET_SLICE);
    packet->header.from = from;
    packet->header.count = (uint32_t)count;
    memcpy(packet->payload, arena_result(talk->arena) + from, count * sizeof(float));
    to->slice_sent += count;
    return talk_send(talk, host, moved, why);
}

/* Fills one packet for `host` if there is room and something to say.  Parts first: others wait for
 * them, and for slices only the ranks do. */
static int send_next(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    struct talk_host *to = &talk->host[host];
    uint64_t own = slice_at(talk, talk->plan.host_index).count;
    uint64_t there = talk->summed - to->slice_sent;
    struct packet *packet = wires_slot(talk->wires, to->peer);

    if (packet == NULL || talk_frozen(talk))
        return 0;
    if (!to->told_ready)
        return send_ready(talk, host, packet, moved, why);
    if (talk->node_count != 0 && to->parts_sent < slice_at(talk, host).count)
        return send_part(talk, host, packet, moved, why);
    if (there >= PACKET_FLOATS || (there != 0 && talk->summed == own))
        return send_slice(talk, host, packet, smaller(there, PACKET_FLOATS), moved, why);
    return 0;
}

static bool all_is_sent(const struct talk *talk)
{
    uint64_t own = slice_at(talk, talk->plan.host_index).count;

    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct talk_host *to = &talk->host[h];

        if (h != talk->plan.host_index &&
            (!to->told_ready || to->slice_sent < own ||
             (talk->node_count != 0 && to->parts_sent < slice_at(talk, h).count)))
            return false;
    }
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int hear_ready(struct talk *talk, uint32_t host, const struct packet *packet,
                      struct rk_why *why)
{
    struct tree_node node[RK_MAX_SHARDS];
    uint32_t count = packet->header.count;

    if (talk->host[host].ready || count > talk->plan.shards)
        return rk_fail(why, RK_EPROTO, "host %u is ready twice or with %u nodes", host, count);
    if (packet->header.from != arena_plan_lineage(&talk->plan, talk->step))
        return rk_fail(why, RK_EDATA, "host %u has sums of another lineage for step %llu", host,
                       (unsigned long long)talk->step);
    memcpy(node, packet->payload, count * sizeof node[0]);
    if (merge_add(&talk->merge, talk->plan.shards, host, node, count, why) != 0)
        return RK_EDATA;
    talk->host[host].vectors = count;
    talk->host[host].ready = true;
    talk->ready_count++;
    return 1;
}

static int hear_slice(struct talk *talk, uint32_t host, const struct packet *packet,
                      struct rk_why *why)
{
    struct slice slice = slice_at(talk, host);
    struct talk_host *from = &talk->host[host];

    if (talk->phase != TALK_STEP || packet->header.from != slice.from + from->slice_got ||
        packet->header.count > slice.count - from->slice_got)
        return rk_fail(why, RK_EPROTO, "host %u sends sums that are not its slice", host);
    memcpy(arena_result(talk->arena) + packet->header.from, packet->payload,
           packet->header.count * sizeof(float));
    from->slice_got += packet->header.count;
    return 1;
}

int exchange_packet(struct talk *talk, uint32_t host, const struct packet *packet,
                    struct rk_why *why)
{
    if (talk->phase < TALK_RANKS || packet->header.step > talk->step)
        return 0;
    if (packet->header.step < talk->step)
        return rk_fail(why, RK_EPROTO, "host %u sends of step %llu in step %llu", host,
                       (unsigned long long)packet->header.step, (unsigned long long)talk->step);
    if (packet->header.kind == PACKET_READY)
        return hear_ready(talk, host, packet, why);
    if (packet->header.kind == PACKET_SLICE)
        return hear_slice(talk, host, packet, why);
    return 0; /* a part stays in its window until all hosts' parts of these elements are there */
}

/* ---- summing --------------------------------------------------------------------------------- */

/* The part of `host` that holds element `at`: *part is NULL when it is not there yet. */
static int part_at(struct talk *talk, uint32_t host, uint64_t at, const struct packet **part,
                   struct rk_why *why)
{
    const struct packet *packet = wires_head(talk->wires, talk->host[host].peer);

    *part = NULL;
    if (packet == NULL || packet->header.word != talk->plan.word ||
        packet->header.kind != PACKET_PART || packet->header.step != talk->step)
        return 0;
    if (packet->header.vectors != talk->host[host].vectors || packet->header.from > at ||
        packet->header.count == 0 || packet->header.from + packet->header.count <= at)
        return rk_fail(why, RK_EPROTO, "host %u sends parts out of order", host);
    *part = packet;
    return 0;
}

/* How many elements from `at` on all hosts' parts have: 0 when one is missing. */
static int range_of(struct talk *talk, uint64_t at, uint64_t *count, struct rk_why *why)
{
    struct slice slice = slice_at(talk, talk->plan.host_index);

    *count = smaller(PACKET_FLOATS, slice.from + slice.count - at);
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct packet *part;
        int rc;

        if (h == talk->plan.host_index || talk->host[h].vectors == 0)
            continue;
        rc = part_at(talk, h, at, &part, why);
        if (rc != 0)
            return rc;
        *count = part == NULL ? 0 : smaller(*count, part->header.from + part->header.count - at);
        if (*count == 0)
            return 0;
    }
    return 0;
}

/* Sums elements at .. at + count - 1 into the result. */
static void sum_range(struct talk *talk, uint64_t at, uint64_t count)
{
    struct tree_node root = {.level = (uint16_t)tree_log2(talk->plan.shards)};

    for (uint32_t p = 0; p < talk->merge.count; p++) {
        const struct merge_part *from = &talk->merge.part[p];
        const float *data;

        if (from->host == talk->plan.host_index) {
            data = talk->piece[from->vector].data;
        } else {
            const struct packet *packet = wires_head(talk->wires, talk->host[from->host].peer);

            data = (const float *)(const void *)packet->payload +
                   (size_t)from->vector * packet->header.count - packet->header.from;
        }
        talk->part[p] = tree_part_f32(from->node, data);
    }
    arena_sum(talk->arena, talk->part, talk->merge.count, root, at, count, false,
              arena_result(talk->arena));
}

/* Gives the windows of parts that end at `at` free. */
static int pop_parts(struct talk *talk, uint64_t at, struct rk_why *why)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct packet *packet;
        int rc;

        if (h == talk->plan.host_index || talk->host[h].vectors == 0)
            continue;
        packet = wires_head(talk->wires, talk->host[h].peer);
        if (packet->header.from + packet->header.count != at)
            continue;
        rc = wires_pop(talk->wires, talk->host[h].peer, why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int sum_next(struct talk *talk, bool *moved, struct rk_why *why)
{
    struct slice slice = slice_at(talk, talk->plan.host_index);
    uint64_t at = slice.from + talk->summed;
    uint64_t count;
    int rc;

    if (talk->summed == slice.count || talk_frozen(talk))
        return 0;
    rc = range_of(talk, at, &count, why);
    if (rc != 0 || count == 0)
        return rc;
    sum_range(talk, at, count);
    talk->summed += count;
    *moved = true;
    return pop_parts(talk, at + count, why);
}

/* ---- the step -------------------------------------------------------------------------------- */

static bool result_is_whole(const struct talk *talk)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        uint64_t have = h == talk->plan.host_index ? talk->summed : talk->host[h].slice_got;

        if (have < slice_at(talk, h).count)
            return false;
    }
    return true;
}

/* All hosts are ready: whether their nodes are a whole tree. */
static int seal(struct talk *talk, struct rk_why *why)
{
    talk->merged = true;
    return merge_seal(&talk->merge, talk->plan.shards, why);
}

int exchange_step(struct talk *talk, bool *moved, struct rk_why *why)
{
    int rc = 0;

    for (uint32_t h = 0; rc == 0 && h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index)
            rc = send_next(talk, h, moved, why);
    if (rc != 0 || talk->ready_count < talk->plan.hosts)
        return rc;
    if (!talk->merged)
        rc = seal(talk, why);
    if (rc == 0)
        rc = sum_next(talk, moved, why);
    if (rc != 0 || talk_frozen(talk))
        return rc;
    if (!talk->completed && result_is_whole(talk)) {
        talk->completed = true;
        arena_complete(talk->arena, talk->step);
        *moved = true;
    }
    if (talk->completed && all_is_sent(talk)) {
        exchange_begin(talk, talk->step + 1);
        *moved = true;
    }
    return 0;
}
