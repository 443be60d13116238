/* The hosts of a job over several machines: `a:4,b:4`, or a hostfile.
 *
 * Each entry takes one worker with as many ranks as it has slots; a host that stands there twice
 * takes two workers, which share its memory. */
#ifndef RK_LAUNCH_HOSTS_H
#define RK_LAUNCH_HOSTS_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

#define HOSTS_MAX 1024u
#define HOSTS_NAME_MAX 253u

struct host {
    char target[HOSTS_NAME_MAX + 1]; /* what the remote shell is given, user@ included */
    uint32_t slots;
};

struct hosts {
    struct host *host; /* freed by hosts_done */
    size_t count;
};

/* `text` is a list when it has a comma, or when there is no such file; else a file:
 *     # comment
 *     node1 slots=4
 *     node2:4
 * `slots` counts where an entry says nothing.  RK_EINVAL with list position or file:line:column,
 * RK_ENOENT, RK_EACCES, RK_EIO, RK_EFULL, RK_ENOMEM. */
int hosts_read(const char *text, uint32_t slots, struct hosts *hosts, struct rk_why *why);
void hosts_done(struct hosts *hosts);

/* The name without user@. */
const char *host_name(const struct host *host);

#endif
