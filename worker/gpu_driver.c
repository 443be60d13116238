/* The thread that forms communicators and sums steps with other ranks, while the program computes.
 *
 * It works for one generation at a time and ends whatever it does when the membership word moves
 * on; gpu_pause waits for that, before this rank acknowledges.  The rank of index 0 makes the id of
 * a new communicator and says it to its agent, from where it comes to all by way of the
 * coordinator; whoever waits for it asks again every second.  Where the plan says so, the
 * communicator before is shrunk instead. */
#include "worker/gpu_inside.h"

#include "common/clock.h"
#include "common/thread.h"
#include "worker/local.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORM_LIMIT (120 * RK_S)
#define CALL_LIMIT (30 * RK_S)
#define AGAIN (1 * RK_S)
#define GLANCE (2 * RK_MS) /* how often a wait looks at the membership word */

_Static_assert(sizeof(ncclUniqueId) == ARENA_COMM_ID, "an id fits its place in the arena");

/* With the lock: sleeps until something changed, or for `longest`. */
static void doze(struct gpu *gpu, uint64_t longest)
{
    uint64_t until = rk_clock_now() + longest;
    struct timespec at = {.tv_sec = (time_t)(until / RK_S), .tv_nsec = (long)(until % RK_S)};

    pthread_cond_timedwait(&gpu->changed, &gpu->lock, &at);
}

static bool is_over(const struct gpu *gpu)
{
    return gpu->closing || atomic_load(&gpu->block->freeze_word) != gpu->generation.word;
}

/* The process cannot go on: another takes its place. */
static void be_replaced(void *context, const struct rk_why *why)
{
    (void)context;
    fprintf(stderr, "reknit: %s\n", why->text);
    kill(getpid(), SIGKILL);
}

/* ---- forming --------------------------------------------------------------------------------- */

static int make_comm(struct gpu *gpu, struct rk_why *why)
{
    const struct comm_options options = {
        .api = &gpu->device.api,
        .device = gpu->device.number,
        .word = &gpu->block->freeze_word,
        .form_limit = FORM_LIMIT,
        .call_limit = CALL_LIMIT,
        .stuck = be_replaced,
    };
    struct comm *comm = NULL;
    int rc = gpu->comm != NULL ? 0 : comm_new(&options, &comm, why);

    if (comm == NULL)
        return rc;
    pthread_mutex_lock(&gpu->lock); /* whoever closes must see it */
    gpu->comm = comm;
    if (gpu->closing)
        comm_stop(comm);
    pthread_mutex_unlock(&gpu->lock);
    return rc;
}

static int say(const struct gpu *gpu, enum local_kind kind, const void *text, size_t size)
{
    struct local_message message = {
        .kind = kind, .a = gpu->generation.word, .text_size = (uint32_t)size};
    int rc;

    memcpy(message.text, text, size);
    rc = local_send(gpu->agent, &message, -1);
    return rc == RK_EFULL ? 0 : rc; /* it is said again */
}

static int say_id(struct gpu *gpu, struct rk_why *why)
{
    const struct gpu_generation *generation = &gpu->generation;
    ncclResult_t result;

    gpu->said = rk_clock_now();
    if (generation->index != 0)
        return say(gpu, LOCAL_COMM_ID, "", 0);
    if (gpu->id_for != generation->word) {
        result = gpu->device.api.get_unique_id(&gpu->id);
        if (result != ncclSuccess)
            return api_nccl_fail(&gpu->device.api, why, result, NULL, "ncclGetUniqueId", 0,
                                 (int)generation->world);
        gpu->id_for = generation->word;
    }
    return say(gpu, LOCAL_COMM_ID, &gpu->id, sizeof gpu->id);
}

static int ask(struct gpu *gpu, const ncclUniqueId *id, struct rk_why *why)
{
    const struct gpu_generation *generation = &gpu->generation;
    const struct comm_membership to = {.word = generation->word,
                                       .rank = (int)generation->index,
                                       .world = (int)generation->world,
                                       .id = id,
                                       .lost = generation->lost,
                                       .lost_count = id == NULL ? generation->lost_count : 0};

    gpu->asked = generation->word;
    return comm_form(gpu->comm, &to, why);
}

