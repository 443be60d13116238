/* Making, mapping and growing the arena; snapshots; see arena.h. */
#include "collectives/arena.h"

#include "common/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYOUT_OFFSET (UINT64_C(2) << 20)
#define LOOK_FIRST_BYTES (UINT64_C(64) << 20) /* less is not worth a look at what is left */
/* A buffer that begins at a large page: less than an eighth is lost. */
#define LARGE_BUFFER (8 * RK_MEMORY_LARGE)

#define MOST_BYTES (UINT64_C(1) << 46) /* of state or gradients: sums of it fit 64 bits */

_Static_assert(sizeof(struct arena_header) <= LAYOUT_OFFSET, "the control area has room for all");
_Static_assert(RK_LAYOUT_MAX_BYTES <= ARENA_CONTROL_BYTES - LAYOUT_OFFSET, "and for the layout");

static uint64_t align_up(uint64_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}

/* Where they are large, so that they can have large pages of their own. */
static uint64_t align_large(uint64_t bytes, uint64_t least)
{
    if (bytes < least)
        return align_up(bytes);
    return (bytes + RK_MEMORY_LARGE - 1) / RK_MEMORY_LARGE * RK_MEMORY_LARGE;
}

static int map(struct arena *arena, uint64_t bytes, struct rk_why *why)
{
    void *memory = rk_memory_place(bytes);

    if (memory != NULL)
        memory = mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, arena->fd, 0);
    if (memory == NULL || memory == MAP_FAILED)
        return rk_fail_errno(why, errno, "cannot map the arena of %llu bytes",
                             (unsigned long long)bytes);
    if (arena->header != NULL)
        munmap(arena->header, arena->mapped);
    arena->header = memory;
    arena->mapped = bytes;
    return 0;
}

