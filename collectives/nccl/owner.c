/* The thread that makes every call into NCCL and CUDA for a communicator; see comm.h. */
#include "collectives/nccl/inside.h"

#include "common/clock.h"

#include <string.h>

#define BUSY (20 * RK_US) /* between two polls while something is under way */
#define IDLE (5 * RK_MS)  /* between two looks at an idle communicator's error */
#define SHRINK_ABORT 1    /* NCCL_SHRINK_ABORT, which older headers lack */

/* Around each call, so that the watchdog can name the one that hangs. */
static void enter(struct comm *comm, const char *call)
{
    comm->calling = call;
    comm->called_at = rk_clock_now();
    pthread_mutex_unlock(&comm->lock);
}

static void leave(struct comm *comm)
{
    pthread_mutex_lock(&comm->lock);
    comm->calling = NULL;
}

/* `result` = the result of `expression`, a call into a library; with the lock before and after. */
#define CALL(comm, result, name, expression) \
    do {                                     \
        enter(comm, name);                   \
        (result) = (expression);             \
        leave(comm);                         \
    } while (0)

static void fail_nccl(struct comm *comm, rk_word word, ncclResult_t result, const char *call)
{
    comm->failed = word;
    comm->failure = api_nccl_fail(comm->options.api, &comm->why, result, comm->handle, call,
                                  comm->rank, comm->world);
}

static void fail_cuda(struct comm *comm, rk_word word, cudaError_t error, const char *call)
{
    api_cuda_fail(comm->options.api, &comm->why, error, call, comm->options.device);
    comm->failed = word;
    comm->failure = RK_ETRANSPORT;
}

static bool late(const struct comm *comm)
{
    return rk_clock_now() - comm->started >= comm->options.form_limit;
}

static void fail_late(struct comm *comm, rk_word word, const char *what)
{
    comm->failed = word;
    comm->failure =
        rk_fail(&comm->why, RK_ETRANSPORT,
                "rank %d of %d: %s was not complete after %.1f s; is a peer missing, or NCCL's "
                "network interface the wrong one (NCCL_SOCKET_IFNAME)? NCCL_DEBUG=INFO says more",
                comm->rank, comm->world, what, (double)comm->options.form_limit / (double)RK_S);
}

/* Poll of a communicator: ncclInProgress, ncclSuccess, or its error. */
static ncclResult_t poll_handle(struct comm *comm, ncclComm_t handle)
{
    ncclResult_t state = ncclSuccess;
    ncclResult_t result;

    CALL(comm, result, "ncclCommGetAsyncError", comm->options.api->async_error(handle, &state));
    return result != ncclSuccess ? result : state;
}

/* ---- ways into a state ----------------------------------------------------------------------- */

/* After an abort its handle is never touched again: not even to poll. */
static void abort_one(struct comm *comm, ncclComm_t handle)
{
    ncclResult_t ignored;

    if (handle != NULL)
        CALL(comm, ignored, "ncclCommAbort", comm->options.api->abort(handle));
    (void)ignored;
}

/* The event that leads to ABSENT, with what leads there. */
static void drop(struct comm *comm, enum comm_event event)
{
    ncclComm_t child = comm->child;

    abort_one(comm, child);
    comm->child = NULL;
    if (comm->state != COMM_STUCK)
        abort_one(comm, comm->handle);
    comm->handle = NULL;
    comm_event(comm, event);
}

static void begin(struct comm *comm, const struct comm_membership *to, enum comm_event event)
{
    comm->word = to->word;
    comm->rank = to->rank;
    comm->world = to->world;
    comm->first = comm->done = comm->launched = comm->posted;
    comm->started = rk_clock_now();
    for (int o = 0; o < COMM_MAX_OPS; o++)
        comm->stage[o] = OP_POSTED;
    comm_event(comm, event);
}

static void form_by_id(struct comm *comm, const struct comm_membership *to)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id = comm->wanted_id;
    ncclResult_t result;

    if (comm->state != COMM_ABSENT)
        drop(comm, COMM_EV_ABORT);
    if (comm->state == COMM_STUCK)
        return;
    config.blocking = 0;
    begin(comm, to, COMM_EV_FORM);
    CALL(comm, result, "ncclCommInitRankConfig",
         comm->options.api->init_rank(&comm->handle, to->world, id, to->rank, &config));
    if (result == ncclSuccess || result == ncclInProgress)
        return;
    fail_nccl(comm, to->word, result, "ncclCommInitRankConfig");
    drop(comm, COMM_EV_FAILED);
}

