/* What the operator tells about one job. */
#include "tests/operator/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int open_stage(void **state)
{
    static struct stage stage;

    stage_open(&stage, 3);
    stage_settle(&stage);
    *state = &stage;
    return 0;
}

static int close_stage(void **state)
{
    stage_close(*state);
    return 0;
}

static void expect(const struct stage *stage, const char *type, const char *status)
{
    if (strcmp(stage_condition(stage, type, "status"), status) != 0)
        fail_msg("%s is '%s', not '%s'", type, stage_condition(stage, type, "status"), status);
}

static json_int_t count(const struct stage *stage, const char *path)
{
    return json_integer_value(
        stage_get(stage_get(stage->seen.mpijob, "status.replicaStatuses"), path));
}

/* All its pods run. */
static void run(struct stage *stage)
{
    stage_pod(stage, "j-launcher-x", -1, "Running");
    stage_pod(stage, "j-worker-0", 0, "Running");
    stage_pod(stage, "j-worker-1", 1, "Running");
    stage_pod(stage, "j-worker-2", 2, "Running");
    stage_settle(stage);
}

static void fail_pod(struct stage *stage, const char *name, int place, int code, const char *reason)
{
    json_t *pod = stage_pod(stage, name, place, "Failed");

    stage_set(pod, "status.containerStatuses",
              json_pack("[{s:s,s:{s:{s:i,s:s,s:s}}}]", "name", "m", "state", "terminated",
                        "exitCode", code, "reason", reason, "finishedAt", "2027-01-15T08:00:00Z"));
    stage_set(pod, "spec.containers", json_pack("[{s:s}]", "name", "m"));
}

static void test_created(void **state)
{
    struct stage *stage = *state;

    expect(stage, "Created", "True");
    expect(stage, "Running", "");
    assert_string_equal(json_string_value(stage_get(stage->seen.mpijob, "status.startTime")),
                        "2027-01-15T08:00:00Z");
}

static void test_running_needs_all_at_first(void **state)
{
    struct stage *stage = *state;

    stage_pod(stage, "j-launcher-x", -1, "Running");
    stage_pod(stage, "j-worker-0", 0, "Running");
    stage_pod(stage, "j-worker-0-1", 0, "Running"); /* the same worker */
    stage_pod(stage, "j-worker-1", 1, "Running");
    stage_settle(stage);
    expect(stage, "Running", "");
    assert_int_equal(count(stage, "Worker.active"), 3);
    stage_pod(stage, "j-worker-2", 2, "Running");
    stage_settle(stage);
    expect(stage, "Running", "True");
}

static void test_running_ends_below_the_least(void **state)
{
    struct stage *stage = *state;

    stage_set(stage->seen.mpijob, "metadata.annotations",
              json_pack("{s:s}", "reknit.dev/min-workers", "2"));
    run(stage);
    fail_pod(stage, "j-worker-2", 2, 137, "OOMKilled");
    stage_settle(stage);
    expect(stage, "Running", "True");
    expect(stage, "Restarting", "True");
    assert_non_null(strstr(stage_condition(stage, "Restarting", "message"),
                           "2 of 3 workers run; worker 2 (rank 2): pod j-worker-2 on node node-7 "
                           "was killed by signal 9, out of memory"));
    fail_pod(stage, "j-worker-1", 1, 3, "Error");
    stage_settle(stage);
    expect(stage, "Running", "False");
    stage_pod(stage, "j-worker-1-1", 1, "Running");
    stage_settle(stage);
    expect(stage, "Running", "True");
    stage_pod(stage, "j-worker-2-1", 2, "Running");
    stage_settle(stage);
    expect(stage, "Restarting", "False");
}

static void test_a_loss_is_told_when_its_pod_is_gone(void **state)
{
    struct stage *stage = *state;

    run(stage);
    fail_pod(stage, "j-worker-2", 2, 9, "Error");
    stage_settle(stage);
    json_object_del((json_t *)(uintptr_t)stage->seen.pods, "j-worker-2");
    stage_pod(stage, "j-worker-2-1", 2, "Running");
    stage_settle(stage);
    assert_non_null(strstr(stage_condition(stage, "Restarting", "message"), "exit code 9"));
}

static void test_pods_that_finish_are_no_loss(void **state)
{
    struct stage *stage = *state;

    run(stage);
    stage_pod(stage, "j-worker-0", 0, "Succeeded");
    stage_pod(stage, "j-worker-1", 1, "Succeeded");
    stage_pod(stage, "j-worker-2", 2, "Succeeded");
    stage_pod(stage, "j-launcher-x", -1, "Succeeded");
    stage_settle(stage);
    expect(stage, "Running", "True");
    expect(stage, "Restarting", "");
}

