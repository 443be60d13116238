/* The command line of `reknit coordinator`; see options.h. */
#include "coordinator/options.h"

#include "common/clock.h"
#include "common/number.h"
#include "coordinator/core/core.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORKERS 4096u
#define MAX_EPOCH ((UINT32_C(1) << 24) - 1)
#define AUTO_INTERVAL (30 * RK_S)
#define LAUNCH_TIMEOUT (30 * RK_S)

enum option_id {
    OPT_JOB = 1,
    OPT_SECRET,
    OPT_LISTEN_FD,
    OPT_RUN_DIR,
    OPT_STATE_DIR,
    OPT_CHECKPOINT_DIR,
    OPT_EVENTS,
    OPT_WORKERS,
    OPT_MAX_WORKERS,
    OPT_SPARES,
    OPT_SLOTS,
    OPT_SHARDS,
    OPT_BACKEND,
    OPT_GATHER,
    OPT_HEARTBEAT,
    OPT_SILENCE,
    OPT_ORPHAN_TIMEOUT,
    OPT_STALL_TIMEOUT,
    OPT_MAX_RESTARTS,
    OPT_INTERVAL,
    OPT_KEEP,
    OPT_REDUCTION,
    OPT_WIRE,
    OPT_STANDBY_CARRIERS,
    OPT_LAUNCH_TIMEOUT,
    OPT_LEAST_EPOCH,
    OPT_LAUNCHER,
    OPT_RESTARTED,
    OPT_COPIED,
    OPT_PRINT_RULES,
    OPT_HELP,
};

static const struct option_text {
    const char *name;
    bool has_value;
    enum option_id id;
    const char *text;
} texts[] = {
    {"job", true, OPT_JOB, "NAME        of the job"},
    {"secret", true, OPT_SECRET, "SRC         its keys and token: a file of mode 0600, or fd:N"},
    {"listen-fd", true, OPT_LISTEN_FD, "N           a listening TCP socket that was inherited"},
    {"run-dir", true, OPT_RUN_DIR, "DIR         of the job while it runs"},
    {"state-dir", true, OPT_STATE_DIR, "DIR         of what survives the coordinator"},
    {"checkpoint-dir", true, OPT_CHECKPOINT_DIR, "DIR         none: no checkpoints"},
    {"events", true, OPT_EVENTS, "FILE        events go there too, one JSON object a line"},
    {"workers", true, OPT_WORKERS, "N|MIN:MAX   how many workers"},
    {"max-workers", true, OPT_MAX_WORKERS,
     "M           that the job may be scaled to, if not as above"},
    {"spares", true, OPT_SPARES, "N           workers that wait to take a lost one's place (0)"},
    {"slots", true, OPT_SLOTS, "S           ranks of a worker"},
    {"shards", true, OPT_SHARDS, "V           virtual shards of a batch, a power of two"},
    {"backend", true, OPT_BACKEND, "auto|mpi|nccl|none"},
    {"gather", true, OPT_GATHER, "MS          start with fewer workers after this"},
    {"heartbeat", true, OPT_HEARTBEAT, "MS          between signs of life"},
    {"silence", true, OPT_SILENCE, "MS          without one, then a worker is lost"},
    {"orphan-timeout", true, OPT_ORPHAN_TIMEOUT, "MS          workers wait for a coordinator"},
    {"stall-timeout", true, OPT_STALL_TIMEOUT, "MS          a rank's program may keep control"},
    {"max-restarts", true, OPT_MAX_RESTARTS, "N           in an hour"},
    {"checkpoint-interval", true, OPT_INTERVAL, "auto|30s|100steps|off"},
    {"keep", true, OPT_KEEP, "K           checkpoints that stay"},
    {"reduction", true, OPT_REDUCTION, "exact|fast  order of the sums"},
    {"wire", true, OPT_WIRE, "f32|bf16    gradients between hosts"},
    {"standby-carriers", true, OPT_STANDBY_CARRIERS, "yes|no      a second set, that takes over"},
    {"launch-timeout", true, OPT_LAUNCH_TIMEOUT, "MS          until a worker must have said hello"},
    {"least-epoch", true, OPT_LEAST_EPOCH, "E           that others have left to this one"},
    {"launcher", false, OPT_LAUNCHER, "            workers are started by `reknit run`"},
    {"restarted", false, OPT_RESTARTED, "            the last one died; what it had ended is over"},
    {"copied", false, OPT_COPIED, "            the state dir is copied, and need not be durable"},
    {"print-rules", false, OPT_PRINT_RULES, "            print the state tables and exit"},
    {"help", false, OPT_HELP, ""},
};
#define OPTION_COUNT (sizeof texts / sizeof texts[0])

