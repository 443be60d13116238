/* Children of the agent that are not ranks: mpirun and orted of the carriers, writers and loaders
 * of checkpoints, and what is left of ranks (lives.c).  Each runs in a session of its own; when it
 * ends, what is left of the session is killed, and its folder is removed.
 *
 * Both take milliseconds, in which the agent does nothing else: every process of the machine is
 * looked at, and MPI leaves large files.  Those of mpirun and its daemons end when carriers are
 * lost, just when the job waits for this agent to go on with others; so theirs is put off until
 * the next step is long done.  Until then they are not collected, so that their numbers name
 * their sessions and nothing else. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/agent/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_DEPTH 16
#define TIDY_AFTER_NS RK_S /* longer than a recovery over carriers that stood by */

static void collect(struct child *child)
{
    process_kill_session(child->pid);
    waitpid(child->pid, NULL, 0);
    child->gone = true;
}

static void tidy(struct child *child)
{
    collect(child);
    child_free(child);
}

void children_tidy(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++) {
        struct child *child = &agent->child[i];

        if (child->ended && (agent->end != AGENT_RUNS || child->tidy_at <= agent->now))
            tidy(child);
    }
}

/* A place for a child, that of one that waits to be tidied if need be; NULL: there is none. */
static struct child *find_place(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind == CHILD_NONE)
            return &agent->child[i];
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].ended) {
            tidy(&agent->child[i]);
            return &agent->child[i];
        }
    return NULL;
}

struct child *child_new(struct agent *agent, enum child_kind kind)
{
    struct child *child = find_place(agent);

    if (child == NULL)
        return NULL;
    *child = (struct child){.kind = kind, .agent = agent, .alive.fd = -1, .report.fd = -1};
    child->began = agent->now;
    return child;
}

void child_free(struct child *child)
{
    watch_drop(child->agent, &child->alive);
    watch_drop(child->agent, &child->report);
    if (child->folder[0] != '\0')
        folder_remove(child->folder);
    free(child->data);
    child->data = NULL;
    child->kind = CHILD_NONE;
    child->ended = false;
}

void child_kill(struct child *child)
{
    if (child->kind != CHILD_NONE && !child->gone && child->pid > 1) /* 0 and -1 name others */
        kill(-child->pid, SIGKILL); /* its group; the rest of its session when it has ended */
}

bool children_alive(const struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind != CHILD_NONE)
            return true;
    return false;
}

void children_kill(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        child_kill(&agent->child[i]);
}

/* One that is stopped holds a checkpoint up, or all ranks that are to be given the state. */
void children_look(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++) {
        struct child *child = &agent->child[i];
        bool stores = child->kind == CHILD_WRITER || child->kind == CHILD_LOADER;
        uint64_t still =
            process_stopped_for(stores ? child->pid : 0, agent->now, &child->stopped_at);

        if (still == 0 || still < agent->silence_ns / 2)
            continue;
        rk_warn("the %s of a checkpoint, pid %d, stood still for %.1f s and is killed",
                child->kind == CHILD_WRITER ? "writer" : "loader", (int)child->pid,
                (double)still / (double)RK_S);
        child->stopped_at = 0;
        child_kill(child);
    }
}

static void on_storage_ended(struct agent *agent, struct child *child)
{
    collect(child);
    storage_report(agent, child); /* what is still in its pipe */
    storage_done(agent, child);
    child_free(child);
}

static void on_launcher_ended(struct agent *agent, struct child *child)
{
    if (agent->end == AGENT_RUNS && carriers_wanted(agent, child->job)) {
        char why[CARRIER_WORDS];

        carriers_last_words(agent, child, why);
        say_carrier_lost(agent, child->job, child->pid, why);
    }
    watch_drop(agent, &child->alive);
    child->ended = true;
    child->tidy_at = agent->now + TIDY_AFTER_NS;
}

static void on_ended(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct child *child = watch_owner(watch, struct child, alive);
    siginfo_t info = {0};
    (void)events;

    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return;
    if (child->kind == CHILD_REMAINS)
        rank_collect(agent, child);
    else if (child->kind == CHILD_WRITER || child->kind == CHILD_LOADER)
        on_storage_ended(agent, child);
    else
        on_launcher_ended(agent, child);
}

int child_watch(struct child *child, pid_t pid, int pidfd)
{
    child->pid = pid;
    return watch_add(child->agent, &child->alive, pidfd, EPOLLIN, on_ended);
}

/* ---- folders ----------------------------------------------------------------------------------
 */

static void empty_folder(int at, int depth)
{
    DIR *folder = fdopendir(at);
    struct dirent *entry;

    if (folder == NULL) {
        close(at);
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (unlinkat(dirfd(folder), name, 0) == 0 || depth == MOST_DEPTH)
            continue;
        int below = openat(dirfd(folder), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            empty_folder(below, depth + 1);
        unlinkat(dirfd(folder), name, AT_REMOVEDIR);
    }
    closedir(folder);
}

void folder_remove(const char *path)
{
    int at = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (at >= 0)
        empty_folder(at, 0);
    rmdir(path);
}
