/* Finding sshd at the end of a script, and quoting. */
#include "k8s/render/shell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The script ends with sshd; `kept` is what stands in front of it. */
static void ends_with_sshd(const char *script, const char *kept)
{
    long start = shell_last_command(script, "sshd");

    if (start < 0)
        fail_msg("not found in '%s'", script);
    if ((size_t)start != strlen(kept) || strncmp(script, kept, (size_t)start) != 0)
        fail_msg("'%s': '%.*s' is kept, not '%s'", script, (int)start, script, kept);
}

static void does_not(const char *script)
{
    if (shell_last_command(script, "sshd") >= 0)
        fail_msg("found in '%s'", script);
}

static void test_finds(void **state)
{
    (void)state;
    ends_with_sshd("sshd", "");
    ends_with_sshd("/usr/sbin/sshd -De", "");
    ends_with_sshd("  exec /usr/sbin/sshd -D\n", "  ");
    ends_with_sshd("mkdir -p /run/sshd; /usr/sbin/sshd -D", "mkdir -p /run/sshd; ");
    ends_with_sshd("mkdir -p /run/sshd && exec /usr/sbin/sshd -De -f \"a;b\"",
                   "mkdir -p /run/sshd && ");
    ends_with_sshd("a || b\n# start it; now\n/usr/sbin/sshd -De;\n\n", "a || b\n# start it; now\n");
    ends_with_sshd("echo 'x; y' && sshd -D", "echo 'x; y' && ");
    ends_with_sshd("service thing start & sshd -D", "service thing start & ");
    ends_with_sshd("a | b; sshd", "a | b; ");
    ends_with_sshd("a >x 2>&1; sshd -D &>log", "a >x 2>&1; ");
}

static void test_leaves_alone(void **state)
{
    (void)state;
    does_not("");
    does_not("\n# sshd\n");
    does_not("sleep infinity");
    does_not("/usr/sbin/sshd; sleep infinity");
    does_not("/usr/sbin/sshd -D &");
    does_not("/usr/sbin/sshd -D | tee log");
    does_not("yes | /usr/sbin/sshd -D");
    does_not("if true; then /usr/sbin/sshd -D; fi");
    does_not("for i in 1 2; do sleep 1; done; sshd -D"); /* could be kept, but is not followed */
    does_not("(/usr/sbin/sshd -D)");
    does_not("f() { true; }; sshd");
    does_not("cat <<X; sshd\nX\n");
    does_not("echo 'sshd; sshd");
    does_not("echo \"; sshd");
    does_not("$(which sshd) -D");
    does_not("sudo /usr/sbin/sshd -D");
    does_not("/usr/sbin/sshd-wrapper -D");
    does_not("X=1 sshd");
    does_not("true # sshd\\");
    does_not("echo \\");
}

static void test_words(void **state)
{
    (void)state;
    assert_true(shell_is_program("/usr/sbin/sshd", "sshd"));
    assert_false(shell_is_program("/usr/sbin/sshd/", "sshd"));
    assert_true(shell_is_shell("/bin/bash"));
    assert_false(shell_is_shell("/bin/fish"));
    assert_true(shell_is_script_option("-lc"));
    assert_false(shell_is_script_option("--rcfile"));
}

/* What a real shell makes of the quoted word. */
static void survives(const char *word)
{
    char *text = NULL;
    char command[512];
    char back[256] = "";
    FILE *pipe;
    size_t length;

    assert_true(shell_append(&text, "printf"));
    assert_true(shell_append(&text, "%s"));
    assert_true(shell_append(&text, word));
    snprintf(command, sizeof command, "%s", text);
    free(text);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    length = fread(back, 1, sizeof back - 1, pipe);
    back[length] = '\0';
    assert_int_equal(pclose(pipe), 0);
    assert_string_equal(back, word);
}

static void test_quotes(void **state)
{
    char *text = NULL;

    (void)state;
    survives("");
    survives("plain/word-1.2:3=4@5%6,7");
    survives("two words");
    survives("it's");
    survives("'''");
    survives("$HOME `id` \"x\" \\ ! * ? [a] ~ # ; & | < > ( ) { }\n\t");
    assert_true(shell_append(&text, "a"));
    assert_true(shell_append(&text, ""));
    assert_true(shell_append(&text, "b"));
    assert_string_equal(text, "a '' b");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds),
        cmocka_unit_test(test_leaves_alone),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
