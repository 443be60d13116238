/* The codec of the control plane; see wire.h.
 *
 * What a message may hold is checked by one walk over protobuf-c's descriptors, so that a field
 * added to wire.proto is bounded from its first day: by the defaults below, or by its own line in
 * `bounds`.  Relations between fields stand in check_body. */
#include "common/wire.h"

#include "common/flow.h"
#include "common/id.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Memory for one frame: this much, and MEMORY_FACTOR bytes for each byte of the frame. */
#define MEMORY_BASE ((size_t)64 << 10)
#define MEMORY_FACTOR 16u

#define BOUND_STRING 4096u
#define BOUND_BYTES 64u
#define BOUND_REPEATED 64u
static_assert(BOUND_REPEATED == RK_MAX_SLOTS, "lists of ranks and slots are bounded by it");

#define MAX_WORKERS 131072u
#define MAX_HOST_RANKS 8192u

struct bound {
    const ProtobufCMessageDescriptor *message;
    const char *field;
    size_t most; /* bytes of a string or of bytes, entries of a list */
};

static const struct bound bounds[] = {
    {&rk__envelope__descriptor, "token", WIRE_TOKEN_BYTES},
    {&rk__rank_status__descriptor, "numbers", 16},
    {&rk__number__descriptor, "name", 63},
    {&rk__hello__descriptor, "host_name", 255},
    {&rk__hello__descriptor, "address", 255},
    {&rk__hello__descriptor, "program_version", 255},
    {&rk__hello__descriptor, "snapshot_step", 8},
    {&rk__heartbeat__descriptor, "snapshot_step", 8},
    {&rk__rank_exited__descriptor, "last_lines", 8192},
    {&rk__freeze_ack__descriptor, "done", RK_MAX_SHARDS / 8},
    {&rk__freeze_ack__descriptor, "snapshot_step", 8},
    {&rk__shard_written__descriptor, "report", 4u << 20},
    {&rk__rsh_request__descriptor, "command", 16384},
    {&rk__rsh_start__descriptor, "command", 16384},
    {&rk__exec_start__descriptor, "command", 131071},
    {&rk__exec_data__descriptor, "data", FLOW_PIECE},
    {&rk__freeze__descriptor, "fence", MAX_HOST_RANKS},
    {&rk__go__descriptor, "done", RK_MAX_SHARDS / 8},
    {&rk__comm_id__descriptor, "id", 128},
    {&rk__go__descriptor, "local", MAX_HOST_RANKS},
    {&rk__start_carriers__descriptor, "host", MAX_WORKERS},
    {&rk__start_carriers__descriptor, "worker", MAX_WORKERS},
    {&rk__launcher_hello__descriptor, "ticket", MAX_WORKERS},
    {&rk__launch__descriptor, "ticket", MAX_WORKERS},
    {&rk__launch__descriptor, "place", MAX_WORKERS},
    {&rk__worker_came__descriptor, "ticket", MAX_WORKERS},
    {&rk__request__descriptor, "host", 255},
    {&rk__outcome__descriptor, "report_json", 4u << 20},
    {&rk__reply__descriptor, "text", 7u << 20},
    {&rk__event__descriptor, "json", 65536},
};

static size_t bound_of(const ProtobufCMessageDescriptor *message,
                       const ProtobufCFieldDescriptor *field, size_t otherwise)
{
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        if (bounds[i].message == message && strcmp(bounds[i].field, field->name) == 0)
            return bounds[i].most;
    return otherwise;
}

/* ---- memory of one frame --------------------------------------------------------------------- */

struct purse {
    size_t left;
    bool empty; /* something was asked for that it could not pay */
};

static void *purse_alloc(void *data, size_t size)
{
    struct purse *purse = data;

    if (size > purse->left) {
        purse->empty = true;
        return NULL;
    }
    purse->left -= size;
    return malloc(size > 0 ? size : 1);
}

static void purse_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_message(ProtobufCMessage *message, struct rk_why *why);

static int check_size(const ProtobufCMessageDescriptor *message,
                      const ProtobufCFieldDescriptor *field, size_t size, size_t otherwise,
                      struct rk_why *why)
{
    size_t most = bound_of(message, field, otherwise);

    if (size > most)
        return rk_fail(why, RK_EFULL, "field %s of a %s has size %zu, at most %zu is allowed",
                       field->name, message->short_name, size, most);
    return 0;
}

