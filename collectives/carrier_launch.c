/* Command lines and environments for carriers; see carrier_launch.h. */
#include "collectives/carrier_launch.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Measured with Open MPI 4.1.4.  Without if_base_do_not_resolve mpirun asks the DNS for the names
 * of our hosts, which nobody knows; a packet of carriers goes out at once when it is below the
 * eager limit, and else costs a trip there and back before; plm and ras keep it from taking a batch
 * system's hosts; han crashes; the other two of shmem try themselves with a segment of shared
 * memory that outlives who is killed in between; and the rest keeps one carrier's death from being
 * everybody's. */
static const struct {
    const char *name;
    const char *value;
} settings[] = {
    {"pml", "ob1"},
    {"btl", "tcp,self"},
    {"btl_tcp_eager_limit", "131072"},
    {"coll", "^han"},
    {"shmem", "mmap"},
    {"mpi_yield_when_idle", "1"},
    {"odls_base_sigkill_timeout", "0"},
    {"orte_leave_session_attached", "1"},
    {"if_base_do_not_resolve", "1"},
    {"ras", "^slurm,tm,lsf,gridengine,alps"},
    {"plm", "rsh"},
    {"plm_rsh_no_tree_spawn", "1"},
    {"plm_rsh_agent", "reknit-rsh"},
};
#define SETTING_COUNT (sizeof settings / sizeof settings[0])

/* What start-up has no use for.  mpirun, its daemons and the carriers would each ask hwloc for what
 * there is, which reads the PCI bus (half of mpirun's time in a virtual machine), looks for GPUs
 * and displays and loads what that takes; 0x38 are the phases PCI, I/O and miscellaneous of its
 * `linux`.  And PMIx would keep its store in files of shared memory, made to be read by many
 * processes of a host, of which there is one. */
static const char *const spared[] = {
    "HWLOC_COMPONENTS=-x86,-linux:0x38",
    "HWLOC_PLUGINS_BLACKLIST=hwloc_cuda.so,hwloc_gl.so,hwloc_levelzero.so,hwloc_nvml.so,"
    "hwloc_opencl.so,hwloc_pci.so,hwloc_rsmi.so,hwloc_xml_libxml.so",
    "PMIX_MCA_gds=hash",
};

/* Of a job of Open MPI that the agent itself may stand in; and what we set ourselves. */
static const char *const dropped[] = {"OMPI_",
                                      "PMIX_",
                                      "PMI_",
                                      "ORTE_",
                                      "PRTE_",
                                      "TMPDIR=",
                                      "REKNIT_AGENT=",
                                      "PATH=",
                                      "REKNIT_CARRIER_JOB=",
                                      "HWLOC_COMPONENTS=",
                                      "HWLOC_PLUGINS_BLACKLIST=",
                                      "HWLOC_PLUGINS_PATH="};

/* ---- lists of strings ------------------------------------------------------------------------ */

struct list {
    char **item;
    size_t count;
    size_t capacity;
    bool failed;
};

static void list_take(struct list *list, char *text)
{
    if (text == NULL || list->count + 1 >= list->capacity) {
        free(text);
        list->failed = true;
        return;
    }
    list->item[list->count++] = text;
}

static void list_add(struct list *list, const char *text)
{
    list_take(list, strdup(text));
}

__attribute__((format(printf, 2, 3))) static void list_print(struct list *list, const char *format,
                                                             ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    list_take(list, text);
}

static struct list list_new(size_t capacity)
{
    struct list list = {.capacity = capacity + 1};

    list.item = calloc(list.capacity, sizeof *list.item);
    if (list.item == NULL)
        list.capacity = 0;
    return list;
}

static void strings_free(char **item)
{
    for (size_t i = 0; item != NULL && item[i] != NULL; i++)
        free(item[i]);
    free(item);
}

void carrier_command_done(struct carrier_command *command)
{
    strings_free(command->argv);
    strings_free(command->envp);
    free(command->file);
    *command = (struct carrier_command){.argv = NULL};
}

/* ---- names ----------------------------------------------------------------------------------- */

void carrier_host_name(uint32_t job, uint32_t index, char name[CARRIER_HOST_MAX])
{
    snprintf(name, CARRIER_HOST_MAX, "rk-h%u-j%u", index, job);
}

