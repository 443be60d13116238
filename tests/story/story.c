/* Plays a story: a log of what happens to a job, with what the core shall do after each line.
 *
 *   story FILE...          fails by showing the log as told and the log as played
 *   story --play FILE      prints the log as played (to write a story by, then to be read)
 *
 * A line that starts in the first column is an event, with "+500 " before it 500 ms later than the
 * last; an indented one is an action that must follow.  The stand-in for the shell and the workers
 * does what it is told: starts ranks, obeys freeze and go.  The words of events: see `verbs`. */
#include "common/clock.h"
#include "coordinator/core/bits.h"
#include "coordinator/core/check.h"
#include "coordinator/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 16
#define TEXT (64 * 1024)

struct actor {
    struct core_worker_status status;
    uint64_t host;
    rk_word word, frozen;
    rk_word lineage;
    uint64_t deal_step, stop_at;
    uint32_t members, ticket;
    bool member;
    struct core_carrier carrier[2];
};

struct story {
    struct core *core;
    struct core_config config;
    struct core_record record;
    struct actor actor[WORKERS];
    uint64_t now;
    uint32_t epoch;
    int32_t next_pid;
    char played[TEXT];
    size_t length;
    const char *file;
};

static void say(struct story *story, const char *line)
{
    size_t length = strlen(line);

    if (story->length + length + 2 > TEXT) {
        fprintf(stderr, "%s: the story is too long\n", story->file);
        exit(1);
    }
    memcpy(story->played + story->length, line, length);
    story->length += length;
    story->played[story->length++] = '\n';
    story->played[story->length] = 0;
}

/* ---- what the core does ---------------------------------------------------------------------- */

static void word_text(rk_word word, char *text, size_t size)
{
    snprintf(text, size, "%u.%llu", rk_word_epoch(word),
             (unsigned long long)rk_word_generation(word));
}

static void note_text(const struct core_action *a, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "  note %s", core_note_name(a->note));

    if (a->worker.value)
        n += (size_t)snprintf(text + n, size - n, " w%llu", (unsigned long long)a->worker.value);
    if (a->rank != CORE_NO_RANK)
        n += (size_t)snprintf(text + n, size - n, " rank %u", a->rank);
    if (a->reason)
        n += (size_t)snprintf(text + n, size - n, " %s", core_reason_name(a->reason));
    if (a->spare)
        n += (size_t)snprintf(text + n, size - n, " spare");
    if (a->note == CORE_NOTE_GENERATION_STARTED)
        snprintf(text + n, size - n, " workers %u world %u", a->workers, a->world);
    else if (a->note == CORE_NOTE_SCALED)
        snprintf(text + n, size - n, " workers %u", a->workers);
    else if (a->note == CORE_NOTE_RECOVERED)
        snprintf(text + n, size - n, " %s losses %u lost %llu%s",
                 a->in_place ? "in_place" : "relaunch", a->losses,
                 (unsigned long long)a->lost_steps,
                 a->carriers == CORE_CARRIERS_STANDBY    ? " carriers standby"
                 : a->carriers == CORE_CARRIERS_RELAUNCH ? " carriers relaunch"
                                                         : "");
    else if (a->note == CORE_NOTE_CARRIERS_DELAYED)
        snprintf(text + n, size - n, " %u%s after %u tries, %llu ms", a->job,
                 a->standby ? " standby" : "", a->tries, (unsigned long long)(a->wait / RK_MS));
    else if (a->note == CORE_NOTE_JOB_FINISHED)
        snprintf(text + n, size - n, " exit %d steps %llu", a->exit_code,
                 (unsigned long long)a->step);
    else if (a->note == CORE_NOTE_CHECKPOINT_COMMITTED || a->note == CORE_NOTE_CHECKPOINT_REJECTED)
        snprintf(text + n, size - n, " step %llu", (unsigned long long)a->step);
    else if (a->note == CORE_NOTE_RANK_EXITED && (a->signal || a->exit_code))
        snprintf(text + n, size - n, " %d", a->signal ? a->signal : a->exit_code);
}

