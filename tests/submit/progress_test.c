/* What `reknit submit` says of a job, as it is shown step by step. */
#include "launch/submit/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define TEXT 4096

/* The next lines, one after the other; the JSON of what a program gets stands behind them. */
static const char *lines(struct progress *progress)
{
    static char text[TEXT];
    struct progress_line line;

    text[0] = '\0';
    while (progress_take(progress, &line)) {
        size_t used = strlen(text);

        assert_true(line.event[0] != '\0');
        snprintf(text + used, sizeof text - used, "%s\n", line.text);
        json_decref(line.fields);
    }
    return text;
}

static struct progress *begin(void)
{
    struct progress *progress = progress_new("pi");

    assert_non_null(progress);
    return progress;
}

/* A pod of a role at a place; `status` is JSON with ' for ", spec.nodeName is n1. */
static json_t *make(const char *name, const char *role, int place, const char *created,
                    const char *status)
{
    char text[TEXT];
    json_t *pod;

    snprintf(text, sizeof text,
             "{'metadata':{'name':'%s','uid':'u-%s','creationTimestamp':'%s','labels':{"
             "'training.kubeflow.org/job-role':'%s'},'annotations':{'reknit.dev/place':'%d',"
             "'reknit.dev/ticket':'9'}},'spec':{'nodeName':'n1','containers':[{'name':'a'}]},"
             "'status':%s}",
             name, name, created, role, place, status);
    for (char *at = text; (at = strchr(at, '\'')) != NULL;)
        *at = '"';
    pod = json_loads(text, 0, NULL);
    assert_non_null(pod);
    return pod;
}

static void show(struct progress *progress, const char *name, int place, const char *created,
                 const char *status)
{
    json_t *pod = make(name, "worker", place, created, status);

    progress_pod(progress, pod);
    json_decref(pod);
}

static void show_job(struct progress *progress, const char *text)
{
    json_t *job = json_loads(text, 0, NULL);

    assert_non_null(job);
    progress_job(progress, job);
    json_decref(job);
}

#define PENDING "{'phase':'Pending'}"
#define RUNNING "{'phase':'Running','containerStatuses':[{'name':'a','state':{'running':{}}}]}"
#define PULLING                                                                         \
    "{'phase':'Pending','containerStatuses':[{'name':'a','state':{'waiting':{'reason':" \
    "'ImagePullBackOff','message':'back-off'}}}]}"
#define KILLED                                                                            \
    "{'phase':'Failed','containerStatuses':[{'name':'a','state':{'terminated':{'reason':" \
    "'OOMKilled','exitCode':137}}}]}"

static void test_each_change_is_said_once(void **state)
{
    struct progress *progress = begin();

    (void)state;
    show(progress, "w0", 0, "1", PENDING);
    show(progress, "w0", 0, "1", PENDING);
    assert_string_equal(lines(progress), "worker pod w0 is created\n");
    show(progress, "w0", 0, "1", PULLING);
    show(progress, "w0", 0, "1", PULLING);
    assert_string_equal(lines(progress), "worker pod w0 is pending: ImagePullBackOff: back-off\n");
    show(progress, "w0", 0, "1", RUNNING);
    assert_string_equal(lines(progress), "worker pod w0 runs on n1\n");
    show(progress, "w0", 0, "1", KILLED);
    assert_string_equal(lines(progress), "worker pod w0 is lost: exit code 137, out of memory\n");
    assert_string_equal(lines(progress), "");
    progress_free(progress);
}

static void test_many_alike_are_one_line(void **state)
{
    struct progress *progress = begin();
    struct progress_line line;
    char name[16];

    (void)state;
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "w%d", i);
        show(progress, name, i, "1", i == 2 ? PULLING : RUNNING);
    }
    assert_true(progress_take(progress, &line));
    assert_string_equal(line.text, "4 worker pods run");
    assert_string_equal(line.event, "pod_running");
    assert_int_equal(json_array_size(json_object_get(line.fields, "pods")), 4);
    json_decref(line.fields);
    assert_string_equal(lines(progress), "worker pod w2 is pending: ImagePullBackOff: back-off\n");
    progress_free(progress);
}

