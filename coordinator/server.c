/* The ROUTER; see server.h. */
#include "coordinator/server.h"

#include "common/log.h"
#include "coordinator/connections.h"
#include "coordinator/dials.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#define CONNECT_MS 2000
#define REDIAL_MS 50
#define REDIAL_MAX_MS 1000
#define SEND_QUEUE 1000 /* messages for one peer */
#define RECEIVE_QUEUE 4 /* messages of one peer, of thousands; more wait in its socket */
#define MAX_PEERS 262144u
#define MESSAGES_BEFORE_CLOSES 1024u
#define BATCH 64u /* messages that are received at once */

struct peer {
    uint64_t id;
    Rk__Role role;
    bool full; /* a message was dropped, and said so */
};

/* As it came, and was not looked at. */
struct message {
    zmq_msg_t name, body;
    bool whole; /* it has two parts */
};

struct server {
    void *context;
    void *socket;
    void *monitor;
    struct secret secret;
    uint32_t epoch;
    uint32_t highest_epoch;
    struct id_map peers; /* those that said hello: id -> struct peer */
    struct connections connections;
    struct dials dials;
    struct server_counters counters;
    uint32_t messages; /* since the last close */
    struct message batch[BATCH];
    uint32_t taken, received; /* of the batch */
    int listen_fd;            /* until libzmq has it */
};

/* ---- opening --------------------------------------------------------------------------------- */

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int set_options(struct server *server)
{
    void *socket = server->socket;
    int64_t most = WIRE_MAX_FRAME;
    int rc = 0;

    rc |= set_int(socket, ZMQ_CURVE_SERVER, 1);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, server->secret.private_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    rc |= set_int(socket, ZMQ_ROUTER_HANDOVER, 1);
    rc |= set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    rc |= set_int(socket, ZMQ_LINGER, 0);
    rc |= set_int(socket, ZMQ_SNDHWM, SEND_QUEUE);
    rc |= set_int(socket, ZMQ_RCVHWM, RECEIVE_QUEUE);
    rc |= set_int(socket, ZMQ_HANDSHAKE_IVL, WIRE_HANDSHAKE_MS);
    /* what is for an agent that hung up must not reach the next one at its address */
    rc |= set_int(socket, ZMQ_IMMEDIATE, 1);
    rc |= set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    rc |= set_int(socket, ZMQ_RECONNECT_IVL, REDIAL_MS);
    rc |= set_int(socket, ZMQ_RECONNECT_IVL_MAX, REDIAL_MAX_MS);
    rc |= set_int(socket, ZMQ_IPV6, 1);
    rc |= set_int(socket, ZMQ_USE_FD, server->listen_fd);
    return rc;
}

/* Any number of events may wait, or libzmq's own thread would block. */
static int open_monitor(struct server *server)
{
    char address[64];

    snprintf(address, sizeof address, "inproc://server-%p", (void *)server);
    server->monitor = zmq_socket(server->context, ZMQ_PAIR);
    if (!server->monitor || set_int(server->monitor, ZMQ_RCVHWM, 0) != 0 ||
        set_int(server->monitor, ZMQ_LINGER, 0) != 0)
        return -1;
    if (zmq_socket_monitor(server->socket, address,
                           ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED))
        return -1;
    return zmq_connect(server->monitor, address);
}

/* libzmq takes the descriptor and goes by it; the address is for its syntax check only. */
static int start(struct server *server)
{
    server->context = zmq_ctx_new();
    if (!server->context)
        return -1;
    server->socket = zmq_socket(server->context, ZMQ_ROUTER);
    if (!server->socket || set_options(server) != 0 || open_monitor(server) != 0)
        return -1;
    if (zmq_bind(server->socket, "tcp://127.0.0.1:1") != 0)
        return -1;
    server->listen_fd = -1;
    return set_int(server->socket, ZMQ_USE_FD, -1);
}

static int check_listening(int fd, struct rk_why *why)
{
    int listening = 0;
    socklen_t size = sizeof listening;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
        !listening)
        return rk_fail(why, RK_EINVAL, "--listen-fd %d is not a listening socket", fd);
    /* An accept() whose caller went away must not block libzmq's thread. */
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return rk_fail(why, RK_EIO, "--listen-fd %d cannot be set up", fd);
    return 0;
}

