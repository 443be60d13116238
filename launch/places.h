/* Which host a place of the job is on: places are dealt to hosts in blocks. */
#ifndef RK_LAUNCH_PLACES_H
#define RK_LAUNCH_PLACES_H

#include "launch/options.h"

struct place {
    char group[HOSTS_NAME_MAX + 1];     /* host group: workers of one share memory */
    char host_name[HOSTS_NAME_MAX + 1]; /* for people */
    char address[HOSTS_NAME_MAX + 1];
    const char *target; /* for the remote shell; NULL: this machine */
    uint32_t slots;
};

/* `machine`: this machine's name. */
void place_of(const struct run_options *options, const char *machine, uint32_t number,
              struct place *place);

#endif
