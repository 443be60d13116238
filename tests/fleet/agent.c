/* One simulated agent; see fleet.h. */
#include "tests/fleet/fleet.h"

#include "common/clock.h"
#include "common/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#define HELLO_AGAIN (500 * RK_MS)
#define HEARTBEAT (100 * RK_MS)
#define QUEUE 1000

/* ---- the socket, as common/link.c has it
 * --------------------------------------------------------- */

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int set_options(const struct fleet *fleet, const struct agent *agent)
{
    uint8_t routing_id[WIRE_ROUTING_ID_BYTES];
    char public_key[41];
    char private_key[41];
    void *socket = agent->socket;
    int rc = zmq_curve_keypair(public_key, private_key);

    wire_routing_id(agent->id, routing_id);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, fleet->secret.public_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, public_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, private_key, 41);
    rc |= zmq_setsockopt(socket, ZMQ_ROUTING_ID, routing_id, sizeof routing_id);
    rc |= set_int(socket, ZMQ_IMMEDIATE, 1);
    rc |= set_int(socket, ZMQ_LINGER, 0);
    rc |= set_int(socket, ZMQ_SNDHWM, QUEUE);
    rc |= set_int(socket, ZMQ_RCVHWM, QUEUE);
    return rc;
}

int agent_open(struct fleet *fleet, struct agent *agent)
{
    size_t size = sizeof agent->fd;
    int rc = secret_random_id(&agent->id, NULL);

    agent->heartbeat = fleet->heartbeat ? fleet->heartbeat : HEARTBEAT;
    rk__rank_status__init(&agent->rank);
    agent->socket = zmq_socket(fleet->context, ZMQ_DEALER);
    if (rc != 0 || agent->socket == NULL || set_options(fleet, agent) != 0)
        return RK_EUNAVAILABLE;
    return zmq_getsockopt(agent->socket, ZMQ_FD, &agent->fd, &size) == 0 ? 0 : RK_EUNAVAILABLE;
}

void agent_listen(struct agent *agent)
{
    char endpoint[FLEET_ADDRESS + 16];

    snprintf(endpoint, sizeof endpoint, "tcp://%s:%u", agent->address, agent->port);
    agent->listens = zmq_bind(agent->socket, endpoint) == 0;
}

void agent_cut(struct agent *agent)
{
    if (agent->link > 0)
        shutdown(agent->link, SHUT_RDWR);
}

