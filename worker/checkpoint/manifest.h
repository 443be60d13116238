/* The manifest as text: one fact a line, readable, closed by its own checksum.
 *
 *     reknit-checkpoint 1
 *     job NAME
 *     step N
 *     epoch N
 *     seed N
 *     batch N
 *     shards N                                        virtual shards of a batch
 *     world N
 *     reduction exact
 *     committed NANOSECONDS 2026-11-23T15:22:16Z
 *     library NAME                                    what wrote it, for people
 *     tensors COUNT
 *     tensor state f32 2 3 4 48 0 NAME                kind type ndim shape... bytes offset name
 *     files COUNT
 *     file SIZE CRC shard-00000-of-00004.h5           CRC: of what lies between the pieces
 *     pieces COUNT
 *     piece TENSOR FILE OFFSET BYTES START COUNT      then the CRC32C of each 4 MiB block:
 *     crc XXXXXXXX XXXXXXXX ...                       at most 8 in a line
 *     end CRC                                         of everything before this line */
#ifndef RK_WORKER_CHECKPOINT_MANIFEST_H
#define RK_WORKER_CHECKPOINT_MANIFEST_H

#include "worker/checkpoint/parts.h"

#define MANIFEST_MAX ((size_t)64 << 20) /* bytes of text */

/* Writes the text into fresh memory that the caller frees.  RK_ENOMEM, RK_EFULL. */
int manifest_render(const struct manifest *manifest, char **text, size_t *size, struct rk_why *why);

/* Reads a text, of which nothing is believed: *manifest passed parts_check afterwards and is freed
 * with parts_done.  `name` is what the sentence calls it.  The fuzzer leaves check_crc out.
 * RK_EDATA, RK_EVERSION, RK_ENOMEM; on failure *manifest is empty. */
int manifest_parse(const char *text, size_t size, const char *name, bool check_crc,
                   struct manifest *manifest, struct rk_why *why);

/* Reads and parses the manifest in root/dirname, and checks that step and epoch are those of the
 * directory's name. */
int manifest_open(const char *root, const char *dirname, struct manifest *manifest,
                  struct rk_why *why);

/* Checks that all files are there with their sizes.  RK_EDATA. */
int manifest_check_files(const char *root, const char *dirname, const struct manifest *manifest,
                         struct rk_why *why);

#endif
