/* Bytes as events over a small core, with its invariants walked after each step: no order of
 * messages, however absurd, may break one or leave the core asking for ticks for ever. */
#include "common/clock.h"
#include "coordinator/core/check.h"

#include <stdlib.h>
#include <string.h>

#define WORKERS 6u
#define RECORD 12u /* bytes of input for an event */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct core *core;
    struct core_config config;
    struct core_record record;
    bool recorded;
    uint32_t epoch;
    uint64_t now;
    uint64_t done[RK_MAX_SHARDS / 64];
    struct core_worker_status status;
};

static void start(struct fuzz *fuzz)
{
    if (core_new(&fuzz->config, fuzz->recorded ? &fuzz->record : NULL, ++fuzz->epoch, fuzz->now,
                 &fuzz->core, NULL))
        abort();
}

static void config_from(struct fuzz *fuzz, uint8_t bits)
{
    fuzz->config = (struct core_config){
        .capacity_workers = WORKERS,
        .min_workers = 1 + (bits & 1),
        .target_workers = 2 + ((bits >> 1) & 1),
        .max_workers = 4,
        .slots = 1,
        .max_slots = 2,
        .shards = 8,
        .mode = bits & 4 ? CORE_PROGRAM : CORE_AUTO,
        .launches = bits & 8,
        .gather = RK_S,
        .silence = RK_S,
        .launch_timeout = RK_S,
        .carrier_timeout = RK_S,
        .standby_carriers = true,
        .recover_timeout = RK_S,
        .checkpoint_timeout = RK_S,
        .checkpoints = bits & 16,
        .checkpoint_interval_steps = bits & 32 ? 3 : 0,
        .checkpoint_interval_ns = RK_S,
        .max_restarts = 100,
        .restart_window = RK_S,
        .program_failures = 3,
    };
}

static void step(struct fuzz *fuzz, const struct core_event *event)
{
    struct core_actions actions;

    core_step(fuzz->core, event, &actions);
    if (actions.count > CORE_MAX_ACTIONS || core_check(fuzz->core, UINT32_MAX))
        abort();
    for (uint32_t i = 0; i < actions.count; i++) {
        if (actions.action[i].kind != CORE_DO_RECORD)
            continue;
        core_record_read(fuzz->core, fuzz->now, &fuzz->record);
        fuzz->recorded = true;
    }
}

/* What a worker says of itself: states near those the core knows, so that much of it fits. */
static void status_from(struct fuzz *fuzz, const uint8_t *in)
{
    fuzz->status = (struct core_worker_status){.slots = 1 + (in[4] & 1)};
    fuzz->status.snapshot_step[0] = in[5] & 1 ? in[5] / 2 : CORE_NONE;
    fuzz->status.snapshot_step[1] = CORE_NONE;
    fuzz->status.layout_hash = in[5] == 0xff;
    for (uint32_t s = 0; s < fuzz->status.slots; s++) {
        uint8_t byte = in[6 + s];

        fuzz->status.rank[s] = (struct core_rank_status){
            .rank = byte & 128 ? CORE_NO_RANK : in[8] % 4 + s,
            .state = (enum core_rank_state)(byte % 7),
            .has_state = byte & 64,
            .position = in[9],
            .pid = byte & 32 ? 0 : 1 + in[10] % 4,
        };
    }
}

static rk_word word_from(const struct fuzz *fuzz, uint8_t byte)
{
    struct core_plan plan;

    core_plan_read(fuzz->core, &plan);
    if (byte & 1)
        return plan.word;
    return rk_word_make(fuzz->epoch - (byte >> 1) % 2 % fuzz->epoch,
                        rk_word_generation(plan.word) + (byte >> 2) % 4);
}

