/* Pod objects as the API server sends them, and as it never should. */
#include "k8s/reconcile/pod_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Trimmed, since that must not show; the next test shows that it is. */
static json_t *parsed(const char *text)
{
    json_t *pod = json_loads(text, 0, NULL);

    assert_non_null(pod);
    pod_json_trim(pod);
    return pod;
}

static void what_nobody_reads_is_trimmed(void **state)
{
    json_t *pod = parsed(
        "{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\","
        "\"resourceVersion\":\"7\",\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":\"d\"},"
        "\"managedFields\":[{}]},\"spec\":{\"volumes\":[{}],\"containers\":[{\"name\":\"w\","
        "\"image\":\"i\"},{\"name\":\"a\"}]},\"status\":{\"hostIP\":\"h\",\"conditions\":["
        "{\"type\":\"Initialized\",\"status\":\"True\"},{\"type\":\"PodScheduled\",\"status\":"
        "\"True\"},{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null}],"
        "\"containerStatuses\":[{\"name\":\"w\",\"imageID\":\"x\",\"state\":{\"running\":{"
        "\"startedAt\":\"s\"}},\"lastState\":{}}],\"initContainerStatuses\":[{\"name\":\"i\","
        "\"state\":"
        "{\"terminated\":{\"exitCode\":0}}}]}}");
    json_t *expected = json_loads(
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"7\","
        "\"annotations\":{}},\"spec\":{\"containers\":[{\"name\":\"w\"}]},\"status\":{"
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"containerStatuses\":["
        "{\"name\":\"w\",\"state\":{\"running\":{}}}],\"initContainerStatuses\":[]}}",
        0, NULL);

    (void)state;
    assert_non_null(expected);
    assert_true(json_equal(pod, expected));
    json_decref(expected);
    json_decref(pod);
}

static void times_are_read(void **state)
{
    (void)state;
    assert_true(pod_json_time("1970-01-01T00:00:00Z") == 0);
    assert_true(pod_json_time("1970-01-02T00:00:01Z") == 86401);
    assert_true(pod_json_time("2000-02-29T12:00:00Z") == 951825600);
    assert_true(pod_json_time("2026-11-27T12:01:31.123456Z") == 1795780891);
    assert_true(pod_json_time("2026-13-01T00:00:00Z") == 0);
    assert_true(pod_json_time("2026-11-27 12:01:31") == 0);
    assert_true(pod_json_time("2026-11-27T12:01:31+01:00") == 0);
    assert_true(pod_json_time("2026-11") == 0);
    assert_true(pod_json_time("") == 0);
}

static void a_running_pod_is_read(void **state)
{
    json_t *pod = parsed(
        "{\"metadata\":{\"name\":\"j-worker-2-1\",\"uid\":\"u\",\"annotations\":{"
        "\"reknit.dev/ticket\":\"19\",\"reknit.dev/place\":\"2\"},"
        "\"creationTimestamp\":\"1970-01-01T00:01:00Z\",\"ownerReferences\":["
        "{\"uid\":\"x\"},{\"uid\":\"o\",\"controller\":true}]},"
        "\"spec\":{\"nodeName\":\"n1\",\"terminationGracePeriodSeconds\":7,"
        "\"containers\":[{\"name\":\"w\"},{\"name\":\"a\"}]},"
        "\"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.2.3\",\"conditions\":["
        "{\"type\":\"Ready\",\"status\":\"True\"},"
        "{\"type\":\"DisruptionTarget\",\"status\":\"False\",\"reason\":\"no\"}],"
        "\"containerStatuses\":[{\"name\":\"a\",\"restartCount\":4,\"state\":{\"terminated\":{}}},"
        "{\"name\":\"w\",\"restartCount\":0,\"state\":{\"running\":{}}}]}}");
    struct pod_seen seen;

    (void)state;
    assert_true(pod_json_read(pod, &seen));
    assert_string_equal(seen.name, "j-worker-2-1");
    assert_string_equal(seen.owner, "o");
    assert_int_equal(seen.ticket, 19);
    assert_int_equal(seen.place, 2);
    assert_int_equal(seen.phase, SEEN_RUNNING);
    assert_string_equal(seen.node, "n1");
    assert_string_equal(seen.address, "10.1.2.3");
    assert_int_equal(seen.grace_s, 7);
    assert_true(seen.running && seen.ready);
    assert_false(seen.ended || seen.restarted || seen.disrupted || seen.deleting);
    assert_true(seen.ended_s == 60);
    json_decref(pod);
}

