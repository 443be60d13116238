/* The coordinator's record: the old one or the new one, and never a guess. */
#include "coordinator/record.h"

#include "coordinator/coordinator.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char path[128];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/rk-record-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/record", folder);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"record", "record.new", "record.lock"};
    char name[160];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", folder, names[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static size_t read_text(char text[8192])
{
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, text, 8192);

    close(fd);
    assert_true(size > 0);
    return (size_t)size;
}

static void write_text(const char *text, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, size), (ssize_t)size);
    close(fd);
}

static struct record full(void)
{
    struct record record;
    bool again;

    assert_int_equal(record_take(folder, "job", "run-a", 77, 11, 0, &record, &again, NULL), 0);
    record.core.generation = UINT64_C(1) << 39;
    record.core.best_step = 1000;
    record.core.committed_step = CORE_NONE;
    record.core.restart_age = UINT64_MAX;
    record.core.restarts[0] = 5;
    record.core.started = true;
    record.core.stop_signal = 15;
    assert_int_equal(record_write(folder, &record, true, NULL), 0);
    record.changes++;
    return record;
}

static void test_fresh_and_again(void **state)
{
    struct record record;
    struct record kept;
    bool again = true;

    (void)state;
    assert_int_equal(record_read(folder, &record, NULL), RK_ENOENT);
    assert_int_equal(record_take(folder, "job", "run-a", 77, 11, 0, &record, &again, NULL), 0);
    assert_false(again);
    assert_int_equal(record.core.epoch, 1);
    assert_true(record.core.committed_step == CORE_NONE);
    kept = full();
    assert_int_equal(kept.core.epoch, 2);
    assert_int_equal(record_take(folder, "job", "run-a", 99, 99, 0, &record, &again, NULL), 0);
    assert_true(again);
    assert_int_equal(record.core.epoch, 3);
    kept.core.epoch = 3;
    kept.changes++;
    assert_memory_equal(&record, &kept, sizeof record);
    /* epochs that others left to this one: what they counted since is not known here */
    assert_int_equal(record_take(folder, "job", "run-a", 1, 1, 4, &record, &again, NULL), 0);
    assert_int_equal(record.core.epoch, 4);
    assert_int_equal(record.core.launch_serial, kept.core.launch_serial);
    assert_int_equal(record_take(folder, "job", "run-a", 1, 1, 17, &record, &again, NULL), 0);
    assert_true(again);
    assert_int_equal(record.core.epoch, 17);
    assert_true(record.core.launch_serial >= kept.core.launch_serial + 1000);
}

/* Without names, so that a new member stops the build here until it is given a value too. */
static const struct core_record every_member = {
    1,                 /* epoch */
    2,                 /* generation */
    3,                 /* target_workers */
    UINT64_C(4) << 32, /* best_step */
    UINT64_C(5) << 32, /* committed_step */
    6,                 /* program_failures */
    7,                 /* restarts_total */
    UINT64_C(8) << 32, /* restart_age */
    {UINT32_MAX},      /* restarts */
    true,              /* started */
    true,              /* stopping */
    true,              /* joined */
    9,                 /* losses */
    10,                /* stop_signal */
    11,                /* launch_serial */
    12,                /* carrier_job */
    true,              /* over */
    15,                /* exit_code */
    16,                /* reason */
};

static void test_every_member(void **state)
{
    struct record record = full();
    struct record found;

    (void)state;
    memcpy(&record.core, &every_member, sizeof record.core);
    for (uint32_t i = 0; i < CORE_RESTART_BUCKETS; i++)
        record.core.restarts[i] = UINT32_MAX - i;
    record.started = 13;
    record.events_offset = 14;
    assert_int_equal(record_write(folder, &record, true, NULL), 0);
    record.changes++;
    assert_int_equal(record_read(folder, &found, NULL), 0);
    assert_memory_equal(&found, &record, sizeof found);
}

/* Another `reknit run`, or one after the end, starts anew, but never below an epoch that was.  A
 * coordinator that died after the end is followed by one that ends likewise. */
static void test_other_run(void **state)
{
    struct record record = full();
    bool again = true;

    (void)state;
    assert_int_equal(record_take(folder, "job", "run-b", 5, 6, 0, &record, &again, NULL), 0);
    assert_false(again);
    assert_int_equal(record.core.epoch, 2);
    assert_false(record.core.started);
    assert_true(record.started == 5 && record.events_offset == 6);
    record.core.over = true;
    record.core.exit_code = 3;
    assert_int_equal(record_write(folder, &record, false, NULL), 0);
    again = true;
    assert_int_equal(record_take(folder, "job", "run-b", 7, 8, 0, &record, &again, NULL), 0);
    assert_true(again);
    assert_true(record.core.over && record.core.exit_code == 3 && record.started == 5);
    again = false;
    assert_int_equal(record_take(folder, "job", "run-b", 7, 8, 0, &record, &again, NULL), 0);
    assert_false(again);
    assert_false(record.core.over);
    assert_int_equal(record.core.epoch, 4);
}

