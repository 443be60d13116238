/* The sizes of packets; see packet.h. */
#include "collectives/carrier/packet.h"

uint64_t packet_payload_bytes(const struct packet_header *header)
{
    switch (header->kind) {
    case PACKET_HELLO:
        return sizeof(struct packet_hello);
    case PACKET_WHOLE:
        return 0;
    case PACKET_STATE:
        return header->count;
    case PACKET_READY:
        return header->count * (uint64_t)sizeof(struct tree_node);
    default:
        return header->count * (uint64_t)header->vectors *
               (header->flags & PACKET_NARROW ? sizeof(uint16_t) : sizeof(float));
    }
}

int packet_check(const struct packet *packet, uint64_t bytes, struct rk_why *why)
{
    const struct packet_header *header = &packet->header;

    if (bytes < sizeof *header || header->magic != PACKET_MAGIC)
        return rk_fail(why, RK_EPROTO, "%llu bytes that are no packet of a carrier",
                       (unsigned long long)bytes);
    if (header->kind == 0 || header->kind >= PACKET_KINDS || header->vectors > RK_MAX_SHARDS ||
        header->vectors == 0)
        return rk_fail(why, RK_EPROTO, "a packet of unknown kind %u", header->kind);
    if (packet_payload_bytes(header) != bytes - sizeof *header)
        return rk_fail(why, RK_EPROTO, "a packet of kind %u with %llu bytes instead of %llu",
                       header->kind, (unsigned long long)(bytes - sizeof *header),
                       (unsigned long long)packet_payload_bytes(header));
    return 0;
}
