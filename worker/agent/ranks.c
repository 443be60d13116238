/* The ranks of this worker: starting, watching, killing.
 *
 * A rank is two processes that are mostly one: the child we started, and the process that called
 * rk_join, which is the child or (behind a shell or a launcher script) one below it.  The rank is
 * lost when either ends before rk_leave.  It is over, and its seat becomes a ghost, when both are
 * dead: only then nobody writes in the arena for it any more. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "worker/agent/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Time for a wrapper to end by itself when the process below it that had joined has ended. */
#define WRAPPER_NS (100 * RK_MS)
/* Time for a process to exit after its library closed the connection without leaving. */
#define DETACHED_NS (1 * RK_S)

extern char **environ;

/* How long a new process lets a generation that is being formed go first: to start one takes the
 * agent most of a millisecond, and the processor of ranks that wait. */
#define START_WAIT (5 * RK_MS)

static void rank_start(struct agent *agent, struct rank *rank);

void ranks_init(struct agent *agent)
{
    for (uint32_t i = 0; i < RK_MAX_SLOTS; i++) {
        struct rank *rank = &agent->rank[i];

        rank->slot = i;
        rank->name = AGENT_NO_RANK;
        rank->seat = -1;
        rank->log = -1;
        rank->child.fd = rank->attached.fd = -1;
        rank->out.watch.fd = rank->err.watch.fd = -1;
        rank->out.rank = rank->err.rank = rank;
    }
}

bool rank_alive(const struct rank *rank)
{
    return rank->pid != 0;
}

bool ranks_alive(const struct agent *agent)
{
    for (uint32_t i = 0; i < agent->options->slots; i++)
        if (rank_alive(&agent->rank[i]))
            return true;
    return false;
}

struct arena_seat *rank_seat(const struct agent *agent, const struct rank *rank)
{
    return rank->seat < 0 ? NULL : &agent->arena.header->seat[rank->seat];
}

void ranks_close(struct agent *agent)
{
    for (uint32_t i = 0; i < RK_MAX_SLOTS; i++) {
        struct rank *rank = &agent->rank[i];

        output_close(agent, rank);
        watch_drop(agent, &rank->child);
        watch_drop(agent, &rank->attached);
    }
}

/* ---- killing ----------------------------------------------------------------------------------
 */

void rank_kill(struct agent *agent, struct rank *rank)
{
    if (!rank_alive(rank))
        return;
    if (rank->dying_at == 0)
        rank->dying_at = agent->now;
    if (rank->attached.fd >= 0)
        pidfd_send_signal(rank->attached.fd, SIGKILL, NULL, 0);
    if (!rank->child_gone)
        kill(-rank->pid, SIGKILL); /* not collected yet: the number is still its own */
    if (rank->child.fd >= 0)
        pidfd_send_signal(rank->child.fd, SIGKILL, NULL, 0);
    rank->kill_at = agent->now + RK_S; /* once more, should something have been forked meanwhile */
}

void ranks_signal(struct agent *agent, int number)
{
    for (uint32_t i = 0; i < agent->options->slots; i++) {
        struct rank *rank = &agent->rank[i];

        rank->order.wanted = false;
        if (!rank_alive(rank))
            continue;
        if (number == SIGKILL)
            rank_kill(agent, rank);
        else if (!rank->child_gone)
            kill(-rank->pid, number);
    }
}

/* ---- the end of a rank ------------------------------------------------------------------------
 */

static void reset(struct rank *rank)
{
    if (rank->pid != 0)
        rank->ended_pid = rank->attached_pid != 0 ? rank->attached_pid : rank->pid;
    rank->pid = 0;
    rank->attached_pid = 0;
    rank->child_gone = rank->attached_gone = false;
    rank->joined = rank->entered = rank->member = rank->left = false;
    rank->killed_stopped = rank->killed_stalled = rank->out_of_memory = false;
    rank->lasts_ns = 0;
    rank->stopped_at = rank->fading_at = rank->dying_at = rank->kill_at = 0;
    rank->seat = -1;
}

/* How a wrapper tells of its child's death by signal n: 128 + n.  Said as what it was. */
static void unwrap_status(struct rank *rank)
{
    bool wrapped = rank->attached_pid != 0 && rank->attached_pid != rank->pid;

    if (wrapped && WIFEXITED(rank->status) && WEXITSTATUS(rank->status) > 128 &&
        WEXITSTATUS(rank->status) <= 128 + SIGRTMAX)
        rank->status = WEXITSTATUS(rank->status) - 128;
}

