/* The probes of `reknit doctor` that ask the kernel; those that ask libraries and programs are in
 * doctor_library.c. */
#include "launch/doctor_probe.h"

#include "common/memory.h"
#include "launch/surroundings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* Below these a job of a few hundred workers would meet the limit. */
#define OPEN_FILES_ENOUGH 4096u
#define PROCESSES_ENOUGH 2048u
#define MEMORY_ENOUGH (256 * MIB)

static void set_errno_missing(struct finding *finding, const char *what, const char *advice)
{
    finding->state = FINDING_MISSING;
    snprintf(finding->text, sizeof finding->text, "%s: %s", what, strerror(errno));
    snprintf(finding->advice, sizeof finding->advice, "%s", advice);
}

void probe_memfd(struct finding *finding)
{
    int fd = memfd_create("reknit-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, 4096) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0)
        set_errno_missing(finding, "memfd_create with seals does not work",
                          "needs Linux 3.17; a sandbox may forbid it");
    else
        snprintf(finding->text, sizeof finding->text, "memfd_create with seals");
    if (fd >= 0)
        close(fd);
}

void probe_pidfd(struct finding *finding)
{
    long fd = syscall(SYS_pidfd_open, getpid(), 0);

    if (fd < 0) {
        set_errno_missing(finding, "pidfd_open does not work",
                          "needs Linux 5.3; a sandbox may forbid it");
        return;
    }
    snprintf(finding->text, sizeof finding->text, "pidfd_open");
    close((int)fd);
}

void probe_subreaper(struct finding *finding)
{
    int before = 0;

    if (prctl(PR_GET_CHILD_SUBREAPER, &before, 0, 0, 0) != 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        set_errno_missing(finding, "PR_SET_CHILD_SUBREAPER does not work",
                          "needs Linux 3.4; a sandbox may forbid it");
        return;
    }
    prctl(PR_SET_CHILD_SUBREAPER, before, 0, 0, 0);
    snprintf(finding->text, sizeof finding->text, "PR_SET_CHILD_SUBREAPER");
}

void probe_futex(struct finding *finding)
{
    uint32_t word = 0;

    if (syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) < 0)
        set_errno_missing(finding, "futex does not work", "a sandbox forbids it");
    else
        snprintf(finding->text, sizeof finding->text, "futex");
}

void probe_processors(struct finding *finding)
{
    cpu_set_t *set = CPU_ALLOC(8192);
    size_t size = CPU_ALLOC_SIZE(8192);
    int count;

    if (!set || sched_getaffinity(0, size, set) != 0) {
        set_errno_missing(finding, "sched_getaffinity does not work", "a sandbox forbids it");
        CPU_FREE(set);
        return;
    }
    count = CPU_COUNT_S(size, set);
    CPU_FREE(set);
    snprintf(finding->text, sizeof finding->text, "%d for this process", count);
    if (count == 1) {
        finding->state = FINDING_WARN;
        snprintf(finding->advice, sizeof finding->advice,
                 "ranks share one processor: jobs run, and are slow");
    }
}

void probe_memory(struct finding *finding)
{
    struct rk_memory memory;

    rk_memory_look(&memory);
    if (memory.machine == UINT64_MAX) {
        finding->state = FINDING_WARN;
        snprintf(finding->text, sizeof finding->text, "/proc/meminfo does not say what is left");
        snprintf(finding->advice, sizeof finding->advice, "jobs run; mount /proc to be told");
        return;
    }
    if (memory.limit < (UINT64_C(1) << 60))
        snprintf(finding->text, sizeof finding->text,
                 "%" PRIu64 " MiB available, the cgroup allows %" PRIu64 " MiB",
                 memory.machine / MIB, memory.limit / MIB);
    else
        snprintf(finding->text, sizeof finding->text,
                 "%" PRIu64 " MiB available, no cgroup limit is seen", memory.machine / MIB);
    if (memory.room < MEMORY_ENOUGH) {
        finding->state = FINDING_WARN;
        snprintf(finding->advice, sizeof finding->advice,
                 "the arena counts as memory of the job: raise the limit or use a smaller model");
    }
}

