/* The one binary `reknit`: finds the command or role that argv[1] names and becomes it. */
#include "launch/commands.h"
#include "launch/janitor.h"
#include "launch/text.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION "0.1.0"
#define USAGE 64

struct entry {
    const char *name;
    int (*command)(int argc, char **argv);
    const char *about; /* NULL: a role, started by other commands */
};

static const struct entry entries[] = {
    {"run", command_run, "start a job and stay with it until it ends"},
    {"status", command_status, "where a running job is"},
    {"events", command_events, "what has happened in a running job"},
    {"logs", command_logs, "what the ranks of a job printed"},
    {"scale", command_scale, "change the number of workers"},
    {"drain", command_drain, "let workers hand over and leave, before their host goes"},
    {"stop", command_stop, "finish the step, write a checkpoint, end the job"},
    {"kill", command_kill, "end a job at once"},
    {"checkpoint", command_checkpoint, "list, show, digest, verify checkpoints"},
    {"bench", command_bench, "measure what a lost rank costs here"},
    {"validate", command_validate, "what is wrong with a manifest, and where"},
    {"render", command_render, "the Kubernetes objects of a manifest"},
    {"submit", command_submit, "run a manifest in a cluster, and follow it"},
    {"operator", command_operator, "watch MPIJobs in a cluster, and run them"},
    {"doctor", command_doctor, "what works on this machine, and why something does not"},
    {"coordinator", command_coordinator, NULL},
    {"worker", command_worker, NULL},
    {"pods", command_pods, NULL},
    {"janitor", command_janitor, NULL},
};
#define ENTRIES (sizeof entries / sizeof entries[0])

static void print_help(FILE *out)
{
    fprintf(out, "usage: reknit COMMAND [options]\n\n"
                 "Runs distributed training jobs that survive the loss of their workers.\n\n");
    for (size_t i = 0; i < ENTRIES; i++)
        if (entries[i].about != NULL)
            fprintf(out, "  %-12s %s\n", entries[i].name, entries[i].about);
    fprintf(out, "\n  reknit COMMAND --help tells more; reknit --version\n\n"
                 "First steps: reknit run --workers 4 -- ./train\n");
}

static int unknown(const char *word)
{
    const char *names[ENTRIES];
    const char *nearest;
    size_t count = 0;

    for (size_t i = 0; i < ENTRIES; i++)
        if (entries[i].about != NULL)
            names[count++] = entries[i].name;
    nearest = text_nearest(word, names, count);
    fprintf(stderr, "reknit: there is no command '%.60s'", word);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean '%s'?", nearest);
    fprintf(stderr, "\nSee 'reknit --help'.\n");
    return USAGE;
}

/* Pipes and sockets must never get the numbers of standard streams that somebody closed. */
static void open_standard_streams(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard_streams();
    if (argc < 2) {
        print_help(stderr);
        return USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("reknit " VERSION "\n");
        return 0;
    }
    for (size_t i = 0; i < ENTRIES; i++)
        if (strcmp(argv[1], entries[i].name) == 0)
            return entries[i].command(argc - 1, argv + 1);
    return unknown(argv[1]);
}
