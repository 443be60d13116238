/* Carriers, the MPI processes that exchange data between hosts: this agent starts mpirun when it is
 * asked to, starts mpirun's daemon for the mpirun of any agent, lets the carrier below that daemon
 * attach, and sees to it that at most one carrier of this agent touches the arena at a time: one
 * that stands by waits, asleep, until its launch is to serve and the carrier before
 * it is dead. */
#include "worker/agent/state.h"

#include "collectives/carrier_launch.h"
#include "common/clock.h"
#include "common/log.h"
#include "worker/agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* mpirun closes one by one all that it might have open, for each daemon that it starts: a million
 * where the limit is that.  A carrier has a socket for each of CARRIER_MAX_HOSTS. */
#define MPI_FILES 4096u

extern char **environ;

/* ---- starting ---------------------------------------------------------------------------------
 */

static int make_folder(struct agent *agent, struct child *child, uint64_t number,
                       struct rk_why *why)
{
    int length = snprintf(child->folder, sizeof child->folder, "%s/mpi-%u-%llx", agent->host_dir,
                          child->job, (unsigned long long)number);

    if (length < (int)sizeof child->folder && mkdir(child->folder, 0700) == 0)
        return 0;
    int rc = rk_fail_errno(why, errno, "cannot make %s", child->folder);
    child->folder[0] = '\0';
    return rc;
}

/* Where mpirun and daemons say what goes wrong. */
static void log_path(const struct agent *agent, uint32_t job, char path[AGENT_PATH + 64])
{
    const struct agent_options *options = agent->options;

    snprintf(path, AGENT_PATH + 64, "%s/carriers-%u.log",
             options->log_dir != NULL ? options->log_dir : options->run_dir, job);
}

/* -1: nowhere. */
static int open_log(const struct agent *agent, uint32_t job)
{
    char path[AGENT_PATH + 64];

    log_path(agent, job, path);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

/* The last line with letters in it of the end of an open file. */
static void last_line(int file, char *line, size_t size)
{
    char text[4096];
    off_t end = lseek(file, 0, SEEK_END);
    off_t from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    ssize_t got = pread(file, text, sizeof text - 1, from);
    char *rest = NULL;

    line[0] = '\0';
    text[got > 0 ? got : 0] = '\0';
    for (char *one = strtok_r(text, "\n", &rest); one != NULL; one = strtok_r(NULL, "\n", &rest))
        if (strpbrk(one, "abcdefghijklmnopqrstuvwxyz") != NULL)
            snprintf(line, size, "%s", one + strspn(one, " \t"));
}

void carriers_last_words(const struct agent *agent, const struct child *child,
                         char words[CARRIER_WORDS])
{
    const char *who = child->kind == CHILD_MPIRUN ? "mpirun" : "mpirun's daemon";
    char line[CARRIER_WORDS / 2] = "";
    char path[AGENT_PATH + 64];
    int file;

    log_path(agent, child->job, path);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        last_line(file, line, sizeof line);
        close(file);
    }
    if (line[0] == '\0')
        snprintf(words, CARRIER_WORDS, "%s ended", who);
    else
        snprintf(words, CARRIER_WORDS, "%s ended; %.*s says last: %s", who, 200, path, line);
}

static int start(struct agent *agent, struct child *child, const struct carrier_command *command,
                 struct rk_why *why)
{
    int log = open_log(agent, child->job), pidfd;
    struct spawn spawn = {.argv = command->argv,
                          .envp = command->envp,
                          .out = log,
                          .err = log,
                          .keep = {-1, -1},
                          .files = MPI_FILES,
                          .file = command->file};
    pid_t pid = process_spawn(&spawn, &pidfd, why);

    if (log >= 0)
        close(log);
    if (pid < 0)
        return pid;
    if (child_watch(child, pid, pidfd) != 0) {
        kill(pid, SIGKILL);
        return rk_fail(why, RK_EFULL, "cannot watch %s", command->argv[0]);
    }
    return 0;
}

static int start_mpirun(struct agent *agent, struct child *child, uint32_t hosts,
                        struct rk_why *why)
{
    char found[64];
    const char *interface = agent->options->interface;
    struct carrier_command command = {0};
    int rc = 0;

