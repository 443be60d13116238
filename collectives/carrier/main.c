/* reknit-carrier: one process per host that exchanges the arena with the other hosts by MPI.
 *
 * It holds no state but what rounding keeps back (narrow.h): what it needs is in the arena and in
 * the plan of its agent's block, whose freeze and go words it follows as a rank does.  It leaves
 * when its agent is gone, when the plan belongs to another carrier job, or with an error that only
 * a new launch mends:
 *   0   not needed any more      70  hosts do not fit together: a bug or a stale peer
 *   75  the job of carriers is broken, launch it again */
#include "collectives/carrier/talk.h"
#include "collectives/carrier/wires_mpi.h"
#include "collectives/carrier_launch.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/local.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_TIMEOUT_MS 10000
#define AGENT_TURNS 64u /* looks after the agent once in so many turns of a wait */
#define YIELD_TURNS 4u
#define LONG_TURNS 10u
#define SHORT_TURNS 1000u

struct carrier {
    int socket;
    uint32_t job;
    uint32_t block;
    bool served;
    rk_word seen;  /* in force when it came */
    rk_word acked; /* newest */
    struct arena arena;
    struct wires *wires;
    struct narrow narrow;
};

static _Noreturn void leave(int code)
{
    fflush(stderr);
    _exit(code); /* MPI_Finalize hangs when a peer is gone */
}

static _Noreturn void fail(int rc, const struct rk_why *why)
{
    rk_error_log("%s", why->text);
    leave(rc == RK_ETRANSPORT || rc == RK_ETIMEDOUT ? 75 : rk_error_exit_code(rc) == 75 ? 75 : 70);
}

static struct arena_agent *block_of(struct carrier *carrier)
{
    return &carrier->arena.header->agent[carrier->block];
}

static rk_word frozen_word(struct carrier *carrier)
{
    return atomic_load_explicit(&block_of(carrier)->freeze_word, memory_order_acquire);
}

/* ---- the agent ------------------------------------------------------------------------------- */

/* Waits, asleep, until it is to serve; the agent's end ends that too.  What can be prepared for its
 * first step is. */
static void stand_by(struct carrier *carrier)
{
    static struct local_message message;
    struct rk_why why = {""};
    int fd = -1;
    int rc = arena_refresh(&carrier->arena, &why);

    if (rc != 0)
        fail(rc, &why);
    arena_populate(&carrier->arena, ARENA_SEATS);
    rc = local_receive(carrier->socket, &message, &fd, -1);
    if (fd >= 0)
        close(fd);
    if (rc == RK_EAGENT || (rc == 0 && message.kind == LOCAL_REFUSED))
        leave(0);
    if (rc != 0 || message.kind != LOCAL_STARTED)
        fail(RK_EAGENT, &(struct rk_why){"the agent does not say when to serve"});
}

static void attach(struct carrier *carrier, const char *path)
{
    static struct local_message message;
    struct rk_why why = {""};
    int fd = -1;
    int rc = local_connect(path, &carrier->socket, &why);

    if (rc != 0)
        fail(rc, &why);
    message = (struct local_message){.magic = LOCAL_MAGIC,
                                     .version = LOCAL_VERSION,
                                     .kind = LOCAL_CARRIER,
                                     .a = carrier->job,
                                     .b = wires_self(carrier->wires) |
                                          (uint64_t)wires_size(carrier->wires) << 32};
    rc = local_send(carrier->socket, &message, -1);
    if (rc == 0)
        rc = local_receive(carrier->socket, &message, &fd, ATTACH_TIMEOUT_MS);
    if (rc == 0 && message.kind == LOCAL_REFUSED) {
        rk_info("carrier refused: %s", message.text);
        leave(0);
    }
    if (rc != 0 || message.kind != LOCAL_WELCOME || fd < 0 || message.agent_block >= ARENA_AGENTS)
        fail(RK_EAGENT, &(struct rk_why){"the agent does not give its arena"});
    rc = arena_open(&carrier->arena, fd, &why);
    if (rc != 0)
        fail(rc, &why);
    carrier->block = message.agent_block;
    stand_by(carrier);
    carrier->seen = frozen_word(carrier);
    atomic_store(&carrier->arena.header->carrier.job, carrier->job);
    atomic_store(&carrier->arena.header->carrier.ack_word, 0);
    atomic_store(&carrier->arena.header->carrier.pid, (int32_t)getpid());
}

/* Ends this process when the agent is gone. */
static void look_after_agent(struct carrier *carrier)
{
    static struct local_message message;
    int fd = -1;
    int rc = local_receive(carrier->socket, &message, &fd, 0);

    if (fd >= 0)
        close(fd);
    if (rc == RK_EAGENT || (rc == 0 && message.kind == LOCAL_REFUSED))
        leave(0);
}