/* One value of `field`, at `value`, whatever its label. */
static int check_value(const ProtobufCMessageDescriptor *message,
                       const ProtobufCFieldDescriptor *field, const void *value, struct rk_why *why)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)value;

        return check_size(message, field, text ? strlen(text) : 0, BOUND_STRING, why);
    }
    case PROTOBUF_C_TYPE_BYTES:
        return check_size(message, field, ((const ProtobufCBinaryData *)value)->len, BOUND_BYTES,
                          why);
    case PROTOBUF_C_TYPE_ENUM:
        if (!protobuf_c_enum_descriptor_get_value(field->descriptor, *(const int *)value))
            return rk_fail(why, RK_EDATA, "field %s of a %s is %d, which has no meaning",
                           field->name, message->short_name, *(const int *)value);
        return 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        if (!isfinite(*(const double *)value))
            return rk_fail(why, RK_EDATA, "field %s of a %s is not a finite number", field->name,
                           message->short_name);
        return 0;
    case PROTOBUF_C_TYPE_MESSAGE: {
        ProtobufCMessage *inner = *(ProtobufCMessage *const *)value;

        return inner ? check_message(inner, why) : 0;
    }
    default:
        return 0;
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return sizeof(char *);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(ProtobufCMessage *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(double);
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int);
    default:
        return 0; /* numbers of any value are allowed: nothing to walk */
    }
}

static int check_list(const ProtobufCMessageDescriptor *message,
                      const ProtobufCFieldDescriptor *field, size_t count, const char *values,
                      struct rk_why *why)
{
    size_t stride = value_size(field);
    int rc = check_size(message, field, count, BOUND_REPEATED, why);

    for (size_t i = 0; rc == 0 && stride > 0 && i < count; i++)
        rc = check_value(message, field, values + i * stride, why);
    return rc;
}

/* Fields that a newer peer has and we have not are allowed and forgotten; number 0 is nobody's, and
 * protobuf-c would take it for one of those. */
static int drop_unknown(ProtobufCMessage *message, struct rk_why *why)
{
    bool zero = false;

    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        zero = zero || message->unknown_fields[i].tag == 0;
        free(message->unknown_fields[i].data);
    }
    free(message->unknown_fields);
    message->unknown_fields = NULL;
    message->n_unknown_fields = 0;
    return zero ? rk_fail(why, RK_EDATA, "a %s has a field of number 0",
                          message->descriptor->short_name)
                : 0;
}

static int check_message(ProtobufCMessage *message, struct rk_why *why)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *base = (const char *)message;
    int rc = drop_unknown(message, why);

    for (unsigned i = 0; rc == 0 && i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *at = base + field->offset;

        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t count = *(const size_t *)(base + field->quantifier_offset);

            rc = check_list(descriptor, field, count, *(char *const *)at, why);
        } else if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
                   *(const uint32_t *)(base + field->quantifier_offset) == field->id) {
            rc = check_value(descriptor, field, at, why);
        }
    }
    return rc;
}

/* Slots in range and each named once. */
static int check_ranks(Rk__RankStatus **rank, size_t count, struct rk_why *why)
{
    uint64_t seen = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t slot = rank[i]->slot;

        if (slot >= RK_MAX_SLOTS)
            return rk_fail(why, RK_EDATA, "a rank is in slot %u, the last one is %u", slot,
                           RK_MAX_SLOTS - 1);
        if (seen & (UINT64_C(1) << slot))
            return rk_fail(why, RK_EDATA, "slot %u is named twice", slot);
        seen |= UINT64_C(1) << slot;
    }
    return 0;
}

static int check_hello(const Rk__Hello *hello, struct rk_why *why)
{
    if (hello->slots < 1 || hello->slots > RK_MAX_SLOTS)
        return rk_fail(why, RK_EDATA, "a hello says %u slots, 1 to %u are allowed", hello->slots,
                       RK_MAX_SLOTS);
    if (hello->host == 0)
        return rk_fail(why, RK_EDATA, "a hello names no host");
    return check_ranks(hello->rank, hello->n_rank, why);
}

static int check_start_ranks(const Rk__StartRanks *start, struct rk_why *why)
{
    if (start->n_slot != start->n_rank)
        return rk_fail(why, RK_EDATA, "%zu slots to start for %zu ranks", start->n_slot,
                       start->n_rank);
    for (size_t i = 0; i < start->n_slot; i++)
        if (start->slot[i] >= RK_MAX_SLOTS)
            return rk_fail(why, RK_EDATA, "slot %u to start, the last one is %u", start->slot[i],
                           RK_MAX_SLOTS - 1);
    return 0;
}

static int check_pairs(const char *what, size_t a, size_t b, struct rk_why *why)
{
    return a == b ? 0
                  : rk_fail(why, RK_EDATA, "lists of unequal length in %s: %zu, %zu", what, a, b);
}

static int check_stream(uint32_t stream, struct rk_why *why)
{
    return stream <= 2 ? 0 : rk_fail(why, RK_EDATA, "stream %u of a command", stream);
}

