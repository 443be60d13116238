/* Places to hosts; see places.h. */
#include "launch/places.h"

#include <stdio.h>

/* Blocks of places, one block a host; places beyond the number at the start go round. */
static uint32_t block_of(uint32_t place, uint32_t places, uint32_t blocks)
{
    if (place >= places)
        return place % blocks;
    return (uint32_t)((uint64_t)place * blocks / places);
}

static void remote_place(const struct host *host, struct place *place)
{
    snprintf(place->group, sizeof place->group, "%s", host_name(host));
    snprintf(place->host_name, sizeof place->host_name, "%s", host_name(host));
    snprintf(place->address, sizeof place->address, "%s", host_name(host));
    place->target = host->target;
    place->slots = host->slots;
}

void place_of(const struct run_options *options, const char *machine, uint32_t number,
              struct place *place)
{
    if (options->hosts.count > 0) {
        remote_place(&options->hosts.host[number % options->hosts.count], place);
        return;
    }
    place->target = NULL;
    place->slots = options->slots;
    snprintf(place->address, sizeof place->address, "127.0.0.1");
    if (options->virtual_hosts == 0) {
        snprintf(place->group, sizeof place->group, "local");
        snprintf(place->host_name, sizeof place->host_name, "%s", machine);
        return;
    }
    snprintf(place->group, sizeof place->group, "vh%u",
             block_of(number, options->max_workers, options->virtual_hosts));
    snprintf(place->host_name, sizeof place->host_name, "%s", place->group);
}
