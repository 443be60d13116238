/* Network interfaces of this host, for carriers; see carrier_launch.h. */
#include "collectives/carrier_launch.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_address(const struct sockaddr *one, const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (one == NULL)
        return false;
    if (one->sa_family == AF_INET && inet_pton(AF_INET, text, &v4) == 1)
        return ((const struct sockaddr_in *)(const void *)one)->sin_addr.s_addr == v4.s_addr;
    if (one->sa_family == AF_INET6 && inet_pton(AF_INET6, text, &v6) == 1)
        return memcmp(&((const struct sockaddr_in6 *)(const void *)one)->sin6_addr, &v6,
                      sizeof v6) == 0;
    return false;
}

int carrier_interface(const char *address, char *name, uint32_t size, struct rk_why *why)
{
    struct ifaddrs *all = NULL;
    bool found = strncmp(address, "127.", 4) == 0;

    snprintf(name, size, "lo");
    if (found)
        return 0;
    if (getifaddrs(&all) != 0)
        return rk_fail(why, RK_EIO, "cannot list this host's network interfaces");
    for (const struct ifaddrs *one = all; one != NULL && !found; one = one->ifa_next) {
        found = same_address(one->ifa_addr, address);
        if (found)
            snprintf(name, size, "%s", one->ifa_name);
    }
    freeifaddrs(all);
    if (found)
        return 0;
    return rk_fail(why, RK_ENOENT, "no network interface of this host has the address %s", address);
}

/* ---- as a user names one ----------------------------------------------------------------------
 */

struct network {
    uint32_t address; /* host byte order */
    uint32_t mask;
};

/* "10.1.0.0/16".  RK_ENOENT when `text` has no '/', so is a name. */
static int network_parse(const char *text, struct network *network)
{
    const char *slash = strchr(text, '/');
    char address[INET_ADDRSTRLEN];
    struct in_addr in;
    char *end;
    unsigned long bits;

    if (slash == NULL)
        return RK_ENOENT;
    snprintf(address, sizeof address, "%.*s", (int)(slash - text), text);
    bits = strtoul(slash + 1, &end, 10);
    if (slash - text >= INET_ADDRSTRLEN || inet_pton(AF_INET, address, &in) != 1 ||
        slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > 32)
        return RK_EINVAL;
    network->address = ntohl(in.s_addr);
    network->mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
    return 0;
}

static bool is_meant(const struct ifaddrs *one, const char *name, const struct network *network)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)one->ifa_addr;

    if (network == NULL)
        return strcmp(one->ifa_name, name) == 0;
    return one->ifa_addr != NULL && one->ifa_addr->sa_family == AF_INET &&
           ((ntohl(v4->sin_addr.s_addr) ^ network->address) & network->mask) == 0;
}

/* "lo (127.0.0.1), eth0 (10.1.0.7)": those with an IPv4 address, as far as there is room. */
static void list_interfaces(const struct ifaddrs *all, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (const struct ifaddrs *one = all; one != NULL; one = one->ifa_next) {
        char address[INET_ADDRSTRLEN];
        int printed;

        if (one->ifa_addr == NULL || one->ifa_addr->sa_family != AF_INET ||
            inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr,
                      address, sizeof address) == NULL)
            continue;
        printed = snprintf(text + used, size - used, "%s%s (%s)", used == 0 ? "" : ", ",
                           one->ifa_name, address);
        if (printed < 0 || (size_t)printed >= size - used) {
            text[used] = '\0';
            return;
        }
        used += (size_t)printed;
    }
}

int carrier_interface_check(const char *interface, struct rk_why *why)
{
    struct network network;
    int kind = network_parse(interface, &network);
    struct ifaddrs *all = NULL;
    char list[256];
    bool found = false;

    if (kind == RK_EINVAL)
        return rk_fail(why, RK_EINVAL,
                       "--interface: '%.40s' is no network; give one as 10.1.0.0/16, or a name",
                       interface);
    if (getifaddrs(&all) != 0)
        return rk_fail(why, RK_EIO, "cannot list this host's network interfaces");
    for (const struct ifaddrs *one = all; one != NULL && !found; one = one->ifa_next)
        found = is_meant(one, interface, kind == 0 ? &network : NULL);
    list_interfaces(all, list, sizeof list);
    freeifaddrs(all);
    if (found)
        return 0;
    return rk_fail(why, RK_ENOENT, "--interface: this host has no interface %s '%.40s'; it has %s",
                   kind == 0 ? "in" : "named", interface, list[0] == '\0' ? "none" : list);
}
