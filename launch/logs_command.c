/* `reknit logs`: what the ranks of a job printed, also after it has ended. */
#include "common/number.h"
#include "launch/arguments.h"
#include "launch/client.h"
#include "launch/commands.h"
#include "launch/directories.h"
#include "launch/lock.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLLOW_MS 100
#define MOST_LOGS 4096u
#define LOOK_AGAIN 10 /* turns between two looks for new files */

struct logs_options {
    const char *rank;
    const char *dir;
    bool follow;
};

static const struct argument arguments[] = {
    {"--rank", "R", "only of this rank", argument_text, offsetof(struct logs_options, rank), 0, 0},
    {"--follow", NULL, "go on until the job ends", argument_flag,
     offsetof(struct logs_options, follow), 0, 0},
    {"--checkpoint-dir", "DIR", "of the job with this checkpoint directory", argument_text,
     offsetof(struct logs_options, dir), 0, 0},
};
static const struct command logs_command = {
    .name = "reknit logs",
    .usage = "[JOB] [--rank R] [--follow]",
    .about = "Prints what the ranks of a job printed, by rank and generation.\n"
             "Works after the job has ended too; JOB may be left out when exactly one is running.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
};

/* One log file and how far it was printed. */
struct log {
    char name[NAME_MAX + 1];
    int64_t rank;
    uint64_t generation;
    long at;
};

struct logs {
    char folder[PATH_MAX];
    int64_t rank; /* -1: all */
    struct log *log;
    size_t count;
};

static int by_rank(const void *a, const void *b)
{
    const struct log *x = a;
    const struct log *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return x->generation < y->generation ? -1 : x->generation > y->generation ? 1 : 0;
}

static bool is_known(const struct logs *logs, const char *name)
{
    for (size_t i = 0; i < logs->count; i++)
        if (strcmp(logs->log[i].name, name) == 0)
            return true;
    return false;
}

/* Adds the files that are new in the folder. */
static void look(struct logs *logs)
{
    DIR *folder = opendir(logs->folder);
    struct dirent *entry;
    size_t known = logs->count;

    while (folder != NULL && logs->count < MOST_LOGS && (entry = readdir(folder)) != NULL) {
        struct log log = {.at = 0};
        struct log *grown;

        if (sscanf(entry->d_name, "rank-%" SCNd64 ".gen-%" SCNu64 ".log", &log.rank,
                   &log.generation) != 2 ||
            (logs->rank >= 0 && log.rank != logs->rank) || is_known(logs, entry->d_name))
            continue;
        grown = realloc(logs->log, (logs->count + 1) * sizeof *grown);
        if (grown == NULL)
            break;
        logs->log = grown;
        snprintf(log.name, sizeof log.name, "%s", entry->d_name);
        grown[logs->count++] = log;
    }
    if (folder != NULL)
        closedir(folder);
    if (logs->count > known)
        qsort(logs->log + known, logs->count - known, sizeof *logs->log, by_rank);
}

/* Prints what is new in one file; while following, whole lines only. */
static void print_new(const struct logs *logs, struct log *log, bool whole_lines)
{
    char path[2 * PATH_MAX];
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", logs->folder, log->name);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fseek(file, log->at, SEEK_SET) == 0) {
        while ((length = getline(&line, &size, file)) > 0) {
            bool whole = line[length - 1] == '\n';

            if (!whole && whole_lines)
                break;
            printf("[rank %" PRId64 "] ", log->rank);
            fwrite(line, 1, (size_t)length, stdout);
            if (!whole)
                putchar('\n');
            log->at += length;
        }
    }
    free(line);
    fclose(file);
}

static bool print_all(struct logs *logs, bool whole_lines)
{
    for (size_t i = 0; i < logs->count; i++)
        print_new(logs, &logs->log[i], whole_lines);
    return fflush(stdout) == 0;
}

static int find_folder(const struct logs_options *options, const char *job, char *lock,
                       struct logs *logs, struct rk_why *why)
{
    char state[PATH_MAX];
    struct client client = {.link = NULL};
    int rc = 0;

    if (options->dir != NULL) {
        snprintf(state, sizeof state, "%s/.reknit", options->dir);
    } else {
        if (job == NULL) {
            rc = client_open(NULL, &client, why);
            client_close(&client);
            job = client.job;
        }
        if (rc == 0)
            rc = directories_find_state(job, state, sizeof state, why);
    }
    if (rc != 0)
        return rc;
    if ((size_t)snprintf(logs->folder, sizeof logs->folder, "%s/logs", state) >=
            sizeof logs->folder ||
        (size_t)snprintf(lock, PATH_MAX, "%s/lock", state) >= PATH_MAX)
        return rk_fail(why, RK_EFULL, "the path %.200s is too long", state);
    return 0;
}

static void follow(struct logs *logs, const char *lock)
{
    struct lock_holder holder;
    bool running = true;

    for (unsigned turn = 0; running; turn++) {
        if (turn % LOOK_AGAIN == 0) {
            running = lock_held(lock, &holder);
            look(logs);
        }
        if (!print_all(logs, running))
            return;
        if (running)
            poll(NULL, 0, FOLLOW_MS);
    }
}

int command_logs(int argc, char **argv)
{
    struct logs_options options = {NULL, NULL, false};
    struct logs logs = {.rank = -1};
    struct rk_why why = {""};
    char lock[PATH_MAX];
    uint64_t rank;
    int words;
    int exit_code;
    int rc = 0;

    if (arguments_take(&logs_command, argc, argv, &options, &words, &exit_code) != 0)
        return exit_code;
    if (options.rank != NULL) {
        if (rk_number_parse(options.rank, 0, UINT32_MAX, &rank))
            logs.rank = (int64_t)rank;
        else
            rc = rk_fail(&why, RK_EINVAL, "--rank: '%.40s' is not a rank", options.rank);
    }
    if (rc == 0 && words > 1)
        rc = rk_fail(&why, RK_EINVAL, "'%.60s' was not expected", argv[2]);
    if (rc == 0)
        rc = find_folder(&options, words > 0 ? argv[1] : NULL, lock, &logs, &why);
    if (rc == 0) {
        look(&logs);
        if (logs.count == 0 && !options.follow)
            rc = rk_fail(&why, RK_ENOENT, "there is no log of %s%.20s in %.300s",
                         options.rank != NULL ? "rank " : "any rank",
                         options.rank != NULL ? options.rank : "", logs.folder);
        else if (options.follow)
            follow(&logs, lock);
        else
            print_all(&logs, false);
    }
    free(logs.log);
    return rc == 0 ? 0 : command_fail(&logs_command, rc, &why);
}
