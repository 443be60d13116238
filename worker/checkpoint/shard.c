/* Writing one shard: its pieces, their checksums, the file, the data, the report.
 *
 * The data goes with O_DIRECT into the places that HDF5 laid out: it never touches the page cache,
 * which makes it several times faster and steady.  Where a file system refuses O_DIRECT the same
 * writes go through the cache.  A file whose write or fsync failed is given up. */
#include "worker/checkpoint/shard.h"

#include "worker/checkpoint/disk.h"
#include "worker/checkpoint/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL_MAX ((size_t)64 << 20) /* bytes of one write: large calls are fastest */
#define BOUNCE ((size_t)1 << 20)    /* bytes; for sources that are not aligned, and for tails */

struct job {
    const struct rk_layout *layout;
    const char *state;
    uint32_t writer;
    uint32_t writers;
    char path[DISK_PATH_SIZE];
    struct piece *piece;
    size_t piece_count;
    uint32_t *crc;
    size_t crc_count;
    struct shard shard;
    char *bounce;
    int fd;
};

static void job_done(struct job *job)
{
    free(job->piece);
    free(job->crc);
    free(job->bounce);
    if (job->fd >= 0)
        close(job->fd);
}

static const char *source(const struct job *job, const struct piece *piece)
{
    const struct rk_tensor *tensor = &job->layout->tensor[piece->tensor];

    return job->state + tensor->offset + piece->start * rk_dtype_size(tensor->dtype);
}

/* Deals this writer its pieces and checksums them. */
static int plan(struct job *job, struct rk_why *why)
{
    job->piece = calloc(job->layout->tensor_count + 1, sizeof *job->piece);
    if (job->piece == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory to plan shard %u", job->writer);
    for (uint32_t t = 0; t < job->layout->tensor_count; t++) {
        struct piece *piece = &job->piece[job->piece_count];

        if (!parts_deal(job->layout, t, job->writer, job->writers, piece))
            continue;
        piece->crc = job->crc_count;
        job->crc_count += (size_t)parts_block_count(piece->bytes);
        job->piece_count++;
    }
    job->crc = calloc(job->crc_count + 1, sizeof *job->crc);
    job->bounce = aligned_alloc(PARTS_ALIGN, BOUNCE);
    if (job->crc == NULL || job->bounce == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory to write shard %u", job->writer);
    for (size_t i = 0; i < job->piece_count; i++) {
        const struct piece *piece = &job->piece[i];

        for (uint64_t at = 0; at < piece->bytes; at += CHECKPOINT_BLOCK) {
            uint64_t left = piece->bytes - at;

            job->crc[piece->crc + at / CHECKPOINT_BLOCK] =
                parts_crc32c(0, source(job, piece) + at,
                             (size_t)(left < CHECKPOINT_BLOCK ? left : CHECKPOINT_BLOCK));
        }
    }
    return 0;
}

/* As disk_write, but takes O_DIRECT off and goes on where the file system does not like it: it may
 * refuse at the first write, or after a short one that ended between blocks. */
static int write_direct(int fd, const char *from, size_t size, uint64_t offset)
{
    int flags;

    if (disk_write(fd, from, size, offset) == 0)
        return 0;
    if (errno != EINVAL)
        return -1;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_DIRECT) == 0 || fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0) {
        errno = EINVAL;
        return -1;
    }
    return disk_write(fd, from, size, offset);
}

/* Whole blocks straight from the state where it is aligned, the rest over the bounce buffer. */
static int write_piece(struct job *job, const struct piece *piece)
{
    const char *from = source(job, piece);
    bool aligned = (uintptr_t)from % PARTS_ALIGN == 0;
    uint64_t at = 0;

    while (at < piece->bytes) {
        uint64_t left = piece->bytes - at;
        size_t size = left < CALL_MAX ? (size_t)(left & ~(PARTS_ALIGN - 1)) : CALL_MAX;
        const char *data = from + at;

        if (!aligned || size == 0) {
            size_t part = left < BOUNCE ? (size_t)left : BOUNCE;

            size = (part + PARTS_ALIGN - 1) & ~(size_t)(PARTS_ALIGN - 1);
            memcpy(job->bounce, from + at, part);
            memset(job->bounce + part, 0, size - part);
            data = job->bounce;
        }
        if (write_direct(job->fd, data, size, piece->offset + at) != 0)
            return -1;
        at += size;
    }
    return 0;
}

