/* crasher: a rank that fails in a chosen way, at a chosen moment of a chosen step.
 *
 * It trains nothing: one state element that counts steps, one gradient element.  The failure is
 * announced on stderr, so that a test can look for the failing rank's last line. */
#include "worker/reknit.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 64
#define NEVER UINT64_MAX

static const char help[] =
    "usage: crasher [--steps N] [--pace-ms N] [--at-step N | --after N | --before-join]\n"
    "               [--point begin|shard|done|update|end|leave] [--rank R] [--exit N | --signal "
    "N]\n"
    "               [--hang]\n"
    "  --at-step N    fail in step N of the job, every time it is taken\n"
    "  --after N      fail in the step after N that this process took\n"
    "  --before-join  fail before joining\n"
    "  --point P      where in the step: before anything, with a shard not done, with a shard\n"
    "                 done, after the gradients, after the step, or (no step needed) before\n"
    "                 rk_leave (begin)\n"
    "  --rank R       only rank R fails (all)\n"
    "  --exit N       by exit code N (1)\n"
    "  --signal N     by signal N sent to itself\n"
    "  --hang         never come back, whatever --signal N is sent by others\n";

static const char *const points[] = {"begin", "shard", "done", "update", "end", "leave"};
enum point { BEGIN, SHARD, DONE, UPDATE, END, LEAVE, POINTS };

struct run {
    uint64_t steps, pace_ms, at_step, after, rank, exit_code, signal;
    int before_join, hang;
    enum point point;

    struct rk_session *session;
    uint64_t taken; /* steps that this process finished */
    int64_t count;
    float gradient;
};

static void fail(const struct run *run, uint64_t rank, const char *where, uint64_t step)
{
    if (run->rank != NEVER && run->rank != rank)
        return;
    fprintf(stderr, "crasher: rank %" PRIu64 " fails on purpose at %s, step %" PRIu64 "\n", rank,
            where, step);
    fflush(stdout);
    if (run->hang && run->signal)
        signal((int)run->signal, SIG_IGN);
    while (run->hang)
        pause();
    if (!run->signal)
        _exit((int)run->exit_code);
    kill(getpid(), (int)run->signal);
}

static void fail_at(const struct run *run, enum point point, uint64_t step)
{
    if (run->point == point && (step == run->at_step || run->taken == run->after))
        fail(run, rk_rank(run->session), points[point], step);
}

static void pace(uint64_t milliseconds)
{
    struct timespec left = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static int compute_shards(struct run *run, uint64_t step)
{
    int64_t shard;
    while ((shard = rk_shard_next(run->session)) >= 0) {
        run->gradient = 1.0f;
        fail_at(run, SHARD, step);
        int rc = rk_shard_done(run->session);
        if (rc < 0)
            return rc;
        fail_at(run, DONE, step);
    }
    return shard == -1 ? 0 : (int)shard;
}

static int take_step(struct run *run, uint64_t *step)
{
    const uint64_t current = *step;
    int rc;
    pace(run->pace_ms);
    fail_at(run, BEGIN, current);
    do {
        rc = compute_shards(run, current);
        if (rc == 0)
            rc = rk_gradients_wait(run->session);
    } while (rc == RK_REFORMED);
    if (rc < 0)
        return rc;
    fail_at(run, UPDATE, current);
    run->count++;
    rc = rk_step_end(run->session, step);
    fail_at(run, END, current);
    run->taken++;
    return rc;
}

static int take_part(struct run *run)
{
    const struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = 64};
    uint64_t step = 0;
    if (rk_join(&options, &run->session) < 0)
        return -1;
    int rc = rk_register_state(run->session, "count", &run->count, RK_I64, 0, NULL);
    if (rc == 0)
        rc = rk_register_gradient(run->session, "gradient", &run->gradient, 1);
    if (rc == 0)
        rc = rk_restore(run->session, &step);
    while (rc == 0 && step < run->steps) {
        rc = rk_step_begin(run->session, &step);
        if (rc == 0)
            rc = take_step(run, &step);
    }
    if (rc < 0)
        fprintf(stderr, "crasher: %s\n", rk_last_error(run->session));
    else if (run->point == LEAVE)
        fail(run, rk_rank(run->session), points[LEAVE], step);
    int left = rk_leave(run->session);
    return rc < 0 ? rc : left;
}

/* The number after NAME= in the environment, 0 when it is not there. */
static uint64_t environment_number(char **environment, const char *name)
{
    const size_t length = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return strtoull(*environment + length + 1, NULL, 10);
    return 0;
}

static int point_named(enum point *point, const char *name)
{
    for (int i = 0; i < POINTS; i++) {
        if (strcmp(points[i], name) == 0) {
            *point = (enum point)i;
            return 0;
        }
    }
    return -1;
}

static int options_read(struct run *run, int argc, char **argv)
{
    enum { NUMBERS = 7, POINT = NUMBERS, BEFORE_JOIN, HANG };
    static const struct option names[] = {{"steps", required_argument, NULL, 0},
                                          {"pace-ms", required_argument, NULL, 1},
                                          {"at-step", required_argument, NULL, 2},
                                          {"after", required_argument, NULL, 3},
                                          {"rank", required_argument, NULL, 4},
                                          {"exit", required_argument, NULL, 5},
                                          {"signal", required_argument, NULL, 6},
                                          {"point", required_argument, NULL, POINT},
                                          {"before-join", no_argument, NULL, BEFORE_JOIN},
                                          {"hang", no_argument, NULL, HANG},
                                          {NULL, 0, NULL, 0}};
    uint64_t *const numbers[NUMBERS] = {&run->steps, &run->pace_ms,   &run->at_step, &run->after,
                                        &run->rank,  &run->exit_code, &run->signal};
    int which;
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        char *end = NULL;
        if (which >= 0 && which < NUMBERS) {
            *numbers[which] = strtoull(optarg, &end, 10);
            if (*end || end == optarg)
                return -1;
        } else if (which == POINT && point_named(&run->point, optarg) == 0) {
            continue;
        } else if (which == BEFORE_JOIN) {
            run->before_join = 1;
        } else if (which == HANG) {
            run->hang = 1;
        } else {
            return -1;
        }
    }
    return optind < argc || run->exit_code > 255 || run->signal > 64 ? -1 : 0;
}

int main(int argc, char **argv, char **environment)
{
    struct run run = {
        .steps = 20, .at_step = NEVER, .after = NEVER, .rank = NEVER, .exit_code = EXIT_FAILURE};
    if (options_read(&run, argc, argv)) {
        fputs(help, stderr);
        return EXIT_USAGE;
    }
    if (run.before_join)
        fail(&run, environment_number(environment, "RANK"), "the start", 0);
    return take_part(&run) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
