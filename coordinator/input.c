/* Messages to events of the core. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <string.h>

#define SHARD_WORDS (RK_MAX_SHARDS / 64)

static struct core_event event_of(const struct coordinator *c, enum core_event_kind kind,
                                  uint64_t worker)
{
    return (struct core_event){.kind = kind, .now = c->now, .worker = {worker}};
}

static void take_positions(struct coordinator *c, const struct core_worker_status *status)
{
    for (uint32_t slot = 0; slot < status->slots; slot++)
        if (status->rank[slot].has_state)
            rate_take(c, status->rank[slot].position);
}

/* When it will end is what its launcher knows, if anybody does. */
static void take_leaving(struct coordinator *c, uint64_t worker)
{
    struct core_event event = event_of(c, CORE_EV_DRAIN, worker);

    coordinator_feed(c, &event);
}

static void take_hello(struct coordinator *c, uint64_t id, uint64_t serial, const Rk__Hello *hello)
{
    struct core_event event = event_of(c, CORE_EV_HELLO, id);
    struct core_worker_status status;
    struct worker_info *worker;

    workers_prune(&c->workers, c->core);
    worker = workers_hello(&c->workers, id, hello);
    if (!worker) {
        output_refuse(c, id, RK_ENOMEM, "the coordinator has no memory for another worker");
        return;
    }
    if (workers_status(worker, hello->rank, hello->n_rank, hello->snapshot_step,
                       hello->n_snapshot_step, &status) != 0) {
        output_refuse(c, id, RK_EPROTO, "the hello names a slot that it does not have");
        return;
    }
    launches_came(c, hello->ticket);
    take_positions(c, &status);
    event.serial = serial;
    event.word = hello->word;
    event.hello.host.value = hello->host;
    event.hello.ticket = hello->ticket;
    event.hello.members = hello->members;
    event.hello.member = hello->member;
    event.hello.frozen_word = hello->frozen_word;
    event.hello.lineage = hello->lineage;
    event.hello.deal_step = hello->deal_step;
    event.hello.stop_at = hello->stop_at;
    for (size_t i = 0; i < hello->n_carrier && i < 2; i++)
        event.hello.carrier[i] = (struct core_carrier){
            .job = hello->carrier[i]->job,
            .place = hello->carrier[i]->place,
            .hosts = hello->carrier[i]->hosts,
            .runs = hello->carrier[i]->runs != 0,
            .standby = hello->carrier[i]->standby != 0,
        };
    event.hello.status = &status;
    coordinator_feed(c, &event);
    if (hello->leaving)
        take_leaving(c, id);
}

static void take_heartbeat(struct coordinator *c, struct worker_info *worker, uint64_t serial,
                           const Rk__Heartbeat *heartbeat)
{
    struct core_event event = event_of(c, CORE_EV_HEARTBEAT, worker->id);
    struct core_worker_status status;

    worker->word = heartbeat->word;
    worker->layout_hash = heartbeat->layout_hash;
    worker->state_bytes = heartbeat->state_bytes;
    worker->gradient_bytes = heartbeat->gradient_bytes;
    worker->arena_bytes = heartbeat->arena_bytes;
    worker->carrier_bytes = heartbeat->carrier_bytes;
    if (heartbeat->batch)
        worker->batch = heartbeat->batch;
    if (workers_status(worker, heartbeat->rank, heartbeat->n_rank, heartbeat->snapshot_step,
                       heartbeat->n_snapshot_step, &status) != 0) {
        output_refuse(c, worker->id, RK_EPROTO, "a heartbeat names a slot that it does not have");
        return;
    }
    take_positions(c, &status);
    event.serial = serial;
    event.word = heartbeat->word;
    event.heartbeat.status = &status;
    coordinator_feed(c, &event);
}

/* Bits come as bytes, the least significant first; those past the last shard must not be set. */
static int take_bits(const ProtobufCBinaryData *bytes, uint32_t shards, uint64_t done[SHARD_WORDS])
{
    memset(done, 0, SHARD_WORDS * sizeof *done);
    for (size_t i = 0; i < bytes->len; i++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            size_t shard = 8 * i + bit;

            if (!(bytes->data[i] & (1u << bit)))
                continue;
            if (shard >= shards)
                return RK_EDATA;
            done[shard / 64] |= UINT64_C(1) << (shard % 64);
        }
    }
    return 0;
}

