/* Removing what is old, setting aside what is damaged.
 *
 * The order is what counts: the manifest goes first and for good, so that a crash in between leaves
 * something that was plainly never committed. */
#include "worker/checkpoint/disk.h"
#include "worker/checkpoint/parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REMOVE_ROUNDS 3 /* a writer that was left behind may still add a file */

static int unlink_in(const char *root, const char *dirname, const char *name, struct rk_why *why)
{
    char path[DISK_PATH_SIZE];
    int rc = disk_path(path, root, dirname, name, why);

    if (rc != 0)
        return rc;
    if (unlink(path) != 0 && errno != ENOENT)
        return rk_fail_errno(why, errno, "%s cannot be removed", path);
    return 0;
}

static int empty_directory(const char *root, const char *dirname, const char *path,
                           struct rk_why *why)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    int rc = 0;

    if (directory == NULL)
        return errno == ENOENT ? 0 : rk_fail_errno(why, errno, "%s cannot be opened", path);
    while (rc == 0 && (entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = unlink_in(root, dirname, entry->d_name, why);
    closedir(directory);
    return rc;
}

int checkpoint_discard(const char *root, const char *dirname, struct rk_why *why)
{
    char path[DISK_PATH_SIZE];
    int rc = parts_dirname_check(dirname, why);

    if (rc == 0)
        rc = disk_path(path, root, dirname, NULL, why);
    if (rc != 0)
        return rc;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return 0;
    rc = unlink_in(root, dirname, PARTS_MANIFEST, why);
    if (rc == 0)
        rc = disk_sync_directory(path, why);
    for (int round = 0; rc == 0; round++) {
        rc = empty_directory(root, dirname, path, why);
        if (rc != 0 || rmdir(path) == 0 || errno == ENOENT)
            break;
        if ((errno != ENOTEMPTY && errno != EEXIST) || round == REMOVE_ROUNDS)
            rc = rk_fail_errno(why, errno, "%s cannot be removed", path);
    }
    return rc != 0 ? rc : disk_sync_directory(root, why);
}

int checkpoint_quarantine(const char *root, const char *dirname, struct rk_why *why)
{
    char from[DISK_PATH_SIZE];
    char to[DISK_PATH_SIZE];
    char name[2 * CHECKPOINT_DIRNAME_SIZE];
    struct dirname parsed;
    int rc = parts_dirname_check(dirname, why);

    if (rc == 0 && parts_dirname(dirname, &parsed) && parsed.bad)
        return 0;
    if (rc == 0)
        rc = disk_path(from, root, dirname, NULL, why);
    for (char suffix = '1'; rc == 0 && suffix <= '9'; suffix++) {
        snprintf(name, sizeof name, suffix == '1' ? "bad-%s" : "bad-%s.%c", dirname, suffix);
        rc = disk_path(to, root, name, NULL, why);
        if (rc == 0 && access(to, F_OK) != 0)
            break;
    }
    if (rc != 0)
        return rc;
    if (rename(from, to) != 0)
        return rk_fail_errno(why, errno, "%s cannot be set aside as %s", from, to);
    return disk_sync_directory(root, why);
}

static bool is_protected(const struct checkpoint_retention *retention, const char *dirname)
{
    for (size_t i = 0; i < retention->protect_count; i++)
        if (strcmp(retention->protect[i], dirname) == 0)
            return true;
    return false;
}

/* Marks what shall go: goes[i] for list->info[i]. */
static void choose(const char *root, const struct checkpoint_retention *retention,
                   const struct checkpoint_list *list, bool *goes)
{
    uint32_t keep = retention->keep == 0 ? 1 : retention->keep;
    uint32_t sound = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct checkpoint_info *info = &list->info[i];

        goes[i] = false;
        if (info->status == CHECKPOINT_INCOMPLETE)
            goes[i] = info->epoch < retention->epoch;
        else if (info->status == CHECKPOINT_COMMITTED && sound >= keep)
            goes[i] = true;
        else if (info->status == CHECKPOINT_COMMITTED &&
                 (!retention->verify || checkpoint_verify(root, info->dirname, NULL) == 0))
            sound++;
        goes[i] = goes[i] && !is_protected(retention, info->dirname);
    }
}

int checkpoint_retain(const char *root, const struct checkpoint_retention *retention,
                      uint32_t *removed, struct rk_why *why)
{
    struct checkpoint_list list;
    uint32_t count = 0;
    bool *goes;
    int rc = checkpoint_list(root, &list, why);

    if (removed != NULL)
        *removed = 0;
    if (rc != 0)
        return rc;
    goes = calloc(list.count + 1, sizeof *goes);
    if (goes == NULL)
        rc = rk_fail(why, RK_ENOMEM, "no memory to list %s", root);
    else
        choose(root, retention, &list, goes);
    for (size_t i = list.count; goes != NULL && i-- > 0;) {
        struct rk_why first;
        int failed = goes[i] ? checkpoint_discard(root, list.info[i].dirname, &first) : 0;

        count += goes[i] && failed == 0;
        if (failed != 0 && rc == 0)
            rc = rk_fail(why, failed, "%s", first.text);
    }
    if (removed != NULL)
        *removed = count;
    free(goes);
    checkpoint_list_done(&list);
    return rc;
}