static int cannot_shrink(const struct comm *comm, const struct comm_membership *to,
                         struct rk_why *why)
{
    if (comm->state == COMM_ABSENT)
        return rk_fail(why, RK_ETRANSPORT,
                       "rank %d of %d: the communicator of the generation before is gone, so there "
                       "is nothing to shrink; form this one from a new id",
                       to->rank, to->world);
    if (comm->options.api->shrink == NULL)
        return rk_fail(why, RK_ETRANSPORT,
                       "rank %d of %d: NCCL %d cannot shrink a communicator (2.27 can); form the "
                       "generation from a new id",
                       to->rank, to->world, comm->options.api->version);
    if (comm->world - to->lost_count != to->world)
        return rk_fail(why, RK_ETRANSPORT,
                       "rank %d of %d: %d ranks without %d lost ones are not %d; form the "
                       "generation from a new id",
                       to->rank, to->world, comm->world, to->lost_count, to->world);
    return 0;
}

static void shrink(struct comm *comm, const struct comm_membership *to)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclResult_t result;

    config.blocking = 0;
    memcpy(comm->lost, comm->wanted_lost, sizeof comm->lost);
    begin(comm, to, COMM_EV_SHRINK);
    CALL(comm, result, "ncclCommShrink",
         comm->options.api->shrink(comm->handle, comm->lost, to->lost_count,
                                   (ncclComm_t *)&comm->child, &config, SHRINK_ABORT));
    if (result == ncclSuccess || result == ncclInProgress)
        return;
    fail_nccl(comm, to->word, result, "ncclCommShrink");
    drop(comm, COMM_EV_FAILED);
}

/* What is wanted cannot be, because the old communicator did not stop; a new id still can. */
static void fail_revoke(struct comm *comm, ncclResult_t result)
{
    if (comm->wanted.id == NULL) {
        if (result == ncclInProgress)
            fail_late(comm, comm->wanted.word, "ncclCommRevoke");
        else
            fail_nccl(comm, comm->wanted.word, result, "ncclCommRevoke");
        comm->wanted.word = 0;
    }
    drop(comm, COMM_EV_FAILED);
}

static void stop_for_shrink(struct comm *comm)
{
    ncclResult_t result;

    if (comm->options.api->revoke == NULL) {
        comm_event(comm, COMM_EV_HOLD);
        return;
    }
    comm->started = rk_clock_now();
    comm_event(comm, COMM_EV_REVOKE);
    CALL(comm, result, "ncclCommRevoke", comm->options.api->revoke(comm->handle, 0));
    if (result != ncclSuccess && result != ncclInProgress)
        fail_revoke(comm, result);
}

/* With something wanted, in ABSENT, READY or HELD. */
static void take_up(struct comm *comm)
{
    const struct comm_membership to = comm->wanted;
    int rc = to.id == NULL ? cannot_shrink(comm, &to, &comm->why) : 0;

    if (rc == 0 && to.id == NULL && comm->state == COMM_READY) {
        stop_for_shrink(comm);
        return;
    }
    comm->wanted.word = 0;
    if (rc != 0) {
        comm->failed = to.word;
        comm->failure = rc;
        drop(comm, COMM_EV_ABORT);
    } else if (to.id == NULL) {
        shrink(comm, &to);
    } else {
        form_by_id(comm, &to);
    }
}

/* ---- polls ----------------------------------------------------------------------------------- */

static void poll_forming(struct comm *comm, const char *what)
{
    bool shrinking = comm->state == COMM_SHRINKING;
    ncclComm_t young = shrinking ? comm->child : comm->handle;
    /* NCCL sets a child's handle some time after the shrink was asked for */
    ncclResult_t result = poll_handle(comm, young != NULL ? young : comm->handle);

    if (young == NULL && result == ncclSuccess && comm->child == NULL)
        result = ncclInProgress;
    if (comm->state == COMM_STUCK)
        return;
    if (comm_over(comm, comm->word)) {
        drop(comm, COMM_EV_ABORT);
    } else if (result == ncclInProgress && late(comm)) {
        fail_late(comm, comm->word, what);
        drop(comm, COMM_EV_FAILED);
    } else if (result != ncclSuccess && result != ncclInProgress) {
        fail_nccl(comm, comm->word, result, what);
        drop(comm, COMM_EV_FAILED);
    } else if (result == ncclSuccess && young != NULL) {
        ncclComm_t old = comm->handle;

        if (shrinking) {
            comm->handle = young;
            comm->child = NULL;
            abort_one(comm, old);
        }
        comm_event(comm, COMM_EV_DONE);
    }
}