void options_print_help(void)
{
    printf("usage: reknit coordinator OPTIONS\n\n"
           "Decides who is in a job.  Started by `reknit run`.\n\n");
    for (size_t i = 0; i < OPTION_COUNT; i++)
        printf("  --%-20s %s\n", texts[i].name, texts[i].text);
}

/* ---- values ---------------------------------------------------------------------------------- */

static int parse_number(const char *name, const char *text, uint64_t least, uint64_t most,
                        uint64_t *value, struct rk_why *why)
{
    if (rk_number_parse(text, least, most, value))
        return 0;
    return rk_fail(why, RK_EINVAL, "--%s %s: a number from %llu to %llu is needed", name, text,
                   (unsigned long long)least, (unsigned long long)most);
}

static int parse_u32(const char *name, const char *text, uint32_t least, uint32_t most,
                     uint32_t *value, struct rk_why *why)
{
    uint64_t wide = 0;
    int rc = parse_number(name, text, least, most, &wide, why);

    *value = (uint32_t)wide;
    return rc;
}

static int parse_ms(const char *name, const char *text, uint64_t least, uint64_t *ns,
                    struct rk_why *why)
{
    int rc = parse_number(name, text, least, UINT64_C(1000) * 3600 * 24 * 30, ns, why);

    if (rc == 0)
        *ns *= RK_MS;
    return rc;
}

/* N starts with N and goes on with one; MIN:MAX starts with MAX and holds below MIN. */
static int parse_workers(struct options *options, const char *text, struct rk_why *why)
{
    char least[16];
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    int rc;

    options->min_workers = 1;
    options->max_workers = 0;
    if (!colon)
        return parse_u32("workers", text, 1, MAX_WORKERS, &options->workers, why);
    if (length >= sizeof least)
        return rk_fail(why, RK_EINVAL, "--workers %s: N or MIN:MAX is needed", text);
    memcpy(least, text, length);
    least[length] = '\0';
    rc = parse_u32("workers", colon + 1, 1, MAX_WORKERS, &options->max_workers, why);
    if (rc == 0)
        rc = parse_u32("workers", least, 1, options->max_workers, &options->min_workers, why);
    options->workers = options->max_workers;
    return rc;
}

static int parse_interval(struct options *options, const char *text, struct rk_why *why)
{
    char *end;
    unsigned long long number;

    options->interval = 0;
    options->interval_steps = 0;
    if (strcmp(text, "off") == 0)
        return 0;
    if (strcmp(text, "auto") == 0) {
        options->interval = AUTO_INTERVAL;
        return 0;
    }
    errno = 0;
    number = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && errno == 0 && number > 0 && number < 1u << 30) {
        if (strcmp(end, "steps") == 0 || strcmp(end, "step") == 0)
            options->interval_steps = number;
        else if (strcmp(end, "ms") == 0)
            options->interval = number * RK_MS;
        else if (strcmp(end, "s") == 0)
            options->interval = number * RK_S;
        else if (strcmp(end, "m") == 0 || strcmp(end, "min") == 0)
            options->interval = number * 60 * RK_S;
    }
    if (options->interval == 0 && options->interval_steps == 0)
        return rk_fail(why, RK_EINVAL,
                       "--checkpoint-interval %s: auto, off, 30s, 5min or 100steps is needed",
                       text);
    return 0;
}

