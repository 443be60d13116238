/* What the operator decides to do about one job. */
#include "tests/operator/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int open_stage(void **state)
{
    static struct stage stage;

    stage_open(&stage, 2);
    *state = &stage;
    return 0;
}

static int close_stage(void **state)
{
    stage_close(*state);
    return 0;
}

static void end_job(struct stage *stage, const char *type, const char *reason)
{
    stage_set(stage->seen.job, "status.conditions",
              json_pack("[{s:s,s:s,s:s}]", "type", type, "status", "True", "reason", reason));
}

static void suspend(struct stage *stage, bool value)
{
    stage_set(stage->seen.mpijob, "spec.runPolicy.suspend", json_boolean(value));
}

static void test_all_objects_at_once(void **state)
{
    struct stage *stage = *state;
    static const char *const plurals[] = {"services", "configmaps", "jobs", "serviceaccounts",
                                          "rolebindings"};

    stage_look(stage);
    for (size_t i = 0; i < sizeof plurals / sizeof plurals[0]; i++)
        assert_int_equal(stage_count(stage, PLAN_CREATE, plurals[i]), 1);
    assert_int_equal(stage_count(stage, PLAN_SECRET, "secrets"), 1);
    assert_int_equal(stage_count(stage, PLAN_CREATE, "pods"), 0);
    stage_settle(stage);
    assert_int_equal(stage->plan.count, 0);
}

static void test_the_mpijob_owns_all(void **state)
{
    struct stage *stage = *state;
    const json_t *owner;

    stage_settle(stage);
    owner = json_array_get(stage_get(stage->seen.service, "metadata.ownerReferences"), 0);
    assert_string_equal(json_string_value(json_object_get(owner, "uid")), "u-mpijob");
    owner = json_array_get(stage_get(stage->seen.job, "metadata.ownerReferences"), 0);
    assert_true(json_is_true(json_object_get(owner, "controller")));
}

static const char *image_of_coordinator(const struct stage *stage)
{
    const json_t *list = stage_get(stage->seen.job, "spec.template.spec.initContainers");

    return json_string_value(json_object_get(json_array_get(list, 0), "image"));
}

static bool workers_get(const struct stage *stage, const char *image)
{
    const json_t *data = json_object_get(stage->seen.config, "data");
    json_t *job =
        json_loads(json_string_value(json_object_get(data, "mpijob.json")), JSON_DECODE_ANY, NULL);
    const json_t *annotations = stage_get(job, "metadata.annotations");
    const char *text = json_string_value(json_object_get(annotations, "reknit.dev/image"));
    bool is_same = text != NULL && strcmp(text, image) == 0;

    json_decref(job);
    return is_same;
}

static void test_the_operators_own_image(void **state)
{
    struct stage *stage = *state;

    stage->options.own_image = "own:1";
    stage_settle(stage);
    assert_string_equal(image_of_coordinator(stage), "own:1");
    assert_true(workers_get(stage, "own:1"));
    stage->options.own_image = "own:2"; /* it was upgraded, and this job runs */
    stage_settle(stage);
    assert_string_equal(image_of_coordinator(stage), "own:1");
    assert_true(workers_get(stage, "own:1"));
}

static void test_an_image_that_is_named(void **state)
{
    struct stage *stage = *state;

    stage->options.own_image = "own:1";
    stage_set(stage->seen.mpijob, "metadata.annotations",
              json_pack("{s:s}", "reknit.dev/image", "job:1"));
    stage_settle(stage);
    assert_string_equal(image_of_coordinator(stage), "job:1");
    assert_true(workers_get(stage, "job:1"));
}

static void test_the_time_to_live_is_not_the_jobs(void **state)
{
    struct stage *stage = *state;

    stage_set(stage->seen.mpijob, "spec.runPolicy.ttlSecondsAfterFinished", json_integer(60));
    stage_settle(stage);
    assert_null(stage_get(stage->seen.job, "spec.ttlSecondsAfterFinished"));
    end_job(stage, "Complete", "");
    stage_set(stage->seen.job, "status.completionTime", json_string("2027-01-15T08:00:00Z"));
    stage_settle(stage);
    assert_int_equal(stage->plan.again, STAGE_WALL + 60 * RK_S);
    stage->seen.wall = STAGE_WALL + 60 * RK_S;
    stage_look(stage);
    assert_string_equal(stage_call(stage, PLAN_DELETE, "mpijobs")->uid, "u-mpijob");
}

