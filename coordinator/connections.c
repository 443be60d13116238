/* The book of connections; see connections.h. */
#include "coordinator/connections.h"

#include "common/error.h"

#include <stdlib.h>

#define MAX_DESCRIPTOR (1 << 20)

struct connection {
    bool open;
    uint64_t peer;     /* 0: has not spoken */
    uint64_t previous; /* of the connection that had the number before */
    bool unsure;       /* `peer` is that of `previous` again: come back, or a late message */
};

void connections_done(struct connections *connections)
{
    free(connections->table);
    id_map_done(&connections->fd_of);
    id_map_done(&connections->closed);
    *connections = (struct connections){0};
}

static struct connection *at(struct connections *connections, int fd)
{
    struct connection *table;
    uint32_t size = connections->size ? connections->size : 64;

    if (fd < 0 || fd >= MAX_DESCRIPTOR)
        return NULL;
    if ((uint32_t)fd < connections->size)
        return &connections->table[fd];
    while (size <= (uint32_t)fd)
        size *= 2;
    table = realloc(connections->table, size * sizeof *table);
    if (!table)
        return NULL;
    for (uint32_t i = connections->size; i < size; i++)
        table[i] = (struct connection){0};
    connections->table = table;
    connections->size = size;
    return &table[fd];
}

/* Maps hold pointers; a descriptor travels as one, plus 1 so that it is never NULL. */
static void *as_value(int fd)
{
    return (void *)(uintptr_t)(fd + 1);
}

static bool speaks_over(const struct connections *connections, uint64_t peer, int fd)
{
    return id_map_find(&connections->fd_of, peer) == as_value(fd);
}

/* The connection that `peer` spoke over is gone; of a peer that has moved on to another one that
 * says nothing. */
static int note_closed(struct connections *connections, uint64_t peer, int fd)
{
    if (peer == 0 || !speaks_over(connections, peer, fd))
        return 0;
    id_map_remove(&connections->fd_of, peer);
    return id_map_put(&connections->closed, peer, as_value(fd));
}

static int set(struct connections *connections, int fd, bool open)
{
    struct connection *connection = at(connections, fd);
    uint64_t peer;

    if (!connection)
        return RK_ENOMEM;
    peer = connection->peer;
    *connection = (struct connection){
        .open = open,
        .previous = peer ? peer : connection->previous,
    };
    return note_closed(connections, peer, fd);
}

int connections_accepted(struct connections *connections, int fd)
{
    return set(connections, fd, true);
}

int connections_disconnected(struct connections *connections, int fd)
{
    return set(connections, fd, false);
}

/* A message of a connection that has ended already.  If the peer has no other, its close follows:
 * these may be its first words here as well as its last. */
static int note_late(struct connections *connections, int fd, uint64_t peer)
{
    if (connections_has(connections, peer))
        return 0;
    return id_map_put(&connections->closed, peer, as_value(fd));
}

static int bind_peer(struct connections *connections, int fd, uint64_t peer)
{
    struct connection *connection = &connections->table[fd];
    uint64_t before = connection->peer;

    connection->unsure = before == 0 && peer == connection->previous;
    connection->peer = peer;
    if (note_closed(connections, before, fd) != 0)
        return RK_ENOMEM;
    id_map_remove(&connections->closed, peer);
    return id_map_put(&connections->fd_of, peer, as_value(fd));
}

int connections_message(struct connections *connections, int fd, uint64_t peer)
{
    struct connection *connection = at(connections, fd);

    if (!connection)
        return RK_ENOMEM;
    if (connection->open && connection->peer == peer)
        return 0;
    if (!connection->open || id_map_find(&connections->closed, peer) == as_value(fd) ||
        (connection->peer != 0 && !connection->unsure))
        return note_late(connections, fd, peer);
    return bind_peer(connections, fd, peer);
}

uint64_t connections_take_closed(struct connections *connections)
{
    for (uint32_t i = 0; i < connections->closed.capacity && connections->closed.count > 0; i++) {
        uint64_t peer = connections->closed.entry[i].id;

        if (peer != 0) {
            id_map_remove(&connections->closed, peer);
            return peer;
        }
    }
    return 0;
}

bool connections_has(const struct connections *connections, uint64_t peer)
{
    return id_map_find(&connections->fd_of, peer) != NULL;
}
