/* See disk.h. */
#include "worker/checkpoint/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int disk_path(char path[DISK_PATH_SIZE], const char *root, const char *dirname, const char *name,
              struct rk_why *why)
{
    int length;

    if (root == NULL || root[0] == '\0')
        return rk_fail(why, RK_EINVAL, "no checkpoint directory was named");
    length =
        snprintf(path, DISK_PATH_SIZE, "%s%s%s%s%s", root, dirname == NULL ? "" : "/",
                 dirname == NULL ? "" : dirname, name == NULL ? "" : "/", name == NULL ? "" : name);
    if (length < 0 || length >= DISK_PATH_SIZE)
        return rk_fail(why, RK_EINVAL,
                       "the path %.60s... is longer than %d bytes; use a shorter one", root,
                       DISK_PATH_SIZE - 1);
    return 0;
}

int disk_write(int fd, const void *data, size_t size, uint64_t offset)
{
    const char *from = data;

    while (size > 0) {
        ssize_t count = pwrite(fd, from, size, (off_t)offset);

        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = ENOSPC;
        if (count <= 0)
            return -1;
        from += count;
        size -= (size_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

int64_t disk_read(int fd, void *data, size_t size, uint64_t offset)
{
    char *to = data;
    size_t done = 0;

    while (done < size) {
        ssize_t count = pread(fd, to + done, size - done, (off_t)(offset + done));

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    return (int64_t)done;
}

int disk_sync_directory(const char *path, struct rk_why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return rk_fail_errno(why, errno, "the directory %s cannot be opened", path);
    if (fsync(fd) != 0)
        rc = rk_fail_errno(why, errno, "the names in %s could not be made durable (fsync)", path);
    close(fd);
    return rc;
}

static int read_open_file(int fd, const char *path, size_t limit, char **data, size_t *size,
                          struct rk_why *why)
{
    struct stat status;
    int64_t count;
    char *bytes;

    if (fstat(fd, &status) != 0)
        return rk_fail_errno(why, errno, "%s cannot be read", path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size > limit)
        return rk_fail(why, RK_EDATA, "%s is not a file of at most %zu bytes", path, limit);
    bytes = malloc((size_t)status.st_size + 1);
    if (bytes == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the %lld bytes of %s",
                       (long long)status.st_size, path);
    count = disk_read(fd, bytes, (size_t)status.st_size, 0);
    if (count < 0) {
        free(bytes);
        return rk_fail_errno(why, errno, "%s cannot be read", path);
    }
    bytes[count] = '\0';
    *data = bytes;
    *size = (size_t)count;
    return 0;
}

int disk_read_file(const char *path, size_t limit, char **data, size_t *size, struct rk_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int rc;

    if (fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be opened", path);
    rc = read_open_file(fd, path, limit, data, size, why);
    close(fd);
    return rc;
}

/* Makes one level, and its name durable in the parent. */
static int make_directory(const char *path, struct rk_why *why)
{
    char parent[DISK_PATH_SIZE];
    char *slash;

    if (mkdir(path, 0777) != 0)
        return errno == EEXIST ? 0
                               : rk_fail_errno(why, errno, "the directory %s cannot be made", path);
    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == NULL)
        return disk_sync_directory(".", why);
    slash[slash == parent ? 1 : 0] = '\0';
    return disk_sync_directory(parent, why);
}

int disk_make_directories(const char *path, struct rk_why *why)
{
    char prefix[DISK_PATH_SIZE] = "";
    struct stat status;
    int rc = disk_path(prefix, path, NULL, NULL, why);

    if (rc != 0)
        return rc;
    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode)
                   ? 0
                   : rk_fail(why, RK_EEXIST, "%s is there but is not a directory", path);
    for (char *at = prefix + 1; rc == 0; at++) {
        char kept = *at;

        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        if (at[-1] != '/' && (stat(prefix, &status) != 0 || !S_ISDIR(status.st_mode)))
            rc = make_directory(prefix, why);
        *at = kept;
        if (kept == '\0')
            break;
    }
    return rc;
}