/* "carriers 4 standby 5 by w2": 4 serve, 5 stand by, and w2 starts the newer of them. */
static void carriers_text(const struct core_action *a, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "  carriers %u", a->job);

    if (a->standby)
        n += (size_t)snprintf(text + n, size - n, " standby %u", a->standby);
    if (a->worker.value)
        snprintf(text + n, size - n, " by w%llu", (unsigned long long)a->worker.value);
}

static void go_text(struct story *story, const struct core_action *a, char *text, size_t size)
{
    struct core_plan plan;
    char word[32];
    char lineage[32];
    size_t n;

    core_plan_read(story->core, &plan);
    word_text(a->word, word, sizeof word);
    word_text(plan.lineage, lineage, sizeof lineage);
    n = (size_t)snprintf(text, size, "  go %s step %llu world %u hosts %u lineage %s", word,
                         (unsigned long long)plan.deal_step, plan.world, plan.hosts, lineage);
    if (plan.fresh)
        n += (size_t)snprintf(text + n, size - n, " fresh");
    if (plan.restart)
        n += (size_t)snprintf(text + n, size - n, " restart");
    if (plan.done[0])
        n += (size_t)snprintf(text + n, size - n, " done %llx", (unsigned long long)plan.done[0]);
    if (plan.state_host.value)
        n += (size_t)snprintf(text + n, size - n, " state h%llu",
                              (unsigned long long)plan.state_host.value);
    if (plan.carrier_job)
        n += (size_t)snprintf(text + n, size - n, " carriers %u%s", plan.carrier_job,
                              plan.carrier_part ? " in part" : "");
    if (plan.stop_at != CORE_NONE)
        n += (size_t)snprintf(text + n, size - n, " stop %llu", (unsigned long long)plan.stop_at);
    if (a->worker.value)
        snprintf(text + n, size - n, " to w%llu", (unsigned long long)a->worker.value);
}

static void freeze_text(struct story *story, const struct core_action *a, char *text, size_t size)
{
    char word[32];
    size_t n;

    word_text(a->word, word, sizeof word);
    n = (size_t)snprintf(text, size, "  freeze %s", word);
    if (a->worker.value)
        n += (size_t)snprintf(text + n, size - n, " to w%llu", (unsigned long long)a->worker.value);
    for (uint64_t h = 1; h < WORKERS; h++) {
        struct rk_host_id host = {h};
        struct rk_worker_id worker;
        uint32_t cursor = 0;

        while (core_fence_next(story->core, host, &cursor, &worker))
            n += (size_t)snprintf(text + n, size - n, " fence w%llu",
                                  (unsigned long long)worker.value);
    }
}

static void action_text(struct story *story, const struct core_action *a, char *text, size_t size)
{
    unsigned long long w = a->worker.value;
    unsigned long long step = a->step;

    switch (a->kind) {
    case CORE_DO_EVENT:
        note_text(a, text, size);
        break;
    case CORE_DO_GO:
        go_text(story, a, text, size);
        break;
    case CORE_DO_FREEZE:
        freeze_text(story, a, text, size);
        break;
    case CORE_DO_LAUNCH:
        snprintf(text, size, "  launch t%u place %u", a->ticket, a->place);
        break;
    case CORE_DO_START_RANKS:
        snprintf(text, size, "  start w%llu slots %llx%s", w, (unsigned long long)a->slots,
                 a->replace ? " replace" : "");
        break;
    case CORE_DO_REFUSE:
        snprintf(text, size, "  refuse w%llu: %s", w, rk_error_text(a->code));
        break;
    case CORE_DO_KILL_WORKER:
        snprintf(text, size, "  kill w%llu t%u", w, a->ticket);
        break;
    case CORE_DO_WRITE:
        snprintf(text, size, "  write w%llu attempt %u step %llu part %u of %u", w, a->attempt,
                 step, a->writer, a->writers);
        break;
    case CORE_DO_BEGIN:
    case CORE_DO_COMMIT:
    case CORE_DO_ABANDON:
        snprintf(text, size, "  %s attempt %u step %llu",
                 a->kind == CORE_DO_BEGIN    ? "begin"
                 : a->kind == CORE_DO_COMMIT ? "commit"
                                             : "abandon",
                 a->attempt, step);
        break;
    case CORE_DO_SNAPSHOT:
        snprintf(text, size, "  snapshot at %llu", step);
        break;
    case CORE_DO_LOAD:
        snprintf(text, size, "  load w%llu step %llu", w, step);
        break;
    case CORE_DO_REJECT:
        snprintf(text, size, "  reject step %llu", step);
        break;
    case CORE_DO_CARRIERS:
        carriers_text(a, text, size);
        break;
    case CORE_DO_FINISH:
        snprintf(text, size, "  finish %d", a->exit_code);
        break;
    case CORE_DO_WELCOME:
        snprintf(text, size, "  welcome w%llu", w);
        break;
    default:
        snprintf(text, size, "  %s",
                 a->kind == CORE_DO_RECORD     ? "record"
                 : a->kind == CORE_DO_SHUTDOWN ? "shutdown"
                 : a->kind == CORE_DO_FIND     ? "find"
                                               : "?");
        break;
    }
}

