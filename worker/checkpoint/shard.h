/* The two halves of writing a shard: HDF5 makes the file and says where the data goes, then the
 * data goes there past HDF5 and past the page cache. */
#ifndef RK_WORKER_CHECKPOINT_SHARD_H
#define RK_WORKER_CHECKPOINT_SHARD_H

#include "worker/checkpoint/parts.h"

/* Creates `path` (which must be new) with a dataset for each piece, and sets piece[].offset.  The
 * data is allocated, not written; nothing is durable yet. */
int shard_layout(const char *path, const struct rk_layout *layout, uint32_t writers,
                 struct piece *piece, size_t count, const uint32_t *crc, struct rk_why *why);

#endif
