/* A power cut at every point of a save and of the clean-up after it, on a disk that keeps only what
 * was fsynced and the rest by chance (disk_model.h): in each state the reader finds the old
 * checkpoint or the new one, to the bit, and the new one if its commit was announced.
 *
 *   checkpoint_crash_test [STATES PER POINT [SEEDS]]      more than CI has time for */
#include "tests/chaos/disk_model.h"
#include "tests/unit/checkpoint_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LOG_BYTES ((size_t)64 << 20)
#define MAX_SEEN (1u << 22) /* a power of two */

struct result {
    size_t states; /* distinct ones that were read */
    size_t unloadable;
    size_t corrupt;   /* loaded, but neither old nor new */
    size_t forgotten; /* announced, but the old one is the newest */
    size_t rejected;  /* looks committed, but is not: a writer, or the clean-up, took a short cut */
};

static size_t per_point = 120;
static size_t seeds = 3;
static char base[FIXTURE_PATH_SIZE];
static char root[2 * FIXTURE_PATH_SIZE];
static char after[2 * FIXTURE_PATH_SIZE];
static struct rk_layout *layout;
static char *state_of[3];
static char *loaded;
static struct fault_log *log_of_save;
static uint64_t *seen;

static int setup(void **state)
{
    char dirname[CHECKPOINT_DIRNAME_SIZE];

    (void)state;
    fixture_folder(base);
    snprintf(root, sizeof root, "%s/root", base);
    snprintf(after, sizeof after, "%s/after", base);
    layout = fixture_small_layout();
    for (uint64_t i = 0; i < 3; i++)
        state_of[i] = fixture_state(layout, i);
    loaded = fixture_state(layout, 9);
    log_of_save = fault_log_new(LOG_BYTES);
    seen = calloc(MAX_SEEN, sizeof *seen);
    if (log_of_save == NULL || seen == NULL ||
        fixture_save(root, layout, state_of[0], 10, 1, 2, dirname, NULL) != 0)
        return -1;
    return fixture_save(root, layout, state_of[1], 20, 1, 2, dirname, NULL);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        free(state_of[i]);
    free(loaded);
    free(seen);
    rk_layout_free(layout);
    fault_log_free(log_of_save);
    fixture_remove(base);
    return 0;
}

/* An attempt that a writer failed, given up; a second one, announced; the clean-up after it. */
static int save_and_clean(void)
{
    struct checkpoint_retention retention = {.keep = 2, .epoch = 2};
    struct checkpoint_report report = {0};
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    int rc = checkpoint_begin(root, 30, 2, 1, 0, dirname, NULL);

    if (rc == 0)
        rc = checkpoint_write_shard(root, dirname, 0, 2, layout, state_of[2], &report, NULL);
    checkpoint_report_done(&report);
    if (rc == 0)
        rc = checkpoint_discard(root, dirname, NULL);
    if (rc == 0)
        rc = fixture_save(root, layout, state_of[2], 30, 2, 2, dirname, NULL);
    if (rc == 0)
        fault_mark();
    return rc != 0 ? rc : checkpoint_retain(root, &retention, NULL, NULL);
}

static struct disk_model *record_save(enum disk_ignore ignore)
{
    struct disk_model *disk;
    char copy[3 * FIXTURE_PATH_SIZE];
    int status;
    pid_t pid;

