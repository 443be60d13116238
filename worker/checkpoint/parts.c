/* Dealing a state to writers, and checking that what came back is whole; see parts.h. */
#include "worker/checkpoint/parts.h"

#include "worker/checkpoint/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <isa-l/crc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void parts_done(struct manifest *manifest)
{
    rk_layout_free(manifest->layout);
    free(manifest->shard);
    free(manifest->piece);
    free(manifest->crc);
    memset(manifest, 0, sizeof *manifest);
}

uint64_t parts_block_count(uint64_t bytes)
{
    return bytes / CHECKPOINT_BLOCK + (bytes % CHECKPOINT_BLOCK != 0);
}

void parts_shard_name(char name[PARTS_SHARD_NAME_SIZE], uint32_t shard, uint32_t shards)
{
    snprintf(name, PARTS_SHARD_NAME_SIZE, "shard-%05u-of-%05u.h5", shard, shards);
}

uint32_t parts_crc32c(uint32_t crc, const void *data, size_t size)
{
    /* The library takes an int, a pointer it does not write through, and leaves the usual
     * complements to the caller. */
    unsigned char *from = (unsigned char *)(uintptr_t)data;

    crc = ~crc;
    while (size > 0) {
        size_t part = size < (UINT64_C(1) << 30) ? size : (size_t)1 << 30;

        crc = crc32_iscsi(from, (int)part, crc);
        from += part;
        size -= part;
    }
    return ~crc;
}

/* Where the writers' common boundary at byte `cut` of the whole falls inside a tensor. */
static uint64_t cut_inside(uint64_t cut, uint64_t tensor_start, uint64_t tensor_bytes)
{
    if (cut <= tensor_start)
        return 0;
    if (cut >= tensor_start + tensor_bytes)
        return tensor_bytes;
    return (cut - tensor_start) & ~(PARTS_ALIGN - 1);
}

bool parts_deal(const struct rk_layout *layout, uint32_t tensor, uint32_t writer, uint32_t writers,
                struct piece *piece)
{
    const struct rk_tensor *t = &layout->tensor[tensor];
    uint32_t element = rk_dtype_size(t->dtype);
    uint64_t total = layout->state_bytes;
    uint64_t low = (uint64_t)((unsigned __int128)total * writer / writers);
    uint64_t high = (uint64_t)((unsigned __int128)total * (writer + 1) / writers);
    uint64_t from = cut_inside(low, t->offset, t->bytes);
    uint64_t to = cut_inside(high, t->offset, t->bytes);
    bool last = writer == writers - 1;

    if (t->kind != RK_TENSOR_STATE)
        return false;
    if (t->bytes == 0 && !(t->offset >= low && t->offset < high) && !(last && t->offset == total))
        return false;
    if (t->bytes > 0 && from == to)
        return false;
    *piece = (struct piece){.tensor = tensor,
                            .file = writer,
                            .start = from / element,
                            .count = (to - from) / element,
                            .bytes = to - from};
    return true;
}

static int by_tensor(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;

    if (x->tensor != y->tensor)
        return x->tensor < y->tensor ? -1 : 1;
    return x->start < y->start ? -1 : x->start > y->start;
}

