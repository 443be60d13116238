/* A double of libnccl over files that processes share: libnccl-double.so and its siblings, which
 * lack what older versions lack (DOUBLE_VERSION) or are broken (DOUBLE_LACKS_ALL_REDUCE).
 *
 * An id is the path of a file in NCCL_DOUBLE_DIR in which the ranks of a communicator meet.  Calls
 * return ncclInProgress where NCCL's do.  A communicator that is stopped (revoked, aborted) lets
 * its operations end with garbage, as GPU kernels that give up do.  Told by the environment:
 *
 *   NCCL_DOUBLE_INIT=fail     NCCL_DOUBLE_REVOKE=fail|hang     NCCL_DOUBLE_ABORT=block
 *   NCCL_DOUBLE_SHRINK=fail|late|hang    (late: asked later, it failed; hang: in progress for ever)
 *   NCCL_DOUBLE_OP=fail       an operation's error comes asynchronously
 *   NCCL_DOUBLE_OP_ONCE=FILE  the same, for who removes that file
 *   NCCL_DOUBLE_HANG_ONCE=FILE  for who removes that file no operation moves on, and so for nobody
 *   NCCL_DOUBLE_DEAD_ONCE=FILE  the same, and it does not end when it is stopped: a dead GPU
 *
 * A use after ncclCommAbort ends the process. */
#include "tests/nccl/cuda_double.h"

#include <errno.h>
#include <fcntl.h>
#include <nccl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef DOUBLE_VERSION
#define DOUBLE_VERSION 22809
#endif

#define MAX_RANKS 16
#define SLOT_BYTES (1 << 20)
#define BOX_BYTES 65536
#define SLOTS 2
#define MAX_COMMS 256
#define MAX_PIECES 1024

/* What one rank sends to another goes through it, so much at a time. */
struct box {
    _Atomic uint64_t sent, taken; /* bytes, ever */
    char data[BOX_BYTES];
};

struct member {
    _Atomic uint64_t arrived; /* operations whose data lies in a slot */
    _Atomic uint64_t taken;   /* operations that this rank has read */
    char slot[SLOTS][SLOT_BYTES];
    struct box box[MAX_RANKS]; /* to each */
};

struct meeting {
    _Atomic int size; /* of who came first */
    _Atomic int joined;
    struct member member[MAX_RANKS];
};

struct ncclComm {
    char path[128];
    struct meeting *meeting;
    int rank, size;
    uint64_t posted;
    _Atomic int stopped, hangs, dead;
    ncclResult_t error;
    int polls; /* left before a revoke or a shrink is complete; < 0: for ever */
    ncclComm_t young, *place;
    int joins; /* not yet all there */
    ncclComm_t next_gone;
};

struct work {
    ncclComm_t comm;
    uint64_t number;
    int is_gather;
    const void *send;
    void *recv;
    size_t count, bytes;
    int written;
};

struct piece {
    int peer;
    const char *send; /* NULL: receives */
    char *recv;
    size_t bytes, done;
};

/* What one group of sends and receives does; of one communicator and one stream. */
struct group {
    ncclComm_t comm;
    cudaStream_t stream;
    int open, count;
    struct piece piece[MAX_PIECES];
};

static _Thread_local struct group group;
static ncclComm_t live[MAX_COMMS];
static ncclComm_t gone; /* all whose memory stays */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int told(const char *name, const char *value)
{
    const char *is = getenv(name);

    return is != NULL && strcmp(is, value) == 0;
}

static int removed(const char *name)
{
    const char *once = getenv(name);

    return once != NULL && unlink(once) == 0;
}

static int op_fails(void)
{
    return told("NCCL_DOUBLE_OP", "fail") || removed("NCCL_DOUBLE_OP_ONCE");
}

static void may_hang(ncclComm_t comm)
{
    comm->hangs |= removed("NCCL_DOUBLE_HANG_ONCE");
    comm->dead |= removed("NCCL_DOUBLE_DEAD_ONCE");
}

