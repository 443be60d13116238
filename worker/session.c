/* Joining, registering, leaving; see reknit.h and session.h. */
#include "worker/session.h"
#include "worker/gpu.h"

#include "common/memory.h"
#include "worker/local.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEFAULT_SHARDS 8u
#define AGENT_TIMEOUT_MS 30000

struct arena_agent *session_block(const struct rk_session *session)
{
    return &session->arena.header->agent[session->block];
}

struct arena_seat *session_seat(const struct rk_session *session)
{
    return &session->arena.header->seat[session->seat];
}

int session_fail(struct rk_session *session, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(session->why.text, sizeof session->why.text, format, args);
    va_end(args);
    if (code == RK_EAGENT || code == RK_EFENCED || code == RK_EPROTO || code == RK_ELAYOUT)
        session->phase = SESSION_BROKEN;
    return code;
}

static int check_options(const struct rk_options *options, struct rk_session *session)
{
    size_t known = offsetof(struct rk_options, reduce); /* of the first version of the struct */

    if (options == NULL || options->struct_size < known)
        return session_fail(session, RK_EINVAL,
                            "rk_join: set options.struct_size to sizeof(struct rk_options)");
    known = options->struct_size < sizeof *options ? options->struct_size : sizeof *options;
    memcpy(&session->options, options, known);
    options = &session->options;
    if (options->reduce > RK_WEIGHTED)
        return session_fail(session, RK_EINVAL, "rk_join: there is no reduction %u",
                            options->reduce);
    if (options->check_finite > 1)
        return session_fail(session, RK_EINVAL, "rk_join: check_finite is 0 or 1, not %u",
                            options->check_finite);
    if (options->bucket_bytes % RK_LAYOUT_ALIGN != 0)
        return session_fail(session, RK_EINVAL,
                            "rk_join: buckets of %llu bytes; give a multiple of 4096",
                            (unsigned long long)options->bucket_bytes);
    if (options->batch == 0)
        return session_fail(session, RK_EINVAL, "rk_join: a global batch has at least 1 sample");
    if (options->shards > RK_MAX_SHARDS || (options->shards & (options->shards - 1)) != 0)
        return session_fail(session, RK_EINVAL, "rk_join: %u shards; give a power of two up to %u",
                            options->shards, RK_MAX_SHARDS);
    return 0;
}

/* A world of one: an arena of its own whose one plan never changes. */
static int join_alone(struct rk_session *session)
{
    uint32_t shards = session->options.shards == 0 ? DEFAULT_SHARDS : session->options.shards;
    int rc = arena_create(&session->arena, (struct rk_host_id){1}, shards, &session->why);

    if (rc != 0)
        return rc;
    session->agent = -1;
    session->block = (uint32_t)arena_agent_claim(&session->arena, (struct rk_worker_id){1});
    session->seat =
        (uint32_t)arena_seat_claim(&session->arena, (struct rk_worker_id){1}, 0, 0, false);
    struct arena_agent *block = session_block(session);
    block->plan = (struct arena_plan){
        .word = rk_word_make(1, 1),
        .lineage = rk_word_make(1, 1),
        .stop_at = ARENA_NO_STEP,
        .world = 1,
        .hosts = 1,
        .shards = shards,
        .fresh = 1,
        .local_count = 1,
        .local = {{.seat = session->seat}},
    };
    atomic_store(&block->go_word, block->plan.word);
    atomic_store(&block->freeze_word, block->plan.word);
    return 0;
}

static int join_agent(struct rk_session *session, const char *path)
{
    struct local_message message = {.kind = LOCAL_ATTACH};
    int fd = -1;
    int rc = local_connect(path, &session->agent, &session->why);

    if (rc != 0)
        return rc;
    rc = local_send(session->agent, &message, -1);
    if (rc == 0)
        rc = local_receive(session->agent, &message, &fd, AGENT_TIMEOUT_MS);
    if (rc != 0)
        return session_fail(session, RK_EAGENT, "rk_join: the agent at %s does not answer (%s)",
                            path, rk_error_text(rc));
    if (message.kind == LOCAL_REFUSED)
        return session_fail(session, message.code, "rk_join: %.*s", (int)message.text_size,
                            message.text);
    if (message.kind != LOCAL_WELCOME || fd < 0 || message.seat >= ARENA_SEATS ||
        message.agent_block >= ARENA_AGENTS)
        return session_fail(session, RK_EPROTO, "rk_join: the agent at %s answers out of turn",
                            path);
    session->seat = message.seat;
    session->block = message.agent_block;
    session->rank = message.rank;
    return arena_open(&session->arena, fd, &session->why);
}

static void session_free(struct rk_session *session)
{
    if (session == NULL)
        return;
    life_end(session->life);
    if (session->agent >= 0)
        close(session->agent);
    gpu_close(session);
    session_free_gradients(session);
    pthread_mutex_destroy(&session->reducing);
    arena_close(&session->arena);
    rk_layout_free(session->layout);
    free(session->data);
    free(session->on_gpu);
    free(session);
}

