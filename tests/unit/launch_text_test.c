/* Small texts of the command line: times, guesses, hostfiles, places, shell words, percentiles. */
#include "common/clock.h"
#include "common/id.h"
#include "launch/bench.h"
#include "launch/crew.h"
#include "launch/hosts.h"
#include "launch/places.h"
#include "launch/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"100ms", 100 * RK_MS},
        {"1s", RK_S},
        {"1.5s", 1500 * RK_MS},
        {"10min", 600 * RK_S},
        {"2h", 7200 * RK_S},
        {"250us", 250000},
        {"0s", 0},
        {".5s", 500 * RK_MS},
    };
    static const char *const bad[] = {"",    "s",     "10",   "ten", "1.2.3s",  "-1s",
                                      "1 s", "1days", "1e3s", ".",   "9999999h"};
    uint64_t ns;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(text_duration(good[i].text, &ns, NULL), 0);
        assert_true(ns == good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rk_why why = {""};

        assert_int_equal(text_duration(bad[i], &ns, &why), RK_EINVAL);
        assert_true(why.text[0] != '\0');
    }
}

static void test_printed_durations(void **state)
{
    char out[32];

    (void)state;
    assert_string_equal(text_duration_print(12345678, out, sizeof out), "12.3 ms");
    assert_string_equal(text_duration_print(4200 * RK_MS, out, sizeof out), "4.20 s");
    assert_string_equal(text_duration_print(200 * RK_S, out, sizeof out), "3 min 20 s");
    assert_string_equal(text_duration_print(3700 * RK_S, out, sizeof out), "1 h 1 min");
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"status", "stop", "scale", "checkpoint"};

    (void)state;
    assert_string_equal(text_nearest("statsu", words, 4), "status");
    assert_string_equal(text_nearest("scael", words, 4), "scale");
    assert_string_equal(text_nearest("checkpiont", words, 4), "checkpoint");
    assert_string_equal(text_nearest("check", words, 4), "checkpoint");
    assert_null(text_nearest("frobnicate", words, 4));
    assert_null(text_nearest("", words, 4));
}

/* A hostfile with this text; what reading it says about it. */
static int read_file(const char *text, struct hosts *hosts, struct rk_why *why)
{
    char path[] = "/tmp/reknit-hosts-XXXXXX";
    int fd = mkstemp(path);
    int rc;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    rc = hosts_read(path, 1, hosts, why);
    unlink(path);
    return rc;
}

static void test_hostfile(void **state)
{
    struct hosts hosts;

    (void)state;
    assert_int_equal(
        read_file("# nodes\n\nnode1 slots=4\n  me@node2:2   # two\nnode1\r\n", &hosts, NULL), 0);
    assert_int_equal(hosts.count, 3);
    assert_string_equal(hosts.host[0].target, "node1");
    assert_int_equal(hosts.host[0].slots, 4);
    assert_string_equal(hosts.host[1].target, "me@node2");
    assert_string_equal(host_name(&hosts.host[1]), "node2");
    assert_int_equal(hosts.host[1].slots, 2);
    assert_int_equal(hosts.host[2].slots, 1);
    hosts_done(&hosts);
}

static void file_refused(const char *text, const char *position, const char *part)
{
    struct hosts hosts;
    struct rk_why why = {""};

    assert_int_equal(read_file(text, &hosts, &why), RK_EINVAL);
    if (strstr(why.text, position) == NULL || strstr(why.text, part) == NULL)
        fail_msg("'%s' without '%s' or '%s'", why.text, position, part);
}

static void test_bad_hostfiles(void **state)
{
    char long_line[2000];

    (void)state;
    file_refused("a\nb slots=x\n", ":2:9:", "'x' is not a whole number");
    file_refused("a\nb slots=0\n", ":2:9:", "1 to 64");
    file_refused("a cores=3\n", ":1:3:", "not understood");
    file_refused("a:65\n", ":1:3:", "1 to 64");
    file_refused("a: 3\n", ":1:3:", "'' is not");
    file_refused("-oProxyCommand=x\n", ":1:1:", "host's name");
    file_refused("a;reboot\n", ":1:2:", "not understood");
    file_refused("# nothing\n", ":2:1:", "names no host");
    memset(long_line, 'a', sizeof long_line - 1);
    long_line[sizeof long_line - 1] = '\0';
    file_refused(long_line, ":1:", "too long");
}

static void test_places(void **state)
{
    struct run_options options = {.max_workers = 5, .slots = 2, .virtual_hosts = 2};
    static const char *const groups[] = {"vh0", "vh0", "vh0", "vh1", "vh1", "vh1", "vh0"};
    struct place place;

    (void)state;
    for (uint32_t i = 0; i < 7; i++) {
        place_of(&options, "box", i, &place);
        assert_string_equal(place.group, groups[i]);
        assert_null(place.target);
    }
    options.virtual_hosts = 0;
    place_of(&options, "box", 4, &place);
    assert_string_equal(place.group, "local");
    assert_string_equal(place.host_name, "box");
    assert_int_equal(place.slots, 2);
    assert_int_equal(hosts_read("a:4,me@b:2", 1, &options.hosts, NULL), 0);
    place_of(&options, "box", 1, &place);
    assert_string_equal(place.group, "b");
    assert_string_equal(place.target, "me@b");
    assert_int_equal(place.slots, 2);
    hosts_done(&options.hosts);
}

static void test_quotes(void **state)
{
    char out[32] = "";

    (void)state;
    assert_int_equal(crew_quote("it's $HOME", out, sizeof out), 0);
    assert_string_equal(out, "'it'\\''s $HOME'");
    assert_int_equal(crew_quote("0123456789012345678901234", out, sizeof out), RK_EFULL);
}

static void test_percentiles(void **state)
{
    double values[] = {5, 1, 4, 2, 3};

    (void)state;
    assert_true(bench_percentile(values, 5, 0.5) == 3);
    assert_true(bench_percentile(values, 5, 0.9) == 5);
    assert_true(bench_percentile(values, 5, 1) == 5);
    assert_true(bench_percentile(values, 0, 0.5) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),     cmocka_unit_test(test_printed_durations),
        cmocka_unit_test(test_nearest),       cmocka_unit_test(test_hostfile),
        cmocka_unit_test(test_bad_hostfiles), cmocka_unit_test(test_places),
        cmocka_unit_test(test_quotes),        cmocka_unit_test(test_percentiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
