/* Running one engine of a benchmark; see bench_engine.h. */
#include "launch/bench_engine.h"

#include "common/clock.h"
#include "launch/bench.h"
#include "launch/bench_board.h"
#include "launch/lines.h"
#include "launch/processes.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENDS_WITHIN (120 * RK_S)
#define LOOK_MS 2
#define NOT_THERE 77              /* bench_gloo.py: no torch */
#define PYTHON "/usr/bin/python3" /* Debian's, which has python3-torch */
#define MOST_ARGUMENTS 32u

static const struct {
    const char *name;
    const char *mode; /* of reknit-bench-sum; NULL: another program */
} engines[ENGINES] = {
    [ENGINE_LIMIT] = {"limit", NULL},
    [ENGINE_ARENA] = {"ours", "arena"},
    [ENGINE_FAST] = {"ours_fast", "arena"},
    [ENGINE_OWN] = {"ours_own_memory", "own"},
    [ENGINE_OVERLAP] = {"ours_overlap", "overlap"},
    [ENGINE_FUSED] = {"ours_fused", "fused"},
    [ENGINE_OPENMPI] = {"openmpi", NULL},
    [ENGINE_OPENMPI_TUNED] = {"openmpi_tuned", NULL},
    [ENGINE_OPENMPI_SGD] = {"openmpi_sgd", NULL},
    [ENGINE_MPICH] = {"mpich", NULL},
    [ENGINE_GLOO] = {"gloo", NULL},
};

const char *engine_name(enum engine engine)
{
    return engines[engine].name;
}

/* A run under way: one process, or one for each rank. */
struct run {
    const struct engine_job *job;
    char board_path[PATH_MAX];
    char beside[PATH_MAX]; /* the folder of this program */
    struct board *board;
    struct process process[BOARD_RANKS];
    struct lines out[BOARD_RANKS], err[BOARD_RANKS];
    uint32_t count;
    int exit_code; /* the first that is not 0 */
    char said[200];
};

/* ---- command lines --------------------------------------------------------------------------- */

struct line {
    char text[MOST_ARGUMENTS][PATH_MAX + 64];
    char *argv[MOST_ARGUMENTS + 1];
    uint32_t count;
};

static void add(struct line *line, const char *word)
{
    if (line->count == MOST_ARGUMENTS)
        return;
    snprintf(line->text[line->count], sizeof line->text[0], "%s", word);
    line->argv[line->count] = line->text[line->count];
    line->argv[++line->count] = NULL;
}

static void add_number(struct line *line, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    add(line, text);
}

static void add_beside(struct line *line, const struct run *run, const char *program)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof path, "%s/%s", run->beside, program);
    add(line, path);
}

static void line_ours(struct line *line, const struct run *run, enum engine engine)
{
    char name[64];

    snprintf(name, sizeof name, "bench-sum-%d", (int)getpid());
    add_beside(line, run, "reknit");
    for (const char *const *word = (const char *const[]){"run", "--quiet", "--name", name,
                                                         "--backend", "auto", "--workers", NULL};
         *word != NULL; word++)
        add(line, *word);
    add_number(line, run->job->ranks);
    add(line, "--shards");
    add_number(line, run->job->shards);
    add(line, "--reduction");
    add(line, engine == ENGINE_FAST ? "fast" : "exact");
    if (run->job->hosts > 1) {
        add(line, "--virtual-hosts");
        add_number(line, run->job->hosts);
    }
    add(line, "--");
    add_beside(line, run, "reknit-bench-sum");
    add(line, run->board_path);
    add(line, engines[engine].mode);
}

static void line_mpi(struct line *line, const struct run *run, enum engine engine)
{
    static const char *const tuned[] = {"--mca",
                                        "pml",
                                        "ob1",
                                        "--mca",
                                        "coll_tuned_use_dynamic_rules",
                                        "1",
                                        "--mca",
                                        "coll_tuned_allreduce_algorithm",
                                        "5",
                                        "--mca",
                                        "coll_tuned_allreduce_algorithm_segmentsize",
                                        "131072"};

    add(line, engine == ENGINE_MPICH ? "mpirun.mpich" : "mpirun");
    add(line, "-n");
    add_number(line, run->job->ranks);
    if (engine != ENGINE_MPICH)
        add(line, "--oversubscribe");
    for (size_t i = 0; engine == ENGINE_OPENMPI_TUNED && i < sizeof tuned / sizeof tuned[0]; i++)
        add(line, tuned[i]);
    add_beside(line, run, engine == ENGINE_MPICH ? "reknit-bench-mpich" : "reknit-bench-mpi");
    add(line, run->board_path);
    if (engine == ENGINE_OPENMPI_SGD)
        add(line, "sgd");
}

static void line_gloo(struct line *line, const struct run *run, uint32_t rank)
{
    char where[PATH_MAX + 32];

    add(line, PYTHON);
    add_beside(line, run, "bench_gloo.py");
    add(line, run->board_path);
    add_number(line, rank);
    snprintf(where, sizeof where, "file://%s.gloo", run->board_path);
    add(line, where);
}

