/* The table of a communicator's life: what must hold of every cell. */
#include "collectives/nccl/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_usual_lives(void **state)
{
    (void)state;
    assert_int_equal(comm_next(COMM_ABSENT, COMM_EV_FORM), COMM_FORMING);
    assert_int_equal(comm_next(COMM_FORMING, COMM_EV_DONE), COMM_READY);
    assert_int_equal(comm_next(COMM_READY, COMM_EV_REVOKE), COMM_REVOKING);
    assert_int_equal(comm_next(COMM_REVOKING, COMM_EV_DONE), COMM_HELD);
    assert_int_equal(comm_next(COMM_READY, COMM_EV_HOLD), COMM_HELD);
    assert_int_equal(comm_next(COMM_HELD, COMM_EV_SHRINK), COMM_SHRINKING);
    assert_int_equal(comm_next(COMM_SHRINKING, COMM_EV_DONE), COMM_READY);
}

static void nothing_leads_out_of_stuck(void **state)
{
    (void)state;
    for (int e = 0; e < COMM_EVENTS; e++)
        assert_int_equal(comm_next(COMM_STUCK, (enum comm_event)e), -1);
}

static void everything_can_be_dropped_and_can_hang(void **state)
{
    (void)state;
    for (int s = 0; s < COMM_STUCK; s++) {
        assert_int_equal(comm_next((enum comm_state)s, COMM_EV_ABORT), COMM_ABSENT);
        assert_int_equal(comm_next((enum comm_state)s, COMM_EV_HUNG), COMM_STUCK);
    }
}

/* Rules 1 and 3 of rules.h. */
static void only_what_is_complete_is_ready(void **state)
{
    (void)state;
    for (int s = 0; s < COMM_STATES; s++)
        for (int e = 0; e < COMM_EVENTS; e++)
            if (comm_next((enum comm_state)s, (enum comm_event)e) == COMM_READY) {
                assert_true(s == COMM_FORMING || s == COMM_SHRINKING);
                assert_int_equal(e, COMM_EV_DONE);
            }
    assert_int_equal(comm_next(COMM_READY, COMM_EV_FAILED), -1);
    assert_int_equal(comm_next(COMM_READY, COMM_EV_FORM), -1);
    assert_int_equal(comm_next(COMM_HELD, COMM_EV_FORM), -1);
    assert_int_equal(comm_next(COMM_ABSENT, COMM_EV_SHRINK), -1);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(comm_state_name(COMM_ABSENT), "ABSENT");
    assert_string_equal(comm_state_name(COMM_STUCK), "STUCK");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_lives),
        cmocka_unit_test(nothing_leads_out_of_stuck),
        cmocka_unit_test(everything_can_be_dropped_and_can_hang),
        cmocka_unit_test(only_what_is_complete_is_ready),
        cmocka_unit_test(states_have_names),
    };

    return cmocka_run_group_tests_name("nccl_rules", tests, NULL, NULL);
}
