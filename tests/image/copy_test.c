/* Copying a bundle: what comes out, over what was there before, and what is refused. */
#include "k8s/image/copy.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    char folder[64];
    char source[96];
    char target[96];
    struct rk_why why;
};

static const char *in(const char *folder, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void put(const char *folder, const char *name, const char *text, mode_t mode)
{
    char path[256];
    FILE *file = fopen(in(folder, name, path), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect(const char *folder, const char *name, const char *text, mode_t mode)
{
    char path[256], got[256] = "";
    struct stat seen;
    FILE *file = fopen(in(folder, name, path), "r");

    assert_non_null(file);
    assert_true(fread(got, 1, sizeof got - 1, file) < sizeof got);
    fclose(file);
    assert_string_equal(got, text);
    assert_int_equal(stat(path, &seen), 0);
    assert_int_equal(seen.st_mode & 07777, mode);
}

static int is_there(const char *folder, const char *name)
{
    char path[256];
    struct stat seen;

    return lstat(in(folder, name, path), &seen) == 0;
}

/* A tree as a bundle is: a program, a folder with a library, a link to it. */
static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    char path[256];

    assert_non_null(scene);
    strcpy(scene->folder, "/tmp/copy_test.XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->source, sizeof scene->source, "%s/from", scene->folder);
    snprintf(scene->target, sizeof scene->target, "%s/to", scene->folder);
    assert_int_equal(mkdir(scene->source, 0755), 0);
    assert_int_equal(mkdir(scene->target, 0755), 0);
    assert_int_equal(mkdir(in(scene->source, "lib", path), 0755), 0);
    put(scene->source, "program", "run me", 0755);
    put(scene->source, "lib/one.so.1", "a library", 0644);
    assert_int_equal(symlink("one.so.1", in(scene->source, "lib/one.so", path)), 0);
    *state = scene;
    return 0;
}

static int unlink_one(const char *path, const struct stat *seen, int kind, struct FTW *where)
{
    (void)seen;
    (void)kind;
    (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    struct scene *scene = *state;

    nftw(scene->folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
    free(scene);
    return 0;
}

static void expect_copy(struct scene *scene)
{
    char path[256], target[64] = "";

    expect(scene->target, "program", "run me", 0755);
    expect(scene->target, "lib/one.so.1", "a library", 0644);
    assert_int_equal(readlink(in(scene->target, "lib/one.so", path), target, sizeof target), 8);
    assert_string_equal(target, "one.so.1");
    assert_false(is_there(scene->target, ".program.part"));
    assert_false(is_there(scene->target, "lib/.one.so.part"));
}

static void a_tree_is_copied_with_modes_and_links(void **state)
{
    struct scene *scene = *state;
    mode_t mask = umask(077);

    assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), 0);
    umask(mask);
    expect_copy(scene);
}

static void a_copy_cut_short_is_completed(void **state)
{
    struct scene *scene = *state;
    char path[256];

    put(scene->target, ".program.part", "run", 0600);
    assert_int_equal(mkdir(in(scene->target, "lib", path), 0700), 0);
    put(scene->target, "lib/one.so.1", "an older library, and a longer one", 0600);
    assert_int_equal(symlink("gone", in(scene->target, "lib/.one.so.part", path)), 0);
    put(scene->target, "stranger", "stays", 0640);
    for (int i = 0; i < 2; i++)
        assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), 0);
    expect_copy(scene);
    expect(scene->target, "stranger", "stays", 0640);
}

/* A program that runs keeps the file that it was started from. */
static void a_file_in_use_is_replaced_and_not_written(void **state)
{
    struct scene *scene = *state;
    char path[256], got[8] = "";
    int fd;

    put(scene->target, "program", "older", 0755);
    fd = open(in(scene->target, "program", path), O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), 0);
    assert_int_equal(read(fd, got, sizeof got), 5);
    close(fd);
    assert_memory_equal(got, "older", 5);
    expect_copy(scene);
}

/* A link that stands in the way is not followed out of the target. */
static void a_link_in_the_target_is_not_followed(void **state)
{
    struct scene *scene = *state;
    char path[256], outside[256];

    put(scene->folder, "outside", "not mine", 0644);
    in(scene->folder, "outside", outside);
    assert_int_equal(symlink(outside, in(scene->target, "program", path)), 0);
    assert_int_equal(symlink(outside, in(scene->target, ".program.part", path)), 0);
    assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), 0);
    expect_copy(scene);
    expect(scene->folder, "outside", "not mine", 0644);
}

static void what_cannot_be_copied_is_named(void **state)
{
    struct scene *scene = *state;
    char path[256];

    assert_int_equal(mkfifo(in(scene->source, "pipe", path), 0644), 0);
    assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), RK_EDATA);
    assert_non_null(strstr(scene->why.text, "/from/pipe is no file"));
}

static void a_file_in_the_place_of_a_folder_is_named(void **state)
{
    struct scene *scene = *state;

    put(scene->target, "lib", "in the way", 0644);
    assert_int_equal(copy_tree(scene->source, scene->target, &scene->why), RK_EEXIST);
    assert_non_null(strstr(scene->why.text, "/to/lib is in the way"));
}

static void trees_in_each_other_are_refused(void **state)
{
    struct scene *scene = *state;
    char path[256];

    assert_int_equal(copy_tree(scene->source, in(scene->source, "lib", path), &scene->why),
                     RK_EINVAL);
    assert_int_equal(copy_tree(in(scene->source, "lib", path), scene->source, &scene->why),
                     RK_EINVAL);
    assert_int_equal(copy_tree(scene->source, scene->source, &scene->why), RK_EINVAL);
    assert_int_equal(copy_tree(scene->source, in(scene->folder, "none", path), &scene->why),
                     RK_ENOENT);
    assert_int_equal(copy_tree(scene->source, in(scene->source, "program", path), &scene->why),
                     RK_EINVAL);
}

static void the_size_is_that_of_the_blocks(void **state)
{
    struct scene *scene = *state;
    struct copy_size size;

    assert_int_equal(copy_measure(scene->source, &size, &scene->why), 0);
    assert_int_equal(size.files, 4);
    assert_int_equal(size.bytes, 4 * 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tree_is_copied_with_modes_and_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_cut_short_is_completed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_use_is_replaced_and_not_written, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_link_in_the_target_is_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_copied_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_the_place_of_a_folder_is_named, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(trees_in_each_other_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_size_is_that_of_the_blocks, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