int server_open(const struct secret *secret, int listen_fd, uint32_t epoch, struct server **server,
                struct rk_why *why)
{
    struct server *fresh = calloc(1, sizeof *fresh);
    int rc = check_listening(listen_fd, why);

    if (!fresh || rc) {
        free(fresh);
        if (listen_fd >= 0)
            close(listen_fd);
        return rc ? rc : rk_fail(why, RK_ENOMEM, "no memory for the server");
    }
    fresh->secret = *secret;
    fresh->epoch = epoch;
    fresh->highest_epoch = epoch;
    fresh->listen_fd = listen_fd;
    if (start(fresh) != 0) {
        rc = rk_fail(why, RK_EUNAVAILABLE, "cannot listen: %s", zmq_strerror(zmq_errno()));
        server_close(fresh, 0);
        return rc;
    }
    *server = fresh;
    return 0;
}

static void forget_batch(struct server *server)
{
    for (; server->taken < server->received; server->taken++) {
        zmq_msg_close(&server->batch[server->taken].name);
        zmq_msg_close(&server->batch[server->taken].body);
    }
}

static void free_peers(struct server *server)
{
    struct peer *peer;
    uint32_t cursor = 0;

    while ((peer = id_map_next(&server->peers, &cursor)) != NULL)
        free(peer);
    id_map_done(&server->peers);
}

void server_close(struct server *server, int linger_ms)
{
    if (!server)
        return;
    forget_batch(server);
    if (server->socket) {
        zmq_socket_monitor(server->socket, NULL, 0);
        set_int(server->socket, ZMQ_LINGER, linger_ms);
        zmq_close(server->socket);
    }
    if (server->monitor)
        zmq_close(server->monitor);
    while (server->context && zmq_ctx_term(server->context) != 0 && zmq_errno() == EINTR)
        continue;
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    free_peers(server);
    connections_done(&server->connections);
    dials_done(&server->dials);
    explicit_bzero(&server->secret, sizeof server->secret);
    free(server);
}

void *server_socket(struct server *server)
{
    return server->socket;
}