int carrier_host_parse(const char *name, uint32_t *job, uint32_t *index)
{
    char again[CARRIER_HOST_MAX];

    if (sscanf(name, "rk-h%u-j%u", index, job) != 2)
        return RK_EINVAL;
    carrier_host_name(*job, *index, again);
    return strcmp(name, again) == 0 ? 0 : RK_EINVAL;
}

/* "rk-h0-j7:1,rk-h1-j7:1": one carrier for each. */
static char *host_list(const struct carrier_launch *launch)
{
    char *text = malloc(launch->hosts * (size_t)(CARRIER_HOST_MAX + 4));
    size_t used = 0;

    for (uint32_t h = 0; text != NULL && h < launch->hosts; h++) {
        char name[CARRIER_HOST_MAX];

        carrier_host_name(launch->job, h, name);
        used += (size_t)sprintf(text + used, "%s%s:1", h == 0 ? "" : ",", name);
    }
    return text;
}

/* ---- commands -------------------------------------------------------------------------------- */

static bool is_dropped(const char *variable)
{
    for (size_t d = 0; d < sizeof dropped / sizeof dropped[0]; d++)
        if (strncmp(variable, dropped[d], strlen(dropped[d])) == 0)
            return true;
    return false;
}

/* The folder of the programs reknit-carrier and reknit-rsh; RK_EINVAL when it is not absolute. */
static int find_programs(const struct carrier_launch *launch, char *path, size_t size,
                         struct rk_why *why)
{
    ssize_t length;

    if (launch->programs != NULL) {
        if (launch->programs[0] != '/' || strlen(launch->programs) >= size)
            return rk_fail(why, RK_EINVAL, "the path '%s' of reknit is not absolute, or too long",
                           launch->programs);
        strcpy(path, launch->programs);
        return 0;
    }
    length = readlink("/proc/self/exe", path, size - 1);
    if (length < 0)
        return rk_fail_errno(why, errno, "cannot read /proc/self/exe");
    path[length] = '\0';
    *strrchr(path, '/') = '\0';
    return 0;
}

/* plm_rsh_agent cannot hold a path with blanks, so reknit-rsh is found in PATH, ours first: by
 * mpirun, and by its daemons, which look for it though they never call it. */
static void add_path(const char *programs, const struct carrier_launch *launch, struct list *env)
{
    const char *path = "/usr/local/bin:/usr/bin:/bin";

    for (size_t i = 0; launch->env[i] != NULL; i++)
        if (strncmp(launch->env[i], "PATH=", 5) == 0)
            path = launch->env[i] + 5;
    list_print(env, "PATH=%s:%s", programs, path);
}

/* What only a bundle (k8s/image) sets.  Its Open MPI has plug-ins and messages beside the programs'
 * folder; those that an Open MPI, a PMIx or an hwloc of the user's image would add are of other
 * versions, and their files of settings speak of other plug-ins. */
static const struct {
    const char *name;
    const char *path; /* under openmpi/ of the bundle */
} bundled[] = {
    {"OMPI_MCA_mca_base_component_path", ""},
    {"PMIX_PKGLIBDIR", "/pmix"},
    {"HWLOC_PLUGINS_PATH", "/hwloc"},
    {"OPAL_PKGDATADIR", "/help"},
    {"PMIX_PKGDATADIR", "/help"},
};

/* "BUNDLE/openmpi" in `path`; false when the programs are not those of a bundle. */
static bool find_bundle(const char *programs, char *path, size_t size)
{
    const char *slash = strrchr(programs, '/');
    int length = snprintf(path, size, "%.*s/openmpi", (int)(slash - programs), programs);

    return length > 0 && (size_t)length < size && access(path, F_OK) == 0;
}

/* Without HOME mpirun asks the system, and crashes when that does not know the user. */
static void add_home(const struct carrier_launch *launch, struct list *env)
{
    for (size_t i = 0; launch->env[i] != NULL; i++)
        if (strncmp(launch->env[i], "HOME=", 5) == 0)
            return;
    list_print(env, "HOME=%s", launch->directory);
}

static void add_bundle(const char *openmpi, struct list *env)
{
    for (size_t i = 0; i < sizeof bundled / sizeof bundled[0]; i++)
        list_print(env, "%s=%s%s", bundled[i].name, openmpi, bundled[i].path);
    list_add(env, "OMPI_MCA_mca_base_param_files=none");
    list_add(env, "PMIX_MCA_mca_base_param_files=none");
}

