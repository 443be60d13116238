/* The texts of the API: addresses, times, base64, Status, merge patches, notes. */
#include "common/clock.h"
#include "k8s/client/address.h"
#include "k8s/client/base64.h"
#include "k8s/client/notices.h"
#include "k8s/client/status.h"
#include "k8s/client/when.h"
#include "k8s/client/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void address_is(char *path, const char *wanted)
{
    assert_non_null(path);
    assert_string_equal(path, wanted);
    free(path);
}

static void test_addresses(void **state)
{
    char name[64];
    char wanted[256];
    char *path;

    (void)state;
    address_is(api_path("v1", NULL, "nodes", NULL, NULL), "/api/v1/nodes");
    address_is(api_path("v1", "a", "pods", "b", "status"), "/api/v1/namespaces/a/pods/b/status");
    address_is(api_path("kubeflow.org/v2beta1", "n", "mpijobs", "j", NULL),
               "/apis/kubeflow.org/v2beta1/namespaces/n/mpijobs/j");
    address_is(api_path("v1", "../x", "pods", "a/b?c#d %", NULL),
               "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3Fc%23d%20%25");
    memset(name, 'x', 63);
    name[63] = '\0';
    snprintf(wanted, sizeof wanted, "/apis/kubeflow.org/v2beta1/namespaces/%s/mpijobs/%s/status",
             name, name);
    address_is(api_path("kubeflow.org/v2beta1", name, "mpijobs", name, "status"), wanted);
    path = api_path("v1", "n", "pods", NULL, NULL);
    api_query(&path, "labelSelector", "training.kubeflow.org/job-name=J,a!=b c");
    api_query(&path, "limit", "500");
    address_is(path, "/api/v1/namespaces/n/pods?labelSelector=training.kubeflow.org%2Fjob-name%3DJ"
                     "%2Ca%21%3Db%20c&limit=500");
    path = NULL;
    api_query(&path, "a", "b");
    assert_null(path);
}

static void test_times(void **state)
{
    const uint64_t wall = UINT64_C(1767225600) * RK_S + 1234567;
    char text[WHEN_SIZE];
    uint64_t parsed;

    (void)state;
    assert_string_equal(when_micro(wall, text), "2026-01-01T00:00:00.001234Z");
    assert_string_equal(when_micro(UINT64_C(1767225600) * RK_S, text),
                        "2026-01-01T00:00:00.000000Z");
    assert_string_equal(when_seconds(wall, text), "2026-01-01T00:00:00Z");
    assert_true(when_parse("2026-01-01T00:00:00.001234567Z", &parsed));
    assert_true(parsed == wall);
    assert_true(when_parse("2026-01-01T02:30:00+02:30", &parsed));
    assert_true(parsed == UINT64_C(1767225600) * RK_S);
    assert_true(when_parse("2025-12-31T23:00:00-01:00", &parsed));
    assert_true(parsed == UINT64_C(1767225600) * RK_S);
    assert_false(when_parse("2026-01-01", &parsed));
    assert_false(when_parse("2026-01-01T00:00:00", &parsed));
    assert_false(when_parse("2026-01-01T00:00:00Zx", &parsed));
    assert_false(when_parse("2026-01-01T00:00:00+0x:00", &parsed));
    assert_false(when_parse("1969-01-01T00:00:00Z", &parsed));
    assert_false(when_parse("", &parsed));
}

static void decodes(const char *text, const char *wanted)
{
    size_t size = 99;
    char *bytes = base64_decode(text, &size);

    if (wanted == NULL) {
        assert_null(bytes);
        return;
    }
    assert_non_null(bytes);
    assert_string_equal(bytes, wanted);
    assert_int_equal(size, strlen(wanted));
    free(bytes);
}

