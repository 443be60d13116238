/* The callers' side of a communicator, and its watchdog; see comm.h. */
#include "collectives/nccl/inside.h"

#include "common/clock.h"
#include "common/thread.h"

#include <stdlib.h>
#include <string.h>

#define GLANCE (1 * RK_MS) /* how often a wait looks at the membership word */

bool comm_event(struct comm *comm, enum comm_event event)
{
    int next = comm_next(comm->state, event);

    if (next < 0)
        return false;
    comm->state = (enum comm_state)next;
    pthread_cond_broadcast(&comm->changed);
    return true;
}

void comm_sleep(struct comm *comm, uint64_t longest)
{
    uint64_t until = rk_clock_now() + longest;
    struct timespec at = {.tv_sec = (time_t)(until / RK_S), .tv_nsec = (long)(until % RK_S)};

    pthread_cond_timedwait(&comm->changed, &comm->lock, &at);
}

bool comm_over(const struct comm *comm, rk_word word)
{
    return atomic_load_explicit(comm->options.word, memory_order_acquire) != word;
}

/* ---- the watchdog ---------------------------------------------------------------------------- */

/* With the lock. */
static void declare_stuck(struct comm *comm)
{
    struct rk_why why;

    comm_event(comm, COMM_EV_HUNG);
    comm->failure =
        rk_fail(&comm->why, RK_ETRANSPORT,
                "rank %d of %d: %s on GPU %d has not come back for %.1f s; this process must be "
                "replaced; NCCL_DEBUG=INFO and the kernel's log (dmesg, Xid) tell why",
                comm->rank, comm->world, comm->calling, comm->options.device,
                (double)(rk_clock_now() - comm->called_at) / (double)RK_S);
    why = comm->why;
    pthread_mutex_unlock(&comm->lock);
    if (comm->options.stuck != NULL)
        comm->options.stuck(comm->options.context, &why);
    pthread_mutex_lock(&comm->lock);
}

static void *watch(void *argument)
{
    struct comm *comm = argument;

    pthread_mutex_lock(&comm->lock);
    while (!comm->closed && comm->state != COMM_STUCK) {
        if (comm->calling != NULL && rk_clock_now() - comm->called_at >= comm->options.call_limit)
            declare_stuck(comm);
        else
            comm_sleep(comm, comm->options.call_limit / 4 + 1);
    }
    pthread_mutex_unlock(&comm->lock);
    return NULL;
}

/* ---- from birth to death --------------------------------------------------------------------- */

static void release(struct comm *comm)
{
    pthread_cond_destroy(&comm->changed);
    pthread_mutex_destroy(&comm->lock);
    free(comm);
}

static struct comm *allocate(const struct comm_options *options)
{
    struct comm *comm = calloc(1, sizeof *comm);
    pthread_condattr_t monotonic;

    if (comm == NULL)
        return NULL;
    comm->options = *options;
    pthread_mutex_init(&comm->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&comm->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return comm;
}

static int start(struct comm *comm, struct rk_why *why)
{
    int errnum = rk_thread_begin(&comm->watchdog, 0, watch, comm);

    if (errnum != 0) {
        release(comm);
        return rk_fail_errno(why, errnum, "starting the watchdog of NCCL");
    }
    errnum = rk_thread_begin(&comm->owner, 0, comm_owner, comm);
    if (errnum == 0)
        return 0;
    pthread_mutex_lock(&comm->lock);
    comm->closed = true;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
    pthread_join(comm->watchdog, NULL);
    release(comm);
    return rk_fail_errno(why, errnum, "starting the owner thread of NCCL");
}

int comm_new(const struct comm_options *options, struct comm **out, struct rk_why *why)
{
    struct comm *comm = allocate(options);
    int rc;

    if (comm == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for a communicator of NCCL; free some");
    rc = start(comm, why);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&comm->lock);
    while (!comm->opened && comm->state != COMM_STUCK)
        comm_sleep(comm, RK_S);
    rc = comm->failure;
    if (rc != 0 && why != NULL)
        *why = comm->why;
    pthread_mutex_unlock(&comm->lock);
    if (rc != 0)
        comm_free(comm);
    else
        *out = comm;
    return rc;
}

void comm_stop(struct comm *comm)
{
    pthread_mutex_lock(&comm->lock);
    comm->stopped = true;
    pthread_cond_broadcast(&comm->changed);
    pthread_mutex_unlock(&comm->lock);
}

void comm_free(struct comm *comm)
{
    bool stuck; /* and its owner still in the call */

    if (comm == NULL)
        return;
    pthread_mutex_lock(&comm->lock);
    comm->closing = true;
    pthread_cond_broadcast(&comm->changed);
    while (!comm->closed && comm->state != COMM_STUCK)
        comm_sleep(comm, RK_S);
    stuck = !comm->closed;
    pthread_mutex_unlock(&comm->lock);
    pthread_join(comm->watchdog, NULL);
    if (stuck) {
        pthread_detach(comm->owner);
        return;
    }
    pthread_join(comm->owner, NULL);
    release(comm);
}

enum comm_state comm_state(struct comm *comm)
{
    enum comm_state state;

