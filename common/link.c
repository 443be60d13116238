/* A DEALER that reconnects for ever, or listens; see link.h.
 *
 * ZMQ_IMMEDIATE keeps libzmq from queueing for a coordinator that is not there, and the socket's
 * monitor says when the CURVE handshake is done, which is when messages can flow.  Heartbeats are
 * messages of ours, since only they show that the coordinator's loop turns.
 *
 * One that listens may be called by anybody, and the monitor does not say who hung up.  So the
 * connection that the coordinator speaks over is known by its messages, and only the end of that
 * one counts; a peer takes messages (POLLOUT) only after its handshake. */
#include "common/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 500
#define ATTACH_MS 20
#define QUEUE 1000 /* messages, each way */

struct link {
    void *context;
    void *socket;
    void *monitor;
    struct secret secret;
    uint64_t sender;
    uint64_t serial; /* of the last message */
    uint64_t dropped;
    uint32_t epoch; /* highest seen */
    bool listens;   /* at the secret's endpoint; else it connects to it */
    int speaker;    /* listening: descriptor that the last message came over, -1: none */
    bool shaken;    /* the handshake is done */
    bool up;        /* and messages can go */
};

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int set_options(struct link *link)
{
    char public_key[41];
    char private_key[41];
    uint8_t routing_id[WIRE_ROUTING_ID_BYTES];
    int64_t most = WIRE_MAX_FRAME;
    void *socket = link->socket;
    int rc = 0;

    if (zmq_curve_keypair(public_key, private_key) != 0)
        return -1;
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, link->secret.public_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, private_key, 41);
    wire_routing_id(link->sender, routing_id);
    rc |= zmq_setsockopt(socket, ZMQ_ROUTING_ID, routing_id, sizeof routing_id);
    rc |= zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
    rc |= set_int(socket, ZMQ_IMMEDIATE, 1);
    rc |= set_int(socket, ZMQ_LINGER, 0);
    rc |= set_int(socket, ZMQ_SNDHWM, QUEUE);
    rc |= set_int(socket, ZMQ_RCVHWM, QUEUE);
    rc |= set_int(socket, ZMQ_IPV6, 1);
    rc |= set_int(socket, ZMQ_HANDSHAKE_IVL, WIRE_HANDSHAKE_MS);
    rc |= set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    rc |= set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    explicit_bzero(private_key, sizeof private_key);
    return rc;
}

