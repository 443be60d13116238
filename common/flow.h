/* One direction of a byte stream over a connection that may lose messages: sent as pieces that say
 * where they begin, kept until the other end has said that they are taken, sent again from there
 * after the connection was gone.  The end of the stream counts as one byte more.
 *
 * The window is all that either end ever holds, so a reader that is slow stops its writer.
 *
 * Ownership: buffers are taken with the first byte and given back when empty; flow_*_done frees.
 * Threads: none.  No I/O. */
#ifndef RK_COMMON_FLOW_H
#define RK_COMMON_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_WINDOW (UINT32_C(64) << 10)
#define FLOW_PIECE (UINT32_C(16) << 10) /* bytes of one message */

struct flow_piece {
    uint64_t offset;
    const uint8_t *data; /* valid until the flow is changed */
    size_t size;
    bool end; /* the stream ends behind these bytes */
};

/* ---- the end that sends ---------------------------------------------------------------------- */

struct flow_out {
    uint8_t *data;
    size_t used;
    uint64_t base; /* offset of data[0]: all before it is taken */
    uint64_t sent; /* offset up to which it was sent */
    bool ends;     /* nothing comes behind what is here */
    bool over;     /* and all of it was taken, its end too */
};

/* How many bytes may be put. */
size_t flow_out_room(const struct flow_out *flow);
/* At most as many as there is room for; false: no memory, nothing was put. */
bool flow_out_put(struct flow_out *flow, const void *data, size_t size);
void flow_out_end(struct flow_out *flow);
/* The next piece to be sent; false: there is none. */
bool flow_out_next(const struct flow_out *flow, struct flow_piece *piece);
/* It went out. */
void flow_out_sent(struct flow_out *flow, const struct flow_piece *piece);
/* The other end has taken all before `offset`. */
void flow_out_taken(struct flow_out *flow, uint64_t offset);
/* What is not known to be taken is to be sent again. */
void flow_out_again(struct flow_out *flow);
void flow_out_done(struct flow_out *flow);

/* ---- the end that receives ------------------------------------------------------------------- */

struct flow_in {
    uint8_t *data;
    size_t used;
    uint64_t base; /* offset of data[0]: all before it was taken from here */
    uint64_t said; /* what the other end was told of that */
    bool ends;     /* the stream ends behind what is here */
    bool over;     /* and that was seen here */
};

/* A piece came.  What is known already, what leaves a gap and what is past the window is dropped:
 * it comes again.  False: no memory. */
bool flow_in_put(struct flow_in *flow, const struct flow_piece *piece);
/* Takes `size` of the `used` bytes at `data`. */
void flow_in_take(struct flow_in *flow, size_t size);
/* True when nothing is left and the stream has ended; it counts as seen then. */
bool flow_in_over(struct flow_in *flow);
/* The rest is of no interest: all that comes counts as taken. */
void flow_in_drop(struct flow_in *flow);
/* The offset that the other end should hear; false: it has heard it. */
bool flow_in_due(const struct flow_in *flow, uint64_t *offset);
void flow_in_told(struct flow_in *flow, uint64_t offset);
/* It may not have heard: tell it again. */
void flow_in_again(struct flow_in *flow);
void flow_in_done(struct flow_in *flow);

#endif
