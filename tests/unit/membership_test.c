/* Ranks in real processes, killed with -9 at random points, under a membership that this test
 * plays: agent and coordinator in one.  Every sum is checked against the tree's definition in the
 * ranks, and the state at the end against a run in this process. */
#include "collectives/arena.h"
#include "common/clock.h"
#include "worker/local.h"
#include "worker/reknit.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define RANKS 4
#define SHARDS 16
#define GRADS 3000
#define FIRST 1001 /* of them in the first piece */
#define WIDE_GRADS 700
#define STATE 257
#define STANDS_STILL (20 * RK_S) /* without a step, a death or a generation */
#define WORKER            \
    (struct rk_worker_id) \
    {                     \
        77                \
    }

/* ---- the program of a rank ------------------------------------------------------------------- */

static float shard_value(uint64_t step, uint32_t shard, uint32_t i)
{
    uint32_t x = (uint32_t)step * 747796405u + shard * 2891336453u + i * 277803737u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (float)(int32_t)x * 1e-6f;
}

static float serial_sum(uint64_t step, uint32_t level, uint32_t index, uint32_t i)
{
    return level == 0 ? shard_value(step, index, i)
                      : serial_sum(step, level - 1, 2 * index, i) +
                            serial_sum(step, level - 1, 2 * index + 1, i);
}

static double serial_wide(uint64_t step, uint32_t level, uint32_t index, uint32_t i)
{
    return level == 0 ? (double)shard_value(step, index, i) * 1.000000001
                      : serial_wide(step, level - 1, 2 * index, i) +
                            serial_wide(step, level - 1, 2 * index + 1, i);
}

/* Of values up to 2148, added in any order. */
static bool is_sum(bool near, double expected, double sum)
{
    return near ? fabs(sum - expected) <= SHARDS * SHARDS * 2148.0 * 0x1p-23
                : memcmp(&expected, &sum, sizeof sum) == 0;
}

static void update(float *state, const float *first, const float *second)
{
    for (uint32_t i = 0; i < STATE; i++) {
        uint32_t at = i * 11 % GRADS;

        state[i] = state[i] * 0.875f + (at < FIRST ? first[at] : second[at - FIRST]);
    }
}

/* How a rank's program brings its gradient. */
enum variety {
    OWN = 0,
    ALLOC = 1,   /* memory of rk_alloc */
    READY = 2,   /* says what is ready, in random order, most of it */
    THREADS = 4, /* from two threads at a time */
    WIDE = 8,    /* with a float64 gradient besides */
    FUSE = 16,   /* with state in the arena that is made from the sums where they are made */
    FAST = 32,   /* and sums are not those of the tree, but near them */
};

struct program {
    enum variety variety;
    struct rk_session *session;
    float *first, *second; /* FIRST and GRADS - FIRST elements */
    double *wide;
    float state[STATE];
    uint32_t shared[2]; /* numbers of the state that belongs to first and second */
    uint64_t step;
    int64_t shard;
    uint32_t random;
};

