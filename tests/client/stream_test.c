/* Streams into lines: whatever the pieces in which the bytes come, the lines are the same. */
#include "k8s/client/splitter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct taken {
    char text[4096];
    size_t lines, largest;
    size_t enough; /* lines after which no more are wanted; 0: all */
};

static bool take(void *who, const char *line, size_t length)
{
    struct taken *taken = who;

    snprintf(taken->text + strlen(taken->text), sizeof taken->text - strlen(taken->text), "[%.*s]",
             length < 64 ? (int)length : 3, line);
    if (length > taken->largest)
        taken->largest = length;
    return ++taken->lines != taken->enough;
}

static void test_pieces_of_any_size(void **state)
{
    static const char text[] = "one\n\ntwo\nthree is longer\n\nfour\nrest";

    (void)state;
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct splitter splitter = {.most = 32};
        struct taken taken = {0};

        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t left = sizeof text - 1 - at;

            assert_int_equal(splitter_feed(&splitter, text + at, left < piece ? left : piece, take,
                                           &taken, NULL),
                             0);
        }
        assert_string_equal(taken.text, "[one][two][three is longer][four]");
        assert_int_equal(splitter.used, 4);
        splitter_reset(&splitter);
        assert_int_equal(splitter_feed(&splitter, "new\n", 4, take, &taken, NULL), 0);
        assert_non_null(strstr(taken.text, "[four][new]"));
        splitter_done(&splitter);
    }
}

static void test_limit(void **state)
{
    struct splitter splitter = {.most = 8};
    struct taken taken = {0};
    struct rk_why why;

    (void)state;
    assert_int_equal(splitter_feed(&splitter, "12345678\n", 9, take, &taken, &why), 0);
    assert_int_equal(splitter_feed(&splitter, "1234", 4, take, &taken, &why), 0);
    assert_int_equal(splitter_feed(&splitter, "5678\n", 5, take, &taken, &why), 0);
    assert_int_equal(taken.lines, 2);
    assert_int_equal(splitter_feed(&splitter, "123456789\n", 10, take, &taken, &why), RK_EFULL);
    assert_non_null(strstr(why.text, "longer than 8 bytes"));
    splitter_reset(&splitter);
    assert_int_equal(splitter_feed(&splitter, "12345678", 8, take, &taken, &why), 0);
    assert_int_equal(splitter_feed(&splitter, "9", 1, take, &taken, &why), RK_EFULL);
    assert_int_equal(taken.lines, 2);
    splitter_done(&splitter);
}

static void test_large_line_gives_its_memory_back(void **state)
{
    const size_t size = 3u << 20;
    struct splitter splitter = {.most = 8u << 20};
    struct taken taken = {0};
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    for (size_t at = 0; at < size; at += 16384)
        assert_int_equal(splitter_feed(&splitter, text + at, 16384, take, &taken, NULL), 0);
    assert_int_equal(splitter_feed(&splitter, "\n", 1, take, &taken, NULL), 0);
    assert_int_equal(taken.largest, size);
    assert_int_equal(splitter.room, 0);
    free(text);
    splitter_done(&splitter);
}

static void test_enough(void **state)
{
    struct splitter splitter = {.most = 8};
    struct taken taken = {.enough = 2};

    (void)state;
    assert_int_equal(splitter_feed(&splitter, "1\n2\n3\n4", 7, take, &taken, NULL), 1);
    assert_string_equal(taken.text, "[1][2]");
    splitter_done(&splitter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_any_size),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_large_line_gives_its_memory_back),
        cmocka_unit_test(test_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