static void test_suspended_from_the_start(void **state)
{
    struct stage *stage = *state;

    suspend(stage, true);
    stage_settle(stage);
    assert_null(stage->seen.job);
    assert_string_equal(stage_condition(stage, "Suspended", "status"), "True");
    suspend(stage, false);
    stage_settle(stage);
    assert_non_null(stage->seen.job);
    assert_null(stage_get(stage->seen.job, "spec.suspend"));
}

static void test_workers_go_after_the_coordinator(void **state)
{
    struct stage *stage = *state;

    stage_settle(stage);
    stage_pod(stage, "j-launcher-x", -1, "Running");
    stage_pod(stage, "j-worker-0", 0, "Running");
    suspend(stage, true);
    stage_settle(stage);
    assert_true(json_is_true(stage_get(stage->seen.job, "spec.suspend")));
    assert_non_null(json_object_get(stage->seen.pods, "j-worker-0"));
    json_object_del((json_t *)(uintptr_t)stage->seen.pods, "j-launcher-x");
    stage_look(stage);
    assert_string_equal(stage_call(stage, PLAN_DELETE, "pods")->name, "j-worker-0");
}

/* A node that is gone confirms no deletion. */
static void test_a_pod_that_nobody_confirms(void **state)
{
    struct stage *stage = *state;
    json_t *pod;

    stage_settle(stage);
    pod = stage_pod(stage, "j-launcher-x", -1, "Running");
    stage_set(pod, "metadata.deletionTimestamp", json_string("2027-01-15T08:00:00Z"));
    stage_pod(stage, "j-worker-0", 0, "Running");
    suspend(stage, true);
    stage_settle(stage);
    assert_int_equal(stage->plan.again, STAGE_WALL + 30 * RK_S);
    stage->seen.wall = STAGE_WALL + 30 * RK_S;
    stage_look(stage);
    assert_non_null(stage_call(stage, PLAN_DELETE, "pods"));
}

static void test_resumed_as_it_was(void **state)
{
    struct stage *stage = *state;

    stage_settle(stage);
    suspend(stage, true);
    stage_settle(stage);
    suspend(stage, false);
    stage_look(stage);
    assert_non_null(stage_call(stage, PLAN_PATCH, "configmaps"));
    assert_null(stage_call(stage, PLAN_PATCH, "jobs")); /* not before its text is there */
    stage_settle(stage);
    assert_false(json_is_true(stage_get(stage->seen.job, "spec.suspend")));
}

static void test_resumed_after_an_edit(void **state)
{
    struct stage *stage = *state;

    stage_settle(stage);
    suspend(stage, true);
    stage_settle(stage);
    stage->seen.record =
        json_pack("{s:{s:s,s:s,s:s,s:[{s:s}]}}", "metadata", "name", "j-record", "uid", "u-record",
                  "resourceVersion", "1", "ownerReferences", "uid", "u-j-launcher");
    stage_set(stage->seen.mpijob, "spec.mpiReplicaSpecs.Launcher.template.spec.nodeSelector",
              json_pack("{s:s}", "pool", "a"));
    suspend(stage, false);
    stage_look(stage);
    assert_null(stage_call(stage, PLAN_DELETE, "jobs")); /* the record would go with it */
    assert_non_null(stage_call(stage, PLAN_PATCH, "configmaps"));
    stage_settle(stage);
    assert_int_equal(json_array_size(stage_get(stage->seen.record, "metadata.ownerReferences")), 2);
    assert_string_equal(
        json_string_value(stage_get(stage->seen.job, "spec.template.spec.nodeSelector.pool")), "a");
}

/* The manifest first: a coordinator that starts in between must not start with the old size. */
static void test_another_number_of_workers(void **state)
{
    struct stage *stage = *state;
    const char *size = "metadata.annotations";

    stage_settle(stage);
    stage_set(stage->seen.mpijob, "spec.mpiReplicaSpecs.Worker.replicas", json_integer(5));
    stage_look(stage);
    assert_non_null(stage_call(stage, PLAN_PATCH, "configmaps"));
    assert_null(stage_call(stage, PLAN_PATCH, "jobs"));
    stage_do(stage);
    assert_non_null(stage_call(stage, PLAN_PATCH, "jobs"));
    stage_settle(stage);
    assert_string_equal(
        json_string_value(json_object_get(stage_get(stage->seen.job, size), "reknit.dev/workers")),
        "5");
    assert_null(stage_call(stage, PLAN_DELETE, "jobs"));
}