void *server_monitor(struct server *server)
{
    return server->monitor;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* An event is two frames: number (16 bits) and value (32 bits), then the address, which of a
 * connection that we made is the endpoint. */
static bool take_event(struct server *server)
{
    uint8_t frame[256];
    char endpoint[256];
    uint16_t event;
    int32_t fd;
    int size;
    int rc;

    if (zmq_recv(server->monitor, frame, sizeof frame, ZMQ_DONTWAIT) < 6)
        return false;
    memcpy(&event, frame, sizeof event);
    memcpy(&fd, frame + sizeof event, sizeof fd);
    size = zmq_recv(server->monitor, endpoint, sizeof endpoint - 1, ZMQ_DONTWAIT);
    endpoint[size < 0 || size >= (int)sizeof endpoint ? 0 : size] = '\0';
    if (event == ZMQ_EVENT_DISCONNECTED) {
        if (dials_connection(&server->dials, endpoint) == fd)
            dials_connected(&server->dials, endpoint, -1);
        rc = connections_disconnected(&server->connections, fd);
    } else {
        if (event == ZMQ_EVENT_CONNECTED)
            dials_connected(&server->dials, endpoint, fd);
        rc = connections_accepted(&server->connections, fd);
    }
    if (rc)
        rk_warn("connection %d is not watched, no memory: its end will show by silence", fd);
    return true;
}

static void drain_monitor(struct server *server)
{
    while (take_event(server))
        continue;
}

static bool take_closed(struct server *server, struct server_input *input)
{
    uint64_t id;

    while ((id = connections_take_closed(&server->connections)) != 0) {
        struct peer *peer = id_map_remove(&server->peers, id);

        if (!peer)
            continue;
        *input = (struct server_input){.kind = SERVER_CLOSED, .sender = id, .role = peer->role};
        free(peer);
        return true;
    }
    return false;
}

/* ---- dialling -------------------------------------------------------------------------------- */

int server_dial(struct server *server, const char *endpoint, struct rk_why *why)
{
    int rc = dials_add(&server->dials, endpoint, why);

    if (rc == DIALS_KNOWN)
        return 0;
    if (rc == 0 && zmq_connect(server->socket, endpoint) != 0) {
        dials_remove(&server->dials, endpoint);
        return rk_fail(why, RK_EINVAL, "cannot dial %s: %s", endpoint, zmq_strerror(zmq_errno()));
    }
    return rc;
}

/* libzmq tells no monitor of a connection that it was asked to end. */
void server_hang_up(struct server *server, const char *endpoint)
{
    int fd;

    drain_monitor(server);
    fd = dials_connection(&server->dials, endpoint);
    if (fd >= 0 && connections_disconnected(&server->connections, fd) != 0)
        rk_warn("connection %d has ended, no memory to say so: it will show by silence", fd);
    zmq_disconnect(server->socket, endpoint);
    dials_remove(&server->dials, endpoint);
}

void server_dial_only(struct server *server, char *const *endpoint, size_t count)
{
    const char *other;

    dials_mark(&server->dials, endpoint, count);
    while ((other = dials_unmarked(&server->dials)) != NULL)
        server_hang_up(server, other);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Who may say what; NONE: nobody but us. */
static Rk__Role role_of(const Rk__Envelope *envelope)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_HELLO:
    case RK__ENVELOPE__BODY_HEARTBEAT:
    case RK__ENVELOPE__BODY_RANK_EXITED:
    case RK__ENVELOPE__BODY_FREEZE_ACK:
    case RK__ENVELOPE__BODY_SNAPSHOT_TAKEN:
    case RK__ENVELOPE__BODY_SHARD_WRITTEN:
    case RK__ENVELOPE__BODY_STATE_LOADED:
    case RK__ENVELOPE__BODY_CARRIER_STATE:
    case RK__ENVELOPE__BODY_RSH_REQUEST:
    case RK__ENVELOPE__BODY_RSH_STARTED:
    case RK__ENVELOPE__BODY_PROGRESS:
    case RK__ENVELOPE__BODY_GOODBYE:
    case RK__ENVELOPE__BODY_COMM_ID:
    case RK__ENVELOPE__BODY_COMM_FAILED:
    case RK__ENVELOPE__BODY_LINE_READY:
    case RK__ENVELOPE__BODY_EXEC_ENDED:
    case RK__ENVELOPE__BODY_EXEC_DATA:
    case RK__ENVELOPE__BODY_EXEC_TAKEN:
    case RK__ENVELOPE__BODY_LEAVING:
        return RK__ROLE__ROLE_WORKER;
    case RK__ENVELOPE__BODY_LAUNCHER_HELLO:
    case RK__ENVELOPE__BODY_WORKER_GONE:
    case RK__ENVELOPE__BODY_LAUNCH_FAILED:
    case RK__ENVELOPE__BODY_DIAL:
    case RK__ENVELOPE__BODY_NOTICE:
    case RK__ENVELOPE__BODY_RESIZE:
        return RK__ROLE__ROLE_LAUNCHER;
    case RK__ENVELOPE__BODY_REQUEST:
        return RK__ROLE__ROLE_CLIENT;
    default:
        return RK__ROLE__ROLE_NONE;
    }
}

static bool is_hello(const Rk__Envelope *envelope)
{
    return envelope->body_case == RK__ENVELOPE__BODY_HELLO ||
           envelope->body_case == RK__ENVELOPE__BODY_LAUNCHER_HELLO ||
           envelope->body_case == RK__ENVELOPE__BODY_REQUEST;
}

static void refuse(struct server *server, uint64_t to, int code, bool final, const char *why)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Refused refused = RK__REFUSED__INIT;

    refused.code = code;
    refused.final = final;
    refused.why = (char *)why;
    envelope.body_case = RK__ENVELOPE__BODY_REFUSED;
    envelope.refused = &refused;
    server_send(server, to, &envelope);
}

static struct peer *add_peer(struct server *server, uint64_t id, Rk__Role role)
{
    struct peer *peer;

    if (server->peers.count >= MAX_PEERS)
        return NULL;
    peer = calloc(1, sizeof *peer);
    if (!peer || id_map_put(&server->peers, id, peer) != 0) {
        free(peer);
        return NULL;
    }
    peer->id = id;
    peer->role = role;
    return peer;
}

