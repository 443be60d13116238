/* Back-off, token bucket and timers, in a time of their own. */
#include "common/clock.h"
#include "k8s/client/pace.h"
#include "k8s/client/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdlib.h>

static void test_backoff_doubles_with_jitter(void **state)
{
    struct backoff backoff = {.first = 800 * RK_MS, .most = 30 * RK_S, .healthy = 120 * RK_S};
    struct draw draw = {.state = 1};
    uint64_t now = 1000 * RK_S;
    uint64_t least = 800 * RK_MS;

    (void)state;
    for (int i = 0; i < 12; i++) {
        uint64_t wait = backoff_fail(&backoff, now, &draw);

        assert_in_range(wait, least, least * 2 < 30 * RK_S ? least * 2 : 30 * RK_S);
        now += wait;
        least = least < 15 * RK_S ? least * 2 : 30 * RK_S;
    }
    now += 151 * RK_S;
    assert_in_range(backoff_fail(&backoff, now, &draw), 800 * RK_MS, 1600 * RK_MS);
}

static void test_backoff_spreads(void **state)
{
    struct draw draw = {.state = 7};
    uint64_t seen[64];

    (void)state;
    for (size_t i = 0; i < 64; i++) {
        struct backoff backoff = {.first = RK_S, .most = 30 * RK_S, .healthy = RK_S};

        seen[i] = backoff_fail(&backoff, 0, &draw);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(seen[i], seen[j]);
    }
}

/* How many tokens come in `ns` when they are asked for as soon as there may be one. */
static unsigned taken_in(struct throttle *throttle, uint64_t *now, uint64_t ns)
{
    uint64_t end = *now + ns;
    unsigned taken = 0;

    while (*now < end) {
        uint64_t again = throttle_take(throttle, *now);

        if (again == 0)
            taken++;
        else
            *now = again;
    }
    return taken;
}

static void test_throttle_rate_and_burst(void **state)
{
    struct throttle throttle;
    uint64_t now = 5 * RK_S;

    (void)state;
    throttle_init(&throttle, 50, 100, now);
    assert_in_range(taken_in(&throttle, &now, RK_S), 149, 151);
    assert_in_range(taken_in(&throttle, &now, 10 * RK_S), 498, 502);
}

static void test_throttle_gives_way(void **state)
{
    struct throttle throttle;
    uint64_t now = RK_S;
    uint64_t refused;

    (void)state;
    throttle_init(&throttle, 50, 100, now);
    refused = now;
    for (int i = 0; i < 40; i++)
        throttle_refused(&throttle, now, 3 * RK_S);
    assert_int_equal(throttle_take(&throttle, now), refused + 3 * RK_S);
    now = refused + 3 * RK_S;
    /* Half the rate, and no burst of what was saved up meanwhile beyond the cap at refusal. */
    assert_int_equal(throttle_take(&throttle, now), 0);
    taken_in(&throttle, &now, 5 * RK_S);
    assert_in_range(taken_in(&throttle, &now, 10 * RK_S), 248, 252);
    for (int i = 0; i < 10; i++)
        throttle_refused(&throttle, now += RK_S, 0);
    taken_in(&throttle, &now, 5 * RK_S);
    assert_in_range(taken_in(&throttle, &now, 10 * RK_S), 9, 11);
    for (int i = 0; i < 100; i++)
        throttle_accepted(&throttle);
    taken_in(&throttle, &now, 5 * RK_S);
    assert_in_range(taken_in(&throttle, &now, 10 * RK_S), 498, 502);
}

#define MANY 500

struct many {
    struct timer timer[MANY];
    bool wanted[MANY];
    uint64_t now;
    unsigned fired;
};

static struct many many;

static void on_fire(void *who)
{
    const struct timer *timer = who;
    size_t index = (size_t)(timer - many.timer);

    assert_true(many.wanted[index]);
    assert_false(timer->set);
    assert_true(timer->due <= many.now);
    many.wanted[index] = false;
    many.fired++;
}

/* Sets, moves and stops at random, and holds what fires against a plain table. */
static void test_timers_against_a_table(void **state)
{
    struct timers timers = {NULL};
    struct draw draw = {.state = 3};

    (void)state;
    for (size_t i = 0; i < MANY; i++)
        many.timer[i] = (struct timer){.fire = on_fire, .who = &many.timer[i]};
    for (int round = 0; round < 20000; round++) {
        size_t i = draw_between(&draw, 0, MANY - 1);
        uint64_t first = TIMERS_NEVER;

        if (draw_next(&draw) % 3 != 0) {
            timers_set(&timers, &many.timer[i], many.now + draw_between(&draw, 1, 1000));
            many.wanted[i] = true;
        } else {
            timers_stop(&timers, &many.timer[i]);
            many.wanted[i] = false;
        }
        if (round % 50 != 0)
            continue;
        many.now += 20;
        while (timers_fire(&timers, many.now))
            ;
        for (size_t t = 0; t < MANY; t++)
            if (many.wanted[t] && many.timer[t].due < first)
                first = many.timer[t].due;
        assert_true(first > many.now);
        assert_int_equal(timers_due(&timers), first);
    }
    assert_true(many.fired > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_doubles_with_jitter),
        cmocka_unit_test(test_backoff_spreads),
        cmocka_unit_test(test_throttle_rate_and_burst),
        cmocka_unit_test(test_throttle_gives_way),
        cmocka_unit_test(test_timers_against_a_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
