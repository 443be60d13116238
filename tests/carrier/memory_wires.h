/* Packet streams within one process, for tests: packets arrive late and in any order between pairs,
 * as a seed says. */
#ifndef RK_TESTS_CARRIER_MEMORY_WIRES_H
#define RK_TESTS_CARRIER_MEMORY_WIRES_H

#include "collectives/carrier/wires.h"

/* One end for each of `size` carriers; all are freed by memory_wires_done(any). */
int memory_wires_init(uint32_t size, uint64_t seed, struct wires **end);
void memory_wires_done(struct wires **end);

#endif