static void poll_revoking(struct comm *comm)
{
    ncclResult_t result = poll_handle(comm, comm->handle);

    if (result == ncclSuccess) {
        comm_event(comm, COMM_EV_DONE);
        return;
    }
    if (result != ncclInProgress || late(comm))
        fail_revoke(comm, result);
}

/* With the lock left while NCCL is called: `calling` stands for the whole of it. */
static ncclResult_t exchange(const struct comm *comm, const struct comm_op *op)
{
    const struct api *api = comm->options.api;
    ncclResult_t first = api->group_start();
    ncclResult_t result = ncclSuccess;
    ncclResult_t last;

    if (first != ncclSuccess)
        return first;
    for (uint32_t p = 0; p < op->piece_count && result == ncclSuccess; p++) {
        const struct comm_piece *piece = &op->piece[p];

        result = piece->send != NULL ? api->send(piece->send, piece->count, op->type, piece->peer,
                                                 comm->handle, comm->stream)
                                     : api->recv(piece->recv, piece->count, op->type, piece->peer,
                                                 comm->handle, comm->stream);
        if (result == ncclInProgress)
            result = ncclSuccess; /* the group's end tells */
    }
    last = api->group_end();
    return result == ncclSuccess ? last : result;
}

static const char *const kind_names[] = {[COMM_ALL_REDUCE] = "ncclAllReduce",
                                         [COMM_ALL_GATHER] = "ncclAllGather",
                                         [COMM_EXCHANGE] = "ncclSend and ncclRecv"};

static ncclResult_t launch(struct comm *comm, const struct comm_op *op)
{
    const struct api *api = comm->options.api;
    ncclResult_t result;

    if (op->kind == COMM_EXCHANGE)
        CALL(comm, result, kind_names[op->kind], exchange(comm, op));
    else if (op->kind == COMM_ALL_GATHER)
        CALL(comm, result, kind_names[op->kind],
             api->all_gather(op->send, op->recv, op->count, op->type, comm->handle, comm->stream));
    else
        CALL(comm, result, kind_names[op->kind],
             api->all_reduce(op->send, op->recv, op->count, op->type, ncclSum, comm->handle,
                             comm->stream));
    return result;
}

/* The oldest operation that is not on the GPU yet; false: nothing more can be done now. */
static bool launch_next(struct comm *comm)
{
    uint64_t at = comm->launched % COMM_MAX_OPS;
    const struct comm_op op = comm->op[at];
    ncclResult_t result;
    cudaError_t error;

    if (comm->stage[at] == OP_POSTED && op.after != NULL) {
        CALL(comm, error, "cudaStreamWaitEvent",
             comm->options.api->stream_wait_event(comm->stream, op.after, 0));
        if (error != cudaSuccess) {
            fail_cuda(comm, comm->word, error, "cudaStreamWaitEvent");
            return false;
        }
    }
    if (comm->stage[at] == OP_LAUNCHING)
        result = poll_handle(comm, comm->handle);
    else
        result = launch(comm, &op);
    comm->stage[at] = OP_LAUNCHING;
    if (result == ncclInProgress)
        return false;
    if (result != ncclSuccess) {
        fail_nccl(comm, comm->word, result, kind_names[op.kind]);
        return false;
    }
    CALL(comm, error, "cudaEventRecord",
         comm->options.api->event_record(comm->event[at], comm->stream));
    if (error != cudaSuccess)
        fail_cuda(comm, comm->word, error, "cudaEventRecord");
    comm->stage[at] = OP_RUNNING;
    comm->launched++;
    return error == cudaSuccess;
}

