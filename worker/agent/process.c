/* What /proc says, pidfds, and starting children; see process.h. */
#include "worker/agent/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ANCESTORS 64
#define CLOSE_RANGE_FLAG_CLOEXEC 4u /* CLOSE_RANGE_CLOEXEC of linux/close_range.h */

bool process_read(pid_t pid, struct process_facts *facts)
{
    char path[64], text[1024];
    unsigned long long start;
    int parent, group, session;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    /* the program's name stands in brackets and may hold anything */
    char *rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest,
               ") %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
               "%*d %*d %llu %*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u "
               "%*u %*u %*d %*d %*u %*u %*u %*u %*d %*u %*u %*u %*u %*u %*u %*u %d",
               &facts->state, &parent, &group, &session, &start, &facts->status) != 6)
        return false;
    facts->parent = parent;
    facts->group = group;
    facts->session = session;
    facts->start = start;
    return true;
}

bool process_stopped(pid_t pid)
{
    struct process_facts facts;

    return pid != 0 && process_read(pid, &facts) && facts.state == 'T';
}

uint64_t process_stopped_for(pid_t pid, uint64_t now, uint64_t *since)
{
    if (!process_stopped(pid))
        *since = 0;
    else if (*since == 0)
        *since = now;
    return *since == 0 ? 0 : now - *since;
}

/* Whether its first number, the size of its memory, is 0. */
static bool has_no_memory(int folder, const char *thread)
{
    char path[64], text[8];

    snprintf(path, sizeof path, "%.20s/statm", thread);
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT; /* it has ended since */
    ssize_t size = read(fd, text, sizeof text);
    bool ended = size < 0 && errno == ESRCH;
    close(fd);
    return ended || (size >= 2 && memcmp(text, "0 ", 2) == 0);
}

/* One that a signal kills makes no more threads, so those that are listed are all. */
bool process_is_spent(pid_t pid, int pidfd, int *status)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    struct process_facts facts;
    char path[64];
    DIR *folder;
    struct dirent *entry;
    bool spent = true;

    if (!process_read(pid, &facts) || !WIFSIGNALED(facts.status))
        return false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    folder = opendir(path);
    if (folder == NULL)
        return false;
    while (spent && (entry = readdir(folder)) != NULL)
        if (isdigit((unsigned char)entry->d_name[0]))
            spent = has_no_memory(dirfd(folder), entry->d_name);
    closedir(folder);
    *status = facts.status;
    return spent && poll(&end, 1, 0) == 0;
}

int process_open(pid_t pid, uint64_t start)
{
    struct process_facts facts;
    int rc = 0;

    if (pid <= 0)
        return RK_ENOENT;
    int fd = pidfd_open(pid, 0); /* close-on-exec by itself */
    if (fd < 0)
        return errno == ESRCH || errno == EINVAL ? RK_ENOENT : RK_EUNAVAILABLE;
    errno = 0;
    if (start != 0 && !process_read(pid, &facts))
        rc = errno == EMFILE || errno == ENFILE || errno == ENOMEM ? RK_EUNAVAILABLE : RK_ENOENT;
    else if (start != 0 && facts.start != start)
        rc = RK_ENOENT;
    if (rc != 0)
        close(fd);
    return rc != 0 ? rc : fd;
}

bool process_descends(pid_t pid, pid_t ancestor)
{
    struct process_facts facts;

    for (int i = 0; i < MOST_ANCESTORS && pid > 1 && ancestor > 1; i++) {
        if (pid == ancestor)
            return true;
        if (!process_read(pid, &facts))
            return false;
        pid = facts.parent;
    }
    return false;
}

void process_kill_session(pid_t session)
{
    DIR *folder;
    struct dirent *entry;

    if (session <= 1)
        return;
    kill(-session, SIGKILL);
    folder = opendir("/proc");
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        struct process_facts facts;
        int pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : 0;

        if (pid > 1 && process_read(pid, &facts) && facts.session == session)
            kill(pid, SIGKILL);
    }
    if (folder != NULL)
        closedir(folder);
}

/* ---- starting ---------------------------------------------------------------------------------
 */

/* From here to exec the child may only do what is safe after fork in a program with threads. */

static void say(const char *text)
{
    ssize_t ignored = write(2, text, strlen(text));
    (void)ignored;
}

static _Noreturn void exit_unexecuted(const char *program, int errnum)
{
    say("reknit: cannot execute ");
    say(program);
    say(": ");
    say(strerrordesc_np(errnum));
    say(errnum == ENOENT ? "; give its path, or put its folder into PATH\n"
                         : "; it must be an executable file of this machine\n");
    _exit(errnum == ENOENT ? 127 : 126);
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < SIGRTMAX; number++)
        if (number != SIGKILL && number != SIGSTOP)
            sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit_files(rlim_t files)
{
    struct rlimit limit;

    if (files == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= files)
        return;
    limit.rlim_cur = files;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static _Noreturn void become(const struct spawn *spawn, pid_t parent, int null)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126); /* it ended before it could take us along */
    setsid();
    reset_signals();
    dup2(null, 0);
    dup2(spawn->out >= 0 ? spawn->out : null, 1);
    dup2(spawn->err >= 0 ? spawn->err : null, 2);
    if (close_range(3, ~0u, CLOSE_RANGE_FLAG_CLOEXEC) != 0)
        for (int fd = 3; fd < 1024; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    for (int i = 0; i < SPAWN_KEEP; i++)
        if (spawn->keep[i] >= 3)
            fcntl(spawn->keep[i], F_SETFD, 0);
    limit_files(spawn->files);
    const char *file = spawn->file != NULL ? spawn->file : spawn->argv[0];
    execvpe(file, spawn->argv, spawn->envp);
    exit_unexecuted(file, errno);
}

pid_t process_spawn(const struct spawn *spawn, int *pidfd, struct rk_why *why)
{
    sigset_t all, before;
    pid_t parent = getpid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    *pidfd = -1;
    if (null < 0)
        return rk_fail_errno(why, errno, "cannot open /dev/null");
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        become(spawn, parent, null);
    int errnum = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(null);
    if (pid < 0)
        return rk_fail_errno(why, errnum, "cannot start %s", spawn->argv[0]);
    *pidfd = pidfd_open(pid, 0);
    if (*pidfd < 0) {
        errnum = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return rk_fail_errno(why, errnum, "cannot watch the process of %s", spawn->argv[0]);
    }
    return pid;
}

static bool same_name(const char *variable, const char *other)
{
    size_t length = strcspn(other, "=");

    return strncmp(variable, other, length) == 0 && variable[length] == '=';
}

static size_t count_of(char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL)
        count++;
    return count;
}

char **process_environment(char *const *base, char *const *set)
{
    size_t bytes = 0, sets = count_of(set), bases = count_of(base), count = 0;

    for (size_t i = 0; i < sets; i++)
        bytes += strlen(set[i]) + 1;
    char **made = malloc((sets + bases + 1) * sizeof *made + bytes);
    if (made == NULL)
        return NULL;
    char *text = (char *)(made + sets + bases + 1);
    for (size_t i = 0; i < bases; i++) {
        bool taken = false;

        for (size_t k = 0; k < sets && !taken; k++)
            taken = same_name(base[i], set[k]);
        if (!taken)
            made[count++] = base[i];
    }
    for (size_t i = 0; i < sets; i++) {
        size_t size = strlen(set[i]) + 1;

        if (set[i][size - 2] == '=')
            continue;
        made[count++] = memcpy(text, set[i], size);
        text += size;
    }
    made[count] = NULL;
    return made;
}