static void test_events_go_with_the_status(void **state)
{
    struct stage *stage = *state;

    stage_pod(stage, "j-launcher-x", -1, "Running");
    for (int place = 0; place < 3; place++) {
        char name[32];

        snprintf(name, sizeof name, "j-worker-%d", place);
        stage_pod(stage, name, place, "Running");
    }
    stage_look(stage);
    assert_non_null(stage_call(stage, PLAN_STATUS, "mpijobs"));
    assert_int_equal(stage->plan.events, 1);
    assert_string_equal(stage->plan.event[0].reason, "MPIJobRunning");
    stage_do(stage);
    assert_int_equal(stage->plan.events, 0);
}

static void test_suspended_and_resumed(void **state)
{
    struct stage *stage = *state;

    run(stage);
    stage_set(stage->seen.mpijob, "spec.runPolicy.suspend", json_true());
    stage_settle(stage);
    expect(stage, "Suspended", "True");
    expect(stage, "Running", "False");
    assert_string_equal(stage_condition(stage, "Running", "reason"), "MPIJobSuspended");
    json_object_clear((json_t *)(uintptr_t)stage->seen.pods);
    stage_settle(stage);
    assert_int_equal(count(stage, "Worker.active"), 0);
    assert_int_equal(count(stage, "Launcher.active"), 0);
    stage->seen.wall = STAGE_WALL + 90 * RK_S;
    stage_set(stage->seen.mpijob, "spec.runPolicy.suspend", json_false());
    stage_settle(stage);
    expect(stage, "Suspended", "False");
    expect(stage, "Running", "False");
    assert_string_equal(json_string_value(stage_get(stage->seen.mpijob, "status.startTime")),
                        "2027-01-15T08:01:30Z");
}

static void test_failed(void **state)
{
    struct stage *stage = *state;

    run(stage);
    fail_pod(stage, "j-worker-1", 1, 7, "Error");
    stage_set(stage->seen.job, "status",
              json_pack("{s:i,s:[{s:s,s:s,s:s,s:s}]}", "failed", 3, "conditions", "type", "Failed",
                        "status", "True", "reason", "BackoffLimitExceeded", "message",
                        "too often"));
    stage_settle(stage);
    expect(stage, "Failed", "True");
    expect(stage, "Running", "False");
    assert_string_equal(stage_condition(stage, "Failed", "reason"), "BackoffLimitExceeded");
    assert_non_null(strstr(stage_condition(stage, "Failed", "message"),
                           "too often; worker 1 (rank 1): pod j-worker-1"));
    assert_int_equal(count(stage, "Launcher.failed"), 3);
    assert_int_equal(count(stage, "Worker.failed"), 1);
    json_object_clear((json_t *)(uintptr_t)stage->seen.pods);
    stage_settle(stage);
    assert_int_equal(count(stage, "Worker.failed"), 1);
    assert_int_equal(count(stage, "Worker.active"), 0);
}

static void fail_job(struct stage *stage)
{
    stage_set(stage->seen.job, "status",
              json_pack("{s:[{s:s,s:s,s:s,s:s}]}", "conditions", "type", "Failed", "status", "True",
                        "reason", "BackoffLimitExceeded", "message", "too often"));
}

static void test_the_last_lines_of_a_pod(void **state)
{
    struct stage *stage = *state;

    run(stage);
    fail_pod(stage, "j-worker-1", 1, 7, "Error");
    json_object_set_new(
        (json_t *)(uintptr_t)stage_get(
            json_array_get(stage_get(json_object_get(stage->seen.pods, "j-worker-1"),
                                     "status.containerStatuses"),
                           0),
            "state.terminated"),
        "message", json_string("[rank 1] one\n[rank 1] two\n"));
    stage_settle(stage);
    assert_non_null(
        strstr(stage_condition(stage, "Restarting", "message"),
               "worker 1 (rank 1): pod j-worker-1 on node node-7 ended with exit code 7 "
               "(Error); its last lines: [rank 1] one | [rank 1] two"));
}

/* All pods are gone; the coordinator has written down why. */
static void test_a_cause_outlives_its_pods(void **state)
{
    struct stage *stage = *state;

    run(stage);
    json_object_clear((json_t *)(uintptr_t)stage->seen.pods);
    stage->seen.record = json_pack(
        "{s:{s:s},s:{s:s,s:s}}", "metadata", "name", "j-record", "data", "losses",
        "2027-01-15T08:00:00Z rank 0 on x\n2027-01-15T08:00:01Z rank 1 on j-worker-1 failed\n",
        "end", "exit code 7: its command failed; its last lines: one | two");
    stage_settle(stage);
    assert_string_equal(stage_condition(stage, "Restarting", "message"),
                        "the coordinator does not run; 0 of 3 workers run; rank 1 on j-worker-1 "
                        "failed");
    fail_job(stage);
    stage_settle(stage);
    assert_non_null(strstr(stage_condition(stage, "Failed", "message"),
                           "has failed: too often; exit code 7: its command failed; its last "
                           "lines: one | two; rank 1 on j-worker-1 failed"));
}

