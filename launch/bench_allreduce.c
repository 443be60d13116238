/* `reknit bench allreduce` and `reknit bench overlap`: engines beside each other, in interleaved
 * rounds, each round each engine once, so that what else the machine does meets all of them alike.
 */
#include "common/clock.h"
#include "launch/arguments.h"
#include "launch/bench.h"
#include "launch/bench_chart.h"
#include "launch/bench_engine.h"
#include "launch/surroundings.h"
#include "launch/sweep.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MOST_SIZES 16u
#define MOST_ROUNDS 50u
#define BUSY_SHARE 0.2 /* of the machine, taken by others: the round is done again */
#define MOST_REPEATS 2u

struct allreduce_options {
    uint32_t ranks, hosts, rounds, shards;
    const char *sizes, *svg;
    bool json;
};

static const struct argument arguments[] = {
    {"--ranks", "N", "ranks on this machine (2)", argument_count,
     offsetof(struct allreduce_options, ranks), 2, 64},
    {"--shards", "V",
     "of ours, a power of two: vectors that are written and\n"
     "summed, over all ranks (the least that gives each one)",
     argument_count, offsetof(struct allreduce_options, shards), 2, 1024},
    {"--virtual-hosts", "H", "deal our ranks to so many hosts, with carriers between (1)",
     argument_count, offsetof(struct allreduce_options, hosts), 1, 64},
    {"--rounds", "N", "how often each engine is run (5)", argument_count,
     offsetof(struct allreduce_options, rounds), 1, MOST_ROUNDS},
    {"--sizes", "LIST", "of the vector, as 64K,1M (4K,64K,1M,16M,100M)", argument_text,
     offsetof(struct allreduce_options, sizes), 0, 0},
    {"--svg", "FILE", "draw time by size there", argument_text,
     offsetof(struct allreduce_options, svg), 0, 0},
    {"--json", NULL, "one JSON object", argument_flag, offsetof(struct allreduce_options, json), 0,
     0},
};
static const struct command allreduce_command = {
    .name = "reknit bench allreduce",
    .usage = "[options]",
    .about =
        "Measures how long a sum of float32 over all ranks takes: ours, with gradients in the\n"
        "arena, exact and fast, and in the program's own memory, Open MPI's as it comes and\n"
        "tuned, MPICH's and PyTorch's gloo where they are installed, and what memory allows.\n"
        "Each vector is written anew before each sum, each sum is checked.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after =
        "Times are medians over rounds, in microseconds, of the slowest rank's median; ratios are\n"
        "medians of each round's ratio.  A round in which others use more than a fifth of the\n"
        "machine is done again, twice at most.",
};
static const struct command overlap_command = {
    .name = "reknit bench overlap",
    .usage = "[options]",
    .about =
        "Measures what a sum adds to a backward pass that writes the gradient once: summed\n"
        "while it is written, summed at the end, and MPI_Allreduce at the end; and sum and SGD\n"
        "fused against MPI_Allreduce and SGD.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after = "As reknit bench allreduce; --sizes is 100M unless it is given.",
};

struct bench {
    const struct command *command;
    struct allreduce_options options;
    struct engine_job job;
    char folder[PATH_MAX];
    bool missing[ENGINES];
    char why[ENGINES][256];
    uint32_t busy; /* rounds that were done again */
    double load;   /* the machine's load average when the last size was done; -1: unknown */
    double others; /* the most that others took in a round that counts, a share of the machine */
    struct engine_times times[ENGINES][MOST_ROUNDS]; /* of the size in hand */
};

/* ---- options --------------------------------------------------------------------------------- */

static int size_read(const char *text, uint64_t *bytes, const char **end, struct rk_why *why)
{
    char *rest;
    double number = strtod(text, &rest);

    if (*rest == 'K')
        number *= 1 << 10;
    if (*rest == 'M')
        number *= 1 << 20;
    if (*rest == 'K' || *rest == 'M')
        rest++;
    *end = *rest == ',' ? rest + 1 : rest;
    if (rest == text || (*rest != '\0' && *rest != ',') || !(number >= 64) || number > 1 << 30)
        return rk_fail(why, RK_EINVAL, "--sizes: '%s' is no size; give 64 to 1024M, as 64K,1M",
                       text);
    *bytes = (uint64_t)number / 4 * 4;
    return 0;
}

