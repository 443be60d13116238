/* Which peer speaks over which TCP connection, so that the end of one is the end of the other.
 *
 * libzmq names a connection by its descriptor, in the events of its monitor and with each message,
 * and the kernel gives a descriptor's number away again at once.  Two facts keep the book right:
 * libzmq says "disconnected" before it closes a descriptor, hence before anything of a later
 * connection of the same number; and whoever has drained the monitor after taking a message knows
 * of everything up to that message's connection.  So: drain, then connections_message.  A message
 * may still be of an earlier connection than the one that has the number now; then its sender's
 * close is on its way already and nothing is noted. */
#ifndef RK_COORDINATOR_CONNECTIONS_H
#define RK_COORDINATOR_CONNECTIONS_H

#include "coordinator/id_map.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;

struct connections {
    struct connection *table; /* by descriptor */
    uint32_t size;
    struct id_map fd_of;  /* peer -> its descriptor + 1, as a pointer */
    struct id_map closed; /* peers whose close has not been taken yet */
};

void connections_done(struct connections *connections);

/* The monitor said so.  RK_ENOMEM: closes may be missed (silence will tell). */
int connections_accepted(struct connections *connections, int fd);
int connections_disconnected(struct connections *connections, int fd);

/* `peer` said something over `fd`, and the monitor is drained. */
int connections_message(struct connections *connections, int fd, uint64_t peer);

/* The next peer whose connection has closed and that has no other, or 0. */
uint64_t connections_take_closed(struct connections *connections);
bool connections_has(const struct connections *connections, uint64_t peer);

#endif