/* ---- the stand-in ---------------------------------------------------------------------------- */

static void obey_start(struct story *story, const struct core_action *a)
{
    struct actor *actor = &story->actor[a->worker.value];
    struct core_worker_view view;

    core_worker_find(story->core, a->worker, &view);
    for (uint32_t s = 0; s < actor->status.slots; s++) {
        struct core_rank_status *rank = &actor->status.rank[s];

        if (!((a->slots >> s) & 1) || (rank->state != CORE_RANK_EMPTY && !a->replace))
            continue;
        *rank = (struct core_rank_status){.rank = view.status.rank[s].rank,
                                          .state = CORE_RANK_STARTING,
                                          .pid = ++story->next_pid};
    }
}

static void obey_go(struct story *story, const struct core_action *a)
{
    struct core_plan plan;
    struct core_member member;
    uint32_t cursor = 0;

    core_plan_read(story->core, &plan);
    for (uint32_t w = 1; w < WORKERS; w++) {
        struct actor *actor = &story->actor[w];
        struct core_worker_view view;

        if (!core_worker_find(story->core, (struct rk_worker_id){w}, &view) ||
            view.state == CORE_WORKER_LOST || actor->frozen != a->word ||
            (a->worker.value && a->worker.value != w))
            continue;
        actor->word = a->word;
        actor->lineage = plan.lineage;
        actor->deal_step = plan.deal_step;
        actor->stop_at = plan.stop_at;
        actor->members = plan.members;
        actor->member = false;
    }
    while (core_member_next(story->core, &cursor, &member)) {
        struct core_rank_status *rank = &story->actor[member.worker.value].status.rank[member.slot];

        if (story->actor[member.worker.value].word != a->word)
            continue;
        story->actor[member.worker.value].member = true;
        rank->state = CORE_RANK_MEMBER;
        if (!rank->has_state || rank->position < plan.deal_step)
            rank->position = plan.deal_step;
        rank->has_state = true;
    }
}

static void obey_freeze(struct story *story, const struct core_action *a)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    while (core_worker_next(story->core, &cursor, &view))
        if (!a->worker.value || a->worker.value == view.worker.value)
            story->actor[view.worker.value].frozen = a->word;
}

static void obey(struct story *story, const struct core_action *a)
{
    if (a->kind == CORE_DO_START_RANKS)
        obey_start(story, a);
    else if (a->kind == CORE_DO_GO)
        obey_go(story, a);
    else if (a->kind == CORE_DO_RECORD)
        core_record_read(story->core, story->now, &story->record);
    else if (a->kind == CORE_DO_FREEZE)
        obey_freeze(story, a);
}

static void step(struct story *story, const struct core_event *event)
{
    struct core_actions actions;
    const char *broken;

    core_step(story->core, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++) {
        char text[512];

        action_text(story, &actions.action[i], text, sizeof text);
        say(story, text);
        obey(story, &actions.action[i]);
    }
    broken = core_check(story->core, UINT32_MAX);
    if (broken) {
        fprintf(stderr, "%s\n%s: %s\n", story->played, story->file, broken);
        exit(1);
    }
}

