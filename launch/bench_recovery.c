/* `reknit bench recovery`: what a loss costs, from kill -9 to the next finished step.
 *
 * Runs a job of its own, kills a random rank, carrier, host or mpirun again and again once the job
 * steps in its full size, and takes the time of the kill here, that of the next sum from the ranks
 * themselves, and that of `recovered`, when the coordinator has heard of a finished step, from the
 * job's events. */
#include "common/clock.h"
#include "launch/arguments.h"
#include "launch/bench.h"
#include "launch/bench_victims.h"
#include "launch/client.h"
#include "launch/event_text.h"
#include "launch/lines.h"
#include "launch/processes.h"
#include "launch/surroundings.h"
#include "launch/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_KILLS 10000u
#define STEPS_BETWEEN 5
#define READY_WITHIN (60 * RK_S)
#define RECOVERED_WITHIN (30 * RK_S)
#define STOPPED_WITHIN (20 * RK_S)
#define LOOK_MS 2

struct bench_options {
    uint32_t workers, megabytes, held, kills, virtual_hosts;
    const char *victim, *standby;
    bool json;
};

static const struct argument arguments[] = {
    {"--workers", "N", "workers of one rank each (4)", argument_count,
     offsetof(struct bench_options, workers), 2, 64},
    {"--grad-mb", "MB", "gradients of a step, in megabytes (4)", argument_count,
     offsetof(struct bench_options, megabytes), 1, 4096},
    {"--hold-mb", "MB", "memory that each rank has besides, in megabytes (0)", argument_count,
     offsetof(struct bench_options, held), 0, 1048576},
    {"--kill", "rank|carrier|mpirun|host", "what is killed (rank)", argument_text,
     offsetof(struct bench_options, victim), 0, 0},
    {"--kills", "K", "kills, one after the other (20)", argument_count,
     offsetof(struct bench_options, kills), 1, MOST_KILLS},
    {"--virtual-hosts", "H",
     "deal the workers to so many hosts\n"
     "(rank: 1; carrier, mpirun: 2; host: 3)",
     argument_count, offsetof(struct bench_options, virtual_hosts), 1, 64},
    {"--standby-carriers", "yes|no", "as for `reknit run` (yes)", argument_text,
     offsetof(struct bench_options, standby), 0, 0},
    {"--json", NULL, "one JSON object", argument_flag, offsetof(struct bench_options, json), 0, 0},
};
static const struct command bench_command = {
    .name = "reknit bench recovery",
    .usage = "[options]",
    .about =
        "Measures the time from kill -9 of a rank, of a carrier between hosts, of its mpirun, or\n"
        "of all processes of a virtual host, to the next finished step, and to the first sum in "
        "it.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after =
        "sum_*: to the first sum that a rank has; p50, p90 and max: until the coordinator has\n"
        "heard of the finished step.  step_ms is the median time of an undisturbed step; it is "
        "part of each recovery.\n"
        "new_*: from the start of a replacement to the first sum that it had a part in.\n"
        "`standby` counts the recoveries in which other carriers took over.",
};

struct bench {
    struct bench_options options;
    enum victim kind;
    char folder[PATH_MAX]; /* for events and logs; removed at the end */
    char events[PATH_MAX + 16], shared[PATH_MAX + 16];
    char name[64];
    struct process run;
    struct lines out, err;
    char said[256]; /* the last line the run said */
    struct client client;
    long offset;   /* in the events */
    uint64_t step; /* when the last recovery was over */
    struct bench_sums *sums;
    double *total_ms, *sum_ms, *step_ms;
    size_t kills, summed, steps;
    int64_t in_place, lost_steps, standby;
};

double bench_percentile(double *values, size_t count, double share)
{
    for (size_t i = 1; i < count; i++) {
        double value = values[i];
        size_t j = i;

        for (; j > 0 && values[j - 1] > value; j--)
            values[j] = values[j - 1];
        values[j] = value;
    }
    if (count == 0)
        return 0;
    size_t rank = (size_t)(share * (double)count);
    return values[rank < count ? rank : count - 1];
}

/* ---- the job under test -----------------------------------------------------------------------
 */