static int check_body(const Rk__Envelope *envelope, struct rk_why *why)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_HELLO:
        return check_hello(envelope->hello, why);
    case RK__ENVELOPE__BODY_HEARTBEAT:
        return check_ranks(envelope->heartbeat->rank, envelope->heartbeat->n_rank, why);
    case RK__ENVELOPE__BODY_FREEZE_ACK:
        return check_ranks(envelope->freeze_ack->rank, envelope->freeze_ack->n_rank, why);
    case RK__ENVELOPE__BODY_RANK_EXITED:
        return envelope->rank_exited->slot < RK_MAX_SLOTS
                   ? 0
                   : rk_fail(why, RK_EDATA, "a rank exited in slot %u",
                             envelope->rank_exited->slot);
    case RK__ENVELOPE__BODY_START_RANKS:
        return check_start_ranks(envelope->start_ranks, why);
    case RK__ENVELOPE__BODY_WELCOME:
        if (envelope->welcome->shards < 1 || envelope->welcome->shards > RK_MAX_SHARDS ||
            (envelope->welcome->shards & (envelope->welcome->shards - 1)) != 0)
            return rk_fail(why, RK_EDATA, "a welcome says %u shards", envelope->welcome->shards);
        return 0;
    case RK__ENVELOPE__BODY_START_CARRIERS:
        return check_pairs("start_carriers", envelope->start_carriers->n_host,
                           envelope->start_carriers->n_worker, why);
    case RK__ENVELOPE__BODY_EXEC_DATA:
        return check_stream(envelope->exec_data->stream, why);
    case RK__ENVELOPE__BODY_EXEC_TAKEN:
        return check_stream(envelope->exec_taken->stream, why);
    case RK__ENVELOPE__BODY_LAUNCH:
        return check_pairs("launch", envelope->launch->n_ticket, envelope->launch->n_place, why);
    case RK__ENVELOPE__BODY__NOT_SET:
        return rk_fail(why, RK_EDATA, "a message without a body");
    default:
        return 0;
    }
}

static int check_envelope(Rk__Envelope *envelope, struct rk_why *why)
{
    int rc;

    if (envelope->token.len != WIRE_TOKEN_BYTES)
        return rk_fail(why, RK_EDATA, "a token of %zu bytes", envelope->token.len);
    if (envelope->wire_version != WIRE_VERSION)
        return rk_fail(why, RK_EVERSION,
                       "a peer speaks wire version %u, this is %u: use one version of reknit",
                       envelope->wire_version, WIRE_VERSION);
    if (envelope->epoch >= UINT32_C(1) << 24)
        return rk_fail(why, RK_EDATA, "epoch %u is out of range", envelope->epoch);
    if (envelope->sender == 0)
        return rk_fail(why, RK_EDATA, "a message without a sender");
    rc = check_message(&envelope->base, why);
    return rc ? rc : check_body(envelope, why);
}

/* ---- the codec ------------------------------------------------------------------------------- */

int wire_encode(const Rk__Envelope *envelope, uint8_t **data, size_t *size)
{
    size_t packed = rk__envelope__get_packed_size(envelope);
    uint8_t *bytes;

    if (packed > WIRE_MAX_FRAME)
        return RK_EFULL;
    bytes = malloc(packed > 0 ? packed : 1);
    if (!bytes)
        return RK_ENOMEM;
    *size = rk__envelope__pack(envelope, bytes);
    *data = bytes;
    return 0;
}

int wire_decode(const uint8_t *data, size_t size, size_t limit, Rk__Envelope **envelope,
                struct rk_why *why)
{
    struct purse purse = {.left = MEMORY_BASE + MEMORY_FACTOR * size};
    ProtobufCAllocator allocator = {purse_alloc, purse_free, &purse};
    Rk__Envelope *decoded;
    int rc;

    if (size > limit || size > WIRE_MAX_FRAME)
        return rk_fail(why, RK_EFULL, "a frame of %zu bytes, at most %zu are allowed here", size,
                       limit);
    decoded = rk__envelope__unpack(&allocator, size, data);
    if (!decoded && purse.empty)
        return rk_fail(why, RK_EFULL, "a frame of %zu bytes claims more than %zu bytes of memory",
                       size, MEMORY_BASE + MEMORY_FACTOR * size);
    if (!decoded)
        return rk_fail(why, RK_EDATA, "a frame of %zu bytes is not a message", size);
    rc = check_envelope(decoded, why);
    if (rc == 0 || rc == RK_EVERSION)
        *envelope = decoded;
    else
        wire_free(decoded);
    return rc;
}

/* The purse's memory is malloc's, as is that of protobuf-c's own allocator. */
void wire_free(Rk__Envelope *envelope)
{
    if (envelope)
        rk__envelope__free_unpacked(envelope, NULL);
}

void wire_routing_id(uint64_t sender, uint8_t routing_id[WIRE_ROUTING_ID_BYTES])
{
    routing_id[0] = 'r';
    memcpy(routing_id + 1, &sender, sizeof sender);
}

const char *wire_kind(const Rk__Envelope *envelope)
{
    const ProtobufCMessageDescriptor *descriptor = envelope->base.descriptor;

    for (unsigned i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
            descriptor->fields[i].id == (uint32_t)envelope->body_case)
            return descriptor->fields[i].name;
    return "nothing";
}
