/* Makes the streams of wires.h from MPI_COMM_WORLD. */
#ifndef RK_COLLECTIVES_CARRIER_WIRES_MPI_H
#define RK_COLLECTIVES_CARRIER_WIRES_MPI_H

#include "collectives/carrier/wires.h"

/* MPI_Init, the only call that may block, and the first receives.  There is no close: a carrier
 * ends by _exit, since MPI_Finalize hangs when a peer is gone. */
int wires_open(struct wires **out, struct rk_why *why);

#endif
