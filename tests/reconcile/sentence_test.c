/* Sentences are cleaned of what others wrote, and cut between characters. */
#include "k8s/reconcile/sentence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void text_of_others_is_cleaned(void **state)
{
    char out[16];

    (void)state;
    assert_int_equal(sentence_clean(out, sizeof out, "a\nb\tc\x1b[0m\x7f"), 10);
    assert_string_equal(out, "a b c [0m ");
    assert_int_equal(sentence_clean(out, sizeof out, "0123456789abcde"), 15);
    assert_string_equal(out, "0123456789abcde");
    assert_int_equal(sentence_clean(out, sizeof out, "0123456789abcdef"), 15);
    assert_string_equal(out, "0123456789ab...");
}

static void no_character_is_cut_in_two(void **state)
{
    char out[16];

    (void)state;
    sentence_clean(out, sizeof out, "0123456789a\xc3\xa9xyz0"); /* the e would end at 13 */
    assert_string_equal(out, "0123456789a...");
    sentence_clean(out, sizeof out,
                   "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                   "\xe2\x82\xac");
    assert_string_equal(out, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac...");
    sentence_clean(out, 4, "abcdef");
    assert_int_equal(strlen(out), 3);
    sentence_clean(out, 1, "abcdef");
    assert_string_equal(out, "");
}

static void each_sentence_keeps_to_its_buffer(void **state)
{
    struct end end = {.exit_code = 3, .signal = -1};
    char out[512];

    (void)state;
    memset(end.message, 'm', sizeof end.message - 1);
    memset(end.reason, 'r', sizeof end.reason - 1);
    for (int cause = 0; cause < END_COUNT_; cause++) {
        end.cause = (enum end_cause)cause;
        for (size_t size = 1; size < sizeof out; size++) {
            memset(out, '#', sizeof out);
            sentence_end(out, size, "pod-of-a-job", "a-node", "space", &end);
            assert_true(strlen(out) < size);
            assert_true(out[size] == '#');
        }
        sentence_end(out, sizeof out, "pod-of-a-job", "", "space", &end);
        assert_true(strncmp(out, "pod pod-of-a-job ", 17) == 0);
    }
    for (size_t size = 1; size < 200; size++) {
        sentence_notice(out, size, "p", "n", &end);
        assert_true(strlen(out) < size);
        sentence_pending(out, size, "p", &end, 7, 30);
        assert_true(strlen(out) < size);
        sentence_refusal(out, size, 7, end.message);
        assert_true(strlen(out) < size);
        sentence_undeletable(out, size, "space", end.message);
        assert_true(strlen(out) < size);
    }
}

static void a_plain_end_is_said_plainly(void **state)
{
    struct end end = {.cause = END_EXIT, .exit_code = 0, .signal = -1, .reason = "Completed"};
    char out[128];

    (void)state;
    sentence_end(out, sizeof out, "p", "n", "space", &end);
    assert_string_equal(out, "pod p on node n ended with exit code 0");
    sentence_pending(out, sizeof out, "p", &(struct end){.reason = "X"}, 7, 30);
    assert_string_equal(out, "pod p has been pending for 30 s (X); 7 pods are pending in all; the "
                             "job goes on without");
}

static void the_last_lines_are_whole(void **state)
{
    char out[32];

    (void)state;
    assert_int_equal(sentence_tail(out, sizeof out, "one\ntwo\n\nthree\r\n\n"), 17);
    assert_string_equal(out, "one | two | three");
    sentence_tail(out, 16, "one\ntwo\n\nthree\n");
    assert_string_equal(out, "two | three");
    sentence_tail(out, 12, "one\ntwo\nthree");
    assert_string_equal(out, "three");
    sentence_tail(out, sizeof out, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11");
    assert_string_equal(out, "5 | 6 | 7 | 8 | 9 | 10 | 11");
    sentence_tail(out, 12, "first\n0123456789abcdef");
    assert_string_equal(out, "012345...");
    assert_int_equal(sentence_tail(out, sizeof out, "\n \n"), 0);
    assert_string_equal(out, "");
    sentence_tail(out, 1, "text");
    assert_string_equal(out, "");
    for (size_t size = 1; size < sizeof out; size++) {
        memset(out, '#', sizeof out);
        sentence_tail(out, size, "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\nab\xc3\xa9");
        assert_true(strlen(out) < size && out[size] == '#');
    }
}

/* What the runtime says of a container that never ran is not what a program said. */
static void an_end_has_its_last_lines(void **state)
{
    const struct pod_seen ended = {.ended = true,
                                   .exit_code = 139,
                                   .end_reason = "Error",
                                   .end_message = "[rank 2] step 40\n[rank 2] no more\n"};
    struct end end = {.cause = END_EXIT};
    struct pod_seen other = ended;
    char out[256];

    (void)state;
    sentence_exit(&end, &ended);
    sentence_end(out, sizeof out, "p", "n", "space", &end);
    assert_string_equal(out, "pod p on node n was killed by signal 11 (Error); its last lines: "
                             "[rank 2] step 40 | [rank 2] no more");
    other.end_reason = "StartError";
    other.exit_code = 128;
    other.end_message = "no such file";
    sentence_exit(&end, &other);
    sentence_end(out, sizeof out, "p", "", "space", &end);
    assert_string_equal(out, "pod p ended with exit code 128 (StartError): no such file");
    other = ended;
    other.exit_code = 0;
    other.end_reason = "Completed";
    sentence_exit(&end, &other);
    sentence_end(out, sizeof out, "p", "", "space", &end);
    assert_string_equal(out, "pod p ended with exit code 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_others_is_cleaned),
        cmocka_unit_test(no_character_is_cut_in_two),
        cmocka_unit_test(each_sentence_keeps_to_its_buffer),
        cmocka_unit_test(a_plain_end_is_said_plainly),
        cmocka_unit_test(the_last_lines_are_whole),
        cmocka_unit_test(an_end_has_its_last_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