static void look_at_limit(struct finding *finding, __rlimit_resource_t which, uint64_t enough,
                          const char *flag)
{
    struct rlimit limit;

    if (getrlimit(which, &limit) != 0) {
        finding->state = FINDING_WARN;
        snprintf(finding->text, sizeof finding->text, "cannot be read: %s", strerror(errno));
        return;
    }
    if (limit.rlim_cur == RLIM_INFINITY) {
        snprintf(finding->text, sizeof finding->text, "unlimited");
        return;
    }
    snprintf(finding->text, sizeof finding->text, "up to %" PRIu64, (uint64_t)limit.rlim_cur);
    if (limit.rlim_cur < enough) {
        finding->state = FINDING_WARN;
        snprintf(finding->advice, sizeof finding->advice,
                 "enough for small jobs; for hundreds of workers: ulimit %s %" PRIu64, flag,
                 enough);
    }
}

void probe_open_files(struct finding *finding)
{
    look_at_limit(finding, RLIMIT_NOFILE, OPEN_FILES_ENOUGH, "-n");
}

void probe_processes(struct finding *finding)
{
    look_at_limit(finding, RLIMIT_NPROC, PROCESSES_ENOUGH, "-u");
}

void probe_locked_memory(struct finding *finding)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        snprintf(finding->text, sizeof finding->text, "limit cannot be read, not needed");
    else if (limit.rlim_cur == RLIM_INFINITY)
        snprintf(finding->text, sizeof finding->text, "unlimited");
    else
        snprintf(finding->text, sizeof finding->text, "up to %" PRIu64 " KiB, not needed",
                 (uint64_t)limit.rlim_cur / 1024);
}

/* Whether a file can be made in `folder`, and how much fits. */
static void look_at_folder(struct finding *finding, const char *folder)
{
    struct statvfs fs;
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int usable = fd >= 0 || (errno != EACCES && access(folder, W_OK | X_OK) == 0);

    if (fd >= 0)
        close(fd);
    if (!usable || statvfs(folder, &fs) != 0) {
        finding->state = FINDING_MISSING;
        snprintf(finding->text, sizeof finding->text, "%s cannot be written: %s", folder,
                 strerror(errno));
        snprintf(finding->advice, sizeof finding->advice,
                 "sockets and logs of jobs go there: make it, or make it writable");
        return;
    }
    snprintf(finding->text, sizeof finding->text, "%s is writable, %" PRIu64 " MiB free", folder,
             (uint64_t)fs.f_bavail * fs.f_frsize / MIB);
}

void probe_tmp(struct finding *finding)
{
    look_at_folder(finding, "/tmp");
}

void probe_runtime_folder(struct finding *finding)
{
    const char *folder = surroundings_get("XDG_RUNTIME_DIR");

    if (folder)
        look_at_folder(finding, folder);
    else
        snprintf(finding->text, sizeof finding->text, "XDG_RUNTIME_DIR is not set, /tmp serves");
}

void probe_network(struct finding *finding)
{
    struct ifaddrs *all = NULL;
    size_t used = 0;

    if (getifaddrs(&all) != 0) {
        set_errno_missing(finding, "interfaces cannot be listed", "a sandbox forbids it");
        return;
    }
    for (struct ifaddrs *one = all; one; one = one->ifa_next) {
        char address[INET_ADDRSTRLEN];

        if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET ||
            (one->ifa_flags & IFF_LOOPBACK) || !(one->ifa_flags & IFF_UP))
            continue;
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr,
                  address, sizeof address);
        if (used < sizeof finding->text)
            used += (size_t)snprintf(finding->text + used, sizeof finding->text - used, "%s%s %s",
                                     used ? ", " : "", one->ifa_name, address);
    }
    freeifaddrs(all);
    if (used == 0) {
        finding->state = FINDING_WARN;
        snprintf(finding->text, sizeof finding->text, "no interface with an IPv4 address is up");
        snprintf(finding->advice, sizeof finding->advice,
                 "jobs run on this machine alone; --hosts needs an interface");
    }
}

static bool is_known(const char *name)
{
    const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, NULL, &wanted, &found);

    if (rc == 0)
        freeaddrinfo(found);
    return rc == 0;
}

void probe_names(struct finding *finding)
{
    char name[256] = "";
    bool local = is_known("localhost");
    bool own = gethostname(name, sizeof name - 1) == 0 && is_known(name);

    if (local && own) {
        snprintf(finding->text, sizeof finding->text, "localhost and %.200s have addresses", name);
        return;
    }
    finding->state = FINDING_WARN;
    snprintf(finding->text, sizeof finding->text, "%.200s has no address",
             local ? name : "localhost");
    snprintf(finding->advice, sizeof finding->advice,
             "jobs of several hosts need Open MPI, which looks it up; put the line '127.0.0.1 "
             "localhost %.100s' into /etc/hosts",
             own ? "" : name);
}