/* Goes on as far as it goes without waiting. */
static int form_turn(struct gpu *gpu, struct rk_why *why)
{
    ncclUniqueId id;

    if (gpu->generation.comm_from != 0)
        return ask(gpu, NULL, why);
    if (atomic_load_explicit(&gpu->block->comm_word, memory_order_acquire) ==
        gpu->generation.word) {
        memcpy(&id, gpu->block->comm_id, sizeof id);
        return ask(gpu, &id, why);
    }
    return rk_clock_now() - gpu->said >= AGAIN ? say_id(gpu, why) : 0;
}

static int form(struct gpu *gpu, struct rk_why *why)
{
    uint32_t turn = 0;
    int rc = make_comm(gpu, why);

    gpu->tried = gpu->generation.word;
    while (rc == 0 && gpu->asked != gpu->generation.word) {
        uint32_t bell = arena_bell(gpu->arena);

        rc = is_over(gpu) ? RK_ESTALE : form_turn(gpu, why);
        if (rc == 0 && gpu->asked != gpu->generation.word)
            arena_pause(gpu->arena, bell, &turn);
    }
    return rc != 0 ? rc : comm_formed(gpu->comm, gpu->generation.word, why);
}

/* ---- the step -------------------------------------------------------------------------------- */

static int await(void *context, uint32_t b, cudaEvent_t *filled, struct rk_why *why)
{
    struct gpu *gpu = context;
    bool ready;

    (void)why;
    pthread_mutex_lock(&gpu->lock);
    while (!gpu->ready[b] && !is_over(gpu))
        doze(gpu, GLANCE);
    ready = gpu->ready[b];
    pthread_mutex_unlock(&gpu->lock);
    *filled = gpu->filled[b];
    return ready ? 0 : RK_ESTALE;
}

static int sum_step(struct gpu *gpu, struct rk_why *why)
{
    struct step_sum_job job = {
        .word = gpu->generation.word,
        .rank = gpu->generation.index,
        .world = gpu->generation.world,
        .shards = gpu->generation.shards,
        .step = gpu->step,
        .node = gpu->node,
        .node_count = gpu->node_count,
        .await = await,
        .context = gpu,
    };
    int rc = form(gpu, why);

    job.comm = gpu->comm;
    return rc != 0 ? rc : step_sum_run(gpu->sum, &job, &gpu->rc_weight, why);
}

/* With the lock, which it gives up meanwhile. */
static void work(struct gpu *gpu)
{
    struct rk_why why = {""};
    bool sums = gpu->stage == GPU_WANTED;
    int rc;

    gpu->forms = !sums;
    if (sums)
        gpu->stage = GPU_RUNS;
    pthread_mutex_unlock(&gpu->lock);
    rc = sums ? sum_step(gpu, &why) : form(gpu, &why);
    pthread_mutex_lock(&gpu->lock);
    gpu->forms = false;
    if (sums) {
        gpu->rc = rc;
        gpu->rc_why = why;
        gpu->stage = GPU_DONE;
    }
    pthread_cond_broadcast(&gpu->changed);
}

static void *drive(void *argument)
{
    struct gpu *gpu = argument;
    struct rk_why why;

    (void)device_use(&gpu->device, &why); /* a failure shows in the first call */
    pthread_mutex_lock(&gpu->lock);
    while (!gpu->closing) {
        if (gpu->stage == GPU_WANTED ||
            (gpu->generation.word != 0 && gpu->tried != gpu->generation.word))
            work(gpu);
        else
            pthread_cond_wait(&gpu->changed, &gpu->lock);
    }
    pthread_mutex_unlock(&gpu->lock);
    return NULL;
}

/* ---- the session's side ---------------------------------------------------------------------- */