static void keep_line(void *who, const char *line, size_t length)
{
    struct bench *bench = who;

    if (length > 0)
        snprintf(bench->said, sizeof bench->said, "%.*s", (int)length, line);
}

/* Lets the run go on printing, and sees whether it still is there. */
static int watch_run(struct bench *bench, struct rk_why *why)
{
    int status;

    lines_read(&bench->out, bench->run.out, keep_line, bench);
    lines_read(&bench->err, bench->run.err, keep_line, bench);
    if (waitpid(bench->run.pid, &status, WNOHANG) != bench->run.pid)
        return 0;
    bench->run.pid = 0;
    lines_read(&bench->err, bench->run.err, keep_line, bench);
    return rk_fail(why, RK_EJOB, "the job ended by itself (%s %d): %s",
                   WIFSIGNALED(status) ? "signal" : "exit code",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), bench->said);
}

static int start_run(struct bench *bench, struct rk_why *why)
{
    char self[PATH_MAX];
    char rank[PATH_MAX + 32];
    char number[5][16];
    char *slash;
    int rc = surroundings_self(self, sizeof self, why);

    if (rc != 0)
        return rc;
    snprintf(rank, sizeof rank, "%s", self);
    slash = strrchr(rank, '/');
    snprintf(slash, sizeof rank - (size_t)(slash - rank), "/reknit-bench-rank");
    snprintf(number[0], sizeof number[0], "%u", bench->options.workers);
    snprintf(number[1], sizeof number[1], "%u", bench->options.megabytes);
    snprintf(number[2], sizeof number[2], "%u", 2 * bench->options.kills + 10);
    snprintf(number[3], sizeof number[3], "%u", bench->options.virtual_hosts);
    snprintf(number[4], sizeof number[4], "%u", bench->options.held);
    char *standby = (char *)(uintptr_t)bench->options.standby;
    char *job[] = {"reknit",  "run",      "--name",      bench->name,      "--workers", number[0],
                   "--quiet", "--events", bench->events, "--max-restarts", number[2]};
    char *hosts[] = {"--virtual-hosts", number[3], "--standby-carriers", standby};
    char *program[] = {"--", rank, number[1], bench->shared, number[4], NULL};
    char *argv[(sizeof job + sizeof hosts + sizeof program) / sizeof(char *)];
    char **end = mempcpy(argv, job, sizeof job);

    if (bench->options.virtual_hosts > 1)
        end = mempcpy(end, hosts, sizeof hosts);
    memcpy(end, program, sizeof program);
    return process_start(&(struct process_start){.path = self,
                                                 .argv = argv,
                                                 .in = -1,
                                                 .keep = {-1, -1, -1, -1},
                                                 .death_signal = SIGTERM},
                         &bench->run, why);
}