static void settle(struct story *story)
{
    for (uint32_t turn = 0; turn < 32 && core_deadline(story->core) <= story->now; turn++)
        step(story, &(struct core_event){.kind = CORE_EV_TICK, .now = story->now});
}

/* ---- events ---------------------------------------------------------------------------------- */

struct words {
    char *word[24];
    uint32_t count;
};

/* The number after `name`, or `otherwise`. */
static uint64_t number(const struct words *words, const char *name, uint64_t otherwise)
{
    for (uint32_t i = 1; i + 1 < words->count; i++)
        if (strcmp(words->word[i], name) == 0)
            return strcmp(words->word[i + 1], "none") == 0 ? CORE_NONE
                                                           : strtoull(words->word[i + 1], NULL, 0);
    return otherwise;
}

static bool flag(const struct words *words, const char *name)
{
    for (uint32_t i = 1; i < words->count; i++)
        if (strcmp(words->word[i], name) == 0)
            return true;
    return false;
}

static void config_take(struct story *story, const struct words *words)
{
    story->config = (struct core_config){
        .min_workers = (uint32_t)number(words, "min", 1),
        .target_workers = (uint32_t)number(words, "workers", 2),
        .max_workers = (uint32_t)number(words, "max", 8),
        .spares = (uint32_t)number(words, "spares", 0),
        .capacity_workers = (uint32_t)number(words, "capacity", 14),
        .slots = (uint32_t)number(words, "slots", 1),
        .shards = (uint32_t)number(words, "shards", 8),
        .mode = flag(words, "program") ? CORE_PROGRAM : CORE_AUTO,
        .launches = flag(words, "launch"),
        .gather = number(words, "gather", 10000) * RK_MS,
        .silence = number(words, "silence", 1000) * RK_MS,
        .launch_timeout = number(words, "launch_timeout", 30000) * RK_MS,
        .carrier_timeout = number(words, "carrier_timeout", 10000) * RK_MS,
        .standby_carriers = flag(words, "standby"),
        .recover_timeout = number(words, "recover", 3000) * RK_MS,
        .checkpoints = flag(words, "checkpoints"),
        .checkpoint_interval_steps = number(words, "every", 0),
        .checkpoint_interval_ns = number(words, "each", 0) * RK_MS,
        .checkpoint_timeout = number(words, "checkpoint_timeout", 60000) * RK_MS,
        .max_restarts = (uint32_t)number(words, "restarts", 100),
        .restart_window = 3600 * RK_S,
        .program_failures = 3,
    };
    for (uint32_t w = 1; w < WORKERS; w++) {
        struct actor *actor = &story->actor[w];

        actor->status.slots = story->config.slots;
        actor->status.snapshot_step[0] = actor->status.snapshot_step[1] = CORE_NONE;
        actor->stop_at = CORE_NONE;
        actor->host = 1;
        for (uint32_t s = 0; s < RK_MAX_SLOTS; s++)
            actor->status.rank[s].rank = CORE_NO_RANK;
    }
}

static void born(struct story *story, bool record)
{
    struct rk_why why;

    if (core_new(&story->config, record ? &story->record : NULL, ++story->epoch, story->now,
                 &story->core, &why)) {
        fprintf(stderr, "%s: %s\n", story->file, why.text);
        exit(1);
    }
}

static void ranks_set(struct actor *actor, enum core_rank_state from, enum core_rank_state to)
{
    for (uint32_t s = 0; s < actor->status.slots; s++)
        if (actor->status.rank[s].state == from)
            actor->status.rank[s].state = to;
}

static void ranks_at(struct actor *actor, uint64_t position)
{
    for (uint32_t s = 0; s < actor->status.slots; s++)
        if (actor->status.rank[s].has_state)
            actor->status.rank[s].position = position;
}

