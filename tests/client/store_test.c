/* The store: what a watch tells it, against a plain table. */
#include "k8s/client/draw.h"
#include "k8s/client/object.h"
#include "k8s/client/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *object(const char *namespace, const char *name, const char *uid, unsigned version)
{
    char text[32];

    snprintf(text, sizeof text, "%u", version);
    return json_pack("{s:{s:s, s:s, s:s, s:s}}", "metadata", "namespace", namespace, "name", name,
                     "uid", uid, "resourceVersion", text);
}

static int put(struct store *store, json_t *one)
{
    json_t *old;
    int rc = store_put(store, one, &old, NULL);

    json_decref(one);
    json_decref(old);
    return rc;
}

static void test_outcomes(void **state)
{
    struct store *store;
    struct rk_why why;
    json_t *old;
    json_t *bad = json_pack("{s:{s:s}}", "metadata", "name", "x");
    json_t *one;

    (void)state;
    assert_int_equal(store_new(&store, NULL), 0);
    assert_int_equal(put(store, object("n", "a", "u1", 1)), STORE_ADDED);
    assert_int_equal(put(store, object("n", "a", "u1", 1)), STORE_SAME);
    assert_int_equal(put(store, object("m", "a", "u2", 1)), STORE_ADDED);
    assert_int_equal(put(store, object("n", "a", "u1", 5)), STORE_CHANGED);
    assert_int_equal(put(store, object("n", "a", "u3", 6)), STORE_REPLACED);
    assert_int_equal(store_count(store), 2);
    assert_string_equal(object_uid(store_get(store, "n", "a")), "u3");
    assert_null(store_get(store, NULL, "a"));
    assert_int_equal(store_put(store, bad, &old, &why), RK_EDATA);
    assert_non_null(strstr(why.text, "'x'"));
    json_decref(bad);
    one = object("n", "a", "u3", 9);
    assert_int_equal(store_remove(store, one, &old, NULL), 0);
    assert_string_equal(object_version(old), "6");
    json_decref(old);
    assert_int_equal(store_remove(store, one, &old, NULL), 0);
    assert_null(old);
    json_decref(one);
    assert_int_equal(store_count(store), 1);
    store_free(store);
}

static void test_sweep_takes_what_a_list_has_not(void **state)
{
    struct store *store;
    json_t *old;
    unsigned swept = 0;
    char name[16];

    (void)state;
    assert_int_equal(store_new(&store, NULL), 0);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "p%u", i);
        put(store, object("n", name, "u", i));
    }
    store_mark(store);
    for (unsigned i = 0; i < 1000; i += 3) {
        snprintf(name, sizeof name, "p%u", i);
        assert_int_equal(put(store, object("n", name, "u", i)), STORE_SAME);
    }
    while ((old = store_sweep(store)) != NULL) {
        assert_int_not_equal(atoi(object_name(old) + 1) % 3, 0);
        json_decref(old);
        swept++;
    }
    assert_int_equal(swept, 666);
    assert_int_equal(store_count(store), 334);
    store_free(store);
}

#define NAMES 300

static void check_against(const struct store *store, const unsigned *version)
{
    json_t *items = json_array();
    struct store_walk walk = {0};
    struct rk_why why = {""};
    size_t walked = 0;
    char name[16];

    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "p%u", i);
        if (version[i] != 0)
            json_array_append_new(items, object("n", name, "u", version[i]));
    }
    if (!store_equals(store, items, &why))
        fail_msg("%s", why.text);
    while (store_next(store, &walk) != NULL)
        walked++;
    assert_int_equal(walked, json_array_size(items));
    if (json_array_size(items) > 0) {
        json_array_remove(items, 0);
        assert_false(store_equals(store, items, &why));
    }
    json_decref(items);
}

static void test_against_a_table(void **state)
{
    struct store *store;
    struct draw draw = {.state = 11};
    unsigned version[NAMES] = {0};
    char name[16];

    (void)state;
    assert_int_equal(store_new(&store, NULL), 0);
    for (unsigned round = 1; round <= 5000; round++) {
        unsigned i = (unsigned)draw_between(&draw, 0, NAMES - 1);

        snprintf(name, sizeof name, "p%u", i);
        if (draw_next(&draw) % 3 != 0) {
            assert_int_equal(put(store, object("n", name, "u", round)),
                             version[i] != 0 ? STORE_CHANGED : STORE_ADDED);
            version[i] = round;
        } else {
            json_t *gone = object("n", name, "u", round);
            json_t *old;

            assert_int_equal(store_remove(store, gone, &old, NULL), 0);
            assert_int_equal(old != NULL, version[i] != 0);
            json_decref(gone);
            json_decref(old);
            version[i] = 0;
        }
        if (round % 100 == 0)
            check_against(store, version);
    }
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_sweep_takes_what_a_list_has_not),
        cmocka_unit_test(test_against_a_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
