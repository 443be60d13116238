/* Copying a tree file by file; see copy.h. */
#include "k8s/image/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define BLOCK 4096ul
#define PIECE 262144u
#define DEPTH_MAX 32u /* of folders in folders: a bundle has 3 */

/* One walk.  `from` and `to` are the paths where it is; they grow and shrink with it. */
struct walk {
    char from[PATH_MAX];
    char to[PATH_MAX]; /* empty when the tree is only measured */
    char *piece;       /* PIECE bytes for reading and writing */
    struct copy_size size;
    struct rk_why *why;
};

/* ---- paths ----------------------------------------------------------------------------------- */

static int path_add(char path[PATH_MAX], const char *prefix, const char *name, const char *suffix,
                    struct rk_why *why)
{
    size_t length = strlen(path);
    int added = snprintf(path + length, PATH_MAX - length, "/%s%s%s", prefix, name, suffix);

    if (added > 0 && (size_t)added < PATH_MAX - length)
        return 0;
    path[length] = '\0';
    return rk_fail(why, RK_EINVAL, "the path %.200s/%.200s is longer than %d bytes", path, name,
                   PATH_MAX);
}

/* "DIR/NAME" as "DIR/.NAME.part". */
static int part_of(const char *path, char part[PATH_MAX], struct rk_why *why)
{
    const char *slash = strrchr(path, '/');

    memcpy(part, path, (size_t)(slash - path));
    part[slash - path] = '\0';
    return path_add(part, ".", slash + 1, ".part", why);
}

static bool is_inside(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    if (strcmp(folder, "/") == 0)
        return true;
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* ---- one thing ------------------------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(fd, data, length);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        data += wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

static int copy_bytes(struct walk *walk, int from, int to)
{
    for (;;) {
        ssize_t got = read(from, walk->piece, PIECE);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return rk_fail_errno(walk->why, errno, "cannot read %s", walk->from);
        if (got == 0)
            return 0;
        if (write_all(to, walk->piece, (size_t)got) != 0)
            return rk_fail_errno(walk->why, errno, "cannot write %s", walk->to);
    }
}

/* The mode is set apart from open, which takes the caller's umask off. */
static int fill_part(struct walk *walk, const char *part, mode_t mode)
{
    int from = open(walk->from, O_RDONLY | O_CLOEXEC);
    int to;
    int rc;

    if (from < 0)
        return rk_fail_errno(walk->why, errno, "cannot open %s", walk->from);
    unlink(part);
    to = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0) {
        rc = rk_fail_errno(walk->why, errno, "cannot make %s", part);
        close(from);
        return rc;
    }
    rc = copy_bytes(walk, from, to);
    close(from);
    if (rc == 0 && fchmod(to, mode & 0777) != 0)
        rc = rk_fail_errno(walk->why, errno, "cannot set the mode of %s", part);
    if (close(to) != 0 && rc == 0)
        rc = rk_fail_errno(walk->why, errno, "cannot write %s", part);
    return rc;
}

static int link_part(struct walk *walk, const char *part)
{
    char text[PATH_MAX];
    ssize_t length = readlink(walk->from, text, sizeof text - 1);

    if (length < 0)
        return rk_fail_errno(walk->why, errno, "cannot read the link %s", walk->from);
    text[length] = '\0';
    unlink(part);
    if (symlink(text, part) != 0)
        return rk_fail_errno(walk->why, errno, "cannot make the link %s", part);
    return 0;
}

/* A file or a link takes its name as the last thing. */
static int copy_leaf(struct walk *walk, const struct stat *seen)
{
    char part[PATH_MAX];
    int rc = part_of(walk->to, part, walk->why);

    if (rc != 0)
        return rc;
    rc = S_ISLNK(seen->st_mode) ? link_part(walk, part) : fill_part(walk, part, seen->st_mode);
    if (rc == 0 && rename(part, walk->to) != 0)
        rc = rk_fail_errno(walk->why, errno, "cannot give %s its name", walk->to);
    if (rc != 0)
        unlink(part);
    return rc;
}

