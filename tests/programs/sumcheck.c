/* sumcheck: a rank whose sums can be known beforehand, and that checks each of them.
 *
 * The gradient of a shard is a pure function of (seed, step, shard, element); after each
 * rk_gradients_wait the sum is compared, bit for bit, with the serial sum in the fixed tree.  The
 * state keeps a history: `weights` moves by every sum, `history` hashes every sum of a few
 * elements, `steps` counts.  With --verify-state the state is compared at the start and at the end
 * with one computed serially from nothing, so that a step lost, repeated or resumed from the wrong
 * state shows.  A wrong sum or state: a line on stderr and exit code 99. */
#include "tests/programs/values.h"
#include "worker/reknit.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXIT_WRONG 99
#define EXIT_USAGE 64
#define PROBES 16u /* elements that are checked, and that have a history */

struct run {
    uint64_t grad_kb, steps, pace_us, seed, batch, print_every;
    int check_all, verify_state;

    struct rk_session *session;
    uint64_t count; /* gradient elements */
    float *gradient, *weights;
    uint64_t history[PROBES], probe[PROBES];
    int64_t steps_in_state;
    uint64_t checked, reformed;
};

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int check_element(struct run *run, uint64_t step, uint64_t element)
{
    const float want = value_sum(run->seed, step, 0, rk_shards(run->session), element);
    const float got = run->gradient[element];
    run->checked++;
    if (bits_of(want) == bits_of(got))
        return 0;
    fprintf(stderr,
            "sumcheck: WRONG SUM: rank %" PRIu32 " generation %" PRIu64 " step %" PRIu64
            " element %" PRIu64 " of %" PRIu64 ": %a (%08" PRIx32 ") instead of %a (%08" PRIx32
            ")\n",
            rk_rank(run->session), rk_generation(run->session), step, element, run->count,
            (double)got, bits_of(got), (double)want, bits_of(want));
    return EXIT_WRONG;
}

static int check_sums(struct run *run, uint64_t step)
{
    const uint64_t elements = run->check_all ? run->count : PROBES;
    int code = 0;
    for (uint64_t i = 0; i < elements && code == 0; i++)
        code = check_element(run, step, run->check_all ? i : run->probe[i]);
    return code;
}

static uint64_t history_after(uint64_t history, uint64_t step, float sum)
{
    return value_mix(history ^ value_mix(step) ^ bits_of(sum));
}

static float weight_after(float weight, float sum)
{
    return weight - 0.01f * sum;
}

