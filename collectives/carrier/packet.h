/* What carriers say to each other.  One packet is one MPI message; the packets from one carrier to
 * another are a stream that arrives in order and is never cut: what a new membership word makes
 * worthless is still received, seen to be old by its word, and dropped.
 *
 *   HELLO    once for each word, to all: who I am under it and how far my host is
 *   RESULT   the sum of the last finished step, for hosts that lack it
 *   WHOLE    that result, which I lacked, is whole here now, to all
 *   STATE    the snapshot of the step that is dealt, for hosts that must take it
 *   READY    my ranks are in a step and have finished those before; the payload lists the nodes
 *            with which they will end it
 *   PART     values of these nodes, for the host that sums the elements, or for all
 *   SLICE    sums of what I sum, for all
 *
 * Seen by carriers of one build on one kind of processor only, so it is plain memory. */
#ifndef RK_COLLECTIVES_CARRIER_PACKET_H
#define RK_COLLECTIVES_CARRIER_PACKET_H

#include "collectives/arena.h"

#define PACKET_MAGIC UINT32_C(0x314b5052)
/* Small enough that a link is never long busy with one, and that MPI sends it at once. */
#define PACKET_PAYLOAD (UINT32_C(64) << 10)
#define PACKET_FLOATS (PACKET_PAYLOAD / (uint32_t)sizeof(float))

enum packet_kind {
    PACKET_HELLO = 1,
    PACKET_RESULT,
    PACKET_WHOLE,
    PACKET_STATE,
    PACKET_READY,
    PACKET_PART,
    PACKET_SLICE,
    PACKET_KINDS
};

/* PART, SLICE: the elements are bfloat16.  READY, PART: all of the step's buckets are ready. */
#define PACKET_NARROW 1u
#define PACKET_COMPLETE 2u

struct packet_header {
    uint32_t magic;
    uint16_t kind;
    uint16_t host; /* host_index of the sender under `word` */
    rk_word word;
    uint64_t step;
    uint64_t from;    /* first element; STATE: first byte; READY: lineage of the nodes */
    uint32_t count;   /* elements of a vector; STATE: bytes; READY: nodes; HELLO: 1 */
    uint32_t vectors; /* PART: how many, one after the other; else 1 */
    uint32_t flags;
    uint32_t reserved; /* 0 */
    uint64_t spare[2];
};

struct packet {
    struct packet_header header;
    unsigned char payload[PACKET_PAYLOAD];
};
_Static_assert(sizeof(struct packet_header) == 64, "payloads stay aligned");

/* The payload of HELLO: what must be the same everywhere, and what differs. */
struct packet_hello {
    uint64_t deal_step;
    uint64_t grad_count;
    uint64_t state_bytes;
    uint32_t shards;
    uint32_t hosts;
    uint32_t state_host;
    uint32_t job;
    uint64_t complete_step;
    uint32_t has_result;  /* the result of the step before lies here */
    uint32_t needs_state; /* it takes the state and does not have it yet */
    uint32_t vectors;     /* nodes that an even deal gives to my ranks */
    uint32_t wire;        /* enum arena_wire */
    uint32_t reduction;   /* enum arena_reduction */
    uint32_t reserved;    /* 0 */
};

/* Bytes of payload that a packet with this header has. */
uint64_t packet_payload_bytes(const struct packet_header *header);

/* 0, or RK_EPROTO when `bytes` received bytes are not a whole packet of carriers. */
int packet_check(const struct packet *packet, uint64_t bytes, struct rk_why *why);

#endif
