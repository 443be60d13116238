/* Damage to a checkpoint at rest: every single bit of every file, truncation, files that are
 * missing or come from elsewhere.  Each is found, or makes no difference; a state that loads is the
 * state that was saved. */
#include "tests/unit/checkpoint_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define WRITERS 2u

/* Sanitizers look at the code, not at the bits: a part of them is enough there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BIT_STEP 13
#else
#define BIT_STEP 1
#endif

static char root[FIXTURE_PATH_SIZE];
static char dirname[CHECKPOINT_DIRNAME_SIZE];
static struct rk_layout *layout;
static char *saved;
static char *loaded;
static const char *const names[] = {"MANIFEST", "shard-00000-of-00002.h5",
                                    "shard-00001-of-00002.h5"};

static int setup(void **state)
{
    (void)state;
    fixture_folder(root);
    layout = fixture_small_layout();
    saved = fixture_state(layout, 1);
    loaded = fixture_state(layout, 2);
    return fixture_save(root, layout, saved, 10, 1, WRITERS, dirname, NULL);
}

static int teardown(void **state)
{
    (void)state;
    free(saved);
    free(loaded);
    rk_layout_free(layout);
    fixture_remove(root);
    return 0;
}

static int open_part(const char *name, size_t *size)
{
    char path[2 * FIXTURE_PATH_SIZE];
    struct stat status;
    int fd;

    snprintf(path, sizeof path, "%s/%s/%s", root, dirname, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    *size = (size_t)status.st_size;
    return fd;
}

/* True when the damage was found; fails the test when a wrong state was loaded. */
static bool load_finds_it(void)
{
    struct rk_why why = {.text = ""};
    int rc;

    memset(loaded, 0x5a, layout->state_bytes);
    rc = checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why);
    if (rc == 0) {
        assert_memory_equal(loaded, saved, layout->state_bytes);
        return false;
    }
    if ((rc != RK_EDATA && rc != RK_EVERSION) || why.text[0] == '\0')
        fail_msg("code %d, \"%s\"", rc, why.text);
    return true;
}

static void every_bit_of(const char *name, bool all_must_be_found)
{
    size_t size;
    size_t found = 0;
    int fd = open_part(name, &size);
    unsigned char *bytes = malloc(size);

    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    for (size_t bit = 0; bit < 8 * size; bit += BIT_STEP) {
        unsigned char changed = (unsigned char)(bytes[bit / 8] ^ (1u << (bit % 8)));

        assert_int_equal(pwrite(fd, &changed, 1, (off_t)(bit / 8)), 1);
        if (load_finds_it())
            found++;
        else if (all_must_be_found)
            fail_msg("bit %zu of %s changed and nobody saw", bit, name);
        else if (bit % 8 == 0 && checkpoint_verify(root, dirname, NULL) == 0)
            fail_msg("verify does not see bit %zu of %s", bit, name);
        assert_int_equal(pwrite(fd, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    assert_true(found > 0);
    assert_false(load_finds_it());
    free(bytes);
    close(fd);
}

static void every_bit_of_the_manifest_counts(void **state)
{
    (void)state;
    every_bit_of(names[0], true);
}

static void every_bit_of_the_shards_is_found_or_harmless(void **state)
{
    (void)state;
    every_bit_of(names[1], false);
    every_bit_of(names[2], false);
}

static void truncation_is_found(void **state)
{
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        size_t size;
        int fd = open_part(names[n], &size);
        char *bytes = malloc(size);

        assert_non_null(bytes);
        assert_int_equal(pread(fd, bytes, size, 0), size);
        for (size_t cut = 0; cut < size; cut += n == 0 ? 1 : 512) {
            assert_int_equal(ftruncate(fd, (off_t)cut), 0);
            assert_true(load_finds_it());
            assert_int_equal(pwrite(fd, bytes, size, 0), size);
        }
        assert_int_equal(ftruncate(fd, (off_t)size + 1), 0);
        assert_true(load_finds_it());
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_false(load_finds_it());
        free(bytes);
        close(fd);
    }
}

static void part_path(char path[2 * FIXTURE_PATH_SIZE], const char *directory, const char *name)
{
    snprintf(path, 2 * FIXTURE_PATH_SIZE, "%s/%s/%s", root, directory, name);
}

static void a_missing_file_is_named(void **state)
{
    struct rk_why why = {.text = ""};
    char path[2 * FIXTURE_PATH_SIZE];

    (void)state;
    part_path(path, dirname, names[2]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why),
                     RK_EDATA);
    assert_non_null(strstr(why.text, names[2]));
    part_path(path, dirname, names[0]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why),
                     RK_ENOENT);
}

static void shards_that_changed_places_are_found(void **state)
{
    char a[2 * FIXTURE_PATH_SIZE];
    char b[2 * FIXTURE_PATH_SIZE];
    char c[2 * FIXTURE_PATH_SIZE];

    (void)state;
    part_path(a, dirname, names[1]);
    part_path(b, dirname, names[2]);
    part_path(c, dirname, "c");
    assert_int_equal(rename(a, c), 0);
    assert_int_equal(rename(b, a), 0);
    assert_int_equal(rename(c, b), 0);
    assert_true(load_finds_it());
}

static void files_of_another_step_are_found(void **state)
{
    char other[CHECKPOINT_DIRNAME_SIZE];
    char *newer = fixture_state(layout, 3);
    struct rk_why why = {.text = ""};
    char from[2 * FIXTURE_PATH_SIZE];
    char to[2 * FIXTURE_PATH_SIZE];

    (void)state;
    assert_int_equal(fixture_save(root, layout, newer, 20, 1, WRITERS, other, NULL), 0);
    part_path(from, other, names[1]);
    part_path(to, dirname, names[1]);
    assert_int_equal(rename(from, to), 0);
    assert_true(load_finds_it());
    assert_int_equal(fixture_save(root, layout, newer, 30, 1, WRITERS, other, NULL), 0);
    for (size_t n = 0; n < 3; n++) {
        part_path(from, other, names[n]);
        part_path(to, dirname, names[n]);
        assert_int_equal(rename(from, to), 0);
    }
    assert_int_equal(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why),
                     RK_EDATA);
    assert_non_null(strstr(why.text, "moved here from elsewhere"));
    free(newer);
}

static void damage_is_named_with_file_tensor_and_offset(void **state)
{
    struct rk_why why = {.text = ""};
    size_t size;
    int fd = open_part(names[2], &size);

    (void)state;
    assert_int_equal(pwrite(fd, "\xff\x00\xff", 3, (off_t)size - 4096), 3);
    close(fd);
    assert_int_equal(checkpoint_load(root, dirname, layout, loaded, layout->state_bytes, &why),
                     RK_EDATA);
    assert_non_null(strstr(why.text, names[2]));
    assert_non_null(strstr(why.text, "tensor m"));
    assert_non_null(strstr(why.text, "offset"));
}

#define DAMAGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DAMAGED(every_bit_of_the_manifest_counts),
        DAMAGED(every_bit_of_the_shards_is_found_or_harmless),
        DAMAGED(truncation_is_found),
        DAMAGED(a_missing_file_is_named),
        DAMAGED(shards_that_changed_places_are_found),
        DAMAGED(files_of_another_step_are_found),
        DAMAGED(damage_is_named_with_file_tensor_and_offset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