/* The other end of the monitor takes any number of events, or libzmq's own thread would block. */
static int open_monitor(struct link *link)
{
    char address[64];

    snprintf(address, sizeof address, "inproc://link-%p", (void *)link);
    link->monitor = zmq_socket(link->context, ZMQ_PAIR);
    if (!link->monitor || set_int(link->monitor, ZMQ_RCVHWM, 0) != 0 ||
        set_int(link->monitor, ZMQ_LINGER, 0) != 0)
        return -1;
    if (zmq_socket_monitor(link->socket, address,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0)
        return -1;
    return zmq_connect(link->monitor, address);
}

static int start(struct link *link)
{
    link->context = zmq_ctx_new();
    if (!link->context)
        return -1;
    link->socket = zmq_socket(link->context, ZMQ_DEALER);
    if (!link->socket || set_options(link) != 0 || open_monitor(link) != 0)
        return -1;
    return link->listens ? zmq_bind(link->socket, link->secret.endpoint)
                         : zmq_connect(link->socket, link->secret.endpoint);
}

/* `endpoint` NULL: the secret's. */
static int open_link(const struct secret *secret, uint64_t sender, const char *endpoint,
                     struct link **link, struct rk_why *why)
{
    struct link *fresh;

    if (sender == 0)
        return rk_fail(why, RK_EINVAL, "a sender's id is not 0");
    fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return rk_fail(why, RK_ENOMEM, "no memory for a connection");
    fresh->secret = *secret;
    explicit_bzero(fresh->secret.private_key, sizeof fresh->secret.private_key);
    fresh->sender = sender;
    fresh->listens = endpoint != NULL;
    if (endpoint)
        snprintf(fresh->secret.endpoint, sizeof fresh->secret.endpoint, "%s", endpoint);
    fresh->speaker = -1;
    if (start(fresh) != 0) {
        int rc = rk_fail(why, endpoint ? RK_EUNAVAILABLE : RK_EINVAL, "cannot %s %s: %s",
                         endpoint ? "listen at" : "connect to", fresh->secret.endpoint,
                         zmq_strerror(zmq_errno()));

        link_close(fresh, 0);
        return rc;
    }
    *link = fresh;
    return 0;
}

int link_open(const struct secret *secret, uint64_t sender, struct link **link, struct rk_why *why)
{
    return open_link(secret, sender, NULL, link, why);
}

int link_listen(const struct secret *secret, uint64_t sender, const char *address, uint16_t port,
                struct link **link, struct rk_why *why)
{
    char endpoint[sizeof secret->endpoint];

    if (port == 0 || strlen(address) > sizeof endpoint - 16)
        return rk_fail(why, RK_EINVAL, "%s:%u is no address to listen at", address, port);
    snprintf(endpoint, sizeof endpoint, strchr(address, ':') ? "tcp://[%s]:%u" : "tcp://%s:%u",
             address, port);
    return open_link(secret, sender, endpoint, link, why);
}

void link_close(struct link *link, int linger_ms)
{
    if (!link)
        return;
    if (link->socket) {
        zmq_socket_monitor(link->socket, NULL, 0);
        set_int(link->socket, ZMQ_LINGER, linger_ms);
        zmq_close(link->socket);
    }
    if (link->monitor)
        zmq_close(link->monitor);
    while (link->context && zmq_ctx_term(link->context) != 0 && zmq_errno() == EINTR)
        continue;
    explicit_bzero(&link->secret, sizeof link->secret);
    free(link);
}

void *link_socket(struct link *link)
{
    return link->socket;
}

void *link_monitor(struct link *link)
{
    return link->monitor;
}

/* libzmq says that the handshake is done a moment before it takes messages. */
static bool takes_messages(struct link *link, long timeout_ms)
{
    zmq_pollitem_t item = {.socket = link->socket, .events = ZMQ_POLLOUT};

    return zmq_poll(&item, 1, timeout_ms) > 0;
}

/* An event is two frames: number (16 bits) and value (32 bits), then the address. */
static bool take_event(struct link *link, bool *news)
{
    uint8_t frame[256];
    uint16_t event;
    int32_t fd;

    if (zmq_recv(link->monitor, frame, sizeof frame, ZMQ_DONTWAIT) < 6)
        return false;
    memcpy(&event, frame, sizeof event);
    memcpy(&fd, frame + sizeof event, sizeof fd);
    zmq_recv(link->monitor, frame, sizeof frame, ZMQ_DONTWAIT);
    if (link->listens && event == ZMQ_EVENT_DISCONNECTED && fd != link->speaker) {
        link->up = link->up && takes_messages(link, 0);
        return true;
    }
    link->shaken = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED || link->listens;
    link->speaker = -1;
    link->up = false;
    *news = true;
    return true;
}

bool link_up(struct link *link)
{
    bool before = link->up;
    bool news = false;

    while (take_event(link, &news))
        continue;
    if (before &&
        news) /* another connection by now, perhaps: this call says that the old is gone */
        return false;
    if (link->shaken && !link->up)
        link->up = takes_messages(link, news ? ATTACH_MS : 0);
    return link->up;
}

int link_send(struct link *link, Rk__Envelope *envelope)
{
    uint8_t *data;
    size_t size;
    int rc;

    envelope->wire_version = WIRE_VERSION;
    envelope->token.data = link->secret.token;
    envelope->token.len = sizeof link->secret.token;
    envelope->epoch = link->epoch;
    envelope->sender = link->sender;
    envelope->serial = ++link->serial;
    rc = wire_encode(envelope, &data, &size);
    if (rc)
        return rc;
    do {
        rc = zmq_send(link->socket, data, size, ZMQ_DONTWAIT);
    } while (rc < 0 && zmq_errno() == EINTR);
    free(data);
    return rc < 0 ? RK_EAGENT : 0;
}

/* Receives one whole message; frames after the first are not ours and spoil it. */
static int receive_frame(struct link *link, zmq_msg_t *frame, bool *whole)
{
    int rc;

    do {
        rc = zmq_msg_recv(frame, link->socket, ZMQ_DONTWAIT);
    } while (rc < 0 && zmq_errno() == EINTR);
    if (rc < 0)
        return RK_ETIMEDOUT;
    if (link->listens)
        link->speaker = zmq_msg_get(frame, ZMQ_SRCFD);
    *whole = !zmq_msg_more(frame);
    while (zmq_msg_more(frame) && zmq_msg_recv(frame, link->socket, ZMQ_DONTWAIT) >= 0)
        continue;
    return 0;
}

/* 0: *envelope is for the caller.  RK_EVERSION: it is of the job, but not to be understood.  Else
 * it is to be dropped. */
static int judge_frame(struct link *link, zmq_msg_t *frame, Rk__Envelope **envelope)
{
    Rk__Envelope *decoded = NULL;
    int rc = wire_decode(zmq_msg_data(frame), zmq_msg_size(frame), WIRE_MAX_FRAME, &decoded, NULL);

    if (decoded == NULL)
        return rc;
    if (!secret_token_matches(&link->secret, decoded->token.data, decoded->token.len))
        rc = RK_EACCES;
    else if (rc == 0 && decoded->epoch < link->epoch)
        rc = RK_ESTALE;
    if (rc) {
        wire_free(decoded);
        return rc;
    }
    link->epoch = decoded->epoch;
    *envelope = decoded;
    return 0;
}

int link_receive(struct link *link, Rk__Envelope **envelope)
{
    for (;;) {
        zmq_msg_t frame;
        bool whole = false;
        int rc;

        zmq_msg_init(&frame);
        if (receive_frame(link, &frame, &whole) != 0) {
            zmq_msg_close(&frame);
            return RK_ETIMEDOUT;
        }
        rc = whole ? judge_frame(link, &frame, envelope) : RK_EPROTO;
        zmq_msg_close(&frame);
        if (rc == 0)
            return 0;
        link->dropped++;
        if (rc == RK_EVERSION)
            return rc;
    }
}

uint32_t link_epoch(const struct link *link)
{
    return link->epoch;
}

uint64_t link_dropped(const struct link *link)
{
    return link->dropped;
}
