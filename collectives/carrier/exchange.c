/* One step between hosts: what comes in, and the sums; what goes out is in give.c; see talk.h. */
#include "collectives/carrier/talk.h"

#include <string.h>

#define BLOCK 1024u

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void exchange_begin(struct talk *talk, uint64_t step)
{
    talk->step = step;
    talk->phase = TALK_RANKS;
    talk->ready_count = 0;
    talk->merged = false;
    talk->completed = false;
    talk->ready_from = talk->open_from = order_buckets(&talk->order);
    walk_start(&talk->order, talk->plan.host_index, &talk->sum);
    merge_clear(&talk->merge);
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        struct talk_host *host = &talk->host[h];

        host->ready = false;
        host->told_ready = false;
        host->complete = false;
        host->vectors = 0;
        walk_start(&talk->order, h, &host->parts);
        walk_start(&talk->order, h, &host->taken);
        host->given = talk->sum;
    }
}

/* ---- the local ranks ------------------------------------------------------------------------- */

/* Which pieces make which vector: each node one, or all pieces one. */
static void cut_vectors(struct talk *talk)
{
    uint32_t piece = 0;

    if (give_is_serial(talk))
        talk->piece_count = arena_pieces_distinct(talk->piece, talk->piece_count);
    talk->vectors = talk->node_count > 1 && give_is_serial(talk) ? 1 : talk->node_count;
    for (uint32_t n = 0; n < talk->vectors; n++) {
        uint32_t end = give_is_serial(talk) ? talk->plan.shards
                                            : tree_first(talk->node[n]) + tree_width(talk->node[n]);

        talk->node_from[n] = piece;
        while (piece < talk->piece_count && tree_first(talk->piece[piece].node) < end)
            piece++;
    }
    talk->node_from[talk->vectors] = piece;
}

/* The pieces on this host, the nodes that they make, and its vectors.  1: they are known. */
static int gather_pieces(struct talk *talk, struct rk_why *why)
{
    struct tree_node node[RK_MAX_SHARDS];
    int count = arena_pieces(talk->arena, &talk->plan, talk->step, talk->piece, RK_MAX_SHARDS);

    if (count == RK_ENOENT)
        return 0;
    if (count < 0)
        return rk_fail(why, RK_EDATA, "this host has more partial sums than there are shards");
    talk->piece_count = (uint32_t)count;
    for (uint32_t p = 0; p < talk->piece_count; p++)
        node[p] = talk->piece[p].node;
    if (merge_add(&talk->merge, talk->plan.shards, talk->plan.host_index, node, talk->piece_count,
                  why) != 0)
        return RK_EDATA;
    talk->node_count = tree_join(node, talk->piece_count, talk->node);
    cut_vectors(talk);
    return 1;
}

int exchange_ranks(struct talk *talk, bool *moved, struct rk_why *why)
{
    struct talk_host *self = &talk->host[talk->plan.host_index];
    int rc;

    if (talk_frozen(talk))
        return 0;
    rc = gather_pieces(talk, why);
    if (rc <= 0)
        return rc;
    self->ready = true;
    self->vectors = talk->vectors;
    talk->ready_count++;
    talk->phase = TALK_STEP;
    *moved = true;
    return 0;
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
    talk->host[host].vectors = count > 1 && give_is_serial(talk) ? 1 : count;
    talk->host[host].ready = true;
    talk->ready_count++;
    return 1;
}

static int hear_slice(struct talk *talk, uint32_t host, const struct packet *packet,
                      struct rk_why *why)
{
    struct walk *walk = &talk->host[host].taken;
    uint64_t at = walk->at;
    uint64_t count = packet->header.count;
    bool narrow = (packet->header.flags & PACKET_NARROW) != 0;
    float *result = arena_result(talk->arena) + at;

    if (talk->phase != TALK_STEP || talk->order.gather || packet->header.from != at ||
        narrow != give_is_narrow(talk, at) || count != walk_run(&talk->order, walk, count))
        return rk_fail(why, RK_EPROTO, "host %u sends sums that are not its to make", host);
    if (narrow)
        narrow_unpack((const uint16_t *)(const void *)packet->payload, count, result);
    else
        memcpy(result, packet->payload, count * sizeof(float));
    walk_pass(&talk->order, host, walk, count);
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
    if (packet->header.flags & PACKET_COMPLETE)
        talk->host[host].complete = true;
    if (packet->header.kind == PACKET_READY)
        return hear_ready(talk, host, packet, why);
    if (packet->header.kind == PACKET_SLICE)
        return hear_slice(talk, host, packet, why);
    return 0; /* a part stays in its window until all hosts' parts of these elements are there */
}

/* ---- summing --------------------------------------------------------------------------------- */

static bool sends_parts(const struct talk *talk, uint32_t host)
{
    return host != talk->plan.host_index && talk->host[host].vectors != 0;
}

/* The part of `host` that holds element `at`: *part is NULL when it is not there yet. */
static int part_at(struct talk *talk, uint32_t host, uint64_t at, const struct packet **part,
                   struct rk_why *why)
{
    const struct packet *packet = wires_head(talk->wires, talk->host[host].peer);
    const struct packet_header *header;
    bool narrow = give_is_narrow(talk, at);