/* A frame that came under `id` over connection `fd`. */
struct frame {
    uint64_t id;
    int fd;
    const uint8_t *data;
    size_t size;
};

/* The role under which a sound message is taken, or NONE when it is refused.  A hello is answered
 * by whoever takes it; anything else of a peer that said none is answered here. */
static Rk__Role admit(struct server *server, const struct frame *frame,
                      const Rk__Envelope *envelope)
{
    struct peer *peer = id_map_find(&server->peers, frame->id);
    Rk__Role role = role_of(envelope);

    if (role == RK__ROLE__ROLE_NONE) {
        server->counters.malformed++;
        return RK__ROLE__ROLE_NONE;
    }
    if (envelope->sender != frame->id || (peer && peer->role != role)) {
        server->counters.unknown_sender++;
        return RK__ROLE__ROLE_NONE;
    }
    if (envelope->epoch > server->highest_epoch)
        server->highest_epoch = envelope->epoch;
    if (role == RK__ROLE__ROLE_WORKER && !is_hello(envelope) && envelope->epoch != server->epoch) {
        server->counters.stale_epoch++;
        refuse(server, frame->id, RK_ESTATE, false, "another coordinator was meant: say hello");
        return RK__ROLE__ROLE_NONE;
    }
    if (!peer && is_hello(envelope))
        peer = add_peer(server, frame->id, role);
    if (!peer) {
        server->counters.unknown_sender++;
        refuse(server, frame->id, RK_ESTATE, false, "not known here: say hello first");
        return RK__ROLE__ROLE_NONE;
    }
    return role;
}

static void count_undecoded(struct server *server, const struct frame *frame,
                            const Rk__Envelope *foreign, int rc, const struct rk_why *why)
{
    if (rc == RK_EFULL)
        server->counters.oversized++;
    else if (rc == RK_EVERSION)
        server->counters.wrong_version++;
    else
        server->counters.malformed++;
    rk_debug("connection %d refused: %s", frame->fd, why->text);
    if (foreign && secret_token_matches(&server->secret, foreign->token.data, foreign->token.len)) {
        rk_warn("%s", why->text);
        refuse(server, frame->id, RK_EVERSION, true, why->text);
    }
}

/* Decodes and judges; true: *input is a message. */
static bool take_frame(struct server *server, const struct frame *frame, struct server_input *input)
{
    bool known = id_map_find(&server->peers, frame->id) != NULL;
    struct rk_why why = {""};
    Rk__Envelope *envelope = NULL;
    Rk__Role role;
    int rc = wire_decode(frame->data, frame->size, known ? WIRE_MAX_FRAME : WIRE_MAX_STRANGER,
                         &envelope, &why);

    if (rc) {
        count_undecoded(server, frame, envelope, rc, &why);
        wire_free(envelope);
        return false;
    }
    if (!secret_token_matches(&server->secret, envelope->token.data, envelope->token.len)) {
        server->counters.wrong_token++;
        wire_free(envelope);
        return false;
    }
    role = admit(server, frame, envelope);
    if (role == RK__ROLE__ROLE_NONE) {
        wire_free(envelope);
        return false;
    }
    if (connections_message(&server->connections, frame->fd, frame->id) != 0)
        rk_warn("peer %016llx is not watched, no memory: its end will show by silence",
                (unsigned long long)frame->id);
    *input = (struct server_input){SERVER_MESSAGE, frame->id, role, envelope};
    return true;
}

static int receive_part(struct server *server, zmq_msg_t *part)
{
    int rc;

    zmq_msg_init(part);
    do {
        rc = zmq_msg_recv(part, server->socket, ZMQ_DONTWAIT);
    } while (rc < 0 && zmq_errno() == EINTR);
    return rc;
}

