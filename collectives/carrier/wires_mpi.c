/* Packet streams by non-blocking point-to-point MPI on MPI_COMM_WORLD; see wires.h.
 *
 * All requests stand in one array for MPI_Testsome: for each peer its WIRES_WINDOW receives, then
 * its WIRES_WINDOW sends, used as rings.  MPI keeps the order of posted receives for one source and
 * tag, so place k of the ring gets packet k.
 *
 * Packets are small enough for MPI to send them at once, whether or not the other side has a
 * receive for them; sends are synchronous, done when it has, so that a full window still holds us
 * back. */
#include "collectives/carrier/wires_mpi.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#define TAG 1
#define RING (2u * WIRES_WINDOW)

struct peer {
    uint64_t posted;   /* receives posted since the start */
    uint64_t popped;   /* packets taken out */
    uint64_t queued;   /* packets sent */
    uint64_t finished; /* of them, in order, with MPI done */
    bool done[RING];   /* by place: the request is complete */
};

struct wires {
    uint32_t size;
    uint32_t self;
    uint32_t sends; /* in flight */
    int request_count;
    uint64_t sent_bytes;
    struct peer *peer;
    struct packet *packet; /* by place, as request */
    MPI_Request *request;
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

static uint32_t receive_place(uint32_t peer, uint64_t number)
{
    return peer * RING + (uint32_t)(number % WIRES_WINDOW);
}

static uint32_t send_place(uint32_t peer, uint64_t number)
{
    return peer * RING + WIRES_WINDOW + (uint32_t)(number % WIRES_WINDOW);
}

static int post(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    uint32_t place = receive_place(peer, wires->peer[peer].posted++);
    int rc;

    wires->peer[peer].done[place % RING] = false;
    rc = MPI_Irecv(&wires->packet[place], (int)sizeof(struct packet), MPI_BYTE, (int)peer, TAG,
                   MPI_COMM_WORLD, &wires->request[place]);
    return rc == MPI_SUCCESS ? 0 : mpi_failed(rc, "cannot receive from a carrier", why);
}

struct packet *wires_slot(struct wires *wires, uint32_t peer)
{
    const struct peer *p = &wires->peer[peer];

    if (p->queued - p->finished == WIRES_WINDOW)
        return NULL;
    return &wires->packet[send_place(peer, p->queued)];
}

int wires_send(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    uint32_t place = send_place(peer, wires->peer[peer].queued++);
    const struct packet *packet = &wires->packet[place];
    uint64_t bytes = sizeof packet->header + packet_payload_bytes(&packet->header);
    int rc;

    wires->peer[peer].done[place % RING] = false;
    rc = MPI_Issend(packet, (int)bytes, MPI_BYTE, (int)peer, TAG, MPI_COMM_WORLD,
                    &wires->request[place]);
    if (rc != MPI_SUCCESS)
        return mpi_failed(rc, "cannot send to a carrier", why);
    wires->sends++;
    wires->sent_bytes += bytes;
    return 0;
}

const struct packet *wires_head(struct wires *wires, uint32_t peer)
{
    uint32_t place = receive_place(peer, wires->peer[peer].popped);

    return wires->peer[peer].done[place % RING] ? &wires->packet[place] : NULL;
}

int wires_pop(struct wires *wires, uint32_t peer, struct rk_why *why)
{
    wires->peer[peer].popped++;
    return post(wires, peer, why);
}

/* A request is complete: checks a received packet, or counts a finished send. */
static int settle(struct wires *wires, uint32_t place, const MPI_Status *status, struct rk_why *why)
{
    struct peer *peer = &wires->peer[place / RING];
    uint32_t in_ring = place % RING;
    int bytes = 0;

    peer->done[in_ring] = true;
    if (in_ring < WIRES_WINDOW) {
        MPI_Get_count(status, MPI_BYTE, &bytes);
        return packet_check(&wires->packet[place], (uint64_t)(bytes < 0 ? 0 : bytes), why);
    }
    wires->sends--;
    while (peer->finished < peer->queued &&
           peer->done[send_place(place / RING, peer->finished) % RING])
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
        *moved = true;
        rc = settle(wires, (uint32_t)wires->index[i], &wires->status[i], why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int take_memory(struct wires *wires, struct rk_why *why)
{
    size_t places = wires->size * (size_t)RING;

    wires->request_count = (int)places;
    wires->peer = calloc(wires->size, sizeof *wires->peer);
    wires->packet = aligned_alloc(64, places * sizeof *wires->packet);
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

int wires_open(struct wires **out, struct rk_why *why)
{
    static struct wires wires;
    int rank = 0;
    int size = 0;
    int rc = MPI_Init(NULL, NULL);

    if (rc != MPI_SUCCESS)
        return mpi_failed(rc, "MPI does not start", why);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    wires.self = (uint32_t)rank;
    wires.size = (uint32_t)size;
    rc = take_memory(&wires, why);
    for (uint32_t peer = 0; rc == 0 && peer < wires.size; peer++)
        for (uint32_t k = 0; rc == 0 && peer != wires.self && k < WIRES_WINDOW; k++)
            rc = post(&wires, peer, why);
    *out = &wires;
    return rc;
}