static int parse_shards(struct options *options, const char *text, struct rk_why *why)
{
    int rc = parse_u32("shards", text, 1, RK_MAX_SHARDS, &options->shards, why);

    if (rc == 0 && (options->shards & (options->shards - 1)) != 0)
        return rk_fail(why, RK_EINVAL, "--shards %s: a power of two is needed", text);
    return rc;
}

/* A name becomes part of file names and of lines of text. */
static int check_job(const char *job, struct rk_why *why)
{
    size_t length = strlen(job);

    if (length < 1 || length > RK_JOB_NAME_MAX ||
        strspn(job, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != length)
        return rk_fail(why, RK_EINVAL, "--job: 1 to %d letters, digits, '-', '_' or '.' are needed",
                       RK_JOB_NAME_MAX);
    return 0;
}

static int check_word(const char *name, const char *text, const char *allowed, struct rk_why *why)
{
    size_t length = strlen(text);
    const char *at = allowed;

    while (length > 0 && (at = strstr(at, text)) != NULL) {
        if ((at == allowed || at[-1] == '|') && (at[length] == '|' || at[length] == '\0'))
            return 0;
        at++;
    }
    return rk_fail(why, RK_EINVAL, "--%s %s: one of %s is needed", name, text, allowed);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int set_place(struct options *options, enum option_id id, const char *value,
                     struct rk_why *why)
{
    uint32_t fd = 0;
    int rc = 0;

    switch (id) {
    case OPT_JOB:
        options->job = value;
        return check_job(value, why);
    case OPT_SECRET:
        options->secret = value;
        return 0;
    case OPT_LISTEN_FD:
        rc = parse_u32("listen-fd", value, 0, 1u << 20, &fd, why);
        options->listen_fd = (int)fd;
        return rc;
    case OPT_RUN_DIR:
        options->run_dir = value;
        return 0;
    case OPT_STATE_DIR:
        options->state_dir = value;
        return 0;
    case OPT_CHECKPOINT_DIR:
        options->checkpoint_dir = value;
        return 0;
    default:
        options->events = value;
        return 0;
    }
}

static int set_value(struct options *options, enum option_id id, const char *value,
                     struct rk_why *why)
{
    switch (id) {
    case OPT_WORKERS:
        return parse_workers(options, value, why);
    case OPT_MAX_WORKERS:
        return parse_u32("max-workers", value, 1, MAX_WORKERS, &options->scale_to, why);
    case OPT_SPARES:
        return parse_u32("spares", value, 0, MAX_WORKERS, &options->spares, why);
    case OPT_SLOTS:
        return parse_u32("slots", value, 1, RK_MAX_SLOTS, &options->slots, why);
    case OPT_SHARDS:
        return parse_shards(options, value, why);
    case OPT_BACKEND:
        options->backend = value;
        return check_word("backend", value, "auto|mpi|nccl|none", why);
    case OPT_GATHER:
        return parse_ms("gather", value, 0, &options->gather, why);
    case OPT_HEARTBEAT:
        return parse_ms("heartbeat", value, 1, &options->heartbeat, why);
    case OPT_SILENCE:
        return parse_ms("silence", value, 1, &options->silence, why);
    case OPT_ORPHAN_TIMEOUT:
        return parse_ms("orphan-timeout", value, 0, &options->orphan_timeout, why);
    case OPT_STALL_TIMEOUT:
        return parse_ms("stall-timeout", value, 1, &options->stall_timeout, why);
    case OPT_MAX_RESTARTS:
        return parse_u32("max-restarts", value, 0, 1000000, &options->max_restarts, why);
    case OPT_INTERVAL:
        return parse_interval(options, value, why);
    case OPT_KEEP:
        return parse_u32("keep", value, 1, 1000000, &options->keep, why);
    case OPT_REDUCTION:
        options->reduction = value;
        return check_word("reduction", value, "exact|fast", why);
    case OPT_WIRE:
        options->wire = value;
        return check_word("wire", value, "f32|bf16", why);
    case OPT_LAUNCH_TIMEOUT:
        return parse_ms("launch-timeout", value, 1, &options->launch_timeout, why);
    case OPT_LEAST_EPOCH:
        return parse_u32("least-epoch", value, 1, MAX_EPOCH, &options->least_epoch, why);
    case OPT_STANDBY_CARRIERS:
        options->standby_carriers = strcmp(value, "yes") == 0;
        return check_word("standby-carriers", value, "yes|no", why);
    default:
        return set_place(options, id, value, why);
    }
}

/* Those without a value. */
static void set_flag(struct options *options, enum option_id id)
{
    options->launcher |= id == OPT_LAUNCHER;
    options->restarted |= id == OPT_RESTARTED;
    options->copied |= id == OPT_COPIED;
    options->print_rules |= id == OPT_PRINT_RULES;
    options->help |= id == OPT_HELP;
}

static int check_whole(struct options *options, struct rk_why *why)
{
    const char *missing = !options->job            ? "job"
                          : !options->secret       ? "secret"
                          : !options->run_dir      ? "run-dir"
                          : !options->state_dir    ? "state-dir"
                          : options->listen_fd < 0 ? "listen-fd"
                                                   : NULL;
    bool reduces = strcmp(options->backend, "none") != 0;
    uint32_t most = reduces ? options->shards / options->slots : MAX_WORKERS;

    if (options->print_rules || options->help)
        return 0;
    if (missing)
        return rk_fail(why, RK_EINVAL, "--%s is missing: reknit coordinator --help", missing);
    if (options->scale_to != 0 && options->scale_to < options->workers)
        return rk_fail(why, RK_EINVAL, "--max-workers %u is less than the %u of --workers",
                       options->scale_to, options->workers);
    if (options->scale_to != 0)
        options->max_workers = options->scale_to;
    if (options->silence < 2 * options->heartbeat)
        return rk_fail(why, RK_EINVAL, "--silence must be at least twice --heartbeat");
    if (options->workers > most || options->max_workers > most)
        return rk_fail(why, RK_EINVAL,
                       "%u workers of %u ranks are more than the %u shards of a batch: raise "
                       "--shards (up to %d) or ask for fewer",
                       options->workers, options->slots, options->shards, RK_MAX_SHARDS);
    if (options->max_workers == 0)
        options->max_workers = most < MAX_WORKERS ? most : MAX_WORKERS;
    return 0;
}

static const struct option_text *find(const char *argument, const char **value)
{
    size_t length = strcspn(argument, "=");

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(texts[i].name) != length || strncmp(texts[i].name, argument, length) != 0)
            continue;
        *value = argument[length] == '=' ? argument + length + 1 : NULL;
        return &texts[i];
    }
    return NULL;
}