int gpu_driver_open(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    pthread_condattr_t monotonic;

    pthread_mutex_init(&gpu->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&gpu->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    gpu->agent = session->agent;
    gpu->arena = &session->arena;
    gpu->block = session_block(session);
    return device_fork(&gpu->device, &gpu->driver, &session->why);
}

void gpu_driver_close(struct gpu *gpu)
{
    if (gpu->block == NULL)
        return;
    pthread_mutex_lock(&gpu->lock);
    gpu->closing = true;
    if (gpu->comm != NULL)
        comm_stop(gpu->comm);
    pthread_cond_broadcast(&gpu->changed);
    pthread_mutex_unlock(&gpu->lock);
    if (gpu->started)
        pthread_join(gpu->thread, NULL);
    comm_free(gpu->comm);
    pthread_cond_destroy(&gpu->changed);
    pthread_mutex_destroy(&gpu->lock);
}

void gpu_pause(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;

    pthread_mutex_lock(&gpu->lock);
    while (gpu->forms || gpu->stage == GPU_WANTED || gpu->stage == GPU_RUNS)
        doze(gpu, RK_S);
    gpu->stage = GPU_IDLE;
    gpu->generation.word = 0;
    pthread_mutex_unlock(&gpu->lock);
}

rk_word gpu_comm_word(const struct rk_session *session)
{
    return session->gpu->comm == NULL ? 0 : comm_whole(session->gpu->comm);
}

static void take_generation(struct gpu *gpu, const struct arena_plan *plan, uint32_t index)
{
    struct gpu_generation *generation = &gpu->generation;

    *generation = (struct gpu_generation){.word = plan->word,
                                          .index = index,
                                          .world = plan->world,
                                          .shards = plan->shards,
                                          .comm_from = plan->comm_from};
    for (uint32_t l = 0; l < plan->comm_lost_count && l < ARENA_COMM_LOST; l++)
        generation->lost[generation->lost_count++] = (int)plan->comm_lost[l];
    gpu->said = 0;
    pthread_cond_broadcast(&gpu->changed);
}

int gpu_follow(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct arena_plan *plan = &session->plan;
    int errnum = 0;

    session_keep_done(session);
    if (plan->world == 1) {
        comm_free(gpu->comm); /* nothing of an old generation may write to our memory any more */
        gpu->comm = NULL;
        return 0;
    }
    pthread_mutex_lock(&gpu->lock);
    take_generation(gpu, plan, plan->local[session->local_index].index);
    if (!gpu->started)
        errnum = rk_thread_begin(&gpu->thread, 0, drive, gpu);
    gpu->started = gpu->started || errnum == 0;
    pthread_mutex_unlock(&gpu->lock);
    return errnum == 0 ? 0 : rk_fail_errno(&session->why, errnum, "starting the thread that sums");
}

bool gpu_driver_is_idle(struct gpu *gpu)
{
    bool idle;

    pthread_mutex_lock(&gpu->lock);
    idle = gpu->stage == GPU_IDLE;
    pthread_mutex_unlock(&gpu->lock);
    return idle;
}

void gpu_driver_start(struct rk_session *session, const struct arena_table *table)
{
    struct gpu *gpu = session->gpu;

    pthread_mutex_lock(&gpu->lock);
    gpu->step = session->position;
    gpu->node_count = gpu_list_nodes(gpu, table, gpu->node);
    memset(gpu->ready, 0, gpu->buckets * sizeof *gpu->ready);
    gpu->stage = GPU_WANTED;
    pthread_cond_broadcast(&gpu->changed);
    pthread_mutex_unlock(&gpu->lock);
}

int gpu_driver_filled(struct rk_session *session, uint32_t b, struct rk_why *why)
{
    struct gpu *gpu = session->gpu;
    int rc = device_mark(&gpu->device, gpu->filled[b], why);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&gpu->lock);
    gpu->ready[b] = true;
    pthread_cond_broadcast(&gpu->changed);
    pthread_mutex_unlock(&gpu->lock);
    return 0;
}

int gpu_driver_wait(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    int rc = 0;

    pthread_mutex_lock(&gpu->lock);
    while (rc == 0 && gpu->stage != GPU_DONE) {
        doze(gpu, 100 * RK_MS);
        if (gpu->stage != GPU_DONE)
            rc = session_check_agent(session);
    }
    if (rc == 0) {
        rc = gpu->rc;
        session->why = gpu->rc_why;
        gpu->total = gpu->rc_weight;
        gpu->stage = GPU_IDLE;
    }
    pthread_mutex_unlock(&gpu->lock);
    if (rc == RK_ENOENT)
        be_replaced(NULL, &session->why);
    return rc;
}
