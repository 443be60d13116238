/* What the agent says to the coordinator.  Nothing here keeps a message: what is lost is said
 * again by the next heartbeat, or by hello when the coordinator is back. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/agent/process.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#ifndef REKNIT_VERSION
#define REKNIT_VERSION "0.1.0"
#endif

/* One message: `body` is the struct that `kind` names. */
static int say(struct agent *agent, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;

    envelope.body_case = kind;
    envelope.hello = body; /* a union of pointers */
    return link_send(agent->link, &envelope);
}

/* The memory of one status message. */
struct status_room {
    Rk__RankStatus status[RK_MAX_SLOTS];
    Rk__RankStatus *list[RK_MAX_SLOTS];
    Rk__Number number[RK_MAX_SLOTS][ARENA_REPORTS];
    Rk__Number *numbers[RK_MAX_SLOTS][ARENA_REPORTS];
    char name[RK_MAX_SLOTS][ARENA_REPORTS][sizeof((struct arena_number *)NULL)->name];
    uint64_t snapshot[ARENA_SNAPSHOTS];
    Rk__HelloCarrier carrier[2];
    Rk__HelloCarrier *carriers[2];
};

static struct status_room room; /* of the loop's thread */

/* ---- the status of a rank ---------------------------------------------------------------------
 */

static Rk__RankState state_of(const struct agent *agent, const struct rank *rank)
{
    if (!rank_alive(rank))
        return rank->done ? RK__RANK_STATE__RANK_DONE : RK__RANK_STATE__RANK_EMPTY;
    if (rank->left)
        return RK__RANK_STATE__RANK_LEFT;
    if (rank->member)
        return RK__RANK_STATE__RANK_MEMBER;
    return rank->entered && freeze_knows(agent, rank) ? RK__RANK_STATE__RANK_READY
                                                      : RK__RANK_STATE__RANK_STARTING;
}

/* The numbers that the program reports.  Their names come from its memory: only what is printable.
 */
static size_t fill_numbers(const struct arena_seat *seat, uint32_t slot)
{
    uint32_t count = atomic_load(&seat->report_count);

    if (count > ARENA_REPORTS)
        count = ARENA_REPORTS;
    for (uint32_t i = 0; i < count; i++) {
        char *name = room.name[slot][i];

        memcpy(name, seat->report[i].name, sizeof room.name[slot][i]);
        name[sizeof room.name[slot][i] - 1] = '\0';
        for (char *at = name; *at != '\0'; at++)
            if (!isascii(*at) || !isprint(*at))
                *at = '?';
        room.number[slot][i] = (Rk__Number)RK__NUMBER__INIT;
        room.number[slot][i].name = name;
        room.number[slot][i].value = atomic_load(&seat->report[i].value);
        room.numbers[slot][i] = &room.number[slot][i];
    }
    return count;
}

static void fill_status(const struct agent *agent, const struct rank *rank)
{
    Rk__RankStatus *status = &room.status[rank->slot];
    struct arena_seat *seat = rank_seat(agent, rank);

    *status = (Rk__RankStatus)RK__RANK_STATUS__INIT;
    status->slot = rank->slot;
    status->rank = rank->name == AGENT_NO_RANK ? 0 : rank->name;
    status->state = state_of(agent, rank);
    status->pid = rank->attached_pid != 0 ? rank->attached_pid
                  : rank_alive(rank)      ? rank->pid
                                          : rank->ended_pid;
    status->generation = rank->generation;
    status->start = rank->start;
    if (rank->left || rank->done) {
        status->position = rank->position;
        /* how far it came is known, though the process may be gone: its state lies in the arena */
        status->has_state = rank->left || rank->position > 0;
    } else if (seat != NULL && rank->joined) {
        status->has_state = atomic_load(&seat->has_state) != 0;
        status->position = atomic_load(&seat->position);
    }
    if (seat != NULL && rank->joined) {
        status->comm_word = atomic_load(&seat->comm_word);
        status->busy_ns = rank->waits % ARENA_WAITS == ARENA_WAIT_NONE ? rank->lasts_ns : 0;
        status->n_numbers = fill_numbers(seat, rank->slot);
        status->numbers = room.numbers[rank->slot];
    }
    room.list[rank->slot] = status;
}

