/* What `reknit run` shows: the live line, lines above it, events in words, the report. */
#include "common/clock.h"
#include "launch/event_text.h"
#include "launch/lines.h"
#include "launch/report.h"
#include "launch/screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct screen_status status = {
    .state = "running",
    .step = 120,
    .has_loss = true,
    .loss = 2.34567,
    .samples_per_s = 812.4,
    .workers = 3,
    .target = 4,
    .last_event = "rank 2 on vh1 was killed by signal 9",
};

/* What comes out at the other end of a screen. */
struct output {
    int ends[2];
    char text[8192];
    struct screen *screen;
};

static void output_open(struct output *output, struct screen_style style)
{
    memset(output, 0, sizeof *output);
    assert_int_equal(pipe2(output->ends, O_NONBLOCK), 0);
    output->screen = screen_new(output->ends[1], &style);
    assert_non_null(output->screen);
}

static const char *output_close(struct output *output)
{
    ssize_t size;

    screen_free(output->screen);
    close(output->ends[1]);
    size = read(output->ends[0], output->text, sizeof output->text - 1);
    assert_true(size >= 0);
    close(output->ends[0]);
    return output->text;
}

static void test_live_line(void **state)
{
    char out[512];
    struct screen_status forming = status;

    (void)state;
    assert_string_equal(screen_status_text(&status, 200, out, sizeof out),
                        "step 120  loss 2.3457  812 samples/s  3/4 workers  | rank 2 on vh1 was "
                        "killed by signal 9");
    assert_string_equal(screen_status_text(&status, 20, out, sizeof out), "step 120  loss 2.34");
    snprintf(forming.state, sizeof forming.state, "forming");
    forming.last_event[0] = '\0';
    forming.has_loss = false;
    forming.samples_per_s = 0;
    assert_string_equal(screen_status_text(&forming, 0, out, sizeof out),
                        "step 120  3/4 workers  forming");
}

static void test_clean(void **state)
{
    static const struct {
        const char *line, *clean;
    } cases[] = {
        {"plain text", "plain text"},
        {"50%\r100%\r", "100%"},
        {"\033[2J\033[Hgone", "?[2J?[Hgone"},
        {"\033[31mred", "\033[31mred\033[0m"},
        {"bell\a\ttab\177", "bell?\ttab?"},
        {"\033]0;title\a", "?]0;title?"},
        {"\033[", "?["},
    };
    char out[256];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = screen_clean(cases[i].line, strlen(cases[i].line), out, sizeof out);

        out[size] = '\0';
        assert_string_equal(out, cases[i].clean);
    }
}

static void test_terminal(void **state)
{
    struct output output;

    (void)state;
    output_open(&output, (struct screen_style){.terminal = true, .width = 24});
    screen_progress(output.screen, &status, RK_S);
    screen_rank(output.screen, "[rank 1] 10%\r20%\033[2J", 20);
    screen_progress(output.screen, &status, RK_S + 50 * RK_MS); /* too soon */
    screen_note(output.screen, SCREEN_BAD, "lost");
    assert_string_equal(output_close(&output), "step 120  loss 2.3457  "
                                               "\r\033[K[rank 1] 20%?[2J\n"
                                               "step 120  loss 2.3457  "
                                               "\r\033[Kreknit: lost\n"
                                               "step 120  loss 2.3457  "
                                               "\r\033[K");
}

static void test_colours(void **state)
{
    struct output output;

    (void)state;
    output_open(&output, (struct screen_style){.terminal = true, .colour = true, .width = 80});
    screen_note(output.screen, SCREEN_GOOD, "recovered");
    assert_string_equal(output_close(&output), "\033[32mreknit: recovered\033[0m\n");
}

static void test_plain(void **state)
{
    struct output output;

    (void)state;
    output_open(&output, (struct screen_style){.terminal = false});
    screen_progress(output.screen, &status, RK_S);
    screen_progress(output.screen, &status, 2 * RK_S); /* too soon */
    screen_rank(output.screen, "[rank 1] 10%\r\033[2J", 17);
    screen_note(output.screen, SCREEN_BAD, "lost");
    screen_progress(output.screen, &status, 7 * RK_S);
    assert_string_equal(output_close(&output),
                        "reknit: step 120  loss 2.3457  812 samples/s  3/4 workers\n"
                        "[rank 1] 10%\r\033[2J\n"
                        "reknit: lost\n"
                        "reknit: step 120  loss 2.3457  812 samples/s  3/4 workers\n");
}

