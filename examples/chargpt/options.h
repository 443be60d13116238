/* The command line of chargpt. */
#ifndef CHARGPT_OPTIONS_H
#define CHARGPT_OPTIONS_H

#include "examples/chargpt/model.h"

enum device { DEVICE_CPU, DEVICE_CUDA };

struct options {
    const char *text;
    enum device device;
    const struct model_size *size;
    uint64_t steps, batch, seed;
    uint64_t pace_ms; /* sleep in each step */
    uint64_t sample;  /* characters to print at the end */
};

/* Fills *options.  -1: go on; otherwise the exit code to end with at once, everything said: 0 after
 * --help, 64 for anything that is not understood. */
int options_read(struct options *options, int argc, char **argv);

#endif