void agent_stop(struct agent *agent)
{
    if (agent->socket != NULL)
        zmq_close(agent->socket);
    agent->socket = NULL;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static bool say(struct fleet *fleet, struct agent *agent, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    uint8_t *data;
    size_t size;
    int rc;

    envelope.body_case = kind;
    envelope.hello = body; /* all members of the union are pointers */
    envelope.wire_version = WIRE_VERSION;
    envelope.token.data = fleet->secret.token;
    envelope.token.len = sizeof fleet->secret.token;
    envelope.epoch = agent->epoch;
    envelope.sender = agent->id;
    envelope.serial = ++agent->serial;
    if (wire_encode(&envelope, &data, &size) != 0)
        return false;
    rc = zmq_send(agent->socket, data, size, ZMQ_DONTWAIT);
    free(data);
    return rc >= 0;
}

static bool say_hello(struct fleet *fleet, struct agent *agent)
{
    Rk__Hello hello = RK__HELLO__INIT;
    Rk__RankStatus *ranks[] = {&agent->rank};

    hello.host = agent->id;
    hello.host_name = agent->name;
    hello.address = agent->address;
    hello.identity = agent->uid;
    hello.slots = 1;
    hello.pid = hello.warden_pid = 1;
    hello.ticket = agent->ticket;
    hello.word = agent->word;
    hello.frozen_word = agent->frozen;
    hello.world = agent->world;
    hello.members = agent->members;
    hello.member = agent->member;
    hello.lineage = agent->word;
    hello.stop_at = UINT64_MAX;
    hello.rank = ranks;
    hello.n_rank = 1;
    return say(fleet, agent, RK__ENVELOPE__BODY_HELLO, &hello);
}

static bool say_heartbeat(struct fleet *fleet, struct agent *agent)
{
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;
    Rk__RankStatus *ranks[] = {&agent->rank};

    heartbeat.word = agent->word;
    heartbeat.rank = ranks;
    heartbeat.n_rank = 1;
    return say(fleet, agent, RK__ENVELOPE__BODY_HEARTBEAT, &heartbeat);
}

static void say_ack(struct fleet *fleet, struct agent *agent)
{
    Rk__FreezeAck ack = RK__FREEZE_ACK__INIT;
    Rk__RankStatus *ranks[] = {&agent->rank};

    ack.word = agent->frozen;
    ack.rank = ranks;
    ack.n_rank = 1;
    ack.lineage = agent->word;
    say(fleet, agent, RK__ENVELOPE__BODY_FREEZE_ACK, &ack);
}

/* ---- what it is told ------------------------------------------------------------------------- */

static void take_welcome(struct fleet *fleet, struct agent *agent, const Rk__Envelope *envelope)
{
    agent->welcome = true;
    agent->epoch = envelope->epoch;
    if (fleet->heartbeat == 0 && envelope->welcome->heartbeat_ns > 0)
        agent->heartbeat = envelope->welcome->heartbeat_ns;
    /* not all at one time */
    agent->say_at = fleet->now + agent->id % agent->heartbeat;
}

static void take_start(struct fleet *fleet, struct agent *agent, const Rk__StartRanks *start)
{
    fleet_told(fleet);
    for (size_t i = 0; i < start->n_slot; i++) {
        if (start->slot[i] != 0)
            continue;
        if (agent->rank.state != RK__RANK_STATE__RANK_EMPTY && !start->replace)
            continue;
        agent->rank.rank = start->rank[i];
        agent->rank.state = RK__RANK_STATE__RANK_STARTING;
        agent->rank.pid = ++fleet->last_pid;
        agent->rank.generation = start->generation;
        agent->rank.start = i < start->n_start ? start->start[i] : 0;
        agent->say_at = fleet->now;
        fleet_joined(fleet, agent, start->world_size);
    }
}

static void take_freeze(struct fleet *fleet, struct agent *agent, const Rk__Freeze *freeze)
{
    if (freeze->word < agent->frozen || freeze->word == agent->word)
        return;
    agent->frozen = freeze->word;
    fleet_told(fleet);
    say_ack(fleet, agent);
}

static void take_go(struct fleet *fleet, struct agent *agent, const Rk__Go *go)
{
    if (agent->frozen != go->word || agent->word >= go->word)
        return;
    agent->word = go->word;
    agent->world = go->world;
    agent->members = go->members;
    agent->member = go->n_local > 0;
    if (agent->member)
        fleet_joined(fleet, agent, go->members);
}

static void take_refused(struct fleet *fleet, struct agent *agent, const Rk__Refused *refused)
{
    if (!refused->final) {
        agent->welcome = false;
        agent->epoch = 0;
        agent->say_at = fleet->now;
        return;
    }
    printf("fenced %s\n", agent->name);
    agent_stop(agent);
}

static void take(struct fleet *fleet, struct agent *agent, const Rk__Envelope *envelope)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_WELCOME:
        take_welcome(fleet, agent, envelope);
        break;
    case RK__ENVELOPE__BODY_START_RANKS:
        take_start(fleet, agent, envelope->start_ranks);
        break;
    case RK__ENVELOPE__BODY_FREEZE:
        take_freeze(fleet, agent, envelope->freeze);
        break;
    case RK__ENVELOPE__BODY_GO:
        take_go(fleet, agent, envelope->go);
        break;
    case RK__ENVELOPE__BODY_REFUSED:
        take_refused(fleet, agent, envelope->refused);
        break;
    case RK__ENVELOPE__BODY_SHUTDOWN:
        agent_stop(agent);
        break;
    default:
        break;
    }
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void receive(struct fleet *fleet, struct agent *agent)
{
    while (agent->socket != NULL) {
        Rk__Envelope *envelope = NULL;
        zmq_msg_t frame;

        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, agent->socket, ZMQ_DONTWAIT) < 0)
            return;
        agent->link = zmq_msg_get(&frame, ZMQ_SRCFD);
        if (wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), WIRE_MAX_FRAME, &envelope,
                        NULL) == 0)
            take(fleet, agent, envelope);
        wire_free(envelope);
        zmq_msg_close(&frame);
    }
}

static bool hears_us(const struct agent *agent)
{
    int events = 0;
    size_t size = sizeof events;

    return zmq_getsockopt(agent->socket, ZMQ_EVENTS, &events, &size) == 0 &&
           (events & ZMQ_POLLOUT) != 0;
}

/* A coordinator that has just dialled is greeted at once. */
static void speak(struct fleet *fleet, struct agent *agent)
{
    bool said =
        agent->welcome ? say_heartbeat(fleet, agent) : hears_us(agent) && say_hello(fleet, agent);

    if (!said)
        agent->welcome = false;
    agent->say_at =
        said ? fleet->now + (agent->welcome ? agent->heartbeat : HELLO_AGAIN) : UINT64_MAX;
}

/* Sending may take the sign that something has come: so it is looked for after that. */
void agent_turn(struct fleet *fleet, struct agent *agent)
{
    if (agent->socket != NULL && fleet->now >= agent->say_at)
        speak(fleet, agent);
    receive(fleet, agent);
}

void agent_wake(struct fleet *fleet, struct agent *agent)
{
    receive(fleet, agent);
    if (agent->say_at == UINT64_MAX)
        agent->say_at = 0;
    if (fleet->now >= agent->say_at)
        agent_turn(fleet, agent);
}
