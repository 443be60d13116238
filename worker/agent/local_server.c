/* The agent's socket: who connects, who that is, and what it says; see worker/local.h.
 *
 * Who somebody is follows from SO_PEERCRED, never from what it says: the uid must be ours, a rank
 * must be a process that we started for a rank or one below it, a carrier and reknit-rsh must be
 * below an mpirun or orted of ours. */
#include "worker/agent/state.h"

#include "common/log.h"
#include "worker/agent/process.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKETS_A_TURN 16

/* ---- sending ----------------------------------------------------------------------------------
 */

static int peer_send(struct agent *agent, struct peer *peer, struct local_message *message, int fd)
{
    int rc = local_send(peer->watch.fd, message, fd);

    (void)agent;
    if (rc != 0) /* a gone peer shows itself by its closed socket; a full one loses a refusal */
        rk_debug("agent could not answer pid %d: %s", (int)peer->pid, rk_error_text(rc));
    return rc;
}

void peer_refuse(struct agent *agent, struct peer *peer, int code, const char *text)
{
    struct local_message message = {.kind = LOCAL_REFUSED, .code = code};
    size_t size = strnlen(text, LOCAL_TEXT_MAX - 1);

    memcpy(message.text, text, size);
    message.text_size = (uint32_t)size;
    agent->refused++;
    rk_debug("agent refuses pid %d: %s", (int)peer->pid, text);
    peer_send(agent, peer, &message, -1);
}

int peer_say(struct agent *agent, struct peer *peer, enum local_kind kind)
{
    struct local_message message = {.kind = (uint16_t)kind};

    return peer_send(agent, peer, &message, -1);
}

int peer_welcome(struct agent *agent, struct peer *peer)
{
    struct local_message message = {.kind = LOCAL_WELCOME, .agent_block = (uint32_t)agent->block};

    if (peer->rank != NULL) {
        message.seat = (uint32_t)peer->rank->seat;
        message.rank = peer->rank->name;
    }
    return peer_send(agent, peer, &message, agent->arena.fd);
}

/* ---- who it is --------------------------------------------------------------------------------
 */

static struct rank *rank_of(struct agent *agent, pid_t pid)
{
    for (uint32_t i = 0; i < agent->options->slots; i++) {
        struct rank *rank = &agent->rank[i];

        if (rank_alive(rank) && !rank->child_gone && process_descends(pid, rank->pid))
            return rank;
    }
    return NULL;
}

static void attach(struct agent *agent, struct peer *peer)
{
    /* first hold on to the process, then look whose it is: its pid cannot be used again between */
    int pidfd = process_open(peer->pid, 0);
    struct rank *rank = pidfd < 0 ? NULL : rank_of(agent, peer->pid);

    if (rank == NULL || rank->attached_pid != 0 || rank->dying_at != 0) {
        if (pidfd >= 0)
            close(pidfd);
        if (rank == NULL)
            peer_refuse(agent, peer, RK_EACCES,
                        "this process was not started by this agent as a rank, nor by one");
        else if (rank->dying_at != 0)
            peer_refuse(agent, peer, RK_EFENCED, "this rank is being ended");
        else
            peer_refuse(agent, peer, RK_EEXIST,
                        "this rank has joined already; one process of a rank can join, once");
        return;
    }
    peer->kind = PEER_RANK;
    peer->rank = rank;
    rank_attached(agent, rank, peer, pidfd);
    peer_welcome(agent, peer);
}

static void share_arena(struct agent *agent, struct peer *peer)
{
    peer_welcome(agent, peer); /* the uid is ours, as that of every peer */
}

static void carrier(struct agent *agent, struct peer *peer, uint64_t job, uint64_t place)
{
    int pidfd = process_open(peer->pid, 0);

    if (pidfd < 0 || !carriers_own(agent, peer->pid)) {
        if (pidfd >= 0)
            close(pidfd);
        peer_refuse(agent, peer, RK_EACCES, "this process is no carrier that this agent started");
        return;
    }
    peer->alive.fd = pidfd;
    carrier_attach(agent, peer, (uint32_t)job, place);
}

/* mpirun wants its daemon on another host: host NUL command. */
static void remote_shell(struct agent *agent, struct peer *peer, struct local_message *message)
{
    const char *end = memchr(message->text, '\0', message->text_size);

    if (!carriers_own(agent, peer->pid)) {
        peer_refuse(agent, peer, RK_EACCES, "only an mpirun that this agent started may do this");
        return;
    }
    if (end == NULL || message->text_size >= LOCAL_TEXT_MAX) {
        peer_refuse(agent, peer, RK_EPROTO, "a host and a command are needed");
        return;
    }
    message->text[message->text_size] = '\0';
    peer->kind = PEER_RSH;
    if (secret_random_id(&peer->request, NULL) != 0 ||
        say_rsh_request(agent, peer->request, message->text, end + 1, (uint32_t)message->a) != 0)
        peer_refuse(agent, peer, RK_EUNAVAILABLE, "there is no coordinator now");
}

struct peer *peer_of_request(struct agent *agent, uint64_t request)
{
    for (uint32_t i = 0; i < AGENT_PEERS; i++)
        if (agent->peer[i].used && agent->peer[i].kind == PEER_RSH &&
            agent->peer[i].request == request)
            return &agent->peer[i];
    return NULL;
}