static void take_freeze_ack(struct coordinator *c, struct worker_info *worker, uint64_t serial,
                            const Rk__FreezeAck *ack)
{
    struct core_event event = event_of(c, CORE_EV_FREEZE_ACK, worker->id);
    struct core_worker_status status;
    uint64_t done[SHARD_WORDS];

    if (workers_status(worker, ack->rank, ack->n_rank, ack->snapshot_step, ack->n_snapshot_step,
                       &status) != 0 ||
        take_bits(&ack->done, c->config.shards, done) != 0) {
        output_refuse(c, worker->id, RK_EPROTO, "an ack names slots or shards that are not there");
        return;
    }
    event.serial = serial;
    event.word = ack->word;
    event.freeze_ack.status = &status;
    event.freeze_ack.complete_step = ack->complete_step;
    event.freeze_ack.deal_step = ack->deal_step;
    event.freeze_ack.lineage = ack->lineage;
    event.freeze_ack.max_nodes = ack->max_nodes;
    event.freeze_ack.done = done;
    coordinator_feed(c, &event);
}

static void keep_last_words(struct coordinator *c, const struct worker_info *worker,
                            const Rk__RankExited *exited)
{
    size_t length = strlen(exited->last_lines);
    size_t skip = length >= LAST_WORDS_MAX ? length - (LAST_WORDS_MAX - 1) : 0;

    if (exited->exit_code == 0 && exited->signal == 0)
        return;
    c->last_words.rank = exited->rank;
    snprintf(c->last_words.host, sizeof c->last_words.host, "%s", worker->host_name);
    snprintf(c->last_words.lines, sizeof c->last_words.lines, "%s", exited->last_lines + skip);
}

static void take_rank_exited(struct coordinator *c, struct worker_info *worker,
                             const Rk__RankExited *exited)
{
    struct core_event event = event_of(c, CORE_EV_RANK_EXITED, worker->id);

    if (exited->slot >= worker->slots) {
        output_refuse(c, worker->id, RK_EPROTO, "a rank exited in a slot that is not there");
        return;
    }
    keep_last_words(c, worker, exited);
    worker->rank[exited->slot].pid = 0;
    if (exited->left) /* it may have come further than the last heartbeat knew */
        rate_take(c, exited->position);
    event.rank_exited.slot = exited->slot;
    event.rank_exited.exit_code = exited->exit_code;
    event.rank_exited.signal = exited->signal;
    event.rank_exited.stopped = exited->stopped;
    event.rank_exited.stalled = exited->stalled;
    event.rank_exited.out_of_memory = exited->out_of_memory;
    event.rank_exited.joined = exited->joined;
    event.rank_exited.left = exited->left;
    event.rank_exited.position = exited->position;
    event.rank_exited.detect = exited->detect_ns;
    event.rank_exited.pid = exited->pid;
    event.rank_exited.start = exited->start;
    coordinator_feed(c, &event);
}

static void take_snapshot(struct coordinator *c, uint64_t worker, const Rk__SnapshotTaken *taken)
{
    struct core_event event = event_of(c, CORE_EV_SNAPSHOT, worker);

    event.snapshot.step = taken->step;
    event.snapshot.missed = taken->missed;
    event.snapshot.took = taken->took_ns;
    coordinator_feed(c, &event);
}

static void take_loaded(struct coordinator *c, const struct worker_info *worker,
                        const Rk__StateLoaded *loaded)
{
    struct core_event event = event_of(c, CORE_EV_LOADED, worker->id);

    if (loaded->code != 0)
        rk_warn("checkpoint of step %llu is refused by host %s: %s",
                (unsigned long long)loaded->step, worker->host_name, loaded->why);
    if (loaded->code == RK_ELAYOUT) {
        coordinator_fail(c, rk_error_exit_code(RK_ELAYOUT),
                         "the newest checkpoint in %s is of another program: %s.  Use another "
                         "--checkpoint-dir, or the program that made it",
                         c->options.checkpoint_dir, loaded->why);
        return;
    }
    event.word = loaded->word;
    event.loaded.step = loaded->step;
    event.loaded.code = loaded->code;
    coordinator_feed(c, &event);
}

static void take_progress(struct coordinator *c, uint64_t worker, const Rk__Progress *progress)
{
    struct core_event event = event_of(c, CORE_EV_PROGRESS, worker);

    rate_take(c, progress->position);
    event.word = progress->word;
    event.progress.position = progress->position;
    coordinator_feed(c, &event);
}

