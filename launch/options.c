/* The options of `reknit run`; see options.h. */
#include "launch/options.h"

#include "collectives/carrier_launch.h"
#include "common/clock.h"
#include "common/id.h"
#include "launch/program.h"
#include "launch/text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST_SHARDS 8u
#define HOUR (UINT64_C(3600) * RK_S)

static int take_workers(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why);
static int take_backend(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why);
static int take_reduction(const struct argument *argument, const char *value, void *target,
                          struct rk_why *why);
static int take_wire(const struct argument *argument, const char *value, void *target,
                     struct rk_why *why);
static int take_standby(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why);
static int take_interval(const struct argument *argument, const char *value, void *target,
                         struct rk_why *why);
static int take_name(const struct argument *argument, const char *value, void *target,
                     struct rk_why *why);

#define AT(field) offsetof(struct run_options, field)

static const struct argument arguments[] = {
    {"--workers", "N|MIN:MAX",
     "start N workers and go on with at least one while lost\n"
     "ones are replaced; MIN:MAX holds the job below MIN (1)",
     take_workers, AT(workers), 1, OPTIONS_MAX_WORKERS},
    {"--spares", "N",
     "workers that wait beside the job and take the place of a\n"
     "lost one at once (0)",
     argument_count, AT(spares), 0, OPTIONS_MAX_WORKERS},
    {"--slots", "S", "ranks of each worker (1)", argument_count, AT(slots), 1, RK_MAX_SLOTS},
    {"--hosts", "FILE|a:4,b:4",
     "one worker on each host named, with so many ranks;\n"
     "a file has lines as 'node1 slots=4'",
     argument_text, AT(hosts_text), 0, 0},
    {"--rsh", "CMD", "what starts a command on a host (ssh)", argument_text, AT(rsh), 0, 0},
    {"--remote-path", "PATH", "where reknit stands on the hosts (as here)", argument_text,
     AT(remote_path), 0, 0},
    {"--address", "A", "this machine's address as the hosts reach it", argument_text, AT(address),
     0, 0},
    {"--virtual-hosts", "H",
     "deal the workers of this machine to H hosts that share\n"
     "no memory, to rehearse the loss of a host",
     argument_count, AT(virtual_hosts), 1, 64},
    {"--name", "JOB", "the job's name (from the program's)", take_name, AT(name), 0, 0},
    {"--backend", "auto|mpi|nccl|none",
     "none: any program, only its environment is given;\n"
     "mpi: gradients between hosts go over Open MPI; nccl:\n"
     "they lie on GPUs, and NCCL moves them (auto: mpi)",
     take_backend, AT(backend), 0, 0},
    {"--shards", "V",
     "parts of the global batch, a power of two, at least the\n"
     "largest world; the result depends on it (twice the\n"
     "largest world, at least 8)",
     argument_count, AT(shards), 1, RK_MAX_SHARDS},
    {"--gather", "TIME", "start with MIN workers after so long (30s)", argument_duration,
     AT(gather), 0, 24 * HOUR},
    {"--checkpoint-dir", "DIR", "where checkpoints go and come from (none)", argument_text,
     AT(checkpoint_dir), 0, 0},
    {"--checkpoint-interval", "auto|30s|100steps|off", "how often; off: only the final one (auto)",
     take_interval, AT(checkpoint_interval), 0, 0},
    {"--keep", "K", "checkpoints that stay, the newest (3)", argument_count, AT(keep), 1, 1000},
    {"--max-restarts", "N", "losses within an hour before the job gives up (100)", argument_count,
     AT(max_restarts), 0, 1000000},
    {"--reduction", "exact|fast",
     "exact: sum in one fixed order, the same bits for any number\n"
     "of ranks and after any loss; fast: less memory and traffic,\n"
     "the same bits in all ranks and when repeated without a\n"
     "loss, but another world's differ in the last ones (exact)",
     take_reduction, AT(reduction), 0, 0},
    {"--wire", "f32|bf16",
     "how float32 gradients travel between hosts; bf16 halves\n"
     "the bytes, carries what it rounds off over to the next\n"
     "step, and depends on the number of hosts (f32)",
     take_wire, AT(wire), 0, 0},
    {"--standby-carriers", "yes|no",
     "a second set of carriers between hosts stands by, asleep,\n"
     "and takes over when one is lost; no: launch them again (yes)",
     take_standby, AT(standby_carriers), 0, 0},
    {"--interface", "NAME|CIDR",
     "network between the hosts for gradients, as eth1 or\n"
     "10.1.0.0/16 (that of the workers' addresses)",
     argument_text, AT(interface), 0, 0},
    {"--heartbeat", "TIME",
     "how often workers say that they live (200ms, or a\n"
     "fifth of --silence where that is less)",
     argument_duration, AT(heartbeat), RK_MS, HOUR},
    {"--silence", "TIME", "a worker not heard of for so long is lost (1s)", argument_duration,
     AT(silence), 2 * RK_MS, HOUR},
    {"--orphan-timeout", "TIME", "workers without coordinator end after so long (10min)",
     argument_duration, AT(orphan), RK_S, 24 * HOUR},
    {"--stall-timeout", "TIME",
     "a rank whose program keeps control for so long, without a call\n"
     "of the library that waits for the others, is killed and\n"
     "replaced; where no sum comes for twice as long, with nobody\n"
     "lost, other carriers or communicators take over (never)",
     argument_duration, AT(stall), RK_S, 24 * HOUR},
    {"--events", "FILE", "write each event as a line of JSON (appends)", argument_text, AT(events),
     0, 0},
    {"--quiet", NULL, "only what the ranks print, and the report at the end", argument_flag,
     AT(quiet), 0, 0},
};

