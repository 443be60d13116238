/* Agents that are simulated, many in one process: each listens at an address of its own, with the
 * real handshake and the real messages, and has one rank that does nothing.
 *
 *   fleet.c    the loop, what is read and printed      agent.c    one agent
 *
 * What is read, a line each (a kubelet's part, and the test's):
 *     start ADDRESS PORT TICKET UID NAME     a pod runs, and its agent listens
 *     stop ADDRESS, cut ADDRESS              that agent is gone; its connection with it, at once
 *     mark N MEMBERS                         from now on it is told what happens first:
 * What is printed, T in seconds since 1970:
 *     stopped N T    an agent hung up
 *     told N T       the first agent was told to stand still, or to start a rank
 *     whole N T      MEMBERS agents were told that they are so many
 *     fenced NAME    an agent was told that it is out */
#ifndef RK_TESTS_FLEET_H
#define RK_TESTS_FLEET_H

#include "common/secret.h"
#include "common/wire.h"

#include <stdbool.h>
#include <stdint.h>

#define FLEET_ADDRESS 48

struct agent {
    struct agent *next;
    void *socket;
    int fd;   /* readable when the socket may have something */
    int link; /* of its connection, 0: none yet */
    bool listens;
    char address[FLEET_ADDRESS], uid[64], name[96];
    unsigned port;
    uint64_t id, serial;
    uint32_t ticket, epoch;
    bool welcome;       /* known to the coordinator that it is connected to */
    uint64_t word;      /* of the plan in force */
    uint64_t frozen;    /* the newest freeze */
    uint64_t say_at;    /* the next hello or heartbeat; UINT64_MAX: nobody has dialled */
    uint64_t heartbeat; /* ns between two */
    uint32_t world, members;
    bool member;
    uint32_t joined; /* number of the mark that it was counted for */
    Rk__RankStatus rank;
};

/* What the test waits for. */
struct mark {
    uint32_t number, members;
    uint32_t joined; /* agents that were told so */
    bool told;
};

struct fleet {
    void *context;
    struct secret secret;
    struct agent *first;
    int poll; /* epoll(7) */
    uint64_t now;
    uint64_t heartbeat; /* 0: as the coordinator says */
    int32_t last_pid;
    bool ended; /* nobody tells us more */
    char line[512];
    uint32_t line_size;
    struct mark mark;
};

/* ---- agent.c --------------------------------------------------------------------------------- */

/* Makes its socket.  RK_EUNAVAILABLE. */
int agent_open(struct fleet *fleet, struct agent *agent);
/* Tries to listen: the agent that had the address before may not have let go of it yet. */
void agent_listen(struct agent *agent);
/* Its connection, which must stand, ends now: libzmq would close it at some time after a stop. */
void agent_cut(struct agent *agent);
void agent_stop(struct agent *agent);
/* Takes what has come, and says what is due. */
void agent_turn(struct fleet *fleet, struct agent *agent);
/* So too, when something has happened to its socket. */
void agent_wake(struct fleet *fleet, struct agent *agent);

/* ---- fleet.c --------------------------------------------------------------------------------- */

/* An agent was told to stand still or to start. */
void fleet_told(struct fleet *fleet);
/* An agent was told that it is one of `members`. */
void fleet_joined(struct fleet *fleet, struct agent *agent, uint32_t members);

#endif
