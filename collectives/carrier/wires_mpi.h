/* Makes the streams of wires.h from MPI_COMM_WORLD. */
#ifndef RK_COLLECTIVES_CARRIER_WIRES_MPI_H
#define RK_COLLECTIVES_CARRIER_WIRES_MPI_H

#include "collectives/arena.h"
#include "collectives/carrier/wires.h"

/* MPI_Init, the only call that may block, and the first receives.  There is no close: a carrier
 * ends by _exit, since MPI_Finalize hangs when a peer is gone. */
int wires_open(struct wires **out, struct rk_why *why);

/* Asks all others that take part in `plan` once in a while whether they are there, and is asked in
 * wires_turn, whatever stands in the windows: a network that swallows all says nothing by itself.
 * To be called while nothing moves; `now` is rk_clock_now().  RK_ETRANSPORT when one does not
 * answer. */
int wires_probe(struct wires *wires, const struct arena_plan *plan, uint64_t now,
                struct rk_why *why);

#endif