static int sizes_read(const char *text, uint64_t sizes[MOST_SIZES], uint32_t *count,
                      struct rk_why *why)
{
    *count = 0;
    while (*text != '\0') {
        int rc = *count == MOST_SIZES
                     ? rk_fail(why, RK_EINVAL, "--sizes: at most %u sizes", MOST_SIZES)
                     : size_read(text, &sizes[(*count)++], &text, why);

        if (rc != 0)
            return rc;
    }
    return *count > 0 ? 0 : rk_fail(why, RK_EINVAL, "--sizes: no size");
}

/* ---- how busy the machine is with other things ----------------------------------------------- */

/* Seconds of processor time that all have used since the machine started; -1 when unknown. */
static double machine_seconds(void)
{
    unsigned long long user, nice, system;
    FILE *file = fopen("/proc/stat", "re");
    int got = 0;

    if (file == NULL)
        return -1;
    got = fscanf(file, "cpu %llu %llu %llu", &user, &nice, &system);
    fclose(file);
    return got == 3 ? (double)(user + nice + system) / (double)sysconf(_SC_CLK_TCK) : -1;
}

static double own_seconds(void)
{
    double seconds = 0;

    for (int who = 0; who < 2; who++) {
        struct rusage used;

        if (getrusage(who == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &used) == 0)
            seconds += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    }
    return seconds;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* All wanted engines once.  Returns the share of the machine that others took, or an error. */
static int one_round(struct bench *bench, const enum engine *wanted, uint32_t count, uint32_t round,
                     double *others, struct rk_why *why)
{
    double machine = machine_seconds();
    double own = own_seconds();
    uint64_t start = rk_clock_now();
    double took;

    for (uint32_t e = 0; e < count; e++) {
        enum engine engine = wanted[e];
        int rc;

        if (bench->missing[engine])
            continue;
        rc = engine_run(engine, &bench->job, &bench->times[engine][round], why);
        if (rc != 0 && engine != ENGINE_LIMIT && engine > ENGINE_FUSED) {
            bench->missing[engine] = true; /* said in the results */
            snprintf(bench->why[engine], sizeof bench->why[engine], "%.255s", why->text);
        } else if (rc != 0) {
            return rc;
        }
    }
    took = (double)(rk_clock_now() - start) / 1e9 * (double)sysconf(_SC_NPROCESSORS_ONLN);
    *others =
        machine < 0 || took <= 0 ? 0 : (machine_seconds() - machine - (own_seconds() - own)) / took;
    return 0;
}

static int all_rounds(struct bench *bench, const enum engine *wanted, uint32_t count,
                      struct rk_why *why)
{
    for (uint32_t round = 0; round < bench->options.rounds; round++) {
        double others = 0;

        for (uint32_t repeat = 0; repeat <= MOST_REPEATS; repeat++) {
            int rc = one_round(bench, wanted, count, round, &others, why);

            if (rc != 0)
                return rc;
            if (others <= BUSY_SHARE)
                break;
            bench->busy += repeat < MOST_REPEATS;
        }
        bench->others = fmax(bench->others, others);
        if (!bench->options.json && isatty(STDERR_FILENO))
            fprintf(stderr, "\r%llu bytes: round %u of %u ", (unsigned long long)bench->job.bytes,
                    round + 1, bench->options.rounds);
    }
    if (getloadavg(&bench->load, 1) != 1)
        bench->load = -1;
    if (!bench->options.json && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
    return 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static double time_of(const struct bench *bench, enum engine engine)
{
    double values[MOST_ROUNDS];

    for (uint32_t r = 0; r < bench->options.rounds; r++)
        values[r] = bench->times[engine][r].sync;
    return bench_percentile(values, bench->options.rounds, 0.5);
}

/* The median of each round's `above` / `below`; NAN when one is not there. */
static double ratio_of(const struct bench *bench, enum engine above, enum engine below)
{
    double values[MOST_ROUNDS];

    if (bench->missing[above] || bench->missing[below])
        return NAN;
    for (uint32_t r = 0; r < bench->options.rounds; r++)
        values[r] = bench->times[above][r].sync / bench->times[below][r].sync;
    return bench_percentile(values, bench->options.rounds, 0.5);
}

static void set_number(json_t *object, const char *name, double value)
{
    json_object_set_new(object, name,
                        isfinite(value) ? json_real(round(value * 1000) / 1000) : json_null());
}

static json_t *engines_missing(const struct bench *bench)
{
    json_t *all = json_object();

    for (enum engine e = 0; e < ENGINES; e++)
        if (bench->missing[e])
            json_object_set_new(all, engine_name(e), json_string(bench->why[e]));
    return all;
}

/* ---- allreduce ------------------------------------------------------------------------------- */

static const enum engine compared[] = {ENGINE_LIMIT, ENGINE_ARENA,   ENGINE_FAST,
                                       ENGINE_OWN,   ENGINE_OPENMPI, ENGINE_OPENMPI_TUNED,
                                       ENGINE_MPICH, ENGINE_GLOO};
#define COMPARED (sizeof compared / sizeof compared[0])

static json_t *size_result(const struct bench *bench)
{
    json_t *result = json_object();
    double bytes = (double)bench->job.bytes;
    double ours = time_of(bench, ENGINE_ARENA);
    double share = 2.0 * (bench->job.ranks - 1) / bench->job.ranks;

    json_object_set_new(result, "bytes", json_integer((json_int_t)bench->job.bytes));
    for (size_t e = 0; e < COMPARED; e++) {
        char name[64];

        snprintf(name, sizeof name, "%s_us", engine_name(compared[e]));
        set_number(result, name, bench->missing[compared[e]] ? NAN : time_of(bench, compared[e]));
    }
    set_number(result, "ratio_limit", ratio_of(bench, ENGINE_ARENA, ENGINE_LIMIT));
    set_number(result, "ratio_openmpi", ratio_of(bench, ENGINE_OPENMPI, ENGINE_ARENA));
    set_number(result, "ratio_openmpi_tuned", ratio_of(bench, ENGINE_OPENMPI_TUNED, ENGINE_ARENA));
    set_number(result, "ratio_mpich", ratio_of(bench, ENGINE_MPICH, ENGINE_ARENA));
    set_number(result, "ratio_gloo", ratio_of(bench, ENGINE_GLOO, ENGINE_ARENA));
    set_number(result, "ratio_own_memory", ratio_of(bench, ENGINE_OWN, ENGINE_ARENA));
    set_number(result, "ratio_exact_fast", ratio_of(bench, ENGINE_ARENA, ENGINE_FAST));
    set_number(result, "load", bench->load);
    set_number(result, "algbw_gb_per_s", bytes / ours / 1e3);
    set_number(result, "busbw_gb_per_s", bytes / ours / 1e3 * share);
    return result;
}

static void print_cell(const json_t *result, const char *name, const char *format)
{
    const json_t *value = json_object_get(result, name);

    if (json_is_number(value))
        printf(format, json_number_value(value));
    else
        printf("%13s", "-");
}

static void print_header(const struct bench *bench)
{
    printf("%u ranks on %u host%s, %u shards, float32; microseconds\n", bench->job.ranks,
           bench->job.hosts, bench->job.hosts == 1 ? "" : "s", bench->job.shards);
    printf("%12s", "bytes");
    for (size_t e = 0; e < COMPARED; e++)
        printf(" %15.15s", engine_name(compared[e]));
    printf(" %8s %8s %8s\n", "algbw", "busbw", "load");
}

static void print_size(const json_t *result)
{
    printf("%12lld", (long long)json_integer_value(json_object_get(result, "bytes")));
    for (size_t e = 0; e < COMPARED; e++) {
        char name[64];

        snprintf(name, sizeof name, "%s_us", engine_name(compared[e]));
        print_cell(result, name, " %15.1f");
    }
    print_cell(result, "algbw_gb_per_s", " %8.2f");
    print_cell(result, "busbw_gb_per_s", " %8.2f");
    print_cell(result, "load", " %8.2f");
    printf("\n%12s", "ratio");
    print_cell(result, "ratio_limit", " %7.2f limit ");
    printf(" %15s", "1");
    print_cell(result, "ratio_exact_fast", " exact %.2f fast");
    print_cell(result, "ratio_own_memory", " %15.2f");
    print_cell(result, "ratio_openmpi", " %15.2f");
    print_cell(result, "ratio_openmpi_tuned", " %15.2f");
    print_cell(result, "ratio_mpich", " %15.2f");
    print_cell(result, "ratio_gloo", " %15.2f");
    printf("\n");
    fflush(stdout);
}

static int run_allreduce(struct bench *bench, json_t *all, struct rk_why *why)
{
    uint64_t sizes[MOST_SIZES];
    uint32_t count;
    json_t *list = json_array();
    int rc = sizes_read(bench->options.sizes == NULL ? "4K,64K,1M,16M,100M" : bench->options.sizes,
                        sizes, &count, why);

    json_object_set_new(all, "sizes", list);
    if (rc == 0 && !bench->options.json)
        print_header(bench);
    for (uint32_t s = 0; rc == 0 && s < count; s++) {
        bench->job.bytes = sizes[s];
        rc = all_rounds(bench, compared, COMPARED, why);
        if (rc != 0)
            break;
        json_array_append_new(list, size_result(bench));
        if (!bench->options.json)
            print_size(json_array_get(list, s));
    }
    if (rc == 0 && bench->options.svg != NULL)
        rc = chart_write(bench->options.svg, all, compared, COMPARED, why);
    return rc;
}

/* ---- overlap --------------------------------------------------------------------------------- */

static const enum engine overlapped[] = {ENGINE_ARENA, ENGINE_OVERLAP, ENGINE_FUSED, ENGINE_OPENMPI,
                                         ENGINE_OPENMPI_SGD};
#define OVERLAPPED (sizeof overlapped / sizeof overlapped[0])

/* Medians over rounds of: writing alone; what each way adds to it. */
struct added {
    double write, overlap, at_end, mpi, ratio, fused, mpi_sgd, ratio_fused;
};

static void added_read(const struct bench *bench, struct added *added)
{
    double write[MOST_ROUNDS], overlap[MOST_ROUNDS], ratio[MOST_ROUNDS];
    uint32_t rounds = bench->options.rounds;

    for (uint32_t r = 0; r < rounds; r++) {
        write[r] = bench->times[ENGINE_ARENA][r].fill;
        overlap[r] = fmax(0, bench->times[ENGINE_OVERLAP][r].whole - write[r]);
        ratio[r] = bench->times[ENGINE_OPENMPI][r].sync / fmax(1, overlap[r]);
    }
    *added = (struct added){
        .write = bench_percentile(write, rounds, 0.5),
        .overlap = bench_percentile(overlap, rounds, 0.5),
        .at_end = time_of(bench, ENGINE_ARENA),
        .mpi = bench->missing[ENGINE_OPENMPI] ? NAN : time_of(bench, ENGINE_OPENMPI),
        .ratio = bench->missing[ENGINE_OPENMPI] ? NAN : bench_percentile(ratio, rounds, 0.5),
        .fused = time_of(bench, ENGINE_FUSED),
        .mpi_sgd = bench->missing[ENGINE_OPENMPI_SGD] ? NAN : time_of(bench, ENGINE_OPENMPI_SGD),
        .ratio_fused = ratio_of(bench, ENGINE_OPENMPI_SGD, ENGINE_FUSED),
    };
}

static json_t *added_result(const struct bench *bench, const struct added *added)
{
    json_t *result = json_object();

    json_object_set_new(result, "bytes", json_integer((json_int_t)bench->job.bytes));
    set_number(result, "write_us", added->write);
    set_number(result, "added_overlap_us", added->overlap);
    set_number(result, "added_at_end_us", added->at_end);
    set_number(result, "added_openmpi_us", added->mpi);
    set_number(result, "ratio_openmpi", added->ratio);
    set_number(result, "fused_sgd_us", added->fused);
    set_number(result, "openmpi_sgd_us", added->mpi_sgd);
    set_number(result, "ratio_fused", added->ratio_fused);
    return result;
}

static void added_print(const struct bench *bench, const struct added *added)
{
    printf("%u ranks, %llu bytes of float32; microseconds\n"
           "writing the gradient                       %12.1f\n"
           "summed while it is written      adds       %12.1f\n"
           "summed at the end               adds       %12.1f\n"
           "MPI_Allreduce at the end        adds       %12.1f   %.1f times the first\n"
           "sum and SGD fused               takes      %12.1f\n"
           "MPI_Allreduce, then SGD         takes      %12.1f   %.1f times that\n",
           bench->job.ranks, (unsigned long long)bench->job.bytes, added->write, added->overlap,
           added->at_end, added->mpi, added->ratio, added->fused, added->mpi_sgd,
           added->ratio_fused);
}

static int run_overlap(struct bench *bench, json_t *all, struct rk_why *why)
{
    uint64_t sizes[MOST_SIZES];
    uint32_t count;
    json_t *list = json_array();
    int rc = sizes_read(bench->options.sizes == NULL ? "100M" : bench->options.sizes, sizes, &count,
                        why);

    json_object_set_new(all, "sizes", list);
    for (uint32_t s = 0; rc == 0 && s < count; s++) {
        struct added added;

        bench->job.bytes = sizes[s];
        rc = all_rounds(bench, overlapped, OVERLAPPED, why);
        if (rc != 0)
            break;
        added_read(bench, &added);
        json_array_append_new(list, added_result(bench, &added));
        if (!bench->options.json)
            added_print(bench, &added);
    }
    return rc;
}

/* ---- the commands ---------------------------------------------------------------------------- */

static int choose_shards(struct bench *bench, struct rk_why *why)
{
    uint32_t fitting = 2;

    while (fitting < bench->options.ranks)
        fitting *= 2;
    if (bench->options.shards == 0)
        bench->options.shards = fitting;
    if ((bench->options.shards & (bench->options.shards - 1)) != 0 ||
        bench->options.shards < bench->options.ranks)
        return rk_fail(why, RK_EINVAL, "--shards %u: give a power of two, %u or more for %u ranks",
                       bench->options.shards, fitting, bench->options.ranks);
    return 0;
}

static int set_up(struct bench *bench, struct rk_why *why)
{
    const char *tmp = surroundings_get("TMPDIR");
    int rc = choose_shards(bench, why);

    if (rc != 0)
        return rc;
    if (bench->options.hosts > bench->options.ranks)
        return rk_fail(why, RK_EINVAL, "--virtual-hosts %u: more than --ranks %u",
                       bench->options.hosts, bench->options.ranks);
    snprintf(bench->folder, sizeof bench->folder, "%s/reknit-bench-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(bench->folder) == NULL)
        return rk_fail_errno(why, errno, "no folder for the benchmark below %s",
                             tmp != NULL ? tmp : "/tmp");
    surroundings_set("XDG_STATE_HOME", bench->folder);
    surroundings_set("OMPI_ALLOW_RUN_AS_ROOT", "1");
    surroundings_set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    bench->job = (struct engine_job){.ranks = bench->options.ranks,
                                     .shards = bench->options.shards,
                                     .hosts = bench->options.hosts,
                                     .folder = bench->folder};
    return 0;
}

static void print_end(const struct bench *bench)
{
    for (enum engine e = 0; e < ENGINES; e++)
        if (bench->missing[e])
            printf("%s\n", bench->why[e]);
    printf("%u rounds; %u done again because the machine was busy; others took at most %.0f %% of "
           "it\n",
           bench->options.rounds, bench->busy, 100 * bench->others);
}

static int bench_engines(const struct command *command, int argc, char **argv,
                         int (*run)(struct bench *, json_t *, struct rk_why *))
{
    static struct bench bench;
    struct rk_why why = {""};
    json_t *all = json_object();
    int exit_code;
    int words = 0;
    int rc;

    bench = (struct bench){.command = command, .options = {.ranks = 2, .hosts = 1, .rounds = 5}};
    if (arguments_take(command, argc, argv, &bench.options, &words, &exit_code) != 0) {
        json_decref(all);
        return exit_code;
    }
    rc = words > 0 ? rk_fail(&why, RK_EINVAL, "'%s' is no option", argv[1]) : set_up(&bench, &why);
    if (rc == 0)
        rc = run(&bench, all, &why);
    if (rc == 0 && bench.options.json) {
        json_object_set_new(all, "ranks", json_integer(bench.job.ranks));
        json_object_set_new(all, "shards", json_integer(bench.job.shards));
        json_object_set_new(all, "hosts", json_integer(bench.job.hosts));
        json_object_set_new(all, "rounds", json_integer(bench.options.rounds));
        json_object_set_new(all, "busy_rounds", json_integer(bench.busy));
        set_number(all, "others_share", bench.others);
        json_object_set_new(all, "missing", engines_missing(&bench));
        json_dumpf(all, stdout, JSON_COMPACT);
        printf("\n");
    } else if (rc == 0) {
        print_end(&bench);
    }
    json_decref(all);
    if (bench.folder[0] != '\0') {
        sweep_contents(bench.folder, NULL);
        rmdir(bench.folder);
    }
    return rc == 0 ? 0 : command_fail(command, rc, &why);
}

int bench_allreduce(int argc, char **argv)
{
    return bench_engines(&allreduce_command, argc, argv, run_allreduce);
}

int bench_overlap(int argc, char **argv)
{
    return bench_engines(&overlap_command, argc, argv, run_overlap);
}
