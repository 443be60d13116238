/* Variables by which the implementations of MPI are told what they would have been told by options;
 * see line.h. */
#include "launch/pods/line_state.h"

#include "launch/surroundings.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum value { HOSTFILE, HYDRA_HOSTFILE, AGENT, INTERFACE, LITERAL };

/* Hostfiles take the place of those that the pod's template names; the rest are defaults.  Daemons
 * are started from here only: in a tree, workers would have to start workers.  Hydra's find their
 * way back by the address of an interface, else by a name, for which there must be a DNS. */
static const struct variable {
    const char *name;
    enum value value;
    const char *literal;
} variables[] = {
    {"OMPI_MCA_orte_default_hostfile", HOSTFILE, NULL},
    {"PRTE_MCA_prte_default_hostfile", HOSTFILE, NULL},
    {"I_MPI_HYDRA_HOST_FILE", HYDRA_HOSTFILE, NULL},
    {"HYDRA_HOST_FILE", HYDRA_HOSTFILE, NULL},
    {"OMPI_MCA_plm_rsh_agent", AGENT, NULL},
    {"PRTE_MCA_plm_ssh_agent", AGENT, NULL},
    {"I_MPI_HYDRA_BOOTSTRAP_EXEC", AGENT, NULL},
    {"HYDRA_LAUNCHER_EXEC", AGENT, NULL},
    {"OMPI_MCA_plm_rsh_no_tree_spawn", LITERAL, "1"},
    {"PRTE_MCA_plm_ssh_no_tree_spawn", LITERAL, "1"},
    {"I_MPI_HYDRA_BRANCH_COUNT", LITERAL, "0"},
    {"I_MPI_HYDRA_IFACE", INTERFACE, NULL},
    {"HYDRA_IFACE", INTERFACE, NULL},
};

static bool has_address(const struct ifaddrs *interface, const char *address)
{
    const struct sockaddr *its = interface->ifa_addr;
    char text[NI_MAXHOST];
    socklen_t size;

    if (its == NULL || (its->sa_family != AF_INET && its->sa_family != AF_INET6))
        return false;
    size = its->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    return getnameinfo(its, size, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0 &&
           strcmp(text, address) == 0;
}

/* The interface with this pod's address, which all pods have under one name; "": it has none of its
 * own. */
static void find_interface(const struct line *line, char *name, size_t size)
{
    const json_t *spec = json_object_get(line->shell->job->launcher.template, "spec");
    const char *address = surroundings_get("REKNIT_POD_IP");
    struct ifaddrs *list;

    name[0] = '\0';
    if (address == NULL || json_is_true(json_object_get(spec, "hostNetwork")) ||
        getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *one = list; one != NULL; one = one->ifa_next)
        if (has_address(one, address))
            snprintf(name, size, "%s", one->ifa_name);
    freeifaddrs(list);
}

static void set_default(const char *name, const char *value)
{
    if (value[0] != '\0' && surroundings_get(name) == NULL)
        surroundings_set(name, value);
}

static void set_path(const char *name, const char *folder, int length, const char *file,
                     bool always)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%.*s/%s", length, folder, file);
    if (always)
        surroundings_set(name, path);
    else
        set_default(name, path);
}

void environment_set(const struct line *line, const char *hostfile, const char *hydra_hostfile)
{
    const struct shell *shell = line->shell;
    const char *run = shell->directories.run;
    const char *end = strrchr(shell->self, '/');
    char interface[64];

    find_interface(line, interface, sizeof interface);
    surroundings_set(RSH_ENV, line->socket_path);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const struct variable *variable = &variables[i];

        if (variable->value == HOSTFILE || variable->value == HYDRA_HOSTFILE)
            set_path(variable->name, run, (int)strlen(run),
                     variable->value == HOSTFILE ? hostfile : hydra_hostfile, true);
        else if (variable->value == AGENT)
            set_path(variable->name, shell->self, end != NULL ? (int)(end - shell->self) : 0,
                     "reknit-rsh", false);
        else
            set_default(variable->name,
                        variable->value == INTERFACE ? interface : variable->literal);
    }
}
