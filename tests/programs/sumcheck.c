/* sumcheck: a rank whose sums can be known beforehand, and that checks each of them.
 *
 * The gradient of a shard is a pure function of (seed, step, shard, element); after each
 * rk_gradients_wait the sum is compared, bit for bit, with the serial sum in the fixed tree.  The
 * state keeps a history: `weights` moves by every sum, `history` hashes every sum of a few
 * elements, `steps` counts.  With --verify-state the state is compared at the start and at the end
 * with one computed serially from nothing, so that a step lost, repeated or resumed from the wrong
 * state shows.  A wrong sum or state: a line on stderr and exit code 99.
 *
 * --reduce says how: `sum`, `average`, or `weighted`, with a weight for each shard and step.  With
 * --types a gradient of float64 and one of bfloat16 are summed beside, and every element checked.
 *
 * --fast is for --reduction fast: sums may be as far from the tree's as the order of adding can put
 * them.  What each rank has seen is printed at the end, since it must be the same in all.
 *
 * --memory says where things lie: `own`; `arena`, gradients of rk_alloc, said to be ready piece by
 * piece from the end; `fused`, weights in the arena too, made from the sums where these are made
 * (then there is no history, which needs whole sums); `gpu`, gradients and weights on a GPU. */
#include "tests/programs/gpu_memory.h"
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
#define TYPED 123u /* elements of each gradient of --types */

enum memory { OWN, ARENA, FUSED, GPU };
static const char *const memory_names[] = {"own", "arena", "fused", "gpu", NULL};
static const char *const reduce_names[] = {"sum", "average", "weighted", NULL};

/* The gradients of --types. */
enum { NARROW = 2, WIDE };
struct typed {
    uint16_t narrow[TYPED], *narrow_on_gpu; /* GPU: the first is a copy of the second */
    double own[TYPED], *wide;               /* where it lies; NULL: GPUs do not sum float64 */
};

struct run {
    enum memory memory;
    enum rk_reduce reduce;
    uint64_t grad_kb, steps, pace_us, seed, batch, print_every, bucket_kb;
    int check_all, verify_state, fast, types;

