/* The host group's folder RUN_DIR/host-GROUP: its lock, and in it the sockets of the agents that
 * share one arena.
 *
 * Under the lock an agent asks each socket it finds for the arena, makes a new one when nobody
 * alive has one, and listens on a socket of its own before it lets the lock go: so there is one
 * arena as long as one agent lives. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/agent/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS 10000
#define PEER_WAIT_MS 3000
#define TURN_MS 2

static int make_folder(struct agent *agent, struct rk_why *why)
{
    int length = snprintf(agent->host_dir, sizeof agent->host_dir, "%s/host-%s",
                          agent->options->run_dir, agent->options->group);

    if (length >= (int)sizeof agent->host_dir - 64)
        return rk_fail(why, RK_EINVAL, "--run-dir %s is too long", agent->options->run_dir);
    /* a worker on another machine than the job's starter finds nothing there yet */
    if (mkdir(agent->options->run_dir, 0700) != 0 && errno != EEXIST)
        return rk_fail_errno(why, errno, "cannot make the runtime directory %s",
                             agent->options->run_dir);
    if (mkdir(agent->host_dir, 0700) != 0 && errno != EEXIST)
        return rk_fail_errno(why, errno, "cannot make %s", agent->host_dir);
    struct stat status;
    if (lstat(agent->host_dir, &status) != 0 || !S_ISDIR(status.st_mode) ||
        status.st_uid != geteuid() || (status.st_mode & 077) != 0)
        return rk_fail(why, RK_EACCES, "%s must be a directory of yours with mode 0700",
                       agent->host_dir);
    return 0;
}

/* The lock; only at the start, where nobody waits for this agent's loop. */
static int take_lock(struct agent *agent, int *lock, struct rk_why *why)
{
    char path[AGENT_PATH + 8];
    uint64_t deadline = rk_clock_now() + LOCK_WAIT_MS * RK_MS;

    snprintf(path, sizeof path, "%s/lock", agent->host_dir);
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*lock < 0)
        return rk_fail_errno(why, errno, "cannot open %s", path);
    while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || rk_clock_now() > deadline) {
            close(*lock);
            return rk_fail(why, RK_ETIMEDOUT, "another agent holds %s and does not let go", path);
        }
        poll(NULL, 0, TURN_MS);
    }
    return 0;
}

/* Asks the agent at `path` for its arena: 0 with *arena open, or an error. */
static int ask_peer(const char *path, struct arena *arena, struct rk_why *why)
{
    struct local_message message = {.kind = LOCAL_PEER};
    int peer, fd = -1;
    int rc = local_connect(path, &peer, why);

    if (rc != 0)
        return rc;
    rc = local_send(peer, &message, -1);
    if (rc == 0)
        rc = local_receive(peer, &message, &fd, PEER_WAIT_MS);
    close(peer);
    if (rc == 0 && (message.kind != LOCAL_WELCOME || fd < 0))
        rc = RK_EPROTO;
    if (rc == 0)
        rc = arena_open(arena, fd, why);
    if (rc != 0 && fd >= 0)
        close(fd);
    return rc;
}

static bool is_socket_name(const char *name)
{
    size_t length = strlen(name);

    return strncmp(name, "agent-", 6) == 0 && length > 5 && strcmp(name + length - 5, ".sock") == 0;
}

/* Takes the arena of a living agent; sweeps away sockets that nobody listens on. */
static int find_arena(struct agent *agent, struct rk_why *why)
{
    DIR *folder = opendir(agent->host_dir);
    struct dirent *entry;
    int found = RK_ENOENT;

    if (folder == NULL)
        return rk_fail_errno(why, errno, "cannot read %s", agent->host_dir);
    while (found != 0 && (entry = readdir(folder)) != NULL) {
        char path[AGENT_PATH + NAME_MAX];

        if (!is_socket_name(entry->d_name) || snprintf(path, sizeof path, "%s/%s", agent->host_dir,
                                                       entry->d_name) >= (int)sizeof path)
            continue;
        int rc = ask_peer(path, &agent->arena, why);
        if (rc == RK_EAGENT)
            unlink(path);
        else if (rc != 0)
            rk_warn("agent at %s does not share its arena (%s); going on without it", entry->d_name,
                    rk_error_text(rc));
        found = rc == 0 ? 0 : found;
    }
    closedir(folder);
    return found;
}