/* "PROGRAMS/NAME" where it can be executed, as in a bundle; else `other`, NULL for none. */
static char *own_or(const char *programs, const char *name, const char *other)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", programs, name);

    if (length > 0 && (size_t)length < sizeof path && access(path, X_OK) == 0)
        return strdup(path);
    return other != NULL ? strdup(other) : NULL;
}

static struct list make_environment(const char *programs, const struct carrier_launch *launch)
{
    char openmpi[PATH_MAX];
    bool is_bundle = find_bundle(programs, openmpi, sizeof openmpi);
    size_t count = 0;
    struct list env;

    while (launch->env[count] != NULL)
        count++;
    env = list_new(count + 24);
    for (size_t i = 0; i < count; i++)
        if (!is_dropped(launch->env[i]) && !(is_bundle && strncmp(launch->env[i], "OPAL_", 5) == 0))
            list_add(&env, launch->env[i]);
    add_path(programs, launch, &env);
    list_print(&env, "TMPDIR=%s", launch->directory);
    list_print(&env, "REKNIT_AGENT=%s", launch->agent);
    list_print(&env, CARRIER_ENV_JOB "=%u", launch->job);
    for (size_t i = 0; i < sizeof spared / sizeof spared[0]; i++)
        list_add(&env, spared[i]);
    add_home(launch, &env);
    if (is_bundle)
        add_bundle(openmpi, &env);
    list_add(&env, "OMPI_ALLOW_RUN_AS_ROOT=1");
    list_add(&env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    return env;
}

static int finish(struct list argv, struct list env, struct carrier_command *command,
                  struct rk_why *why)
{
    *command = (struct carrier_command){.argv = argv.item, .envp = env.item};
    if (argv.item != NULL && env.item != NULL && !argv.failed && !env.failed)
        return 0;
    carrier_command_done(command);
    return rk_fail(why, RK_ENOMEM, "no memory for the command that starts the carriers");
}

static void add_setting(struct list *argv, const char *name, const char *value)
{
    list_add(argv, "--mca");
    list_add(argv, name);
    list_add(argv, value);
}

int carrier_launch_command(const struct carrier_launch *launch, struct carrier_command *command,
                           struct rk_why *why)
{
    char programs[PATH_MAX];
    struct list argv;
    int rc;

    *command = (struct carrier_command){.argv = NULL};
    if (launch->hosts < 2 || launch->hosts > CARRIER_MAX_HOSTS)
        return rk_fail(why, RK_EINVAL, "carriers for %u hosts: must be 2 to %u", launch->hosts,
                       CARRIER_MAX_HOSTS);
    rc = find_programs(launch, programs, sizeof programs, why);
    if (rc != 0)
        return rc;
    argv = list_new(3 * (SETTING_COUNT + 2) + 16);
    list_add(&argv, "mpirun");
    list_add(&argv, "-np");
    list_print(&argv, "%u", launch->hosts);
    list_add(&argv, "--host");
    list_take(&argv, host_list(launch));
    list_add(&argv, "--map-by");
    list_add(&argv, "node");
    list_add(&argv, "--bind-to");
    list_add(&argv, "none");
    list_add(&argv, "--enable-recovery");
    for (size_t i = 0; i < SETTING_COUNT; i++)
        add_setting(&argv, settings[i].name, settings[i].value);
    add_setting(&argv, "btl_tcp_if_include", launch->interface);
    add_setting(&argv, "oob_tcp_if_include", launch->interface);
    list_print(&argv, "%s/" CARRIER_PROGRAM, programs);
    rc = finish(argv, make_environment(programs, launch), command, why);
    if (rc == 0)
        command->file = own_or(programs, "mpirun", NULL);
    return rc;
}

int carrier_launch_daemon(const struct carrier_launch *launch, const char *text,
                          struct carrier_command *command, struct rk_why *why)
{
    char programs[PATH_MAX];
    struct list argv;
    int rc;

    *command = (struct carrier_command){.argv = NULL};
    rc = find_programs(launch, programs, sizeof programs, why);
    if (rc != 0)
        return rc;
    argv = list_new(4);
    list_take(&argv, own_or(programs, "sh", "/bin/sh")); /* an image may have no shell */
    list_add(&argv, "-c");
    list_add(&argv, text);
    return finish(argv, make_environment(programs, launch), command, why);
}