/* The rest of a message that has more parts than ours have. */
static void skip_parts(struct server *server)
{
    zmq_msg_t part;
    int more = 1;

    while (more) {
        if (receive_part(server, &part) < 0)
            more = 0;
        else
            more = zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
}

static bool known_id(zmq_msg_t *name, uint64_t *id)
{
    uint8_t expected[WIRE_ROUTING_ID_BYTES];

    if (zmq_msg_size(name) != WIRE_ROUTING_ID_BYTES)
        return false;
    memcpy(id, (const uint8_t *)zmq_msg_data(name) + 1, sizeof *id);
    wire_routing_id(*id, expected);
    return *id != 0 && memcmp(zmq_msg_data(name), expected, sizeof expected) == 0;
}

/* One message off the socket.  False: there is none. */
static bool receive(struct server *server, struct message *message)
{
    if (receive_part(server, &message->name) < 0) {
        zmq_msg_close(&message->name);
        return false;
    }
    zmq_msg_init(&message->body);
    message->whole = zmq_msg_more(&message->name) && receive_part(server, &message->body) >= 0 &&
                     !zmq_msg_more(&message->body);
    if (zmq_msg_more(&message->body))
        skip_parts(server);
    return true;
}

/* To look at the monitor costs as much as to take a message: once for many. */
static void fill_batch(struct server *server)
{
    server->taken = server->received = 0;
    while (server->received < BATCH && receive(server, &server->batch[server->received]))
        server->received++;
    drain_monitor(server);
}

/* True: *input is a message. */
static bool take_message(struct server *server, struct message *message, struct server_input *input)
{
    struct frame frame = {.fd = zmq_msg_get(&message->body, ZMQ_SRCFD),
                          .data = zmq_msg_data(&message->body),
                          .size = zmq_msg_size(&message->body)};
    bool taken = false;

    if (!message->whole)
        server->counters.malformed++;
    else if (!known_id(&message->name, &frame.id))
        server->counters.unknown_sender++;
    else
        taken = take_frame(server, &frame, input);
    zmq_msg_close(&message->name);
    zmq_msg_close(&message->body);
    return taken;
}

bool server_has_more(const struct server *server)
{
    return server->taken < server->received;
}

int server_next(struct server *server, struct server_input *input)
{
    bool taken = false;

    while (!taken && (server->messages < MESSAGES_BEFORE_CLOSES || server_has_more(server))) {
        if (!server_has_more(server))
            fill_batch(server);
        if (!server_has_more(server))
            break;
        taken = take_message(server, &server->batch[server->taken++], input);
        server->messages++;
    }
    if (taken)
        return 0;
    server->messages = 0;
    return take_closed(server, input) ? 0 : RK_ETIMEDOUT;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_parts(struct server *server, uint64_t to, const uint8_t *data, size_t size)
{
    uint8_t name[WIRE_ROUTING_ID_BYTES];
    int rc;

    wire_routing_id(to, name);
    do {
        rc = zmq_send(server->socket, name, sizeof name, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    } while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        return zmq_errno() == EAGAIN ? RK_EFULL : RK_EAGENT;
    do {
        rc = zmq_send(server->socket, data, size, ZMQ_DONTWAIT);
    } while (rc < 0 && zmq_errno() == EINTR);
    return rc < 0 ? RK_EAGENT : 0;
}

static void note_sent(struct server *server, uint64_t to, int rc)
{
    struct peer *peer = id_map_find(&server->peers, to);

    server->counters.dropped += rc != 0;
    if (!peer)
        return;
    if (rc == RK_EFULL && !peer->full)
        rk_warn("peer %016llx does not read, messages to it are dropped", (unsigned long long)to);
    peer->full = rc == RK_EFULL;
}

int server_send(struct server *server, uint64_t to, Rk__Envelope *envelope)
{
    uint8_t *data;
    size_t size;
    int rc;

    envelope->wire_version = WIRE_VERSION;
    envelope->token.data = server->secret.token;
    envelope->token.len = sizeof server->secret.token;
    envelope->epoch = server->epoch;
    envelope->sender = to;
    rc = wire_encode(envelope, &data, &size);
    if (rc == 0) {
        rc = send_parts(server, to, data, size);
        free(data);
    }
    note_sent(server, to, rc);
    return rc;
}

bool server_connected(const struct server *server, uint64_t sender)
{
    return id_map_find(&server->peers, sender) != NULL &&
           connections_has(&server->connections, sender);
}

uint32_t server_peers(const struct server *server)
{
    return server->peers.count;
}

const struct server_counters *server_counters(const struct server *server)
{
    return &server->counters;
}

uint32_t server_highest_epoch(const struct server *server)
{
    return server->highest_epoch;
}
