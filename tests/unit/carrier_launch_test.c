/* The command line and the environment with which an agent starts carriers. */
#include "collectives/carrier_launch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const around[] = {"HOME=/home/me",
                                     "PATH=/usr/bin:/bin",
                                     "OMPI_MCA_ess=pmi",
                                     "PMIX_RANK=3",
                                     "TMPDIR=/elsewhere",
                                     "REKNIT_AGENT=/old.sock",
                                     "REKNIT_JOB=mine",
                                     "REKNIT_CARRIER_JOB=1",
                                     "HWLOC_COMPONENTS=x",
                                     "LD_LIBRARY_PATH=/l",
                                     NULL};

static struct carrier_launch launch_for(uint32_t hosts)
{
    return (struct carrier_launch){.job = 7,
                                   .hosts = hosts,
                                   .programs = "/opt/my reknit/bin",
                                   .interface = "eth0",
                                   .agent = "/run/agent.sock",
                                   .directory = "/run/mpi-7",
                                   .env = around};
}

static const char *value_of(char *const *env, const char *name)
{
    size_t size = strlen(name);
    const char *found = NULL;

    for (size_t i = 0; env[i] != NULL; i++)
        if (strncmp(env[i], name, size) == 0 && env[i][size] == '=') {
            assert_null(found); /* once */
            found = env[i] + size + 1;
        }
    return found;
}

/* The argument after `option`, or after "--mca option". */
static const char *argument_of(char *const *argv, const char *option)
{
    for (size_t i = 0; argv[i] != NULL && argv[i + 1] != NULL; i++)
        if (strcmp(argv[i], option) == 0)
            return argv[i + 1];
    return NULL;
}

static void the_command_names_each_host(void **state)
{
    struct carrier_launch launch = launch_for(3);
    struct carrier_command command;
    size_t last = 0;

    (void)state;
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), 0);
    while (command.argv[last + 1] != NULL)
        last++;
    assert_string_equal(command.argv[0], "mpirun");
    assert_string_equal(argument_of(command.argv, "-np"), "3");
    assert_string_equal(argument_of(command.argv, "--host"), "rk-h0-j7:1,rk-h1-j7:1,rk-h2-j7:1");
    assert_string_equal(argument_of(command.argv, "btl_tcp_if_include"), "eth0");
    assert_string_equal(argument_of(command.argv, "oob_tcp_if_include"), "eth0");
    assert_string_equal(argument_of(command.argv, "plm_rsh_agent"), "reknit-rsh");
    assert_string_equal(argument_of(command.argv, "if_base_do_not_resolve"), "1");
    assert_string_equal(argument_of(command.argv, "coll"), "^han");
    assert_string_equal(command.argv[last], "/opt/my reknit/bin/reknit-carrier");
    carrier_command_done(&command);
}

static void the_environment_is_ours(void **state)
{
    struct carrier_launch launch = launch_for(2);
    struct carrier_command command;

    (void)state;
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), 0);
    assert_string_equal(value_of(command.envp, "HOME"), "/home/me");
    assert_string_equal(value_of(command.envp, "LD_LIBRARY_PATH"), "/l");
    assert_string_equal(value_of(command.envp, "REKNIT_JOB"), "mine");
    assert_string_equal(value_of(command.envp, "PATH"), "/opt/my reknit/bin:/usr/bin:/bin");
    assert_string_equal(value_of(command.envp, "TMPDIR"), "/run/mpi-7");
    assert_string_equal(value_of(command.envp, "REKNIT_AGENT"), "/run/agent.sock");
    assert_string_equal(value_of(command.envp, CARRIER_ENV_JOB), "7");
    assert_string_equal(value_of(command.envp, "OMPI_ALLOW_RUN_AS_ROOT"), "1");
    assert_string_equal(value_of(command.envp, "HWLOC_COMPONENTS"), "-x86,-linux:0x38");
    assert_string_equal(value_of(command.envp, "PMIX_MCA_gds"), "hash");
    assert_null(value_of(command.envp, "OMPI_MCA_ess"));
    assert_null(value_of(command.envp, "PMIX_RANK"));
    carrier_command_done(&command);
}

static void a_daemon_is_run_by_a_shell(void **state)
{
    char own[4096 + 32] = "";
    struct carrier_launch launch = {.job = 9,
                                    .programs = NULL,
                                    .agent = "/run/b.sock",
                                    .directory = "/run/mpi-9",
                                    .env = around};
    struct carrier_command command;

    (void)state;
    assert_int_equal(carrier_launch_daemon(&launch, " orted -mca ess \"env\"", &command, NULL), 0);
    assert_string_equal(command.argv[0], "/bin/sh");
    assert_string_equal(command.argv[1], "-c");
    assert_string_equal(command.argv[2], " orted -mca ess \"env\"");
    assert_null(command.argv[3]);
    /* mpirun's daemon looks for reknit-rsh too: beside the agent's own program */
    assert_true(readlink("/proc/self/exe", own, sizeof own - 1) > 0);
    strcpy(strrchr(own, '/'), ":/usr/bin:/bin");
    assert_string_equal(value_of(command.envp, "PATH"), own);
    assert_string_equal(value_of(command.envp, CARRIER_ENV_JOB), "9");
    carrier_command_done(&command);
}

