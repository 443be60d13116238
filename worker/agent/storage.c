/* Checkpoints, seen from the agent: a child process for each part that is written or read, so that
 * a disk that hangs holds nobody up, and what it said about it.
 *
 * The child is this program again (/proc/self/exe worker --write-shard ...), with the arena and a
 * pipe as its only descriptors: there it may use HDF5, which has no place in a process with
 * threads.  It says its result as one struct storage_result, followed by the report.
 *
 * A snapshot that is being written is pinned, so that no rank picks it for the next one.  Between
 * finding and pinning a rank may have picked it all the same: so it counts only if it still holds
 * the same step when the writer is done. */
#include "worker/agent/state.h"

#include "common/log.h"
#include "worker/agent/process.h"
#include "worker/checkpoint/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RESULT_MAGIC UINT32_C(0x31545352)
#define MOST_BYTES (sizeof(struct storage_result) + CHECKPOINT_REPORT_MAX)

extern char **environ;

struct storage_result {
    uint32_t magic;
    int32_t code;
    char why[512];
};

/* ---- the agent's side -------------------------------------------------------------------------
 */

static void pin(struct agent *agent, uint32_t snapshot, bool on)
{
    _Atomic uint32_t *pinned = &agent->arena.header->agent[agent->block].pinned;

    if (on)
        atomic_fetch_or(pinned, UINT32_C(1) << snapshot);
    else
        atomic_fetch_and(pinned, ~(UINT32_C(1) << snapshot));
}

/* Reads what the child has said.  False at the end. */
static bool take_some(struct child *child)
{
    uint8_t bytes[65536];
    ssize_t size = read(child->report.fd, bytes, sizeof bytes);

    if (size < 0)
        return errno == EINTR;
    if (size == 0 || child->size + (size_t)size > MOST_BYTES)
        return false;
    if (child->size + (size_t)size > child->capacity) {
        size_t capacity = 2 * (child->size + (size_t)size);
        uint8_t *grown = realloc(child->data, capacity);

        if (grown == NULL)
            return false; /* then it is no whole result */
        child->data = grown;
        child->capacity = capacity;
    }
    memcpy(child->data + child->size, bytes, (size_t)size);
    child->size += (size_t)size;
    return true;
}

void storage_report(struct agent *agent, struct child *child)
{
    (void)agent;
    while (child->report.fd >= 0 && take_some(child))
        continue;
}

static void on_report(struct agent *agent, struct watch *watch, uint32_t events)
{
    struct child *child = watch_owner(watch, struct child, report);

    if (!take_some(child) && (events & EPOLLHUP) != 0)
        watch_drop(agent, watch);
}

/* Starts /proc/self/exe worker WORDS... with the arena and a pipe, whose numbers are added. */
static int start(struct agent *agent, struct child *child, const char *const *words,
                 struct rk_why *why)
{
    char *argv[24] = {(char[]){"reknit"}, (char[]){"worker"}};
    char arena[16], report[16], self[] = "/proc/self/exe";
    int ends[2], pidfd, count = 2;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return rk_fail_errno(why, errno, "cannot make a pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    snprintf(arena, sizeof arena, "%d", agent->arena.fd);
    snprintf(report, sizeof report, "%d", ends[1]);
    for (; *words != NULL; words++)
        argv[count++] = (char *)(uintptr_t)*words;
    argv[count++] = arena;
    argv[count++] = report;
    struct spawn spawn = {.file = self,
                          .argv = argv,
                          .envp = environ,
                          .out = 2,
                          .err = 2,
                          .keep = {agent->arena.fd, ends[1]}};
    pid_t pid = process_spawn(&spawn, &pidfd, why);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return pid;
    }
    if (watch_add(agent, &child->report, ends[0], EPOLLIN, on_report) != 0 ||
        child_watch(child, pid, pidfd) != 0) {
        kill(pid, SIGKILL);
        return rk_fail(why, RK_EFULL, "cannot watch a checkpoint's process");
    }
    return 0;
}

