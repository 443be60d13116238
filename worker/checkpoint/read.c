/* Reading a checkpoint of any number of writers: into memory, for verification, or into a digest.
 *
 * The manifest alone says where the bytes are; HDF5 is not needed to read.  No block is used before
 * its checksum was compared. */
#include "worker/checkpoint/disk.h"
#include "worker/checkpoint/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reader {
    const char *root;
    const char *dirname;
    struct manifest manifest;
    char *state;        /* where it goes, or NULL */
    EVP_MD_CTX *digest; /* fed with it, or NULL */
    char *block;        /* when there is no state */
    int fd;             /* of `file`, or -1 */
    uint32_t file;
    char path[DISK_PATH_SIZE];
};

static void reader_done(struct reader *reader)
{
    parts_done(&reader->manifest);
    free(reader->block);
    EVP_MD_CTX_free(reader->digest);
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
}

static int reader_open(struct reader *reader, const char *root, const char *dirname,
                       struct rk_why *why)
{
    int rc;

    *reader = (struct reader){.root = root, .dirname = dirname, .fd = -1};
    rc = manifest_open(root, dirname, &reader->manifest, why);
    if (rc == 0)
        rc = manifest_check_files(root, dirname, &reader->manifest, why);
    if (rc != 0)
        reader_done(reader);
    return rc;
}

static int open_shard(struct reader *reader, uint32_t file, struct rk_why *why)
{
    char name[PARTS_SHARD_NAME_SIZE];
    int rc;

    if (reader->fd >= 0 && reader->file == file)
        return 0;
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    parts_shard_name(name, file, reader->manifest.shard_count);
    rc = disk_path(reader->path, reader->root, reader->dirname, name, why);
    if (rc != 0)
        return rc;
    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (reader->fd < 0 && errno == ENOENT)
        return rk_fail(why, RK_EDATA, "%s is missing", reader->path);
    if (reader->fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be opened", reader->path);
    reader->file = file;
    return 0;
}

/* One block: read, compared with its checksum, handed on. */
static int read_block(struct reader *reader, const struct piece *piece, uint64_t at,
                      struct rk_why *why)
{
    const struct rk_tensor *tensor = &reader->manifest.layout->tensor[piece->tensor];
    uint64_t left = piece->bytes - at;
    size_t size = (size_t)(left < CHECKPOINT_BLOCK ? left : CHECKPOINT_BLOCK);
    uint64_t first = tensor->offset + piece->start * rk_dtype_size(tensor->dtype) + at;
    char *to = reader->state != NULL ? reader->state + first : reader->block;
    int64_t count = disk_read(reader->fd, to, size, piece->offset + at);
    uint32_t wanted = reader->manifest.crc[piece->crc + at / CHECKPOINT_BLOCK];

    if (count < 0)
        return rk_fail_errno(why, errno, "%s: tensor %s cannot be read at offset %" PRIu64,
                             reader->path, tensor->name, piece->offset + at);
    if ((size_t)count < size)
        return rk_fail(why, RK_EDATA, "%s: tensor %s ends early, at offset %" PRIu64, reader->path,
                       tensor->name, piece->offset + at + (uint64_t)count);
    if (parts_crc32c(0, to, size) != wanted)
        return rk_fail(why, RK_EDATA,
                       "%s: tensor %s is damaged: the checksum of %zu bytes at offset %" PRIu64
                       " is not what was written",
                       reader->path, tensor->name, size, piece->offset + at);
    if (reader->digest != NULL && EVP_DigestUpdate(reader->digest, to, size) != 1)
        return rk_fail(why, RK_EUNAVAILABLE, "SHA-256 failed in libcrypto");
    return 0;
}

static int read_piece(struct reader *reader, const struct piece *piece, struct rk_why *why)
{
    int rc = piece->bytes == 0 ? 0 : open_shard(reader, piece->file, why);

    for (uint64_t at = 0; at < piece->bytes && rc == 0; at += CHECKPOINT_BLOCK)
        rc = read_block(reader, piece, at, why);
    return rc;
}

/* What stands in the digest before a tensor's bytes; no name has a space. */
static int digest_header(EVP_MD_CTX *digest, const struct rk_tensor *tensor)
{
    char text[RK_LAYOUT_NAME_MAX + 32 + RK_LAYOUT_MAX_DIMS * 21];
    int size = snprintf(text, sizeof text, "%s %s", tensor->name, rk_dtype_name(tensor->dtype));

    for (uint32_t d = 0; d < tensor->ndim; d++)
        size += snprintf(text + size, sizeof text - (size_t)size, " %" PRIu64, tensor->shape[d]);
    text[size++] = '\n';
    return EVP_DigestUpdate(digest, text, (size_t)size) == 1 ? 0 : -1;
}

static void clear_gap(struct reader *reader, const struct rk_tensor *tensor)
{
    uint64_t end = tensor->offset + tensor->bytes;
    uint64_t next = (end + RK_LAYOUT_ALIGN - 1) & ~(RK_LAYOUT_ALIGN - 1);

    memset(reader->state + end, 0, (size_t)(next - end));
}

static int read_all(struct reader *reader, struct rk_why *why)
{
    const struct manifest *m = &reader->manifest;
    size_t at = 0;
    int rc = 0;

    if (reader->state == NULL) {
        reader->block = malloc(CHECKPOINT_BLOCK);
        if (reader->block == NULL)
            return rk_fail(why, RK_ENOMEM, "no memory for a block of %" PRIu64 " bytes",
                           CHECKPOINT_BLOCK);
    }
    for (uint32_t t = 0; t < m->layout->tensor_count && rc == 0; t++) {
        const struct rk_tensor *tensor = &m->layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE)
            continue;
        if (reader->digest != NULL && digest_header(reader->digest, tensor) != 0)
            rc = rk_fail(why, RK_EUNAVAILABLE, "SHA-256 failed in libcrypto");
        for (; at < m->piece_count && m->piece[at].tensor == t && rc == 0; at++)
            rc = read_piece(reader, &m->piece[at], why);
        if (reader->state != NULL)
            clear_gap(reader, tensor);
    }
    return rc;
}