static void check(ncclComm_t comm)
{
    for (int c = 0; c < MAX_COMMS; c++)
        if (live[c] == comm && comm != NULL)
            return;
    fprintf(stderr, "nccl double: a communicator was used after its abort\n");
    abort();
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = DOUBLE_VERSION;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclRemoteError ? "remote process exited or there was a network error"
                                     : "unhandled system error";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return "told by the double";
}

static struct meeting *meet(const char *path, int flags)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    struct meeting *meeting;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof *meeting) != 0)
        abort();
    meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return meeting == MAP_FAILED ? NULL : meeting;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId)
{
    static _Atomic int number;
    const char *folder = getenv("NCCL_DOUBLE_DIR");
    struct meeting *meeting;

    memset(uniqueId, 0, sizeof *uniqueId);
    snprintf(uniqueId->internal, sizeof uniqueId->internal, "%s/id-%d-%d",
             folder == NULL ? "." : folder, (int)getpid(), atomic_fetch_add(&number, 1));
    meeting = meet(uniqueId->internal, O_CREAT | O_EXCL);
    if (meeting == NULL)
        return ncclSystemError;
    munmap(meeting, sizeof *meeting);
    return ncclSuccess;
}

/* An id that was complete before, or of another size, is of an old generation. */
static ncclComm_t join(const char *path, int flags, int rank, int size)
{
    ncclComm_t comm = calloc(1, sizeof *comm);
    int none = 0;

    if (comm == NULL || size > MAX_RANKS)
        abort();
    snprintf(comm->path, sizeof comm->path, "%s", path);
    comm->meeting = meet(path, flags);
    comm->rank = rank;
    comm->size = size;
    comm->joins = 1;
    if (comm->meeting == NULL)
        comm->error = ncclSystemError;
    else if ((!atomic_compare_exchange_strong(&comm->meeting->size, &none, size) && none != size) ||
             atomic_fetch_add(&comm->meeting->joined, 1) >= size)
        comm->error = ncclRemoteError;
    pthread_mutex_lock(&lock);
    for (int c = 0; c < MAX_COMMS; c++)
        if (live[c] == NULL) {
            live[c] = comm;
            pthread_mutex_unlock(&lock);
            return comm;
        }
    abort();
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank,
                                    ncclConfig_t *config)
{
    if (config->blocking != 0) {
        fprintf(stderr, "nccl double: a communicator must be non-blocking\n");
        abort();
    }
    if (told("NCCL_DOUBLE_INIT", "fail"))
        return ncclSystemError;
    *comm = join(commId.internal, 0, rank, nranks);
    return ncclInProgress;
}

/* A parent tells of its shrink: its child's handle appears while it is in progress. */
static ncclResult_t progress(ncclComm_t comm)
{
    if (comm->polls < 0)
        return ncclInProgress;
    if (comm->polls > 0 && --comm->polls > 0)
        return ncclInProgress;
    if (comm->place != NULL && told("NCCL_DOUBLE_SHRINK", "late"))
        return ncclRemoteError;
    if (comm->place != NULL) {
        *comm->place = comm->young;
        comm->place = NULL;
    }
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error)
{
    check(comm);
    *error = comm->error;
    if (*error == ncclSuccess && comm->joins) {
        if (atomic_load(&comm->meeting->joined) < comm->size)
            *error = ncclInProgress;
        else
            comm->joins = 0;
    }
    if (*error == ncclSuccess)
        *error = progress(comm);
    return ncclSuccess;
}

#if DOUBLE_VERSION >= 22807
ncclResult_t ncclCommRevoke(ncclComm_t comm, int flags)
{
    check(comm);
    if (flags != 0 || told("NCCL_DOUBLE_REVOKE", "fail"))
        return ncclSystemError;
    atomic_store(&comm->stopped, 1);
    comm->polls = told("NCCL_DOUBLE_REVOKE", "hang") ? -1 : 3;
    return ncclInProgress;
}
#endif