static void test_clean_policies(void **state)
{
    static const struct {
        const char *policy;
        size_t deleted;
    } cases[] = {{"None", 0}, {"Running", 1}, {"All", 3}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage stage;

        stage_open(&stage, 2);
        stage_set(stage.seen.mpijob, "spec.runPolicy.cleanPodPolicy", json_string(cases[i].policy));
        stage_settle(&stage);
        stage_pod(&stage, "j-launcher-x", -1, "Succeeded");
        stage_pod(&stage, "j-worker-0", 0, "Running");
        stage_pod(&stage, "j-worker-1", 1, "Succeeded");
        end_job(&stage, "Complete", "");
        stage_look(&stage);
        stage_do(&stage);
        assert_int_equal(stage_count(&stage, PLAN_DELETE, "pods"), cases[i].deleted);
        stage_close(&stage);
    }
}

static void test_none_is_active_past_the_deadline(void **state)
{
    struct stage *stage = *state;

    stage_settle(stage);
    stage_pod(stage, "j-worker-0", 0, "Running");
    end_job(stage, "Failed", "DeadlineExceeded");
    stage_settle(stage);
    assert_null(json_object_get(stage->seen.pods, "j-worker-0"));
}

static void test_a_gang(void **state)
{
    struct stage *stage = *state;

    stage->options.gang = RENDER_GANG_VOLCANO;
    stage->seen.groups_known = true;
    stage_settle(stage);
    assert_non_null(stage->seen.group);
    assert_int_equal(json_object_size(stage->seen.pods), 2);
    suspend(stage, true);
    stage_settle(stage);
    assert_null(stage->seen.group);
    assert_int_equal(json_object_size(stage->seen.pods), 0);
}

static void test_who_takes_it(void **state)
{
    struct stage *stage = *state;
    static const struct {
        const char *manager;
        bool alone, beside;
    } cases[] = {{"", true, false},
                 {"kubeflow.org/mpi-operator", true, false},
                 {"reknit.dev/operator", true, true},
                 {"kueue.x-k8s.io/multikueue", false, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stage_set(stage->seen.mpijob, "spec.runPolicy.managedBy", json_string(cases[i].manager));
        stage->options.only_ours = false;
        assert_int_equal(plan_takes(&stage->options, stage->seen.mpijob), cases[i].alone);
        stage->options.only_ours = true;
        assert_int_equal(plan_takes(&stage->options, stage->seen.mpijob), cases[i].beside);
    }
}

static void test_what_is_being_deleted_is_let_alone(void **state)
{
    struct stage *stage = *state;

    stage_set(stage->seen.mpijob, "metadata.deletionTimestamp",
              json_string("2027-01-15T08:00:00Z"));
    stage_look(stage);
    assert_int_equal(stage->plan.count, 0);
}

static void test_a_name_that_is_taken(void **state)
{
    struct stage *stage = *state;

    stage->seen.taken = true;
    stage_look(stage);
    assert_int_equal(stage->plan.count, 0);
    assert_string_equal(stage->plan.event[0].reason, "ErrResourceExists");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_stage, close_stage)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_objects_at_once),
        TEST(test_the_mpijob_owns_all),
        TEST(test_the_operators_own_image),
        TEST(test_an_image_that_is_named),
        TEST(test_the_time_to_live_is_not_the_jobs),
        TEST(test_suspended_from_the_start),
        TEST(test_workers_go_after_the_coordinator),
        TEST(test_a_pod_that_nobody_confirms),
        TEST(test_resumed_as_it_was),
        TEST(test_resumed_after_an_edit),
        TEST(test_another_number_of_workers),
        TEST(test_clean_policies),
        TEST(test_none_is_active_past_the_deadline),
        TEST(test_a_gang),
        TEST(test_who_takes_it),
        TEST(test_what_is_being_deleted_is_let_alone),
        TEST(test_a_name_that_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
