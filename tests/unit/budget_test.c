/* The restart budget: a window that slides by 64ths of itself, for any budget in the same room. */
#include "common/clock.h"
#include "coordinator/core/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW (3600 * RK_S)
#define BORN (5 * RK_S) /* less than a window: times before it wrap */
#define LOSSES 20000

static struct core *core_of(uint32_t max_restarts, const struct core_record *record, uint64_t now)
{
    const struct core_config config = {
        .capacity_workers = 2,
        .min_workers = 1,
        .target_workers = 1,
        .max_workers = 2,
        .slots = 1,
        .shards = 8,
        .gather = RK_S,
        .silence = RK_S,
        .launch_timeout = RK_S,
        .carrier_timeout = RK_S,
        .recover_timeout = RK_S,
        .checkpoint_timeout = RK_S,
        .max_restarts = max_restarts,
        .restart_window = WINDOW,
        .program_failures = 3,
    };
    struct core *core = NULL;

    assert_int_equal(core_new(&config, record, record ? record->epoch + 1 : 1, now, &core, NULL),
                     0);
    return core;
}

static void spend(struct core *core, uint64_t now)
{
    core->now = now;
    budget_spend(core);
    assert_null(core_check(core, UINT32_MAX));
}

static bool is_spent(const struct core *core)
{
    return core->fatal == CORE_REASON_BUDGET;
}

static void test_largest_budget(void **state)
{
    const uint32_t budget = 1000000;
    struct core *core = core_of(budget, NULL, BORN);

    (void)state;
    for (uint32_t i = 0; i < budget; i++)
        spend(core, BORN + WINDOW / 2 / budget * i);
    assert_false(is_spent(core));
    spend(core, BORN + WINDOW / 2);
    assert_true(is_spent(core));
    core_free(core);
}

/* A restart counts for 63/64 of the window at least and for the whole at most. */
static void test_slides(void **state)
{
    static uint64_t at[LOSSES];
    struct core *core = core_of(UINT32_MAX, NULL, BORN);
    uint64_t seed = 1;
    uint64_t now = BORN;

    (void)state;
    for (uint32_t i = 0; i < LOSSES; i++) {
        uint32_t least = 0;
        uint32_t most = 0;

        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        now += (seed >> 33) % (i % 500 == 0 ? 2 * WINDOW : WINDOW / 100);
        at[i] = now;
        spend(core, now);
        for (uint32_t j = i + 1; j-- > 0 && now - at[j] <= WINDOW;) {
            least += now - at[j] < WINDOW / 64 * 63;
            most++;
        }
        assert_in_range(core->restart_count, least, most);
    }
    core_free(core);
}

static void test_one_is_given_back(void **state)
{
    struct core *core = core_of(1, NULL, BORN);

    (void)state;
    spend(core, BORN + RK_S);
    spend(core, BORN + RK_S + WINDOW);
    assert_false(is_spent(core));
    spend(core, BORN + 2 * WINDOW);
    assert_true(is_spent(core));
    core_free(core);
}

static bool next_is_spent(uint32_t budget, const struct core_record *record, uint64_t now)
{
    struct core *core = core_of(budget, record, BORN);
    bool spent;

    assert_null(core_check(core, UINT32_MAX));
    spend(core, now);
    spent = is_spent(core);
    core_free(core);
    return spent;
}

/* The next coordinator has another clock, perhaps a smaller budget, and goes on where the window
 * was: here 3/4 of it after the first loss and 1/4 after the second. */
static void test_survives_the_coordinator(void **state)
{
    struct core *core = core_of(2, NULL, BORN + WINDOW);
    struct core_record record;

    (void)state;
    spend(core, BORN + WINDOW);
    spend(core, BORN + WINDOW + WINDOW / 2);
    core_record_read(core, BORN + WINDOW + WINDOW / 4 * 3, &record);
    core_free(core);
    assert_true(next_is_spent(2, &record, BORN));
    assert_true(next_is_spent(2, &record, BORN + WINDOW / 64 * 15));
    assert_false(next_is_spent(2, &record, BORN + WINDOW / 4));
    assert_true(next_is_spent(1, &record, BORN + WINDOW / 4));
    assert_true(next_is_spent(1, &record, BORN + WINDOW / 64 * 47));
    assert_false(next_is_spent(1, &record, BORN + WINDOW / 4 * 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_budget),
        cmocka_unit_test(test_slides),
        cmocka_unit_test(test_one_is_given_back),
        cmocka_unit_test(test_survives_the_coordinator),
    };

    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
