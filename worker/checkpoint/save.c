/* The committer's part of a save: a directory, then the one record that makes it a checkpoint. */
#include "worker/checkpoint/disk.h"
#include "worker/checkpoint/manifest.h"
#include "worker/checkpoint/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ATTEMPTS 99u

static int check_space(const char *root, uint64_t need, struct rk_why *why)
{
    struct statvfs status;
    uint64_t available;

    if (need == 0)
        return 0;
    if (statvfs(root, &status) != 0)
        return rk_fail_errno(why, errno, "the free space of %s is not known", root);
    available = (uint64_t)status.f_bavail * status.f_frsize;
    if (available < need)
        return rk_fail(why, RK_ENOSPC,
                       "no space: %s has %" PRIu64 " bytes free, a checkpoint needs %" PRIu64
                       "; make room there (reknit checkpoint prune) or use another directory",
                       root, available, need);
    return 0;
}

static void make_name(char *dirname, uint64_t step, uint32_t epoch, uint32_t attempt)
{
    int length =
        snprintf(dirname, CHECKPOINT_DIRNAME_SIZE, "step-%08" PRIu64 ".e%04" PRIu32, step, epoch);

    if (attempt > 1)
        snprintf(dirname + length, CHECKPOINT_DIRNAME_SIZE - (size_t)length, ".a%" PRIu32, attempt);
}

int checkpoint_begin(const char *root, uint64_t step, uint32_t epoch, uint32_t attempt,
                     uint64_t need, char *dirname, struct rk_why *why)
{
    char path[DISK_PATH_SIZE];
    int rc = disk_make_directories(root, why);

    if (rc == 0)
        rc = check_space(root, need, why);
    if (rc != 0)
        return rc;
    for (attempt = attempt == 0 ? 1 : attempt; attempt <= ATTEMPTS; attempt++) {
        make_name(dirname, step, epoch, attempt);
        rc = disk_path(path, root, dirname, NULL, why);
        if (rc != 0)
            return rc;
        if (mkdir(path, 0777) == 0)
            return disk_sync_directory(root, why);
        if (errno != EEXIST)
            return rk_fail_errno(why, errno, "the directory %s cannot be made", path);
    }
    return rk_fail(why, RK_EEXIST,
                   "%s has %u attempts at step %" PRIu64 " already; see what keeps them from "
                   "finishing, then prune",
                   root, ATTEMPTS, step);
}

/* Reads all reports into one manifest. */
static int gather(const struct checkpoint_report *reports, size_t count, struct manifest *m,
                  struct rk_why *why)
{
    bool *seen;
    int rc = 0;

    if (count == 0 || count > CHECKPOINT_MAX_WRITERS ||
        report_writers(reports[0].data, reports[0].size) != count)
        return rk_fail(why, RK_EPROTO, "%zu reports are not those of all writers", count);
    m->shard_count = (uint32_t)count;
    m->shard = calloc(count, sizeof *m->shard);
    seen = calloc(count, sizeof *seen);
    if (m->shard == NULL || seen == NULL)
        rc = rk_fail(why, RK_ENOMEM, "no memory for %zu reports", count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = report_decode(reports[i].data, reports[i].size, m, seen, why);
    free(seen);
    if (rc == 0 && (m->layout == NULL || parts_check(m, "the writers' reports", why) != 0))
        rc = RK_EPROTO;
    return rc;
}

static bool is_word(const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return length > 0 && length < size;
}

static int check_run(const struct checkpoint_run *run, const struct manifest *m,
                     const char *dirname, struct rk_why *why)
{
    struct dirname named;

    if (!parts_dirname(dirname, &named) || named.bad || named.step != run->step ||
        named.epoch != run->epoch)
        return rk_fail(why, RK_EINVAL,
                       "step %" PRIu64 " of epoch %" PRIu32 " does not belong into %s", run->step,
                       run->epoch, dirname);
    if (!is_word(run->job, sizeof run->job) || !is_word(run->reduction, sizeof run->reduction) ||
        run->shards > RK_MAX_SHARDS)
        return rk_fail(why, RK_EINVAL, "a job's name must be printable, without spaces");
    if (run->seed != m->layout->seed || run->batch != m->layout->batch)
        return rk_fail(why, RK_ELAYOUT,
                       "the job has seed %" PRIu64 " and batch %" PRIu64 ", its ranks %" PRIu64
                       " and %" PRIu64,
                       run->seed, run->batch, m->layout->seed, m->layout->batch);
    return 0;
}

static int write_new(const char *path, const char *text, size_t size, bool durable,
                     struct rk_why *why)
{
    int fd;
    int rc = 0;