static void test_superseded(void **state)
{
    struct record old = full();
    struct record new;
    struct record found;
    bool again;

    (void)state;
    assert_int_equal(record_take(folder, "job", "run-a", 1, 1, 0, &new, &again, NULL), 0);
    old.core.generation = 3;
    assert_int_equal(record_write(folder, &old, true, NULL), RK_ESTALE);
    assert_int_equal(record_read(folder, &found, NULL), 0);
    assert_memory_equal(&found, &new, sizeof found);
}

static void expect_damaged(const char *text, size_t size)
{
    struct record record;
    struct rk_why why;
    bool again;

    write_text(text, size);
    assert_int_equal(record_read(folder, &record, &why), RK_EDATA);
    assert_non_null(strstr(why.text, "damaged"));
    assert_int_equal(record_take(folder, "job", "run-a", 1, 1, 0, &record, &again, NULL), RK_EDATA);
}

static void test_cut_anywhere(void **state)
{
    char text[8192];
    size_t size;

    (void)state;
    full();
    size = read_text(text);
    for (size_t cut = 0; cut < size; cut++)
        expect_damaged(text, cut);
}

static void test_flipped_anywhere(void **state)
{
    char text[8192];
    size_t size;

    (void)state;
    full();
    size = read_text(text);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)(text[i] ^ (1 << (i % 8)));
        expect_damaged(text, size);
        text[i] = (char)(text[i] ^ (1 << (i % 8)));
    }
    memset(text + size, 'x', sizeof text - size);
    expect_damaged(text, sizeof text);
}

/* A crash between the two leaves the new file beside the old record. */
static void test_torn(void **state)
{
    struct record kept = full();
    struct record found;
    char fresh[160];
    int fd;

    (void)state;
    snprintf(fresh, sizeof fresh, "%s/record.new", folder);
    fd = open(fresh, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "reknit-rec", 10), 10);
    close(fd);
    assert_int_equal(record_read(folder, &found, NULL), 0);
    assert_memory_equal(&found, &kept, sizeof found);
    assert_int_equal(record_write(folder, &kept, true, NULL), 0);
    assert_int_equal(access(fresh, F_OK), -1);
}

static struct record read_now(void)
{
    struct record record;

    assert_int_equal(record_read(folder, &record, NULL), 0);
    return record;
}

/* The younger of file and copy counts, and a damaged one never does. */
static void test_restored(void **state)
{
    struct record first = full();
    struct record second = first;
    struct record found;
    char before[8193] = "";
    char after[8193] = "";

    (void)state;
    read_text(before);
    second.core.generation++;
    assert_int_equal(record_write(folder, &second, false, NULL), 0);
    second.changes++;
    read_text(after);
    assert_int_equal(coordinator_restore(folder, before, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &second, sizeof found);
    write_text(before, strlen(before)); /* as the disk had it */
    assert_int_equal(coordinator_restore(folder, after, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &second, sizeof found);
    write_text(before, 40);
    assert_int_equal(coordinator_restore(folder, before, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &first, sizeof found);
    unlink(path);
    assert_int_equal(coordinator_restore(folder, after, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &second, sizeof found);
}

/* A higher epoch is younger than any number of changes. */
static void test_restored_by_epoch(void **state)
{
    struct record record = full();
    struct record later, found;
    char copy[8193] = "";
    bool again;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(record_write(folder, &record, false, NULL), 0);
    read_text(copy);
    unlink(path);
    assert_int_equal(record_take(folder, "job", "run-a", 1, 1, 9, &later, &again, NULL), 0);
    assert_int_equal(coordinator_restore(folder, copy, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &later, sizeof found);
}

static void test_restored_from_nothing(void **state)
{
    struct record record = full();
    struct record found;
    struct rk_why why;
    char text[8193] = "";

    (void)state;
    read_text(text);
    text[20] ^= 1;
    assert_int_equal(coordinator_restore(folder, text, NULL), 0);
    assert_int_equal(coordinator_restore(folder, "", NULL), 0);
    assert_int_equal(coordinator_restore(folder, NULL, NULL), 0);
    found = read_now();
    assert_memory_equal(&found, &record, sizeof found);
    write_text(text, strlen(text));
    assert_int_equal(coordinator_restore(folder, text, &why), RK_EDATA);
    assert_non_null(strstr(why.text, "copy"));
    assert_int_equal(coordinator_restore(folder, "", NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(coordinator_restore(folder, text, &why), RK_EDATA);
}

static void test_no_folder(void **state)
{
    struct record record;
    struct rk_why why;
    bool again;

    (void)state;
    assert_int_equal(record_take("/nowhere/at/all", "j", "r", 1, 1, 0, &record, &again, &why),
                     RK_ENOENT);
    assert_non_null(strstr(why.text, "/nowhere/at/all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fresh_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_member, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_superseded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cut_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_flipped_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restored_by_epoch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restored_from_nothing, set_up, tear_down),
        cmocka_unit_test(test_no_folder),
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