/* The file through which the ranks say when they had sums. */
static int share_sums(struct bench *bench, struct rk_why *why)
{
    void *map = MAP_FAILED;
    int fd;

    snprintf(bench->shared, sizeof bench->shared, "%s/sums", bench->folder);
    fd = open(bench->shared, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && ftruncate(fd, sizeof *bench->sums) == 0)
        map = mmap(NULL, sizeof *bench->sums, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        rk_fail_errno(why, errno, "%s cannot be made and mapped", bench->shared);
    else
        bench->sums = map;
    if (fd >= 0)
        close(fd);
    return map == MAP_FAILED ? RK_ENOMEM : 0;
}

static int set_up(struct bench *bench, struct rk_why *why)
{
    const char *tmp = surroundings_get("TMPDIR");
    int rc;

    bench->total_ms = calloc(bench->options.kills, sizeof(double));
    bench->sum_ms = calloc(bench->options.kills, sizeof(double));
    bench->step_ms = calloc(bench->options.kills, sizeof(double));
    if (bench->total_ms == NULL || bench->sum_ms == NULL || bench->step_ms == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the results");
    snprintf(bench->folder, sizeof bench->folder, "%s/reknit-bench-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(bench->folder) == NULL)
        return rk_fail_errno(why, errno, "no folder for the benchmark below %s",
                             tmp != NULL ? tmp : "/tmp");
    snprintf(bench->events, sizeof bench->events, "%s/events", bench->folder);
    snprintf(bench->name, sizeof bench->name, "bench-recovery-%d", (int)getpid());
    /* The logs of the job shall not stay. */
    surroundings_set("XDG_STATE_HOME", bench->folder);
    rc = share_sums(bench, why);
    return rc != 0 ? rc : start_run(bench, why);
}

static void clear_up(struct bench *bench, bool failed)
{
    struct client_request stop = {.verb = RK__VERB__VERB_STOP, .wait_ms = CLIENT_WAIT_MS};
    uint64_t deadline = rk_clock_now() + STOPPED_WITHIN;

    if (bench->run.pid > 0 && bench->client.link != NULL)
        client_ask(&bench->client, &stop, NULL, NULL);
    else if (bench->run.pid > 0)
        kill(bench->run.pid, SIGTERM);
    while (bench->run.pid > 0 && watch_run(bench, NULL) == 0) {
        if (rk_clock_now() > deadline)
            kill(bench->run.pid, SIGKILL);
        poll(NULL, 0, LOOK_MS);
    }
    client_close(&bench->client);
    if (bench->folder[0] != '\0' && failed) {
        fprintf(stderr, "The job's logs and events are kept in %s\n", bench->folder);
    } else if (bench->folder[0] != '\0') {
        sweep_contents(bench->folder, NULL);
        rmdir(bench->folder);
    }
    lines_done(&bench->out);
    lines_done(&bench->err);
    if (bench->sums != NULL)
        munmap(bench->sums, sizeof *bench->sums);
    free(bench->total_ms);
    free(bench->sum_ms);
    free(bench->step_ms);
}

/* ---- one kill ---------------------------------------------------------------------------------
 */

/* Whether all ranks are members and have the state, all carriers are there, and the job has stepped
 * since the last recovery. */
static bool whole(const struct bench *bench, const json_t *status, double *step_ms)
{
    const json_t *worker;
    const json_t *rank;
    size_t count = 0;
    size_t i;
    size_t j;

    if ((uint64_t)event_integer(status, "step", 0) < bench->step + STEPS_BETWEEN ||
        !victims_whole(status, bench->options.virtual_hosts,
                       strcmp(bench->options.standby, "yes") == 0))
        return false;
    json_array_foreach(json_object_get(status, "workers"), i, worker)
        json_array_foreach(json_object_get(worker, "ranks"), j, rank)
    {
        const char *state = json_string_value(json_object_get(rank, "state"));

        if (state == NULL || strcmp(state, "member") != 0 || event_integer(rank, "step", 0) == 0)
            return false;
        *step_ms = event_number(json_object_get(rank, "numbers"), "step_ms", *step_ms);
        count++;
    }
    return count == bench->options.workers;
}

/* Waits until the job stands in its full size; picks what is to be killed. */
static int pick(struct bench *bench, pid_t pids[VICTIMS_MOST], size_t *picked, struct rk_why *why)
{
    struct client_request ask = {.verb = RK__VERB__VERB_STATUS, .wait_ms = CLIENT_WAIT_MS};
    uint64_t deadline = rk_clock_now() + READY_WITHIN;
    double step_ms = 0;

    *picked = 0;
    while (*picked == 0) {
        char *text = NULL;
        json_t *status;
        int rc = watch_run(bench, why);

        if (rc != 0)
            return rc;
        if (bench->client.link == NULL && client_open(bench->name, &bench->client, NULL) != 0)
            client_close(&bench->client);
        if (bench->client.link != NULL)
            client_ask(&bench->client, &ask, &text, NULL);
        status = text != NULL ? json_loads(text, 0, NULL) : NULL;
        if (whole(bench, status, &step_ms))
            *picked = victims_pick(status, bench->kind, bench->name, pids);
        json_decref(status);
        free(text);
        if (rk_clock_now() > deadline)
            return rk_fail(why, RK_ETIMEDOUT, "the job did not stand in its full size again");
        if (*picked == 0)
            poll(NULL, 0, 5 * LOOK_MS);
    }
    if (step_ms > 0)
        bench->step_ms[bench->steps++] = step_ms;
    return 0;
}

/* The next `recovered` in the events behind bench->offset, or NULL when it is not there yet. */
static json_t *next_recovered(struct bench *bench)
{
    FILE *file = fopen(bench->events, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    json_t *found = NULL;

    if (file == NULL)
        return NULL;
    if (fseek(file, bench->offset, SEEK_SET) == 0) {
        while (found == NULL && (length = getline(&line, &size, file)) > 0 &&
               line[length - 1] == '\n') {
            json_t *event = json_loads(line, 0, NULL);

            bench->offset += length;
            if (strcmp(event_name(event), "recovered") == 0)
                found = event;
            else
                json_decref(event);
        }
    }
    free(line);
    fclose(file);
    return found;
}

static void take_recovered(struct bench *bench, const json_t *event, uint64_t killed,
                           double killed_ms)
{
    uint64_t generation = (uint64_t)event_integer(event, "generation", 0);
    uint64_t summed = atomic_load(&bench->sums->first[generation % BENCH_SUMS]);
    const char *mode = json_string_value(json_object_get(event, "mode"));
    const char *carriers = json_string_value(json_object_get(event, "carriers"));

    if (summed > killed)
        bench->sum_ms[bench->summed++] = (double)(summed - killed) / 1e6;
    bench->total_ms[bench->kills++] = event_number(event, "t", 0) * 1e3 - killed_ms;
    bench->in_place += mode != NULL && strcmp(mode, "in_place") == 0 ? 1 : 0;
    bench->standby += carriers != NULL && strcmp(carriers, "standby") == 0 ? 1 : 0;
    bench->lost_steps += event_integer(event, "lost_steps", 0);
    bench->step = (uint64_t)event_integer(event, "step", (int64_t)bench->step + STEPS_BETWEEN);
}

static int one_kill(struct bench *bench, struct rk_why *why)
{
    pid_t pids[VICTIMS_MOST];
    uint64_t deadline;
    uint64_t killed;
    double killed_ms;
    json_t *event;
    size_t count;
    int rc = pick(bench, pids, &count, why);

    if (rc != 0)
        return rc;
    json_decref(next_recovered(bench)); /* none: only moves to the end */
    killed_ms = (double)rk_clock_wall() / 1e6;
    killed = rk_clock_now();
    if (kill(pids[0], SIGKILL) != 0)
        return rk_fail_errno(why, errno, "process %d cannot be killed", (int)pids[0]);
    for (size_t i = 1; i < count; i++)
        kill(pids[i], SIGKILL); /* it may have died with the first */
    deadline = rk_clock_now() + RECOVERED_WITHIN;
    while ((event = next_recovered(bench)) == NULL) {
        rc = watch_run(bench, why);
        if (rc != 0)
            return rc;
        if (rk_clock_now() > deadline)
            return rk_fail(why, RK_ETIMEDOUT, "the job did not recover from kill %zu",
                           bench->kills + 1);
        poll(NULL, 0, LOOK_MS);
    }
    take_recovered(bench, event, killed, killed_ms);
    json_decref(event);
    return 0;
}

/* From the start of each process that took the place of a lost one to the first sum to which it had
 * contributed, in *ms, which the caller frees; returns how many. */
static size_t replacements_read(const struct bench *bench, double **ms)
{
    uint32_t processes = atomic_load(&bench->sums->processes);
    size_t count = 0;

    if (processes > BENCH_SUMS)
        processes = BENCH_SUMS;
    *ms = calloc(processes + 1, sizeof **ms);
    for (uint32_t i = bench->options.workers; *ms != NULL && i < processes; i++) {
        const struct bench_process *process = &bench->sums->process[i];
        uint64_t summed = atomic_load(&process->summed);

        if (summed != 0)
            (*ms)[count++] = (double)(summed - atomic_load(&process->began)) / 1e6;
    }
    return count;
}

static void print_results(struct bench *bench)
{
    double *new_ms;
    size_t new_count = replacements_read(bench, &new_ms);
    double new50 = bench_percentile(new_ms, new_count, 0.5);
    double new90 = bench_percentile(new_ms, new_count, 0.9);
    double p50 = bench_percentile(bench->total_ms, bench->kills, 0.5);
    double p90 = bench_percentile(bench->total_ms, bench->kills, 0.9);
    double max = bench_percentile(bench->total_ms, bench->kills, 1);
    double step = bench_percentile(bench->step_ms, bench->steps, 0.5);
    double sum50 = bench_percentile(bench->sum_ms, bench->summed, 0.5);
    double sum90 = bench_percentile(bench->sum_ms, bench->summed, 0.9);

    if (bench->options.json)
        printf("{\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"max_ms\": %.3f, \"sum_p50_ms\": %.3f, "
               "\"sum_p90_ms\": %.3f, \"new_p50_ms\": %.3f, \"new_p90_ms\": %.3f, "
               "\"step_ms\": %.3f, "
               "\"kill\": \"%s\", \"kills\": %zu, \"in_place\": %" PRId64
               ", \"lost_steps\": %" PRId64 ", \"standby\": %" PRId64
               ", \"workers\": %u, \"grad_mb\": %u, \"hold_mb\": %u, \"hosts\": %u}\n",
               p50, p90, max, sum50, sum90, new50, new90, step, victim_names[bench->kind],
               bench->kills, bench->in_place, bench->lost_steps, bench->standby,
               bench->options.workers, bench->options.megabytes, bench->options.held,
               bench->options.virtual_hosts);
    else
        printf("from kill -9 of a %s to the next finished step, %u ranks on %u hosts, %u MB of "
               "gradients and %u MB besides:\n"
               "  p50_ms %.1f  p90_ms %.1f  max_ms %.1f  sum_p50_ms %.1f  sum_p90_ms %.1f\n"
               "  new_p50_ms %.1f  new_p90_ms %.1f\n"
               "  (%zu kills, %" PRId64 " in place, %" PRId64 " by standby carriers, %" PRId64
               " steps lost; an undisturbed step: %.1f ms)\n",
               victim_names[bench->kind], bench->options.workers, bench->options.virtual_hosts,
               bench->options.megabytes, bench->options.held, p50, p90, max, sum50, sum90, new50,
               new90, bench->kills, bench->in_place, bench->standby, bench->lost_steps, step);
    free(new_ms);
}

/* What --kill and --virtual-hosts mean together. */
static int settle(struct bench *bench, struct rk_why *why)
{
    static const uint32_t hosts[VICTIM_COUNT_] = {1, 2, 2, 3};
    struct bench_options *options = &bench->options;

    if (!victim_parse(options->victim, &bench->kind))
        return rk_fail(why, RK_EINVAL, "--kill %.60s: one of rank, carrier, mpirun, host is needed",
                       options->victim);
    if (strcmp(options->standby, "yes") != 0 && strcmp(options->standby, "no") != 0)
        return rk_fail(why, RK_EINVAL, "--standby-carriers %.60s: yes or no is needed",
                       options->standby);
    if (options->virtual_hosts == 0)
        options->virtual_hosts = hosts[bench->kind];
    if (bench->kind != VICTIM_RANK && options->virtual_hosts < 2)
        return rk_fail(why, RK_EINVAL,
                       "--kill %s needs --virtual-hosts 2 or more: a single host "
                       "has no carriers, and nothing is left when it is lost",
                       options->victim);
    if (options->virtual_hosts > options->workers)
        return rk_fail(why, RK_EINVAL, "--virtual-hosts %u: more than --workers %u",
                       options->virtual_hosts, options->workers);
    return 0;
}

int bench_recovery(int argc, char **argv)
{
    struct bench bench = {
        .options = {.workers = 4, .megabytes = 4, .kills = 20, .victim = "rank", .standby = "yes"},
        .run = {.out = -1, .err = -1}};
    struct rk_why why = {""};
    int words;
    int exit_code;
    int rc;

    if (arguments_take(&bench_command, argc, argv, &bench.options, &words, &exit_code) != 0)
        return exit_code;
    if (words > 0) {
        rk_fail(&why, RK_EINVAL, "'%.60s' was not expected", argv[1]);
        return command_fail(&bench_command, RK_EINVAL, &why);
    }
    rc = settle(&bench, &why);
    if (rc != 0)
        return command_fail(&bench_command, rc, &why);
    rc = set_up(&bench, &why);
    while (rc == 0 && bench.kills < bench.options.kills)
        rc = one_kill(&bench, &why);
    if (rc == 0)
        print_results(&bench);
    clear_up(&bench, rc != 0);
    return rc == 0 ? 0 : command_fail(&bench_command, rc, &why);
}
