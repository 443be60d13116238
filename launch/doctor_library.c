/* The probes of `reknit doctor` that ask libraries and programs: ZeroMQ, HDF5, Open MPI, ssh, CUDA,
 * NCCL. */
#include "collectives/carrier_launch.h"
#include "common/clock.h"
#include "launch/doctor_probe.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define PROGRAM_DEADLINE (10 * RK_S)

/* Reads from fd until its end, a full buffer, or the deadline; 0, or -1 at the deadline. */
static int read_until(int fd, char *text, size_t size, uint64_t deadline)
{
    size_t used = 0;

    while (used + 1 < size) {
        uint64_t now = rk_clock_now();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;

        if (now >= deadline || poll(&ready, 1, (int)((deadline - now) / RK_MS) + 1) == 0)
            return -1;
        got = read(fd, text + used, size - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    text[used] = '\0';
    return 0;
}

/* The first line that `program argument` prints; 0, or -1 when it cannot be run, fails to start or
 * passes the deadline, in which case it is killed. */
static int first_line_of(char *program, char *argument, char **env, char *text, size_t size)
{
    char *argv[] = {program, argument, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    int rc;
    pid_t pid;

    text[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    rc = posix_spawnp(&pid, program, &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc == 0) {
        rc = read_until(ends[0], text, size, rk_clock_now() + PROGRAM_DEADLINE);
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    close(ends[0]);
    text[strcspn(text, "\n")] = '\0';
    return rc == 0 && text[0] ? 0 : -1;
}

static void look_at_program(struct finding *finding, char *program, char *argument, char **env,
                            const char *advice)
{
    if (first_line_of(program, argument, env, finding->text, sizeof finding->text) == 0)
        return;
    finding->state = FINDING_MISSING;
    snprintf(finding->text, sizeof finding->text, "%s cannot be run, or does not answer", program);
    snprintf(finding->advice, sizeof finding->advice, "%s", advice);
}

/* The mpirun that starts carriers, and as they start it: that of a bundle needs its settings. */
void probe_mpi(struct finding *finding)
{
    const struct carrier_launch launch = {.hosts = 2,
                                          .interface = "lo",
                                          .agent = "",
                                          .directory = "/tmp",
                                          .env = (const char *const *)environ};
    struct carrier_command command;
    struct rk_why why = {""};
    size_t used;

    if (carrier_launch_command(&launch, &command, &why) != 0) {
        finding->state = FINDING_MISSING;
        snprintf(finding->text, sizeof finding->text, "%.250s", why.text);
        return;
    }
    look_at_program(finding, command.file != NULL ? command.file : command.argv[0], "--version",
                    command.envp,
                    "jobs on one host run without it; for several hosts install openmpi-bin");
    used = strlen(finding->text);
    if (finding->state == FINDING_OK && command.file != NULL)
        snprintf(finding->text + used, sizeof finding->text - used, ", %s", command.file);
    carrier_command_done(&command);
}

void probe_ssh(struct finding *finding)
{
    look_at_program(finding, "ssh", "-V", environ,
                    "jobs on this machine run without it; for --hosts install openssh-client, or "
                    "name another with --rsh");
}

void probe_zmq(struct finding *finding)
{
    int major = 0;
    int minor = 0;
    int patch = 0;

    zmq_version(&major, &minor, &patch);
    if (zmq_has("curve")) {
        snprintf(finding->text, sizeof finding->text, "libzmq %d.%d.%d with CURVE", major, minor,
                 patch);
        return;
    }
    finding->state = FINDING_MISSING;
    snprintf(finding->text, sizeof finding->text, "libzmq %d.%d.%d has no CURVE", major, minor,
             patch);
    snprintf(finding->advice, sizeof finding->advice,
             "links between hosts would be open: use a libzmq built with libsodium");
}

void probe_hdf5(struct finding *finding)
{
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;

    if (H5get_libversion(&major, &minor, &patch) < 0) {
        finding->state = FINDING_MISSING;
        snprintf(finding->text, sizeof finding->text, "the library does not start");
        snprintf(finding->advice, sizeof finding->advice, "reinstall libhdf5-103-1");
        return;
    }
    snprintf(finding->text, sizeof finding->text, "HDF5 %u.%u.%u", major, minor, patch);
}

void probe_cuda(struct finding *finding)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    int (*start)(unsigned) = NULL;
    int (*count)(int *) = NULL;
    int devices = 0;
    int rc = -1;

    if (!library) {
        finding->state = FINDING_MISSING;
        snprintf(finding->text, sizeof finding->text,
                 "no driver (libcuda.so.1), not needed: gradients are summed on the processor");
        return;
    }
    *(void **)&start = dlsym(library, "cuInit");
    *(void **)&count = dlsym(library, "cuDeviceGetCount");
    if (start && count) {
        rc = start(0);
        rc = rc == 0 ? count(&devices) : rc;
    }
    if (rc == 0)
        snprintf(finding->text, sizeof finding->text, "driver found, %d device%s", devices,
                 devices == 1 ? "" : "s");
    else
        snprintf(finding->text, sizeof finding->text,
                 "driver found, no device can be used (CUDA error %d), not needed", rc);
    dlclose(library);
}

void probe_nccl(struct finding *finding)
{
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    int (*ask)(int *) = NULL;
    int version = 0;

    if (!library) {
        finding->state = FINDING_MISSING;
        snprintf(finding->text, sizeof finding->text, "no libnccl.so.2, not needed");
        return;
    }
    *(void **)&ask = dlsym(library, "ncclGetVersion");
    if (ask && ask(&version) == 0)
        snprintf(finding->text, sizeof finding->text, "NCCL %d.%d.%d found (--backend nccl)",
                 version / 10000, version / 100 % 100, version % 100);
    else
        snprintf(finding->text, sizeof finding->text, "libnccl.so.2 found, its version unknown");
    dlclose(library);
}
