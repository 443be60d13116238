/* A byte stream that survives the loss of messages; see flow.h. */
#include "common/flow.h"

#include <stdlib.h>
#include <string.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool hold(uint8_t **data)
{
    if (*data == NULL)
        *data = malloc(FLOW_WINDOW);
    return *data != NULL;
}

static void drop_front(uint8_t **data, size_t *used, size_t size)
{
    memmove(*data, *data + size, *used - size);
    *used -= size;
    if (*used > 0)
        return;
    free(*data);
    *data = NULL;
}

/* ---- the end that sends ---------------------------------------------------------------------- */

static uint64_t end_of(const struct flow_out *flow)
{
    return flow->base + flow->used;
}

size_t flow_out_room(const struct flow_out *flow)
{
    return flow->ends ? 0 : FLOW_WINDOW - flow->used;
}

bool flow_out_put(struct flow_out *flow, const void *data, size_t size)
{
    size = least(size, flow_out_room(flow));
    if (size == 0)
        return true;
    if (!hold(&flow->data))
        return false;
    memcpy(flow->data + flow->used, data, size);
    flow->used += size;
    return true;
}

void flow_out_end(struct flow_out *flow)
{
    flow->ends = true;
}

bool flow_out_next(const struct flow_out *flow, struct flow_piece *piece)
{
    uint64_t end = end_of(flow);

    if (flow->over || flow->sent > end || (flow->sent == end && !flow->ends))
        return false;
    piece->offset = flow->sent;
    piece->size = least((size_t)(end - flow->sent), FLOW_PIECE);
    piece->data = piece->size > 0 ? flow->data + (flow->sent - flow->base) : NULL;
    piece->end = flow->ends && piece->offset + piece->size == end;
    return true;
}

void flow_out_sent(struct flow_out *flow, const struct flow_piece *piece)
{
    flow->sent = piece->offset + piece->size + (piece->end ? 1 : 0);
}

void flow_out_taken(struct flow_out *flow, uint64_t offset)
{
    uint64_t end = end_of(flow);

    if (flow->over || offset <= flow->base || offset > end + (flow->ends ? 1 : 0))
        return;
    flow->over = offset > end;
    if (flow->used > 0)
        drop_front(&flow->data, &flow->used, (size_t)(least(offset, end) - flow->base));
    flow->base = offset;
    if (flow->sent < offset)
        flow->sent = offset;
}

void flow_out_again(struct flow_out *flow)
{
    flow->sent = flow->base;
}

void flow_out_done(struct flow_out *flow)
{
    free(flow->data);
    *flow = (struct flow_out){0};
}

/* ---- the end that receives ------------------------------------------------------------------- */

bool flow_in_put(struct flow_in *flow, const struct flow_piece *piece)
{
    uint64_t next = flow->base + flow->used;
    size_t known;
    size_t size;

    if (piece->offset < next || flow->ends)
        flow_in_again(flow); /* it was sent once more since our word was lost */
    if (flow->ends || piece->offset > next || piece->offset + piece->size < next)
        return true;
    known = (size_t)(next - piece->offset);
    size = least(piece->size - known, FLOW_WINDOW - flow->used);
    if (size > 0 && !hold(&flow->data))
        return false;
    if (size > 0)
        memcpy(flow->data + flow->used, piece->data + known, size);
    flow->used += size;
    flow->ends = piece->end && known + size == piece->size;
    return true;
}

void flow_in_take(struct flow_in *flow, size_t size)
{
    if (size == 0)
        return;
    flow->base += size;
    drop_front(&flow->data, &flow->used, size);
}

bool flow_in_over(struct flow_in *flow)
{
    if (flow->ends && flow->used == 0)
        flow->over = true;
    return flow->over;
}

void flow_in_drop(struct flow_in *flow)
{
    flow_in_take(flow, flow->used);
    flow_in_over(flow);
}

static uint64_t taken(const struct flow_in *flow)
{
    return flow->base + (flow->over ? 1 : 0);
}

bool flow_in_due(const struct flow_in *flow, uint64_t *offset)
{
    *offset = taken(flow);
    return *offset > flow->said;
}

void flow_in_told(struct flow_in *flow, uint64_t offset)
{
    flow->said = offset;
}

void flow_in_again(struct flow_in *flow)
{
    flow->said = 0;
}

void flow_in_done(struct flow_in *flow)
{
    free(flow->data);
    *flow = (struct flow_in){0};
}
