/* Cuts a stream into lines.  Frames of the network do not end where lines do, so bytes are kept
 * until their newline comes; each byte is looked at once.
 *
 * Units: bytes.  Ownership: a line that is handed out is valid during the call.  Threads: none. */
#ifndef RK_K8S_CLIENT_SPLITTER_H
#define RK_K8S_CLIENT_SPLITTER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct splitter {
    size_t most; /* bytes of the longest line that is kept; filled in by the owner */
    char *kept;
    size_t used, room;
};

/* Gets a line without its newline; false: no more of them. */
typedef bool splitter_take(void *who, const char *line, size_t length);

/* Hands out each line that ends within these bytes, but for empty ones, and keeps the rest.
 * 1: `take` had enough, and the rest of the bytes is dropped.  RK_EFULL: a line is longer than
 * `most`; RK_ENOMEM.  After those the stream is of no more use. */
int splitter_feed(struct splitter *splitter, const char *bytes, size_t count, splitter_take *take,
                  void *who, struct rk_why *why);

/* Forgets the rest of a line, for another stream. */
void splitter_reset(struct splitter *splitter);
void splitter_done(struct splitter *splitter);

#endif
