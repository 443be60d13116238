/* Streams of packets between this carrier and every other of its job.  No call blocks.
 *
 * Each direction of a pair has a window of a few packets.  A receive is always posted for each free
 * place of it, so nothing is ever cancelled and no buffer outlives its use: who leaves packets in
 * the window holds the sender back, who pops them lets it go on.
 *
 * wires_mpi.c does it by MPI; the tests have one in memory. */
#ifndef RK_COLLECTIVES_CARRIER_WIRES_H
#define RK_COLLECTIVES_CARRIER_WIRES_H

#include "collectives/carrier/packet.h"

#define WIRES_WINDOW 16u /* packets in flight for each peer and direction */

struct wires;

uint32_t wires_size(const struct wires *wires); /* carriers of the job */
uint32_t wires_self(const struct wires *wires); /* which of them this one is */

/* The next packet to fill for `peer`, or NULL when its window is full.  wires_send sends it. */
struct packet *wires_slot(struct wires *wires, uint32_t peer);
int wires_send(struct wires *wires, uint32_t peer, struct rk_why *why);

/* The oldest packet from `peer` that was not popped, or NULL.  It stays valid until wires_pop. */
const struct packet *wires_head(struct wires *wires, uint32_t peer);
int wires_pop(struct wires *wires, uint32_t peer, struct rk_why *why);

/* Lets MPI work.  *moved: a packet came or went.  RK_ETRANSPORT, RK_EPROTO. */
int wires_turn(struct wires *wires, bool *moved, struct rk_why *why);
/* Whether packets are on their way out, so that wires_turn must be called often. */
bool wires_sending(const struct wires *wires);
/* Bytes given to MPI so far. */
uint64_t wires_sent_bytes(const struct wires *wires);

#endif