int options_parse(struct options *options, int argc, char **argv, struct rk_why *why)
{
    static const struct options defaults = {
        .backend = "auto",
        .reduction = "exact",
        .wire = "f32",
        .standby_carriers = true,
        .listen_fd = -1,
        .min_workers = 1,
        .workers = 1,
        .slots = 1,
        .shards = 64,
        .max_restarts = 100,
        .keep = 2,
        .gather = 30 * RK_S,
        .heartbeat = 200 * RK_MS,
        .silence = RK_S,
        .orphan_timeout = 600 * RK_S,
        .interval = AUTO_INTERVAL,
        .launch_timeout = LAUNCH_TIMEOUT,
    };
    int rc = 0;

    *options = defaults;
    for (int i = 1; rc == 0 && i < argc; i++) {
        const char *value = NULL;
        const struct option_text *text =
            strncmp(argv[i], "--", 2) == 0 ? find(argv[i] + 2, &value) : NULL;

        if (!text)
            return rk_fail(why, RK_EINVAL, "%s is not an option: reknit coordinator --help",
                           argv[i]);
        if (text->has_value && !value && i + 1 >= argc)
            return rk_fail(why, RK_EINVAL, "--%s needs a value", text->name);
        if (!text->has_value && value)
            return rk_fail(why, RK_EINVAL, "--%s takes no value", text->name);
        if (text->has_value)
            rc = set_value(options, text->id, value ? value : argv[++i], why);
        else
            set_flag(options, text->id);
    }
    return rc ? rc : check_whole(options, why);
}
