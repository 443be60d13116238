/* Lock files; see lock.h. */
#include "launch/lock.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_STEP_MS 20
#define TRIES 10

static void read_holder(int fd, struct lock_holder *holder)
{
    char text[128] = "";
    ssize_t size = pread(fd, text, sizeof text - 1, 0);
    int pid = 0;

    memset(holder, 0, sizeof *holder);
    if (size > 0 && sscanf(text, "%d %79[^\n]", &pid, holder->who) >= 1)
        holder->pid = pid;
}

/* True when `path` is still the file that fd is: its holder may have removed it meanwhile. */
static bool same_file(int fd, const char *path)
{
    struct stat mine;
    struct stat theirs;

    return fstat(fd, &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino &&
           mine.st_dev == theirs.st_dev;
}

static int write_holder(int fd, const char *who)
{
    char text[128];
    int length = snprintf(text, sizeof text, "%d %s\n", (int)getpid(), who);

    if (ftruncate(fd, 0) != 0)
        return -1;
    return pwrite(fd, text, (size_t)length, 0) == length ? 0 : -1;
}

int lock_take(const char *path, const char *who, int *fd, struct lock_holder *holder,
              struct rk_why *why)
{
    for (int i = 0; i < TRIES; i++) {
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (file < 0)
            return rk_fail_errno(why, errno, "the lock %s cannot be opened", path);
        if (flock(file, LOCK_EX | LOCK_NB) != 0) {
            int error = errno;

            read_holder(file, holder);
            close(file);
            if (error != EWOULDBLOCK)
                return rk_fail_errno(why, error, "%s cannot be locked", path);
            return rk_fail(why, RK_EEXIST, "%s is held by process %d", path, (int)holder->pid);
        }
        if (same_file(file, path)) {
            if (write_holder(file, who) != 0) {
                int error = errno;

                close(file);
                return rk_fail_errno(why, error, "the lock %s cannot be written", path);
            }
            *fd = file;
            return 0;
        }
        close(file);
    }
    return rk_fail(why, RK_ENOENT, "the lock %s is removed again and again", path);
}

bool lock_held(const char *path, struct lock_holder *holder)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool held;

    if (fd < 0)
        return false;
    /* A shared try disturbs nobody for longer than these two calls. */
    held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    read_holder(fd, holder);
    close(fd);
    return held;
}

int lock_wait(int fd, int ms)
{
    uint64_t deadline = rk_clock_now() + (uint64_t)ms * RK_MS;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return RK_EIO;
        if (rk_clock_now() >= deadline)
            return RK_ETIMEDOUT;
        poll(NULL, 0, WAIT_STEP_MS);
    }
    return 0;
}