    struct rk_session *session;
    uint64_t count; /* gradient elements */
    uint64_t first; /* of them in the first of two gradients */
    float *gradient, *weights;
    float *piece[2];                /* where the two gradients lie */
    uint32_t shared[2];             /* FUSED: numbers of the weights that belong to them */
    int wrong;                      /* FUSED: what a slice found */
    float *on_gpu, *weights_on_gpu; /* GPU: what `gradient` and `weights` are copies of */
    struct typed typed;
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

/* What step `step` sums. */
static struct value_step step_of(const struct run *run, uint64_t step)
{
    return (struct value_step){run->seed, step, run->reduce == RK_WEIGHTED};
}

/* What its sums are multiplied with. */
static double scale_of(const struct run *run, uint64_t step)
{
    const uint64_t shards = rk_shards(run->session);
    if (run->reduce == RK_WEIGHTED)
        return 1.0 / value_weights(run->seed, step, shards);
    return run->reduce == RK_AVERAGE ? 1.0 / (double)shards : 1.0;
}

/* What must come of an element's gradients. */
static float expected(const struct run *run, uint64_t step, uint64_t element)
{
    const struct value_step of = step_of(run, step);
    const float sum = value_sum(&of, rk_shards(run->session), element);
    return sum * (float)scale_of(run, step);
}

/* What rk_gradients_wait left. */
static float sum_at(const struct run *run, uint64_t element)
{
    const uint32_t which = element >= run->first;
    const float *sum = rk_result(run->session, which);
    if (run->memory == GPU)
        return run->gradient[element];
    const float at = sum[element - (which ? run->first : 0)];
    return run->memory == ARENA ? at * (float)rk_result_scale(run->session) : at;
}

/* Whether two orders of adding can be so far apart: no gradient is over 128. */
static int is_near(const struct run *run, float want, float got)
{
    const float shards = (float)rk_shards(run->session);
    const float off = got > want ? got - want : want - got;
    return off <= shards * shards * 128 * 0x1p-23f;
}

static int check_value(struct run *run, uint64_t step, uint64_t element, float got)
{
    const float want = expected(run, step, element);
    run->checked++;
    if (bits_of(want) == bits_of(got) || (run->fast && is_near(run, want, got)))
        return 0;
    fprintf(stderr,
            "sumcheck: WRONG SUM: rank %" PRIu32 " generation %" PRIu64 " step %" PRIu64
            " element %" PRIu64 " of %" PRIu64 ": %a (%08" PRIx32 ") instead of %a (%08" PRIx32
            ")\n",
            rk_rank(run->session), rk_generation(run->session), step, element, run->count,
            (double)got, bits_of(got), (double)want, bits_of(want));
    return EXIT_WRONG;
}

/* Element `element` of a gradient of --types. */
static int check_typed(struct run *run, uint64_t step, uint64_t element)
{
    const struct value_step of = step_of(run, step);
    const uint64_t shards = rk_shards(run->session);
    const double scale = scale_of(run, step);
    if (run->typed.wide) {
        const double *sum = rk_result(run->session, WIDE);
        const double factor = run->memory == ARENA ? rk_result_scale(run->session) : 1.0;
        const double want = value_wide_sum(&of, shards, element) * scale;
        const double got = sum[element] * factor;
        if (memcmp(&want, &got, sizeof want) != 0) {
            fprintf(stderr,
                    "sumcheck: WRONG SUM: step %" PRIu64 " float64 %" PRIu64 ": %a instead of %a\n",
                    step, element, got, want);
            return EXIT_WRONG;
        }
    }
    const uint16_t want = value_to_short(value_short_sum(&of, shards, element) * (float)scale);
    run->checked++;
    if (want == run->typed.narrow[element])
        return 0;
    fprintf(stderr,
            "sumcheck: WRONG SUM: step %" PRIu64 " bfloat16 %" PRIu64 ": %04x instead of %04x\n",
            step, element, run->typed.narrow[element], want);
    return EXIT_WRONG;
}

static int check_sums(struct run *run, uint64_t step)
{
    const uint64_t elements = run->check_all ? run->count : PROBES;
    int code = 0;
    for (uint64_t i = 0; i < elements && code == 0; i++)
        code = check_value(run, step, run->check_all ? i : run->probe[i],
                           sum_at(run, run->check_all ? i : run->probe[i]));
    for (uint64_t i = 0; run->types && i < TYPED && code == 0; i++)
        code = check_typed(run, step, i);
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

static float weight_at(const struct run *run, uint64_t element)
{
    const uint32_t which = element >= run->first;
    const float *weights = run->weights + (which ? run->first : 0);
    if (run->memory == FUSED)
        weights = rk_state(run->session, run->shared[which]);
    return weights[element - (which ? run->first : 0)];
}

/* FUSED: checks the probes in a slice and makes its weights. */
static int update_slice(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    struct run *run = context;
    const uint64_t start = slice->first + (slice->gradient ? run->first : 0);
    const float *sum = slice->sum;
    const float scale = (float)slice->scale;
    const float *now = rk_state(session, run->shared[slice->gradient]);
    float *next = rk_next_state(session, run->shared[slice->gradient]);
    for (uint64_t i = 0; i < slice->count; i++)
        next[slice->first + i] = weight_after(now[slice->first + i], sum[i] * scale);
    for (uint64_t i = 0; i < PROBES && run->wrong == 0; i++)
        if (run->probe[i] >= start && run->probe[i] < start + slice->count)
            run->wrong = check_value(run, (uint64_t)run->steps_in_state, run->probe[i],
                                     sum[run->probe[i] - start] * scale);
    return 0;
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
            const float sum = expected(run, s, run->probe[i]);
            history = history_after(history, s, sum);
            weight = weight_after(weight, sum);
        }
        const float got = weight_at(run, run->probe[i]);
        if ((run->memory == FUSED || history == run->history[i]) && bits_of(weight) == bits_of(got))
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

/* Says that elements from .. to - 1 of the whole are final. */
static int say_ready(struct run *run, uint64_t from, uint64_t to)
{
    const uint64_t border = from > run->first ? from : to < run->first ? to : run->first;
    int rc = 0;
    if (border > from)
        rc = rk_ready_range(run->session, 0, from, border - from);
    if (rc == 0 && to > border)
        rc = rk_ready_range(run->session, 1, border - run->first, to - border);
    return rc;
}

/* The shard's gradient from the end on; but in memory of our own, most of it is said to be ready as
 * it comes. */
static int fill(struct run *run, uint64_t step, int64_t shard)
{
    const uint64_t key = value_key(run->seed, step, (uint64_t)shard);
    const uint64_t piece = run->count / 7 + 1;
    for (uint64_t to = run->count; to > 0;) {
        const uint64_t from = to > piece ? to - piece : 0;
        for (uint64_t i = from; i < to; i++)
            *(i < run->first ? &run->piece[0][i] : &run->piece[1][i - run->first]) =
                value_gradient(key, i);
        if (run->memory == GPU)
            gpu_memory_put(run->on_gpu + from, run->gradient + from, (to - from) * sizeof(float));
        if (run->memory != OWN && from % 5 != 1 && say_ready(run, from, to) != 0)
            return failed(run, "rk_ready_range");
        to = from;
    }
    return 0;
}

/* The gradients of --types: the shard's, or what must not show in any sum. */
static void fill_typed(struct run *run, uint64_t step, int64_t shard, int garbage)
{
    const uint64_t key = value_key(run->seed, step, (uint64_t)shard);
    for (uint64_t i = 0; i < TYPED; i++) {
        run->typed.narrow[i] = garbage ? 0xffff : value_short(key, i);
        if (run->typed.wide && !(garbage && run->memory == ARENA))
            run->typed.wide[i] = garbage ? -1e300 : value_wide(key, i);
    }
    if (run->memory == GPU)
        gpu_memory_put(run->typed.narrow_on_gpu, run->typed.narrow, sizeof run->typed.narrow);
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
        if (run->reduce == RK_WEIGHTED &&
            rk_shard_weight(run->session, (double)value_weight(run->seed, step, (uint64_t)shard)) <
                0)
            return failed(run, "rk_shard_weight");
        if (run->types)
            fill_typed(run, step, shard, 0);
        int code = fill(run, step, shard);
        if (code)
            return code;
        if (rk_shard_done(run->session) < 0)
            return failed(run, "rk_shard_done");
        /* The memory is ours again: what is left here must not show in any sum. */
        if (run->memory == OWN || run->memory == GPU)
            memset(run->gradient, 0xff, run->count * sizeof(float));
        if (run->memory == GPU)
            gpu_memory_put(run->on_gpu, run->gradient, run->count * sizeof(float));
        if (run->types)
            fill_typed(run, step, shard, 1);
    }
    return shard == -1 ? 0 : failed(run, "rk_shard_next");
}

static void update(struct run *run, uint64_t step)
{
    for (uint64_t i = 0; i < run->count && run->memory != FUSED; i++)
        run->weights[i] = weight_after(run->weights[i], sum_at(run, i));
    for (uint64_t i = 0; i < PROBES && run->memory != FUSED; i++)
        run->history[i] = history_after(run->history[i], step, sum_at(run, run->probe[i]));
    run->steps_in_state++;
    if (run->memory == GPU)
        gpu_memory_put(run->weights_on_gpu, run->weights, run->count * sizeof(float));
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
    if (run->memory == GPU)
        gpu_memory_get(run->gradient, run->on_gpu, run->count * sizeof(float));
    if (run->memory == GPU && run->types)
        gpu_memory_get(run->typed.narrow, run->typed.narrow_on_gpu, sizeof run->typed.narrow);
    code = run->memory == FUSED ? run->wrong : check_sums(run, *step);
    if (code)
        return code;
    update(run, *step);
    if (rk_step_end(run->session, step) < 0)
        return failed(run, "rk_step_end");
    if (run->print_every && *step % run->print_every == 0 && rk_is_first(run->session))
        printf("step %" PRIu64 "\n", *step);
    return 0;
}

/* A hash of every probed sum, or of the weights that were made of them. */
static uint64_t all_seen(const struct run *run)
{
    uint64_t seen = 0;
    for (uint64_t i = 0; i < PROBES; i++)
        seen = value_mix(seen ^ run->history[i]) ^ bits_of(weight_at(run, run->probe[i]));
    return seen;
}

static int loop(struct run *run)
{
    uint64_t step = 0;
    if (rk_restore(run->session, &step) < 0)
        return failed(run, "rk_restore");
    if (run->memory == FUSED && rk_fuse(run->session, update_slice, run) < 0)
        return failed(run, "rk_fuse");
    if (run->memory == GPU)
        gpu_memory_get(run->weights, run->weights_on_gpu, run->count * sizeof(float));
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
               " reformed=%" PRIu64 " seen=%016" PRIx64 "\n",
               rk_rank(run->session), step, run->checked, run->reformed, all_seen(run));
    return code;
}

