/* Generations of a communicator, and the step's sum over it; see gpu.h.
 *
 * The rank of index 0 makes the id of a new communicator and says it to its agent, from where it
 * comes to all by way of the coordinator; whoever waits for it asks again every second.  Where the
 * plan says so, the communicator before is shrunk instead. */
#include "worker/gpu_inside.h"

#include "common/clock.h"
#include "worker/local.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORM_LIMIT (120 * RK_S)
#define CALL_LIMIT (30 * RK_S)
#define AGAIN (1 * RK_S)
#define GRACE (500 * RK_MS) /* a loss is told sooner: what NCCL says first is no news */
#define CHECK_TURNS 64u

_Static_assert(sizeof(ncclUniqueId) == ARENA_COMM_ID, "an id fits its place in the arena");

static uint32_t own_index(const struct rk_session *session)
{
    return session->plan.local[session->local_index].index;
}

/* The process cannot go on: another takes its place. */
static void be_replaced(void *context, const struct rk_why *why)
{
    (void)context;
    fprintf(stderr, "reknit: %s\n", why->text);
    kill(getpid(), SIGKILL);
}

static int make_comm(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct comm_options options = {
        .api = &gpu->device.api,
        .device = gpu->device.number,
        .word = &session_block(session)->freeze_word,
        .form_limit = FORM_LIMIT,
        .call_limit = CALL_LIMIT,
        .stuck = be_replaced,
    };

    return gpu->comm != NULL ? 0 : comm_new(&options, &gpu->comm, &session->why);
}

/* ---- forming --------------------------------------------------------------------------------- */

static int say(struct rk_session *session, enum local_kind kind, const void *text, size_t size)
{
    struct local_message message = {
        .kind = kind, .a = session->plan.word, .text_size = (uint32_t)size};
    int rc;

    memcpy(message.text, text, size);
    rc = local_send(session->agent, &message, -1);
    return rc == RK_EFULL ? 0 : rc; /* it is said again */
}

static int say_id(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct arena_plan *plan = &session->plan;
    ncclResult_t result;

    gpu->said = rk_clock_now();
    if (own_index(session) != 0)
        return say(session, LOCAL_COMM_ID, "", 0);
    if (gpu->id_for != plan->word) {
        result = gpu->device.api.get_unique_id(&gpu->id);
        if (result != ncclSuccess)
            return api_nccl_fail(&gpu->device.api, &session->why, result, NULL, "ncclGetUniqueId",
                                 0, (int)plan->world);
        gpu->id_for = plan->word;
    }
    return say(session, LOCAL_COMM_ID, &gpu->id, sizeof gpu->id);
}

static int shrink(struct rk_session *session)
{
    const struct arena_plan *plan = &session->plan;
    int lost[ARENA_COMM_LOST];
    const struct comm_membership to = {.word = plan->word,
                                       .rank = (int)own_index(session),
                                       .world = (int)plan->world,
                                       .lost = lost,
                                       .lost_count = (int)plan->comm_lost_count};

    for (uint32_t l = 0; l < plan->comm_lost_count && l < ARENA_COMM_LOST; l++)
        lost[l] = (int)plan->comm_lost[l];
    session->gpu->asked = plan->word;
    return comm_form(session->gpu->comm, &to, &session->why);
}

static int form_by_id(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct arena_plan *plan = &session->plan;
    ncclUniqueId id;
    const struct comm_membership to = {
        .word = plan->word, .rank = (int)own_index(session), .world = (int)plan->world, .id = &id};

    memcpy(&id, session_block(session)->comm_id, sizeof id);
    gpu->asked = plan->word;
    return comm_form(gpu->comm, &to, &session->why);
}

/* Goes on as far as it goes without waiting. */
static int form_turn(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    const struct arena_plan *plan = &session->plan;
    int rc = make_comm(session);

    if (rc != 0 || gpu->asked == plan->word)
        return rc;
    if (plan->comm_from != 0)
        return shrink(session);
    if (atomic_load_explicit(&session_block(session)->comm_word, memory_order_acquire) ==
        plan->word)
        return form_by_id(session);
    return rk_clock_now() - gpu->said >= AGAIN ? say_id(session) : 0;
}

static bool is_over(const struct rk_session *session)
{
    return atomic_load(&session_block(session)->freeze_word) != session->plan.word;
}

static int form(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    uint32_t turn = 0;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = form_turn(session);

        if (rc != 0)
            return rc;
        if (gpu->asked == session->plan.word)
            return comm_formed(gpu->comm, session->plan.word, &session->why);
        if (is_over(session))
            return RK_ESTALE;
        if (turn % CHECK_TURNS == CHECK_TURNS - 1)
            rc = session_check_agent(session);
        if (rc != 0)
            return rc;
        arena_pause(&session->arena, bell, &turn);
    }
}