static void on_hello(struct actor *actor, const struct words *words, struct core_event *event)
{
    actor->host = number(words, "host", actor->host);
    actor->ticket = (uint32_t)number(words, "ticket", actor->ticket);
    event->kind = CORE_EV_HELLO;
    event->word = actor->word;
    event->hello.host.value = actor->host;
    event->hello.ticket = actor->ticket;
    event->hello.members = actor->members;
    event->hello.member = actor->member;
    event->hello.frozen_word = actor->frozen;
    event->hello.lineage = actor->lineage;
    event->hello.deal_step = actor->deal_step;
    event->hello.stop_at = actor->stop_at;
    memcpy(event->hello.carrier, actor->carrier, sizeof actor->carrier);
    event->hello.status = &actor->status;
}

static void on_ack(struct actor *actor, const struct words *words, struct core_event *event)
{
    static uint64_t done[SHARD_WORDS];

    done[0] = number(words, "done", 0);
    ranks_at(actor, number(words, "at", actor->status.rank[0].position));
    event->kind = CORE_EV_FREEZE_ACK;
    event->word = actor->frozen - number(words, "old", 0);
    event->freeze_ack.status = &actor->status;
    event->freeze_ack.complete_step = number(words, "complete", 0);
    event->freeze_ack.deal_step = number(words, "of", actor->status.rank[0].position);
    event->freeze_ack.lineage =
        event->freeze_ack.deal_step == actor->deal_step ? actor->lineage : actor->word;
    event->freeze_ack.max_nodes = (uint32_t)number(words, "nodes", 1);
    event->freeze_ack.done = done;
}

static void on_exit_of(struct actor *actor, const struct words *words, struct core_event *event)
{
    uint32_t slot = (uint32_t)number(words, "slot", 0);
    struct core_rank_status *rank = &actor->status.rank[slot < RK_MAX_SLOTS ? slot : 0];

    event->kind = CORE_EV_RANK_EXITED;
    event->rank_exited.slot = slot;
    event->rank_exited.exit_code = (int32_t)number(words, "code", 0);
    event->rank_exited.signal = (int32_t)number(words, "signal", 0);
    event->rank_exited.stopped = flag(words, "stopped");
    event->rank_exited.stalled = flag(words, "stalled");
    event->rank_exited.out_of_memory = flag(words, "out_of_memory");
    event->rank_exited.joined = rank->state >= CORE_RANK_READY && !flag(words, "unjoined");
    event->rank_exited.left = rank->state == CORE_RANK_LEFT;
    event->rank_exited.detect = RK_MS;
    event->rank_exited.pid = (int32_t)number(words, "pid", (uint64_t)rank->pid);
    if (event->rank_exited.left && event->rank_exited.exit_code == 0)
        rank->state = CORE_RANK_DONE;
    else
        *rank = (struct core_rank_status){.rank = CORE_NO_RANK, .pid = rank->pid};
}

static void on_beat(struct actor *actor, const struct words *words, struct core_event *event)
{
    uint64_t snapshot = number(words, "snapshot", actor->status.snapshot_step[0]);

    if (strcmp(words->word[0], "ready") == 0)
        ranks_set(actor, CORE_RANK_STARTING, CORE_RANK_READY);
    if (strcmp(words->word[0], "leave") == 0) {
        ranks_at(actor, number(words, "at", 0));
        ranks_set(actor, CORE_RANK_MEMBER, CORE_RANK_LEFT);
    } else if (flag(words, "at")) {
        ranks_at(actor, number(words, "at", 0));
    }
    if (flag(words, "dead")) /* a rank ended and nothing said so */
        actor->status.rank[0].state = CORE_RANK_EMPTY;
    actor->status.snapshot_step[0] = snapshot;
    actor->status.layout_hash = number(words, "layout", actor->status.layout_hash);
    event->kind = CORE_EV_HEARTBEAT;
    event->word = actor->word;
    event->heartbeat.status = &actor->status;
}