/* Compares the state with that of `step` steps taken serially from the start. */
static int check_state(const struct run *run, uint64_t step, const char *when)
{
    if (run->steps_in_state != (int64_t)step) {
        fprintf(stderr,
                "sumcheck: WRONG STATE: rank %" PRIu32 " %s: the state is that of step %" PRId64
                ", the job is at step %" PRIu64 "\n",
                rk_rank(run->session), when, run->steps_in_state, step);
        return EXIT_WRONG;
    }
    for (uint64_t i = 0; run->verify_state && i < PROBES; i++) {
        uint64_t history = 0;
        float weight = 0.0f;
        for (uint64_t s = 0; s < step; s++) {
            const float sum = value_sum(run->seed, s, 0, rk_shards(run->session), run->probe[i]);
            history = history_after(history, s, sum);
            weight = weight_after(weight, sum);
        }
        const float got = run->weights[run->probe[i]];
        if (history == run->history[i] && bits_of(weight) == bits_of(got))
            continue;
        fprintf(stderr,
                "sumcheck: WRONG STATE: rank %" PRIu32 " %s, step %" PRIu64 ", element %" PRIu64
                ": weight %a instead of %a, history %016" PRIx64 " instead of %016" PRIx64 "\n",
                rk_rank(run->session), when, step, run->probe[i], (double)got, (double)weight,
                run->history[i], history);
        return EXIT_WRONG;
    }
    return 0;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int failed(const struct run *run, const char *call)
{
    fprintf(stderr, "sumcheck: %s: %s\n", call, rk_last_error(run->session));
    return EXIT_FAILURE;
}

static int compute_shards(struct run *run, uint64_t step)
{
    int64_t shard;
    while ((shard = rk_shard_next(run->session)) >= 0) {
        if (shard >= (int64_t)rk_shards(run->session)) {
            fprintf(stderr, "sumcheck: WRONG SHARD: %" PRId64 " of %" PRIu32 "\n", shard,
                    rk_shards(run->session));
            return EXIT_WRONG;
        }
        const uint64_t key = value_key(run->seed, step, (uint64_t)shard);
        for (uint64_t i = 0; i < run->count; i++)
            run->gradient[i] = value_gradient(key, i);
        if (rk_shard_done(run->session) < 0)
            return failed(run, "rk_shard_done");
        /* The memory is ours again: what is left here must not show in any sum. */
        memset(run->gradient, 0xff, run->count * sizeof(float));
    }
    return shard == -1 ? 0 : failed(run, "rk_shard_next");
}

static void update(struct run *run, uint64_t step)
{
    for (uint64_t i = 0; i < run->count; i++)
        run->weights[i] = weight_after(run->weights[i], run->gradient[i]);
    for (uint64_t i = 0; i < PROBES; i++)
        run->history[i] = history_after(run->history[i], step, run->gradient[run->probe[i]]);
    run->steps_in_state++;
}

static void pace(uint64_t microseconds)
{
    struct timespec left = {(time_t)(microseconds / 1000000),
                            (long)(microseconds % 1000000) * 1000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* One begun step; 0 or the exit code. */
static int take_step(struct run *run, uint64_t *step)
{
    int rc, code;
    pace(run->pace_us);
    for (;;) {
        code = compute_shards(run, *step);
        if (code)
            return code;
        rc = rk_gradients_wait(run->session);
        if (rc != RK_REFORMED)
            break;
        run->reformed++;
    }
    if (rc < 0)
        return failed(run, "rk_gradients_wait");
    code = check_sums(run, *step);
    if (code)
        return code;
    update(run, *step);
    if (rk_step_end(run->session, step) < 0)
        return failed(run, "rk_step_end");
    if (run->print_every && *step % run->print_every == 0 && rk_is_first(run->session))
        printf("step %" PRIu64 "\n", *step);
    return 0;
}

static int loop(struct run *run)
{
    uint64_t step = 0;
    if (rk_restore(run->session, &step) < 0)
        return failed(run, "rk_restore");
    int code = check_state(run, step, "after rk_restore");
    while (code == 0 && step < run->steps) {
        int rc = rk_step_begin(run->session, &step);
        if (rc < 0)
            return failed(run, "rk_step_begin");
        if (rc == RK_STOPPED)
            break;
        code = take_step(run, &step);
    }
    if (code == 0)
        code = check_state(run, step, "at the end");
    if (code == 0)
        printf("sumcheck: ok rank=%" PRIu32 " step=%" PRIu64 " checked=%" PRIu64
               " reformed=%" PRIu64 "\n",
               rk_rank(run->session), step, run->checked, run->reformed);
    return code;
}

/* ---- the start ------------------------------------------------------------------------------- */

/* Two gradients of uneven size, so that their border falls anywhere. */
static int register_all(struct run *run)
{
    struct rk_session *s = run->session;
    const uint64_t first = run->count / 3;
    int rc = rk_register_state(s, "steps", &run->steps_in_state, RK_I64, 0, NULL);
    if (rc == 0)
        rc = rk_register_state(s, "weights", run->weights, RK_F32, 1, &run->count);
    if (rc == 0)
        rc = rk_register_state(s, "history", run->history, RK_U64, 1, (uint64_t[]){PROBES});
    if (rc == 0)
        rc = rk_register_gradient(s, "first", run->gradient, first);
    if (rc == 0)
        rc = rk_register_gradient(s, "second", run->gradient + first, run->count - first);
    return rc == 0 ? 0 : failed(run, "registering");
}

static int allocate(struct run *run)
{
    run->count = run->grad_kb * 256;
    run->gradient = calloc(run->count, sizeof(float));
    run->weights = calloc(run->count, sizeof(float));
    /* The first element, the last, and those between at even distances. */
    for (uint64_t i = 0; i < PROBES; i++)
        run->probe[i] = i * (run->count - 1) / (PROBES - 1);
    return run->gradient && run->weights ? 0 : EXIT_FAILURE;
}

static int usage(const char *argument)
{
    fprintf(stderr,
            "sumcheck: %s: not understood\nusage: sumcheck [--grad-kb N] [--steps N] [--pace-us N] "
            "[--seed N] [--batch N]\n                [--check-all] [--verify-state] "
            "[--print-every N]\n",
            argument);
    return EXIT_USAGE;
}

static int options_read(struct run *run, int argc, char **argv)
{
    enum { NUMBERS = 6 };
    static const struct option names[] = {{"grad-kb", required_argument, NULL, 0},
                                          {"steps", required_argument, NULL, 1},
                                          {"pace-us", required_argument, NULL, 2},
                                          {"seed", required_argument, NULL, 3},
                                          {"batch", required_argument, NULL, 4},
                                          {"print-every", required_argument, NULL, 5},
                                          {"check-all", no_argument, NULL, 6},
                                          {"verify-state", no_argument, NULL, 7},
                                          {NULL, 0, NULL, 0}};
    uint64_t *const numbers[NUMBERS] = {&run->grad_kb, &run->steps, &run->pace_us,
                                        &run->seed,    &run->batch, &run->print_every};
    int which;
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        char *end = NULL;
        if (which == '?')
            return usage("an option");
        if (which < NUMBERS)
            *numbers[which] = strtoull(optarg, &end, 10);
        if (which < NUMBERS && (*end || end == optarg))
            return usage(optarg);
        run->check_all |= which == 6;
        run->verify_state |= which == 7;
    }
    if (optind < argc)
        return usage(argv[optind]);
    if (run->grad_kb < 1 || run->grad_kb > 1 << 20 || run->batch < 1)
        return usage("--grad-kb or --batch");
    return 0;
}

int main(int argc, char **argv)
{
    struct run run = {.grad_kb = 64, .steps = 100, .seed = 1, .batch = 64};
    int code = options_read(&run, argc, argv);
    if (code)
        return code;
    setvbuf(stdout, NULL, _IOLBF, 0);
    code = allocate(&run);
    const struct rk_options options = {
        .struct_size = sizeof options, .seed = run.seed, .batch = run.batch};
    if (code == 0 && rk_join(&options, &run.session) < 0)
        code = EXIT_FAILURE;
    if (code == 0) {
        code = register_all(&run);
        if (code == 0)
            code = loop(&run);
        if (code == EXIT_WRONG)
            _exit(code); /* at once: a wrong state must not be handed to anyone */
        if (rk_leave(run.session) < 0 && code == 0)
            code = EXIT_FAILURE;
    }
    free(run.gradient);
    free(run.weights);
    return code;
}