/* From here on nothing in the arena is touched until the go. */
static void acknowledge(struct carrier *carrier, rk_word word)
{
    static struct local_message message;
    int rc;

    atomic_store(&carrier->arena.header->carrier.ack_word, word);
    message = (struct local_message){
        .magic = LOCAL_MAGIC, .version = LOCAL_VERSION, .kind = LOCAL_ACK, .a = word};
    rc = local_send(carrier->socket, &message, -1);
    if (rc == RK_EAGENT)
        leave(0);
    if (rc == 0)
        carrier->acked = word; /* else its queue is full: again in the next turn */
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* For what MPI brings: yields a little, then sleeps, longer the longer nothing comes.  Ranks need
 * the processor more than a wire needs attention: its windows hold milliseconds. */
static void rest(uint32_t *turn)
{
    uint32_t steps = *turn < LONG_TURNS ? *turn : LONG_TURNS;
    struct timespec pause = {.tv_nsec = *turn < SHORT_TURNS ? (long)steps * 10000 : 200000};

    if (*turn < YIELD_TURNS)
        sched_yield();
    else
        nanosleep(&pause, NULL);
    (*turn)++;
}

/* One turn of a wait: on the bell when only this host can end it. */
static void wait_turn(struct carrier *carrier, bool here, uint32_t bell, uint32_t *turn)
{
    if (here)
        arena_pause(&carrier->arena, bell, turn);
    else
        rest(turn);
    if (*turn % AGENT_TURNS == 0 || *turn > SHORT_TURNS)
        look_after_agent(carrier);
}

/* Copies the plan of the newest word when that is another than `done` and has its go. */
static bool plan_take(struct carrier *carrier, rk_word done, struct arena_plan *plan)
{
    struct arena_agent *block = block_of(carrier);
    rk_word word = frozen_word(carrier);

    if (word != 0 && word != carrier->acked)
        acknowledge(carrier, word);
    if (word == 0 || word == done ||
        atomic_load_explicit(&block->go_word, memory_order_acquire) != word)
        return false;
    *plan = block->plan;
    atomic_thread_fence(memory_order_acquire);
    return frozen_word(carrier) == word && plan->word == word;
}

/* Waits for the next plan; `done`: of this word there is nothing more to do. */
static void await_plan(struct carrier *carrier, rk_word done, struct arena_plan *plan)
{
    struct rk_why why = {""};
    uint32_t turn = 0;

    for (;;) {
        uint32_t bell = arena_bell(&carrier->arena);
        bool moved = false;
        int rc;

        if (plan_take(carrier, done, plan))
            return;
        rc = wires_turn(carrier->wires, &moved, &why);
        if (rc != 0)
            fail(rc, &why);
        wait_turn(carrier, !wires_sending(carrier->wires), bell, &turn);
    }
}

/* ---- serving --------------------------------------------------------------------------------- */

/* Ends this process when nothing has moved for too long where something must, or when another
 * carrier is not there any more. */
static void watch(struct carrier *carrier, const struct talk *talk, uint64_t *still_since)
{
    struct rk_why why = {""};
    uint64_t patience = talk_patience(talk);
    uint64_t now = rk_clock_now();
    int rc = wires_probe(carrier->wires, &talk->plan, now, &why);

    if (rc != 0)
        fail(rc, &why);
    if (patience == 0 || *still_since == 0)
        *still_since = now;
    if (patience == 0 || now - *still_since < patience)
        return;
    rk_error_log("nothing moved for %llu s in phase %d of step %llu though all hosts are there; "
                 "the carriers are launched again",
                 (unsigned long long)(patience / RK_S), (int)talk->phase,
                 (unsigned long long)talk->step);
    leave(75);
}

static void serve(struct carrier *carrier, const struct arena_plan *plan)
{
    struct rk_why why = {""};
    struct talk *talk = NULL;
    uint64_t still_since = 0;
    uint32_t turn = 0;
    int rc = talk_new(&carrier->arena, carrier->wires, &carrier->narrow, carrier->block, plan,
                      &talk, &why);

    rk_debug("word %llx: host %u of %u", (unsigned long long)plan->word, plan->host_index,
             plan->hosts);
    while (rc == 0 && frozen_word(carrier) == plan->word) {
        uint32_t bell = arena_bell(&carrier->arena);
        bool moved = false;

        rc = talk_turn(talk, &moved, &why);
        if (moved) {
            turn = 0;
            still_since = 0;
            continue;
        }
        atomic_store(&carrier->arena.header->carrier.bytes, wires_sent_bytes(carrier->wires));
        wait_turn(carrier, talk_waits_here(talk), bell, &turn);
        if (turn > YIELD_TURNS)
            watch(carrier, talk, &still_since);
    }
    talk_free(talk);
    if (rc != 0)
        fail(rc, &why);
}

static _Noreturn void follow(struct carrier *carrier)
{
    struct arena_plan plan;
    rk_word done = 0;

    for (;;) {
        await_plan(carrier, done, &plan);
        switch (plan_verdict(&plan, carrier->job, carrier->seen, carrier->served)) {
        case VERDICT_SERVE:
            carrier->served = true;
            serve(carrier, &plan);
            break;
        case VERDICT_LEAVE:
            leave(0);
        case VERDICT_WAIT:
            break;
        }
        done = plan.word;
    }
}

int main(void)
{
    static struct carrier carrier;
    const char *agent = getenv(LOCAL_ENV_AGENT);
    const char *job = getenv(CARRIER_ENV_JOB);
    struct rk_why why = {""};
    int rc;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* orted is gone: so is the job */
    prctl(PR_SET_TIMERSLACK, 1000);
    rk_log_init("carrier");
    if (agent == NULL || job == NULL) {
        fprintf(stderr, "reknit-carrier: started by `reknit worker` only (%s and %s are not set)\n",
                LOCAL_ENV_AGENT, CARRIER_ENV_JOB);
        return 64;
    }
    carrier.job = (uint32_t)strtoul(job, NULL, 10);
    rc = wires_open(&carrier.wires, &why);
    if (rc != 0)
        fail(rc, &why);
    attach(&carrier, agent);
    follow(&carrier);
}
