/* What a host sends of a step: that its ranks are in it, its parts, and what it has summed; see
 * talk.h. */
#include "collectives/carrier/talk.h"

#include <string.h>

/* Elements that are summed at a time: they stay in the first-level cache. */
#define BLOCK 1024u

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool give_is_narrow(const struct talk *talk, uint64_t at)
{
    return talk->plan.wire == ARENA_WIRE_BF16 && at < talk->order.wide;
}

bool give_is_serial(const struct talk *talk)
{
    return talk->arena->header->reduction == ARENA_FAST;
}

uint32_t give_limit(const struct talk *talk, uint64_t at, uint32_t vectors)
{
    return slice_packet_count(vectors, give_is_narrow(talk, at) ? sizeof(uint16_t) : sizeof(float));
}

/* ---- our own parts --------------------------------------------------------------------------- */

/* Sums elements from .. from + count - 1 of our vector n to out[from] and on. */
static void sum_vector(struct talk *talk, uint32_t n, uint64_t from, size_t count, float *out)
{
    uint32_t first = talk->node_from[n];
    uint32_t parts = talk->node_from[n + 1] - first;

    for (uint32_t p = 0; p < parts; p++)
        talk->part[p] = tree_part_f32(talk->piece[first + p].node, talk->piece[first + p].data);
    arena_sum(talk->arena, talk->part, parts, give_is_serial(talk) ? TREE_SERIAL : talk->node[n],
              from, count, false, out);
}

void give_sum(struct talk *talk, uint64_t from, size_t count, float *out)
{
    float other[BLOCK];

    memset(out, 0, talk->vectors == 0 ? count * sizeof *out : 0);
    for (size_t at = 0; at < count; at += BLOCK) {
        size_t block = smaller(BLOCK, count - at);

        for (uint32_t n = 0; n < talk->vectors; n++) {
            if (n == 0) {
                sum_vector(talk, n, from + at, block, out - from);
                continue;
            }
            sum_vector(talk, n, from + at, block, other - from - at);
            for (size_t i = 0; i < block; i++)
                out[at + i] += other[i];
        }
    }
}

/* Rounds elements from .. from + count - 1 of our own sum, as far as they travel so. */
static void pack(struct talk *talk, uint64_t from, uint64_t count)
{
    float sum[BLOCK];
    uint64_t end = smaller(from + count, talk->order.wide);

    while (from < end) {
        size_t block = smaller(BLOCK, end - from);

        give_sum(talk, from, block, sum);
        narrow_pack(sum, block, talk->narrow->residual + from, talk->narrow->packed + from);
        from += block;
    }
}

/* Rounds what others sum of a bucket.  What we sum of it needs no rounding before it is summed. */
static void pack_bucket(struct talk *talk, uint32_t bucket)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        struct slice part = order_part(&talk->order, bucket, h);

        if (talk->order.gather ? h == 0 : h != talk->plan.host_index)
            pack(talk, part.from, part.count);
    }
}

/* Whether parts for some host, or our sums, wait for the next bucket to be opened: rounding ahead
 * of the wire would only keep it waiting. */
static bool is_awaited(const struct talk *talk)
{
    if (!walk_is_over(&talk->sum) && talk->sum.bucket < talk->open_from)
        return true;
    for (uint32_t h = 0; h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index && !walk_is_over(&talk->host[h].parts) &&
            talk->host[h].parts.bucket < talk->open_from)
            return true;
    return false;
}

void give_open(struct talk *talk, bool *moved)
{
    struct talk_host *self = &talk->host[talk->plan.host_index];

    while (talk->ready_from > 0 &&
           arena_bucket_is_ready(talk->arena, &talk->plan, talk->step, talk->ready_from - 1))
        talk->ready_from--;
    self->complete = talk->ready_from == 0;
    if (talk->open_from == talk->ready_from || talk_frozen(talk))
        return;
    if (talk->plan.wire != ARENA_WIRE_BF16 || talk->node_count == 0) {
        talk->open_from = talk->ready_from;
        *moved = true;
    } else if (is_awaited(talk)) {
        pack_bucket(talk, --talk->open_from);
        *moved = true;
    }
}

/* ---- packets --------------------------------------------------------------------------------- */

static void head(const struct talk *talk, struct packet *packet, enum packet_kind kind, uint64_t at,
                 uint64_t count)
{
    talk_head(talk, packet, kind);
    packet->header.from = at;
    packet->header.count = (uint32_t)count;
    if (talk->ready_from == 0)
        packet->header.flags = PACKET_COMPLETE;
}