static void test_quiet(void **state)
{
    struct output output;

    (void)state;
    output_open(&output, (struct screen_style){.quiet = true});
    screen_progress(output.screen, &status, RK_S);
    screen_note(output.screen, SCREEN_BAD, "lost");
    screen_rank(output.screen, "hello", 5);
    screen_print(output.screen, "the end\n");
    assert_string_equal(output_close(&output), "hello\nthe end\n");
}

/* Nobody reads: the screen drops lines and goes on, and what fits comes whole. */
static void test_slow_reader(void **state)
{
    struct output output;
    char line[1000];
    uint64_t dropped;

    (void)state;
    memset(line, 'x', sizeof line);
    output_open(&output, (struct screen_style){.terminal = false});
    for (int i = 0; i < 3000; i++)
        screen_rank(output.screen, line, sizeof line);
    dropped = screen_dropped(output.screen);
    assert_true(dropped > 0 && dropped < 3000);
    close(output.ends[0]);
    screen_free(output.screen); /* the reader is gone: it must not wait or die */
    close(output.ends[1]);
}

static void says(const char *json, const char *sentence)
{
    json_t *event = json_loads(json, 0, NULL);
    enum screen_tone tone;
    char out[300];

    assert_non_null(event);
    assert_string_equal(event_text(event, &tone, out, sizeof out), sentence);
    json_decref(event);
}

static void test_event_texts(void **state)
{
    (void)state;
    says("{\"event\":\"rank_exited\",\"rank\":2,\"host\":\"vh1\",\"reason\":\"signal\","
         "\"signal\":9,\"detect_ms\":0.31}",
         "rank 2 on vh1 was killed by signal 9, noticed in 0.3 ms");
    says("{\"event\":\"rank_exited\",\"rank\":0,\"reason\":\"exit\",\"exit_code\":3}",
         "rank 0 ended with exit code 3");
    says("{\"event\":\"rank_exited\",\"rank\":0,\"reason\":\"none\",\"exit_code\":0}",
         "rank 0 has ended");
    says("{\"event\":\"worker_lost\",\"worker\":\"ab12\",\"reason\":\"silent\"}",
         "worker ab12 fell silent");
    says("{\"event\":\"recovered\",\"mode\":\"in_place\",\"recover_ms\":12.34,\"lost_steps\":0,"
         "\"losses\":2}",
         "recovered in place from 2 losses in 12.3 ms, 0 steps lost");
    says("{\"event\":\"recovered\",\"mode\":\"relaunch\",\"lost_steps\":1}",
         "recovered by relaunch, 1 step lost");
    says("{\"event\":\"generation_started\",\"generation\":3,\"world_size\":4,\"workers\":2}",
         "generation 3: 4 ranks, workers 2");
    says("{\"event\":\"generation_started\",\"generation\":1,\"world_size\":4,\"workers\":2,"
         "\"arena_bytes\":104857600,\"gradient_bytes\":1048576,\"state_bytes\":3145728}",
         "generation 1: 4 ranks, workers 2; a host keeps 100 MiB of shared memory: gradients 1.0 "
         "MiB, "
         "state 3.0 MiB, the rest for partial sums and snapshots");
    says("{\"event\":\"checkpoint_committed\",\"step\":200}", "checkpoint of step 200 committed");
    says("{\"event\":\"something_new\"}", "something new");
    says("{}", "");
}

static void take_all(struct history *history, const char *const *events, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *event = json_loads(events[i], 0, NULL);

        assert_non_null(event);
        history_take(history, event);
        json_decref(event);
    }
}