const struct command run_command = {
    .name = "reknit run",
    .usage = "[options] [--] PROGRAM [ARG...]",
    .about = "Runs PROGRAM as the ranks of a training job that survives the loss of its workers.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .stops_at_word = true,
    .after =
        "Ctrl-C finishes the step, writes a checkpoint and stops; a second one stops at once.\n"
        "Times are written as 100ms, 30s, 10min, 2h.\n"
        "exit codes: 0 finished; the program's own (128+n for signal n) when it fails for\n"
        "good; 64 usage; 65 bad data; 69 something is unavailable; 75 restarts spent; 130,\n"
        "143 stopped by a signal.",
};

static int take_workers(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why)
{
    struct run_options *options = target;
    char low[24];
    const char *colon = strchr(value, ':');
    uint64_t min = 1;
    uint64_t max;
    int rc;

    rc = text_count(colon != NULL ? colon + 1 : value, argument->min, argument->max, &max, why);
    if (rc == 0 && colon != NULL) {
        snprintf(low, sizeof low, "%.*s", (int)(colon - value), value);
        rc = text_count(low, argument->min, argument->max, &min, why);
    }
    if (rc != 0)
        return rc;
    if (min > max)
        return rk_fail(why, RK_EINVAL,
                       "'%s' has its least number of workers above its most: %u:%u?", value,
                       (unsigned)max, (unsigned)min);
    options->workers = value;
    options->min_workers = (uint32_t)min;
    options->max_workers = (uint32_t)max;
    return 0;
}

/* One of a few words. */
static int take_word(const char *value, const char *const *words, size_t count, const char **field,
                     struct rk_why *why)
{
    char list[128] = "";

    for (size_t i = 0; i < count; i++) {
        if (strcmp(value, words[i]) == 0) {
            *field = value;
            return 0;
        }
        text_append(list, sizeof list, "%s%s",
                    i == 0           ? ""
                    : i + 1 == count ? " or "
                                     : ", ",
                    words[i]);
    }
    return rk_fail(why, RK_EINVAL, "'%.40s' is not known; it can be %s", value, list);
}

static int take_backend(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why)
{
    static const char *const words[] = {"auto", "mpi", "none", "nccl"};

    (void)argument;
    return take_word(value, words, 4, &((struct run_options *)target)->backend, why);
}

static int take_reduction(const struct argument *argument, const char *value, void *target,
                          struct rk_why *why)
{
    static const char *const words[] = {"exact", "fast"};

    (void)argument;
    return take_word(value, words, 2, &((struct run_options *)target)->reduction, why);
}

static int take_wire(const struct argument *argument, const char *value, void *target,
                     struct rk_why *why)
{
    static const char *const words[] = {"f32", "bf16"};

    (void)argument;
    return take_word(value, words, 2, &((struct run_options *)target)->wire, why);
}