static void test_base64(void **state)
{
    (void)state;
    decodes("", "");
    decodes("Zg==", "f");
    decodes("Zm8=", "fo");
    decodes("Zm9v", "foo");
    decodes("Zm9v\nYmFy\n", "foobar");
    decodes("Zm9vYg", NULL);
    decodes("Zm9=v", NULL);
    decodes("Z===", NULL);
    decodes("Zm9v!", NULL);
    decodes("-_-_", NULL);
}

static int code_of(int code, const char *body)
{
    json_t *status = json_loads(body, 0, NULL);
    struct response response = {.code = code, .body = status};
    int rc;

    status_read(&response);
    rc = status_code(&response);
    json_decref(status);
    return rc;
}

static void test_status(void **state)
{
    json_t *status = json_loads(
        "{\"kind\":\"Status\",\"reason\":\"Timeout\",\"message\":\"too large\",\"details\":"
        "{\"retryAfterSeconds\":3,\"causes\":[{\"reason\":\"ResourceVersionTooLarge\"}]}}",
        0, NULL);
    struct response response = {.code = 504, .body = status};

    (void)state;
    status_read(&response);
    assert_string_equal(response.reason, "Timeout");
    assert_string_equal(response.message, "too large");
    assert_true(response.retry_after == 3 * RK_S);
    assert_true(status_has_cause(status, "ResourceVersionTooLarge"));
    assert_false(status_has_cause(status, "Other"));
    assert_false(status_has_cause(NULL, "Other"));
    json_decref(status);
    assert_int_equal(code_of(409, "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"), RK_EEXIST);
    assert_int_equal(code_of(409, "{\"kind\":\"Status\",\"reason\":\"Conflict\"}"), RK_ESTATE);
    assert_int_equal(code_of(409, "[]"), RK_ESTATE);
    assert_int_equal(code_of(404, "{}"), RK_ENOENT);
    assert_int_equal(code_of(403, "null"), RK_EACCES);
    assert_int_equal(code_of(422, ""), RK_EINVAL);
    assert_int_equal(code_of(503, ""), RK_EUNAVAILABLE);
    assert_int_equal(code_of(302, ""), RK_EPROTO);
}

static void differs(const char *from_text, const char *to_text, const char *wanted)
{
    json_t *from = json_loads(from_text, 0, NULL);
    json_t *to = json_loads(to_text, 0, NULL);
    json_t *patch = write_difference(from, to);
    char *text = json_dumps(patch, JSON_COMPACT | JSON_SORT_KEYS);

    assert_string_equal(text, wanted);
    free(text);
    json_decref(patch);
    json_decref(from);
    json_decref(to);
}

static void test_differences(void **state)
{
    (void)state;
    differs("{\"a\":1,\"b\":{\"c\":2}}", "{\"b\":{\"c\":2},\"a\":1}", "{}");
    differs("{\"a\":1}", "{\"a\":2,\"n\":{\"x\":1}}", "{\"a\":2,\"n\":{\"x\":1}}");
    differs("{\"a\":1,\"b\":{\"c\":2,\"d\":3}}", "{\"b\":{\"d\":4}}",
            "{\"a\":null,\"b\":{\"c\":null,\"d\":4}}");
    differs("{\"l\":[1,2]}", "{\"l\":[1]}", "{\"l\":[1]}");
    differs("{\"a\":{\"b\":1}}", "{\"a\":7}", "{\"a\":7}");
}

static void test_notes_are_cut_between_characters(void **state)
{
    (void)state;
    assert_int_equal(notice_cut("abc", 3), 3);
    assert_int_equal(notice_cut("abcd", 3), 3);
    assert_int_equal(notice_cut("a\xc3\xa4\xc3\xa4", 4), 3);
    assert_int_equal(notice_cut("a\xc3\xa4\xc3\xa4", 5), 5);
    assert_int_equal(notice_cut("\xf0\x9f\x98\x80x", 3), 0);
    assert_int_equal(notice_cut("\xf0\x9f\x98\x80x", 4), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_base64),      cmocka_unit_test(test_status),
        cmocka_unit_test(test_differences), cmocka_unit_test(test_notes_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
