/* Buckets, whose they are, and ways through them; see order.h. */
#include "collectives/carrier/order.h"

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint32_t order_buckets(const struct order *order)
{
    return (uint32_t)((order->elements + order->bucket - 1) / order->bucket);
}

struct slice order_part(const struct order *order, uint32_t bucket, uint32_t owner)
{
    uint64_t from = bucket * order->bucket;
    struct slice part = {.from = 0, .count = smaller(order->bucket, order->elements - from)};

    if (!order->gather)
        part = slice_of(part.count, order->hosts, owner);
    part.from += from;
    return part;
}

bool order_gathers(uint64_t bytes, const uint32_t *vectors, uint32_t hosts)
{
    uint64_t most = 0;

    if (hosts < 2)
        return true;
    for (uint32_t h = 0; h < hosts; h++)
        most = vectors[h] > most ? vectors[h] : most;
    return most * (hosts - 1) * bytes <=
           (most + 1) * (hosts - 1) * bytes / hosts + ORDER_TRIP_BYTES;
}

/* Takes up the last of the first `buckets` buckets in which the owner has a part. */
static void take_up(const struct order *order, uint32_t owner, uint32_t buckets, struct walk *walk)
{
    while (buckets-- > 0) {
        struct slice part = order_part(order, buckets, owner);

        if (part.count == 0)
            continue;
        walk->bucket = buckets;
        walk->at = part.from;
        walk->end = part.from + part.count;
        return;
    }
    walk->bucket = 0;
    walk->at = walk->end;
}

void walk_start(const struct order *order, uint32_t owner, struct walk *walk)
{
    *walk = (struct walk){.done = 0};
    take_up(order, owner, order_buckets(order), walk);
}

uint64_t walk_run(const struct order *order, const struct walk *walk, uint64_t limit)
{
    uint64_t count = smaller(limit, walk->end - walk->at);

    return walk->at < order->wide ? smaller(count, order->wide - walk->at) : count;
}

void walk_pass(const struct order *order, uint32_t owner, struct walk *walk, uint64_t count)
{
    walk->at += count;
    walk->done += count;
    if (walk->at == walk->end)
        take_up(order, owner, walk->bucket, walk);
}
