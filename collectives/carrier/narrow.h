/* bfloat16 on the wire, with error feedback.
 *
 * What a host rounds off before it sends is kept and added to what it sends for the same element in
 * the next step, so that over many steps nothing is lost: at any time the sum of all results
 * differs from that of exact ones by what the hosts hold back, half a unit of a bfloat16's last
 * place each. It is lost with the carrier, and a step that is exchanged again after a change of
 * members adds to it: the error of one rounding, never a wrong sum.  So with narrow wires a sum
 * depends on the number of hosts and on what was sent before; within a run all ranks still have the
 * same bits.
 *
 * Float64 elements are never narrowed. */
#ifndef RK_COLLECTIVES_CARRIER_NARROW_H
#define RK_COLLECTIVES_CARRIER_NARROW_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

struct narrow {
    uint64_t elements;
    float *residual;  /* held back, by element */
    uint16_t *packed; /* what this host has rounded in the step in hand */
};

/* Room for `elements`, nothing held back; what is there already for as many is kept.  RK_ENOMEM. */
int narrow_take(struct narrow *narrow, uint64_t elements, struct rk_why *why);
/* Nothing is held back any more: the job goes on from another state. */
void narrow_forget(struct narrow *narrow);
void narrow_done(struct narrow *narrow);

/* Rounds values[i] + residual[i] to the nearest, ties to even, into packed[i], and leaves what was
 * rounded off in residual[i]: 0 where the value is infinite or no number. */
void narrow_pack(const float *values, size_t count, float *residual, uint16_t *packed);
void narrow_unpack(const uint16_t *packed, size_t count, float *values);

#endif