static int open_direct(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_DIRECT | O_NOFOLLOW);

    return fd >= 0 || errno != EINVAL ? fd : open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Takes the space before the data is written, so that a full disk is known early. */
static int reserve(int fd)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -1;
    if (status.st_size == 0 || fallocate(fd, 0, 0, status.st_size) == 0 || errno == EOPNOTSUPP ||
        errno == ENOSYS)
        return 0;
    return errno == EINTR ? reserve(fd) : -1;
}

static int write_data(struct job *job, struct rk_why *why)
{
    job->fd = open_direct(job->path);
    if (job->fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be opened", job->path);
    if (reserve(job->fd) != 0)
        return rk_fail_errno(why, errno, "%s: its space could not be reserved", job->path);
    for (size_t i = 0; i < job->piece_count; i++)
        if (write_piece(job, &job->piece[i]) != 0)
            return rk_fail_errno(why, errno, "%s: tensor %s could not be written", job->path,
                                 job->layout->tensor[job->piece[i].tensor].name);
    return 0;
}

/* Reads back what is between the pieces, for the manifest. */
static int describe(struct job *job, struct rk_why *why)
{
    int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    int rc = 0;

    if (fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be read back", job->path);
    parts_sort_by_offset(job->piece, job->piece_count);
    if (fstat(fd, &status) != 0 || parts_meta_crc(fd, (uint64_t)status.st_size, job->piece,
                                                  job->piece_count, &job->shard.meta_crc) != 0)
        rc = rk_fail_errno(why, errno, "%s cannot be read back", job->path);
    else
        job->shard.size = (uint64_t)status.st_size;
    close(fd);
    return rc;
}

static int make_durable(struct job *job, const char *root, const char *dirname, struct rk_why *why)
{
    char directory[DISK_PATH_SIZE];
    int rc = disk_path(directory, root, dirname, NULL, why);

    if (rc != 0)
        return rc;
    if (fsync(job->fd) != 0)
        return rk_fail_errno(why, errno, "%s could not be made durable (fsync)", job->path);
    rc = close(job->fd);
    job->fd = -1;
    if (rc != 0)
        return rk_fail_errno(why, errno, "%s could not be closed", job->path);
    return disk_sync_directory(directory, why);
}

static int write_shard(struct job *job, const char *root, const char *dirname, struct rk_why *why)
{
    int rc = plan(job, why);

    if (rc == 0)
        rc = shard_layout(job->path, job->layout, job->writers, job->piece, job->piece_count,
                          job->crc, why);
    if (rc == 0)
        rc = write_data(job, why);
    if (rc == 0)
        rc = describe(job, why);
    return rc != 0 ? rc : make_durable(job, root, dirname, why);
}

int checkpoint_write_shard(const char *root, const char *dirname, uint32_t writer, uint32_t writers,
                           const struct rk_layout *layout, const void *state,
                           struct checkpoint_report *report, struct rk_why *why)
{
    struct job job = {
        .layout = layout, .state = state, .writer = writer, .writers = writers, .fd = -1};
    char name[PARTS_SHARD_NAME_SIZE];
    int rc = parts_dirname_check(dirname, why);

    *report = (struct checkpoint_report){0};
    if (rc == 0 && (writers == 0 || writers > CHECKPOINT_MAX_WRITERS || writer >= writers))
        rc = rk_fail(why, RK_EINVAL, "there is no writer %u of %u; at most %u can write", writer,
                     writers, CHECKPOINT_MAX_WRITERS);
    if (rc != 0)
        return rc;
    parts_shard_name(name, writer, writers);
    rc = disk_path(job.path, root, dirname, name, why);
    if (rc == 0)
        rc = write_shard(&job, root, dirname, why);
    if (rc == 0)
        rc = report_encode(layout, writer, writers, &job.shard, job.piece, job.piece_count, job.crc,
                           job.crc_count, report, why);
    job_done(&job);
    return rc;
}
