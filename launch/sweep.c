/* Removing folders safely; see sweep.h. */
#include "launch/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEEPEST 32
#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int empty_folder(int fd, dev_t device, const char *keep, int depth);

static int remove_entry(int folder, const char *name, dev_t device, int depth)
{
    struct stat status;
    int fd;
    int rc;

    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    fd = openat(folder, name, FOLDER);
    if (fd < 0)
        return -1;
    if (depth == 0 || fstat(fd, &status) != 0 || status.st_dev != device) {
        close(fd);
        return -1;
    }
    rc = empty_folder(fd, device, NULL, depth - 1); /* closes fd */
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 ? rc : -1;
}

/* Takes fd. */
static int empty_folder(int fd, dev_t device, const char *keep, int depth)
{
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    int rc = 0;

    if (folder == NULL) {
        close(fd);
        return -1;
    }
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        bool stays = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
                     (keep != NULL && strcmp(name, keep) == 0);

        if (!stays && remove_entry(dirfd(folder), name, device, depth) != 0)
            rc = -1;
    }
    closedir(folder);
    return rc;
}

int sweep_contents(const char *path, const char *keep)
{
    int fd = open(path, FOLDER);
    struct stat status;

    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    if (fstat(fd, &status) != 0 || status.st_uid != geteuid()) {
        close(fd);
        return -1;
    }
    return empty_folder(fd, status.st_dev, keep, DEEPEST);
}

void sweep_job(const char *path, const char *parent)
{
    int fd;

    if (sweep_contents(path, "lock") != 0)
        return;
    fd = open(path, FOLDER);
    if (fd < 0)
        return;
    unlinkat(fd, "lock", 0);
    close(fd);
    rmdir(path);
    if (parent != NULL)
        rmdir(parent);
}