static int give_ready(struct talk *talk, uint32_t host, struct packet *packet, bool *moved,
                      struct rk_why *why)
{
    head(talk, packet, PACKET_READY, arena_plan_lineage(&talk->plan, talk->step), talk->node_count);
    memcpy(packet->payload, talk->node, talk->node_count * sizeof talk->node[0]);
    talk->host[host].told_ready = true;
    return talk_send(talk, host, moved, why);
}

/* The next elements of our parts that `host` sums: our vectors, or narrowed what they are
 * together. */
static int give_part(struct talk *talk, uint32_t host, struct packet *packet, bool *moved,
                     struct rk_why *why)
{
    struct walk *walk = &talk->host[host].parts;
    uint64_t at = walk->at;
    bool narrow = give_is_narrow(talk, at);
    uint32_t vectors = narrow ? 1 : talk->vectors;
    uint64_t count = walk_run(&talk->order, walk, give_limit(talk, at, vectors));
    float *values = (float *)(void *)packet->payload;

    head(talk, packet, PACKET_PART, at, count);
    packet->header.vectors = vectors;
    if (narrow) {
        packet->header.flags |= PACKET_NARROW;
        memcpy(packet->payload, talk->narrow->packed + at, count * sizeof(uint16_t));
    }
    for (uint32_t n = 0; !narrow && n < vectors; n++)
        sum_vector(talk, n, at, count, values + n * count - at);
    walk_pass(&talk->order, host, walk, count);
    return talk_send(talk, host, moved, why);
}

static int give_slice(struct talk *talk, uint32_t host, struct packet *packet, uint64_t count,
                      bool *moved, struct rk_why *why)
{
    struct walk *walk = &talk->host[host].given;

    head(talk, packet, PACKET_SLICE, walk->at, count);
    if (give_is_narrow(talk, walk->at)) {
        packet->header.flags |= PACKET_NARROW;
        memcpy(packet->payload, talk->narrow->packed + walk->at, count * sizeof(uint16_t));
    } else {
        memcpy(packet->payload, arena_result(talk->arena) + walk->at, count * sizeof(float));
    }
    walk_pass(&talk->order, talk->plan.host_index, walk, count);
    return talk_send(talk, host, moved, why);
}

/* Whether there are no parts for `host` now. */
static bool no_parts(const struct talk *talk, uint32_t host)
{
    const struct walk *walk = &talk->host[host].parts;

    return talk->node_count == 0 || walk_is_over(walk) || walk->bucket < talk->open_from;
}

/* The elements that we have summed and may give to `host` in one packet now. */
static uint64_t slice_run(const struct talk *talk, uint32_t host)
{
    const struct walk *walk = &talk->host[host].given;
    uint64_t run;

    if (talk->order.gather || walk_is_over(walk))
        return 0;
    run = walk_run(&talk->order, walk, give_limit(talk, walk->at, 1));
    return talk->sum.done - walk->done >= run ? run : 0;
}

/* Parts first: others wait for them, and for slices only the ranks do. */
int give_next(struct talk *talk, uint32_t host, bool *moved, struct rk_why *why)
{
    struct packet *packet = wires_slot(talk->wires, talk->host[host].peer);
    uint64_t run;

    if (packet == NULL || talk_frozen(talk))
        return 0;
    if (!talk->host[host].told_ready)
        return give_ready(talk, host, packet, moved, why);
    if (!no_parts(talk, host))
        return give_part(talk, host, packet, moved, why);
    run = slice_run(talk, host);
    return run == 0 ? 0 : give_slice(talk, host, packet, run, moved, why);
}

bool give_parts_are_over(const struct talk *talk)
{
    for (uint32_t h = 0; talk->node_count != 0 && h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index && !walk_is_over(&talk->host[h].parts))
            return false;
    return true;
}

bool give_is_over(const struct talk *talk)
{
    for (uint32_t h = 0; h < talk->plan.hosts; h++) {
        const struct talk_host *to = &talk->host[h];

        if (h != talk->plan.host_index &&
            (!to->told_ready || (!talk->order.gather && !walk_is_over(&to->given))))
            return false;
    }
    return give_parts_are_over(talk);
}

bool give_waits_here(const struct talk *talk)
{
    if (talk->ready_from == 0 || talk->open_from != talk->ready_from ||
        (!walk_is_over(&talk->sum) && talk->sum.bucket >= talk->open_from))
        return false;
    for (uint32_t h = 0; h < talk->plan.hosts; h++)
        if (h != talk->plan.host_index &&
            (!talk->host[h].told_ready || !no_parts(talk, h) || slice_run(talk, h) != 0))
            return false;
    return true;
}