/* A carrier came or went; the story's stand-in for the agent keeps it for its hellos. */
static void on_carrier(struct actor *actor, const struct words *words, struct core_event *event)
{
    bool up = strcmp(words->word[0], "carrier_up") == 0;
    struct core_carrier *carrier = &actor->carrier[flag(words, "standby")];

    event->kind = up ? CORE_EV_CARRIER_UP : CORE_EV_CARRIER_LOST;
    event->carrier.job = (uint32_t)number(words, "job", 1);
    event->carrier.place = (uint32_t)number(words, "place", actor->host - 1);
    event->carrier.hosts = (uint32_t)number(words, "of", 2);
    *carrier = (struct core_carrier){.standby = flag(words, "standby")};
    if (!up)
        return;
    carrier->job = event->carrier.job;
    carrier->place = event->carrier.place;
    carrier->hosts = event->carrier.hosts;
    carrier->runs = flag(words, "runs");
}

static void on_small(struct actor *actor, const struct words *words, struct core_event *event)
{
    const char *verb = words->word[0];

    event->word = actor->word;
    if (strcmp(verb, "close") == 0) {
        event->kind = CORE_EV_CLOSED;
        event->closed.ended = flag(words, "ended");
    } else if (strcmp(verb, "step") == 0) {
        event->kind = CORE_EV_PROGRESS;
        event->progress.position = number(words, "to", 0);
        ranks_at(actor, event->progress.position);
    } else if (strcmp(verb, "snapshot") == 0) {
        event->kind = CORE_EV_SNAPSHOT;
        event->snapshot.step = number(words, "at", 0);
        event->snapshot.missed = flag(words, "missed");
        if (!event->snapshot.missed)
            actor->status.snapshot_step[0] = event->snapshot.step;
    } else if (strcmp(verb, "written") == 0) {
        event->kind = CORE_EV_SHARD_WRITTEN;
        event->shard_written.attempt = (uint32_t)number(words, "attempt", 1);
        event->shard_written.code = -(int32_t)number(words, "error", 0);
    } else if (strcmp(verb, "comm_failed") == 0) {
        event->kind = CORE_EV_COMM_FAILED;
        event->comm_failed.waited = number(words, "after", 0) * RK_MS;
    } else if (strcmp(verb, "drain") == 0) {
        event->kind = CORE_EV_DRAIN;
        event->drain.within = number(words, "in", 0) * RK_MS;
    } else {
        event->kind = CORE_EV_LOADED;
        event->word = actor->frozen;
        event->loaded.step = number(words, "step", 0);
        event->loaded.code = -(int32_t)number(words, "error", 0);
    }
}

static bool on_other(const struct words *words, struct core_event *event)
{
    const char *verb = words->word[0];

    if (strcmp(verb, "tick") == 0) {
        event->kind = CORE_EV_TICK;
        event->tick.late = number(words, "late", 0) * RK_MS;
    } else if (strcmp(verb, "committed") == 0) {
        event->kind = CORE_EV_COMMITTED;
        event->committed.attempt = (uint32_t)number(words, "attempt", 1);
        event->committed.code = -(int32_t)number(words, "error", 0);
    } else if (strcmp(verb, "found") == 0) {
        event->kind = CORE_EV_CHECKPOINTS;
        event->checkpoints.step = number(words, "step", CORE_NONE);
        event->checkpoints.damaged = flag(words, "damaged");
    } else if (strcmp(verb, "launch_failed") == 0) {
        event->kind = CORE_EV_LAUNCH_FAILED;
        event->launch_failed.ticket = (uint32_t)number(words, "ticket", 0);
        event->launch_failed.final = flag(words, "final");
    } else if (strcmp(verb, "launched") == 0) {
        static uint32_t ticket[24];

        event->kind = CORE_EV_LAUNCHED;
        event->launched.ticket = ticket;
        for (uint32_t i = 1; i < words->count && words->word[i][0] == 't'; i++)
            ticket[event->launched.count++] = (uint32_t)strtoull(words->word[i] + 1, NULL, 10);
    } else if (strcmp(verb, "scale") == 0) {
        event->kind = CORE_EV_SCALE;
        event->scale.workers = (uint32_t)number(words, "to", 0);
    } else if (strcmp(verb, "stop") == 0) {
        event->kind = CORE_EV_STOP;
        event->stop.signal = (int32_t)number(words, "signal", 0);
    } else if (strcmp(verb, "kill") == 0) {
        event->kind = CORE_EV_KILL;
    } else {
        return false;
    }
    return true;
}