    if (interface == NULL) {
        rc = carrier_interface(agent->options->address, found, sizeof found, why);
        interface = found;
    }
    if (rc == 0)
        rc = make_folder(agent, child, 0, why);
    if (rc != 0)
        return rc;
    struct carrier_launch launch = {.job = child->job,
                                    .hosts = hosts,
                                    .interface = interface,
                                    .agent = agent->socket_path,
                                    .directory = child->folder,
                                    .env = (const char *const *)environ};
    rc = carrier_launch_command(&launch, &command, why);
    if (rc == 0)
        rc = start(agent, child, &command, why);
    carrier_command_done(&command);
    return rc;
}

void agent_carriers_start(struct agent *agent, uint32_t job, char **hosts, size_t count)
{
    struct rk_why why = {""};
    struct child *child;
    (void)hosts; /* their names follow from the job and their order */

    if (!carriers_wanted(agent, job) || agent->end != AGENT_RUNS)
        return;
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind == CHILD_MPIRUN && agent->child[i].job == job)
            return; /* said again */
    child = child_new(agent, CHILD_MPIRUN);
    if (child == NULL) {
        say_carrier_lost(agent, job, 0, "the agent has too many children");
        return;
    }
    child->job = job;
    if (start_mpirun(agent, child, (uint32_t)count, &why) != 0) {
        rk_warn("carriers %u cannot start: %s", job, why.text);
        say_carrier_lost(agent, job, 0, why.text);
        child_free(child);
        return;
    }
    rk_info("carriers %u started for %zu hosts, mpirun pid %d", job, count, (int)child->pid);
}

static int start_daemon(struct agent *agent, struct child *child, uint64_t request,
                        const char *text, struct rk_why *why)
{
    struct carrier_command command = {0};
    int rc = make_folder(agent, child, request, why);

    if (rc != 0)
        return rc;
    struct carrier_launch launch = {.job = child->job,
                                    .agent = agent->socket_path,
                                    .directory = child->folder,
                                    .env = (const char *const *)environ};
    rc = carrier_launch_daemon(&launch, text, &command, why);
    if (rc == 0)
        rc = start(agent, child, &command, why);
    carrier_command_done(&command);
    return rc;
}

void agent_carriers_rsh(struct agent *agent, uint64_t request, uint64_t from, const char *command,
                        uint32_t job)
{
    struct rk_why why = {""};
    struct child *child = NULL;
    int rc;

    if (!carriers_wanted(agent, job) || agent->end != AGENT_RUNS) {
        rc = rk_fail(&why, RK_ESTALE, "carriers %u are no longer wanted", job);
    } else if ((child = child_new(agent, CHILD_ORTED)) == NULL) {
        rc = rk_fail(&why, RK_EFULL, "the agent has too many children");
    } else {
        child->job = job;
        rc = start_daemon(agent, child, request, command, &why);
        if (rc != 0)
            child_free(child);
    }
    say_rsh_started(agent, request, from, rc, why.text);
}

void carriers_rsh_done(struct agent *agent, uint64_t request, int code, const char *why)
{
    struct peer *peer = peer_of_request(agent, request);

    if (peer == NULL)
        return;
    if (code == 0)
        peer_say(agent, peer, LOCAL_STARTED);
    else
        peer_refuse(agent, peer, code, why);
}

/* ---- carriers ---------------------------------------------------------------------------------
 */

bool carriers_own(const struct agent *agent, pid_t pid)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++) {
        const struct child *child = &agent->child[i];

        if ((child->kind == CHILD_MPIRUN || child->kind == CHILD_ORTED) && child->pid > 0 &&
            process_descends(pid, child->pid))
            return true;
    }
    return false;
}

static void kill_peer(struct peer *peer)
{
    if (peer->alive.fd >= 0)
        pidfd_send_signal(peer->alive.fd, SIGKILL, NULL, 0);
}

static bool is_carrier(const struct peer *peer)
{
    return peer->kind == PEER_CARRIER || peer->kind == PEER_CARRIER_WAITING;
}

/* A number above all that were named may have been named to others before us. */
bool carriers_wanted(const struct agent *agent, uint32_t job)
{
    return job != 0 &&
           (job == agent->carrier_job || job == agent->standby_job || job > agent->newest_job);
}

void carrier_expect(struct agent *agent)
{
    agent->freeze.carrier_until = agent->now + agent->silence_ns / 2;
}

static void accept_carrier(struct agent *agent, struct peer *peer)
{
    struct arena_carrier *block = &agent->arena.header->carrier;

    peer->kind = PEER_CARRIER;
    agent->carrier = peer;
    carrier_expect(agent);
    atomic_store(&block->ack_word, 0);
    if (peer_say(agent, peer, LOCAL_STARTED) == 0)
        rk_info("carrier of job %u serves, pid %d", peer->job, (int)peer->pid);
}

