/* A writer's report: its layout, its shard and its pieces, as bytes for the control plane. */
#ifndef RK_WORKER_CHECKPOINT_REPORT_H
#define RK_WORKER_CHECKPOINT_REPORT_H

#include "worker/checkpoint/parts.h"

/* Makes the report of shard `writer` of `writers`.  crc has the checksums of all pieces.
 * RK_EFULL when it would be larger than CHECKPOINT_REPORT_MAX, RK_ENOMEM. */
int report_encode(const struct rk_layout *layout, uint32_t writer, uint32_t writers,
                  const struct shard *shard, const struct piece *piece, size_t piece_count,
                  const uint32_t *crc, size_t crc_count, struct checkpoint_report *report,
                  struct rk_why *why);

/* Puts a report into `manifest`: the first one brings layout and number of shards, the others must
 * agree.  seen[] has a flag for each shard (of manifest->shard_count, made by the caller's
 * report_writers).  RK_EPROTO, RK_ELAYOUT, RK_ENOMEM.  What is in a piece is left to parts_check.
 */
int report_decode(const void *data, size_t size, struct manifest *manifest, bool *seen,
                  struct rk_why *why);

/* How many writers a report says there are; 0 when it is malformed. */
uint32_t report_writers(const void *data, size_t size);

#endif
