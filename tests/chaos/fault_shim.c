/* See fault_shim.h.  The functions below take the place of libc's, for HDF5 too. */
#include "tests/chaos/fault_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_FDS 1024

struct fault_plan fault_plan;
static char fd_path[MAX_FDS][PATH_MAX]; /* "" when not watched */
static uint64_t calls;
static uint64_t reads;

struct fault_log *fault_log_new(size_t capacity)
{
    struct fault_log *log = mmap(NULL, sizeof *log + capacity, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (log == MAP_FAILED)
        return NULL;
    log->capacity = capacity;
    return log;
}

void fault_log_free(struct fault_log *log)
{
    if (log != NULL)
        munmap(log, sizeof *log + log->capacity);
}

__attribute__((constructor)) static void read_environment(void)
{
    static const char *const names[FAULT_KINDS] = {"none", "kill",   "enospc", "full",
                                                   "eio",  "edquot", "eintr",  "short"};
    const char *at = getenv("REKNIT_FAULT_AT");
    const char *kind = getenv("REKNIT_FAULT_KIND");

    if (at == NULL || kind == NULL || getenv("REKNIT_FAULT_ROOT") == NULL)
        return;
    fault_plan.root = getenv("REKNIT_FAULT_ROOT");
    fault_plan.at = strtoull(at, NULL, 10);
    for (int k = 0; k < FAULT_KINDS; k++)
        if (strcmp(kind, names[k]) == 0)
            fault_plan.kind = (enum fault_kind)k;
}

static bool watched(const char *path)
{
    size_t length = fault_plan.root == NULL ? 0 : strlen(fault_plan.root);

    return length > 0 && strncmp(path, fault_plan.root, length) == 0;
}

static bool watched_fd(int fd)
{
    return fault_plan.root != NULL && fd >= 0 && fd < MAX_FDS && fd_path[fd][0] != '\0';
}

static void record(enum fault_op op, const char *path, uint64_t offset, const void *data,
                   uint64_t size)
{
    struct fault_log *log = fault_plan.log;
    struct fault_record head = {.op = op, .offset = offset, .size = size};

    head.path_size = (uint32_t)strlen(path) + 1;
    if (log == NULL || log->used + sizeof head + head.path_size + size > log->capacity)
        return;
    memcpy(log->bytes + log->used, &head, sizeof head);
    memcpy(log->bytes + log->used + sizeof head, path, head.path_size);
    if (size > 0)
        memcpy(log->bytes + log->used + sizeof head + head.path_size, data, size);
    log->used += sizeof head + head.path_size + size;
}

void fault_mark(void)
{
    record(FAULT_MARK, "", 0, NULL, 0);
}

static bool needs_space(enum fault_op op)
{
    return op != FAULT_SYNC && op != FAULT_UNLINK && op != FAULT_RMDIR && op != FAULT_RENAME;
}

/* Counts the call and says what becomes of it: 0 goes on, else the errno it fails with. */
static int judge(enum fault_op op)
{
    uint64_t now = ++calls;

    if (fault_plan.log != NULL)
        fault_plan.log->calls = now;
    if (fault_plan.kind == FAULT_FULL && now >= fault_plan.at && needs_space(op))
        return ENOSPC;
    if (now != fault_plan.at)
        return 0;
    switch (fault_plan.kind) {
    case FAULT_KILL:
        kill(getpid(), SIGKILL);
        return EIO;
    case FAULT_ENOSPC:
        return ENOSPC;
    case FAULT_EIO:
        return EIO;
    case FAULT_EDQUOT:
        return EDQUOT;
    case FAULT_EINTR:
        return op == FAULT_WRITE ? EINTR : 0;
    default:
        return 0;
    }
}

static long finish(long result, enum fault_op op, const char *path, uint64_t offset,
                   const void *data, uint64_t size)
{
    if (result >= 0)
        record(op, path, offset, data, size);
    return result;
}

static int refuse(int errnum)
{
    errno = errnum;
    return -1;
}

static int open_file(int at, const char *path, int flags, mode_t mode)
{
    struct stat status;
    bool watch = watched(path);
    bool makes = watch && (flags & O_CREAT) != 0 && stat(path, &status) != 0;
    int verdict = makes ? judge(FAULT_CREATE) : 0;
    int fd;

    if (verdict != 0)
        return refuse(verdict);
    fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && makes)
        record(FAULT_CREATE, path, 0, NULL, 0);
    if (fd >= 0 && fd < MAX_FDS)
        snprintf(fd_path[fd], PATH_MAX, "%s", watch ? path : "");
    return fd;
}

/* libc's parameter names are reserved, and the analyzer loses sight of va_start.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name,*-valist.Uninitialized) */

