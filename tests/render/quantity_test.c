/* Quantities: what is read, what is refused, sums, and the canonical form. */
#include "k8s/render/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <string.h>

static void reads(const char *text, const char *canonical)
{
    json_t *value = json_string(text);
    struct quantity quantity;
    struct rk_why why = {""};
    char printed[QUANTITY_TEXT];

    if (quantity_parse(value, &quantity, &why) != 0)
        fail_msg("'%s': %s", text, why.text);
    assert_string_equal(quantity_print(&quantity, printed), canonical);
    json_decref(value);
}

static void refuses(const char *text)
{
    json_t *value = json_string(text);
    struct quantity quantity;

    if (quantity_parse(value, &quantity, NULL) != RK_EDATA)
        fail_msg("'%s' passed", text);
    json_decref(value);
}

static void test_reads(void **state)
{
    (void)state;
    reads("0", "0");
    reads("1", "1");
    reads("1000", "1k");
    reads("1500m", "1500m");
    reads("2000m", "2");
    reads("0.5", "500m");
    reads(".5", "500m");
    reads("5.", "5");
    reads("1e3", "1k");
    reads("1E3", "1k");
    reads("1E", "1E");
    reads("25e-1", "2500m");
    reads("1Gi", "1Gi");
    reads("1024Mi", "1Gi");
    reads("1.5Gi", "1536Mi");
    reads("0.5Ki", "512");
    reads("1025Ki", "1025Ki");
    reads("-2", "-2");
    reads("+2", "2");
    reads("3n", "3n");
    reads("0.1n", "1n"); /* smaller than the API keeps: rounded up */
    reads("1.000000000000000000000Ei", "1Ei");
    reads("9223372036854775807", "9223372036854775807");
    reads("7Ei", "7Ei");
}

static void test_refuses(void **state)
{
    (void)state;
    refuses("");
    refuses(".");
    refuses("1.2.3");
    refuses("abc");
    refuses("1 Gi");
    refuses("1gi");
    refuses("1KI");
    refuses("1e");
    refuses("1e99");
    refuses("--1");
    refuses("9223372036854775808");
    refuses("8Ei");
    refuses("99999999999999999999999999999999999999999999");
}

static void test_numbers(void **state)
{
    struct quantity quantity;
    char printed[QUANTITY_TEXT];
    json_t *value = json_integer(3);

    (void)state;
    assert_int_equal(quantity_parse(value, &quantity, NULL), 0);
    assert_string_equal(quantity_print(&quantity, printed), "3");
    json_decref(value);
    value = json_real(0.1);
    assert_int_equal(quantity_parse(value, &quantity, NULL), 0);
    assert_string_equal(quantity_print(&quantity, printed), "100m");
    json_decref(value);
    assert_int_equal(quantity_parse(json_true(), &quantity, NULL), RK_EDATA);
    assert_int_equal(quantity_parse(NULL, &quantity, NULL), RK_EDATA);
}

/* sum of `times` times `text` onto `before` */
static void adds(const char *before, const char *text, uint32_t times, const char *expected)
{
    json_t *a = json_string(before);
    json_t *b = json_string(text);
    struct quantity sum;
    struct quantity quantity;
    char printed[QUANTITY_TEXT];

    assert_int_equal(quantity_parse(a, &sum, NULL), 0);
    assert_int_equal(quantity_parse(b, &quantity, NULL), 0);
    if (expected == NULL) {
        assert_int_equal(quantity_add(&sum, &quantity, times, NULL), RK_EDATA);
    } else {
        assert_int_equal(quantity_add(&sum, &quantity, times, NULL), 0);
        assert_string_equal(quantity_print(&sum, printed), expected);
    }
    json_decref(a);
    json_decref(b);
}

static void test_adds(void **state)
{
    (void)state;
    adds("0", "1Gi", 4, "4Gi");
    adds("1", "500m", 3, "2500m");
    adds("1Gi", "512Mi", 1, "1536Mi");
    adds("1Gi", "1000", 1, "1073742824");
    adds("1G", "1Gi", 1, "2073741824");
    adds("0", "100m", 0, "0");
    adds("1", "-1", 1, "0");
    adds("9223372036854775807", "1n", 1, NULL);
    adds("0", "7Ei", 4294967295u, NULL);
    adds("9000000000000000000", "1n", 1, "9000000000000000000000000001n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_adds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