/* ---- what it says -----------------------------------------------------------------------------
 */

static void from_new(struct agent *agent, struct peer *peer, struct local_message *message)
{
    switch (message->kind) {
    case LOCAL_ATTACH:
        attach(agent, peer);
        break;
    case LOCAL_PEER:
        share_arena(agent, peer);
        break;
    case LOCAL_CARRIER:
        carrier(agent, peer, message->a, message->b);
        break;
    case LOCAL_RSH:
        remote_shell(agent, peer, message);
        break;
    default:
        peer_refuse(agent, peer, RK_EPROTO, "say first who you are");
    }
}

static void from_rank(struct agent *agent, struct peer *peer, const struct local_message *message,
                      int *fd)
{
    struct rank *rank = peer->rank;

    switch (message->kind) {
    case LOCAL_DECLARE:
        if (*fd < 0 || peer->declaring || rank->entered) {
            peer_refuse(agent, peer, RK_EPROTO, "a layout is declared once, with its descriptor");
            break;
        }
        declare_begin(agent, peer, *fd);
        *fd = -1;
        break;
    case LOCAL_ENTER:
        rank->entered = true;
        lives_watch(agent, rank);
        say_heartbeat_soon(agent);
        break;
    case LOCAL_ACK:
        break; /* its seat has it; each turn looks there */
    case LOCAL_PROGRESS:
        say_progress(agent, message->a);
        break;
    case LOCAL_SNAPSHOT:
        freeze_snapshot_look(agent, message->b);
        break;
    case LOCAL_COMM_ID:
        if (message->text_size == 0 || message->text_size == ARENA_COMM_ID)
            say_comm_id(agent, message->a, message->text, message->text_size);
        break;
    case LOCAL_COMM_FAILED:
        say_comm_failed(agent, message->a, rank->name, 0, message->text);
        break;
    case LOCAL_LEFT:
        rank_left(agent, rank, message->a);
        break;
    default:
        peer_refuse(agent, peer, RK_EPROTO, "a rank does not say this");
    }
}

static void take_packet(struct agent *agent, struct peer *peer, struct local_message *message,
                        int fd)
{
    if (peer->kind == PEER_NEW)
        from_new(agent, peer, message);
    else if (peer->kind == PEER_RANK)
        from_rank(agent, peer, message, &fd);
    else if (message->kind != LOCAL_ACK)
        peer_refuse(agent, peer, RK_EPROTO, "this was not to be said now");
    if (fd >= 0)
        close(fd);
}

static void on_peer(struct agent *agent, struct watch *watch, uint32_t events)
{
    static struct local_message message; /* 16 KiB, of the one thread that runs this */
    struct peer *peer = watch_owner(watch, struct peer, watch);
    (void)events;

    for (int i = 0; i < PACKETS_A_TURN && peer->used; i++) {
        int fd;
        int rc = local_receive(watch->fd, &message, &fd, 0);

        if (rc == RK_ETIMEDOUT)
            return;
        if (rc == RK_EPROTO)
            peer_refuse(agent, peer, rc, "this is no packet of this version of reknit");
        if (rc != 0) {
            peer_close(agent, peer);
            return;
        }
        take_packet(agent, peer, &message, fd);
    }
}

/* ---- connections ------------------------------------------------------------------------------
 */

void peer_close(struct agent *agent, struct peer *peer)
{
    struct rank *rank = peer->rank;

    if (!peer->used)
        return;
    peer->used = false;
    declare_forget(peer);
    watch_drop(agent, &peer->watch);
    peer->rank = NULL;
    if (rank != NULL)
        rank_detached(agent, rank);
    if (peer->kind == PEER_CARRIER || peer->kind == PEER_CARRIER_WAITING)
        carrier_lost(agent, peer);
}

static struct peer *free_peer(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_PEERS; i++)
        /* a carrier's entry stays until its process is dead */
        if (!agent->peer[i].used && agent->peer[i].alive.fd < 0)
            return &agent->peer[i];
    return NULL;
}

static void on_connection(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct ucred who;
    socklen_t size = sizeof who;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)events;

    if (fd < 0)
        return;
    struct peer *peer = free_peer(agent);
    if (peer == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 ||
        who.uid != geteuid()) {
        agent->refused++;
        close(fd);
        return;
    }
    *peer = (struct peer){.used = true, .pid = who.pid, .watch.fd = -1, .alive.fd = -1};
    if (watch_add(agent, &peer->watch, fd, EPOLLIN, on_peer) != 0)
        peer->used = false;
}

int local_server_open(struct agent *agent, struct rk_why *why)
{
    int fd;
    int rc = local_listen(agent->socket_path, &fd, why);

    if (rc == 0 && watch_add(agent, &agent->listener, fd, EPOLLIN, on_connection) != 0)
        rc = rk_fail(why, RK_EIO, "cannot watch the agent's socket");
    return rc;
}

void local_server_close(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_PEERS; i++) {
        peer_close(agent, &agent->peer[i]);
        watch_drop(agent, &agent->peer[i].alive);
    }
    if (agent->listener.fd >= 0)
        unlink(agent->socket_path);
    watch_drop(agent, &agent->listener);
}
