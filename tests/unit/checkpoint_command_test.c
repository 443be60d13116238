/* `reknit checkpoint ...` as a person or a script sees it: what is printed and how it ends. */
#include "launch/commands.h"
#include "tests/unit/checkpoint_fixture.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[FIXTURE_PATH_SIZE];
static char dirname[CHECKPOINT_DIRNAME_SIZE];
static char text[16384]; /* what the command printed on both outputs */
static struct rk_layout *layout;
static char *state_of[2]; /* of the steps 0 and 10 */

static int setup(void **state)
{
    (void)state;
    fixture_folder(root);
    layout = fixture_small_layout();
    for (uint64_t i = 0; i < 2; i++) {
        state_of[i] = fixture_state(layout, i);
        if (fixture_save(root, layout, state_of[i], 10 * i, 1, 2, dirname, NULL) != 0)
            return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        free(state_of[i]);
    rk_layout_free(layout);
    fixture_remove(root);
    return 0;
}

/* Runs the command in a child; its words are separated by spaces. */
static int run(const char *words)
{
    char line[1024];
    char *argv[16] = {"checkpoint"};
    int argc = 1;
    int ends[2];
    int status;
    size_t used = 0;
    ssize_t count;
    pid_t pid;

    snprintf(line, sizeof line, "%s", words);
    for (char *word = strtok(line, " "); word != NULL && argc < 15; word = strtok(NULL, " "))
        argv[argc++] = word;
    fflush(NULL);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int code;

        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        code = command_checkpoint(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    close(ends[1]);
    while ((count = read(ends[0], text + used, sizeof text - 1 - used)) > 0)
        used += (size_t)count;
    text[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run_on(const char *verb, const char *options)
{
    char words[1024];

    snprintf(words, sizeof words, "%s %s %s", verb, root, options);
    return run(words);
}

static void damage(void)
{
    char path[2 * FIXTURE_PATH_SIZE];
    int fd;

    snprintf(path, sizeof path, "%s/%s/shard-00001-of-00002.h5", root, dirname);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 0; at < 20480; at += 512)
        assert_int_equal(pwrite(fd, "damage", 6, at), 6);
    close(fd);
}

static void digest_prints_64_digits_of_the_newest(void **state)
{
    char hex[2][CHECKPOINT_DIGEST_SIZE + 1];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(checkpoint_state_digest(layout, state_of[i], hex[i], NULL), 0);
        strcat(hex[i], "\n");
    }
    assert_int_equal(run_on("digest", ""), 0);
    assert_string_equal(text, hex[1]);
    assert_int_equal(run_on("digest", "--step 0"), 0);
    assert_string_equal(text, hex[0]);
    assert_int_equal(run_on("digest", "--step 7"), 69);
    assert_non_null(strstr(text, "no committed checkpoint of step 7"));
}

static void json_is_json(void **state)
{
    static const char *const verbs[] = {"list", "show", "digest", "verify"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        json_t *value;

        assert_int_equal(run_on(verbs[i], "--json"), 0);
        value = json_loads(text, 0, NULL);
        assert_non_null(value);
        json_decref(value);
    }
    assert_int_equal(run_on("prune", "--keep 1 --json"), 0);
    assert_string_equal(text, "{\"removed\":1}\n");
    assert_int_equal(run_on("list", ""), 0);
    assert_null(strstr(text, "step-00000000.e0001"));
    assert_non_null(strstr(text, dirname));
}

static void show_and_list_name_what_is_there(void **state)
{
    (void)state;
    assert_int_equal(run_on("show", "--step 10"), 0);
    assert_non_null(strstr(text, "job         fixture, step 10, epoch 1"));
    assert_non_null(strstr(text, "w [3, 11]"));
    assert_int_equal(checkpoint_quarantine(root, dirname, NULL), 0);
    assert_int_equal(run_on("list", ""), 0);
    assert_non_null(strstr(text, "quarantined"));
}

static void damage_is_65_and_named(void **state)
{
    (void)state;
    damage();
    assert_int_equal(run_on("digest", ""), 65);
    assert_non_null(strstr(text, "tensor m is damaged"));
    assert_int_equal(run_on("verify", ""), 65);
    assert_non_null(strstr(text, "step-00000010.e0001          damaged: "));
    assert_non_null(strstr(text, "step-00000000.e0001          ok\n"));
    assert_int_equal(run_on("verify", "--step 0"), 0);
    assert_int_equal(run_on("prune", "--keep 1"), 0);
    assert_string_equal(text, "removed 0\n");
}

static void what_is_not_there_is_69(void **state)
{
    (void)state;
    assert_int_equal(run("list /proc/none"), 69);
    assert_int_equal(run("digest /proc/none"), 69);
    assert_int_equal(run_on("verify", "--step 5"), 69);
}

static void usage_is_64_and_help_is_0(void **state)
{
    static const char *const wrong[] = {"",
                                        "foo",
                                        "list",
                                        "list --step 1 .",
                                        "digest . --step",
                                        "digest . --step -1",
                                        "digest . --step 99999999999999999999",
                                        "prune .",
                                        "prune . --keep 0",
                                        "verify . .."};
    static const char *const right[] = {"--help",        "list --help",   "show -h",
                                        "digest --help", "verify --help", "prune --help"};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (run(wrong[i]) != 64)
            fail_msg("'%s' should be refused: %s", wrong[i], text);
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_int_equal(run(right[i]), 0);
        assert_non_null(strstr(text, "usage: reknit checkpoint"));
    }
}

#define WITH_TWO(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TWO(digest_prints_64_digits_of_the_newest),
        WITH_TWO(json_is_json),
        WITH_TWO(show_and_list_name_what_is_there),
        WITH_TWO(damage_is_65_and_named),
        WITH_TWO(what_is_not_there_is_69),
        WITH_TWO(usage_is_64_and_help_is_0),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