#if DOUBLE_VERSION >= 22700
ncclResult_t ncclCommShrink(ncclComm_t comm, int *excludeRanksList, int excludeRanksCount,
                            ncclComm_t *newcomm, ncclConfig_t *config, int shrinkFlags)
{
    char path[160];
    int rank = comm->rank;
    int length;

    check(comm);
    if (shrinkFlags != NCCL_SHRINK_ABORT || config == NULL || told("NCCL_DOUBLE_SHRINK", "fail"))
        return ncclSystemError;
    length = snprintf(path, sizeof path, "%s-without", comm->path);
    for (int l = 0; l < excludeRanksCount; l++) {
        length += snprintf(path + length, sizeof path - (size_t)length, "-%d", excludeRanksList[l]);
        rank -= excludeRanksList[l] < comm->rank;
    }
    atomic_store(&comm->stopped, 1);
    *newcomm = NULL;
    comm->polls = told("NCCL_DOUBLE_SHRINK", "hang") ? -1 : 3;
    comm->place = newcomm;
    comm->young = join(path, O_CREAT, rank, comm->size - excludeRanksCount);
    return ncclInProgress;
}
#endif

/* The communicator's memory stays, for the work that streams still have; its place does not. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    check(comm);
    while (told("NCCL_DOUBLE_ABORT", "block"))
        pause();
    atomic_store(&comm->stopped, 1);
    cuda_double_pump(); /* its operations have ended when this returns */
    pthread_mutex_lock(&lock);
    for (int c = 0; c < MAX_COMMS; c++)
        if (live[c] == comm)
            live[c] = NULL;
    comm->next_gone = gone;
    gone = comm;
    pthread_mutex_unlock(&lock);
    return ncclSuccess;
}

/* ---- operations ------------------------------------------------------------------------------ */

static int all_reached(const struct work *work, int is_taken, uint64_t number)
{
    for (int m = 0; m < work->comm->size; m++) {
        struct member *member = &work->comm->meeting->member[m];

        if (atomic_load(is_taken ? &member->taken : &member->arrived) < number)
            return 0;
    }
    return 1;
}

static void take(const struct work *work)
{
    struct meeting *meeting = work->comm->meeting;
    float *sum = work->recv;

    for (int m = 0; m < work->comm->size; m++) {
        const char *slot = meeting->member[m].slot[work->number % SLOTS];
        const float *value = (const float *)(const void *)slot;

        if (work->is_gather)
            memcpy((char *)work->recv + (size_t)m * work->bytes, slot, work->bytes);
        else
            for (size_t i = 0; i < work->count; i++)
                sum[i] = m == 0 ? value[i] : sum[i] + value[i];
    }
}

static bool work_poll(void *context)
{
    struct work *work = context;
    struct member *self = &work->comm->meeting->member[work->comm->rank];

    if (work->comm->dead)
        return false;
    if (atomic_load(&work->comm->stopped)) {
        memset(work->recv, 0xab,
               work->is_gather ? work->bytes * (size_t)work->comm->size : work->bytes);
        return true;
    }
    if (work->comm->hangs)
        return false;
    if (!work->written) {
        if (work->number >= SLOTS && !all_reached(work, 1, work->number - SLOTS + 1))
            return false;
        memcpy(self->slot[work->number % SLOTS], work->send, work->bytes);
        atomic_store(&self->arrived, work->number + 1);
        work->written = 1;
    }
    if (!all_reached(work, 0, work->number + 1))
        return false;
    take(work);
    atomic_store(&self->taken, work->number + 1);
    return true;
}

static ncclResult_t post(ncclComm_t comm, int is_gather, const void *send, void *recv, size_t count,
                         ncclDataType_t type, cudaStream_t stream)
{
    struct work *work = calloc(1, sizeof *work);
    size_t size = type == ncclFloat32 ? sizeof(float) : 1;

    check(comm);
    if (work == NULL || count * size > SLOT_BYTES || (type != ncclFloat32 && type != ncclUint8))
        abort();
    if (atomic_load(&comm->stopped)) {
        free(work);
        return ncclInvalidUsage;
    }
    *work = (struct work){.comm = comm,
                          .number = comm->posted++,
                          .is_gather = is_gather,
                          .send = send,
                          .recv = recv,
                          .count = count,
                          .bytes = count * size};
    may_hang(comm);
    cuda_double_enqueue(stream, work_poll, work);
    if (op_fails())
        comm->error = ncclRemoteError;
    comm->polls = 2;
    return ncclInProgress;
}