    pthread_mutex_lock(&comm->lock);
    state = comm->state;
    pthread_mutex_unlock(&comm->lock);
    return state;
}

rk_word comm_whole(struct comm *comm)
{
    rk_word word;

    pthread_mutex_lock(&comm->lock);
    word = comm->state == COMM_READY ? comm->word : 0;
    pthread_mutex_unlock(&comm->lock);
    return word;
}

/* ---- generations ----------------------------------------------------------------------------- */

static int check_membership(const struct comm *comm, const struct comm_membership *to,
                            struct rk_why *why)
{
    if (to->word <= comm->asked)
        return rk_fail(why, RK_ESTALE,
                       "a communicator of generation %llu was asked for after generation %llu",
                       (unsigned long long)rk_word_generation(to->word),
                       (unsigned long long)rk_word_generation(comm->asked));
    if (to->world < 1 || to->rank < 0 || to->rank >= to->world)
        return rk_fail(why, RK_EINVAL, "rank %d of a world of %d does not exist", to->rank,
                       to->world);
    if (to->id == NULL && (to->lost_count < 0 || to->lost_count > COMM_MAX_LOST))
        return rk_fail(why, RK_EINVAL,
                       "%d ranks lost at once: more than %d take a new id, not a shrink",
                       to->lost_count, COMM_MAX_LOST);
    return 0;
}

int comm_form(struct comm *comm, const struct comm_membership *to, struct rk_why *why)
{
    int rc;

    pthread_mutex_lock(&comm->lock);
    rc = check_membership(comm, to, why);
    if (rc == 0) {
        comm->wanted = *to;
        comm->asked = to->word;
        if (to->id != NULL)
            comm->wanted_id = *to->id;
        else if (to->lost_count > 0)
            memcpy(comm->wanted_lost, to->lost, (size_t)to->lost_count * sizeof *to->lost);
        pthread_cond_broadcast(&comm->changed);
    }
    pthread_mutex_unlock(&comm->lock);
    return rc;
}

/* With the lock: whether generation `word` can go on: 0, or why not. */
static int alive(const struct comm *comm, rk_word word, struct rk_why *why)
{
    if (comm->state == COMM_STUCK || comm->failed == word) {
        if (why != NULL)
            *why = comm->why;
        return comm->failure;
    }
    if (comm->stopped || comm_over(comm, word) || comm->asked != word)
        return rk_fail(why, RK_ESTALE, "generation %llu is over",
                       (unsigned long long)rk_word_generation(word));
    return 0;
}

/* With the lock: whether the way to generation `word` is at its end, the good or the bad one. */
static bool settled(const struct comm *comm, rk_word word)
{
    return comm->state == COMM_ABSENT || comm->state == COMM_STUCK ||
           (comm->state == COMM_READY && comm->word == word);
}

int comm_formed(struct comm *comm, rk_word word, struct rk_why *why)
{
    int rc;

    pthread_mutex_lock(&comm->lock);
    /* a failure is told when its communicator is gone, which the watchdog limits */
    while (((rc = alive(comm, word, why)) == 0 || rc == RK_ETRANSPORT) &&
           (!settled(comm, word) || (rc == 0 && comm->state != COMM_READY)))
        comm_sleep(comm, GLANCE);
    pthread_mutex_unlock(&comm->lock);
    return rc;
}

/* ---- operations ------------------------------------------------------------------------------ */

int comm_post(struct comm *comm, rk_word word, const struct comm_op *op, uint64_t *ticket,
              struct rk_why *why)
{
    int rc;

    pthread_mutex_lock(&comm->lock);
    rc = alive(comm, word, why);
    if (rc == 0 && (comm->state != COMM_READY || comm->word != word))
        rc = rk_fail(why, RK_ESTATE, "an operation was posted before comm_formed said 0");
    if (rc == 0 && comm->posted - comm->done == COMM_MAX_OPS)
        rc = rk_fail(why, RK_EFULL, "%d operations are under way: wait for one", COMM_MAX_OPS);
    if (rc == 0) {
        comm->op[comm->posted % COMM_MAX_OPS] = *op;
        *ticket = comm->posted++;
        pthread_cond_broadcast(&comm->changed);
    }
    pthread_mutex_unlock(&comm->lock);
    return rc;
}

int comm_wait(struct comm *comm, rk_word word, uint64_t ticket, struct rk_why *why)
{
    int rc = 0;

    pthread_mutex_lock(&comm->lock);
    while (!(comm->word == word && ticket >= comm->first && ticket < comm->done) &&
           (rc = alive(comm, word, why)) == 0)
        comm_sleep(comm, GLANCE);
    pthread_mutex_unlock(&comm->lock);
    return rc;
}