/* The kernel counts what it kills for want of memory; each count is laid to one end by SIGKILL. */
static bool ran_out_of_memory(struct agent *agent, const struct rank *rank)
{
    uint64_t kills;

    if (!WIFSIGNALED(rank->status) || WTERMSIG(rank->status) != SIGKILL || rank->killed_stopped ||
        rank->killed_stalled)
        return false;
    kills = rk_memory_kills(agent->memory_fd);
    if (kills <= agent->memory_kills)
        return false;
    agent->memory_kills++;
    if (kills - agent->memory_kills > RK_MAX_SLOTS) /* others than ranks */
        agent->memory_kills = kills;
    return true;
}

static void rank_over(struct agent *agent, struct rank *rank)
{
    struct arena_seat *seat = rank_seat(agent, rank);

    if (seat != NULL && atomic_load(&seat->left))
        rank_left(agent, rank, atomic_load(&seat->position));
    unwrap_status(rank);
    rank->out_of_memory = ran_out_of_memory(agent, rank);
    output_close(agent, rank);
    if (rank->peer != NULL)
        peer_close(agent, rank->peer);
    watch_drop(agent, &rank->attached);
    lives_forget(agent, rank);
    if (rank->seat >= 0)
        arena_seat_ghost(&agent->arena, (uint32_t)rank->seat);
    bool clean = WIFEXITED(rank->status) && WEXITSTATUS(rank->status) == 0;
    rank->done = rank->left || (clean && !rank->joined);
    say_rank_exited(agent, rank,
                    agent->now - (rank->stopped_at != 0 ? rank->stopped_at : rank->dying_at));
    if (!rank->done && agent->end == AGENT_RUNS)
        rk_info("rank %u lost: %s %d", rank->name, WIFEXITED(rank->status) ? "exit code" : "signal",
                WIFEXITED(rank->status) ? WEXITSTATUS(rank->status) : WTERMSIG(rank->status));
    reset(rank);
    freeze_check(agent);
    if (rank->order.wanted)
        rank_start(agent, rank);
}

static void look_for_end(struct agent *agent, struct rank *rank)
{
    bool attached_over = rank->attached_pid == 0 || rank->attached_gone;

    if (rank->child_gone && attached_over)
        rank_over(agent, rank);
}