static size_t fill_statuses(const struct agent *agent)
{
    for (uint32_t i = 0; i < agent->options->slots; i++)
        fill_status(agent, &agent->rank[i]);
    return agent->options->slots;
}

static size_t fill_snapshots(const struct agent *agent)
{
    size_t count = 0;

    for (uint32_t k = 0; k < ARENA_SNAPSHOTS; k++) {
        uint64_t stamp = atomic_load(&agent->arena.header->snapshot[k].stamp);

        if (stamp != 0)
            room.snapshot[count++] = stamp - 1;
    }
    return count;
}

/* FNV-1a over the layout, once it is there; 0: it is not. */
static uint64_t layout_hash(struct agent *agent)
{
    const struct rk_layout *layout = arena_layout(&agent->arena);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    if (agent->layout_hash != 0 || layout == NULL)
        return agent->layout_hash;
    const unsigned char *bytes = (const unsigned char *)layout;
    for (uint64_t i = 0; i < layout->bytes && i < RK_LAYOUT_MAX_BYTES; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    agent->layout_hash = hash == 0 ? 1 : hash;
    return agent->layout_hash;
}

static uint64_t layout_batch(const struct agent *agent)
{
    const struct rk_layout *layout = arena_layout(&agent->arena);

    return layout == NULL ? 0 : layout->batch;
}

/* What the arena takes for the seats that have memory. */
static uint64_t footprint(const struct agent *agent)
{
    const struct arena_header *header = agent->arena.header;
    uint32_t seats = 0;

    for (uint32_t s = 0; s < ARENA_SEATS; s++)
        seats += atomic_load(&header->seat[s].allocated) != 0;
    return arena_layout(&agent->arena) == NULL ? 0 : arena_host_bytes(header, seats);
}

/* What runs here of the carriers that serve, and of those that stand by. */
static size_t fill_carriers(struct agent *agent)
{
    size_t count = 0;

    for (uint32_t standby = 0; standby < 2; standby++) {
        Rk__HelloCarrier *carrier = &room.carrier[count];

        rk__hello_carrier__init(carrier);
        carrier->job = standby ? agent->standby_job : agent->carrier_job;
        carrier->standby = standby != 0;
        for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
            carrier->runs |= agent->child[i].kind == CHILD_MPIRUN && !agent->child[i].ended &&
                             agent->child[i].job == carrier->job;
        for (uint32_t i = 0; i < AGENT_PEERS; i++) {
            const struct peer *peer = &agent->peer[i];

            if (!peer->used || peer->job != carrier->job ||
                (peer->kind != PEER_CARRIER && peer->kind != PEER_CARRIER_WAITING))
                continue;
            carrier->pid = peer->pid;
            carrier->place = peer->place;
            carrier->hosts = peer->of;
        }
        if (carrier->job != 0 && (carrier->runs || carrier->pid))
            room.carriers[count++] = carrier;
    }
    return count;
}

/* ---- hello, heartbeat -------------------------------------------------------------------------
 */

void say_hello(struct agent *agent)
{
    const struct arena_header *header = agent->arena.header;
    Rk__Hello hello = RK__HELLO__INIT;

    hello.host = header->host;
    hello.host_name = (char *)(uintptr_t)agent->options->host_name;
    hello.address = (char *)(uintptr_t)agent->options->address;
    hello.slots = agent->options->slots;
    hello.program_version = (char[]){REKNIT_VERSION};
    hello.pid = agent->pid;
    hello.warden_pid = agent->warden_pid;
    hello.word = agent->plan.word;
    hello.world = agent->plan.world;
    hello.members = agent->plan_members;
    hello.member = agent->plan_member;
    hello.frozen_word = agent->freeze.word;
    hello.lineage = agent->plan.lineage;
    hello.deal_step = agent->plan.deal_step;
    hello.stop_at = agent->plan.word == 0 ? ARENA_NO_STEP : agent->plan.stop_at;
    hello.n_rank = fill_statuses(agent);
    hello.rank = room.list;
    hello.ticket = agent->options->ticket;
    hello.n_carrier = fill_carriers(agent);
    hello.carrier = room.carriers;
    hello.n_snapshot_step = fill_snapshots(agent);
    hello.snapshot_step = room.snapshot;
    hello.layout_hash = layout_hash(agent);
    hello.state_bytes = header->state_bytes;
    hello.group = (uint32_t)strtoul(agent->options->group, NULL, 10);
    hello.batch = layout_batch(agent);
    hello.leaving = agent->leaving;
    say(agent, RK__ENVELOPE__BODY_HELLO, &hello);
}

void say_heartbeat(struct agent *agent)
{
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;

    heartbeat.word = agent->plan.word;
    heartbeat.n_rank = fill_statuses(agent);
    heartbeat.rank = room.list;
    heartbeat.layout_hash = layout_hash(agent);
    heartbeat.state_bytes = agent->arena.header->state_bytes;
    heartbeat.n_snapshot_step = fill_snapshots(agent);
    heartbeat.snapshot_step = room.snapshot;
    heartbeat.carrier_bytes = atomic_load(&agent->arena.header->carrier.bytes);
    heartbeat.batch = layout_batch(agent);
    heartbeat.gradient_bytes = agent->arena.header->grad_bytes;
    heartbeat.arena_bytes = footprint(agent);
    say(agent, RK__ENVELOPE__BODY_HEARTBEAT, &heartbeat);
}

void say_heartbeat_soon(struct agent *agent)
{
    agent->heartbeat_at = agent->now;
}

/* ---- what happened ----------------------------------------------------------------------------
 */

void say_rank_exited(struct agent *agent, const struct rank *rank, uint64_t detect)
{
    char tail[AGENT_TAIL + 1];
    Rk__RankExited exited = RK__RANK_EXITED__INIT;

    output_tail(rank, tail);
    exited.slot = rank->slot;
    exited.rank = rank->name;
    exited.pid = rank->attached_pid != 0 ? rank->attached_pid : rank->pid;
    exited.exit_code = WIFEXITED(rank->status) ? WEXITSTATUS(rank->status) : 0;
    exited.signal = WIFSIGNALED(rank->status) ? WTERMSIG(rank->status) : 0;
    exited.start = rank->start;
    exited.stopped = rank->killed_stopped;
    exited.stalled = rank->killed_stalled;
    exited.out_of_memory = rank->out_of_memory;
    exited.detect_ns = detect;
    exited.joined = rank->joined;
    exited.left = rank->left;
    exited.position = rank->left ? rank->position : 0;
    exited.last_lines = tail;
    say(agent, RK__ENVELOPE__BODY_RANK_EXITED, &exited);
    say_heartbeat_soon(agent);
}

void say_freeze_ack(struct agent *agent)
{
    Rk__FreezeAck ack = RK__FREEZE_ACK__INIT;
    struct arena_report report;
    uint8_t done[RK_MAX_SHARDS / 8];

    arena_report_read(&agent->arena, agent->worker, agent->freeze.word,
                      agent->plan.word == 0 ? NULL : &agent->plan, &report);
    for (uint32_t i = 0; i < sizeof done; i++)
        done[i] = (uint8_t)(report.done[i / 8] >> (i % 8 * 8));
    ack.word = agent->freeze.word;
    ack.n_rank = fill_statuses(agent);
    ack.rank = room.list;
    ack.complete_step = report.complete_step;
    ack.deal_step = report.deal_step;
    ack.lineage = report.lineage;
    ack.max_nodes = report.max_nodes;
    ack.done = (ProtobufCBinaryData){(agent->shards + 7) / 8, done};
    ack.n_snapshot_step = fill_snapshots(agent);
    ack.snapshot_step = room.snapshot;
    if (say(agent, RK__ENVELOPE__BODY_FREEZE_ACK, &ack) != 0)
        rk_debug("freeze %llx is acknowledged to nobody", (unsigned long long)ack.word);
}

void say_progress(struct agent *agent, uint64_t position)
{
    Rk__Progress progress = RK__PROGRESS__INIT;

    progress.word = agent->plan.word;
    progress.position = position;
    say(agent, RK__ENVELOPE__BODY_PROGRESS, &progress);
}

void say_snapshot(struct agent *agent, uint64_t step, bool missed, uint64_t took)
{
    Rk__SnapshotTaken taken = RK__SNAPSHOT_TAKEN__INIT;

    taken.step = step;
    taken.missed = missed;
    taken.took_ns = took;
    say(agent, RK__ENVELOPE__BODY_SNAPSHOT_TAKEN, &taken);
}

void say_shard_written(struct agent *agent, const struct child *child, int code, const char *why,
                       const void *report, size_t size)
{
    Rk__ShardWritten written = RK__SHARD_WRITTEN__INIT;

    written.attempt = child->attempt;
    written.code = code;
    written.why = (char *)(uintptr_t)why;
    written.report = (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)report};
    written.took_ns = agent->now - child->began;
    say(agent, RK__ENVELOPE__BODY_SHARD_WRITTEN, &written);
}

