/* The command lines that mpirun and Hydra give to what they take for ssh, and a command without a
 * shell. */
#include "launch/rsh_words.h"
#include "worker/serve/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define MOST 16

/* Reads "reknit-rsh " + line, whose words stand between single blanks. */
static struct rsh_words read_line(char *line, char **argv)
{
    struct rsh_words words;
    int argc = 1;

    argv[0] = (char *)"reknit-rsh";
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    rsh_words_read(argc, argv, &words);
    return words;
}

static void expect(const char *line, const char *host, const char *command)
{
    char *argv[MOST * 2];
    char copy[256];
    char text[256];
    struct rsh_words words;

    strcpy(copy, line);
    words = read_line(copy, argv);
    assert_string_equal(words.host, host);
    assert_true(rsh_words_size(&words) <= sizeof text);
    rsh_words_join(&words, text);
    assert_string_equal(text, host);
    assert_string_equal(text + strlen(text) + 1, command);
    assert_int_equal(rsh_words_size(&words), strlen(host) + strlen(command) + 2);
}

static void test_options(void **state)
{
    (void)state;
    expect("a orted -x", "a", "orted -x");
    expect("-x a \"/usr/bin/hydra_pmi_proxy\" --proxy-id 0", "a",
           "\"/usr/bin/hydra_pmi_proxy\" --proxy-id 0");
    expect("-o ConnectionAttempts=10 -q -n a true", "a", "true");
    expect("-oA=b -p22 -l user a true", "a", "true");
    expect("-xql user a true", "a", "true");
    expect("user@a -x -p 22 ls -l", "a", "ls -l");
    expect("-x -- a -- -odd", "a", "-odd");
}

/* As they were seen: Open MPI 5's, and Intel's of 2021.6 (ssh) and 2020.1 (rsh). */
static void test_launchers(void **state)
{
    (void)state;
    expect(
        "-x w-0.j.n.svc PRTE_PREFIX=/usr;export PRTE_PREFIX;/usr/bin/prted --prtemca ess \"env\"",
        "w-0.j.n.svc", "PRTE_PREFIX=/usr;export PRTE_PREFIX;/usr/bin/prted --prtemca ess \"env\"");
    expect("-q -x -o ConnectionAttempts=10 w-0 /opt/bin//hydra_bstrap_proxy --upstream-host a "
           "--pgid 0",
           "w-0", "/opt/bin//hydra_bstrap_proxy --upstream-host a --pgid 0");
    expect("w-0 /opt/bin//hydra_bstrap_proxy --launcher rsh -x", "w-0",
           "/opt/bin//hydra_bstrap_proxy --launcher rsh -x");
}

static void test_no_input(void **state)
{
    char yes[] = "-xn a true";
    char no[] = "-l n a true -n";
    char *argv[MOST];

    (void)state;
    assert_true(read_line(yes, argv).no_input);
    assert_false(read_line(no, argv).no_input);
}

static void test_what_lacks(void **state)
{
    char nothing[] = "";
    char options[] = "-x -o";
    char host[] = "-x a";
    char value[] = "a -l";
    char *argv[MOST];

    (void)state;
    assert_null(read_line(nothing, argv).host);
    assert_null(read_line(options, argv).host);
    assert_int_equal(read_line(host, argv).count, 0);
    assert_int_equal(read_line(value, argv).count, 0);
}

static void expect_words(const char *text, unsigned count, const char *last)
{
    char *word[MOST + 1];
    char copy[128];

    strcpy(copy, text);
    assert_true(words_split(copy, word, MOST));
    assert_non_null(word[count - 1]);
    assert_null(word[count]);
    assert_string_equal(word[count - 1], last);
}

static void test_split(void **state)
{
    char *word[MOST + 1];
    char open[] = "a 'b";
    char blank[] = "  ";
    char many[] = "a b c";

    (void)state;
    expect_words("one", 1, "one");
    expect_words("  one\ttwo  ", 2, "two");
    expect_words("'a b' \"c d\"", 2, "c d");
    expect_words("a\\ b x'y z'\"w\"", 2, "xy zw");
    expect_words("a ''", 2, "");
    expect_words("'a\\b'", 1, "a\\b");
    assert_false(words_split(open, word, MOST));
    assert_false(words_split(blank, word, MOST));
    assert_false(words_split(many, word, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),  cmocka_unit_test(test_launchers),
        cmocka_unit_test(test_no_input), cmocka_unit_test(test_what_lacks),
        cmocka_unit_test(test_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
