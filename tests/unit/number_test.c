/* Whole numbers from text: digits only, between two bounds, never wrapped around. */
#include "common/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void takes_digits_between_the_bounds(void **state)
{
    uint64_t value = 7;

    (void)state;
    assert_true(rk_number_parse("0", 0, 0, &value));
    assert_int_equal(value, 0);
    assert_true(rk_number_parse("0042", 42, 42, &value));
    assert_int_equal(value, 42);
    assert_true(rk_number_parse("18446744073709551615", 0, UINT64_MAX, &value));
    assert_true(value == UINT64_MAX);
}

static void refuses_the_rest_and_leaves_the_value(void **state)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "1s", "x", "0x1", "9999", "18446744073709551616", "99", "9"};
    uint64_t value = 7;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(rk_number_parse(bad[i], 10, 98, &value));
    assert_false(rk_number_parse("18446744073709551616", 0, UINT64_MAX, &value));
    assert_false(rk_number_parse("99999999999999999999", 0, UINT64_MAX, &value));
    assert_int_equal(value, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_digits_between_the_bounds),
        cmocka_unit_test(refuses_the_rest_and_leaves_the_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