/* ---- the start ------------------------------------------------------------------------------- */

static int use_gpu(struct run *run)
{
    int rc = rk_use_gpu(run->session, RK_GPU_BY_PLACE, NULL);
    if (rc < 0)
        return rc;
    run->on_gpu = gpu_memory_new(run->count * sizeof(float));
    run->weights_on_gpu = gpu_memory_new(run->count * sizeof(float));
    gpu_memory_put(run->weights_on_gpu, run->weights, run->count * sizeof(float));
    return 0;
}

static int register_typed(struct run *run)
{
    struct rk_session *s = run->session;
    struct typed *typed = &run->typed;
    if (run->memory == GPU) {
        typed->narrow_on_gpu = gpu_memory_new(sizeof typed->narrow);
        return rk_register_gpu_gradient(s, "narrow", typed->narrow_on_gpu, RK_BF16, TYPED);
    }
    int rc = rk_register_gradient_as(s, "narrow", typed->narrow, RK_BF16, TYPED);
    typed->wide = typed->own;
    if (rc == 0 && run->memory == ARENA)
        return rk_alloc(s, "wide", RK_F64, TYPED, (void **)&typed->wide);
    return rc ? rc : rk_register_gradient_as(s, "wide", typed->wide, RK_F64, TYPED);
}

