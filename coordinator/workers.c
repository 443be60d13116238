/* The shell's table of workers; see workers.h. */
#include "coordinator/workers.h"

#include "coordinator/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_worker(struct worker_info *worker)
{
    for (uint32_t slot = 0; slot < worker->slots; slot++)
        json_decref(worker->rank[slot].numbers);
    free(worker->host_name);
    free(worker->address);
    free(worker);
}

void workers_done(struct workers *workers)
{
    struct worker_info *worker;
    uint32_t cursor = 0;

    while ((worker = id_map_next(&workers->by_id, &cursor)) != NULL)
        free_worker(worker);
    id_map_done(&workers->by_id);
    id_map_done(&workers->by_ticket);
}

struct worker_info *workers_find(const struct workers *workers, uint64_t id)
{
    return id_map_find(&workers->by_id, id);
}

struct worker_info *workers_by_ticket(const struct workers *workers, uint32_t ticket)
{
    return id_map_find(&workers->by_ticket, ticket);
}

static void take_out(struct workers *workers, struct worker_info *worker)
{
    if (workers_by_ticket(workers, worker->ticket) == worker)
        id_map_remove(&workers->by_ticket, worker->ticket);
    id_map_remove(&workers->by_id, worker->id);
    free_worker(worker);
}

static struct worker_info *obtain(struct workers *workers, uint64_t id, uint32_t slots)
{
    struct worker_info *worker = workers_find(workers, id);

    if (worker && worker->slots == slots)
        return worker;
    if (worker)
        take_out(workers, worker);
    worker = calloc(1, sizeof *worker + slots * sizeof worker->rank[0]);
    if (!worker || id_map_put(&workers->by_id, id, worker) != 0) {
        free(worker);
        return NULL;
    }
    worker->id = id;
    worker->slots = slots;
    return worker;
}

/* False: no memory, and it stays as it was. */
static bool set_text(char **text, const char *value)
{
    char *fresh = strdup(value);

    if (!fresh)
        return false;
    free(*text);
    *text = fresh;
    return true;
}

struct worker_info *workers_hello(struct workers *workers, uint64_t id, const Rk__Hello *hello)
{
    struct worker_info *worker = obtain(workers, id, hello->slots);

    if (!worker)
        return NULL;
    if (!set_text(&worker->host_name, hello->host_name) ||
        !set_text(&worker->address, hello->address) ||
        (hello->ticket && id_map_put(&workers->by_ticket, hello->ticket, worker) != 0)) {
        take_out(workers, worker);
        return NULL;
    }
    worker->host = hello->host;
    worker->ticket = hello->ticket;
    worker->group = hello->group;
    worker->pid = hello->pid;
    worker->warden_pid = hello->warden_pid;
    worker->word = hello->word;
    worker->layout_hash = hello->layout_hash;
    worker->state_bytes = hello->state_bytes;
    worker->batch = hello->batch;
    memset(worker->carrier, 0, sizeof worker->carrier);
    for (size_t i = 0; i < hello->n_carrier && i < 2; i++)
        worker->carrier[i] =
            (struct worker_carrier){hello->carrier[i]->job, hello->carrier[i]->pid};
    return worker;
}

void workers_prune(struct workers *workers, const struct core *core)
{
    uint32_t cursor = 0;
    struct worker_info *worker;

    while ((worker = id_map_next(&workers->by_id, &cursor)) != NULL) {
        struct core_worker_view view;

        if (core_worker_find(core, (struct rk_worker_id){worker->id}, &view))
            continue;
        take_out(workers, worker);
        cursor = 0; /* entries may have moved */
    }
}

/* ---- status ---------------------------------------------------------------------------------- */

void workers_snapshots(const uint64_t *snapshot, size_t count, uint64_t newest[2])
{
    newest[0] = newest[1] = CORE_NONE;
    for (size_t i = 0; i < count; i++) {
        if (snapshot[i] == CORE_NONE || snapshot[i] == newest[0])
            continue;
        if (newest[0] == CORE_NONE || snapshot[i] > newest[0]) {
            newest[1] = newest[0];
            newest[0] = snapshot[i];
        } else if (newest[1] == CORE_NONE || snapshot[i] > newest[1]) {
            newest[1] = snapshot[i];
        }
    }
}

static void take_numbers(struct worker_rank *rank, const Rk__RankStatus *status)
{
    if (status->n_numbers == 0)
        return;
    if (!rank->numbers)
        rank->numbers = json_object();
    for (size_t i = 0; i < status->n_numbers; i++) {
        json_t *name = json_text(status->numbers[i]->name);

        if (json_is_string(name) && json_object_size(rank->numbers) < 64)
            json_object_set_new(rank->numbers, json_string_value(name),
                                json_real(status->numbers[i]->value));
        json_decref(name);
    }
}

static void take_rank(struct worker_info *worker, const Rk__RankStatus *from,
                      struct core_rank_status *to)
{
    struct worker_rank *rank = &worker->rank[from->slot];
    bool empty = from->state == RK__RANK_STATE__RANK_EMPTY;

    if (rank->pid != from->pid && rank->numbers)
        json_object_clear(rank->numbers);
    rank->pid = empty ? 0 : from->pid;
    rank->start_generation = from->generation;
    rank->busy = empty ? 0 : from->busy_ns;
    rank->comm_word = empty ? 0 : from->comm_word;
    take_numbers(rank, from);
    *to = (struct core_rank_status){
        /* an empty slot keeps name and pid of the rank that ended there, if there was one */
        .rank = empty && from->pid == 0 ? CORE_NO_RANK : from->rank,
        .state = (enum core_rank_state)from->state,
        .has_state = from->has_state,
        .start = from->start,
        .position = from->position,
        .pid = from->pid,
    };
}

int workers_status(struct worker_info *worker, Rk__RankStatus *const *rank, size_t count,
                   const uint64_t *snapshot, size_t snapshots, struct core_worker_status *status)
{
    memset(status, 0, sizeof *status);
    status->slots = worker->slots;
    status->layout_hash = worker->layout_hash;
    for (uint32_t slot = 0; slot < RK_MAX_SLOTS; slot++)
        status->rank[slot].rank = CORE_NO_RANK;
    for (size_t i = 0; i < count; i++)
        if (rank[i]->slot >= worker->slots)
            return RK_EDATA;
    for (size_t i = 0; i < count; i++)
        take_rank(worker, rank[i], &status->rank[rank[i]->slot]);
    workers_snapshots(snapshot, snapshots, worker->snapshot_step);
    memcpy(status->snapshot_step, worker->snapshot_step, sizeof status->snapshot_step);
    return 0;
}
