/* What differs between a job that is there and one that is submitted, and what a Role gives. */
#include "launch/submit/roles.h"
#include "launch/submit/same.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <string.h>

static json_t *parse(const char *text)
{
    char copy[1024];
    json_t *value;

    assert_true(strlen(text) < sizeof copy);
    strcpy(copy, text);
    for (char *at = copy; (at = strchr(at, '\'')) != NULL;)
        *at = '"';
    value = json_loads(copy, 0, NULL);
    if (value == NULL)
        fail_msg("no JSON: %s", copy);
    return value;
}

typedef size_t comparison(const json_t *there, const json_t *here, char *text, size_t size);

static void expect(comparison *compare, const char *there, const char *here, size_t count,
                   const char *wanted)
{
    json_t *a = parse(there);
    json_t *b = parse(here);
    char text[600];

    assert_int_equal(compare(a, b, text, sizeof text), count);
    assert_string_equal(text, wanted);
    json_decref(a);
    json_decref(b);
}

static void test_differences(void **state)
{
    (void)state;
    expect(same_differences, "{'a':{'b':[1,2]}}", "{'a':{'b':[1,2]}}", 0, "");
    expect(same_differences, "{'a':{'b':[1,2]}}", "{'a':{'b':[1,3]}}", 1,
           "a.b[1] is 2 there and 3 here");
    expect(same_differences, "{'a':1}", "{'b':'x'}", 2,
           "b is absent there and \"x\" here; a is 1 there and absent here");
    expect(same_differences, "[1,2]", "[1]", 1, "[1] is 2 there and absent here");
    expect(same_differences, "{'a':'1'}", "{'a':'1000m'}", 1,
           "a is \"1\" there and \"1000m\" here");
    expect(same_differences, "[1,1,1,1,1,1,1]", "[2,2,2,2,2,2,2]", 7,
           "[0] is 1 there and 2 here; [1] is 1 there and 2 here; [2] is 1 there and 2 here; "
           "[3] is 1 there and 2 here; [4] is 1 there and 2 here; and 2 more");
}

static void test_long_values_are_cut(void **state)
{
    char text[600];
    char value[128] = "\xc3\xa4";
    json_t *a = json_array();
    json_t *b = json_array();

    (void)state;
    while (strlen(value) < 100)
        strcat(value, "\xc3\xa4");
    json_array_append_new(a, json_string(value));
    assert_int_equal(same_differences(a, b, text, sizeof text), 1);
    assert_non_null(strstr(text, "... there and absent here"));
    json_decref(b);
    b = json_string(text); /* whole characters only */
    assert_non_null(b);
    json_decref(b);
    json_decref(a);
}

static void test_what_a_server_fills_in(void **state)
{
    (void)state;
    expect(same_filled_in, "{'a':1,'b':2,'c':[{'d':1,'e':2},3]}", "{'a':1,'c':[{'d':1}]}", 0, "");
    expect(same_filled_in, "{'cpu':'1','m':'1Gi'}", "{'cpu':'1000m','m':'1024Mi'}", 0, "");
    expect(same_filled_in, "{}", "{'a':'','b':{},'c':[],'d':false,'e':0}", 0, "");
    expect(same_filled_in, "{'a':{'b':1}}", "{'a':{'b':2}}", 1, "a.b is 1 there and 2 here");
    expect(same_filled_in, "{'a':[]}", "{'a':['x']}", 1, "a[0] is absent there and \"x\" here");
    expect(same_filled_in, "{'a':'x'}", "{'a':'y'}", 1, "a is \"x\" there and \"y\" here");
}

#define POD_RULE "{'apiGroups':[''],'resources':['pods'],'verbs':['get','list']}"

static void test_roles(void **state)
{
    json_t *rules = parse("[" POD_RULE ",{'apiGroups':['batch'],'resources':['*'],'verbs':['*']},"
                          "{'apiGroups':[''],'resources':['secrets'],'verbs':['get'],"
                          "'resourceNames':['one']}]");
    json_t *wanted = parse("[{'apiGroups':['','batch'],'resources':['pods','jobs'],"
                           "'verbs':['get','watch']}]");
    char text[200];

    (void)state;
    assert_true(roles_allow(rules, "", "pods", "get"));
    assert_false(roles_allow(rules, "", "pods", "watch"));
    assert_false(roles_allow(rules, "", "pods/log", "get"));
    assert_true(roles_allow(rules, "batch", "jobs", "create"));
    assert_false(roles_allow(rules, "", "secrets", "get"));
    assert_false(roles_allow(NULL, "", "pods", "get"));
    assert_int_equal(roles_missing(rules, wanted, text, sizeof text), 3);
    assert_string_equal(text, "watch pods, get jobs, watch jobs");
    assert_int_equal(roles_missing(wanted, wanted, text, sizeof text), 0);
    assert_string_equal(text, "");
    json_decref(wanted);
    json_decref(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_long_values_are_cut),
        cmocka_unit_test(test_what_a_server_fills_in),
        cmocka_unit_test(test_roles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