static int copy_folder(struct walk *walk, mode_t mode)
{
    struct stat there;

    if (mkdir(walk->to, 0700) == 0) {
        if (chmod(walk->to, mode & 0777) == 0)
            return 0;
        return rk_fail_errno(walk->why, errno, "cannot set the mode of %s", walk->to);
    }
    if (errno != EEXIST)
        return rk_fail_errno(walk->why, errno, "cannot make the folder %s", walk->to);
    if (lstat(walk->to, &there) != 0 || !S_ISDIR(there.st_mode))
        return rk_fail(walk->why, RK_EEXIST, "%s is in the way: it is no folder", walk->to);
    if ((there.st_mode & 0777) != (mode & 0777) && chmod(walk->to, mode & 0777) != 0)
        return rk_fail_errno(walk->why, errno, "cannot set the mode of %s", walk->to);
    return 0;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int walk_folder(struct walk *walk, unsigned depth);

static int walk_thing(struct walk *walk, unsigned depth)
{
    struct stat seen;
    bool copies = walk->to[0] != '\0';
    int rc = 0;

    if (lstat(walk->from, &seen) != 0)
        return rk_fail_errno(walk->why, errno, "cannot look at %s", walk->from);
    if (!S_ISDIR(seen.st_mode) && !S_ISREG(seen.st_mode) && !S_ISLNK(seen.st_mode))
        return rk_fail(walk->why, RK_EDATA, "%s is no file, folder or link", walk->from);
    walk->size.files++;
    walk->size.bytes +=
        S_ISREG(seen.st_mode) ? ((uint64_t)seen.st_size + BLOCK - 1) / BLOCK * BLOCK : BLOCK;
    if (!S_ISDIR(seen.st_mode))
        return copies ? copy_leaf(walk, &seen) : 0;
    if (copies)
        rc = copy_folder(walk, seen.st_mode);
    return rc == 0 ? walk_folder(walk, depth + 1) : rc;
}

/* Steps into one entry of the folder and back. */
static int walk_entry(struct walk *walk, const char *name, unsigned depth)
{
    size_t from = strlen(walk->from);
    size_t to = strlen(walk->to);
    int rc = path_add(walk->from, "", name, "", walk->why);

    if (rc == 0 && to > 0)
        rc = path_add(walk->to, "", name, "", walk->why);
    if (rc == 0)
        rc = walk_thing(walk, depth);
    walk->from[from] = '\0';
    walk->to[to] = '\0';
    return rc;
}

static int walk_folder(struct walk *walk, unsigned depth)
{
    struct dirent *entry = NULL;
    DIR *folder;
    int rc = 0;

    if (depth > DEPTH_MAX)
        return rk_fail(walk->why, RK_EDATA, "%s lies deeper than %u folders", walk->from,
                       DEPTH_MAX);
    folder = opendir(walk->from);
    if (folder == NULL)
        return rk_fail_errno(walk->why, errno, "cannot open the folder %s", walk->from);
    do {
        errno = 0;
        entry = readdir(folder);
        if (entry == NULL && errno != 0)
            rc = rk_fail_errno(walk->why, errno, "cannot read the folder %s", walk->from);
        else if (entry != NULL && strcmp(entry->d_name, ".") != 0 &&
                 strcmp(entry->d_name, "..") != 0)
            rc = walk_entry(walk, entry->d_name, depth);
    } while (rc == 0 && entry != NULL);
    closedir(folder);
    return rc;
}

/* ---- whole trees ----------------------------------------------------------------------------- */

int copy_measure(const char *source, struct copy_size *size, struct rk_why *why)
{
    struct walk walk = {.why = why};
    int rc;

    *size = (struct copy_size){.files = 0};
    if (realpath(source, walk.from) == NULL)
        return rk_fail_errno(why, errno, "cannot find %s", source);
    rc = walk_folder(&walk, 0);
    if (rc == 0)
        *size = walk.size;
    return rc;
}

/* The sentence of a full disk says what would be enough. */
static int explain_space(const char *source, const char *target, struct rk_why *why)
{
    struct copy_size size;
    struct statvfs disk;
    int rc = copy_measure(source, &size, why);

    if (rc != 0)
        return rc;
    if (statvfs(target, &disk) != 0)
        return rk_fail_errno(why, errno, "cannot look at the disk of %s", target);
    return rk_fail(why, RK_ENOSPC,
                   "no space in %.200s: %" PRIu64 " bytes are needed for %" PRIu64
                   " files, %" PRIu64 " are free; raise the volume's sizeLimit, or the "
                   "ephemeral-storage of the pod or its node",
                   target, size.bytes, size.files, (uint64_t)disk.f_bavail * disk.f_frsize);
}

static int find_ends(const char *source, const char *target, struct walk *walk)
{
    struct stat seen;

    if (realpath(source, walk->from) == NULL)
        return rk_fail_errno(walk->why, errno, "cannot find %s", source);
    if (realpath(target, walk->to) == NULL)
        return rk_fail_errno(walk->why, errno, "cannot find %s; mount an emptyDir there", target);
    if (stat(walk->to, &seen) != 0 || !S_ISDIR(seen.st_mode))
        return rk_fail(walk->why, RK_EINVAL, "%s is no folder; mount an emptyDir there", target);
    if (is_inside(walk->to, walk->from) || is_inside(walk->from, walk->to))
        return rk_fail(walk->why, RK_EINVAL, "%.200s and %.200s lie in each other", source, target);
    return 0;
}

int copy_tree(const char *source, const char *target, struct rk_why *why)
{
    struct walk walk = {.why = why};
    int rc = find_ends(source, target, &walk);

    if (rc != 0)
        return rc;
    walk.piece = malloc(PIECE);
    if (walk.piece == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for copying: %u bytes", PIECE);
    rc = walk_folder(&walk, 0);
    free(walk.piece);
    return rc == RK_ENOSPC ? explain_space(source, target, why) : rc;
}
