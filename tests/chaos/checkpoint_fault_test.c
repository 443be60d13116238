/* Every call of a save and of a clean-up that changes the disk, killed before it or made to fail,
 * one at a time.  Afterwards a load gives the old state or the new one, to the bit; "committed" was
 * never said of something that is not there; and a second attempt of the same process works. */
#include "tests/chaos/fault_shim.h"
#include "tests/unit/checkpoint_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHILD_DONE = 0, CHILD_REFUSED = 1, CHILD_RETRY_FAILED = 2, CHILD_KILLED = 3 };

struct scenario {
    const char *name;
    int (*run)(const char *root); /* what is under test; an rk_error code */
    bool saves;                   /* step 30 is there afterwards */
};

static char base[FIXTURE_PATH_SIZE];
static char original[2 * FIXTURE_PATH_SIZE];
static char root[2 * FIXTURE_PATH_SIZE];
static struct rk_layout *layout;
static char *state_of[3]; /* of the steps 10, 20 and 30 */
static char *loaded;
static struct fault_log *calls;

static int setup(void **state)
{
    char dirname[CHECKPOINT_DIRNAME_SIZE];

    (void)state;
    fixture_folder(base);
    snprintf(original, sizeof original, "%s/original", base);
    snprintf(root, sizeof root, "%s/root", base);
    layout = fixture_small_layout();
    for (uint64_t i = 0; i < 3; i++)
        state_of[i] = fixture_state(layout, i);
    loaded = fixture_state(layout, 9);
    calls = fault_log_new(0);
    if (calls == NULL || fixture_save(original, layout, state_of[0], 10, 1, 2, dirname, NULL) != 0)
        return -1;
    return fixture_save(original, layout, state_of[1], 20, 1, 2, dirname, NULL);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        free(state_of[i]);
    free(loaded);
    rk_layout_free(layout);
    fault_log_free(calls);
    fixture_remove(base);
    return 0;
}

static int run_save(const char *folder)
{
    char dirname[CHECKPOINT_DIRNAME_SIZE] = "";
    int rc = fixture_save(folder, layout, state_of[2], 30, 2, 2, dirname, NULL);

    if (rc != 0 && dirname[0] != '\0')
        checkpoint_discard(folder, dirname, NULL);
    return rc;
}

static int run_retain(const char *folder)
{
    struct checkpoint_retention retention = {.keep = 1, .epoch = 1};

    return checkpoint_retain(folder, &retention, NULL, NULL);
}

static int run_quarantine(const char *folder)
{
    return checkpoint_quarantine(folder, "step-00000010.e0001", NULL);
}

static const struct scenario scenarios[] = {
    {"save", run_save, true},
    {"retain", run_retain, false},
    {"quarantine", run_quarantine, false},
};

/* Runs the scenario in a child of its own with one fault. */
static int run_child(const struct scenario *scenario, enum fault_kind kind, uint64_t at)
{
    int status;
    pid_t pid;

    calls->calls = 0;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int rc;

        fault_plan = (struct fault_plan){.root = root, .kind = kind, .at = at, .log = calls};
        rc = scenario->run(root);
        if (rc == 0)
            _exit(CHILD_DONE);
        fault_plan.kind = FAULT_NONE;
        rc = scenario->run(root);
        _exit(rc == 0 || rc == RK_ENOENT ? CHILD_REFUSED : CHILD_RETRY_FAILED);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? CHILD_KILLED : WEXITSTATUS(status);
}

static void check_after(const struct scenario *scenario, enum fault_kind kind, uint64_t at,
                        int outcome)
{
    int64_t step = fixture_load_newest(root, layout, loaded);
    bool must_be_new = scenario->saves && outcome != CHILD_KILLED;

    if (step != 30 && step != 20)
        fail_msg("%s, fault %d at call %llu: step %lld is the newest that loads", scenario->name,
                 (int)kind, (unsigned long long)at, (long long)step);
    if (must_be_new && step != 30)
        fail_msg("%s, fault %d at call %llu: committed, but not there", scenario->name, (int)kind,
                 (unsigned long long)at);
    if (outcome == CHILD_RETRY_FAILED)
        fail_msg("%s, fault %d at call %llu: a second attempt fails too", scenario->name, (int)kind,
                 (unsigned long long)at);
    assert_memory_equal(loaded, state_of[step / 10 - 1], layout->state_bytes);
}

static void sweep(const struct scenario *scenario)
{
    uint64_t total;

    fixture_copy(original, root);
    assert_int_equal(run_child(scenario, FAULT_NONE, 0), CHILD_DONE);
    total = calls->calls;
    check_after(scenario, FAULT_NONE, 0, CHILD_DONE);
    fixture_remove(root);
    print_message("%s: %llu changing calls\n", scenario->name, (unsigned long long)total);
    assert_true(total >= 2);
    for (int kind = FAULT_KILL; kind < FAULT_KINDS; kind++) {
        size_t hits = 0;

        for (uint64_t at = 1; at <= total; at++) {
            int outcome;

            fixture_copy(original, root);
            outcome = run_child(scenario, (enum fault_kind)kind, at);
            hits += outcome != CHILD_DONE;
            check_after(scenario, (enum fault_kind)kind, at, outcome);
            fixture_remove(root);
        }
        if (kind == FAULT_KILL)
            assert_int_equal(hits, total);
        if (kind == FAULT_EIO && scenario->saves)
            assert_true(hits > total / 2);
        if (kind == FAULT_SHORT || kind == FAULT_EINTR)
            assert_int_equal(hits, 0);
    }
}

static void a_save_survives_a_fault_at_every_call(void **state)
{
    (void)state;
    sweep(&scenarios[0]);
}

static void a_clean_up_survives_a_fault_at_every_call(void **state)
{
    (void)state;
    sweep(&scenarios[1]);
}

static void setting_aside_survives_a_fault_at_every_call(void **state)
{
    (void)state;
    sweep(&scenarios[2]);
}

/* Reading: an error of the disk is one, an interruption is nothing. */
static int load_with(enum fault_kind kind, uint64_t read_at)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int rc;

        fault_plan = (struct fault_plan){.root = original, .kind = kind, .read_at = read_at};
        rc = checkpoint_load(original, "step-00000020.e0001", layout, loaded, layout->state_bytes,
                             NULL);
        _exit(rc == 0 && memcmp(loaded, state_of[1], layout->state_bytes) != 0 ? 100 : -rc);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void reading_tells_a_bad_disk_from_bad_data(void **state)
{
    uint64_t reads = 0;

    (void)state;
    while (load_with(FAULT_EIO, reads + 1) != 0) {
        reads++;
        assert_int_equal(load_with(FAULT_EIO, reads), RK_EIO);
        assert_int_equal(load_with(FAULT_EINTR, reads), 0);
        assert_int_equal(load_with(FAULT_SHORT, reads), 0);
    }
    assert_true(reads >= 4); /* the manifest and three tensors */
}

#define FAULTY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FAULTY(a_save_survives_a_fault_at_every_call),
        FAULTY(a_clean_up_survives_a_fault_at_every_call),
        FAULTY(setting_aside_survives_a_fault_at_every_call),
        FAULTY(reading_tells_a_bad_disk_from_bad_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
