/* The codec of the control plane: bytes to checked messages and back (wire.proto).
 *
 * A frame that decodes has passed every check of size, range and enum here; what it says may still
 * be stale or a lie, which is for its receiver to judge.  Memory spent on a frame is bounded by
 * WIRE_MAX_FRAME times a small constant, whatever the frame claims. */
#ifndef RK_COMMON_WIRE_H
#define RK_COMMON_WIRE_H

#include "common/error.h"
#include "common/wire.pb-c.h"

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1u
#define WIRE_TOKEN_BYTES 32u
#define WIRE_ROUTING_ID_BYTES 9u
/* Milliseconds that a CURVE handshake may take: thousands may come at once, each costs a
 * millisecond of a core. */
#define WIRE_HANDSHAKE_MS 20000
#define WIRE_MAX_FRAME (UINT32_C(8) << 20)     /* a ShardWritten with its report */
#define WIRE_MAX_STRANGER (UINT32_C(64) << 10) /* before a peer said a good hello */

/* Encodes into malloc'd memory that the caller frees.  RK_ENOMEM, RK_EFULL (too large). */
int wire_encode(const Rk__Envelope *envelope, uint8_t **data, size_t *size);

/* Decodes and checks; *envelope is freed by wire_free.  RK_EDATA (malformed), RK_EFULL (larger than
 * `limit` bytes, or a field past its bound), RK_ENOMEM.  RK_EVERSION: *envelope is there too, but
 * only its version, token and sender mean something. */
int wire_decode(const uint8_t *data, size_t size, size_t limit, Rk__Envelope **envelope,
                struct rk_why *why);
void wire_free(Rk__Envelope *envelope);

/* The routing id under which a sender's DEALER is known to the ROUTER: a letter, since libzmq keeps
 * those that begin with 0 for itself, then the id. */
void wire_routing_id(uint64_t sender, uint8_t routing_id[WIRE_ROUTING_ID_BYTES]);

/* The name of the body's kind, for logs; never NULL. */
const char *wire_kind(const Rk__Envelope *envelope);

#endif