/* Ends those of `kind` that are under way. */
static void stop(struct agent *agent, enum child_kind kind)
{
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind == kind)
            child_kill(&agent->child[i]);
}

static int begin_write(struct agent *agent, struct child *child, const char *dirname,
                       uint32_t writer, uint32_t writers, struct rk_why *why)
{
    char snapshot[16], one[16], all[16];
    int k = arena_snapshot_find(&agent->arena, child->step);

    if (agent->options->checkpoint_dir == NULL)
        return rk_fail(why, RK_EUNAVAILABLE, "this worker was given no --checkpoint-dir");
    if (k < 0)
        return rk_fail(why, RK_ENOENT, "there is no snapshot of step %" PRIu64 " on host %s",
                       child->step, agent->options->host_name);
    child->snapshot = (uint32_t)k;
    pin(agent, child->snapshot, true);
    snprintf(snapshot, sizeof snapshot, "%d", k);
    snprintf(one, sizeof one, "%u", writer);
    snprintf(all, sizeof all, "%u", writers);
    return start(agent, child,
                 (const char *[]){"--write-shard", agent->options->checkpoint_dir, dirname,
                                  snapshot, one, all, NULL},
                 why);
}

void storage_write(struct agent *agent, uint32_t attempt, uint64_t step, const char *dirname,
                   uint32_t writer, uint32_t writers)
{
    struct rk_why why = {""};
    struct child failed = {.attempt = attempt, .began = agent->now};

    if (agent->end != AGENT_RUNS)
        return;
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind == CHILD_WRITER && agent->child[i].attempt == attempt)
            return; /* said again */
    stop(agent, CHILD_WRITER);
    struct child *child = child_new(agent, CHILD_WRITER);
    if (child == NULL) {
        say_shard_written(agent, &failed, RK_EFULL, "the agent has too many children", NULL, 0);
        return;
    }
    child->attempt = attempt;
    child->step = step;
    child->snapshot = UINT32_MAX;
    int rc = begin_write(agent, child, dirname, writer, writers, &why);
    if (rc == 0)
        return;
    say_shard_written(agent, child, rc, why.text, NULL, 0);
    if (child->snapshot != UINT32_MAX)
        pin(agent, child->snapshot, false);
    child_free(child);
}

static int begin_load(struct agent *agent, struct child *child, const char *dirname,
                      struct rk_why *why)
{
    char snapshot[16];
    int k;

    if (agent->options->checkpoint_dir == NULL)
        return rk_fail(why, RK_EUNAVAILABLE, "this worker was given no --checkpoint-dir");
    if (arena_layout(&agent->arena) == NULL)
        return rk_fail(why, RK_ESTATE, "no rank of this host has registered its state yet");
    k = arena_snapshot_pick(&agent->arena);
    if (k < 0)
        return rk_fail(why, RK_EFULL, "both snapshots of host %s are being read",
                       agent->options->host_name);
    child->snapshot = (uint32_t)k;
    pin(agent, child->snapshot, true);
    arena_snapshot_begin(&agent->arena, child->snapshot);
    snprintf(snapshot, sizeof snapshot, "%d", k);
    return start(
        agent, child,
        (const char *[]){"--load-state", agent->options->checkpoint_dir, dirname, snapshot, NULL},
        why);
}

void storage_load(struct agent *agent, rk_word word, uint64_t step, const char *dirname)
{
    struct rk_why why = {""};

    if (agent->end != AGENT_RUNS)
        return;
    for (uint32_t i = 0; i < AGENT_CHILDREN; i++)
        if (agent->child[i].kind == CHILD_LOADER && agent->child[i].word == word &&
            agent->child[i].step == step)
            return; /* said again */
    stop(agent, CHILD_LOADER);
    struct child *child = child_new(agent, CHILD_LOADER);
    if (child == NULL) {
        say_state_loaded(agent, word, step, RK_EFULL, "the agent has too many children");
        return;
    }
    child->word = word;
    child->step = step;
    child->snapshot = UINT32_MAX;
    int rc = begin_load(agent, child, dirname, &why);
    if (rc == 0)
        return;
    say_state_loaded(agent, word, step, rc, why.text);
    if (child->snapshot != UINT32_MAX)
        pin(agent, child->snapshot, false);
    child_free(child);
}