/* What the coordinator does not follow is said once, and is no loss of workers. */
static void test_a_size_that_is_not_followed(void **state)
{
    struct stage *stage = *state;

    run(stage);
    stage_set(stage->seen.mpijob, "spec.mpiReplicaSpecs.Worker.replicas", json_integer(5));
    stage_settle(stage);
    expect(stage, "Restarting", "True"); /* two are still to come, as far as is known */
    stage->seen.record =
        json_pack("{s:{s:s},s:{s:s,s:s,s:s}}", "metadata", "name", "j-record", "data", "asked", "5",
                  "workers", "3", "refused", "Worker.replicas 5 is not followed");
    stage_look(stage);
    assert_string_equal(stage->plan.event[0].reason, "WorkersNotResized");
    stage_settle(stage);
    assert_int_equal(stage->plan.events, 0);
    expect(stage, "Restarting", "False");
    assert_string_equal(stage_condition(stage, "Created", "message"),
                        "Worker.replicas 5 is not followed");
    stage_set(stage->seen.mpijob, "spec.mpiReplicaSpecs.Worker.replicas", json_integer(3));
    stage_settle(stage);
    assert_non_null(strstr(stage_condition(stage, "Created", "message"), "is created"));
}

/* Of two long causes both are told, and no character is cut in two. */
static void test_long_causes_are_cut(void **state)
{
    struct stage *stage = *state;
    char text[1201];
    size_t length;

    for (size_t i = 0; i < sizeof text - 1; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    text[sizeof text - 1] = '\0';
    run(stage);
    json_object_clear((json_t *)(uintptr_t)stage->seen.pods);
    stage->seen.record = json_pack("{s:{s:s},s:{s:s+,s:s}}", "metadata", "name", "j-record", "data",
                                   "losses", "time ", text, "end", text);
    fail_job(stage);
    stage_settle(stage);
    length = strlen(stage_condition(stage, "Failed", "message"));
    assert_in_range(length, 600, 1024);
}

static void test_not_valid(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 1);
    stage_set(stage.seen.mpijob, "spec.slotsPerWorker", json_integer(-4));
    stage_settle(&stage);
    expect(&stage, "Failed", "True");
    assert_string_equal(stage_condition(&stage, "Failed", "reason"), "ValidationError");
    assert_null(stage.seen.job);
    stage_set(stage.seen.mpijob, "spec.slotsPerWorker", json_integer(1));
    stage_settle(&stage);
    expect(&stage, "Failed", "False");
    assert_non_null(stage.seen.job);
    stage_close(&stage);
}

static void test_an_edit_that_is_not_valid(void **state)
{
    struct stage *stage = *state;

    run(stage);
    stage_set(stage->seen.mpijob, "spec.slotsPerWorker", json_integer(-4));
    stage_look(stage);
    assert_string_equal(stage->plan.event[0].reason, "ValidationError");
    stage_settle(stage);
    expect(stage, "Running", "True");
    expect(stage, "Failed", "");
    assert_non_null(strstr(stage_condition(stage, "Created", "message"), "spec.slotsPerWorker"));
}

/* A definition without observedGeneration drops it: no write may follow from that. */
static void test_a_status_that_is_cut(void **state)
{
    struct stage *stage = *state;
    json_t *status = json_object_get(stage->seen.mpijob, "status");

    assert_int_equal(json_integer_value(json_object_get(status, "observedGeneration")), 1);
    json_object_del(status, "observedGeneration");
    stage_look(stage);
    assert_int_equal(stage->plan.count, 0);
    json_object_set_new(status, "observedGeneration", json_integer(0));
    stage_look(stage);
    assert_int_equal(stage->plan.count, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_created),
        TEST(test_running_needs_all_at_first),
        TEST(test_running_ends_below_the_least),
        TEST(test_a_loss_is_told_when_its_pod_is_gone),
        TEST(test_pods_that_finish_are_no_loss),
        TEST(test_the_last_lines_of_a_pod),
        TEST(test_a_cause_outlives_its_pods),
        TEST(test_long_causes_are_cut),
        TEST(test_a_size_that_is_not_followed),
        TEST(test_events_go_with_the_status),
        TEST(test_suspended_and_resumed),
        TEST(test_failed),
        TEST(test_not_valid),
        TEST(test_an_edit_that_is_not_valid),
        TEST(test_a_status_that_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