void say_state_loaded(struct agent *agent, rk_word word, uint64_t step, int code, const char *why)
{
    Rk__StateLoaded loaded = RK__STATE_LOADED__INIT;

    loaded.word = word;
    loaded.step = step;
    loaded.code = code;
    loaded.why = (char *)(uintptr_t)why;
    say(agent, RK__ENVELOPE__BODY_STATE_LOADED, &loaded);
}

void say_carrier_up(struct agent *agent, const struct peer *carrier)
{
    Rk__CarrierState state = RK__CARRIER_STATE__INIT;

    state.job = carrier->job;
    state.up = true;
    state.pid = carrier->pid;
    state.place = carrier->place;
    state.hosts = carrier->of;
    say(agent, RK__ENVELOPE__BODY_CARRIER_STATE, &state);
}

void say_carrier_lost(struct agent *agent, uint32_t job, pid_t pid, const char *why)
{
    Rk__CarrierState state = RK__CARRIER_STATE__INIT;

    state.job = job;
    state.pid = pid;
    state.why = (char *)(uintptr_t)why;
    say(agent, RK__ENVELOPE__BODY_CARRIER_STATE, &state);
}

int say_rsh_request(struct agent *agent, uint64_t request, const char *host, const char *command,
                    uint32_t job)
{
    Rk__RshRequest rsh = RK__RSH_REQUEST__INIT;

    rsh.request = request;
    rsh.host = (char *)(uintptr_t)host;
    rsh.command = (char *)(uintptr_t)command;
    rsh.job = job;
    return say(agent, RK__ENVELOPE__BODY_RSH_REQUEST, &rsh);
}

