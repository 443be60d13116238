/* The streams of wires.h in memory; see memory_wires.h. */
#include "tests/carrier/memory_wires.h"

#include "tests/carrier/field.h"

#include <stdlib.h>

struct stream {
    uint64_t sent;
    uint64_t arrived;
    uint64_t popped;
    struct packet *ring; /* WIRES_WINDOW */
};

struct wires {
    uint32_t size;
    uint32_t self;
    uint64_t *seed;
    struct stream *stream; /* [from * size + to], of all ends */
};

int memory_wires_init(uint32_t size, uint64_t seed, struct wires **end)
{
    struct stream *stream = calloc((size_t)size * size, sizeof *stream);
    uint64_t *shared = malloc(sizeof *shared);

    if (stream == NULL || shared == NULL)
        abort();
    *shared = seed;
    for (uint32_t s = 0; s < size * size; s++) {
        stream[s].ring = aligned_alloc(64, WIRES_WINDOW * sizeof(struct packet));
        if (stream[s].ring == NULL)
            abort();
    }
    for (uint32_t e = 0; e < size; e++) {
        end[e] = malloc(sizeof *end[e]);
        if (end[e] == NULL)
            abort();
        *end[e] = (struct wires){.size = size, .self = e, .seed = shared, .stream = stream};
    }
    return 0;
}

void memory_wires_done(struct wires **end)
{
    uint32_t size = end[0]->size;

    for (uint32_t s = 0; s < size * size; s++)
        free(end[0]->stream[s].ring);
    free(end[0]->stream);
    free(end[0]->seed);
    for (uint32_t e = 0; e < size; e++)
        free(end[e]);
}

static struct stream *stream_to(const struct wires *wires, uint32_t peer)
{
    return &wires->stream[wires->self * wires->size + peer];
}

static struct stream *stream_from(const struct wires *wires, uint32_t peer)
{
    return &wires->stream[peer * wires->size + wires->self];
}

uint32_t wires_size(const struct wires *wires)
{
    return wires->size;
}

uint32_t wires_self(const struct wires *wires)
{
    return wires->self;
}

struct packet *wires_slot(struct wires *wires, uint32_t peer)
{
    struct stream *stream = stream_to(wires, peer);

    return stream->sent - stream->popped == WIRES_WINDOW
               ? NULL
               : &stream->ring[stream->sent % WIRES_WINDOW];
}

int wires_send(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    struct stream *stream = stream_to(wires, peer);
    const struct packet *packet = &stream->ring[stream->sent % WIRES_WINDOW];

    stream->sent++;
    return packet_check(packet, sizeof packet->header + packet_payload_bytes(&packet->header), why);
}

const struct packet *wires_head(struct wires *wires, uint32_t peer)
{
    struct stream *stream = stream_from(wires, peer);

    return stream->popped == stream->arrived ? NULL : &stream->ring[stream->popped % WIRES_WINDOW];
}

int wires_pop(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    (void)why;
    stream_from(wires, peer)->popped++;
    return 0;
}

int wires_turn(struct wires *wires, bool *moved, struct rk_why *why)
{
    (void)why;
    for (uint32_t peer = 0; peer < wires->size; peer++) {
        struct stream *stream = stream_from(wires, peer);

        if (stream->arrived == stream->sent || field_next(wires->seed) % 3 == 0)
            continue;
        stream->arrived++;
        *moved = true;
    }
    return 0;
}

bool wires_sending(const struct wires *wires)
{
    for (uint32_t peer = 0; peer < wires->size; peer++)
        if (stream_to(wires, peer)->arrived != stream_to(wires, peer)->sent)
            return true;
    return false;
}

uint64_t wires_sent_bytes(const struct wires *wires)
{
    (void)wires;
    return 0;
}
