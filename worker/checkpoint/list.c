/* What is in a checkpoint directory, newest history first. */
#include "worker/checkpoint/disk.h"
#include "worker/checkpoint/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *checkpoint_status_text(enum checkpoint_status status)
{
    switch (status) {
    case CHECKPOINT_COMMITTED:
        return "committed";
    case CHECKPOINT_INCOMPLETE:
        return "incomplete";
    case CHECKPOINT_REJECTED:
        return "rejected";
    case CHECKPOINT_QUARANTINED:
        return "quarantined";
    }
    return "unknown";
}

int checkpoint_manifest_read(const char *root, const char *dirname, struct checkpoint_run *run,
                             struct rk_layout **layout, struct rk_why *why)
{
    struct manifest manifest;
    int rc = manifest_open(root, dirname, &manifest, why);

    if (rc != 0)
        return rc;
    *run = manifest.run;
    if (layout != NULL) {
        *layout = manifest.layout;
        manifest.layout = NULL;
    }
    parts_done(&manifest);
    return 0;
}

static void describe_committed(struct checkpoint_info *info, const struct manifest *manifest)
{
    info->status = CHECKPOINT_COMMITTED;
    info->writers = manifest->shard_count;
    info->run = manifest->run;
    for (uint32_t f = 0; f < manifest->shard_count; f++)
        info->bytes += manifest->shard[f].size;
}

/* RK_ENOMEM, when it should not pass for damage; else 0. */
static int examine(const char *root, struct checkpoint_info *info)
{
    struct manifest manifest;
    struct rk_why why = {.text = ""};
    int rc = manifest_open(root, info->dirname, &manifest, &why);

    if (rc == RK_ENOMEM)
        return rc;
    if (rc == RK_ENOENT) {
        info->status = CHECKPOINT_INCOMPLETE;
        snprintf(info->reason, sizeof info->reason, "no " PARTS_MANIFEST ": never committed");
        return 0;
    }
    if (rc == 0) {
        rc = manifest_check_files(root, info->dirname, &manifest, &why);
        if (rc == 0)
            describe_committed(info, &manifest);
        parts_done(&manifest);
    }
    if (rc != 0) {
        info->status = CHECKPOINT_REJECTED;
        info->code = rc;
        snprintf(info->reason, sizeof info->reason, "%.*s", (int)sizeof info->reason - 1, why.text);
    }
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct checkpoint_info *x = a;
    const struct checkpoint_info *y = b;

    if (x->epoch != y->epoch)
        return x->epoch > y->epoch ? -1 : 1;
    if (x->step != y->step)
        return x->step > y->step ? -1 : 1;
    if (x->attempt != y->attempt)
        return x->attempt > y->attempt ? -1 : 1;
    return strcmp(x->dirname, y->dirname);
}

static int add_entry(const char *root, const char *name, struct checkpoint_list *list,
                     struct rk_why *why)
{
    struct checkpoint_info *grown;
    struct checkpoint_info *info;
    struct dirname parsed;
    int rc = 0;

    if (!parts_dirname(name, &parsed))
        return 0;
    grown = realloc(list->info, (list->count + 1) * sizeof *grown);
    if (grown == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory to list %s", root);
    list->info = grown;
    info = &grown[list->count++];
    *info = (struct checkpoint_info){
        .step = parsed.step, .epoch = parsed.epoch, .attempt = parsed.attempt};
    memcpy(info->dirname, name, strlen(name) + 1);
    if (parsed.bad) {
        info->status = CHECKPOINT_QUARANTINED;
        snprintf(info->reason, sizeof info->reason, "set aside because it was damaged");
    } else {
        rc = examine(root, info);
    }
    return rc == 0 ? 0 : rk_fail(why, rc, "no memory to list %s", root);
}

int checkpoint_list(const char *root, struct checkpoint_list *list, struct rk_why *why)
{
    struct dirent *entry;
    DIR *directory;
    int rc = 0;

    *list = (struct checkpoint_list){0};
    directory = opendir(root);
    if (directory == NULL)
        return rk_fail_errno(why, errno, "the checkpoint directory %s cannot be opened", root);
    errno = 0;
    while (rc == 0 && (entry = readdir(directory)) != NULL) {
        rc = add_entry(root, entry->d_name, list, why);
        errno = 0;
    }
    if (rc == 0 && errno != 0)
        rc = rk_fail_errno(why, errno, "the checkpoint directory %s cannot be read", root);
    closedir(directory);
    if (rc != 0)
        checkpoint_list_done(list);
    else if (list->count > 0)
        qsort(list->info, list->count, sizeof *list->info, newest_first);
    return rc;
}

void checkpoint_list_done(struct checkpoint_list *list)
{
    free(list->info);
    *list = (struct checkpoint_list){0};
}