    log_of_save->used = 0;
    snprintf(copy, sizeof copy, "%s.before", root);
    fixture_copy(root, copy);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fault_plan = (struct fault_plan){.root = root, .log = log_of_save};
        _exit(save_and_clean() == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    fixture_remove(root);
    assert_int_equal(rename(copy, root), 0);
    disk = disk_new(root, log_of_save, ignore);
    assert_int_equal(disk_marks(disk, disk_points(disk) - 1), 1);
    return disk;
}

static bool seen_before(uint64_t hash)
{
    size_t slot = (size_t)(hash ^ hash >> 32) & (MAX_SEEN - 1);

    hash = hash == 0 ? 1 : hash;
    for (; seen[slot] != 0; slot = (slot + 1) & (MAX_SEEN - 1))
        if (seen[slot] == hash)
            return true;
    seen[slot] = hash;
    return false;
}

static bool has_rejected(void)
{
    struct checkpoint_list list;
    bool found = false;

    if (checkpoint_list(after, &list, NULL) != 0)
        return false;
    for (size_t i = 0; i < list.count; i++)
        found = found || list.info[i].status == CHECKPOINT_REJECTED;
    checkpoint_list_done(&list);
    return found;
}

/* Reads the state that was decided on, unless it was read before. */
static void judge(struct disk_model *disk, size_t point, struct result *result)
{
    uint64_t hash = disk_build(disk) + disk_marks(disk, point);
    int64_t step;

    if (seen_before(hash))
        return;
    result->states++;
    assert_int_equal(mkdir(after, 0777), 0);
    disk_write_out(disk, after);
    step = fixture_load_newest(after, layout, loaded);
    result->rejected += has_rejected();
    fixture_remove(after);
    if (step != 10 && step != 20 && step != 30)
        result->unloadable++;
    else if (memcmp(loaded, state_of[step / 10 - 1], layout->state_bytes) != 0)
        result->corrupt++;
    else if (step == 10 || (step == 20 && disk_marks(disk, point) > 0))
        result->forgotten++;
}

static uint64_t next_random(uint64_t *random)
{
    uint64_t z = (*random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* All lost, all kept, each alone lost, each alone kept. */
static void corners(struct disk_model *disk, size_t point, size_t pending, struct result *result)
{
    for (size_t which = 0; which <= pending; which++)
        for (int others = DISK_LOST; others <= DISK_KEPT; others++) {
            for (size_t p = 0; p < pending; p++)
                disk_decide(disk, p, (enum disk_fate)(p == which ? !others : others), 0);
            judge(disk, point, result);
        }
}

static struct result replay(struct disk_model *disk, uint64_t seed)
{
    struct result result = {0};

    memset(seen, 0, MAX_SEEN * sizeof *seen);
    for (size_t point = 0; point < disk_points(disk); point++) {
        size_t pending = disk_crash(disk, point);
        uint64_t random = seed * UINT64_C(0xd1342543de82ef95) + point;

        corners(disk, point, pending, &result);
        for (size_t n = 0; n < per_point && pending > 0; n++) {
            for (size_t p = 0; p < pending; p++) {
                uint64_t draw = next_random(&random);

                disk_decide(disk, p, (enum disk_fate)(draw % 3), draw);
            }
            judge(disk, point, &result);
        }
    }
    return result;
}

static void any_power_cut_leaves_the_old_or_the_new(void **state)
{
    struct disk_model *disk = record_save(DISK_IGNORE_NOTHING);
    size_t states = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct result result = replay(disk, seed);

        print_message("seed %llu: %zu states at %zu crash points\n", (unsigned long long)seed,
                      result.states, disk_points(disk));
        assert_int_equal(result.unloadable, 0);
        assert_int_equal(result.corrupt, 0);
        assert_int_equal(result.forgotten, 0);
        assert_int_equal(result.rejected, 0);
        states += result.states;
    }
    assert_true(states >= 500 * seeds);
    disk_free(disk);
}

/* The same replay must fail when fsyncs do nothing: else it could not have failed above. */
static void the_replay_sees_missing_directory_fsyncs(void **state)
{
    struct disk_model *disk = record_save(DISK_IGNORE_DIRECTORY_SYNC);
    struct result result;

    (void)state;
    result = replay(disk, 1);
    print_message("without directory fsyncs: %zu forgotten of %zu\n", result.forgotten,
                  result.states);
    assert_true(result.forgotten > 0);
    assert_int_equal(result.corrupt, 0);
    disk_free(disk);
}

static void without_any_fsync_checksums_still_keep_wrong_bits_out(void **state)
{
    struct disk_model *disk = record_save(DISK_IGNORE_ALL_SYNC);
    struct result result;

    (void)state;
    result = replay(disk, 1);
    print_message("without fsync: %zu forgotten, %zu unloadable of %zu\n", result.forgotten,
                  result.unloadable, result.states);
    assert_true(result.forgotten > 0);
    assert_int_equal(result.corrupt, 0);
    disk_free(disk);
}

#define CRASHING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CRASHING(any_power_cut_leaves_the_old_or_the_new),
        CRASHING(the_replay_sees_missing_directory_fsyncs),
        CRASHING(without_any_fsync_checksums_still_keep_wrong_bits_out),
    };

    if (argc > 1)
        per_point = (size_t)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seeds = (size_t)strtoul(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
