/* The command line of `reknit run`: what it takes, and what it says about everything else. */
#include "common/id.h"
#include "launch/options.h"
#include "launch/surroundings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 32

/* Parses a line of words split at blanks. */
static int parse(const char *line, struct run_options *options, struct rk_why *why)
{
    static char text[1024];
    static char *argv[MOST + 1];
    int argc = 1;

    snprintf(text, sizeof text, "%s", line);
    argv[0] = text + sizeof text - 1;
    for (char *word = strtok(text, " "); word != NULL && argc < MOST; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return run_options_parse(argc, argv, options, why);
}

static void refuses(const char *line, int code, const char *part)
{
    struct run_options options;
    struct rk_why why = {""};
    int rc = parse(line, &options, &why);

    if (rc != code || strstr(why.text, part) == NULL)
        fail_msg("'%s': %d instead of %d, said '%s', not '%s'", line, rc, code, why.text, part);
    run_options_done(&options);
}

static void test_defaults(void **state)
{
    struct run_options options;

    (void)state;
    assert_int_equal(parse("-- true --workers 9", &options, NULL), 0);
    assert_int_equal(options.min_workers, 1);
    assert_int_equal(options.max_workers, 1);
    assert_string_equal(options.workers, "1");
    assert_int_equal(options.shards, 8);
    assert_int_equal(options.max_restarts, 100);
    assert_true(options.silence == UINT64_C(1000000000));
    assert_true(options.heartbeat == UINT64_C(200000000));
    assert_string_equal(options.program[0], "true");
    assert_string_equal(options.program[1], "--workers");
    assert_string_equal(options.program[2], "9");
    assert_null(options.program[3]);
    run_options_done(&options);
}

static void test_values(void **state)
{
    struct run_options options;

    (void)state;
    assert_int_equal(parse("--workers=2:6 --slots 2 --gather 1.5s --checkpoint-dir sub/dir "
                           "--checkpoint-interval 100steps --quiet --virtual-hosts 3 true",
                           &options, NULL),
                     0);
    assert_int_equal(options.min_workers, 2);
    assert_int_equal(options.max_workers, 6);
    assert_int_equal(run_options_largest_world(&options), 12);
    assert_int_equal(options.shards, 32);
    assert_true(options.gather == UINT64_C(1500000000));
    assert_int_equal(options.checkpoint_dir[0], '/');
    assert_non_null(strstr(options.checkpoint_dir, "/sub/dir"));
    assert_true(options.quiet);
    run_options_done(&options);
    assert_int_equal(parse("--silence 300ms true", &options, NULL), 0);
    assert_true(options.heartbeat == UINT64_C(60000000));
    run_options_done(&options);
    assert_int_equal(parse("--silence 2ms true", &options, NULL), 0);
    assert_true(options.heartbeat == UINT64_C(1000000));
    run_options_done(&options);
}

static void test_hosts(void **state)
{
    struct run_options options;

    (void)state;
    /* The program is on the hosts, not here. */
    assert_int_equal(parse("--hosts a:4,me@b:2,a -- no-such-program-here", &options, NULL), 0);
    assert_int_equal(options.max_workers, 3);
    assert_string_equal(options.workers, "3");
    assert_int_equal(options.slots, 4);
    assert_int_equal(run_options_largest_world(&options), 7);
    assert_int_equal(options.shards, 16);
    run_options_done(&options);
    refuses("--hosts a,b --workers 3 true", RK_EINVAL, "3 workers do not fit on 2 host entries");
    assert_int_equal(parse("--hosts a,b,c --spares 1 -- x", &options, NULL), 0);
    assert_int_equal(options.max_workers, 2);
    assert_int_equal(options.spares, 1);
    run_options_done(&options);
    refuses("--hosts a,b --workers 2 --spares 1 true", RK_EINVAL,
            "3 workers do not fit on 2 host entries");
    refuses("--hosts a,b --virtual-hosts 2 true", RK_EINVAL, "exclude each other");
    refuses("--hosts a:4,b:x true", RK_EINVAL, "--hosts:1:7: slots: 'x' is not a whole number");
    refuses("--hosts no/such/file true", RK_ENOENT, "no/such/file");
}

static void test_unknown_options(void **state)
{
    (void)state;
    refuses("--worker 4 true", RK_EINVAL, "did you mean --workers?");
    refuses("--checkpoint /x true", RK_EINVAL, "did you mean --checkpoint-dir?");
    refuses("--frobnicate-all true", RK_EINVAL, "unknown option '--frobnicate-all'");
    refuses("--workers", RK_EINVAL, "--workers needs a value");
    refuses("--quiet=yes true", RK_EINVAL, "--quiet takes no value");
    refuses("--spare 1 true", RK_EINVAL, "unknown option '--spare'");
}

static void test_impossible_counts(void **state)
{
    (void)state;
    refuses("--workers 0 true", RK_EINVAL, "--workers: 0 is not possible: it must be 1 to");
    refuses("--workers 9:3 true", RK_EINVAL, "3:9?");
    refuses("--workers -1 true", RK_EINVAL, "'-1' is not a whole number");
    refuses("--workers 4x true", RK_EINVAL, "'4x' is not a whole number");
    refuses("--workers : true", RK_EINVAL, "'' is not a whole number");
    refuses("--workers 18446744073709551617 true", RK_EINVAL, "is not possible");
    refuses("--workers 99999999999999999999999999 true", RK_EINVAL, "is not possible");
    refuses("--workers 9 --shards 8 true", RK_EINVAL, "8 shards are too few for a world of 9");
    refuses("--shards 12 true", RK_EINVAL, "12 is not a power of two");
    refuses("--workers 1000 --slots 2 true", RK_EINVAL, "2000 ranks are more than 1024");
    refuses("--workers 2 --virtual-hosts 3 true", RK_EINVAL, "3 hosts are more than 2 workers");
    refuses("--slots 0 true", RK_EINVAL, "--slots");
    refuses("--keep 0 true", RK_EINVAL, "--keep");
}

static void test_bad_words_and_times(void **state)
{
    (void)state;
    refuses("--gather 30 true", RK_EINVAL, "'30' has no unit");
    refuses("--gather soon true", RK_EINVAL, "'soon' is not a time");
    refuses("--silence 150ms --heartbeat 100ms true", RK_EINVAL, "at least twice --heartbeat");
    refuses("--checkpoint-interval often true", RK_EINVAL, "'often' is not an interval");
    refuses("--checkpoint-interval 0steps true", RK_EINVAL, "is not an interval");
    refuses("--backend gloo true", RK_EINVAL, "auto, mpi, none or nccl");
    refuses("--reduction quick true", RK_EINVAL, "exact or fast");
    refuses("--wire f16 true", RK_EINVAL, "f32 or bf16");
    refuses("--interface 127.0.0.1/64 true", RK_EINVAL, "is no network");
    refuses("--interface nonsense0 true", RK_ENOENT, "it has");
    refuses("--name Upper true", RK_EINVAL, "small letters");
    refuses("--name ../x true", RK_EINVAL, "small letters");
    refuses("--name= true", RK_EINVAL, "1 to 63");
}

static void test_missing_programs(void **state)
{
    char folder[] = "/tmp/reknit-options-XXXXXX";
    char path[64];
    char line[128];
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/plain", folder);
    file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    refuses("", RK_EINVAL, "no program was given");
    refuses("--workers 2 --", RK_EINVAL, "no program was given");
    refuses("-- no-such-program-here", RK_ENOENT, "is in no directory of PATH");
    refuses("-- ./no-such-program-here", RK_ENOENT, "./no-such-program-here cannot be run");
    refuses("-- /", RK_EACCES, "is a directory");
    snprintf(line, sizeof line, "-- %s", path);
    refuses(line, RK_EACCES, "is not executable");
    unlink(path);
    rmdir(folder);
}

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(rk_error_exit_code(RK_EINVAL), 64);
    assert_int_equal(rk_error_exit_code(RK_ENOENT), 69);
    assert_int_equal(rk_error_exit_code(RK_EACCES), 69);
    assert_int_equal(rk_error_exit_code(RK_EUNAVAILABLE), 69);
}

static void name_is(const char *program, unsigned number, const char *expected)
{
    char name[RK_JOB_NAME_MAX + 1];

    run_options_name_of(program, number, name, sizeof name);
    assert_string_equal(name, expected);
}

static void test_names(void **state)
{
    (void)state;
    name_is("./train", 1, "train");
    name_is("/opt/My Train.py", 1, "my-train-py");
    name_is("./train", 2, "train-2");
    name_is("./___", 1, "job");
    name_is("./___", 3, "job-3");
    name_is("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 12,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_unknown_options),
        cmocka_unit_test(test_impossible_counts),
        cmocka_unit_test(test_bad_words_and_times),
        cmocka_unit_test(test_missing_programs),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
