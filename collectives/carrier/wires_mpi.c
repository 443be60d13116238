/* Packet streams by non-blocking point-to-point MPI on MPI_COMM_WORLD; see wires.h.
 *
 * All requests stand in one array for MPI_Testsome: for each peer its WIRES_WINDOW receives, then
 * its WIRES_WINDOW sends, used as rings, then those of probes.  MPI keeps the order of posted
 * receives for one source and tag, so place k of the ring gets packet k.
 *
 * Packets are small enough for MPI to send them at once, whether or not the other side has a
 * receive for them; sends are synchronous, done when it has, so that a full window still holds us
 * back. */
#include "collectives/carrier/wires_mpi.h"

#include "collectives/carrier/slices.h"
#include "common/clock.h"
#include "common/memory.h"

#include <limits.h>
#include <malloc.h>
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TAG 1
#define PROBE_TAG 2
#define RING (2u * WIRES_WINDOW)
#define PLACES (RING + 2u) /* of a peer's requests: then a probe that comes, and one that goes */
#define HEAP_LARGEST (32 << 20) /* block that still comes from it: the most that malloc takes */
#define HEAP_PAD (16 << 20)
#define HEAP_MOST (128u << 20)
#define PROBE_EVERY (2 * RK_S)
#define PROBE_PATIENCE (10 * RK_S)

struct peer {
    uint64_t posted;   /* receives posted since the start */
    uint64_t popped;   /* packets taken out */
    uint64_t queued;   /* packets sent */
    uint64_t finished; /* of them, in order, with MPI done */
    bool done[RING];   /* by place: the request is complete */
    uint64_t probed;   /* when the last probe was sent */
    bool asked;        /* and it has not been taken */
};

struct wires {
    uint32_t size;
    uint32_t self;
    uint32_t sends; /* in flight */
    int request_count;
    uint64_t sent_bytes;
    struct peer *peer;
    struct packet *packet; /* RING for each peer */
    MPI_Request *request;  /* PLACES for each peer */
    MPI_Status *status;
    int *index;
};

uint32_t wires_size(const struct wires *wires)
{
    return wires->size;
}

uint32_t wires_self(const struct wires *wires)
{
    return wires->self;
}

bool wires_sending(const struct wires *wires)
{
    return wires->sends != 0;
}

uint64_t wires_sent_bytes(const struct wires *wires)
{
    return wires->sent_bytes;
}

static int mpi_failed(int rc, const char *what, struct rk_why *why)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int size = 0;

    MPI_Error_string(rc, text, &size);
    return rk_fail(why, RK_ETRANSPORT, "%s: %s", what, text);
}

static uint32_t receive_place(uint64_t number)
{
    return (uint32_t)(number % WIRES_WINDOW);
}

static uint32_t send_place(uint64_t number)
{
    return WIRES_WINDOW + (uint32_t)(number % WIRES_WINDOW);
}

static struct packet *packet_at(const struct wires *wires, uint32_t peer, uint32_t place)
{
    return &wires->packet[peer * RING + place];
}

static MPI_Request *request_at(const struct wires *wires, uint32_t peer, uint32_t place)
{
    return &wires->request[peer * PLACES + place];
}

static int post(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    uint32_t place = receive_place(wires->peer[peer].posted++);
    int rc;

    wires->peer[peer].done[place] = false;
    rc = MPI_Irecv(packet_at(wires, peer, place), (int)sizeof(struct packet), MPI_BYTE, (int)peer,
                   TAG, MPI_COMM_WORLD, request_at(wires, peer, place));
    return rc == MPI_SUCCESS ? 0 : mpi_failed(rc, "cannot receive from a carrier", why);
}

static int post_probe(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    int rc = MPI_Irecv(NULL, 0, MPI_BYTE, (int)peer, PROBE_TAG, MPI_COMM_WORLD,
                       request_at(wires, peer, RING));

    return rc == MPI_SUCCESS ? 0 : mpi_failed(rc, "cannot receive from a carrier", why);
}

struct packet *wires_slot(struct wires *wires, uint32_t peer)
{
    const struct peer *p = &wires->peer[peer];

    if (p->queued - p->finished == WIRES_WINDOW)
        return NULL;
    return packet_at(wires, peer, send_place(p->queued));
}

int wires_send(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    uint32_t place = send_place(wires->peer[peer].queued++);
    const struct packet *packet = packet_at(wires, peer, place);
    uint64_t bytes = sizeof packet->header + packet_payload_bytes(&packet->header);
    int rc;

    wires->peer[peer].done[place] = false;
    rc = MPI_Issend(packet, (int)bytes, MPI_BYTE, (int)peer, TAG, MPI_COMM_WORLD,
                    request_at(wires, peer, place));
    if (rc != MPI_SUCCESS)
        return mpi_failed(rc, "cannot send to a carrier", why);
    wires->sends++;
    wires->sent_bytes += bytes;
    return 0;
}