/* Two gradients of uneven size, so that their border falls anywhere. */
static int register_all(struct run *run)
{
    struct rk_session *s = run->session;
    const uint64_t count[2] = {run->first, run->count - run->first};
    static const char *const names[] = {"first", "second"};
    int rc = run->memory == GPU ? use_gpu(run) : 0;
    if (rc == 0)
        rc = rk_register_state(s, "steps", &run->steps_in_state, RK_I64, 0, NULL);
    if (rc == 0 && run->memory == GPU)
        rc = rk_register_gpu_state(s, "weights", run->weights_on_gpu, RK_F32, 1, &run->count);
    else if (rc == 0 && run->memory != FUSED)
        rc = rk_register_state(s, "weights", run->weights, RK_F32, 1, &run->count);
    if (rc == 0)
        rc = rk_register_state(s, "history", run->history, RK_U64, 1, (uint64_t[]){PROBES});
    for (int k = 0; k < 2 && rc == 0; k++) {
        if (run->memory == FUSED)
            rc = rk_alloc_state(s, names[k], NULL, RK_F32, 1, &count[k], &run->shared[k]);
        run->piece[k] = run->gradient + (k ? run->first : 0);
        if (rc == 0 && run->memory == OWN)
            rc = rk_register_gradient(s, names[k], run->piece[k], count[k]);
        else if (rc == 0 && run->memory == GPU)
            rc = rk_register_gpu_gradient(s, names[k], run->on_gpu + (k ? run->first : 0), RK_F32,
                                          count[k]);
        else if (rc == 0)
            rc = rk_alloc(s, names[k], RK_F32, count[k], (void **)&run->piece[k]);
    }
    if (rc == 0 && run->types)
        rc = register_typed(run);
    return rc == 0 ? 0 : failed(run, "registering");
}