    *part = NULL;
    if (packet == NULL || packet->header.word != talk->plan.word ||
        packet->header.kind != PACKET_PART || packet->header.step != talk->step)
        return 0;
    header = &packet->header;
    if (header->vectors != (narrow ? 1 : talk->host[host].vectors) ||
        narrow != ((header->flags & PACKET_NARROW) != 0) || header->from > at ||
        header->from + header->count <= at || header->from + header->count > talk->sum.end)
        return rk_fail(why, RK_EPROTO, "host %u sends parts out of order", host);
    *part = packet;
    return 0;
}

/* How many elements from where the sum stands all hosts' parts have: 0 when one is missing. */
static int range_of(struct talk *talk, uint64_t *count, struct rk_why *why)
{
    uint64_t at = talk->sum.at;

    *count = walk_run(&talk->order, &talk->sum, PACKET_FLOATS);
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct packet *part;
        int rc;

        if (!sends_parts(talk, h))
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

/* Sums elements at .. at + count - 1 into the result, as the tree says. */
static void sum_exact(struct talk *talk, uint64_t at, uint64_t count)
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

/* Sums them host after host, one vector of each; what we have ourselves is summed first. */
static void sum_serial(struct talk *talk, uint64_t at, uint64_t count)
{
    float own[BLOCK];

    for (uint64_t end = at + count; at < end; at += BLOCK) {
        size_t block = smaller(BLOCK, end - at);
        uint32_t parts = 0;

        give_sum(talk, at, block, own);
        for (uint32_t h = 0; h < talk->plan.hosts; h++) {
            const struct packet *packet;
            const float *values = own - at;

            if (talk->host[h].vectors == 0)
                continue;
            if (h != talk->plan.host_index) {
                packet = wires_head(talk->wires, talk->host[h].peer);
                values = (const float *)(const void *)packet->payload - packet->header.from;
            }
            talk->part[parts++] = tree_part_f32((struct tree_node){0}, values);
        }
        arena_sum(talk->arena, talk->part, parts, TREE_SERIAL, at, block, false,
                  arena_result(talk->arena));
    }
}

/* What `host` brings to elements at .. at + count - 1, rounded already unless only we use it. */
static void narrow_values(struct talk *talk, uint32_t host, uint64_t at, size_t count, float *out)
{
    const struct packet *packet;

    if (host == talk->plan.host_index && !talk->order.gather) {
        give_sum(talk, at, count, out);
    } else if (host == talk->plan.host_index) {
        narrow_unpack(talk->narrow->packed + at, count, out);
    } else {
        packet = wires_head(talk->wires, talk->host[host].peer);
        narrow_unpack((const uint16_t *)(const void *)packet->payload + (at - packet->header.from),
                      count, out);
    }
}

/* Sums them host after host; a sum that goes to others is rounded, for us too. */
static void sum_narrow(struct talk *talk, uint64_t at, uint64_t count)
{
    float *result = arena_result(talk->arena);
    float sum[BLOCK];
    float one[BLOCK];

    for (uint64_t end = at + count; at < end; at += BLOCK) {
        size_t block = smaller(BLOCK, end - at);

        memset(sum, 0, sizeof sum);
        for (uint32_t h = 0; h < talk->plan.hosts; h++) {
            if (talk->host[h].vectors == 0)
                continue;
            narrow_values(talk, h, at, block, one);
            for (size_t i = 0; i < block; i++)
                sum[i] += one[i];
        }
        if (talk->order.gather) {
            memcpy(result + at, sum, block * sizeof *sum);
        } else {
            narrow_pack(sum, block, talk->narrow->residual + at, talk->narrow->packed + at);
            narrow_unpack(talk->narrow->packed + at, block, result + at);
        }
    }
}

/* Gives the windows of parts that end where the sum now stands free. */
static int pop_parts(struct talk *talk, uint64_t at, struct rk_why *why)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct packet *packet;
        int rc;

        if (!sends_parts(talk, h))
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
    uint64_t at = talk->sum.at;
    uint64_t count;
    int rc;

    if (walk_is_over(&talk->sum) || talk->sum.bucket < talk->open_from || talk_frozen(talk))
        return 0;
    rc = range_of(talk, &count, why);
    if (rc != 0 || count == 0)
        return rc;
    if (give_is_narrow(talk, at))
        sum_narrow(talk, at, count);
    else if (give_is_serial(talk))
        sum_serial(talk, at, count);
    else
        sum_exact(talk, at, count);
    walk_pass(&talk->order, talk->plan.host_index, &talk->sum, count);
    *moved = true;
    return pop_parts(talk, at + count, why);
}

/* ---- the step -------------------------------------------------------------------------------- */

/* Whether the result is there, and the ranks may overwrite what they brought to it. */
static bool result_is_whole(const struct talk *talk)
{
    if (!walk_is_over(&talk->sum) || !give_parts_are_over(talk))
        return false;
    for (uint32_t h = 0; !talk->order.gather && h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index && !walk_is_over(&talk->host[h].taken))
            return false;
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
    uint32_t hosts = talk->plan.hosts;
    int rc = 0;

    give_open(talk, moved);
    /* Each begins with another: nobody is sent to by all at once. */
    for (uint32_t i = 1; rc == 0 && i < hosts; i++)
        rc = give_next(talk, (talk->plan.host_index + i) % hosts, moved, why);
    if (rc != 0 || talk->ready_count < hosts)
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
    if (talk->completed && give_is_over(talk)) {
        exchange_begin(talk, talk->step + 1);
        *moved = true;
    }
    return 0;
}
