/* What a checkpoint is made of, in memory: pieces of tensors in files, and how they are dealt.
 *
 * A piece is a contiguous range of elements of one state tensor, stored as one dataset of one
 * shard.  A manifest has the pieces of all shards; a report those of one. */
#ifndef RK_WORKER_CHECKPOINT_PARTS_H
#define RK_WORKER_CHECKPOINT_PARTS_H

#include "worker/checkpoint/checkpoint.h"

#define PARTS_ALIGN UINT64_C(4096)
#define PARTS_SHARD_NAME_SIZE 32
#define PARTS_MANIFEST "MANIFEST"

struct piece {
    uint32_t tensor; /* index in the layout */
    uint32_t file;   /* number of the shard */
    uint64_t start;  /* first element */
    uint64_t count;  /* elements */
    uint64_t bytes;
    uint64_t offset; /* bytes, in the file; 0 for an empty piece */
    uint64_t crc;    /* index of its first block's checksum */
};

struct shard {
    uint64_t size;     /* bytes */
    uint32_t meta_crc; /* over every byte of the file that is in no piece, in order */
};

struct manifest {
    struct checkpoint_run run;
    struct rk_layout *layout;
    struct shard *shard; /* shard_count of them */
    uint32_t shard_count;
    struct piece *piece; /* in the order (tensor, start) once parts_check passed */
    size_t piece_count;
    uint32_t *crc;
    size_t crc_count;
};

/* Frees what it holds, not itself. */
void parts_done(struct manifest *manifest);

uint64_t parts_block_count(uint64_t bytes);

/* "shard-00001-of-00004.h5" */
void parts_shard_name(char name[PARTS_SHARD_NAME_SIZE], uint32_t shard, uint32_t shards);

/* The piece of `tensor` that falls to `writer` of `writers`: false when there is none.  State is
 * dealt by bytes in the order of registration, cut at multiples of PARTS_ALIGN inside a tensor. */
bool parts_deal(const struct rk_layout *layout, uint32_t tensor, uint32_t writer, uint32_t writers,
                struct piece *piece);

/* Sorts the pieces by (tensor, start), then checks that they lie inside their tensors and files
 * (whose sizes are set), that no two share bytes of a file, and that they cover every state tensor
 * exactly once.  RK_EDATA with a sentence about `what`. */
int parts_check(struct manifest *manifest, const char *what, struct rk_why *why);

/* Sorts pieces by (file, offset). */
void parts_sort_by_offset(struct piece *piece, size_t count);

/* The CRC32C of all bytes of an open file of `size` bytes that lie in none of the `count` pieces,
 * which are sorted by offset.  -1 with errno set; errno is 0 when the file is shorter. */
int parts_meta_crc(int fd, uint64_t size, const struct piece *piece, size_t count, uint32_t *crc);

/* CRC32C (Castagnoli) of `size` bytes, continuing from `crc` (0 to begin). */
uint32_t parts_crc32c(uint32_t crc, const void *data, size_t size);

/* Takes a directory's name apart.  False when it is none of ours. */
struct dirname {
    uint64_t step;
    uint32_t epoch;
    uint32_t attempt;
    bool bad; /* quarantined */
};
bool parts_dirname(const char *name, struct dirname *parsed);
int parts_dirname_check(const char *name, struct rk_why *why);

#endif
