/* Memory of the machine and of cgroups; see memory.h. */
#include "common/memory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KILLS "oom_kill " /* a line of a group's file */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* The number that follows `key` at the start of a line; UINT64_MAX when it is not there, or is a
 * word.  A NULL key: the first number. */
static uint64_t number_in(const char *path, const char *key)
{
    char line[256];
    uint64_t number = UINT64_MAX;
    size_t skip = key ? strlen(key) : 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return UINT64_MAX;
    while (number == UINT64_MAX && fgets(line, sizeof line, file)) {
        char *end = line + skip;

        if (key && strncmp(line, key, skip) != 0)
            continue;
        number = strtoull(line + skip, &end, 10);
        if (end == line + skip)
            number = UINT64_MAX;
        if (!key)
            break;
    }
    fclose(file);
    return number;
}

static uint64_t in_group(const char *folder, const char *file, const char *key)
{
    char path[PATH_MAX + 96];

    snprintf(path, sizeof path, "%s/%s", folder, file);
    return number_in(path, key);
}

/* What a group's processes hold of its limit; cache of files is given back when it is needed. */
static uint64_t held_by(const char *folder, bool v1)
{
    uint64_t held = in_group(folder, v1 ? "memory.usage_in_bytes" : "memory.current", NULL);
    uint64_t cold = in_group(folder, "memory.stat", v1 ? "total_inactive_file " : "inactive_file ");
    uint64_t warm = in_group(folder, "memory.stat", v1 ? "total_active_file " : "active_file ");

    if (held == UINT64_MAX)
        return 0;
    held -= cold < held ? cold : 0;
    return held - (warm < held ? warm : 0);
}

/* Called for a group; false: enough. */
typedef bool (*visit)(void *to, const char *folder, bool v1);

static bool look_at_group(void *to, const char *folder, bool v1)
{
    struct rk_memory *memory = to;
    uint64_t limit = in_group(folder, v1 ? "memory.limit_in_bytes" : "memory.max", NULL);
    uint64_t held;

    if (limit == UINT64_MAX)
        return true;
    held = held_by(folder, v1);
    if (limit < memory->limit)
        memory->limit = limit;
    if ((held < limit ? limit - held : 0) < memory->room)
        memory->room = held < limit ? limit - held : 0;
    return true;
}

/* The first that can be seen is the own one, or, where only a part of the tree is mounted, that of
 * the whole container. */
static bool kills_of_group(void *to, const char *folder, bool v1)
{
    const char *file = v1 ? "memory.oom_control" : "memory.events";
    char path[PATH_MAX + 96];

    if (in_group(folder, file, KILLS) == UINT64_MAX)
        return true;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    *(int *)to = open(path, O_RDONLY | O_CLOEXEC);
    return *(int *)to < 0;
}

/* A line of /proc/self/cgroup, "number:controllers:path": its group, and those above it. */
static bool visit_line(char *line, visit call, void *to)
{
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    bool v1;

    if (!path)
        return true;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    v1 = strstr(controllers, "memory") != NULL;
    if (!v1 && strcmp(controllers, ":") != 0)
        return true;
    for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
        char folder[PATH_MAX + 64];

        *slash = '\0';
        snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s", v1 ? "/memory" : "", path);
        if (!call(to, folder, v1))
            return false;
    }
    return true;
}

/* This process's groups of memory, from its own upwards. */
static void visit_groups(visit call, void *to)
{
    char line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file && fgets(line, sizeof line, file) && visit_line(line, call, to))
        ;
    if (file)
        fclose(file);
}

void rk_memory_look(struct rk_memory *memory)
{
    uint64_t available = number_in("/proc/meminfo", "MemAvailable:");
    uint64_t swap = number_in("/proc/meminfo", "SwapFree:");

    memory->machine =
        available == UINT64_MAX ? UINT64_MAX : (available + (swap == UINT64_MAX ? 0 : swap)) * 1024;
    memory->limit = UINT64_MAX;
    memory->room = memory->machine;
    visit_groups(look_at_group, memory);
}

int rk_memory_kills_open(void)
{
    int fd = -1;

    visit_groups(kills_of_group, &fd);
    return fd;
}

uint64_t rk_memory_kills(int fd)
{
    char text[512];
    ssize_t size = fd >= 0 ? pread(fd, text, sizeof text - 1, 0) : 0;
    const char *at = text;

    if (size <= 0)
        return 0;
    text[size] = '\0';
    while (at != NULL && strncmp(at, KILLS, strlen(KILLS)) != 0) {
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
    return at != NULL ? strtoull(at + strlen(KILLS), NULL, 10) : 0;
}

/* Under shadow paging (PVM, nested guests) half of a page's cost is left when the kernel has
 * populated it, and falls due at the first access; elsewhere these accesses cost next to nothing.
 */
void *rk_memory_place(uint64_t bytes)
{
    uint64_t all = bytes + RK_MEMORY_LARGE;
    char *from = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t before;

    if (from == MAP_FAILED)
        return NULL;
    before = (RK_MEMORY_LARGE - (uintptr_t)from % RK_MEMORY_LARGE) % RK_MEMORY_LARGE;
    if (before != 0)
        munmap(from, before);
    if (all - before - bytes != 0)
        munmap(from + before + bytes, all - before - bytes);
    return from + before;
}

void rk_memory_enlarge(const void *from, uint64_t bytes)
{
    uintptr_t at = ((uintptr_t)from + RK_MEMORY_LARGE - 1) / RK_MEMORY_LARGE * RK_MEMORY_LARGE;
    uintptr_t end = ((uintptr_t)from + bytes) / RK_MEMORY_LARGE * RK_MEMORY_LARGE;

    if (end > at)
        (void)madvise((void *)at, end - at, MADV_COLLAPSE);
}

void rk_memory_populate(const void *from, uint64_t bytes, bool write)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = ((uintptr_t)from + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)from + bytes) / page * page;

    if (end <= at ||
        madvise((void *)at, end - at, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0)
        return;
    for (; at < end; at += page)
        (void)*(const volatile unsigned char *)at;
}