void gpu_follow(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;

    session_keep_done(session);
    gpu->said = 0;
    if (session->plan.world == 1) {
        comm_free(gpu->comm); /* nothing of an old generation may write to our memory any more */
        gpu->comm = NULL;
        gpu->asked = 0;
        return;
    }
    (void)form_turn(session); /* a failure is told where the step waits for it */
}

rk_word gpu_comm_word(const struct rk_session *session)
{
    return session->gpu->comm == NULL ? 0 : comm_whole(session->gpu->comm);
}

/* ---- the step's sum -------------------------------------------------------------------------- */

/* Sum times scale into the program's memory, in its type. */
static int emit(void *context, uint64_t from, uint64_t count, const float *sum, struct rk_why *why)
{
    struct rk_session *session = context;
    double scale = rk_result_scale(session);

    for (uint32_t p = session_first_behind(session, from); p < session->placed_count; p++) {
        const struct session_gradient *gradient = &session->gradient[session->placed[p]];
        const struct rk_tensor *tensor = &session->layout->tensor[gradient->tensor];
        uint64_t start = gradient->at > from ? gradient->at : from;
        uint64_t end = gradient->at + gradient->lanes;
        char *out = session->data[gradient->tensor];
        int rc;

        if (gradient->at >= from + count)
            break;
        if (end > from + count)
            end = from + count;
        rc = device_store(&session->gpu->device, sum + (start - from), (float)scale,
                          (enum sum_dtype)tensor->dtype, end - start,
                          out + (start - gradient->at) * rk_dtype_size(tensor->dtype), why);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The partial sums of this rank; what shards of one buffer weigh stands with the first. */
static uint32_t list_nodes(const struct rk_session *session, struct step_sum_node *node)
{
    struct arena_table table;
    uint64_t seen = 0;

    session_read_table(session, &table);
    for (uint32_t n = 0; n < table.count; n++) {
        uint32_t buffer = table.node[n].buffer;
        bool first = (seen >> buffer & 1) == 0;

        seen |= UINT64_C(1) << buffer;
        node[n] = (struct step_sum_node){.node = table.node[n].node,
                                         .buffer = buffer,
                                         .weight = first ? session->gpu->weight[buffer] : 0.0};
    }
    return table.count;
}

static int sum_step(struct rk_session *session)
{
    struct gpu *gpu = session->gpu;
    struct step_sum_node node[TREE_MAX_NODES];
    struct step_sum_job job = {
        .word = session->plan.word,
        .rank = own_index(session),
        .world = session->plan.world,
        .shards = session->plan.shards,
        .step = session->position,
        .node = node,
        .emit = emit,
        .context = session,
    };
    int rc = job.world > 1 ? form(session) : 0;

    if (rc != 0)
        return rc;
    job.comm = gpu->comm;
    job.node_count = list_nodes(session, node);
    rc = device_after(&gpu->device, &session->why);
    if (rc == 0)
        rc = step_sum_run(gpu->sum, &job, &gpu->total, &session->why);
    if (rc != 0) /* buckets that were summed are still on their way to the program's memory */
        (void)device_sync(&gpu->device, NULL);
    return rc;
}

/* NCCL failed.  Waits for the next generation, and asks for one when nobody is told to be lost. */
static int wait_for_word(struct rk_session *session)
{
    struct rk_why why = session->why;
    uint64_t next = rk_clock_now() + GRACE;
    uint32_t turn = 0;

    while (!is_over(session)) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = 0;

        if (rk_clock_now() >= next) {
            rc = say(session, LOCAL_COMM_FAILED, why.text, strlen(why.text));
            next = rk_clock_now() + AGAIN;
        }
        if (rc == 0 && turn % CHECK_TURNS == CHECK_TURNS - 1)
            rc = session_check_agent(session);
        if (rc != 0)
            return rc;
        arena_pause(&session->arena, bell, &turn);
    }
    return 0;
}

int gpu_wait_for_sum(struct rk_session *session)
{
    for (;;) {
        int rc = sum_step(session);

        if (rc == 0)
            return 0;
        if (rc == RK_ENOENT)
            be_replaced(NULL, &session->why);
        if (rc == RK_ETRANSPORT)
            rc = wait_for_word(session);
        else if (rc == RK_ESTALE)
            rc = 0;
        if (rc == 0)
            rc = session_follow(session);
        if (rc < 0)
            return rc;
        if (session_has_todo(session))
            return RK_REFORMED;
    }
}