/* The carrier that is to serve comes in as soon as the one before it is dead. */
static void accept_waiting(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_PEERS && agent->carrier == NULL; i++) {
        struct peer *peer = &agent->peer[i];

        if (peer->used && peer->kind == PEER_CARRIER_WAITING && peer->job == agent->carrier_job)
            accept_carrier(agent, peer);
    }
}

void carriers_keep(struct agent *agent, uint32_t job, uint32_t standby)
{
    uint32_t newer = job > standby ? job : standby;

    if (newer > agent->newest_job)
        agent->newest_job = newer;
    agent->carrier_job = job;
    agent->standby_job = standby;
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++) {
        struct child *child = &agent->child[i];

        if ((child->kind == CHILD_MPIRUN || child->kind == CHILD_ORTED) &&
            !carriers_wanted(agent, child->job))
            child_kill(child);
    }
    for (uint32_t i = 0; i < AGENT_PEERS; i++)
        if (is_carrier(&agent->peer[i]) && !carriers_wanted(agent, agent->peer[i].job))
            kill_peer(&agent->peer[i]);
    accept_waiting(agent);
}

void carriers_serve(struct agent *agent, uint32_t job)
{
    if (job != 0 && job != agent->carrier_job)
        carriers_keep(agent, job, agent->standby_job > job ? agent->standby_job : 0);
}

/* Whatever it did in the arena, it does no more. */
static void on_carrier_dead(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct peer *peer = watch_owner(watch, struct peer, alive);
    struct arena_carrier *block = &agent->arena.header->carrier;
    (void)events;

    watch_drop(agent, watch);
    peer_close(agent, peer);
    if (agent->end == AGENT_RUNS && carriers_wanted(agent, peer->job))
        say_carrier_lost(agent, peer->job, peer->pid, "the carrier ended");
    if (agent->carrier != peer)
        return;
    agent->carrier = NULL;
    if (atomic_load(&block->pid) == peer->pid) {
        atomic_store(&block->ack_word, 0);
        atomic_store(&block->job, 0);
        atomic_store(&block->pid, 0);
    }
    accept_waiting(agent);
}

void carrier_attach(struct agent *agent, struct peer *peer, uint32_t job, uint64_t place)
{
    int pidfd = peer->alive.fd;

    peer->alive.fd = -1;
    peer->job = job;
    peer->place = (uint32_t)place;
    peer->of = (uint32_t)(place >> 32);
    peer->kind = PEER_CARRIER_WAITING;
    if (watch_add(agent, &peer->alive, pidfd, EPOLLIN, on_carrier_dead) != 0 ||
        !carriers_wanted(agent, job)) {
        peer_refuse(agent, peer, RK_ESTALE, "carriers of this job are no longer wanted");
        return;
    }
    if (peer_welcome(agent, peer) != 0)
        return;
    rk_info("carrier of job %u attached, pid %d", job, (int)peer->pid);
    say_carrier_up(agent, peer);
    accept_waiting(agent);
}

/* Its connection is closed: then it is of no use, dead or alive. */
void carrier_lost(struct agent *agent, struct peer *peer)
{
    (void)agent;
    kill_peer(peer);
}

/* One that is stopped holds all hosts up as soon as it serves. */
void carriers_look(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_PEERS; i++) {
        struct peer *peer = &agent->peer[i];
        pid_t pid = peer->used && is_carrier(peer) ? peer->pid : 0;
        uint64_t still = process_stopped_for(pid, agent->now, &peer->stopped_at);

        if (still == 0 || still < agent->silence_ns / 2)
            continue;
        rk_warn("the carrier, pid %d, stood still for %.1f s and is killed", (int)pid,
                (double)still / (double)RK_S);
        peer->stopped_at = 0;
        kill_peer(peer);
    }
}

void carrier_give_up(struct agent *agent)
{
    rk_warn("the carrier, pid %d, does not stand still; it is killed", (int)agent->carrier->pid);
    agent->freeze.carrier_until = UINT64_MAX;
    kill_peer(agent->carrier);
}

bool carrier_acked(const struct agent *agent, rk_word word)
{
    const struct arena_carrier *block = &agent->arena.header->carrier;

    if (agent->carrier == NULL)
        return true;
    return atomic_load_explicit(&block->ack_word, memory_order_acquire) == word;
}