static int allocate(struct run *run)
{
    run->count = run->grad_kb * 256;
    run->first = run->count / 3;
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
            "[--seed N] [--batch N]\n                [--check-all] [--verify-state] [--fast] "
            "[--print-every N] [--memory own|arena|fused|gpu] "
            "[--bucket-kb N]\n                [--reduce sum|average|weighted] [--types]\n",
            argument);
    return EXIT_USAGE;
}

/* The place of `name` in a list that ends with NULL; -1: it is not there. */
static int place_of(const char *const names[], const char *name)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int options_read(struct run *run, int argc, char **argv)
{
    enum { NUMBERS = 7 };
    static const struct option names[] = {
        {"grad-kb", required_argument, NULL, 0},   {"steps", required_argument, NULL, 1},
        {"pace-us", required_argument, NULL, 2},   {"seed", required_argument, NULL, 3},
        {"batch", required_argument, NULL, 4},     {"print-every", required_argument, NULL, 5},
        {"bucket-kb", required_argument, NULL, 6}, {"check-all", no_argument, NULL, 7},
        {"verify-state", no_argument, NULL, 8},    {"memory", required_argument, NULL, 9},
        {"fast", no_argument, NULL, 10},           {"reduce", required_argument, NULL, 11},
        {"types", no_argument, NULL, 12},          {NULL, 0, NULL, 0}};
    uint64_t *const numbers[NUMBERS] = {&run->grad_kb,  &run->steps, &run->pace_us,
                                        &run->seed,     &run->batch, &run->print_every,
                                        &run->bucket_kb};
    int which, memory = OWN, reduce = RK_SUM;
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        char *end = NULL;
        if (which == '?')
            return usage("an option");
        if (which < NUMBERS)
            *numbers[which] = strtoull(optarg, &end, 10);
        if (which < NUMBERS && (*end || end == optarg))
            return usage(optarg);
        run->check_all |= which == 7;
        run->verify_state |= which == 8;
        run->fast |= which == 10;
        run->types |= which == 12;
        if (which == 9)
            memory = place_of(memory_names, optarg);
        if (which == 11)
            reduce = place_of(reduce_names, optarg);
        if (memory < 0 || reduce < 0)
            return usage(optarg);
    }
    if (optind < argc)
        return usage(argv[optind]);
    run->memory = (enum memory)memory;
    run->reduce = (enum rk_reduce)reduce;
    if (run->fast && (run->verify_state || run->types))
        return usage("--verify-state or --types with --fast");
    if (run->types && run->memory == FUSED)
        return usage("--types with --memory fused");
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
    const struct rk_options options = {.struct_size = sizeof options,
                                       .seed = run.seed,
                                       .batch = run.batch,
                                       .reduce = run.reduce,
                                       .bucket_bytes = run.bucket_kb << 10};
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
    if (run.on_gpu) {
        gpu_memory_free(run.on_gpu);
        gpu_memory_free(run.weights_on_gpu);
    }
    if (run.typed.narrow_on_gpu)
        gpu_memory_free(run.typed.narrow_on_gpu);
    free(run.gradient);
    free(run.weights);
    return code;
}