/* Fills and declares ready elements from .. to - 1 of the whole, a piece at a time. */
static int fill(struct program *p, uint32_t from, uint32_t to, uint32_t random)
{
    for (uint32_t piece = 0; piece < 8; piece++) {
        uint32_t at = (piece + random) % 8;
        uint32_t start = from + (to - from) * at / 8;
        uint32_t end = from + (to - from) * (at + 1) / 8;
        uint32_t border = start > FIRST ? start : end < FIRST ? end : FIRST;
        int rc = 0;

        for (uint32_t i = start; i < end; i++)
            *(i < FIRST ? &p->first[i] : &p->second[i - FIRST]) =
                shard_value(p->step, (uint32_t)p->shard, i);
        if ((p->variety & READY) == 0 || (random + piece) % 11 == 3)
            continue;
        if (border > start)
            rc = rk_ready_range(p->session, 0, start, border - start);
        if (rc == 0 && end > border)
            rc = rk_ready_range(p->session, 1, border - FIRST, end - border);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void *fill_half(void *program)
{
    return fill(program, 0, GRADS / 2, ((struct program *)program)->random) == 0 ? program : NULL;
}

static int fill_all(struct program *p)
{
    pthread_t thread;
    void *fine = p;

    p->random = p->random * 1664525u + 1013904223u;
    for (uint32_t i = 0; (p->variety & WIDE) && i < WIDE_GRADS; i++)
        p->wide[i] = (double)shard_value(p->step, (uint32_t)p->shard, i) * 1.000000001;
    if ((p->variety & THREADS) == 0)
        return fill(p, 0, GRADS, p->random >> 8);
    if (pthread_create(&thread, NULL, fill_half, p) != 0)
        return RK_ENOMEM;
    int rc = fill(p, GRADS / 2, GRADS, p->random >> 16);
    pthread_join(thread, &fine);
    return fine == NULL ? RK_ESTATE : rc;
}

static void check_element(const struct program *p, uint32_t i)
{
    const float *sum = i < FIRST ? (const float *)rk_result(p->session, 0) + i
                                 : (const float *)rk_result(p->session, 1) + i - FIRST;
    float expected = serial_sum(p->step, 4, 0, i);

    if (!is_sum(p->variety & FAST, (double)expected, (double)*sum)) {
        fprintf(stderr, "step %llu element %u: wrong sum\n", (unsigned long long)p->step, i);
        _exit(99);
    }
}

static void check_sums(const struct program *p)
{
    for (uint32_t i = 0; i < GRADS; i += 7)
        check_element(p, i);
    for (uint32_t i = 0; (p->variety & WIDE) && i < WIDE_GRADS; i += 3) {
        const double *sum = (const double *)rk_result(p->session, 2) + i;
        double expected = serial_wide(p->step, 4, 0, i);

        if (!is_sum(p->variety & FAST, expected, *sum))
            _exit(95);
    }
}

static int fused(void *context, struct rk_session *session, const struct rk_slice *slice)
{
    const struct program *p = context;
    const float *sum = slice->sum;
    const float *now;
    float *next;

    if (slice->gradient > 1)
        return 0;
    now = (const float *)rk_state(session, p->shared[slice->gradient]) + slice->first;
    next = (float *)rk_next_state(session, p->shared[slice->gradient]) + slice->first;
    for (uint64_t i = 0; i < slice->count; i++)
        next[i] = now[i] * 0.875f + sum[i];
    return 0;
}

static int run_step(struct program *p)
{
    int rc;

    do {
        while ((p->shard = rk_shard_next(p->session)) >= 0) {
            rc = fill_all(p);
            if (rc == 0)
                rc = rk_shard_done(p->session);
            if (rc != 0)
                return rc;
        }
    } while ((rc = rk_gradients_wait(p->session)) == RK_REFORMED);
    if (rc != 0)
        return rc;
    if (p->variety & FUSE) {
        p->state[0] += 1;
    } else {
        check_sums(p);
        update(p->state, rk_result(p->session, 0), rk_result(p->session, 1));
    }
    return rk_step_end(p->session, &p->step);
}

/* Two pieces of gradient, so that borders between them are crossed. */
static int register_gradients(struct program *p)
{
    static float own[GRADS];
    int rc;

    if (p->variety & ALLOC) {
        rc = rk_alloc(p->session, "a", RK_F32, FIRST, (void **)&p->first);
        if (rc == 0)
            rc = rk_alloc(p->session, "b", RK_F32, GRADS - FIRST, (void **)&p->second);
    } else {
        p->first = own;
        p->second = own + FIRST;
        rc = rk_register_gradient(p->session, "a", p->first, FIRST);
        if (rc == 0)
            rc = rk_register_gradient(p->session, "b", p->second, GRADS - FIRST);
    }
    if (rc == 0 && (p->variety & WIDE))
        rc = rk_alloc(p->session, "wide", RK_F64, WIDE_GRADS, (void **)&p->wide);
    return rc;
}

static int register_state(struct program *p)
{
    int rc = rk_register_state(p->session, "state", p->state, RK_F32, 1, (uint64_t[]){STATE});

    if (rc == 0 && (p->variety & FUSE))
        rc = rk_alloc_state(p->session, "sa", NULL, RK_F32, 1, (uint64_t[]){FIRST}, &p->shared[0]);
    if (rc == 0 && (p->variety & FUSE))
        rc = rk_alloc_state(p->session, "sb", NULL, RK_F32, 1, (uint64_t[]){GRADS - FIRST},
                            &p->shared[1]);
    return rc;
}

static int train(struct program *p, uint64_t steps)
{
    int rc = rk_restore(p->session, &p->step);

    if (rc == 0 && (p->variety & FUSE))
        rc = rk_fuse(p->session, fused, p);
    while (rc == 0 && p->step < steps && (rc = rk_step_begin(p->session, &p->step)) == 0)
        rc = run_step(p);
    return rc;
}

static void rank_program(uint64_t steps, enum variety variety)
{
    struct rk_options options = {.struct_size = sizeof options, .seed = 1, .batch = SHARDS};
    static struct program p;
    int rc;

    p.variety = variety;
    p.random = (uint32_t)getpid();
    if (variety != OWN)
        options.bucket_bytes = 4096;
    rc = rk_join(&options, &p.session);
    if (rc != 0)
        _exit(98);
    rc = register_gradients(&p);
    if (rc == 0)
        rc = register_state(&p);
    if (rc == 0)
        rc = train(&p, steps);
    if (rc != 0) {
        fprintf(stderr, "rank: %s\n", rk_last_error(p.session));
        _exit(97);
    }
    _exit(rk_leave(p.session) == 0 ? 0 : 96);
}

/* ---- agent and coordinator ------------------------------------------------------------------- */

struct child {
    pid_t pid; /* 0: none */
    int socket;
    int seat;
    bool entered, member, left;
    bool asked; /* by the freeze under way, or the last one */
};

struct job {
    char directory[64], path[96];
    int listener;
    struct arena arena;
    int block;
    struct child child[RANKS];
    struct arena_plan plan;
    rk_word word;
    enum variety variety;
    uint64_t steps, moved, moved_at; /* what check_time saw last, and when it was new */
    uint32_t kills, random;
};

static uint32_t draw(struct job *job, uint32_t below)
{
    job->random = job->random * 1664525u + 1013904223u;
    return (job->random >> 8) % below;
}

static void check_time(struct job *job)
{
    uint64_t moved = atomic_load(&job->arena.header->complete_step) + job->kills + job->word;

    if (moved != job->moved) {
        job->moved = moved;
        job->moved_at = rk_clock_now();
    }
    if (rk_clock_now() - job->moved_at <= STANDS_STILL)
        return;
    for (uint32_t r = 0; r < RANKS; r++) {
        const struct child *child = &job->child[r];
        const struct arena_seat *seat = &job->arena.header->seat[child->seat];

        print_message(
            "rank %u pid %d entered %d left %d seat %d: position %llu state %u ack %llx\n", r,
            child->pid, child->entered, child->left, child->seat,
            (unsigned long long)seat->position, seat->has_state,
            (unsigned long long)seat->ack_word);
    }
    print_message("freeze %llx go %llx complete %llu deal_step %llu\n",
                  (unsigned long long)job->arena.header->agent[job->block].freeze_word,
                  (unsigned long long)job->arena.header->agent[job->block].go_word,
                  (unsigned long long)job->arena.header->complete_step,
                  (unsigned long long)job->plan.deal_step);
    fail_msg("the job hangs at generation %llu after %u kills",
             (unsigned long long)rk_word_generation(job->word), job->kills);
}

static void start_rank(struct job *job, uint32_t r)
{
    struct child *child = &job->child[r];

    *child = (struct child){.socket = -1};
    child->seat = arena_seat_claim(&job->arena, WORKER, r, r, false);
    assert_true(child->seat >= 0);
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("REKNIT_AGENT", job->path, 1);
        rank_program(job->steps, job->variety);
    }
}

static void open_job(struct job *job, uint32_t seed, uint64_t steps, enum variety variety)
{
    struct rk_why why;

    memset(job, 0, sizeof *job);
    job->random = seed;
    job->steps = steps;
    job->variety = variety;
    job->moved_at = rk_clock_now();
    strcpy(job->directory, "/tmp/reknit-membership-XXXXXX");
    assert_non_null(mkdtemp(job->directory));
    snprintf(job->path, sizeof job->path, "%s/agent", job->directory);
    assert_int_equal(local_listen(job->path, &job->listener, &why), 0);
    assert_int_equal(arena_create(&job->arena, (struct rk_host_id){5}, SHARDS, &why), 0);
    arena_set_job(&job->arena, SHARDS, variety & FAST ? ARENA_FAST : ARENA_EXACT, false);
    job->block = arena_agent_claim(&job->arena, WORKER);
    assert_true(job->block >= 0);
    for (uint32_t r = 0; r < RANKS; r++)
        start_rank(job, r);
}

/* A new connection: the next rank without a socket whose process it is. */
static void accept_rank(struct job *job)
{
    struct local_message message;
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd = -1;
    int socket = accept(job->listener, NULL, NULL);

    if (socket < 0)
        return;
    assert_int_equal(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
    if (local_receive(socket, &message, &fd, 1000) == 0 && message.kind == LOCAL_ATTACH) {
        for (uint32_t r = 0; r < RANKS; r++) {
            struct child *child = &job->child[r];

            if (child->pid != peer.pid)
                continue;
            child->socket = socket;
            message = (struct local_message){.kind = LOCAL_WELCOME,
                                             .seat = (uint32_t)child->seat,
                                             .agent_block = (uint32_t)job->block,
                                             .rank = r};
            (void)local_send(socket, &message, job->arena.fd);
            return;
        }
    }
    close(socket);
}

static void declare(struct job *job, struct child *child, const struct local_message *message,
                    int fd)
{
    struct local_message reply = {.kind = LOCAL_DECLARED};
    struct rk_layout *layout = malloc(message->a);
    struct rk_why why = {""};

    assert_non_null(layout);
    assert_int_equal(pread(fd, layout, message->a, 0), (ssize_t)message->a);
    assert_int_equal(rk_layout_check(layout, message->a, &why), 0);
    if (arena_declare(&job->arena, layout, &why) != 0)
        fail_msg("%s", why.text);
    free(layout);
    (void)local_send(child->socket, &reply, -1);
}

static void hear(struct job *job, struct child *child)
{
    struct local_message message;
    int fd = -1;

    if (local_receive(child->socket, &message, &fd, 0) != 0)
        return;
    if (message.kind == LOCAL_DECLARE)
        declare(job, child, &message, fd);
    else if (message.kind == LOCAL_ENTER)
        child->entered = true;
    else if (message.kind == LOCAL_LEFT)
        child->left = true;
    if (fd >= 0)
        close(fd);
}

/* A turn of the agent's loop: what came over the sockets. */
static void listen_to_all(struct job *job, int timeout_ms)
{
    struct pollfd polled[RANKS + 1] = {{.fd = job->listener, .events = POLLIN}};

    for (uint32_t r = 0; r < RANKS; r++)
        polled[r + 1] = (struct pollfd){.fd = job->child[r].pid == 0 ? -1 : job->child[r].socket,
                                        .events = POLLIN};
    if (poll(polled, RANKS + 1, timeout_ms) <= 0)
        return;
    for (uint32_t r = 0; r < RANKS; r++)
        if (polled[r + 1].revents & POLLIN)
            hear(job, &job->child[r]);
    if (polled[0].revents & POLLIN)
        accept_rank(job);
}

/* Takes note of dead ranks; true when a rank that had not left is among them. */
static bool reap(struct job *job)
{
    bool lost = false;

    for (uint32_t r = 0; r < RANKS; r++) {
        struct child *child = &job->child[r];
        int status;

        if (child->pid == 0 || waitpid(child->pid, &status, WNOHANG) != child->pid)
            continue;
        if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
            fail_msg("rank %u ended by signal %d, which nobody sent", r, WTERMSIG(status));
        if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0)
            fail_msg("rank %u ended with %d", r, WEXITSTATUS(status));
        child->pid = 0;
        if (child->socket >= 0)
            close(child->socket);
        if (atomic_load(&job->arena.header->seat[child->seat].left))
            child->left = true;
        if (!child->left) {
            arena_seat_ghost(&job->arena, (uint32_t)child->seat);
            lost = true;
        }
    }
    return lost;
}

static bool counts(const struct child *child)
{
    return child->entered && (child->pid != 0 || child->left);
}

/* Freeze: every entered rank stands still.  False when one died meanwhile. */
static bool freeze(struct job *job)
{
    struct arena_agent *block = &job->arena.header->agent[job->block];

    job->word = rk_word_make(1, rk_word_generation(job->word) + 1);
    for (uint32_t r = 0; r < RANKS; r++)
        job->child[r].asked = counts(&job->child[r]);
    atomic_store(&block->freeze_word, job->word);
    arena_ring(&job->arena);
    for (;;) {
        bool all = true;

        listen_to_all(job, 1);
        check_time(job);
        if (reap(job))
            return false;
        for (uint32_t r = 0; r < RANKS; r++) {
            const struct child *child = &job->child[r];

            if (child->asked && !child->left &&
                !atomic_load(&job->arena.header->seat[child->seat].left) &&
                atomic_load(&job->arena.header->seat[child->seat].ack_word) != job->word)
                all = false;
        }
        if (all)
            return true;
    }
}

static void go(struct job *job)
{
    struct arena_header *header = job->arena.header;
    struct arena_report report;
    struct arena_plan plan = {
        .word = job->word, .stop_at = ARENA_NO_STEP, .hosts = 1, .shards = SHARDS};
    bool any_state = false;

    arena_report_read(&job->arena, WORKER, 0, &job->plan, &report);
    for (uint32_t r = 0; r < RANKS; r++) {
        struct child *child = &job->child[r];
        const struct arena_seat *seat = &header->seat[child->seat];

        if (!child->asked)
            continue;
        child->member = true;
        plan.local[plan.local_count++] =
            (struct arena_member){.seat = (uint32_t)child->seat, .rank = r, .index = plan.world++};
        if (atomic_load(&seat->has_state)) {
            any_state = true;
            if (atomic_load(&seat->position) > plan.deal_step)
                plan.deal_step = atomic_load(&seat->position);
        } else {
            plan.give_state = 1;
        }
    }
    if (!any_state && job->plan.word != 0) {
        int k = arena_snapshot_newest(&job->arena);
        plan.deal_step = k < 0 ? 0 : report.snapshot_step[k];
        plan.fresh = k < 0;
    } else if (!any_state) {
        plan.fresh = 1;
    }
    plan.restart = !any_state;
    plan.lineage = plan.word;
    if (any_state && report.deal_step == plan.deal_step && report.max_nodes <= 4) {
        plan.lineage = report.lineage;
        memcpy(plan.done, report.done, sizeof plan.done);
    }
    job->plan = plan;
    arena_go(&job->arena, (uint32_t)job->block, &plan);
}

/* Runs the job to its end, killing at random; returns the number of kills. */
static void run_job(struct job *job, uint32_t max_kills)
{
    for (;;) {
        uint32_t left = 0;
        uint32_t ready = 0;
        bool reform = reap(job);

        check_time(job);
        for (uint32_t r = 0; r < RANKS; r++) {
            struct child *child = &job->child[r];

            left += child->left;
            if (child->pid == 0 && !child->left && job->plan.word != 0)
                start_rank(job, r);
            ready += child->entered && !child->member;
        }
        if (left == RANKS)
            return;
        if (job->plan.word == 0)
            reform = ready == RANKS;
        else
            reform = reform || ready > 0;
        if (reform) {
            while (!freeze(job))
                ;
            go(job);
        }
        listen_to_all(job, 1);
        if (job->plan.word != 0 && left == 0 && job->kills < max_kills && draw(job, 3) == 0) {
            uint32_t victims = 1 + draw(job, 2);
            uint32_t alive = 0;

            for (uint32_t r = 0; r < RANKS; r++)
                alive += job->child[r].pid != 0;
            for (; victims > 0 && alive > 1; victims--) {
                struct child *child = &job->child[draw(job, RANKS)];

                if (child->pid != 0 && !child->left && kill(child->pid, SIGKILL) == 0)
                    job->kills++;
            }
        }
    }
}

static void close_job(struct job *job)
{
    for (uint32_t r = 0; r < RANKS; r++)
        if (job->child[r].pid != 0) {
            kill(job->child[r].pid, SIGKILL);
            waitpid(job->child[r].pid, NULL, 0);
        }
    close(job->listener);
    unlink(job->path);
    rmdir(job->directory);
    arena_close(&job->arena);
}

static const void *snapshot_tensor(const struct job *job, const char *name)
{
    const struct rk_layout *layout = arena_layout(&job->arena);
    int k = arena_snapshot_find(&job->arena, job->steps);

    assert_true(k >= 0);
    for (uint32_t t = 0; t < layout->tensor_count; t++)
        if (layout->tensor[t].kind == RK_TENSOR_STATE && strcmp(layout->tensor[t].name, name) == 0)
            return (const char *)arena_snapshot_data(&job->arena, (uint32_t)k) +
                   layout->tensor[t].offset;
    fail_msg("there is no state %s", name);
    return NULL;
}

/* Differences of sums fade by an eighth a step. */
static bool is_state(const struct job *job, float expected, float value)
{
    return is_sum(job->variety & FAST, (double)expected / 8, (double)value / 8);
}

static void expect_fused_state(const struct job *job)
{
    const float *first = snapshot_tensor(job, "sa");
    const float *second = snapshot_tensor(job, "sb");

    assert_true(((const float *)snapshot_tensor(job, "state"))[0] == (float)job->steps);
    for (uint32_t i = 0; i < GRADS; i += 13) {
        float expected = 0;

        for (uint64_t step = 0; step < job->steps; step++)
            expected = expected * 0.875f + serial_sum(step, 4, 0, i);
        assert_true(is_state(job, expected, i < FIRST ? first[i] : second[i - FIRST]));
    }
}

static void expect_final_state(const struct job *job)
{
    float state[STATE] = {0};
    float grads[GRADS];

    if (job->variety & FUSE) {
        expect_fused_state(job);
        return;
    }
    for (uint64_t step = 0; step < job->steps; step++) {
        for (uint32_t i = 0; i < STATE; i++)
            grads[i * 11 % GRADS] = serial_sum(step, 4, 0, i * 11 % GRADS);
        update(state, grads, grads + FIRST);
    }
    for (uint32_t i = 0; i < STATE; i++)
        assert_true(is_state(job, state[i], ((const float *)snapshot_tensor(job, "state"))[i]));
}

static void undisturbed_ranks_reach_the_serial_state(void **state)
{
    struct job job;

    (void)state;
    open_job(&job, 1, 50, OWN);
    run_job(&job, 0);
    expect_final_state(&job);
    close_job(&job);
}

static void expect_after_kills(const enum variety *varieties, uint32_t count)
{
    uint32_t kills = 0;

    for (uint32_t seed = 1; seed <= 2 * count; seed++) {
        struct job job;

        open_job(&job, seed, 400, varieties[seed % count]);
        run_job(&job, 40);
        expect_final_state(&job);
        close_job(&job);
        kills += job.kills;
    }
    assert_true(kills > 30);
}

static void killed_ranks_change_no_bit(void **state)
{
    static const enum variety varieties[] = {OWN,
                                             ALLOC,
                                             READY,
                                             ALLOC | READY | THREADS | WIDE,
                                             FUSE | ALLOC | READY,
                                             FUSE | THREADS | READY};

    (void)state;
    expect_after_kills(varieties, sizeof varieties / sizeof varieties[0]);
}

/* No shard is lost or counted twice, whatever was half added when its rank died. */
static void killed_ranks_leave_fast_sums_right(void **state)
{
    static const enum variety varieties[] = {FAST, FAST | ALLOC | READY | THREADS | WIDE,
                                             FAST | FUSE | ALLOC | READY};

    (void)state;
    expect_after_kills(varieties, sizeof varieties / sizeof varieties[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undisturbed_ranks_reach_the_serial_state),
        cmocka_unit_test(killed_ranks_change_no_bit),
        cmocka_unit_test(killed_ranks_leave_fast_sums_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
