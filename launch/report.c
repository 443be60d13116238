/* The report at the end; see report.h. */
#include "launch/report.h"

#include "common/clock.h"
#include "launch/text.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROWS 40u
#define LAST_LINES 10
#define TAIL_BYTES 4096

static const char *seconds_text(double seconds, char *out, size_t size)
{
    return text_duration_print(seconds > 0 ? (uint64_t)(seconds * 1e9) : 0, out, size);
}

static const char *ms_text(double ms, char *out, size_t size)
{
    if (ms < 0)
        snprintf(out, size, "-");
    else
        text_duration_print((uint64_t)(ms * 1e6), out, size);
    return out;
}

static const char *ending(const struct report *report)
{
    if (strcmp(report->history->reason, "kill") == 0)
        return "was ended at once";
    if (strcmp(report->history->reason, "stop") == 0)
        return "stopped";
    switch (report->exit_code) {
    case 0:
        return "finished";
    case 130:
    case 143:
        return "stopped";
    case 75:
        return "gave up: its restarts are spent";
    default:
        return "failed";
    }
}

static void write_speed(const struct report *report, FILE *out)
{
    const struct history *history = report->history;
    char time[32];

    if (history->steps >= 0)
        fprintf(out, "  steps          at step %" PRId64 " after %s\n", history->steps,
                seconds_text(report->wall_s, time, sizeof time));
    else
        fprintf(out, "  time           %s\n", seconds_text(report->wall_s, time, sizeof time));
    if (history->steps_per_s > 0)
        fprintf(out, "  throughput     %.1f steps/s", history->steps_per_s);
    if (history->steps_per_s > 0 && history->samples_per_s > 0)
        fprintf(out, ", %.1f samples/s", history->samples_per_s);
    if (history->steps_per_s > 0)
        fprintf(out, "\n");
    if (history->goodput >= 0)
        fprintf(out, "  goodput        %.1f %% of the time went into steps that counted\n",
                history->goodput * 100);
    if (report->checkpoint_dir != NULL) {
        fprintf(out, "  checkpoints    %" PRIu64, history->checkpoints);
        if (history->checkpoint_step >= 0)
            fprintf(out, ", the newest at step %" PRId64, history->checkpoint_step);
        if (history->rejected > 0)
            fprintf(out, ", %" PRIu64 " rejected", history->rejected);
        fprintf(out, " (%s)\n", report->checkpoint_dir);
    }
}

static void write_row(const struct history *history, const struct history_row *row, FILE *out)
{
    char at[32];
    char detect[32];
    char recover[32];
    char more[32] = "";

    if (row->losses > 1)
        snprintf(more, sizeof more, " (+%" PRId64 ")", row->losses - 1);
    seconds_text(row->t - history->started, at, sizeof at);
    fprintf(out, "  %-11s  %10s  %10s  %10" PRId64 "  %-8s  %s%s\n", at,
            ms_text(row->detect_ms, detect, sizeof detect),
            ms_text(row->recover_ms, recover, sizeof recover), row->lost_steps,
            row->in_place ? "in place" : "relaunch", row->what, more);
}

static void write_interruptions(const struct history *history, FILE *out)
{
    size_t first = history->rows > MOST_ROWS ? history->rows - MOST_ROWS : 0;

    if (history->interruptions == 0) {
        fprintf(out, "  interruptions  none\n");
        return;
    }
    fprintf(out, "  interruptions  %zu, %zu of them in place; %" PRId64 " steps lost\n\n",
            history->interruptions, history->in_place, history->lost_steps);
    fprintf(out, "  %-11s  %10s  %10s  %10s  %-8s  %s\n", "at", "noticed", "next step",
            "lost steps", "how", "what");
    if (first > 0)
        fprintf(out, "  ... %zu earlier ones\n", first);
    for (size_t i = first; i < history->rows; i++)
        write_row(history, &history->row[i], out);
}

int report_rank_log(const char *logs, int64_t rank, char *out, size_t size)
{
    DIR *folder = opendir(logs);
    struct dirent *entry;
    uint64_t newest = 0;
    bool found = false;

    if (folder == NULL)
        return RK_ENOENT;
    while ((entry = readdir(folder)) != NULL) {
        uint64_t generation;
        int64_t number;

        if (sscanf(entry->d_name, "rank-%" SCNd64 ".gen-%" SCNu64 ".log", &number, &generation) !=
                2 ||
            number != rank || (found && generation < newest))
            continue;
        found = true;
        newest = generation;
        snprintf(out, size, "%s/%s", logs, entry->d_name);
    }
    closedir(folder);
    return found ? 0 : RK_ENOENT;
}

/* The last lines of a file, indented. */
static void write_tail(const char *path, FILE *out)
{
    char text[TAIL_BYTES + 1];
    FILE *file = fopen(path, "re");
    char *at;
    size_t size;
    int lines = 0;

    if (file == NULL)
        return;
    if (fseek(file, -TAIL_BYTES, SEEK_END) != 0)
        rewind(file);
    size = fread(text, 1, TAIL_BYTES, file);
    fclose(file);
    while (size > 0 && text[size - 1] == '\n')
        size--;
    text[size] = '\0';
    for (at = text + size; at > text; at--)
        if (at[-1] == '\n' && ++lines == LAST_LINES)
            break;
    for (char *line = strtok(at, "\n"); line != NULL; line = strtok(NULL, "\n"))
        fprintf(out, "    | %s\n", line);
}

static void write_failure(const struct report *report, FILE *out)
{
    const struct history *history = report->history;
    char log[4096];
    const char *lines = strstr(report->why, "; its last lines"); /* they come from the log below */
    size_t length = lines != NULL ? (size_t)(lines - report->why) : strcspn(report->why, "\n");

    if (length > 0)
        fprintf(out, "  why            %.*s\n", (int)length, report->why);
    if (history->failed_rank >= 0 &&
        report_rank_log(report->logs, history->failed_rank, log, sizeof log) == 0) {
        fprintf(out, "  last loss      %s; its last lines, from\n    %s\n", history->failed, log);
        write_tail(log, out);
    }
    fprintf(out, "  logs           %s\n", report->logs);
}

char *report_text(const struct report *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    fprintf(out, "\njob %s %s", report->job, ending(report));
    if (report->exit_code != 0)
        fprintf(out, " (exit code %d)", report->exit_code);
    fprintf(out, "\n");
    if (strncmp(ending(report), "failed", 6) == 0 || report->exit_code == 75)
        write_failure(report, out);
    write_speed(report, out);
    write_interruptions(report->history, out);
    if (report->dropped > 0)
        fprintf(out, "  not shown      %" PRIu64 " lines, since the reader was slow (see %s)\n",
                report->dropped, report->logs);
    fclose(out);
    return text;
}
