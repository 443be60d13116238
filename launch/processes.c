/* Processes of a job; see processes.h. */
#include "launch/processes.h"

#include "common/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 50
#define MOST_PROCESSES 65536u

/* In the child.  Only what execvp needs is open afterwards: everything of ours is close-on-exec. */
static void become(const struct process_start *start, int out, int err, pid_t parent)
{
    int in = start->in >= 0 ? start->in : open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (start->death_signal != 0) {
        prctl(PR_SET_PDEATHSIG, start->death_signal);
        if (getppid() != parent)
            _exit(127);
    }
    for (int i = 0; i < PROCESS_KEEP_MAX; i++)
        if (start->keep[i] >= 0)
            fcntl(start->keep[i], F_SETFD, 0);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
        _exit(127);
    execvp(start->path, start->argv);
    dprintf(STDERR_FILENO, "%s cannot be executed: %s\n", start->path, strerror(errno));
    _exit(127);
}

static void close_pair(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

int process_start(const struct process_start *start, struct process *process, struct rk_why *why)
{
    int out[2];
    int err[2];
    pid_t parent = getpid();

    if (pipe2(out, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "no pipe for a process");
    if (pipe2(err, O_CLOEXEC) != 0) {
        int error = errno;

        close_pair(out);
        return rk_fail_errno(why, error, "no pipe for a process");
    }
    process->pid = fork();
    if (process->pid == 0)
        become(start, out[1], err[1], parent);
    if (process->pid < 0) {
        int error = errno;

        close_pair(out);
        close_pair(err);
        return rk_fail_errno(why, error, "no process for %s", start->path);
    }
    close(out[1]);
    close(err[1]);
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    process->out = out[0];
    process->err = err[0];
    return 0;
}

/* ---- families ---------------------------------------------------------------------------------
 */

struct entry {
    pid_t pid, parent;
    bool below;
};

/* Parent of a process that is not a zombie, or 0. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char text[512];
    char *end;
    char state;
    int parent;
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    end = strrchr(text, ')');
    if (end == NULL || sscanf(end + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
        return 0;
    return parent;
}

/* All living processes; malloc'd. */
static size_t list_all(struct entry **list)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;
    size_t room = 0;

    *list = NULL;
    while (proc != NULL && count < MOST_PROCESSES && (entry = readdir(proc)) != NULL) {
        pid_t parent =
            entry->d_name[0] >= '1' && entry->d_name[0] <= '9' ? parent_of(entry->d_name) : 0;

        if (parent == 0)
            continue;
        if (count == room) {
            struct entry *grown = realloc(*list, (room = room * 2 + 256) * sizeof *grown);

            if (grown == NULL)
                break;
            *list = grown;
        }
        (*list)[count++] = (struct entry){(pid_t)atoi(entry->d_name), parent, false};
    }
    if (proc != NULL)
        closedir(proc);
    return count;
}

static bool is_below(const struct entry *list, size_t count, pid_t parent, pid_t root)
{
    if (parent == root)
        return true;
    for (size_t i = 0; i < count; i++)
        if (list[i].pid == parent)
            return list[i].below;
    return false;
}

/* Kills all living processes below `root` but `spared` and what is below that; how many. */
static size_t kill_below(pid_t root, pid_t spared)
{
    struct entry *list;
    size_t count = list_all(&list);
    size_t killed = 0;
    bool found = true;

    /* A pid may be lower than its parent's: mark until nothing new is found. */
    while (found) {
        found = false;
        for (size_t i = 0; i < count; i++) {
            if (list[i].below || list[i].pid == spared ||
                !is_below(list, count, list[i].parent, root))
                continue;
            list[i].below = found = true;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (list[i].below && kill(list[i].pid, SIGKILL) == 0)
            killed++;
    free(list);
    return killed;
}

void processes_kill_tree(pid_t root)
{
    if (root <= 0)
        return;
    for (int i = 0; i < ROUNDS && kill_below(root, 0) > 0; i++)
        poll(NULL, 0, 1);
    kill(root, SIGKILL);
}

/* Reaps what is dead already but `spared`; true while a child is left. */
static bool reap(pid_t spared)
{
    siginfo_t info;

    for (;;) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
            return false;
        if (info.si_pid == 0 || info.si_pid == spared)
            return true;
        waitpid(info.si_pid, NULL, WNOHANG);
    }
}

void processes_kill_all(pid_t spared, int ms)
{
    uint64_t deadline = rk_clock_now() + (uint64_t)ms * RK_MS;

    while (kill_below(getpid(), spared) > 0 && rk_clock_now() < deadline) {
        reap(spared);
        poll(NULL, 0, 2);
    }
    reap(spared);
}