static void on_child(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct rank *rank = watch_owner(watch, struct rank, child);
    siginfo_t info = {0};
    (void)events;

    if (waitid(P_PID, (id_t)rank->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return;
    /* While it is not collected, its number also names its process group and nothing else. */
    kill(-rank->pid, SIGKILL);
    waitpid(rank->pid, &rank->status, 0);
    rank->child_gone = true;
    if (rank->dying_at == 0)
        rank->dying_at = agent->now;
    watch_drop(agent, watch);
    if (rank->attached_pid == rank->pid)
        rank->attached_gone = true;
    else if (rank->attached.fd >= 0)
        pidfd_send_signal(rank->attached.fd, SIGKILL, NULL, 0);
    look_for_end(agent, rank);
}

/* What is left of its process is waited for aside, and the rank is over. */
static bool put_aside(struct agent *agent, struct rank *rank)
{
    struct child *child = child_new(agent, CHILD_REMAINS);
    int pidfd;

    if (child == NULL)
        return false;
    child->slot = rank->slot;
    pidfd = fcntl(rank->child.fd, F_DUPFD_CLOEXEC, 3);
    if (child_watch(child, rank->pid, pidfd) != 0) {
        child_free(child);
        return false;
    }
    watch_drop(agent, &rank->child);
    kill(-rank->pid, SIGKILL);
    rank->remains = rank->pid;
    rank->child_gone = rank->attached_gone = true;
    rank->dying_at = rank->dying_at != 0 ? rank->dying_at : agent->now;
    rank_over(agent, rank);
    return true;
}

bool rank_fades(struct agent *agent, struct rank *rank)
{
    bool direct = rank->attached_pid == rank->pid && !rank->child_gone;

    if (rank->fading_at == 0)
        rank->fading_at = agent->now;
    if (!direct || rank->remains != 0 || agent->arena.header->on_gpus ||
        agent->now - rank->fading_at > LIVES_FADING)
        return true; /* its end is waited for */
    return process_is_spent(rank->pid, rank->child.fd, &rank->status) && put_aside(agent, rank);
}

void rank_collect(struct agent *agent, struct child *remains)
{
    struct rank *rank = &agent->rank[remains->slot];

    kill(-remains->pid, SIGKILL);
    waitpid(remains->pid, NULL, 0);
    child_free(remains);
    rank->remains = 0;
    if (!rank_alive(rank) && rank->order.wanted && agent->start_at == 0)
        rank_start(agent, rank);
}

static void on_attached_gone(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct rank *rank = watch_owner(watch, struct rank, attached);
    (void)events;

    rank->attached_gone = true;
    if (rank->dying_at == 0)
        rank->dying_at = agent->now;
    if (!rank->child_gone && rank->kill_at == 0 && !rank->left)
        rank->kill_at = agent->now + WRAPPER_NS;
    watch_drop(agent, watch);
    look_for_end(agent, rank);
}

/* ---- what its library says --------------------------------------------------------------------
 */

void rank_attached(struct agent *agent, struct rank *rank, struct peer *peer, int pidfd)
{
    struct process_facts facts;
    struct arena_seat *seat = rank_seat(agent, rank);

    rank->attached_pid = peer->pid;
    rank->peer = peer;
    rank->joined = true;
    if (peer->pid == rank->pid)
        close(pidfd);
    else
        watch_add(agent, &rank->attached, pidfd, EPOLLIN, on_attached_gone);
    if (seat != NULL && process_read(peer->pid, &facts)) {
        atomic_store(&seat->pid_start, facts.start);
        atomic_store(&seat->pid, peer->pid);
    }
}

void rank_left(struct agent *agent, struct rank *rank, uint64_t position)
{
    if (rank->left)
        return;
    rank->left = true;
    rank->position = position;
    say_heartbeat_soon(agent);
}

void rank_detached(struct agent *agent, struct rank *rank)
{
    struct arena_seat *seat = rank_seat(agent, rank);

    rank->peer = NULL;
    if (seat != NULL && atomic_load(&seat->left))
        rank_left(agent, rank, atomic_load(&seat->position));
    if (!rank->left && rank_alive(rank) && rank->kill_at == 0)
        rank->kill_at = agent->now + DETACHED_NS;
}

/* ---- looking ----------------------------------------------------------------------------------
 */

/* Its program's process, or the wrapper that we started where that is another. */
static bool is_stopped(const struct rank *rank)
{
    bool wrapped = !rank->child_gone && rank->attached_pid != rank->pid;

    return process_stopped(rank->attached_pid) || (wrapped && process_stopped(rank->pid));
}

static void look_for_stop(struct agent *agent, struct rank *rank)
{
    if (!is_stopped(rank)) {
        rank->stopped_at = rank->killed_stopped ? rank->stopped_at : 0;
        return;
    }
    if (rank->stopped_at == 0)
        rank->stopped_at = agent->now;
    if (rank->killed_stopped || agent->now - rank->stopped_at < agent->silence_ns / 2)
        return;
    rk_warn("rank %u stood still for %.1f s and is killed", rank->name,
            (double)(agent->now - rank->stopped_at) / (double)RK_S);
    rank->killed_stopped = true;
    rank_kill(agent, rank);
}

/* SIGABRT first, so that whoever wants to know where it was gets a traceback or a core; in a second
 * it is killed.  It is lost since its program was last seen to come back. */
static void end_stalled(struct agent *agent, struct rank *rank, const char *what)
{
    struct process_facts facts;

    if (!process_read(rank->attached_pid, &facts))
        return;
    if (facts.state == 't') { /* somebody traces it */
        rank->lasts_ns = 0;
        return;
    }
    rk_warn("rank %u: %s for %.1f s (process %d, state %c); it is ended", rank->name, what,
            (double)rank->lasts_ns / (double)RK_S, (int)rank->attached_pid, facts.state);
    rank->killed_stalled = true;
    rank->dying_at = agent->now - rank->lasts_ns;
    rank->kill_at = agent->now + RK_S;
    kill(rank->attached_pid, SIGABRT);
}

/* Each program came back in time, here and elsewhere, else its rank would be ended: what stands
 * still is what carries the sum. */
static void tell_stalled(struct agent *agent, struct rank *rank)
{
    char why[96];

    snprintf(why, sizeof why, "it has not come for %.1f s, and no program kept it waiting so long",
             (double)rank->lasts_ns / (double)RK_S);
    say_comm_failed(agent, agent->plan.word, rank->name, rank->lasts_ns, why);
    rank->lasts_ns = 0;
}

/* A program that has control and never comes back holds all others up, and so does a rank that does
 * not stand still for a freeze, and a sum that never comes.  Time counts in which we were awake. */
static void look_for_stall(struct agent *agent, struct rank *rank)
{
    const struct arena_seat *seat = rank_seat(agent, rank);
    uint64_t since = agent->now - agent->looked_at;
    uint64_t most = 2 * agent->heartbeat_ns + RK_S; /* between two looks */
    uint32_t waits;

    if (seat == NULL || !rank->member || rank->left || rank->dying_at != 0)
        return;
    waits = atomic_load_explicit(&seat->waits, memory_order_relaxed);
    if (waits != rank->waits) {
        rank->waits = waits;
        rank->lasts_ns = 0;
        return;
    }
    rank->lasts_ns += since < most ? since : most;
    if (agent->stall_ns == 0 || rank->lasts_ns < agent->stall_ns)
        return;
    if (waits % ARENA_WAITS == ARENA_WAIT_NONE)
        end_stalled(agent, rank, "its program has had control");
    else if (!freeze_knows(agent, rank))
        end_stalled(agent, rank, "it has not stood still, as it was asked to,");
    else if (waits % ARENA_WAITS == ARENA_WAIT_SUM && rank->lasts_ns >= 2 * agent->stall_ns)
        tell_stalled(agent, rank);
}

void ranks_wait_anew(struct agent *agent)
{
    for (uint32_t i = 0; i < agent->options->slots; i++)
        if (agent->rank[i].waits % ARENA_WAITS != ARENA_WAIT_NONE)
            agent->rank[i].lasts_ns = 0;
}

void ranks_look(struct agent *agent)
{
    for (uint32_t i = 0; i < agent->options->slots; i++) {
        struct rank *rank = &agent->rank[i];

        if (!rank_alive(rank)) {
            if (rank->order.wanted)
                rank_start(agent, rank);
            continue;
        }
        look_for_stop(agent, rank);
        look_for_stall(agent, rank);
        struct arena_seat *seat = rank_seat(agent, rank);
        if (seat != NULL && rank->joined && atomic_load(&seat->left))
            rank_left(agent, rank, atomic_load(&seat->position));
        if (rank->kill_at != 0 && agent->now >= rank->kill_at &&
            (!rank->left || rank->dying_at != 0))
            rank_kill(agent, rank);
    }
    agent->looked_at = agent->now;
}

/* ---- starting ---------------------------------------------------------------------------------
 */

struct variables {
    char text[18][AGENT_PATH + 64];
    char *set[20];
    uint32_t count;
};

static void variable(struct variables *variables, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void variable(struct variables *variables, const char *format, ...)
{
    char *text = variables->text[variables->count];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof variables->text[0], format, args);
    va_end(args);
    variables->set[variables->count++] = text;
    variables->set[variables->count] = NULL;
}

/* torchrun's contract and ours; DESIGN, section 5. */
static char **environment_of(const struct agent *agent, const struct rank *rank)
{
    const struct agent_options *options = agent->options;
    const struct rank_order *order = &rank->order;
    struct variables *v = calloc(1, sizeof *v);
    char **made;

    if (v == NULL)
        return NULL;
    variable(v, "RANK=%u", order->rank);
    variable(v, "LOCAL_RANK=%u", rank->slot);
    variable(v, "WORLD_SIZE=%u", order->world_size);
    variable(v, "LOCAL_WORLD_SIZE=%u", order->local_world_size);
    variable(v, "GROUP_RANK=%u", order->group_rank);
    variable(v, "MASTER_ADDR=%s", order->master_addr);
    variable(v, "MASTER_PORT=%u", order->master_port);
    variable(v, "TORCHELASTIC_RUN_ID=%s", options->job);
    variable(v, "TORCHELASTIC_RESTART_COUNT=%u", order->restart_count);
    variable(v, "TORCHELASTIC_MAX_RESTARTS=%u", order->max_restarts);
    variable(v, "REKNIT_JOB=%s", options->job);
    variable(v, "REKNIT_GENERATION=%llu", (unsigned long long)order->generation);
    variable(v, "REKNIT_CHECKPOINT_DIR=%s",
             options->checkpoint_dir == NULL ? "" : options->checkpoint_dir);
    variable(v, "REKNIT_CARRIER_JOB=");
    variable(v, LOCAL_ENV_AGENT "=%s", agent->socket_path);
    made = process_environment(environ, v->set);
    free(v);
    return made;
}

/* The rank's place in the arena.  A program that never joins does not mind having one. */
static int take_seat(struct agent *agent, struct rank *rank, struct rk_why *why)
{
    int seat = arena_seat_claim(&agent->arena, agent->worker, rank->slot, rank->order.rank,
                                rank->order.replace);

    if (seat < 0)
        return rk_fail(why, RK_EFULL, "all %u seats of host %s are taken", ARENA_SEATS,
                       agent->options->host_name);
    rank->seat = seat;
    return 0;
}

static int spawn_rank(struct agent *agent, struct rank *rank, struct rk_why *why)
{
    struct spawn spawn = {.argv = agent->options->program, .keep = {-1, -1}};
    int pidfd = -1;
    char **environment = environment_of(agent, rank);
    int rc = environment == NULL ? rk_fail(why, RK_ENOMEM, "no memory for an environment")
                                 : output_open(agent, rank, &spawn.out, &spawn.err, why);

    spawn.envp = environment;
    if (rc == 0)
        rc = process_spawn(&spawn, &pidfd, why);
    if (rc > 0) {
        rank->pid = rc;
        rc = watch_add(agent, &rank->child, pidfd, EPOLLIN, on_child);
    }
    free(environment);
    if (environment != NULL && spawn.out >= 0)
        close(spawn.out);
    if (environment != NULL && spawn.err >= 0)
        close(spawn.err);
    return rc;
}

static void start_failed(struct agent *agent, struct rank *rank, const struct rk_why *why)
{
    rk_error_log("rank %u cannot start: %s", rank->name, why->text);
    if (rank->pid != 0) {
        kill(rank->pid, SIGKILL);
        waitpid(rank->pid, NULL, 0);
    }
    output_close(agent, rank);
    if (rank->seat >= 0)
        arena_seat_ghost(&agent->arena, (uint32_t)rank->seat);
    rank->status = 69 << 8; /* as if it had exited with 69: something needed is unavailable */
    rank->dying_at = agent->now;
    say_rank_exited(agent, rank, 0);
    reset(rank);
}

static void rank_start(struct agent *agent, struct rank *rank)
{
    struct rk_why why = {""};
    struct process_facts facts;

    if (agent->end != AGENT_RUNS || rank->remains != 0) /* which has memory that may be wanted */
        return;
    reset(rank);
    rank->done = false;
    rank->name = rank->order.rank;
    int rc = take_seat(agent, rank, &why);
    if (rc == RK_EFULL) {
        if (!rank->wait_said)
            rk_warn("rank %u waits: %s", rank->name, why.text);
        rank->wait_said = true;
        return; /* ghosts leave when the step they helped with is complete; asked again soon */
    }
    rank->order.wanted = rank->wait_said = false;
    rank->generation = rank->order.generation;
    rank->start = rank->order.start;
    rc = spawn_rank(agent, rank, &why);
    if (rc != 0) {
        start_failed(agent, rank, &why);
        return;
    }
    struct arena_seat *seat = rank_seat(agent, rank);
    if (process_read(rank->pid, &facts))
        atomic_store(&seat->pid_start, facts.start);
    atomic_store(&seat->pid, rank->pid);
    rk_info("rank %u started, pid %d", rank->name, (int)rank->pid);
    say_heartbeat_soon(agent);
}

void rank_order_start(struct agent *agent, struct rank *rank, const struct rank_order *order)
{
    if (agent->end != AGENT_RUNS || (rank_alive(rank) && rank->dying_at == 0 && !order->replace))
        return; /* it runs already: the coordinator says again what it wants */
    if (order->start < rank->start ||
        (order->start != 0 && order->start == rank->start && (rank_alive(rank) || rank->done)))
        return; /* it was started by that order, or by a later one */
    rank->order = *order;
    rank->order.wanted = true;
    if (rank_alive(rank))
        rank_kill(agent, rank);
    else if (agent->start_at == 0)
        agent->start_at = agent->now + START_WAIT;
}

void ranks_start_due(struct agent *agent)
{
    if (agent->start_at == 0 || (agent->now < agent->start_at && freeze_is_open(agent)))
        return;
    agent->start_at = 0;
    for (uint32_t i = 0; i < agent->options->slots; i++)
        if (!rank_alive(&agent->rank[i]) && agent->rank[i].order.wanted)
            rank_start(agent, &agent->rank[i]);
}
