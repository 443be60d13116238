/* What a rank, a carrier and reknit-rsh say to the agent of their host, over its Unix socket
 * (SOCK_SEQPACKET, path in the environment variable REKNIT_AGENT, in a directory of mode 0700).
 * One packet is one struct local_message.  libc only: this is part of libreknit.
 *
 *   rank                                   agent
 *   ATTACH                            ->         who it is follows from the peer's pid: it must be
 *                                     <-  WELCOME + arena fd      a started rank or below one
 *   DECLARE + fd of a memfd (layout)  ->
 *                                     <-  DECLARED (arena has its full size now)
 *   ENTER: ready for membership       ->
 *   ACK (word in a)                   ->         its seat holds position, has_state, ack_word
 *   PROGRESS (position in a)          ->         first finished step after a go
 *   SNAPSHOT (step in a)              ->         a snapshot became valid
 *   COMM_ID (word in a, id in text)   ->         the ranks of that generation meet by it; without
 *                                                one it is asked for
 *   COMM_FAILED (word in a, why in    ->         its communicator failed, with nobody known to
 *     text)                                     be lost
 *   LEFT (final position in a)        ->
 *
 *   carrier
 *   CARRIER (job in a, b: 2^32 times  ->         which of how many carriers it is
 *     how many, and which)            <-  WELCOME + arena fd
 *                                     <-  STARTED: from now on it serves, until then it waits
 *   ACK (word in a)                   ->
 *
 *   rsh
 *   RSH (host and command in text)    ->         mpirun wants its daemon started on another host
 *                                     <-  STARTED or REFUSED
 *
 *   agent of another worker of the same host group
 *   PEER                              ->         its uid must be ours
 *                                     <-  WELCOME + arena fd
 *
 * At any time the agent may answer REFUSED with a code and a sentence.  A closed socket means that
 * the other side is gone. */
#ifndef RK_WORKER_LOCAL_H
#define RK_WORKER_LOCAL_H

#include "common/error.h"

#include <stdint.h>

#define LOCAL_MAGIC UINT32_C(0x4c4b5231)
#define LOCAL_VERSION 2u
#define LOCAL_TEXT_MAX 16384u
#define LOCAL_ENV_AGENT "REKNIT_AGENT"

enum local_kind {
    LOCAL_ATTACH = 1,
    LOCAL_WELCOME,
    LOCAL_DECLARE,
    LOCAL_DECLARED,
    LOCAL_ENTER,
    LOCAL_ACK,
    LOCAL_PROGRESS,
    LOCAL_SNAPSHOT,
    LOCAL_LEFT,
    LOCAL_CARRIER,
    LOCAL_RSH,
    LOCAL_STARTED,
    LOCAL_REFUSED,
    LOCAL_PEER,
    LOCAL_COMM_ID,
    LOCAL_COMM_FAILED
};

struct local_message {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    int32_t code;         /* REFUSED: a negative rk_error */
    uint32_t seat;        /* WELCOME to a rank */
    uint32_t agent_block; /* WELCOME: index of the agent's block in the arena */
    uint32_t rank;        /* WELCOME to a rank */
    uint64_t a;
    uint64_t b;
    uint32_t text_size;        /* bytes of text, NUL not counted */
    char text[LOCAL_TEXT_MAX]; /* only text_size bytes of it travel; RSH: host NUL command */
};

/* Sends `message` (and `fd`, or -1) in one packet without blocking; magic and version are filled in
 * on the way.  RK_EAGENT when the peer is gone, RK_EFULL when its queue is full. */
int local_send(int socket, const struct local_message *message, int fd);

/* Receives one packet into *message; *fd is a received descriptor or -1 (the caller closes it).
 * 0; RK_EAGENT: the peer is gone; RK_ETIMEDOUT after timeout_ms (-1: none; 0: do not wait);
 * RK_EPROTO: not a packet of this protocol. */
int local_receive(int socket, struct local_message *message, int *fd, int timeout_ms);

/* A connected socket to `path`; RK_EAGENT when nobody listens there. */
int local_connect(const char *path, int *socket, struct rk_why *why);
/* A listening socket at `path` (mode 0600, must not exist). */
int local_listen(const char *path, int *socket, struct rk_why *why);

#endif