#ifndef DOUBLE_LACKS_ALL_REDUCE
ncclResult_t ncclAllReduce(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    if (op != ncclSum || type != ncclFloat32)
        abort();
    return post(comm, 0, send, recv, count, type, stream);
}
#endif

ncclResult_t ncclAllGather(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    return post(comm, 1, send, recv, count, type, stream);
}

/* ---- sends and receives -----------------------------------------------------------------------
 */

static bool piece_turn(struct group *work, struct piece *piece)
{
    struct member *member = work->comm->meeting->member;
    int self = work->comm->rank;
    struct box *box =
        piece->send != NULL ? &member[self].box[piece->peer] : &member[piece->peer].box[self];
    size_t waiting = (size_t)(atomic_load(&box->sent) - atomic_load(&box->taken));
    size_t left = piece->bytes - piece->done;

    if (left == 0)
        return true;
    if ((piece->send != NULL) != (waiting == 0))
        return false;
    if (piece->send != NULL) {
        waiting = left < BOX_BYTES ? left : BOX_BYTES;
        memcpy(box->data, piece->send + piece->done, waiting);
        atomic_fetch_add(&box->sent, waiting);
    } else {
        if (waiting > left)
            abort(); /* what was sent is not what was to be received */
        memcpy(piece->recv + piece->done, box->data, waiting);
        atomic_fetch_add(&box->taken, waiting);
    }
    piece->done += waiting;
    return piece->done == piece->bytes;
}

/* Pieces between two ranks go one after the other, in the order in which they were given. */
static bool comes_later(const struct group *work, int p)
{
    for (int q = 0; q < p; q++)
        if (work->piece[q].peer == work->piece[p].peer &&
            (work->piece[q].send != NULL) == (work->piece[p].send != NULL) &&
            work->piece[q].done < work->piece[q].bytes)
            return true;
    return false;
}

static bool group_poll(void *context)
{
    struct group *work = context;
    bool stopped = atomic_load(&work->comm->stopped) != 0;
    bool all = true;

    if (work->comm->dead || (work->comm->hangs && !stopped))
        return false;
    for (int p = 0; p < work->count; p++) {
        struct piece *piece = &work->piece[p];

        if (stopped && piece->recv != NULL)
            memset(piece->recv, 0xab, piece->bytes);
        else if (!stopped)
            all = !comes_later(work, p) && piece_turn(work, piece) && all;
    }
    return stopped || all;
}

static ncclResult_t add_piece(const void *send, void *recv, size_t count, ncclDataType_t type,
                              int peer, ncclComm_t comm, cudaStream_t stream)
{
    check(comm);
    if (!group.open || group.count == MAX_PIECES || type != ncclFloat32 || peer == comm->rank ||
        peer < 0 || peer >= comm->size || (group.comm != NULL && group.comm != comm))
        abort();
    if (atomic_load(&comm->stopped))
        return ncclInvalidUsage;
    group.comm = comm;
    group.stream = stream;
    group.piece[group.count++] =
        (struct piece){.peer = peer, .send = send, .recv = recv, .bytes = count * sizeof(float)};
    return ncclInProgress;
}

ncclResult_t ncclGroupStart(void)
{
    if (group.open++ == 0) {
        group.count = 0;
        group.comm = NULL;
    }
    return ncclSuccess;
}

ncclResult_t ncclSend(const void *send, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add_piece(send, NULL, count, type, peer, comm, stream);
}

ncclResult_t ncclRecv(void *recv, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add_piece(NULL, recv, count, type, peer, comm, stream);
}

ncclResult_t ncclGroupEnd(void)
{
    struct group *work;

    if (--group.open > 0 || group.comm == NULL)
        return ncclSuccess;
    work = malloc(sizeof *work);
    if (work == NULL)
        abort();
    *work = group;
    may_hang(group.comm);
    if (op_fails())
        group.comm->error = ncclRemoteError;
    group.comm->polls = 2;
    cuda_double_enqueue(group.stream, group_poll, work);
    return ncclInProgress;
}