    if (unlink(path) != 0 && errno != ENOENT)
        return rk_fail_errno(why, errno, "%s cannot be removed", path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be made", path);
    if (disk_write(fd, text, size, 0) != 0)
        rc = rk_fail_errno(why, errno, "%s cannot be written", path);
    else if (durable && fsync(fd) != 0)
        rc = rk_fail_errno(why, errno, "%s could not be made durable (fsync)", path);
    if (close(fd) != 0 && rc == 0)
        rc = rk_fail_errno(why, errno, "%s could not be closed", path);
    return rc;
}

static bool has_text(const char *path, const char *text, size_t size)
{
    char *found;
    size_t found_size;
    bool same;

    if (disk_read_file(path, MANIFEST_MAX, &found, &found_size, NULL) != 0)
        return false;
    same = found_size == size && memcmp(found, text, size) == 0;
    free(found);
    return same;
}

/* NFS may carry a rename out, lose the answer, and find the old name missing when it asks again:
 * then the new name has our bytes, and all is well. */
static int publish(const char *root, const char *dirname, const char *text, size_t size,
                   struct rk_why *why)
{
    char from[DISK_PATH_SIZE];
    char to[DISK_PATH_SIZE];
    char directory[DISK_PATH_SIZE];
    int rc = disk_path(from, root, dirname, PARTS_MANIFEST ".tmp", why);

    if (rc == 0)
        rc = disk_path(to, root, dirname, PARTS_MANIFEST, why);
    if (rc == 0)
        rc = disk_path(directory, root, dirname, NULL, why);
    if (rc == 0 && access(to, F_OK) == 0)
        rc = rk_fail(why, RK_EEXIST, "%s is there already: this checkpoint was committed", to);
    if (rc == 0)
        rc = write_new(from, text, size, true, why);
    if (rc != 0)
        return rc;
    if (rename(from, to) != 0 && (errno != ENOENT || !has_text(to, text, size)))
        return rk_fail_errno(why, errno, "%s cannot be renamed to " PARTS_MANIFEST, from);
    return disk_sync_directory(directory, why);
}

/* A hint for people: whether it works does not matter. */
static void write_latest(const char *root, const char *dirname)
{
    char line[CHECKPOINT_DIRNAME_SIZE + 1];
    char from[DISK_PATH_SIZE];
    char to[DISK_PATH_SIZE];
    int size = snprintf(line, sizeof line, "%s\n", dirname);

    if (disk_path(from, root, NULL, "LATEST.tmp", NULL) != 0 ||
        disk_path(to, root, NULL, "LATEST", NULL) != 0 ||
        write_new(from, line, (size_t)size, false, NULL) != 0 || rename(from, to) != 0)
        unlink(from);
}

int checkpoint_commit(const char *root, const char *dirname, const struct checkpoint_run *run,
                      const struct checkpoint_report *reports, size_t count, struct rk_why *why)
{
    struct manifest manifest = {.run = *run};
    char *text = NULL;
    size_t size = 0;
    int rc = parts_dirname_check(dirname, why);

    if (rc == 0)
        rc = gather(reports, count, &manifest, why);
    if (rc == 0)
        rc = check_run(run, &manifest, dirname, why);
    if (rc == 0)
        rc = manifest_check_files(root, dirname, &manifest, why);
    if (rc == 0)
        rc = manifest_render(&manifest, &text, &size, why);
    if (rc == 0)
        rc = publish(root, dirname, text, size, why);
    if (rc == 0)
        write_latest(root, dirname);
    free(text);
    parts_done(&manifest);
    return rc;
}
