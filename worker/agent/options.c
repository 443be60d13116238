/* The command line of `reknit worker`; see options.h. */
#include "worker/agent/options.h"

#include "common/clock.h"
#include "common/number.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define ORPHAN_NS (600 * RK_S)
#define NAME_MAX_BYTES 64

enum option_kind { TEXT, COUNT, MILLISECONDS };

/* One row an option; the help is made from the rows too. */
static const struct option_row {
    const char *name;
    const char *value;
    enum option_kind kind;
    size_t offset;
    uint64_t min, max;
    bool needed;
    const char *help;
} rows[] = {
#define FIELD(name) offsetof(struct agent_options, name)
    {"--job", "NAME", TEXT, FIELD(job), 0, 0, true, "the job's name"},
    {"--secret", "SRC", TEXT, FIELD(secret), 0, 0, true,
     "the job's secret: a file of mode 0600, fd:N, or mount:FILE of a pod's volume"},
    {"--listen", "PORT", COUNT, FIELD(listen), 1, UINT16_MAX, false,
     "at --address, be dialled by the coordinator (else the secret says where it is)"},
    {"--ticket", "T", COUNT, FIELD(ticket), 0, UINT32_MAX, false,
     "of the launch that started this worker"},
    {"--group", "G", TEXT, FIELD(group), 0, 0, true, "host group: its workers share memory"},
    {"--host-name", "H", TEXT, FIELD(host_name), 0, 0, true, "the host's name, for people"},
    {"--address", "A", TEXT, FIELD(address), 0, 0, true, "where other hosts reach this one"},
    {"--interface", "NAME", TEXT, FIELD(interface), 0, 0, false,
     "or CIDR: network between the hosts for gradients"},
    {"--slots", "S", COUNT, FIELD(slots), 1, RK_MAX_SLOTS, false, "ranks of this worker (1)"},
    {"--run-dir", "DIR", TEXT, FIELD(run_dir), 0, 0, true, "the job's runtime directory"},
    {"--log-dir", "DIR", TEXT, FIELD(log_dir), 0, 0, false,
     "where output of ranks is kept; else who runs this worker keeps it"},
    {"--checkpoint-dir", "DIR", TEXT, FIELD(checkpoint_dir), 0, 0, false, "where checkpoints are"},
    {"--life-fd", "N", COUNT, FIELD(life_fd), 0, 1 << 20, false,
     "a pipe whose end means that the supervisor is gone"},
    {"--orphan-timeout", "MS", MILLISECONDS, FIELD(orphan_ns), 0, UINT64_C(1) << 40, false,
     "end after so long without a coordinator (600000)"},
#undef FIELD
};
#define ROWS (sizeof rows / sizeof rows[0])

void agent_options_print_help(void)
{
    printf("Usage: reknit worker OPTIONS -- PROGRAM [ARG...]\n"
           "       reknit worker OPTIONS --serve\n"
           "Starts and watches the ranks of one worker; started by 'reknit run'.  With --serve it\n"
           "starts the commands that mpirun asks for, in a pod, in sshd's place.\n\n");
    for (size_t i = 0; i < ROWS; i++) {
        char head[64];

        snprintf(head, sizeof head, "%s %s", rows[i].name, rows[i].value);
        printf("  %-24s %s\n", head, rows[i].help);
    }
}

static int take_number(const struct option_row *row, const char *text, void *at, struct rk_why *why)
{
    uint64_t value;

    if (!rk_number_parse(text, row->min, row->max, &value))
        return rk_fail(why, RK_EINVAL, "%s %s: give a whole number from %llu to %llu", row->name,
                       text, (unsigned long long)row->min, (unsigned long long)row->max);
    if (row->kind == MILLISECONDS)
        *(uint64_t *)at = value * RK_MS;
    else
        *(uint32_t *)at = (uint32_t)value; /* life_fd too: an int of the same size */
    return 0;
}

static int take(struct agent_options *options, const char *name, const char *value,
                struct rk_why *why)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        void *at = (char *)options + rows[i].offset;
        if (value == NULL || value[0] == '\0')
            return rk_fail(why, RK_EINVAL, "%s needs a value", name);
        if (rows[i].kind != TEXT)
            return take_number(&rows[i], value, at, why);
        *(const char **)at = value;
        return 0;
    }
    return rk_fail(why, RK_EINVAL, "unknown option %s; see reknit worker --help", name);
}

/* A name that becomes part of a path or of an environment. */
static int check_name(const char *option, const char *name, struct rk_why *why)
{
    if (strlen(name) >= NAME_MAX_BYTES || name[0] == '.' || strchr(name, '/') != NULL)
        return rk_fail(why, RK_EINVAL, "%s %s: at most %d characters, no '/', no '.' in front",
                       option, name, NAME_MAX_BYTES - 1);
    return 0;
}

static int check(const struct agent_options *options, struct rk_why *why)
{
    int rc = 0;

    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].needed &&
            *(const char *const *)((const char *)options + rows[i].offset) == NULL)
            return rk_fail(why, RK_EINVAL, "%s is missing; see reknit worker --help", rows[i].name);
    if (options->serve && options->listen == 0)
        return rk_fail(why, RK_EINVAL, "--serve needs --listen: it waits to be dialled");
    if (!options->serve && (options->program == NULL || options->program[0] == NULL))
        return rk_fail(why, RK_EINVAL, "no program is given; put it behind --");
    rc = check_name("--job", options->job, why);
    if (rc == 0)
        rc = check_name("--group", options->group, why);
    if (rc == 0 && options->life_fd >= 0 && fcntl(options->life_fd, F_GETFD) < 0)
        rc = rk_fail(why, RK_EINVAL, "--life-fd %d is not open", options->life_fd);
    return rc;
}

int agent_options_parse(struct agent_options *options, int argc, char **argv, struct rk_why *why)
{
    *options = (struct agent_options){.slots = 1, .life_fd = -1, .orphan_ns = ORPHAN_NS};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            options->help = true;
            return 0;
        }
        if (strcmp(argv[i], "--serve") == 0) {
            options->serve = true;
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            options->program = argv + i + 1;
            break;
        }
        int rc = take(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL, why);
        if (rc != 0)
            return rc;
        i++;
    }
    return check(options, why);
}
