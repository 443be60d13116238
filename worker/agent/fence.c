/* Fencing before trust: every process of a worker that is out is dead before anybody goes on.
 *
 * Its agent and ranks are killed at once; its warden, seeing its agent dead, kills what is left
 * below it and ends.  A warden that does not (it is stopped too) is killed after a moment.  Pids
 * come from the arena and count only with the start times beside them. */
#include "worker/agent/state.h"

#include "common/clock.h"
#include "common/log.h"
#include "worker/agent/process.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>

#define WARDEN_NS (200 * RK_MS)

static void on_dead(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct fence_target *target = watch_owner(watch, struct fence_target, watch);
    (void)events;

    watch_drop(agent, watch);
    target->pid = 0;
    agent->freeze.waiting--;
}

static bool is_target(const struct freeze *freeze, pid_t pid)
{
    for (uint32_t i = 0; i < AGENT_FENCES; i++)
        if (freeze->target[i].pid == pid)
            return true;
    return false;
}

/* Takes hold of a target and kills it unless it gets a moment.  A process that cannot be looked at,
 * since descriptors have run out, is not taken for dead: it stays a target, and the freeze waits.
 */
static void seize(struct agent *agent, struct fence_target *target)
{
    int pidfd = process_open(target->pid, target->start);

    if (pidfd == RK_EUNAVAILABLE)
        return;
    if (pidfd == RK_ENOENT) {
        target->pid = 0;
        agent->freeze.waiting--;
        return;
    }
    if (target->kill_at == 0)
        pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    /* where this fails nothing tells of its end: the next turn looks again */
    (void)watch_add(agent, &target->watch, pidfd, EPOLLIN, on_dead);
}

static void add_target(struct agent *agent, pid_t pid, uint64_t start, uint64_t grace)
{
    struct freeze *freeze = &agent->freeze;
    struct fence_target *target = freeze->target;

    if (pid <= 1 || pid == agent->pid || pid == agent->warden_pid || is_target(freeze, pid))
        return;
    while (target->pid != 0) {
        target++; /* there is one for each process that an arena knows */
        assert(target < freeze->target + AGENT_FENCES);
    }
    target->pid = pid;
    target->start = start;
    target->kill_at = grace == 0 ? 0 : agent->now + grace;
    freeze->waiting++;
    seize(agent, target);
    if (target->pid != 0 && target->watch.fd < 0)
        rk_error_log("process %d is to be fenced and cannot be looked at: the job stands still "
                     "until it can; raise the limit of open files (ulimit -n)",
                     (int)pid);
}

void fence_begin(struct agent *agent, uint64_t id)
{
    struct arena_header *header = agent->arena.header;

    if (id == 0 || id == agent->worker.value)
        return;
    for (uint32_t a = 0; a < ARENA_AGENTS; a++) {
        struct arena_agent *block = &header->agent[a];

        if (atomic_load(&block->worker) != id)
            continue;
        add_target(agent, atomic_load(&block->agent_pid), atomic_load(&block->agent_start), 0);
        add_target(agent, atomic_load(&block->warden_pid), atomic_load(&block->warden_start),
                   WARDEN_NS);
    }
    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        struct arena_seat *seat = &header->seat[s];

        if (atomic_load(&seat->state) == ARENA_SEAT_TAKEN && atomic_load(&seat->worker) == id)
            add_target(agent, atomic_load(&seat->pid), atomic_load(&seat->pid_start), 0);
    }
}

/* Whether it touches nothing here any more, though it may not be gone for long. */
static bool is_spent(const struct agent *agent, const struct fence_target *target)
{
    int status;

    return target->pid != 0 && target->watch.fd >= 0 && !agent->arena.header->on_gpus &&
           process_is_spent(target->pid, target->watch.fd, &status);
}

void fence_look(struct agent *agent)
{
    for (uint32_t i = 0; agent->freeze.waiting > 0 && i < AGENT_FENCES; i++) {
        struct fence_target *target = &agent->freeze.target[i];

        if (target->pid == 0)
            continue;
        if (target->watch.fd < 0)
            seize(agent, target);
        if (is_spent(agent, target)) {
            on_dead(agent, &target->watch, 0);
            continue;
        }
        if (target->watch.fd < 0 || target->kill_at == 0 || agent->now < target->kill_at)
            continue;
        pidfd_send_signal(target->watch.fd, SIGKILL, NULL, 0);
        target->kill_at = 0;
    }
}

static bool has_ended(pid_t pid, uint64_t start)
{
    struct process_facts facts;

    if (pid <= 1 || (kill(pid, 0) != 0 && errno == ESRCH))
        return true;
    return process_read(pid, &facts) && facts.start != start;
}

/* Whether a worker that has a block in this arena is dead as a whole. */
static bool worker_ended(const struct arena_header *header, const struct arena_agent *block)
{
    uint64_t id = atomic_load(&block->worker);

    if (!has_ended(atomic_load(&block->agent_pid), atomic_load(&block->agent_start)))
        return false;
    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        const struct arena_seat *seat = &header->seat[s];

        if (atomic_load(&seat->state) == ARENA_SEAT_TAKEN && atomic_load(&seat->worker) == id &&
            !has_ended(atomic_load(&seat->pid), atomic_load(&seat->pid_start)))
            return false;
    }
    return true;
}

void fence_sweep(struct agent *agent)
{
    struct arena_header *header = agent->arena.header;

    for (uint32_t a = 0; a < ARENA_AGENTS; a++) {
        uint64_t id = atomic_load(&header->agent[a].worker);

        if (id != 0 && atomic_load(&header->agent[a].agent_pid) != 0 && id != agent->worker.value &&
            worker_ended(header, &header->agent[a]))
            fence_finish(agent, id);
    }
}

/* The carrier block has one field for its owner, the pid; a dead one owns nothing. */
static void clear_dead_carrier(struct agent *agent)
{
    struct arena_carrier *carrier = &agent->arena.header->carrier;
    pid_t pid = atomic_load(&carrier->pid);
    struct process_facts facts;

    if (pid != 0 && !process_read(pid, &facts)) {
        atomic_store(&carrier->ack_word, 0);
        atomic_store(&carrier->job, 0);
        atomic_store(&carrier->pid, 0);
    }
}

void fence_finish(struct agent *agent, uint64_t id)
{
    struct arena_header *header = agent->arena.header;

    if (id == 0 || id == agent->worker.value)
        return;
    for (uint32_t s = 0; s < ARENA_SEATS; s++) {
        struct arena_seat *seat = &header->seat[s];

        if (atomic_load(&seat->state) == ARENA_SEAT_TAKEN && atomic_load(&seat->worker) == id)
            arena_seat_ghost(&agent->arena, s);
    }
    for (uint32_t a = 0; a < ARENA_AGENTS; a++) {
        struct arena_agent *block = &header->agent[a];
        uint64_t owner = id;

        if (atomic_load(&block->worker) != id)
            continue;
        atomic_store(&block->agent_pid, 0);
        atomic_store(&block->warden_pid, 0);
        atomic_store(&block->pinned, 0);
        atomic_compare_exchange_strong(&block->worker, &owner, 0);
    }
    clear_dead_carrier(agent);
}