int rk_join(const struct rk_options *options, struct rk_session **session)
{
    const char *path = getenv(LOCAL_ENV_AGENT);
    struct rk_session *joined = calloc(1, sizeof *joined);
    int rc;

    if (joined == NULL)
        return RK_ENOMEM;
    joined->agent = -1;
    joined->arena.fd = -1;
    joined->shard = -1;
    pthread_mutex_init(&joined->reducing, NULL);
    rc = check_options(options, joined);
    if (rc == 0) {
        joined->layout = rk_layout_new(options->seed, options->batch);
        if (joined->layout != NULL) {
            joined->layout->bucket = joined->options.bucket_bytes;
            joined->layout->reduce = joined->options.reduce;
        }
        rc = joined->layout == NULL ? RK_ENOMEM
             : path == NULL         ? join_alone(joined)
                                    : join_agent(joined, path);
    }
    if (rc != 0) {
        fprintf(stderr, "reknit: %s\n",
                joined->why.text[0] != '\0' ? joined->why.text : rk_error_text(rc));
        session_free(joined);
        return rc;
    }
    *session = joined;
    return 0;
}

int session_give_state(struct rk_session *session)
{
    char *target;
    int rc = session->gpu != NULL ? gpu_snapshot_finish(session, &session->why) : 0;
    int k = arena_snapshot_find(&session->arena, session->position);

    if (rc != 0 || k >= 0)
        return rc;
    k = arena_snapshot_pick(&session->arena);
    if (k < 0)
        return session_fail(session, RK_EFULL, "both snapshots are being read");
    arena_snapshot_begin(&session->arena, (uint32_t)k);
    target = arena_snapshot_data(&session->arena, (uint32_t)k);
    for (uint32_t t = 0; rc == 0 && t < session->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &session->layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE || tensor->bytes == 0)
            continue;
        if (session->on_gpu[t])
            rc = gpu_read(session, t, target + tensor->offset);
        else
            memcpy(target + tensor->offset, session_state_data(session, t), (size_t)tensor->bytes);
    }
    if (rc == 0 && session->gpu != NULL)
        rc = gpu_settle(session);
    if (rc != 0)
        return rc;
    arena_snapshot_commit(&session->arena, (uint32_t)k, session->position);
    return 0;
}

int session_take_state(struct rk_session *session, uint32_t k)
{
    const char *source = arena_snapshot_data(&session->arena, k);
    int rc = 0;

    for (uint32_t t = 0; rc == 0 && t < session->layout->tensor_count; t++) {
        const struct rk_tensor *tensor = &session->layout->tensor[t];

        if (tensor->kind != RK_TENSOR_STATE || tensor->bytes == 0 || tensor->in_arena)
            continue;
        if (session->on_gpu[t])
            rc = gpu_write(session, t, source + tensor->offset);
        else
            memcpy(session->data[t], source + tensor->offset, (size_t)tensor->bytes);
    }
    return rc == 0 && session->gpu != NULL ? gpu_settle(session) : rc;
}

/* Hands the layout to the agent in a memfd and waits for its verdict. */
static int declare_to_agent(struct rk_session *session)
{
    struct local_message message = {.kind = LOCAL_DECLARE, .a = session->layout->bytes};
    int fd = memfd_create("reknit-layout", MFD_CLOEXEC);
    int got = -1;
    int rc;

    if (fd < 0)
        return session_fail(session, RK_ENOMEM, "no memory for the layout: %s", strerror(errno));
    if (write(fd, session->layout, (size_t)session->layout->bytes) !=
        (ssize_t)session->layout->bytes) {
        close(fd);
        return session_fail(session, RK_ENOMEM, "no memory for the layout");
    }
    rc = local_send(session->agent, &message, fd);
    close(fd);
    if (rc == 0)
        rc = local_receive(session->agent, &message, &got, AGENT_TIMEOUT_MS);
    if (got >= 0)
        close(got);
    if (rc != 0)
        return session_fail(session, RK_EAGENT, "rk_restore: the agent does not answer (%s)",
                            rk_error_text(rc));
    if (message.kind == LOCAL_REFUSED)
        return session_fail(session, message.code, "rank %u: %.*s", session->rank,
                            (int)message.text_size, message.text);
    return 0;
}

/* The memory is not there: whose, and of what most is wanted. */
static void name_largest(struct rk_session *session)
{
    const struct rk_layout *layout = session->layout;
    const struct rk_tensor *largest = NULL;
    struct rk_why was = session->why;
    char rank[24];

    for (uint32_t t = 0; t < layout->tensor_count; t++)
        if (largest == NULL || layout->tensor[t].bytes > largest->bytes)
            largest = &layout->tensor[t];
    if (largest == NULL)
        return;
    snprintf(rank, sizeof rank, "rank %u: ", session->rank);
    (void)session_fail(session, RK_ENOMEM, "%s%s (most is for %s, %llu MiB)",
                       strncmp(was.text, rank, strlen(rank)) == 0 ? "" : rank, was.text,
                       largest->name, (unsigned long long)(largest->bytes >> 20));
}