static void test_report(void **state)
{
    static const char *const events[] = {
        "{\"t\":100.0,\"event\":\"job_started\"}",
        "{\"t\":101.5,\"event\":\"rank_exited\",\"rank\":2,\"host\":\"vh1\",\"reason\":\"signal\","
        "\"signal\":9,\"detect_ms\":0.4}",
        "{\"t\":101.5,\"event\":\"worker_lost\",\"worker\":\"ab\",\"reason\":\"closed\"}",
        "{\"t\":101.6,\"event\":\"recovered\",\"mode\":\"in_place\",\"detect_ms\":0.4,"
        "\"recover_ms\":12.1,\"lost_steps\":0,\"losses\":2}",
        "{\"t\":102,\"event\":\"checkpoint_committed\",\"step\":300}",
        "{\"t\":110,\"event\":\"job_finished\",\"exit_code\":0,\"steps\":300,\"goodput\":0.984}",
    };
    struct history history;
    struct report report = {
        .job = "train", .why = "", .logs = "/logs", .checkpoint_dir = "/ck", .wall_s = 12.3};
    char *text;

    (void)state;
    history_init(&history);
    take_all(&history, events, sizeof events / sizeof events[0]);
    history_speed(&history, "{\"steps_per_s\":24.5,\"samples_per_s\":784}");
    report.history = &history;
    text = report_text(&report);
    assert_string_equal(
        text,
        "\njob train finished\n"
        "  steps          at step 300 after 12.30 s\n"
        "  throughput     24.5 steps/s, 784.0 samples/s\n"
        "  goodput        98.4 % of the time went into steps that counted\n"
        "  checkpoints    1, the newest at step 300 (/ck)\n"
        "  interruptions  1, 1 of them in place; 0 steps lost\n\n"
        "  at              noticed   next step  lost steps  how       what\n"
        "  1.50 s           0.4 ms     12.1 ms           0  in place  rank 2 on vh1 was killed "
        "by signal 9 (+1)\n");
    free(text);
    history_done(&history);
}

static void test_report_of_failure(void **state)
{
    static const char *const events[] = {
        "{\"t\":1,\"event\":\"rank_exited\",\"rank\":1,\"reason\":\"exit\",\"exit_code\":3}",
    };
    char folder[] = "/tmp/reknit-screen-XXXXXX";
    char old[64];
    char newer[64];
    struct history history;
    struct report report = {
        .job = "train", .exit_code = 3, .why = "the program failed 3 times; its last lines:\nx\n"};
    FILE *file;
    char *text;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(old, sizeof old, "%s/rank-1.gen-2.log", folder);
    snprintf(newer, sizeof newer, "%s/rank-1.gen-10.log", folder);
    file = fopen(old, "w");
    assert_non_null(file);
    fputs("old words\n", file);
    fclose(file);
    file = fopen(newer, "w");
    assert_non_null(file);
    for (int i = 0; i < 2000; i++)
        fprintf(file, "line %d\n", i);
    fclose(file);
    history_init(&history);
    take_all(&history, events, 1);
    report.history = &history;
    report.logs = folder;
    text = report_text(&report);
    assert_non_null(strstr(text, "job train failed (exit code 3)"));
    assert_non_null(strstr(text, "why            the program failed 3 times\n"));
    assert_non_null(strstr(text, "rank 1 ended with exit code 3"));
    assert_non_null(strstr(text, newer));
    assert_non_null(strstr(text, "| line 1999\n"));
    assert_non_null(strstr(text, "| line 1990\n"));
    assert_null(strstr(text, "| line 1989\n"));
    assert_null(strstr(text, "old words"));
    free(text);
    history_done(&history);
    unlink(old);
    unlink(newer);
    rmdir(folder);
}

static void collect(void *who, const char *line, size_t length)
{
    char *text = who;

    snprintf(text + strlen(text), 200 - strlen(text), "<%.*s>", length > 9 ? 9 : (int)length, line);
}

static void test_lines(void **state)
{
    static char longest[LINES_LONGEST + 3];
    struct lines lines = {NULL, 0};
    char got[200] = "";
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "one\ntw", 6), 6);
    assert_int_equal(lines_read(&lines, ends[0], collect, got), 1);
    assert_string_equal(got, "<one>");
    assert_int_equal(write(ends[1], "o\n\nend", 6), 6);
    assert_int_equal(lines_read(&lines, ends[0], collect, got), 1);
    assert_string_equal(got, "<one><two><>");
    memset(longest, 'x', sizeof longest);
    assert_int_equal(write(ends[1], longest, sizeof longest), sizeof longest);
    close(ends[1]);
    while (lines_read(&lines, ends[0], collect, got) == 1)
        continue;
    assert_string_equal(got, "<one><two><><endxxxxxx><xxxxxx>");
    lines_done(&lines);
    close(ends[0]);
}

static int ignore_sigpipe(void **state)
{
    (void)state;
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_line),   cmocka_unit_test(test_clean),
        cmocka_unit_test(test_terminal),    cmocka_unit_test(test_colours),
        cmocka_unit_test(test_plain),       cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_slow_reader), cmocka_unit_test(test_event_texts),
        cmocka_unit_test(test_report),      cmocka_unit_test(test_report_of_failure),
        cmocka_unit_test(test_lines),
    };

    return cmocka_run_group_tests(tests, ignore_sigpipe, NULL);
}
