/* See checkpoint_fixture.h. */
#include "tests/unit/checkpoint_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define require(holds, what) ((holds) ? (void)0 : give_up(what))

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "fixture: %s failed: %s\n", what, strerror(errno));
    abort();
}

void fixture_folder(char path[FIXTURE_PATH_SIZE])
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");

    snprintf(path, FIXTURE_PATH_SIZE, "%s/reknit-checkpoint-XXXXXX", base == NULL ? "/tmp" : base);
    require(mkdtemp(path) != NULL, "mkdtemp");
}

void fixture_folder_here(char path[FIXTURE_PATH_SIZE])
{
    snprintf(path, FIXTURE_PATH_SIZE, "./reknit-checkpoint-XXXXXX");
    require(mkdtemp(path) != NULL, "mkdtemp");
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void fixture_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    struct stat status;

    require(in >= 0 && out >= 0 && fstat(in, &status) == 0, "opening a copy");
    if (status.st_size > 0) {
        char *data = malloc((size_t)status.st_size);

        require(data != NULL && read(in, data, (size_t)status.st_size) == status.st_size &&
                    write(out, data, (size_t)status.st_size) == status.st_size,
                "copying");
        free(data);
    }
    close(in);
    close(out);
}

void fixture_copy(const char *from, const char *to)
{
    DIR *directory = opendir(from);
    struct dirent *entry;

    require(directory != NULL, "opendir");
    require(mkdir(to, 0777) == 0 || errno == EEXIST, "mkdir");
    while ((entry = readdir(directory)) != NULL) {
        char a[2 * FIXTURE_PATH_SIZE];
        char b[2 * FIXTURE_PATH_SIZE];
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(a, sizeof a, "%s/%s", from, entry->d_name);
        snprintf(b, sizeof b, "%s/%s", to, entry->d_name);
        require(stat(a, &status) == 0, "stat");
        if (S_ISDIR(status.st_mode))
            fixture_copy(a, b);
        else
            copy_file(a, b);
    }
    closedir(directory);
}

static void add(struct rk_layout **layout, enum rk_tensor_kind kind, const char *name,
                uint32_t dtype, uint32_t ndim, const uint64_t *shape)
{
    struct rk_why why;

    if (rk_layout_add(layout, kind, name, dtype, ndim, shape, &why) == 0)
        return;
    fprintf(stderr, "fixture: %s\n", why.text);
    abort();
}

struct rk_layout *fixture_layout(uint64_t seed, bool large)
{
    struct rk_layout *layout = rk_layout_new(seed, 32);

    require(layout != NULL, "a layout");
    add(&layout, RK_TENSOR_STATE, "empty.first", 1, 2, (uint64_t[]){0, 7});
    add(&layout, RK_TENSOR_STATE, "step", 6, 0, NULL);
    add(&layout, RK_TENSOR_STATE, "layer/0/weight", 1, 2, (uint64_t[]){37, 113});
    add(&layout, RK_TENSOR_STATE, "layer", 1, 1, (uint64_t[]){1});
    add(&layout, RK_TENSOR_STATE, "odd", 5, 3, (uint64_t[]){3, 5, 1237});
    add(&layout, RK_TENSOR_STATE, "doubles", 2, 1, (uint64_t[]){8191});
    add(&layout, RK_TENSOR_STATE, "empty.middle", 4, 1, (uint64_t[]){0});
    add(&layout, RK_TENSOR_STATE, ".", 3, 4, (uint64_t[]){1, 3, 1, 5});
    add(&layout, RK_TENSOR_STATE, "100%", 4, 1, (uint64_t[]){513});
    if (large)
        add(&layout, RK_TENSOR_STATE, "large", 1, 1, (uint64_t[]){2500001});
    add(&layout, RK_TENSOR_GRADIENT, "layer/0/weight", 1, 1, (uint64_t[]){37 * 113});
    add(&layout, RK_TENSOR_STATE, "empty.last", 5, 3, (uint64_t[]){2, 0, 2});
    add(&layout, RK_TENSOR_STATE, "half", 7, 1, (uint64_t[]){4099});
    add(&layout, RK_TENSOR_STATE, "brain", 8, 2, (uint64_t[]){11, 13});
    return layout;
}

struct rk_layout *fixture_small_layout(void)
{
    struct rk_layout *layout = rk_layout_new(3, 8);

    require(layout != NULL, "a layout");
    add(&layout, RK_TENSOR_STATE, "w", 1, 2, (uint64_t[]){3, 11});
    add(&layout, RK_TENSOR_STATE, "step", 6, 0, NULL);
    add(&layout, RK_TENSOR_STATE, "m", 5, 1, (uint64_t[]){4500});
    return layout;
}

char *fixture_state(const struct rk_layout *layout, uint64_t salt)
{
    size_t size = layout->state_bytes == 0 ? RK_LAYOUT_ALIGN : (size_t)layout->state_bytes;
    char *state = aligned_alloc(RK_LAYOUT_ALIGN, size);

    require(state != NULL, "a state");
    memset(state, 0, size);
    for (uint32_t t = 0; t < layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &layout->tensor[t];

        for (uint64_t i = 0; tensor->kind == RK_TENSOR_STATE && i < tensor->bytes; i++) {
            uint64_t mixed = (salt + tensor->offset + i + 1) * UINT64_C(0x9e3779b97f4a7c15);

            state[tensor->offset + i] = (char)(mixed >> 56);
        }
    }
    return state;
}

struct checkpoint_run fixture_run(const struct rk_layout *layout, uint64_t step, uint32_t epoch)
{
    return (struct checkpoint_run){.job = "fixture",
                                   .step = step,
                                   .epoch = epoch,
                                   .seed = layout->seed,
                                   .batch = layout->batch,
                                   .shards = 8,
                                   .world = 4,
                                   .reduction = "exact",
                                   .wall = UINT64_C(1795447336123456789)};
}

int fixture_save(const char *root, const struct rk_layout *layout, const void *state, uint64_t step,
                 uint32_t epoch, uint32_t writers, char *dirname, struct rk_why *why)
{
    struct checkpoint_run run = fixture_run(layout, step, epoch);
    struct checkpoint_report reports[16] = {{0}};
    int rc = checkpoint_begin(root, step, epoch, 1, layout->state_bytes, dirname, why);

    require(writers <= 16, "fixture_save with that many writers");
    for (uint32_t w = 0; w < writers && rc == 0; w++)
        rc = checkpoint_write_shard(root, dirname, w, writers, layout, state, &reports[w], why);
    if (rc == 0)
        rc = checkpoint_commit(root, dirname, &run, reports, writers, why);
    for (uint32_t w = 0; w < writers; w++)
        checkpoint_report_done(&reports[w]);
    return rc;
}

int64_t fixture_load_newest(const char *root, const struct rk_layout *layout, void *state)
{
    struct checkpoint_list list;
    int64_t step = -1;

    if (checkpoint_list(root, &list, NULL) != 0)
        return -1;
    for (size_t i = 0; i < list.count && step < 0; i++)
        if (list.info[i].status == CHECKPOINT_COMMITTED &&
            checkpoint_load(root, list.info[i].dirname, layout, state, layout->state_bytes, NULL) ==
                0)
            step = (int64_t)list.info[i].step;
    checkpoint_list_done(&list);
    return step;
}