/* All that the first step will touch gets its pages now, while the others go on without us, and not
 * in a step for which they wait. */
static void populate(const struct rk_session *session)
{
    arena_populate(&session->arena, session->seat);
    for (uint32_t t = 0; t < session->layout->tensor_count; t++)
        if (session->data[t] != NULL && !session->layout->tensor[t].in_arena && !session->on_gpu[t])
            rk_memory_populate(session->data[t], session->layout->tensor[t].bytes, true);
}

int rk_restore(struct rk_session *session, uint64_t *step)
{
    int rc;

    if (session->phase != SESSION_JOINED)
        return session_fail(session, RK_ESTATE, "rk_restore is called once, after registering");
    rc = session_add_hidden(session);
    if (rc != 0)
        return rc;
    if (session->agent >= 0) {
        rc = declare_to_agent(session);
        if (rc == 0)
            rc = arena_refresh(&session->arena, &session->why);
    } else {
        rc = arena_declare(&session->arena, session->layout, &session->why);
    }
    if (rc == 0 && session->agent >= 0) /* without it our death is told later, no more */
        (void)life_begin(&session_seat(session)->life, &session->life);
    if (rc == 0)
        rc = arena_seat_allocate(&session->arena, session->seat, &session->why);
    if (rc == 0 && session->gpu != NULL)
        rc = gpu_place(session);
    if (rc == 0)
        rc = session_place_gradients(session);
    if (rc == 0) {
        populate(session);
        rc = session_enter(session);
    }
    if (rc == RK_ENOMEM)
        name_largest(session);
    if (rc != 0) {
        fprintf(stderr, "reknit: %s\n", session->why.text);
        return rc;
    }
    session->phase = SESSION_BETWEEN;
    *step = session->position;
    return 0;
}

/* The final state is in the arena once the first local member has put it there. */
static int hand_over(struct rk_session *session)
{
    uint32_t turn = 0;

    for (;;) {
        uint32_t bell = arena_bell(&session->arena);
        int rc = session_follow(session);

        if (rc < 0)
            return rc;
        if (arena_snapshot_find(&session->arena, session->position) >= 0)
            return 0;
        if (session->local_index == 0) {
            rc = session_give_state(session);
            if (rc != RK_EFULL)
                return rc;
        }
        rc = session_check_agent(session);
        if (rc != 0)
            return rc;
        arena_pause(&session->arena, bell, &turn);
    }
}

int rk_leave(struct rk_session *session)
{
    struct local_message message = {.kind = LOCAL_LEFT};
    int rc = 0;

    if (session == NULL)
        return 0;
    if (session->phase == SESSION_BETWEEN && session->agent >= 0) {
        session_waits(session, ARENA_WAIT_OTHERS);
        rc = hand_over(session);
        if (rc == 0) {
            atomic_store(&session_seat(session)->left, 1);
            message.a = session->position;
            rc = local_send(session->agent, &message, -1);
            if (rc == RK_EFULL)
                rc = 0; /* the agent sees `left` in the seat too */
        }
        if (rc != 0)
            fprintf(stderr, "reknit: rank %u could not leave: %s\n", session->rank,
                    session->why.text[0] != '\0' ? session->why.text : rk_error_text(rc));
    }
    session_free(session);
    return rc;
}

uint32_t rk_rank(const struct rk_session *session)
{
    return session->rank;
}

uint32_t rk_world_size(const struct rk_session *session)
{
    return session->plan.word == 0 ? 1 : session->plan.world;
}

uint32_t rk_shards(const struct rk_session *session)
{
    return session->arena.header->shards;
}

uint64_t rk_generation(const struct rk_session *session)
{
    return rk_word_generation(session->plan.word);
}

int rk_is_first(const struct rk_session *session)
{
    return session->plan.local_count > session->local_index &&
           session->plan.local[session->local_index].index == 0;
}

const char *rk_last_error(const struct rk_session *session)
{
    return session->why.text;
}

int rk_report(struct rk_session *session, const char *name, double value)
{
    struct arena_seat *seat = session_seat(session);
    uint32_t count = atomic_load(&seat->report_count);
    uint32_t i = 0;

    if (name == NULL || name[0] == '\0' || strlen(name) >= sizeof seat->report[0].name)
        return session_fail(session, RK_EINVAL, "a report's name has 1 to 31 characters");
    while (i < count && strcmp(seat->report[i].name, name) != 0)
        i++;
    if (i == ARENA_REPORTS)
        return session_fail(session, RK_EFULL, "%s is one report too many; at most %u", name,
                            ARENA_REPORTS);
    if (i == count)
        memcpy(seat->report[i].name, name, strlen(name) + 1);
    atomic_store(&seat->report[i].value, value);
    if (i == count)
        atomic_store(&seat->report_count, count + 1);
    return 0;
}
