/* What the shell keeps of each worker beside what the core knows: names, addresses, pids, numbers
 * that its program reports.  For people, and for filling messages. */
#ifndef RK_COORDINATOR_WORKERS_H
#define RK_COORDINATOR_WORKERS_H

#include "common/wire.h"
#include "coordinator/core/core.h"
#include "coordinator/id_map.h"

#include <jansson.h>

struct worker_rank {
    int32_t pid;
    uint64_t start_generation;
    uint64_t busy;     /* ns that its program has had control since it last waited */
    rk_word comm_word; /* of its communicator (NCCL), when that is whole; else 0 */
    json_t *numbers;   /* an object, or NULL */
};

struct worker_carrier {
    uint32_t job;
    int32_t pid; /* 0: none */
};

/* There may be thousands: one takes the room that its slots and names need. */
struct worker_info {
    uint64_t id;
    uint64_t host;
    char *host_name, *address;
    uint32_t ticket, slots, group;
    uint32_t group_rank; /* as of the last start of ranks */
    int32_t pid, warden_pid;
    rk_word word; /* of the plan in force there */
    uint64_t layout_hash, batch, state_bytes, gradient_bytes, arena_bytes, carrier_bytes;
    struct worker_carrier carrier[2];
    uint64_t snapshot_step[2];
    struct worker_rank rank[]; /* of each slot */
};

struct workers {
    struct id_map by_id;
    struct id_map by_ticket;
};

void workers_done(struct workers *workers);

/* The entry of a worker, made if need be, and made anew when its number of slots is another one:
 * pointers to it end here.  NULL: no memory. */
struct worker_info *workers_hello(struct workers *workers, uint64_t id, const Rk__Hello *hello);
struct worker_info *workers_find(const struct workers *workers, uint64_t id);
struct worker_info *workers_by_ticket(const struct workers *workers, uint32_t ticket);
/* Takes out the entries of workers that the core does not know any more. */
void workers_prune(struct workers *workers, const struct core *core);

/* Takes ranks and snapshots over, and translates them for the core.  Ranks that the message does
 * not name are empty.  RK_EDATA: it names a slot that this worker does not have. */
int workers_status(struct worker_info *worker, Rk__RankStatus *const *rank, size_t count,
                   const uint64_t *snapshot, size_t snapshots, struct core_worker_status *status);

/* Fills the snapshots in: the two newest of a list. */
void workers_snapshots(const uint64_t *snapshot, size_t count, uint64_t newest[2]);

#endif
