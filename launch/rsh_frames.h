/* What reknit-rsh and the first process of the coordinator's pod say to each other on the socket
 * that REKNIT_RSH names: frames of a kind, a size and so many bytes, on one machine. */
#ifndef RK_LAUNCH_RSH_FRAMES_H
#define RK_LAUNCH_RSH_FRAMES_H

#include <stdint.h>

#define RSH_ENV "REKNIT_RSH"
#define RSH_BYTES 16384u      /* of a frame, but of a start */
#define RSH_START_MAX 131000u /* what Linux takes as one argument, and a host */
#define RSH_FAILURE 255       /* ssh's exit code when it is ssh that failed */

enum rsh_kind {
    RSH_START = 'S',  /* to the pod's first process: HOST NUL COMMAND NUL */
    RSH_INPUT = 'I',  /* no bytes: its end */
    RSH_OUTPUT = 'O', /* from it */
    RSH_ERROR = 'E',
    RSH_LOCAL = 'L',  /* the host is this pod: run it here */
    RSH_FAILED = 'F', /* the sentence */
    RSH_EXIT = 'X',   /* the exit code, int32_t; the last frame */
};

struct rsh_head {
    uint32_t kind;
    uint32_t size;
};

#endif
