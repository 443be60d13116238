/* A connection to the coordinator: a ZeroMQ DEALER with CURVE that reconnects for ever, or listens
 * for a coordinator that dials, and keeps nothing for one that is not there.
 *
 * Threads: one.  No call blocks (link_up waits for some microseconds, 20 ms at most, once for each
 * connection). */
#ifndef RK_COMMON_LINK_H
#define RK_COMMON_LINK_H

#include "common/error.h"
#include "common/secret.h"
#include "common/wire.h"

#include <stdbool.h>
#include <stdint.h>

struct link;

/* Starts connecting.  `sender` becomes the routing id and the sender of each message. */
int link_open(const struct secret *secret, uint64_t sender, struct link **link, struct rk_why *why);
/* As link_open, but waits to be dialled, at `address` (of this machine, in numbers) and `port`; who
 * has not the coordinator's private key gets nothing.  For the time that two coordinators dial (the
 * older one finds out from us that it is over) each gets a part of what is sent. */
int link_listen(const struct secret *secret, uint64_t sender, const char *address, uint16_t port,
                struct link **link, struct rk_why *why);
/* Lets messages already sent go out for at most linger_ms, then closes; takes NULL. */
void link_close(struct link *link, int linger_ms);

/* The socket for zmq_poll (ZMQ_POLLIN); a void * of libzmq. */
void *link_socket(struct link *link);
/* A second socket for zmq_poll: readable when the connection came up or went down.  After it, call
 * link_up(): true when the handshake is done.  On each change from down to up, say hello again. */
void *link_monitor(struct link *link);
bool link_up(struct link *link);

/* Sends; fills version, token, epoch and sender of *envelope.  RK_EAGENT when nobody is connected:
 * the message is dropped (state is said again in hello and heartbeat). */
int link_send(struct link *link, Rk__Envelope *envelope);

/* The next message or RK_ETIMEDOUT when there is none now.  RK_EVERSION: the job's coordinator
 * speaks another version; it is no use to go on.  Messages that do not decode, carry
 * another token or a lower epoch are dropped and counted.  Freed by wire_free.  The highest epoch
 * seen is kept and sent. */
int link_receive(struct link *link, Rk__Envelope **envelope);
uint32_t link_epoch(const struct link *link);
uint64_t link_dropped(const struct link *link);

#endif