/* What came through the pipe, as a result: one of a child that died before it said it is made up.
 */
static struct storage_result result_of(const struct child *child)
{
    struct storage_result result;

    if (child->size >= sizeof result) {
        memcpy(&result, child->data, sizeof result);
        result.why[sizeof result.why - 1] = '\0';
        if (result.magic == RESULT_MAGIC && result.code <= 0)
            return result;
    }
    result = (struct storage_result){.code = RK_EIO};
    snprintf(result.why, sizeof result.why, "the process that moved it was killed");
    return result;
}

void storage_done(struct agent *agent, struct child *child)
{
    struct storage_result result = result_of(child);
    size_t head = sizeof result;

    if (child->kind == CHILD_LOADER) {
        pin(agent, child->snapshot, false);
        if (result.code == 0)
            arena_snapshot_commit(&agent->arena, child->snapshot, child->step);
        say_state_loaded(agent, child->word, child->step, result.code, result.why);
        return;
    }
    if (result.code == 0 &&
        arena_snapshot_find(&agent->arena, child->step) != (int)child->snapshot) {
        result.code = RK_ESTATE;
        snprintf(result.why, sizeof result.why,
                 "its snapshot was taken for another step meanwhile");
    }
    pin(agent, child->snapshot, false);
    arena_ring(&agent->arena); /* a rank may wait for a snapshot that nobody reads */
    say_shard_written(agent, child, result.code, result.why,
                      result.code == 0 ? child->data + head : NULL,
                      result.code == 0 ? child->size - head : 0);
}

/* ---- the child --------------------------------------------------------------------------------
 */

static void write_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t done = write(fd, at, size);

        if (done < 0 && errno != EINTR)
            return;
        if (done > 0) {
            at += done;
            size -= (size_t)done;
        }
    }
}

static int take_number(const char *text)
{
    return (int)strtol(text, NULL, 10);
}

/* argv: worker --write-shard ROOT DIRNAME SNAPSHOT WRITER WRITERS ARENA-FD REPORT-FD
 *       worker --load-state ROOT DIRNAME SNAPSHOT ARENA-FD REPORT-FD */
int storage_child(int argc, char **argv)
{
    bool writes = strcmp(argv[1], "--write-shard") == 0;
    struct checkpoint_report report = {0};
    struct storage_result result = {.magic = RESULT_MAGIC};
    struct rk_why why = {""};
    struct arena arena;

    if (argc != (writes ? 9 : 7)) {
        fprintf(stderr, "reknit worker: %s is for agents only\n", argv[1]);
        return 64;
    }
    int pipe = take_number(argv[argc - 1]);
    uint32_t snapshot = (uint32_t)take_number(argv[4]);
    int rc = arena_open(&arena, take_number(argv[argc - 2]), &why);
    const struct rk_layout *layout = rc == 0 ? arena_layout(&arena) : NULL;
    if (rc == 0 && (layout == NULL || snapshot >= ARENA_SNAPSHOTS))
        rc = rk_fail(&why, RK_ESTATE, "the arena has no layout yet");
    if (rc == 0 && writes)
        rc = checkpoint_write_shard(argv[2], argv[3], (uint32_t)take_number(argv[5]),
                                    (uint32_t)take_number(argv[6]), layout,
                                    arena_snapshot_data(&arena, snapshot), &report, &why);
    else if (rc == 0)
        rc = checkpoint_load(argv[2], argv[3], layout, arena_snapshot_data(&arena, snapshot),
                             layout->state_bytes, &why);
    result.code = rc;
    snprintf(result.why, sizeof result.why, "%s", why.text);
    write_all(pipe, &result, sizeof result);
    write_all(pipe, report.data, report.size);
    checkpoint_report_done(&report);
    if (layout != NULL)
        arena_close(&arena);
    return rc == 0 ? 0 : rk_error_exit_code(rc);
}