static void an_end_is_read(void **state)
{
    json_t *pod =
        parsed("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"deletionTimestamp\":\"2026-01-01T00:"
               "00:00Z\","
               "\"deletionGracePeriodSeconds\":5},\"spec\":{\"containers\":[{\"name\":\"w\"}]},"
               "\"status\":{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low\","
               "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
               "\"reason\":\"TerminationByKubelet\",\"message\":\"m\"}],"
               "\"containerStatuses\":[{\"name\":\"w\",\"state\":{\"terminated\":{\"exitCode\":137,"
               "\"signal\":9,\"reason\":\"OOMKilled\",\"message\":\"killed\","
               "\"finishedAt\":\"1970-01-01T00:10:00Z\"}}}]}}");
    struct pod_seen seen;

    (void)state;
    assert_true(pod_json_read(pod, &seen));
    assert_int_equal(seen.phase, SEEN_FAILED);
    assert_true(seen.ended && seen.deleting && seen.disrupted);
    assert_int_equal(seen.exit_code, 137);
    assert_int_equal(seen.signal, 9);
    assert_int_equal(seen.grace_s, 5);
    assert_string_equal(seen.end_reason, "OOMKilled");
    assert_string_equal(seen.end_message, "killed");
    assert_string_equal(seen.reason, "Evicted");
    assert_string_equal(seen.disruption, "TerminationByKubelet");
    assert_true(seen.ended_s == 600);
    assert_int_equal(seen.ticket, 0);
    assert_int_equal(seen.place, SEEN_NO_PLACE);
    json_decref(pod);
}

static void what_it_waits_for_is_read(void **state)
{
    json_t *pod =
        parsed("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{},\"status\":{"
               "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\","
               "\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"0/3\"}]}}");
    struct pod_seen seen;

    (void)state;
    assert_true(pod_json_read(pod, &seen));
    assert_string_equal(seen.wait_reason, "Unschedulable");
    assert_string_equal(seen.wait_message, "0/3");
    json_decref(pod);
    pod = parsed("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},"
                 "\"spec\":{\"containers\":[{\"name\":\"w\"}]},\"status\":{\"phase\":\"Pending\","
                 "\"initContainerStatuses\":["
                 "{\"name\":\"i\",\"state\":{\"terminated\":{\"exitCode\":0}}},"
                 "{\"name\":\"k\",\"state\":{\"waiting\":{\"reason\":\"ImagePullBackOff\"}}}],"
                 "\"containerStatuses\":[{\"name\":\"w\",\"state\":{\"waiting\":{"
                 "\"reason\":\"PodInitializing\"}}}]}}");
    assert_true(pod_json_read(pod, &seen));
    assert_string_equal(seen.wait_reason, "ImagePullBackOff");
    assert_false(seen.running || seen.ended);
    json_decref(pod);
}

static void a_failed_init_container_and_a_restart_are_ends(void **state)
{
    json_t *pod = parsed("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},"
                         "\"spec\":{\"containers\":[{\"name\":\"w\"}]},\"status\":{"
                         "\"phase\":\"Failed\",\"initContainerStatuses\":[{\"name\":\"i\","
                         "\"state\":{\"terminated\":{\"exitCode\":4}}}]}}");
    struct pod_seen seen;

    (void)state;
    assert_true(pod_json_read(pod, &seen));
    assert_true(seen.ended);
    assert_int_equal(seen.exit_code, 4);
    json_decref(pod);
    pod = parsed("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},"
                 "\"spec\":{\"containers\":[{\"name\":\"w\"}]},\"status\":{\"phase\":\"Running\","
                 "\"containerStatuses\":[{\"name\":\"w\",\"restartCount\":1,"
                 "\"state\":{\"running\":{}},"
                 "\"lastState\":{\"terminated\":{\"exitCode\":5}}}]}}");
    assert_true(pod_json_read(pod, &seen));
    assert_true(seen.restarted && seen.ended && seen.running);
    assert_int_equal(seen.exit_code, 5);
    json_decref(pod);
}

static void what_is_no_pod_is_refused_and_nothing_crashes(void **state)
{
    static const char *const odd[] = {"{}",
                                      "[]",
                                      "{\"metadata\":{\"name\":\"p\"}}",
                                      "{\"metadata\":{\"uid\":\"u\"}}",
                                      "{\"metadata\":[1],\"spec\":\"x\",\"status\":7}",
                                      "{\"metadata\":{\"name\":1,\"uid\":2}}"};
    struct pod_seen seen;

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        json_t *pod = parsed(odd[i]);

        assert_false(pod_json_read(pod, &seen));
        assert_string_equal(seen.wait_reason, "");
        json_decref(pod);
    }
    {
        json_t *pod = parsed(
            "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"annotations\":{"
            "\"reknit.dev/ticket\":\"-1\",\"reknit.dev/place\":7},\"ownerReferences\":{}},"
            "\"spec\":{\"containers\":{},\"terminationGracePeriodSeconds\":-4},"
            "\"status\":{\"phase\":\"Odd\",\"conditions\":[3,null],\"containerStatuses\":[null]}}");

        assert_true(pod_json_read(pod, &seen));
        assert_int_equal(seen.ticket, 0);
        assert_int_equal(seen.place, SEEN_NO_PLACE);
        assert_int_equal(seen.grace_s, 0);
        assert_int_equal(seen.phase, SEEN_PENDING);
        json_decref(pod);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_reads_is_trimmed),
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(a_running_pod_is_read),
        cmocka_unit_test(an_end_is_read),
        cmocka_unit_test(what_it_waits_for_is_read),
        cmocka_unit_test(a_failed_init_container_and_a_restart_are_ends),
        cmocka_unit_test(what_is_no_pod_is_refused_and_nothing_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