static void line_make(struct line *line, const struct run *run, enum engine engine, uint32_t rank)
{
    if (engines[engine].mode != NULL)
        line_ours(line, run, engine);
    else if (engine == ENGINE_LIMIT) {
        add_beside(line, run, "reknit-bench-limit");
        add(line, run->board_path);
    } else if (engine == ENGINE_GLOO)
        line_gloo(line, run, rank);
    else
        line_mpi(line, run, engine);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void keep_line(void *who, const char *text, size_t length)
{
    struct run *run = who;

    if (length > 0)
        snprintf(run->said, sizeof run->said, "%.*s", (int)length, text);
}

/* As many rounds as take about a second, few for long vectors. */
static uint32_t rounds_for(uint64_t bytes)
{
    if (bytes <= 128 << 10)
        return 200;
    if (bytes <= 4 << 20)
        return 60;
    return bytes <= 32 << 20 ? 24 : 10;
}

static int board_make(struct run *run, struct rk_why *why)
{
    int fd;

    snprintf(run->board_path, sizeof run->board_path, "%s/board", run->job->folder);
    fd = open(run->board_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof(struct board)) != 0) {
        int rc = rk_fail_errno(why, errno, "cannot make %s", run->board_path);

        if (fd >= 0)
            close(fd);
        return rc;
    }
    close(fd);
    run->board = board_open(run->board_path);
    if (run->board == NULL)
        return rk_fail_errno(why, errno, "cannot map %s", run->board_path);
    run->board->ranks = run->job->ranks;
    run->board->rounds = rounds_for(run->job->bytes);
    run->board->bytes = run->job->bytes;
    return 0;
}

static int start_all(struct run *run, enum engine engine, struct rk_why *why)
{
    static struct line line;
    uint32_t wanted = engine == ENGINE_GLOO ? run->job->ranks : 1;

    for (; run->count < wanted; run->count++) {
        int rc;

        line = (struct line){.count = 0};
        line_make(&line, run, engine, run->count);
        rc = process_start(&(struct process_start){.path = line.argv[0],
                                                   .argv = line.argv,
                                                   .in = -1,
                                                   .keep = {-1, -1, -1, -1},
                                                   .death_signal = SIGTERM},
                           &run->process[run->count], why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Collects what has ended; how many still run. */
static uint32_t look(struct run *run)
{
    uint32_t left = 0;

    for (uint32_t p = 0; p < run->count; p++) {
        int status;

        lines_read(&run->out[p], run->process[p].out, keep_line, run);
        lines_read(&run->err[p], run->process[p].err, keep_line, run);
        if (run->process[p].pid == 0)
            continue;
        if (waitpid(run->process[p].pid, &status, WNOHANG) != run->process[p].pid) {
            left++;
            continue;
        }
        run->process[p].pid = 0;
        lines_read(&run->err[p], run->process[p].err, keep_line, run);
        if (run->exit_code == 0)
            run->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return left;
}

static void end_all(struct run *run)
{
    for (uint32_t p = 0; p < run->count; p++)
        if (run->process[p].pid > 0)
            processes_kill_tree(run->process[p].pid);
    while (look(run) != 0)
        poll(NULL, 0, LOOK_MS);
}

static int wait_for_all(struct run *run, enum engine engine, struct rk_why *why)
{
    uint64_t deadline = rk_clock_now() + ENDS_WITHIN;

    while (look(run) != 0) {
        if (rk_clock_now() > deadline) {
            end_all(run);
            return rk_fail(why, RK_EJOB, "%s did not end in two minutes and was ended: %s",
                           engine_name(engine), run->said);
        }
        poll(NULL, 0, LOOK_MS);
    }
    if (run->exit_code == NOT_THERE || run->exit_code == 127)
        return rk_fail(why, RK_EUNAVAILABLE, "%s is not on this machine", engine_name(engine));
    if (run->exit_code != 0)
        return rk_fail(why, RK_EJOB, "%s ended with %d: %s", engine_name(engine), run->exit_code,
                       run->said);
    return 0;
}

/* ---- what it took ---------------------------------------------------------------------------- */

static double of(const struct board_times *times, uint32_t which)
{
    return which == 0 ? times->fill : which == 1 ? times->sync : times->whole;
}

/* The median of the slowest ranks', the first tenth of the rounds left out. */
static double median(const struct board *board, uint32_t which)
{
    static double slowest[BOARD_ROUNDS];
    uint32_t first = board->rounds / 10 + 1;
    size_t count = 0;

    for (uint32_t round = first; round < board->rounds; round++) {
        slowest[count] = 0;
        for (uint32_t rank = 0; rank < board->ranks; rank++) {
            double took = of(&board->times[rank][round], which);

            slowest[count] = took > slowest[count] ? took : slowest[count];
        }
        count++;
    }
    return bench_percentile(slowest, count, 0.5);
}

static int measure(struct run *run, enum engine engine, struct engine_times *times,
                   struct rk_why *why)
{
    char *slash;
    int rc = surroundings_self(run->beside, sizeof run->beside, why);

    if (rc != 0)
        return rc;
    slash = strrchr(run->beside, '/');
    if (slash != NULL)
        *slash = '\0';
    rc = board_make(run, why);
    if (rc == 0)
        rc = start_all(run, engine, why);
    if (rc == 0)
        rc = wait_for_all(run, engine, why);
    else
        end_all(run);
    if (rc == 0)
        *times = (struct engine_times){median(run->board, 0), median(run->board, 1),
                                       median(run->board, 2)};
    return rc;
}

int engine_run(enum engine engine, const struct engine_job *job, struct engine_times *times,
               struct rk_why *why)
{
    static struct run run;
    char gloo[PATH_MAX + 8];
    int rc;

    run = (struct run){.job = job};
    rc = measure(&run, engine, times, why);
    for (uint32_t p = 0; p < run.count; p++) {
        lines_done(&run.out[p]);
        lines_done(&run.err[p]);
        close(run.process[p].out);
        close(run.process[p].err);
    }
    board_close(run.board);
    snprintf(gloo, sizeof gloo, "%s.gloo", run.board_path);
    unlink(gloo);
    unlink(run.board_path);
    return rc;
}