static void test_a_replacement_says_whose(void **state)
{
    struct progress *progress = begin();

    (void)state;
    show(progress, "w0-1", 0, "2", RUNNING);
    show(progress, "w0", 0, "1", KILLED); /* older, seen later: a list has no order */
    assert_string_equal(lines(progress), "worker pod w0-1 runs on n1\n"
                                         "worker pod w0 is lost: exit code 137, out of memory\n");
    show(progress, "w0-2", 0, "3", PENDING);
    show(progress, "w0-2", 0, "3", RUNNING);
    assert_string_equal(lines(progress), "worker pod w0-2 is created in place of w0-1\n"
                                         "worker pod w0-2 runs on n1\n");
    progress_free(progress);
}

static void test_what_goes(void **state)
{
    struct progress *progress = begin();
    json_t *pod = make("w0", "worker", 0, "1", RUNNING);
    json_t *other = make("w1", "worker", 1, "1", KILLED);

    (void)state;
    progress_pod(progress, pod);
    progress_pod(progress, other);
    lines(progress);
    progress_pod_gone(progress, pod);
    progress_pod_gone(progress, other); /* lost already */
    progress_pod_gone(progress, pod);
    assert_string_equal(lines(progress), "worker pod w0 goes\n");
    json_decref(other);
    json_decref(pod);
    progress_free(progress);
}

/* What is being deleted ends as it must; what has ended is only swept up. */
static void test_an_end_is_said_once(void **state)
{
    struct progress *progress = begin();
    json_t *going = make("w0", "worker", 0, "1", RUNNING);
    json_t *gone = make("w0", "worker", 0, "1", KILLED);

    (void)state;
    json_object_set_new(json_object_get(going, "metadata"), "deletionTimestamp", json_string("2"));
    json_object_set_new(json_object_get(gone, "metadata"), "deletionTimestamp", json_string("2"));
    show(progress, "w0", 0, "1", RUNNING);
    progress_pod(progress, going);
    progress_pod(progress, gone);
    assert_string_equal(lines(progress), "worker pod w0 runs on n1\nworker pod w0 goes\n");
    show(progress, "w0", 0, "1", KILLED);
    progress_pod(progress, gone);
    assert_string_equal(lines(progress), "worker pod w0 is lost: exit code 137, out of memory\n");
    json_decref(gone);
    json_decref(going);
    progress_free(progress);
}

static void test_the_summary(void **state)
{
    struct progress *progress = begin();
    json_t *pod = make("c", "launcher", 0, "1", RUNNING);
    char text[128];

    (void)state;
    assert_string_equal(progress_summary(progress, text, sizeof text),
                        "0/0 workers run, the coordinator is awaited");
    show(progress, "w0", 0, "1", RUNNING);
    show(progress, "w1", 1, "1", PENDING);
    show(progress, "w2", 2, "1", KILLED);
    progress_pod(progress, pod);
    assert_string_equal(progress_summary(progress, text, sizeof text),
                        "1/2 workers run, the coordinator runs");
    json_decref(pod);
    progress_free(progress);
}

static void test_how_it_ends(void **state)
{
    struct progress *progress = begin();
    json_t *job = json_loads("{\"metadata\":{\"uid\":\"j\"}}", 0, NULL);

    (void)state;
    show_job(progress, "{\"metadata\":{\"uid\":\"j\"},\"status\":{\"conditions\":[{\"type\":"
                       "\"Complete\",\"status\":\"False\"}]}}");
    assert_int_equal(progress_end(progress), PROGRESS_RUNS);
    show_job(progress, "{\"metadata\":{\"uid\":\"j\"},\"spec\":{\"suspend\":true}}");
    show_job(progress, "{\"metadata\":{\"uid\":\"j\"}}");
    assert_string_equal(lines(progress), "job pi is suspended: no pods run until it is resumed\n"
                                         "job pi is resumed\n");
    progress_job_gone(progress, job);
    assert_int_equal(progress_end(progress), PROGRESS_DELETED);
    show_job(progress, "{\"metadata\":{\"uid\":\"j\"},\"status\":{\"conditions\":[{\"type\":"
                       "\"Failed\",\"status\":\"True\"}]}}");
    assert_int_equal(progress_end(progress), PROGRESS_FAILED);
    progress_job_gone(progress, job); /* by its ttl */
    assert_int_equal(progress_end(progress), PROGRESS_FAILED);
    json_decref(job);
    progress_free(progress);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_change_is_said_once),
        cmocka_unit_test(test_many_alike_are_one_line),
        cmocka_unit_test(test_a_replacement_says_whose),
        cmocka_unit_test(test_what_goes),
        cmocka_unit_test(test_an_end_is_said_once),
        cmocka_unit_test(test_the_summary),
        cmocka_unit_test(test_how_it_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
