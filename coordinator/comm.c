/* Communicators of GPUs: ids go from the first rank of a generation through here to all, and where
 * nobody is new the one before is shrunk by those that are gone. */
#include "coordinator/shell.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>

void comms_done(struct comms *comms)
{
    free(comms->member);
    *comms = (struct comms){0};
}

static rk_word word_of_rank(const struct coordinator *c, const struct core_member *member)
{
    const struct worker_info *worker = workers_find(&c->workers, member->worker.value);

    return worker && member->slot < worker->slots ? worker->rank[member->slot].comm_word : 0;
}

static bool same_seat(const struct core_member *a, const struct core_member *b)
{
    return a->worker.value == b->worker.value && a->slot == b->slot;
}

/* Fills in by whom the communicator of the last plan is to be shrunk; false: it cannot be, since
 * somebody has not got it whole, or not in that order, or since too many are gone, or none. */
static bool shrinks(const struct coordinator *c, struct comms *comms,
                    const struct core_member *member, size_t count)
{
    size_t old = 0;

    comms->lost_count = 0;
    for (size_t i = 0; i < count; i++, old++) {
        if (word_of_rank(c, &member[i]) != comms->word)
            return false;
        for (; old < comms->count && !same_seat(&comms->member[old], &member[i]); old++) {
            if (comms->lost_count == COMM_MOST_LOST)
                return false;
            comms->lost[comms->lost_count++] = (uint32_t)old;
        }
        if (old == comms->count)
            return false;
    }
    if (comms->count - old > COMM_MOST_LOST - comms->lost_count)
        return false;
    for (; old < comms->count; old++)
        comms->lost[comms->lost_count++] = (uint32_t)old;
    return comms->lost_count > 0;
}

void comms_plan(struct coordinator *c, rk_word word, const struct core_member *member, size_t count)
{
    struct comms *comms = &c->comms;
    struct core_member *copy;

    if (comms->word == word || !c->config.on_gpus)
        return;
    comms->from = comms->word && count > 1 && shrinks(c, comms, member, count) ? comms->word : 0;
    if (comms->from == 0)
        comms->lost_count = 0;
    copy = realloc(comms->member, (count + 1) * sizeof *copy);
    if (copy) {
        memcpy(copy, member, count * sizeof *copy);
        comms->member = copy;
    }
    comms->count = copy ? count : 0;
    comms->word = word;
    comms->id_size = 0;
}

void comms_fill(const struct coordinator *c, Rk__Go *go)
{
    if (go->word != c->comms.word || c->comms.from == 0)
        return;
    go->comm_from = c->comms.from;
    go->comm_lost = (uint32_t *)(uintptr_t)c->comms.lost;
    go->n_comm_lost = c->comms.lost_count;
}

static void send_id(struct coordinator *c, uint64_t worker)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__CommId id = RK__COMM_ID__INIT;

    id.word = c->comms.word;
    id.id = (ProtobufCBinaryData){c->comms.id_size, c->comms.id};
    envelope.body_case = RK__ENVELOPE__BODY_COMM_ID;
    envelope.comm_id = &id;
    server_send(c->server, worker, &envelope);
}

void comms_id(struct coordinator *c, uint64_t worker, const Rk__CommId *id)
{
    struct core_worker_view view;
    uint32_t cursor = 0;

    if (id->word != c->comms.word)
        return; /* its generation is over, or of another coordinator: a new one comes */
    if (id->id.len == 0) {
        if (c->comms.id_size != 0)
            send_id(c, worker);
        return;
    }
    if (c->comms.id_size == 0) {
        memcpy(c->comms.id, id->id.data, id->id.len);
        c->comms.id_size = (uint32_t)id->id.len;
    }
    while (core_worker_next(c->core, &cursor, &view))
        if (plan_hears(view.state))
            send_id(c, view.worker.value);
}

void comms_failed(struct coordinator *c, uint64_t worker, const Rk__CommFailed *failed)
{
    struct core_event event = {
        .kind = CORE_EV_COMM_FAILED, .now = c->now, .worker = {worker}, .word = failed->word};

    event.comm_failed.waited = failed->waited_ns;
    rk_warn("gen %llu: %s of rank %u: %s", (unsigned long long)rk_word_generation(failed->word),
            failed->waited_ns ? "the sum" : "the communicator", failed->rank, failed->why);
    snprintf(c->comms.why, sizeof c->comms.why, "%s", failed->why);
    coordinator_feed(c, &event);
}