/* The oldest operation on the GPU; false: nothing new. */
static bool finish_next(struct comm *comm)
{
    ncclResult_t result;
    cudaError_t error;

    CALL(comm, error, "cudaEventQuery",
         comm->options.api->event_query(comm->event[comm->done % COMM_MAX_OPS]));
    if (error == cudaErrorNotReady)
        return false;
    if (error != cudaSuccess) {
        fail_cuda(comm, comm->word, error, "an operation of NCCL");
        return false;
    }
    /* a kernel that gave up ends like one that is done: ask before it counts */
    result = poll_handle(comm, comm->handle);
    if (result != ncclSuccess && result != ncclInProgress)
        fail_nccl(comm, comm->word, result, "an operation of NCCL");
    if (comm->failed == comm->word || comm->state != COMM_READY || comm_over(comm, comm->word))
        return false;
    comm->stage[comm->done % COMM_MAX_OPS] = OP_POSTED;
    comm->done++;
    pthread_cond_broadcast(&comm->changed);
    return true;
}

static bool working(const struct comm *comm)
{
    return comm->state == COMM_READY && comm->failed != comm->word &&
           !comm_over(comm, comm->word) && comm->wanted.word == 0 && !comm->closing;
}

static void poll_ready(struct comm *comm)
{
    ncclResult_t result = poll_handle(comm, comm->handle);

    if (result != ncclSuccess && result != ncclInProgress) {
        fail_nccl(comm, comm->word, result, "an operation of NCCL");
        pthread_cond_broadcast(&comm->changed);
        return;
    }
    while (working(comm) && comm->launched < comm->posted)
        if (!launch_next(comm))
            break;
    while (working(comm) && comm->done < comm->launched)
        if (!finish_next(comm))
            break;
    if (comm->failed == comm->word)
        pthread_cond_broadcast(&comm->changed);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void turn(struct comm *comm)
{
    switch (comm->state) {
    case COMM_FORMING:
        poll_forming(comm, "ncclCommInitRankConfig");
        break;
    case COMM_SHRINKING:
        poll_forming(comm, "ncclCommShrink");
        break;
    case COMM_REVOKING:
        poll_revoking(comm);
        break;
    default:
        if (comm->wanted.word != 0 && comm->state != COMM_STUCK)
            take_up(comm);
        else if (working(comm))
            poll_ready(comm);
        break;
    }
}

static uint64_t pause_of(const struct comm *comm)
{
    bool waits = comm->state == COMM_FORMING || comm->state == COMM_SHRINKING ||
                 comm->state == COMM_REVOKING || comm->wanted.word != 0;

    return waits || (working(comm) && comm->done < comm->posted) ? BUSY : IDLE;
}

/* With the lock. */
static cudaError_t open_gpu(struct comm *comm, const char **call)
{
    const struct api *api = comm->options.api;
    cudaError_t error;

    *call = "cudaSetDevice";
    CALL(comm, error, *call, api->set_device(comm->options.device));
    if (error == cudaSuccess) {
        *call = "cudaStreamCreateWithFlags";
        CALL(comm, error, *call, api->stream_create(&comm->stream, cudaStreamNonBlocking));
    }
    for (int e = 0; error == cudaSuccess && e < COMM_MAX_OPS; e++) {
        *call = "cudaEventCreateWithFlags";
        CALL(comm, error, *call, api->event_create(&comm->event[e], cudaEventDisableTiming));
    }
    return error;
}

static void close_gpu(struct comm *comm)
{
    cudaError_t ignored;

    for (int e = 0; e < COMM_MAX_OPS; e++)
        if (comm->event[e] != NULL)
            CALL(comm, ignored, "cudaEventDestroy",
                 comm->options.api->event_destroy(comm->event[e]));
    if (comm->stream != NULL)
        CALL(comm, ignored, "cudaStreamDestroy", comm->options.api->stream_destroy(comm->stream));
    (void)ignored;
}

void *comm_owner(void *argument)
{
    struct comm *comm = argument;
    const char *call;
    cudaError_t error;

    pthread_mutex_lock(&comm->lock);
    error = open_gpu(comm, &call);
    if (error != cudaSuccess && comm->state != COMM_STUCK)
        comm->failure =
            api_cuda_fail(comm->options.api, &comm->why, error, call, comm->options.device);
    comm->opened = true;
    pthread_cond_broadcast(&comm->changed);
    while (!comm->closing && comm->state != COMM_STUCK) {
        turn(comm);
        if (!comm->closing && comm->state != COMM_STUCK)
            comm_sleep(comm, pause_of(comm));
    }
    if (comm->state != COMM_STUCK)
        drop(comm, COMM_EV_ABORT);
    if (comm->state != COMM_STUCK)
        close_gpu(comm);
    comm->closed = true;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
    return NULL;
}