int arena_create(struct arena *arena, struct rk_host_id host, uint32_t shards, struct rk_why *why)
{
    int rc;

    *arena = (struct arena){.fd = -1};
    if (shards == 0 || shards > RK_MAX_SHARDS || (shards & (shards - 1)) != 0)
        return rk_fail(why, RK_EINVAL, "%u shards: must be a power of two up to %u", shards,
                       RK_MAX_SHARDS);
    arena->fd = memfd_create("reknit-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (arena->fd < 0)
        return rk_fail_errno(why, errno, "cannot make the arena's shared memory");
    rc = posix_fallocate(arena->fd, 0, (off_t)ARENA_CONTROL_BYTES);
    if (rc != 0)
        rc = rk_fail_errno(why, rc, "the arena's control area of %llu bytes does not fit in memory",
                           (unsigned long long)ARENA_CONTROL_BYTES);
    if (rc == 0)
        rc = map(arena, ARENA_CONTROL_BYTES, why);
    if (rc != 0) {
        arena_close(arena);
        return rc;
    }
    arena->header->magic = ARENA_MAGIC;
    arena->header->version = ARENA_VERSION;
    arena->header->host = host.value;
    arena_set_job(arena, shards, ARENA_EXACT, false);
    arena->header->total_bytes = ARENA_CONTROL_BYTES;
    return 0;
}

void arena_set_job(struct arena *arena, uint32_t shards, enum arena_reduction reduction,
                   bool on_gpus)
{
    arena->header->on_gpus = on_gpus;
    arena->header->shards = shards;
    arena->header->reduction = reduction;
    arena->header->buffers = arena_partial_buffers(arena->header);
}

uint32_t arena_partial_buffers(const struct arena_header *header)
{
    return header->reduction == ARENA_FAST ? 2 : tree_rank_buffers(header->shards);
}

int arena_open(struct arena *arena, int fd, struct rk_why *why)
{
    struct arena opened = {.fd = fd};
    struct stat status;
    int rc;

    *arena = (struct arena){.fd = -1};
    if (fstat(fd, &status) != 0)
        return rk_fail_errno(why, errno, "cannot look at the arena's descriptor");
    if ((uint64_t)status.st_size < ARENA_CONTROL_BYTES)
        return rk_fail(why, RK_EPROTO, "the descriptor of %lld bytes is no arena",
                       (long long)status.st_size);
    rc = map(&opened, (uint64_t)status.st_size, why);
    if (rc != 0)
        return rc;
    if (opened.header->magic != ARENA_MAGIC || opened.header->version != ARENA_VERSION) {
        munmap(opened.header, opened.mapped);
        return rk_fail(why, RK_EVERSION,
                       "the arena was made by another version of reknit; use one version in a job");
    }
    *arena = opened;
    return 0;
}

void arena_close(struct arena *arena)
{
    if (arena->header != NULL)
        munmap(arena->header, arena->mapped);
    if (arena->header != NULL || arena->fd > 0)
        close(arena->fd);
    *arena = (struct arena){.fd = -1};
}

static bool is_laid_out(const struct arena *arena)
{
    return atomic_load_explicit(&arena->header->layout_state, memory_order_acquire) ==
           ARENA_LAYOUT_READY;
}

int arena_refresh(struct arena *arena, struct rk_why *why)
{
    uint64_t total;

    if (!is_laid_out(arena))
        return 0;
    total = arena->header->total_bytes;
    return total == arena->mapped ? 0 : map(arena, total, why);
}

uint64_t arena_seat_bytes(const struct arena_header *header)
{
    return header->seat_bytes;
}

/* Buffers of a seat that a step uses when its shards are dealt among the ranks that sit here. */
static uint32_t used_buffers(const struct arena_header *header)
{
    uint32_t ranks = 0;

    for (uint32_t s = 0; s < ARENA_SEATS; s++)
        ranks += atomic_load(&header->seat[s].state) == ARENA_SEAT_TAKEN;
    uint32_t each = (header->shards + ranks - 1) / (ranks == 0 ? 1 : ranks);
    uint32_t used = 1;

    while (UINT32_C(1) << (used - 1) < each)
        used++;
    return used < header->buffers ? used : header->buffers;
}

/* Large pages for what all ranks share, and for what this one works on: once, by who comes first,
 * since pages that others work on should not move under them. */
static void enlarge(const struct arena *arena, uint32_t own, uint32_t used)
{
    struct arena_header *header = arena->header;
    const char *base = (const char *)header;
    uint64_t works_on = align_large(used * header->grad_bytes, RK_MEMORY_LARGE);
    uint32_t allocated = 1;

    if (atomic_exchange(&header->enlarged, 1) == 0)
        rk_memory_enlarge(base + header->result_offset,
                          header->seat_offset - header->result_offset);
    if (atomic_compare_exchange_strong(&header->seat[own].allocated, &allocated, 2))
        rk_memory_enlarge(base + header->seat_offset + own * arena_seat_bytes(header),
                          works_on < header->seat_bytes ? works_on : header->seat_bytes);
}

void arena_populate(const struct arena *arena, uint32_t own)
{
    const struct arena_header *header = arena->header;
    const char *base = (const char *)header;
    uint32_t used = used_buffers(header);

    if (!is_laid_out(arena) || header->total_bytes != arena->mapped)
        return;
    if (own < ARENA_SEATS)
        enlarge(arena, own, used);
    rk_memory_populate(base + header->result_offset, header->grad_bytes, true);
    if (own < ARENA_SEATS)
        rk_memory_populate(base + header->snapshot_offset,
                           header->seat_offset - header->snapshot_offset, true);
    for (uint32_t s = 0; s < ARENA_SEATS; s++)
        if (atomic_load(&header->seat[s].allocated) != 0)
            rk_memory_populate(base + header->seat_offset + s * arena_seat_bytes(header),
                               used * header->grad_bytes, s == own);
}

static bool has_in_arena(const struct rk_layout *layout, enum rk_tensor_kind kind)
{
    for (uint32_t t = 0; t < layout->tensor_count; t++)
        if (layout->tensor[t].in_arena && layout->tensor[t].kind == (uint32_t)kind)
            return true;
    return false;
}

/* Buffers that a seat has besides those of partial sums, and copies of the state besides the
 * snapshots. */
static uint32_t leaf_buffers(const struct rk_layout *layout)
{
    return has_in_arena(layout, RK_TENSOR_GRADIENT) ? 1 : 0;
}
static uint32_t shared_copies(const struct rk_layout *layout)
{
    return has_in_arena(layout, RK_TENSOR_STATE) ? ARENA_SHARED : 0;
}

uint64_t arena_host_bytes(const struct arena_header *header, uint32_t ranks)
{
    return header->seat_offset + ranks * arena_seat_bytes(header);
}

/* Takes memory now, or says that it is not there: who runs out of it later is killed. */
static int reserve(int fd, uint64_t from, uint64_t bytes, const char *what, struct rk_why *why)
{
    struct rk_memory memory = {.room = UINT64_MAX};
    int rc;

    if (bytes >= LOOK_FIRST_BYTES)
        rk_memory_look(&memory);
    if (bytes > memory.room)
        return rk_fail(why, RK_ENOMEM,
                       "%s: %llu MiB of shared memory are wanted and %llu MiB are left; give the "
                       "worker more memory, use fewer ranks on this host or a smaller --shards",
                       what, (unsigned long long)(bytes >> 20),
                       (unsigned long long)(memory.room >> 20));
    rc = bytes == 0 ? 0 : posix_fallocate(fd, (off_t)from, (off_t)bytes);
    if (rc == 0)
        return 0;
    return rk_fail(why, RK_ENOMEM,
                   "%s: %llu MiB of shared memory are not to be had (%s); give the worker more "
                   "memory, use fewer ranks on this host or a smaller --shards",
                   what, (unsigned long long)(bytes >> 20), strerror(rc));
}

/* Buckets of the size that was asked for, or larger where they would be too many. */
static void cut_buckets(struct arena_header *header, const struct rk_layout *layout)
{
    uint64_t space = header->on_gpus ? 0 : rk_layout_grad_bytes(layout);
    uint64_t bucket = layout->bucket == 0 ? ARENA_BUCKET_BYTES : layout->bucket;

    if (space > bucket * ARENA_MAX_BUCKETS)
        bucket = align_up((space + ARENA_MAX_BUCKETS - 1) / ARENA_MAX_BUCKETS);
    header->bucket_bytes = bucket;
    header->bucket_count = (uint32_t)((space + bucket - 1) / bucket);
}

static int grow(struct arena *arena, const struct rk_layout *layout, struct rk_why *why)
{
    struct arena_header *header = arena->header;
    uint32_t buffers = arena_partial_buffers(header) + leaf_buffers(layout);
    uint64_t grads = header->on_gpus ? 0 : align_large(rk_layout_grad_bytes(layout), LARGE_BUFFER);
    uint64_t state = align_large(layout->state_bytes, LARGE_BUFFER);
    uint64_t shared =
        align_large(grads + (ARENA_SNAPSHOTS + shared_copies(layout)) * state, RK_MEMORY_LARGE);
    uint64_t seat = align_large(buffers * grads, RK_MEMORY_LARGE);
    uint64_t total = ARENA_CONTROL_BYTES + shared + ARENA_SEATS * seat;
    int rc;

    if (grads > MOST_BYTES || state > MOST_BYTES)
        return rk_fail(why, RK_ENOMEM,
                       "%llu GiB of gradients and %llu GiB of state are more than an arena can "
                       "have; is a shape wrong?",
                       (unsigned long long)(grads >> 30), (unsigned long long)(state >> 30));
    if (ftruncate(arena->fd, (off_t)total) != 0)
        return rk_fail_errno(why, errno, "the arena cannot grow to %llu MiB",
                             (unsigned long long)(total >> 20));
    rc = reserve(arena->fd, ARENA_CONTROL_BYTES, shared, "the arena's result and snapshots", why);
    if (rc == 0)
        rc = map(arena, total, why);
    if (rc != 0) {
        if (ftruncate(arena->fd, (off_t)ARENA_CONTROL_BYTES) != 0)
            return rc;
        return rc;
    }
    header = arena->header;
    header->buffers = buffers;
    header->leaf = leaf_buffers(layout) != 0 ? buffers - 1 : ARENA_NO_BUFFER;
    cut_buckets(header, layout);
    header->grad_bytes = grads;
    header->state_bytes = state;
    header->result_offset = ARENA_CONTROL_BYTES;
    header->snapshot_offset = header->result_offset + grads;
    header->shared_offset = header->snapshot_offset + ARENA_SNAPSHOTS * state;
    header->seat_offset = ARENA_CONTROL_BYTES + shared;
    header->seat_bytes = seat;
    header->total_bytes = total;
    (void)fcntl(arena->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    return 0;
}

/* What must be alike among the ranks of a job but not between a job and its checkpoints, too. */
static int compare(const struct rk_layout *mine, const struct rk_layout *theirs, struct rk_why *why)
{
    int rc = rk_layout_compare(mine, "this rank", theirs, "the job", why);

    if (rc != 0)
        return rc;
    if (mine->bucket != theirs->bucket || mine->reduce != theirs->reduce)
        return rk_fail(
            why, RK_ELAYOUT,
            "this rank asks for buckets of %llu bytes and reduction %u, the job for %llu "
            "and %u; give the same options to rk_join in every rank",
            (unsigned long long)mine->bucket, mine->reduce, (unsigned long long)theirs->bucket,
            theirs->reduce);
    for (uint32_t t = 0; t < mine->tensor_count; t++)
        if (mine->tensor[t].in_arena != theirs->tensor[t].in_arena)
            return rk_fail(why, RK_ELAYOUT,
                           "%s lies in the arena in %s and in the program's memory in %s; do the "
                           "same in every rank",
                           mine->tensor[t].name, mine->tensor[t].in_arena ? "this rank" : "the job",
                           mine->tensor[t].in_arena ? "the job" : "this rank");
    return 0;
}

/* Whether gradients lie where the job looks for them. */
static int check_place(const struct arena *arena, const struct rk_layout *layout,
                       struct rk_why *why)
{
    if (layout->on_gpus == arena->header->on_gpus)
        return 0;
    if (layout->on_gpus)
        return rk_fail(why, RK_ELAYOUT,
                       "the gradients lie on a GPU, and the job sums in the memory of its hosts; "
                       "start it with --backend nccl");
    return rk_fail(why, RK_ELAYOUT,
                   "the gradients lie in the memory of the host, and the job sums on GPUs; start "
                   "it with --backend mpi, or call rk_use_gpu");
}

int arena_declare(struct arena *arena, const struct rk_layout *layout, struct rk_why *why)
{
    int rc = arena_refresh(arena, why);

    if (rc == 0)
        rc = check_place(arena, layout, why);
    if (rc != 0)
        return rc;
    if (is_laid_out(arena))
        return compare(layout, arena_layout(arena), why);
    rc = grow(arena, layout, why);
    if (rc != 0)
        return rc;
    memcpy((char *)arena->header + LAYOUT_OFFSET, layout, (size_t)layout->bytes);
    atomic_store_explicit(&arena->header->layout_state, ARENA_LAYOUT_READY, memory_order_release);
    return 0;
}

const struct rk_layout *arena_layout(const struct arena *arena)
{
    if (!is_laid_out(arena))
        return NULL;
    return (const struct rk_layout *)((const char *)arena->header + LAYOUT_OFFSET);
}

int arena_seat_allocate(struct arena *arena, uint32_t seat, struct rk_why *why)
{
    struct arena_header *header = arena->header;
    uint64_t bytes = arena_seat_bytes(header);
    int rc;

    if (atomic_load(&header->seat[seat].allocated) != 0)
        return 0;
    rc =
        reserve(arena->fd, header->seat_offset + seat * bytes, bytes, "a rank's partial sums", why);
    if (rc == 0)
        atomic_store(&header->seat[seat].allocated, 1);
    return rc;
}

static char *at(const struct arena *arena, uint64_t offset)
{
    assert(offset <= arena->mapped);
    return (char *)arena->header + offset;
}

float *arena_result(const struct arena *arena)
{
    return (float *)at(arena, arena->header->result_offset);
}

void *arena_snapshot_data(const struct arena *arena, uint32_t snapshot)
{
    return at(arena, arena->header->snapshot_offset + snapshot * arena->header->state_bytes);
}

void *arena_shared_data(const struct arena *arena, uint64_t position)
{
    const struct arena_header *header = arena->header;

    return at(arena, header->shared_offset + position % ARENA_SHARED * header->state_bytes);
}

uint64_t arena_buffer_offset(const struct arena *arena, uint32_t seat, uint32_t buffer)
{
    const struct arena_header *header = arena->header;

    return header->seat_offset + seat * arena_seat_bytes(header) + buffer * header->grad_bytes;
}

float *arena_buffer(const struct arena *arena, uint32_t seat, uint32_t buffer)
{
    return (float *)at(arena, arena_buffer_offset(arena, seat, buffer));
}

uint64_t arena_grad_lanes(const struct arena *arena)
{
    if (arena->header->on_gpus)
        return 0;
    return rk_layout_grad_bytes(arena_layout(arena)) / sizeof(float);
}

uint32_t arena_buckets(const struct arena *arena)
{
    return arena->header->bucket_count;
}

void arena_bucket_range(const struct arena *arena, uint32_t b, uint64_t *from, uint64_t *count)
{
    uint64_t lanes = arena_grad_lanes(arena);
    uint64_t bucket = arena->header->bucket_bytes / sizeof(float);

    *from = b * bucket;
    *count = lanes - *from < bucket ? lanes - *from : bucket;
}

/* As arena_sum where all lanes are of the float64 part. */
static void sum_wide(const struct tree_part *parts, uint32_t part_count, struct tree_node root,
                     uint64_t from, uint64_t count, float *out)
{
    static _Thread_local struct tree_part wide[RK_MAX_SHARDS];

    for (uint32_t p = 0; p < part_count; p++)
        wide[p] = tree_part_f64(parts[p].node, parts[p].data);
    tree_sum64(wide, part_count, root, from / 2, count / 2, (double *)(void *)out);
}

void arena_sum(const struct arena *arena, const struct tree_part *parts, uint32_t part_count,
               struct tree_node root, uint64_t from, uint64_t count, bool stream, float *out)
{
    uint64_t wide = rk_layout_grad_wide_from(arena_layout(arena)) / sizeof(float);
    uint64_t narrow = from >= wide ? 0 : count < wide - from ? count : wide - from;

    if (narrow != 0)
        tree_sum(parts, part_count, root, from, narrow, stream, out);
    if (narrow < count)
        sum_wide(parts, part_count, root, from + narrow, count - narrow, out);
}

int arena_snapshot_find(const struct arena *arena, uint64_t step)
{
    for (uint32_t k = 0; k < ARENA_SNAPSHOTS; k++)
        if (atomic_load_explicit(&arena->header->snapshot[k].stamp, memory_order_acquire) ==
            step + 1)
            return (int)k;
    return RK_ENOENT;
}

int arena_snapshot_newest(const struct arena *arena)
{
    uint64_t best = 0;
    int found = RK_ENOENT;

    for (uint32_t k = 0; k < ARENA_SNAPSHOTS; k++) {
        uint64_t stamp =
            atomic_load_explicit(&arena->header->snapshot[k].stamp, memory_order_acquire);

        if (stamp > best) {
            best = stamp;
            found = (int)k;
        }
    }
    return found;
}

static uint32_t pinned_snapshots(const struct arena *arena)
{
    uint32_t pinned = 0;

    for (uint32_t a = 0; a < ARENA_AGENTS; a++)
        if (atomic_load(&arena->header->agent[a].worker) != 0)
            pinned |= atomic_load(&arena->header->agent[a].pinned);
    return pinned;
}

int arena_snapshot_pick(const struct arena *arena)
{
    uint32_t pinned = pinned_snapshots(arena);
    uint64_t oldest = UINT64_MAX;
    int found = RK_EFULL;

    for (uint32_t k = 0; k < ARENA_SNAPSHOTS; k++) {
        uint64_t stamp = atomic_load(&arena->header->snapshot[k].stamp);

        if ((pinned >> k & 1) == 0 && stamp < oldest) {
            oldest = stamp;
            found = (int)k;
        }
    }
    return found;
}

void arena_snapshot_begin(struct arena *arena, uint32_t snapshot)
{
    atomic_store(&arena->header->snapshot[snapshot].stamp, 0);
}

void arena_snapshot_commit(struct arena *arena, uint32_t snapshot, uint64_t step)
{
    atomic_store_explicit(&arena->header->snapshot[snapshot].stamp, step + 1, memory_order_release);
    arena_ring(arena);
}

bool arena_shared_has(const struct arena *arena, uint64_t position)
{
    return atomic_load_explicit(&arena->header->shared[position % ARENA_SHARED].stamp,
                                memory_order_acquire) == position + 1;
}

void arena_shared_begin(struct arena *arena, uint64_t position)
{
    atomic_store(&arena->header->shared[position % ARENA_SHARED].stamp, 0);
}

void arena_shared_commit(struct arena *arena, uint64_t position)
{
    atomic_store_explicit(&arena->header->shared[position % ARENA_SHARED].stamp, position + 1,
                          memory_order_release);
    arena_ring(arena);
}