static int take_standby(const struct argument *argument, const char *value, void *target,
                        struct rk_why *why)
{
    static const char *const words[] = {"yes", "no"};

    (void)argument;
    return take_word(value, words, 2, &((struct run_options *)target)->standby_carriers, why);
}

static int take_interval(const struct argument *argument, const char *value, void *target,
                         struct rk_why *why)
{
    char digits[24];
    size_t length = strspn(value, "0123456789");
    uint64_t number;
    bool good = strcmp(value, "auto") == 0 || strcmp(value, "off") == 0;

    (void)argument;
    if (!good && (strcmp(value + length, "steps") == 0 || strcmp(value + length, "step") == 0)) {
        snprintf(digits, sizeof digits, "%.*s", (int)length, value);
        good = text_count(digits, 1, UINT32_MAX, &number, NULL) == 0;
    } else if (!good) {
        good = text_duration(value, &number, NULL) == 0 && number >= 10 * RK_MS;
    }
    if (!good)
        return rk_fail(why, RK_EINVAL,
                       "'%.40s' is not an interval: auto, off, a time (30s) or steps (100steps)",
                       value);
    ((struct run_options *)target)->checkpoint_interval = value;
    return 0;
}

static int take_name(const struct argument *argument, const char *value, void *target,
                     struct rk_why *why)
{
    size_t length = strlen(value);
    size_t good = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-");

    (void)argument;
    if (length == 0 || length > RK_JOB_NAME_MAX)
        return rk_fail(why, RK_EINVAL, "a job's name has 1 to %d characters", RK_JOB_NAME_MAX);
    if (good != length || value[0] == '-' || value[length - 1] == '-')
        return rk_fail(why, RK_EINVAL,
                       "'%.63s': a job's name has small letters, digits and '-' inside, as train-7",
                       value);
    ((struct run_options *)target)->name = value;
    return 0;
}

void run_options_name_of(const char *program, unsigned number, char *name, size_t size)
{
    const char *base = strrchr(program, '/');
    size_t used = 0;
    char tail[16] = "";

    if (number > 1)
        snprintf(tail, sizeof tail, "-%u", number);
    size = size < RK_JOB_NAME_MAX + 1 ? size : RK_JOB_NAME_MAX + 1;
    for (base = base != NULL ? base + 1 : program; *base != '\0'; base++) {
        bool good = isalnum((unsigned char)*base) && (unsigned char)*base < 0x80;

        if (used + strlen(tail) + 1 >= size)
            break;
        if (good)
            name[used++] = (char)tolower((unsigned char)*base);
        else if (used > 0 && name[used - 1] != '-')
            name[used++] = '-';
    }
    while (used > 0 && name[used - 1] == '-')
        used--;
    name[used] = '\0';
    text_append(name, size, "%s%s", used == 0 ? "job" : "", tail);
}

uint32_t run_options_largest_world(const struct run_options *options)
{
    uint32_t ranks = 0;

    if (options->hosts.count == 0)
        return options->max_workers * options->slots;
    for (uint32_t i = 0; i < options->max_workers + options->spares; i++)
        ranks += options->hosts.host[i].slots;
    return ranks;
}

uint32_t run_options_shards(uint32_t world)
{
    uint32_t fitting = LEAST_SHARDS;

    while (fitting < 2 * world && fitting < RK_MAX_SHARDS)
        fitting *= 2;
    return fitting;
}

static int check_shards(struct run_options *options, struct rk_why *why)
{
    uint32_t world = run_options_largest_world(options);
    uint32_t fitting = run_options_shards(world);

    if (world > RK_MAX_SHARDS)
        return rk_fail(why, RK_EINVAL, "%u ranks are more than %d, the most of this version", world,
                       RK_MAX_SHARDS);
    if (options->shards == 0)
        options->shards = fitting;
    if ((options->shards & (options->shards - 1)) != 0)
        return rk_fail(why, RK_EINVAL, "--shards: %u is not a power of two; %u would fit",
                       options->shards, fitting);
    if (options->shards < world)
        return rk_fail(
            why, RK_EINVAL,
            "--shards: %u shards are too few for a world of %u ranks (%s workers): a rank "
            "needs at least one; %u would fit",
            options->shards, world, options->workers, fitting);
    return 0;
}