static void take_from_worker(struct coordinator *c, uint64_t id, const Rk__Envelope *envelope)
{
    struct worker_info *worker = workers_find(&c->workers, id);

    if (envelope->body_case == RK__ENVELOPE__BODY_HELLO) {
        take_hello(c, id, envelope->serial, envelope->hello);
        return;
    }
    if (!worker) {
        output_refuse(c, id, RK_ESTATE, "not known here: say hello first");
        return;
    }
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_HEARTBEAT:
        take_heartbeat(c, worker, envelope->serial, envelope->heartbeat);
        break;
    case RK__ENVELOPE__BODY_RANK_EXITED:
        take_rank_exited(c, worker, envelope->rank_exited);
        break;
    case RK__ENVELOPE__BODY_FREEZE_ACK:
        take_freeze_ack(c, worker, envelope->serial, envelope->freeze_ack);
        break;
    case RK__ENVELOPE__BODY_SNAPSHOT_TAKEN:
        take_snapshot(c, id, envelope->snapshot_taken);
        break;
    case RK__ENVELOPE__BODY_SHARD_WRITTEN:
        saves_written(c, id, envelope->shard_written);
        break;
    case RK__ENVELOPE__BODY_STATE_LOADED:
        take_loaded(c, worker, envelope->state_loaded);
        break;
    case RK__ENVELOPE__BODY_CARRIER_STATE:
        carriers_state(c, id, envelope->carrier_state);
        break;
    case RK__ENVELOPE__BODY_RSH_REQUEST:
        carriers_rsh(c, id, envelope->rsh_request);
        break;
    case RK__ENVELOPE__BODY_RSH_STARTED:
        carriers_rsh_started(c, id, envelope->rsh_started);
        break;
    case RK__ENVELOPE__BODY_PROGRESS:
        take_progress(c, id, envelope->progress);
        break;
    case RK__ENVELOPE__BODY_COMM_ID:
        comms_id(c, id, envelope->comm_id);
        break;
    case RK__ENVELOPE__BODY_COMM_FAILED:
        comms_failed(c, id, envelope->comm_failed);
        break;
    case RK__ENVELOPE__BODY_LEAVING:
        rk_info("worker on %s will end soon: %s", worker->host_name, envelope->leaving->why);
        take_leaving(c, id);
        break;
    case RK__ENVELOPE__BODY_GOODBYE:
        rk_info("worker on %s leaves: %s", worker->host_name, envelope->goodbye->why);
        break;
    default:
        break;
    }
}

static void take_message(struct coordinator *c, const struct server_input *input)
{
    const Rk__Envelope *envelope = input->envelope;

    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_LAUNCHER_HELLO:
        launches_hello(c, input->sender, envelope->launcher_hello);
        break;
    case RK__ENVELOPE__BODY_WORKER_GONE:
        launches_gone(c, envelope->worker_gone);
        break;
    case RK__ENVELOPE__BODY_LAUNCH_FAILED:
        launches_failed(c, envelope->launch_failed);
        break;
    case RK__ENVELOPE__BODY_NOTICE:
        launches_notice(c, envelope->notice);
        break;
    case RK__ENVELOPE__BODY_DIAL:
        launches_dial(c, envelope->dial->endpoint, envelope->dial->hang_up);
        break;
    case RK__ENVELOPE__BODY_RESIZE:
        clients_resize(c, input->sender, envelope->resize);
        break;
    case RK__ENVELOPE__BODY_REQUEST:
        clients_request(c, input->sender, envelope->request);
        break;
    default:
        if (!c->ended)
            take_from_worker(c, input->sender, envelope);
        else if (envelope->body_case == RK__ENVELOPE__BODY_HELLO)
            output_shutdown_one(c, input->sender, c->why);
        break;
    }
}

static void take_closed(struct coordinator *c, const struct server_input *input)
{
    struct core_event event = event_of(c, CORE_EV_CLOSED, input->sender);

    switch (input->role) {
    case RK__ROLE__ROLE_WORKER:
        if (!c->ended)
            coordinator_feed(c, &event);
        break;
    case RK__ROLE__ROLE_LAUNCHER:
        if (c->launches.launcher == input->sender)
            c->launches.launcher = 0;
        break;
    default:
        clients_closed(c, input->sender);
        break;
    }
}

void input_take(struct coordinator *c, const struct server_input *input)
{
    if (input->kind == SERVER_CLOSED)
        take_closed(c, input);
    else
        take_message(c, input);
}