void say_rsh_started(struct agent *agent, uint64_t request, uint64_t to, int code, const char *why)
{
    Rk__RshStarted started = RK__RSH_STARTED__INIT;

    started.request = request;
    started.to = to;
    started.code = code;
    started.why = (char *)(uintptr_t)why;
    say(agent, RK__ENVELOPE__BODY_RSH_STARTED, &started);
}

void say_comm_id(struct agent *agent, rk_word word, const char *id, size_t size)
{
    Rk__CommId message = RK__COMM_ID__INIT;

    message.word = word;
    message.id = (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)id};
    say(agent, RK__ENVELOPE__BODY_COMM_ID, &message);
}

void say_comm_failed(struct agent *agent, rk_word word, uint32_t rank, uint64_t waited,
                     const char *why)
{
    Rk__CommFailed failed = RK__COMM_FAILED__INIT;

    failed.word = word;
    failed.rank = rank;
    failed.waited_ns = waited;
    failed.why = (char *)(uintptr_t)why;
    say(agent, RK__ENVELOPE__BODY_COMM_FAILED, &failed);
}

void say_leaving(struct agent *agent)
{
    Rk__Leaving leaving = RK__LEAVING__INIT;

    leaving.why = (char[]){"it was asked to end (SIGTERM)"};
    say(agent, RK__ENVELOPE__BODY_LEAVING, &leaving);
}

void say_goodbye(struct agent *agent, const char *why)
{
    Rk__Goodbye goodbye = RK__GOODBYE__INIT;

    goodbye.why = (char *)(uintptr_t)why;
    say(agent, RK__ENVELOPE__BODY_GOODBYE, &goodbye);
}