/* The hosts of --hosts and the number of workers that comes of them. */
static int check_hosts(struct run_options *options, struct rk_why *why)
{
    int rc = hosts_read(options->hosts_text, options->slots, &options->hosts, why);

    if (rc != 0)
        return rc;
    if (options->virtual_hosts > 0)
        return rk_fail(why, RK_EINVAL, "--virtual-hosts and --hosts exclude each other");
    if (options->workers == NULL && options->spares < options->hosts.count)
        options->max_workers = (uint32_t)options->hosts.count - options->spares;
    if (options->max_workers + options->spares > options->hosts.count)
        return rk_fail(why, RK_EINVAL,
                       "--workers: %u workers do not fit on %zu host entries of one worker each; "
                       "name a host again to put another worker there",
                       options->max_workers + options->spares, options->hosts.count);
    for (size_t i = 0; i < options->hosts.count; i++)
        if (options->hosts.host[i].slots > options->slots)
            options->slots = options->hosts.host[i].slots;
    return 0;
}

static int absolute_checkpoint_dir(struct run_options *options, struct rk_why *why)
{
    char here[PATH_MAX];

    if (options->checkpoint_dir == NULL || options->checkpoint_dir[0] == '/')
        return 0;
    if (getcwd(here, sizeof here) == NULL)
        return rk_fail_errno(why, errno, "the current directory cannot be read");
    if (asprintf(&options->checkpoint_path, "%s/%s", here, options->checkpoint_dir) < 0) {
        options->checkpoint_path = NULL;
        return rk_fail(why, RK_ENOMEM, "no memory for a path");
    }
    options->checkpoint_dir = options->checkpoint_path;
    return 0;
}

/* Five within a silence, but no fewer than five a second. */
static uint64_t default_heartbeat(uint64_t silence)
{
    uint64_t heartbeat = silence / 5 < 200 * RK_MS ? silence / 5 : 200 * RK_MS;

    return heartbeat < RK_MS ? RK_MS : heartbeat;
}

static int check_all(struct run_options *options, struct rk_why *why)
{
    int rc = options->hosts_text != NULL ? check_hosts(options, why) : 0;

    if (rc == 0 && options->virtual_hosts > options->max_workers)
        rc = rk_fail(why, RK_EINVAL, "--virtual-hosts: %u hosts are more than %u workers",
                     options->virtual_hosts, options->max_workers);
    if (rc == 0)
        rc = check_shards(options, why);
    if (options->heartbeat == 0)
        options->heartbeat = default_heartbeat(options->silence);
    if (rc == 0 && options->silence < 2 * options->heartbeat)
        rc = rk_fail(why, RK_EINVAL,
                     "--silence must be at least twice --heartbeat, or every worker is lost");
    if (rc == 0 && options->hosts_text == NULL)
        rc = program_check(options->program[0], why);
    if (rc == 0 && options->hosts_text == NULL && options->interface != NULL)
        rc = carrier_interface_check(options->interface, why);
    if (rc == 0)
        rc = absolute_checkpoint_dir(options, why);
    if (rc == 0 && options->workers == NULL) {
        snprintf(options->workers_text, sizeof options->workers_text, "%u", options->max_workers);
        options->workers = options->workers_text;
    }
    return rc;
}

int run_options_parse(int argc, char **argv, struct run_options *options, struct rk_why *why)
{
    int words;
    int rc;

    *options = (struct run_options){
        .min_workers = 1,
        .max_workers = 1,
        .slots = 1,
        .rsh = "ssh",
        .backend = "auto",
        .checkpoint_interval = "auto",
        .keep = 3,
        .max_restarts = 100,
        .reduction = "exact",
        .wire = "f32",
        .standby_carriers = "yes",
        .gather = 30 * RK_S,
        .silence = RK_S,
        .orphan = 600 * RK_S,
    };
    rc = arguments_parse(&run_command, argc, argv, options, &words, why);
    if (rc != 0)
        return rc;
    if (words == 0)
        return rk_fail(why, RK_EINVAL,
                       "no program was given; write it last: reknit run --workers 4 -- ./train");
    argv[words + 1] = NULL;
    options->program = argv + 1;
    return check_all(options, why);
}

void run_options_done(struct run_options *options)
{
    hosts_done(&options->hosts);
    free(options->checkpoint_path);
    options->checkpoint_path = NULL;
}