static const struct {
    const char *verb;
    void (*take)(struct actor *, const struct words *, struct core_event *);
} verbs[] = {{"hello", on_hello},          {"ack", on_ack},
             {"exit", on_exit_of},         {"beat", on_beat},
             {"ready", on_beat},           {"leave", on_beat},
             {"close", on_small},          {"step", on_small},
             {"snapshot", on_small},       {"written", on_small},
             {"loaded", on_small},         {"carrier_up", on_carrier},
             {"carrier_lost", on_carrier}, {"comm_failed", on_small},
             {"drain", on_small}};

/* One event for each worker that the line names. */
static bool worker_line(struct story *story, const struct words *words)
{
    for (size_t v = 0; v < sizeof verbs / sizeof verbs[0]; v++) {
        if (strcmp(verbs[v].verb, words->word[0]) != 0)
            continue;
        for (uint32_t i = 1; i < words->count && words->word[i][0] == 'w'; i++) {
            uint64_t w = strtoull(words->word[i] + 1, NULL, 10);
            struct core_event event = {.now = story->now, .worker = {w}};

            if (w == 0 || w >= WORKERS)
                return false;
            verbs[v].take(&story->actor[w], words, &event);
            if (!flag(words, "unheard")) /* it happened while no coordinator was there */
                step(story, &event);
        }
        return true;
    }
    return false;
}

static void split(char *line, struct words *words)
{
    char *rest = NULL;

    words->count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && words->count < 24;
         word = strtok_r(NULL, " ", &rest))
        words->word[words->count++] = word;
}

static void play_line(struct story *story, const char *text)
{
    char line[512];
    struct words words;
    struct core_event event = {0};

    snprintf(line, sizeof line, "%s", text);
    split(line, &words);
    if (words.count && words.word[0][0] == '+') {
        story->now += strtoull(words.word[0] + 1, NULL, 10) * RK_MS;
        memmove(words.word, words.word + 1, --words.count * sizeof words.word[0]);
    }
    event.now = story->now;
    say(story, text);
    if (words.count && strcmp(words.word[0], "job") == 0) {
        config_take(story, &words);
        born(story, false);
    } else if (words.count && strcmp(words.word[0], "restart") == 0) {
        core_free(story->core);
        born(story, true);
    } else if (words.count && on_other(&words, &event)) {
        step(story, &event);
    } else if (words.count == 0 || !worker_line(story, &words)) {
        fprintf(stderr, "%s: no such event: %s\n", story->file, text);
        exit(1);
    }
    settle(story);
}

/* Comments, blank lines and events are the story; actions are played. */
static int play(const char *file, bool print)
{
    static struct story story;
    static char told[TEXT];
    size_t length;
    FILE *in = fopen(file, "r");
    char *rest = NULL;
    char *copy;

    if (!in) {
        fprintf(stderr, "%s: cannot be read\n", file);
        return 1;
    }
    length = fread(told, 1, sizeof told - 1, in);
    told[length] = 0;
    fclose(in);
    story = (struct story){.file = file, .now = 1000 * RK_S, .next_pid = 100};
    copy = strdup(told);
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] == '#')
            say(&story, line);
        else if (line[0] != ' ')
            play_line(&story, line);
    }
    free(copy);
    core_free(story.core);
    if (print)
        fputs(story.played, stdout);
    else if (strcmp(told, story.played) != 0) {
        fprintf(stderr, "%s\n---- as told:\n%s---- as played:\n%s", file, told, story.played);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool print = argc > 1 && strcmp(argv[1], "--play") == 0;
    int failed = argc < 2;

    for (int i = print ? 2 : 1; i < argc; i++)
        failed += play(argv[i], print);
    return failed ? 1 : 0;
}
