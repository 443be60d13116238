/* See report.h.  All numbers are little endian, as on every machine that HDF5 files of ours are
 * written on; the version changes with the layout's. */
#include "worker/checkpoint/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MAGIC UINT64_C(0x54524f5045524b52) /* "RKREPORT" */
#define REPORT_VERSION 1u

/* Followed by the layout, the pieces, the checksums. */
struct head {
    uint64_t magic;
    uint32_t version;
    uint32_t writer;
    uint32_t writers;
    uint32_t meta_crc;
    uint64_t size;
    uint64_t layout_bytes;
    uint64_t piece_count;
    uint64_t crc_count;
};

void checkpoint_report_done(struct checkpoint_report *report)
{
    if (report == NULL)
        return;
    free(report->data);
    *report = (struct checkpoint_report){0};
}

int report_encode(const struct rk_layout *layout, uint32_t writer, uint32_t writers,
                  const struct shard *shard, const struct piece *piece, size_t piece_count,
                  const uint32_t *crc, size_t crc_count, struct checkpoint_report *report,
                  struct rk_why *why)
{
    struct head head = {.magic = REPORT_MAGIC,
                        .version = REPORT_VERSION,
                        .writer = writer,
                        .writers = writers,
                        .meta_crc = shard->meta_crc,
                        .size = shard->size,
                        .layout_bytes = layout->bytes,
                        .piece_count = piece_count,
                        .crc_count = crc_count};
    size_t size =
        sizeof head + (size_t)layout->bytes + piece_count * sizeof *piece + crc_count * sizeof *crc;
    char *at;

    if (size > CHECKPOINT_REPORT_MAX)
        return rk_fail(why, RK_EFULL,
                       "the report of shard %u would have %zu bytes, at most %u are possible; save "
                       "with more writers",
                       writer, size, CHECKPOINT_REPORT_MAX);
    at = malloc(size);
    if (at == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a report of %zu bytes", size);
    *report = (struct checkpoint_report){.data = at, .size = size};
    at = mempcpy(at, &head, sizeof head);
    at = mempcpy(at, layout, (size_t)layout->bytes);
    if (piece_count > 0)
        at = mempcpy(at, piece, piece_count * sizeof *piece);
    if (crc_count > 0)
        memcpy(at, crc, crc_count * sizeof *crc);
    return 0;
}

/* Every count is bounded by the report's own size before it is used. */
static bool head_read(const void *data, size_t size, struct head *head)
{
    size_t rest;

    if (size < sizeof *head || size > CHECKPOINT_REPORT_MAX)
        return false;
    memcpy(head, data, sizeof *head);
    rest = size - sizeof *head;
    if (head->magic != REPORT_MAGIC || head->version != REPORT_VERSION || head->writers == 0 ||
        head->writers > CHECKPOINT_MAX_WRITERS || head->writer >= head->writers)
        return false;
    if (head->layout_bytes > rest || head->piece_count > rest / sizeof(struct piece) ||
        head->crc_count > rest / sizeof(uint32_t))
        return false;
    return head->layout_bytes + head->piece_count * sizeof(struct piece) +
               head->crc_count * sizeof(uint32_t) ==
           rest;
}

uint32_t report_writers(const void *data, size_t size)
{
    struct head head;

    return head_read(data, size, &head) ? head.writers : 0;
}

static int take_layout(const struct head *head, const char *at, struct manifest *manifest,
                       struct rk_why *why)
{
    struct rk_layout *layout = malloc((size_t)head->layout_bytes + 1);
    int rc;

    if (layout == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a layout of %" PRIu64 " bytes",
                       head->layout_bytes);
    memcpy(layout, at, (size_t)head->layout_bytes);
    rc = rk_layout_check(layout, (size_t)head->layout_bytes, why);
    if (rc == 0 && manifest->layout != NULL)
        rc = rk_layout_compare(manifest->layout, "another writer", layout, "this writer", why);
    if (rc == 0 && manifest->layout == NULL) {
        manifest->layout = layout;
        return 0;
    }
    free(layout);
    return rc == 0 || rc == RK_ELAYOUT ? rc : RK_EPROTO;
}

/* Makes room for `more` elements at the end of an array. */
static int grow(void **array, size_t count, size_t more, size_t element, struct rk_why *why)
{
    void *grown = realloc(*array, (count + more + 1) * element);

    if (grown == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for %zu pieces of a checkpoint", count + more);
    *array = grown;
    return 0;
}

static int take_pieces(const struct head *head, const char *at, struct manifest *m,
                       struct rk_why *why)
{
    size_t pieces = (size_t)head->piece_count;
    size_t crcs = (size_t)head->crc_count;
    int rc = grow((void **)&m->piece, m->piece_count, pieces, sizeof *m->piece, why);

    if (rc == 0)
        rc = grow((void **)&m->crc, m->crc_count, crcs, sizeof *m->crc, why);
    if (rc != 0)
        return rc;
    memcpy(m->piece + m->piece_count, at, pieces * sizeof *m->piece);
    memcpy(m->crc + m->crc_count, at + pieces * sizeof *m->piece, crcs * sizeof *m->crc);
    for (size_t i = 0; i < pieces; i++) {
        struct piece *piece = &m->piece[m->piece_count + i];

        if (piece->file != head->writer || piece->crc > crcs ||
            parts_block_count(piece->bytes) > crcs - piece->crc)
            return rk_fail(why, RK_EPROTO, "the report of writer %u is not about its own shard",
                           head->writer);
        piece->crc += m->crc_count;
    }
    m->piece_count += pieces;
    m->crc_count += crcs;
    return 0;
}

int report_decode(const void *data, size_t size, struct manifest *manifest, bool *seen,
                  struct rk_why *why)
{
    const char *at = data;
    struct head head;
    int rc;

    if (!head_read(data, size, &head))
        return rk_fail(why, RK_EPROTO, "%zu bytes are not the report of a writer", size);
    if (head.writers != manifest->shard_count || seen[head.writer])
        return rk_fail(why, RK_EPROTO, "a report of writer %u of %u does not belong to %u others",
                       head.writer, head.writers, manifest->shard_count);
    rc = take_layout(&head, at + sizeof head, manifest, why);
    if (rc == 0)
        rc = take_pieces(&head, at + sizeof head + head.layout_bytes, manifest, why);
    if (rc != 0)
        return rc;
    seen[head.writer] = true;
    manifest->shard[head.writer] = (struct shard){.size = head.size, .meta_crc = head.meta_crc};
    return 0;
}