static int make_arena(struct agent *agent, struct rk_why *why)
{
    struct rk_host_id host;
    int rc = secret_random_id(&host.value, why);

    return rc != 0 ? rc : arena_create(&agent->arena, host, RK_MAX_SHARDS, why);
}

static uint64_t start_of(pid_t pid)
{
    struct process_facts facts;

    return process_read(pid, &facts) ? facts.start : 0;
}

static int claim_block(struct agent *agent, struct rk_why *why)
{
    agent->block = arena_agent_claim(&agent->arena, agent->worker);
    if (agent->block < 0)
        return rk_fail(why, RK_EFULL, "more than %u workers on host %s; use fewer or more slots",
                       ARENA_AGENTS, agent->options->host_name);
    struct arena_agent *block = &agent->arena.header->agent[agent->block];
    atomic_store(&block->agent_start, start_of(agent->pid));
    atomic_store(&block->warden_start, start_of(agent->warden_pid));
    atomic_store(&block->warden_pid, agent->warden_pid);
    atomic_store(&block->agent_pid, agent->pid);
    return 0;
}

static int name_socket(struct agent *agent, struct rk_why *why)
{
    if (snprintf(agent->socket_path, sizeof agent->socket_path, "%s/agent-%u-%d.sock",
                 agent->host_dir, agent->options->ticket,
                 (int)agent->pid) >= (int)sizeof agent->socket_path)
        return rk_fail(why, RK_EINVAL, "--run-dir %s is too long", agent->options->run_dir);
    return 0;
}

int host_open(struct agent *agent, struct rk_why *why)
{
    int lock;
    int rc = make_folder(agent, why);

    if (rc == 0)
        rc = take_lock(agent, &lock, why);
    if (rc != 0)
        return rc;
    rc = find_arena(agent, why);
    if (rc == RK_ENOENT)
        rc = make_arena(agent, why);
    if (rc == 0)
        rc = claim_block(agent, why);
    if (rc == 0)
        rc = name_socket(agent, why);
    if (rc == 0) {
        unlink(agent->socket_path); /* of a dead process that had our pid */
        rc = local_server_open(agent, why);
    }
    close(lock);
    return rc;
}

int host_set_job(struct agent *agent, uint32_t shards, bool fast, bool on_gpus, struct rk_why *why)
{
    const struct arena_header *header = agent->arena.header;
    enum arena_reduction reduction = fast ? ARENA_FAST : ARENA_EXACT;

    if (shards == 0 || shards > RK_MAX_SHARDS || (shards & (shards - 1)) != 0)
        return rk_fail(why, RK_EPROTO, "the coordinator speaks of %u shards", shards);
    agent->shards = shards;
    if (header->shards == shards && header->reduction == (uint32_t)reduction &&
        header->on_gpus == (on_gpus ? 1 : 0))
        return 0;
    if (arena_layout(&agent->arena) != NULL)
        return rk_fail(why, RK_EPROTO,
                       "the coordinator speaks of %u shards, --reduction %s and sums on %s, the "
                       "arena has %u, %s and %s",
                       shards, fast ? "fast" : "exact", on_gpus ? "GPUs" : "hosts", header->shards,
                       header->reduction == ARENA_FAST ? "fast" : "exact",
                       header->on_gpus ? "GPUs" : "hosts");
    /* The arena is made before anybody knows V, and is of no use to ranks until a layout is
     * declared; all agents of the host are told the same and write the same numbers. */
    arena_set_job(&agent->arena, shards, reduction, on_gpus);
    return 0;
}

void host_close(struct agent *agent)
{
    if (agent->block >= 0) {
        struct arena_agent *block = &agent->arena.header->agent[agent->block];

        atomic_store(&block->agent_pid, 0);
        atomic_store(&block->warden_pid, 0);
        atomic_store(&block->pinned, 0);
        atomic_store(&block->worker, 0);
        agent->block = -1;
    }
    if (agent->arena.header != NULL)
        arena_close(&agent->arena);
}