#define OPEN_BODY(at, path, flags)                                              \
    va_list args;                                                               \
    mode_t mode;                                                                \
    va_start(args, flags);                                                      \
    mode = ((flags) & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0; \
    va_end(args);                                                               \
    return open_file(at, path, flags, mode)

int open(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD, path, flags);
}
int open64(const char *path, int flags, ...)
{
    OPEN_BODY(AT_FDCWD, path, flags);
}
int openat(int at, const char *path, int flags, ...)
{
    OPEN_BODY(at, path, flags);
}
int openat64(int at, const char *path, int flags, ...)
{
    OPEN_BODY(at, path, flags);
}

int close(int fd)
{
    if (fd >= 0 && fd < MAX_FDS)
        fd_path[fd][0] = '\0';
    return (int)syscall(SYS_close, fd);
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset)
{
    int verdict;
    ssize_t count = -1;

    if (!watched_fd(fd))
        return syscall(SYS_pwrite64, fd, data, size, offset);
    verdict = judge(FAULT_WRITE);
    if (verdict != 0)
        return refuse(verdict);
    if (fault_plan.kind == FAULT_SHORT && calls == fault_plan.at && size > 1)
        count = syscall(SYS_pwrite64, fd, data, size / 2, offset);
    if (count < 0)
        count = syscall(SYS_pwrite64, fd, data, size, offset);
    if (count > 0)
        record(FAULT_WRITE, fd_path[fd], (uint64_t)offset, data, (uint64_t)count);
    return count;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return write_at(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return write_at(fd, data, size, offset);
}

static ssize_t read_at(int fd, void *data, size_t size, off_t offset)
{
    if (watched_fd(fd) && ++reads == fault_plan.read_at) {
        if (fault_plan.kind == FAULT_EIO)
            return refuse(EIO);
        if (fault_plan.kind == FAULT_EINTR)
            return refuse(EINTR);
        if (fault_plan.kind == FAULT_SHORT && size > 1)
            size /= 2;
    }
    return syscall(SYS_pread64, fd, data, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return read_at(fd, data, size, offset);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    return read_at(fd, data, size, offset);
}

static int truncate_to(int fd, off_t size)
{
    int verdict = watched_fd(fd) ? judge(FAULT_TRUNCATE) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched_fd(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    return (int)finish(syscall(SYS_ftruncate, fd, size), FAULT_TRUNCATE, fd_path[fd],
                       (uint64_t)size, NULL, 0);
}

int ftruncate(int fd, off_t size)
{
    return truncate_to(fd, size);
}
int ftruncate64(int fd, off64_t size)
{
    return truncate_to(fd, size);
}

static int allocate(int fd, int mode, off_t offset, off_t size)
{
    int verdict = watched_fd(fd) ? judge(FAULT_ALLOCATE) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched_fd(fd))
        return (int)syscall(SYS_fallocate, fd, mode, offset, size);
    return (int)finish(syscall(SYS_fallocate, fd, mode, offset, size), FAULT_ALLOCATE, fd_path[fd],
                       (uint64_t)(offset + size), NULL, 0);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return allocate(fd, mode, offset, size);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
    return allocate(fd, mode, offset, size);
}

int fsync(int fd)
{
    int verdict = watched_fd(fd) ? judge(FAULT_SYNC) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched_fd(fd))
        return (int)syscall(SYS_fsync, fd);
    return (int)finish(syscall(SYS_fsync, fd), FAULT_SYNC, fd_path[fd], 0, NULL, 0);
}

int mkdir(const char *path, mode_t mode)
{
    int verdict = watched(path) ? judge(FAULT_MKDIR) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched(path))
        return (int)syscall(SYS_mkdir, path, mode);
    return (int)finish(syscall(SYS_mkdir, path, mode), FAULT_MKDIR, path, 0, NULL, 0);
}

int rename(const char *from, const char *to)
{
    int verdict = watched(from) ? judge(FAULT_RENAME) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched(from))
        return (int)syscall(SYS_rename, from, to);
    return (int)finish(syscall(SYS_rename, from, to), FAULT_RENAME, from, 0, to, strlen(to) + 1);
}

int unlink(const char *path)
{
    int verdict = watched(path) ? judge(FAULT_UNLINK) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched(path))
        return (int)syscall(SYS_unlink, path);
    return (int)finish(syscall(SYS_unlink, path), FAULT_UNLINK, path, 0, NULL, 0);
}

int rmdir(const char *path)
{
    int verdict = watched(path) ? judge(FAULT_RMDIR) : 0;

    if (verdict != 0)
        return refuse(verdict);
    if (!watched(path))
        return (int)syscall(SYS_rmdir, path);
    return (int)finish(syscall(SYS_rmdir, path), FAULT_RMDIR, path, 0, NULL, 0);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name,*-valist.Uninitialized) */
