/* The coordinator's end of the control plane: a ROUTER with CURVE on a listening socket that it was
 * given, which dials those agents that listen themselves, and the book of who is connected.
 *
 * What comes out of server_next is a checked message of a peer that knows the job's token, speaks
 * under its own id and in its role; everything else is refused and counted here.  A connection
 * that closed comes out as SERVER_CLOSED after the last message that came over it.
 *
 * Threads: one (libzmq has its own inside).  No call blocks. */
#ifndef RK_COORDINATOR_SERVER_H
#define RK_COORDINATOR_SERVER_H

#include "common/error.h"
#include "common/secret.h"
#include "common/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct server;

#define SERVER_COUNTERS(X)                                                           \
    X(malformed)      /* not a message, or of a kind that only we send */            \
    X(oversized)      /* larger than allowed, or with a field that is */             \
    X(wrong_version)  /* of another wire version */                                  \
    X(wrong_token)    /* of somebody who is not of this job */                       \
    X(stale_epoch)    /* to a coordinator before this one */                         \
    X(unknown_sender) /* before a hello, under another's id, or in another's role */ \
    X(dropped)        /* messages of ours whose receiver was full or gone */

struct server_counters {
#define X(name) uint64_t name;
    SERVER_COUNTERS(X)
#undef X
};

enum server_input_kind { SERVER_MESSAGE, SERVER_CLOSED };

struct server_input {
    enum server_input_kind kind;
    uint64_t sender;
    Rk__Role role;
    Rk__Envelope *envelope; /* SERVER_MESSAGE: freed by wire_free */
};

/* Takes over `listen_fd`, bound and listening, also on failure. */
int server_open(const struct secret *secret, int listen_fd, uint32_t epoch, struct server **server,
                struct rk_why *why);
/* Lets messages go out for at most linger_ms, then closes; takes NULL. */
void server_close(struct server *server, int linger_ms);

/* For zmq_poll, ZMQ_POLLIN both. */
void *server_socket(struct server *server);
void *server_monitor(struct server *server);

/* The next input: 0, or RK_ETIMEDOUT when there is none now. */
int server_next(struct server *server, struct server_input *input);
/* True: there is a further one, of which zmq_poll says nothing. */
bool server_has_more(const struct server *server);

/* Sends; fills version, token, epoch and sender.  RK_EAGENT: not connected; RK_EFULL: its queue is
 * full (said once in the log until one goes through again); RK_ENOMEM.  The message is dropped
 * then.
 */
int server_send(struct server *server, uint64_t to, Rk__Envelope *envelope);

/* Dials an agent that listens at `endpoint`, tcp://ADDRESS:PORT with a numeric address, again and
 * again until it is hung up; does nothing when that is done already.  RK_EINVAL, RK_ENOMEM. */
int server_dial(struct server *server, const char *endpoint, struct rk_why *why);
/* No more; the connection that is there ends. */
void server_hang_up(struct server *server, const char *endpoint);
/* Hangs up on all endpoints but these. */
void server_dial_only(struct server *server, char *const *endpoint, size_t count);

/* Whether `sender` has said hello over a connection that is still there. */
bool server_connected(const struct server *server, uint64_t sender);

/* How many have said hello and are still there. */
uint32_t server_peers(const struct server *server);

const struct server_counters *server_counters(const struct server *server);
/* The highest epoch that a peer with the right token spoke to; above ours: we are superseded. */
uint32_t server_highest_epoch(const struct server *server);

#endif
