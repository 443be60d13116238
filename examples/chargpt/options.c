/* Reading the command line: see options.h. */
#include "examples/chargpt/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 64

static const char help[] =
    "usage: chargpt [--text PATH] [--steps N] [--batch B] [--seed S] [--size SIZE]\n"
    "               [--device D] [--pace MS] [--sample N]\n"
    "\n"
    "Trains a character-level transformer on a text and prints a few lines that it writes.\n"
    "Alone it is a job of one process; under `reknit run` the processes of the job share the\n"
    "work, and the result is the same to the bit however many they are.\n"
    "\n"
    "  --text PATH    file or folder to learn from (/usr/share/common-licenses)\n"
    "  --steps N      optimiser steps in all (200)\n"
    "  --batch B      samples in one step, over all processes (16)\n"
    "  --seed S       of the initial weights and of the order of samples (1)\n"
    "  --size SIZE    tiny, small or medium: 0.03, 1 or 10 million weights (tiny)\n"
    "  --device D     cpu, or cuda: a GPU for each process (cpu)\n"
    "  --pace MS      sleep so long in each step, to rehearse failures (0)\n"
    "  --sample N     characters to print at the end (200)\n"
    "  --help         this text\n";

/* Reads a whole number in least .. most, digits only. */
static int number(uint64_t *value, const char *name, const char *text, uint64_t least,
                  uint64_t most)
{
    char *end = NULL;
    errno = 0;
    unsigned long long read = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || read < least || read > most) {
        fprintf(stderr, "chargpt: --%s %s: give a whole number from %llu to %llu\n", name, text,
                (unsigned long long)least, (unsigned long long)most);
        return EXIT_USAGE;
    }
    *value = read;
    return -1;
}

static int size_named(const struct model_size **size, const char *name)
{
    const struct model_size *found = model_size_find(name);
    if (!found) {
        fprintf(stderr, "chargpt: --size %s: there are tiny, small and medium\n", name);
        return EXIT_USAGE;
    }
    *size = found;
    return -1;
}

static int device_named(enum device *device, const char *name)
{
    const int is_cuda = strcmp(name, "cuda") == 0;
    if (!is_cuda && strcmp(name, "cpu") != 0) {
        fprintf(stderr, "chargpt: --device %s: there are cpu and cuda\n", name);
        return EXIT_USAGE;
    }
    *device = is_cuda ? DEVICE_CUDA : DEVICE_CPU;
    return -1;
}

static int option(struct options *options, int which, const char *value)
{
    switch (which) {
    case 't':
        options->text = value;
        return -1;
    case 'n':
        return number(&options->steps, "steps", value, 1, 1000000000);
    case 'b':
        return number(&options->batch, "batch", value, 1, 1 << 20);
    case 's':
        return number(&options->seed, "seed", value, 0, UINT64_MAX);
    case 'z':
        return size_named(&options->size, value);
    case 'd':
        return device_named(&options->device, value);
    case 'p':
        return number(&options->pace_ms, "pace", value, 0, 3600000);
    case 'c':
        return number(&options->sample, "sample", value, 0, 1000000);
    case 'h':
        fputs(help, stdout);
        return 0;
    default: /* getopt has said what is wrong */
        fputs("chargpt: `chargpt --help` lists the options\n", stderr);
        return EXIT_USAGE;
    }
}

int options_read(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"text", required_argument, NULL, 't'},  {"steps", required_argument, NULL, 'n'},
        {"batch", required_argument, NULL, 'b'}, {"seed", required_argument, NULL, 's'},
        {"size", required_argument, NULL, 'z'},  {"device", required_argument, NULL, 'd'},
        {"pace", required_argument, NULL, 'p'},  {"sample", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    int which;

    *options = (struct options){.text = "/usr/share/common-licenses",
                                .size = model_size_find("tiny"),
                                .steps = 200,
                                .batch = 16,
                                .seed = 1,
                                .sample = 200};
    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        int rc = option(options, which, optarg);
        if (rc >= 0)
            return rc;
    }
    if (optind < argc) {
        fprintf(stderr, "chargpt: %s: not an option; `chargpt --help` lists them\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}