static int by_offset(const void *a, const void *b)
{
    const struct piece *x = a;
    const struct piece *y = b;

    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

void parts_sort_by_offset(struct piece *piece, size_t count)
{
    if (count > 0)
        qsort(piece, count, sizeof *piece, by_offset);
}

/* Inside its tensor, its file and the table of checksums? */
static int check_piece(const struct manifest *m, const struct piece *p, const char *what,
                       struct rk_why *why)
{
    const struct rk_tensor *tensor;
    uint64_t element;

    if (p->tensor >= m->layout->tensor_count || p->file >= m->shard_count)
        return rk_fail(why, RK_EDATA, "%s: a piece of tensor %u in file %u, there are %u and %u",
                       what, p->tensor, p->file, m->layout->tensor_count, m->shard_count);
    tensor = &m->layout->tensor[p->tensor];
    element = rk_dtype_size(tensor->dtype);
    if (tensor->kind != RK_TENSOR_STATE || p->start > tensor->bytes / element ||
        p->count > tensor->bytes / element - p->start || p->bytes != p->count * element ||
        (p->bytes == 0 && tensor->bytes != 0))
        return rk_fail(why, RK_EDATA,
                       "%s: a piece of %" PRIu64 " elements from %" PRIu64
                       " on does not fit tensor %s",
                       what, p->count, p->start, tensor->name);
    if (p->offset % PARTS_ALIGN != 0 || p->offset > m->shard[p->file].size ||
        p->bytes > m->shard[p->file].size - p->offset)
        return rk_fail(why, RK_EDATA,
                       "%s: %" PRIu64 " bytes of tensor %s at %" PRIu64
                       " are not inside file %u of %" PRIu64 " bytes",
                       what, p->bytes, tensor->name, p->offset, p->file, m->shard[p->file].size);
    if (p->crc > m->crc_count || parts_block_count(p->bytes) > m->crc_count - p->crc)
        return rk_fail(why, RK_EDATA, "%s: checksums of tensor %s are missing", what, tensor->name);
    return 0;
}

static int check_overlap(const struct manifest *m, const char *what, struct rk_why *why)
{
    struct piece *sorted = malloc((m->piece_count + 1) * sizeof *sorted);
    int rc = 0;

    if (sorted == NULL)
        return rk_fail(why, RK_ENOMEM, "%s: no memory to sort %zu pieces", what, m->piece_count);
    if (m->piece_count > 0)
        memcpy(sorted, m->piece, m->piece_count * sizeof *sorted);
    parts_sort_by_offset(sorted, m->piece_count);
    for (size_t i = 1; i < m->piece_count && rc == 0; i++)
        if (sorted[i].file == sorted[i - 1].file &&
            sorted[i].offset < sorted[i - 1].offset + sorted[i - 1].bytes)
            rc = rk_fail(why, RK_EDATA, "%s: two pieces share bytes at %" PRIu64 " of file %u",
                         what, sorted[i].offset, sorted[i].file);
    free(sorted);
    return rc;
}

static int check_coverage(const struct manifest *m, const char *what, struct rk_why *why)
{
    size_t at = 0;

    for (uint32_t t = 0; t < m->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &m->layout->tensor[t];
        uint64_t covered = 0;

        for (; at < m->piece_count && m->piece[at].tensor == t; at++) {
            if (m->piece[at].start != covered)
                break;
            covered += m->piece[at].count;
        }
        if (tensor->kind == RK_TENSOR_STATE &&
            (covered * rk_dtype_size(tensor->dtype) != tensor->bytes ||
             (at < m->piece_count && m->piece[at].tensor == t)))
            return rk_fail(why, RK_EDATA,
                           "%s: tensor %s is not covered exactly once at element %" PRIu64, what,
                           tensor->name, covered);
    }
    return 0;
}

int parts_check(struct manifest *m, const char *what, struct rk_why *why)
{
    int rc = 0;

    for (size_t i = 0; i < m->piece_count && rc == 0; i++)
        rc = check_piece(m, &m->piece[i], what, why);
    if (rc == 0 && m->piece_count > 0)
        qsort(m->piece, m->piece_count, sizeof *m->piece, by_tensor);
    if (rc == 0)
        rc = check_coverage(m, what, why);
    return rc != 0 ? rc : check_overlap(m, what, why);
}

/* Continues *crc over the bytes from..to of a file. */
static int crc_of_range(int fd, uint64_t from, uint64_t to, uint32_t *crc)
{
    unsigned char buffer[65536];

    while (from < to) {
        size_t part = to - from < sizeof buffer ? (size_t)(to - from) : sizeof buffer;
        int64_t count = disk_read(fd, buffer, part, from);

        if (count < 0)
            return -1;
        if ((size_t)count < part) {
            errno = 0;
            return -1;
        }
        *crc = parts_crc32c(*crc, buffer, part);
        from += part;
    }
    return 0;
}

int parts_meta_crc(int fd, uint64_t size, const struct piece *piece, size_t count, uint32_t *crc)
{
    uint64_t at = 0;

    *crc = 0;
    for (size_t i = 0; i < count; i++) {
        if (piece[i].bytes == 0)
            continue;
        if (crc_of_range(fd, at, piece[i].offset, crc) != 0)
            return -1;
        at = piece[i].offset + piece[i].bytes;
    }
    return crc_of_range(fd, at, size, crc);
}

/* A decimal number of at least `width` digits; more only when the number needs them. */
static const char *number(const char *at, int width, uint64_t limit, uint64_t *value)
{
    int digits = 0;

    *value = 0;
    for (; at[digits] >= '0' && at[digits] <= '9'; digits++) {
        uint64_t digit = (uint64_t)(at[digits] - '0');

        if (*value > (limit - digit) / 10)
            return NULL;
        *value = *value * 10 + digit;
    }
    if (digits < width || (digits > width && at[0] == '0'))
        return NULL;
    return at + digits;
}

bool parts_dirname(const char *name, struct dirname *parsed)
{
    uint64_t epoch;
    uint64_t attempt = 1;
    const char *at = name;

    parsed->bad = strncmp(at, "bad-", 4) == 0;
    at += parsed->bad ? 4 : 0;
    if (strlen(name) >= CHECKPOINT_DIRNAME_SIZE || strncmp(at, "step-", 5) != 0)
        return false;
    at = number(at + 5, 8, UINT64_MAX - 9, &parsed->step);
    if (at == NULL || strncmp(at, ".e", 2) != 0)
        return false;
    at = number(at + 2, 4, UINT32_MAX, &epoch);
    if (at != NULL && strncmp(at, ".a", 2) == 0) {
        at = number(at + 2, 1, UINT32_MAX, &attempt);
        if (attempt < 2)
            return false;
    }
    parsed->epoch = (uint32_t)epoch;
    parsed->attempt = (uint32_t)attempt;
    if (at != NULL && parsed->bad && at[0] == '.' && at[1] >= '2' && at[1] <= '9')
        at += 2;
    return at != NULL && *at == '\0';
}

int parts_dirname_check(const char *name, struct rk_why *why)
{
    struct dirname parsed;

    if (name == NULL || !parts_dirname(name, &parsed))
        return rk_fail(why, RK_EINVAL,
                       "%.100s is not the name of a checkpoint; they look like "
                       "step-00000200.e0001",
                       name == NULL ? "(none)" : name);
    return 0;
}