static void body_small(struct core_event *event, const uint8_t *in)
{
    if (event->kind == CORE_EV_TICK)
        event->tick.late = in[4] * RK_MS;
    else if (event->kind == CORE_EV_CLOSED)
        event->closed.ended = in[4] & 1;
    else if (event->kind == CORE_EV_PROGRESS || event->kind == CORE_EV_SNAPSHOT)
        event->snapshot.step = in[4]; /* PROGRESS: its position */
    else if (event->kind == CORE_EV_CHECKPOINTS) {
        event->checkpoints.step = in[4] & 1 ? in[4] : CORE_NONE;
        event->checkpoints.damaged = in[4] & 2;
    } else if (event->kind == CORE_EV_STOP)
        event->stop.signal = in[4] & 15;
    else if (event->kind == CORE_EV_LAUNCH_FAILED) {
        event->launch_failed.ticket = in[4] % 32;
        event->launch_failed.final = in[5] & 1;
    } else if (event->kind == CORE_EV_SCALE)
        event->scale.workers = in[4] % 32;
    else if (event->kind == CORE_EV_COMM_FAILED)
        event->comm_failed.waited = in[4] * RK_MS;
    else {
        event->carrier.job = in[4] % 32;
        event->carrier.place = in[5] % 4;
        event->carrier.hosts = in[6] % 4;
    }
}

static void body_from(struct fuzz *fuzz, struct core_event *event, const uint8_t *in)
{
    event->word = word_from(fuzz, in[3]);
    if (event->kind == CORE_EV_HELLO) {
        event->hello.host.value = 1 + in[8] % 3;
        event->hello.ticket = in[9] % 32;
        event->hello.members = in[10] % 8;
        event->hello.member = in[10] & 8;
        event->hello.frozen_word = event->word;
        event->hello.stop_at = in[11] & 1 ? in[11] : CORE_NONE;
        for (uint32_t i = 0; i < 2; i++)
            event->hello.carrier[i] = (struct core_carrier){.job = in[11] % 4 + i,
                                                            .place = in[11] / 4 % 4,
                                                            .hosts = in[11] / 16 % 4,
                                                            .runs = in[11] & 64,
                                                            .standby = i};
        event->hello.status = &fuzz->status;
        if (in[3] & 2)
            event->word = 0;
    } else if (event->kind == CORE_EV_FREEZE_ACK) {
        memset(fuzz->done, in[10], sizeof fuzz->done);
        event->freeze_ack.status = &fuzz->status;
        event->freeze_ack.complete_step = in[11];
        event->freeze_ack.deal_step = in[9];
        event->freeze_ack.lineage = word_from(fuzz, in[8]);
        event->freeze_ack.max_nodes = in[10];
        event->freeze_ack.done = in[11] & 1 ? fuzz->done : NULL;
    } else if (event->kind == CORE_EV_HEARTBEAT) {
        event->heartbeat.status = in[11] == 0xff ? NULL : &fuzz->status;
    } else if (event->kind == CORE_EV_RANK_EXITED) {
        event->rank_exited.slot = in[4] % 4;
        event->rank_exited.exit_code = in[5] & 3;
        event->rank_exited.signal = in[6] % 16;
        event->rank_exited.joined = in[7] & 1;
        event->rank_exited.left = in[7] & 2;
        event->rank_exited.stopped = in[7] & 4;
        event->rank_exited.pid = in[10] % 5;
    } else if (event->kind == CORE_EV_LOADED) {
        event->loaded.step = in[9];
        event->loaded.code = -(in[4] % 16);
    } else if (event->kind == CORE_EV_SHARD_WRITTEN || event->kind == CORE_EV_COMMITTED) {
        event->committed.attempt = in[9] % 8;
        event->committed.code = -(in[4] % 10);
    } else {
        body_small(event, in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz fuzz;

    if (size < 1)
        return 0;
    fuzz = (struct fuzz){.now = 1000 * RK_S};
    config_from(&fuzz, data[0]);
    start(&fuzz);
    for (size_t at = 1; at + RECORD <= size; at += RECORD) {
        const uint8_t *in = data + at;
        struct core_event event = {.kind = in[0] % (CORE_EV_COUNT_ + 1), .now = fuzz.now};

        fuzz.now += in[1] * RK_MS * (in[1] & 1 ? 10 : 1);
        event.worker.value = in[2] % 9;
        if (in[0] == 0xff) {
            core_free(fuzz.core);
            start(&fuzz);
            continue;
        }
        status_from(&fuzz, in);
        body_from(&fuzz, &event, in);
        step(&fuzz, &event);
        for (uint32_t turn = 0; core_deadline(fuzz.core) <= fuzz.now; turn++) {
            step(&fuzz, &(struct core_event){.kind = CORE_EV_TICK, .now = fuzz.now});
            if (turn > 1000)
                abort();
        }
    }
    core_free(fuzz.core);
    return 0;
}
