/* The map of the reconciler against an array, over many puts and removes. */
#include "k8s/reconcile/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define KEYS 64u

static void a_map_finds_what_was_put(void **state)
{
    struct pods dice = {.random = 1};
    struct map map;
    uint32_t model[KEYS];

    (void)state;
    assert_true(map_init(&map, KEYS));
    for (uint32_t k = 0; k < KEYS; k++)
        model[k] = NONE;
    for (uint32_t turn = 0; turn < 100000; turn++) {
        uint32_t k = (uint32_t)(pods_draw(&dice) % KEYS);
        uint64_t key = name_key(k / 8, k % 8);

        assert_int_equal(map_find(&map, key), model[k]);
        if (model[k] == NONE)
            map_put(&map, key, model[k] = turn);
        else
            map_remove(&map, key);
        if (map_find(&map, key) == NONE)
            model[k] = NONE;
        map_remove(&map, UINT64_MAX); /* never there */
    }
    map_done(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_finds_what_was_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