const struct packet *wires_head(struct wires *wires, uint32_t peer)
{
    uint32_t place = receive_place(wires->peer[peer].popped);

    return wires->peer[peer].done[place] ? packet_at(wires, peer, place) : NULL;
}

int wires_pop(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    wires->peer[peer].popped++;
    return post(wires, peer, why);
}

int wires_probe(struct wires *wires, const struct arena_plan *plan, uint64_t now,
                struct rk_why *why)
{
    for (uint32_t peer = 0; peer < wires->size; peer++) {
        struct peer *p = &wires->peer[peer];
        int rc;

        if (peer == wires->self || !plan_has_carrier(plan, peer) ||
            now - p->probed < (p->asked ? PROBE_PATIENCE : PROBE_EVERY))
            continue;
        if (p->asked)
            return rk_fail(why, RK_ETRANSPORT, "carrier %u has not answered for %llu s", peer,
                           (unsigned long long)(PROBE_PATIENCE / RK_S));
        rc = MPI_Issend(NULL, 0, MPI_BYTE, (int)peer, PROBE_TAG, MPI_COMM_WORLD,
                        request_at(wires, peer, RING + 1));
        if (rc != MPI_SUCCESS)
            return mpi_failed(rc, "cannot send to a carrier", why);
        p->probed = now;
        p->asked = true;
    }
    return 0;
}

/* A request is complete: checks a received packet, or counts a finished send. */
static int settle(struct wires *wires, uint32_t index, const MPI_Status *status, struct rk_why *why)
{
    uint32_t number = index / PLACES;
    uint32_t place = index % PLACES;
    struct peer *peer = &wires->peer[number];
    int bytes = 0;

    if (place == RING)
        return post_probe(wires, number, why);
    if (place > RING) {
        peer->asked = false;
        return 0;
    }
    peer->done[place] = true;
    if (place < WIRES_WINDOW) {
        MPI_Get_count(status, MPI_BYTE, &bytes);
        return packet_check(packet_at(wires, number, place), (uint64_t)(bytes < 0 ? 0 : bytes),
                            why);
    }
    wires->sends--;
    while (peer->finished < peer->queued && peer->done[send_place(peer->finished)])
        peer->finished++;
    return 0;
}

int wires_turn(struct wires *wires, bool *moved, struct rk_why *why)
{
    int count = 0;
    int rc =
        MPI_Testsome(wires->request_count, wires->request, &count, wires->index, wires->status);

    if (rc != MPI_SUCCESS)
        return mpi_failed(rc, "the connection to a carrier failed", why);
    if (count == MPI_UNDEFINED)
        return 0;
    for (int i = 0; i < count; i++) {
        *moved |= (uint32_t)wires->index[i] % PLACES < RING;
        rc = settle(wires, (uint32_t)wires->index[i], &wires->status[i], why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int take_memory(struct wires *wires, struct rk_why *why)
{
    size_t places = wires->size * (size_t)PLACES;

    wires->request_count = (int)places;
    wires->peer = calloc(wires->size, sizeof *wires->peer);
    wires->packet = aligned_alloc(64, wires->size * (size_t)RING * sizeof *wires->packet);
    wires->request = malloc(places * sizeof(MPI_Request));
    wires->status = malloc(places * sizeof(MPI_Status));
    wires->index = malloc(places * sizeof *wires->index);
    if (wires->peer == NULL || wires->packet == NULL || wires->request == NULL ||
        wires->status == NULL || wires->index == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the windows to %u carriers", wires->size);
    for (size_t p = 0; p < places; p++)
        wires->request[p] = MPI_REQUEST_NULL;
    return 0;
}

/* Packets, ours and MPI's copies of them, come from a heap that keeps what it has and some more. */
static void heap_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, HEAP_LARGEST);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    mallopt(M_TOP_PAD, HEAP_PAD);
}

/* The heap from `begin` on gets its memory now: a page at a time it would cost the first step more
 * than the step itself. */
static void heap_populate(const void *begin)
{
    uint64_t bytes = (uint64_t)((const char *)sbrk(0) - (const char *)begin);

    rk_memory_populate(begin, bytes < HEAP_MOST ? bytes : HEAP_MOST, true);
}

int wires_open(struct wires **out, struct rk_why *why)
{
    static struct wires wires;
    void *heap = sbrk(0);
    int rank = 0;
    int size = 0;
    int rc;

    heap_keep();
    rc = MPI_Init(NULL, NULL);

    if (rc != MPI_SUCCESS)
        return mpi_failed(rc, "MPI does not start", why);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    wires.self = (uint32_t)rank;
    wires.size = (uint32_t)size;
    rc = take_memory(&wires, why);
    for (uint32_t peer = 0; rc == 0 && peer < wires.size; peer++) {
        if (peer == wires.self)
            continue;
        for (uint32_t k = 0; rc == 0 && k < WIRES_WINDOW; k++)
            rc = post(&wires, peer, why);
        if (rc == 0)
            rc = post_probe(&wires, peer, why);
    }
    heap_populate(heap);
    *out = &wires;
    return rc;
}