static int check_identity(const struct reader *reader, const struct rk_layout *expected,
                          struct rk_why *why)
{
    const struct checkpoint_run *run = &reader->manifest.run;
    struct rk_why difference = {.text = ""};

    if (rk_layout_compare(expected, "this job", reader->manifest.layout, "the checkpoint",
                          &difference) == 0)
        return 0;
    return rk_fail(why, RK_ELAYOUT,
                   "the checkpoint in %.120s was made by job %s with seed %" PRIu64
                   " and batch %" PRIu64 "; use another --checkpoint-dir (%.200s)",
                   reader->root, run->job, run->seed, run->batch, difference.text);
}

int checkpoint_load(const char *root, const char *dirname, const struct rk_layout *expected,
                    void *state, uint64_t bytes, struct rk_why *why)
{
    struct reader reader;
    int rc = reader_open(&reader, root, dirname, why);

    if (rc != 0)
        return rc;
    if (expected != NULL)
        rc = check_identity(&reader, expected, why);
    if (rc == 0 && bytes != reader.manifest.layout->state_bytes)
        rc = rk_fail(why, RK_ELAYOUT,
                     "the checkpoint in %.200s holds a state of %" PRIu64 " bytes, this job's has "
                     "%" PRIu64 "; use another --checkpoint-dir",
                     root, reader.manifest.layout->state_bytes, bytes);
    reader.state = state;
    if (rc == 0)
        rc = read_all(&reader, why);
    reader_done(&reader);
    return rc;
}

/* Compares what lies between the pieces of one shard; *first is its first piece by offset. */
static int verify_meta(struct reader *reader, uint32_t file, size_t *first, struct rk_why *why)
{
    const struct manifest *m = &reader->manifest;
    size_t begin = *first;
    uint32_t crc;
    int rc = open_shard(reader, file, why);

    while (*first < m->piece_count && m->piece[*first].file == file)
        ++*first;
    if (rc != 0)
        return rc;
    errno = 0;
    if (parts_meta_crc(reader->fd, m->shard[file].size, m->piece + begin, *first - begin, &crc) !=
        0)
        return errno == 0 ? rk_fail(why, RK_EDATA, "%s ends early", reader->path)
                          : rk_fail_errno(why, errno, "%s cannot be read", reader->path);
    if (crc != m->shard[file].meta_crc)
        return rk_fail(why, RK_EDATA,
                       "%s: HDF5's own metadata or padding is damaged (the tensors are whole, "
                       "restoring still works; other programs may not be able to read the file)",
                       reader->path);
    return 0;
}

int checkpoint_verify(const char *root, const char *dirname, struct rk_why *why)
{
    struct reader reader;
    size_t first = 0;
    int rc = reader_open(&reader, root, dirname, why);

    if (rc != 0)
        return rc;
    rc = read_all(&reader, why);
    parts_sort_by_offset(reader.manifest.piece, reader.manifest.piece_count);
    for (uint32_t f = 0; f < reader.manifest.shard_count && rc == 0; f++)
        rc = verify_meta(&reader, f, &first, why);
    reader_done(&reader);
    return rc;
}

static EVP_MD_CTX *digest_new(struct rk_why *why)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    if (digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1)
        return digest;
    EVP_MD_CTX_free(digest);
    rk_fail(why, RK_EUNAVAILABLE, "libcrypto has no SHA-256; see openssl list -digest-algorithms");
    return NULL;
}

static int digest_finish(EVP_MD_CTX *digest, char *hex, struct rk_why *why)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(digest, bytes, NULL) != 1)
        return rk_fail(why, RK_EUNAVAILABLE, "SHA-256 failed in libcrypto");
    for (size_t i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    return 0;
}

int checkpoint_digest(const char *root, const char *dirname, char *hex, struct rk_why *why)
{
    struct reader reader;
    int rc = reader_open(&reader, root, dirname, why);

    if (rc != 0)
        return rc;
    reader.digest = digest_new(why);
    rc = reader.digest == NULL ? RK_EUNAVAILABLE : read_all(&reader, why);
    if (rc == 0)
        rc = digest_finish(reader.digest, hex, why);
    reader_done(&reader);
    return rc;
}

int checkpoint_state_digest(const struct rk_layout *layout, const void *state, char *hex,
                            struct rk_why *why)
{
    EVP_MD_CTX *digest = digest_new(why);
    int rc = digest == NULL ? RK_EUNAVAILABLE : 0;

    for (uint32_t t = 0; t < layout->tensor_count && rc == 0; t++) {
        const struct rk_tensor *tensor = &layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE)
            continue;
        if (digest_header(digest, tensor) != 0 ||
            (tensor->bytes > 0 && EVP_DigestUpdate(digest, (const char *)state + tensor->offset,
                                                   (size_t)tensor->bytes) != 1))
            rc = rk_fail(why, RK_EUNAVAILABLE, "SHA-256 failed in libcrypto");
    }
    if (rc == 0)
        rc = digest_finish(digest, hex, why);
    EVP_MD_CTX_free(digest);
    return rc;
}