static void impossible_launches_are_refused(void **state)
{
    struct carrier_launch launch = launch_for(1);
    struct carrier_command command;

    (void)state;
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), RK_EINVAL);
    launch.hosts = CARRIER_MAX_HOSTS + 1;
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), RK_EINVAL);
    launch.hosts = CARRIER_MAX_HOSTS;
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), 0);
    carrier_command_done(&command);
    launch.programs = "reknit";
    assert_int_equal(carrier_launch_command(&launch, &command, NULL), RK_EINVAL);
    carrier_command_done(&command);
}

static void host_names_are_read_back(void **state)
{
    static const char *const strangers[] = {
        "", "node1", "rk-h1", "rk-h1-j2x", "rk-h01-j2", "rk-h-1-j2", "rk-h1-j99999999999"};
    char name[CARRIER_HOST_MAX];
    uint32_t job = 0;
    uint32_t index = 0;

    (void)state;
    carrier_host_name(UINT32_MAX, UINT32_MAX, name);
    assert_int_equal(carrier_host_parse(name, &job, &index), 0);
    assert_int_equal(job, UINT32_MAX);
    assert_int_equal(index, UINT32_MAX);
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        assert_int_equal(carrier_host_parse(strangers[i], &job, &index), RK_EINVAL);
}

static void the_interface_holds_the_address(void **state)
{
    char name[64];

    (void)state;
    assert_int_equal(carrier_interface("127.0.0.1", name, sizeof name, NULL), 0);
    assert_string_equal(name, "lo");
    assert_int_equal(carrier_interface("192.0.2.77", name, sizeof name, NULL), RK_ENOENT);
    assert_int_equal(carrier_interface("nonsense", name, sizeof name, NULL), RK_ENOENT);
}

static void an_interface_is_known_or_others_are_named(void **state)
{
    static const char *const good[] = {"lo", "127.0.0.0/8", "127.0.0.1/32", "0.0.0.0/0"};
    static const char *const bad[] = {"127.0.0.0/33",
                                      "127.0.0/8",
                                      "127.0.0.0/",
                                      "127.0.0.0/8x",
                                      "/8",
                                      "a/b",
                                      "1.2.3.4.5.6.7.8.9.10.11/8"};
    struct rk_why why = {""};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(carrier_interface_check(good[i], NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(carrier_interface_check(bad[i], NULL), RK_EINVAL);
    assert_int_equal(carrier_interface_check("203.0.113.255/32", &why), RK_ENOENT);
    assert_non_null(strstr(why.text, "no interface in '203.0.113.255/32'"));
    assert_int_equal(carrier_interface_check("nonsense0", &why), RK_ENOENT);
    assert_non_null(strstr(why.text, "lo (127.0.0.1)"));
}

static void touch(const char *folder, const char *name, mode_t mode)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT, mode);
    assert_true(fd >= 0);
    close(fd);
}

static void remove_in(const char *folder, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(remove(path), 0);
}

/* Programs of a bundle: its mpirun, its shell, its plug-ins, and nothing of the image's. */
static void a_bundle_brings_its_own(void **state)
{
    static const char *const image[] = {"OPAL_PREFIX=/opt/hpcx", "HWLOC_PLUGINS_PATH=/image", NULL};
    char folder[] = "/tmp/carrier_launch_test.XXXXXX";
    char programs[64], expected[128];
    struct carrier_launch launch = launch_for(2);
    struct carrier_command command;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(programs, sizeof programs, "%s/bin", folder);
    assert_int_equal(mkdir(programs, 0755), 0);
    touch(folder, "openmpi", 0644);
    touch(programs, "mpirun", 0755);
    touch(programs, "sh", 0755);
    launch.programs = programs;
    launch.env = image;

    assert_int_equal(carrier_launch_command(&launch, &command, NULL), 0);
    snprintf(expected, sizeof expected, "%s/mpirun", programs);
    assert_string_equal(command.file, expected);
    assert_string_equal(command.argv[0], "mpirun"); /* by its path it would set LD_LIBRARY_PATH */
    snprintf(expected, sizeof expected, "%s/openmpi", folder);
    assert_string_equal(value_of(command.envp, "OMPI_MCA_mca_base_component_path"), expected);
    snprintf(expected, sizeof expected, "%s/openmpi/hwloc", folder);
    assert_string_equal(value_of(command.envp, "HWLOC_PLUGINS_PATH"), expected);
    assert_string_equal(value_of(command.envp, "OMPI_MCA_mca_base_param_files"), "none");
    assert_string_equal(value_of(command.envp, "HOME"), "/run/mpi-7");
    assert_null(value_of(command.envp, "OPAL_PREFIX"));
    carrier_command_done(&command);

    assert_int_equal(carrier_launch_daemon(&launch, "orted", &command, NULL), 0);
    snprintf(expected, sizeof expected, "%s/sh", programs);
    assert_string_equal(command.argv[0], expected);
    carrier_command_done(&command);

    remove_in(programs, "sh");
    remove_in(programs, "mpirun");
    remove_in(folder, "openmpi");
    remove_in(folder, "bin");
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_names_each_host),
        cmocka_unit_test(the_environment_is_ours),
        cmocka_unit_test(a_daemon_is_run_by_a_shell),
        cmocka_unit_test(impossible_launches_are_refused),
        cmocka_unit_test(host_names_are_read_back),
        cmocka_unit_test(the_interface_holds_the_address),
        cmocka_unit_test(an_interface_is_known_or_others_are_named),
        cmocka_unit_test(a_bundle_brings_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
