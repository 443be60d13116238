/* The agent against a scripted coordinator: from hello to shutdown, and what goes wrong between. */
#include "collectives/arena.h"
#include "common/clock.h"
#include "tests/unit/agent_stage.h"
#include "worker/checkpoint/checkpoint.h"
#include "worker/local.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#define SILENCE (10 * RK_S) /* long: only tests about silence are to see any */

/* One worker with `slots` ranks that have entered. */
static const Rk__Heartbeat *open_ready(struct stage *stage, uint32_t slots, uint64_t silence)
{
    const char *program[4];

    stage_rank_program("job", program);
    stage_start(stage, 0, "0", slots, program);
    stage_hello(stage, 0, silence);
    stage_start_ranks(stage, 0, slots, 0, 1);
    return stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY);
}

static void open_running(struct stage *stage, uint32_t slots, uint64_t silence)
{
    open_ready(stage, slots, silence);
    stage_freeze(stage, 0, rk_word_make(1, 1), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    stage_go(stage, 0, rk_word_make(1, 1), slots, 0, ARENA_NO_STEP);
    stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER);
}

static void end(struct stage *stage, uint32_t index)
{
    Rk__Shutdown shutdown = RK__SHUTDOWN__INIT;

    stage_say(stage, index, RK__ENVELOPE__BODY_SHUTDOWN, &shutdown);
    assert_int_equal(stage_wait(stage, index), 0);
}

static void a_job_from_hello_to_shutdown(void **state)
{
    struct stage *stage = *state;
    rk_word one = rk_word_make(1, 1), two = rk_word_make(1, 2);

    const Rk__Heartbeat *heartbeat = open_ready(stage, 2, SILENCE);
    assert_int_equal(heartbeat->n_rank, 2);
    assert_int_equal(heartbeat->rank[1]->rank, 1);
    assert_true(heartbeat->layout_hash != 0);
    assert_int_equal(heartbeat->state_bytes, 4096);
    assert_int_equal(heartbeat->batch, 4);
    assert_string_equal(heartbeat->rank[0]->numbers[0]->name, "loss");

    stage_freeze(stage, 0, one, 0);
    const Rk__FreezeAck *ack = stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK)->freeze_ack;
    assert_int_equal(ack->word, one);
    assert_int_equal(ack->rank[1]->state, RK__RANK_STATE__RANK_READY);
    assert_int_equal(ack->done.len, 1);
    assert_int_equal(ack->lineage, 0);
    stage_freeze(stage, 0, one, 0); /* an ack that was lost is said again */
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    stage_go(stage, 0, one, 2, 0, ARENA_NO_STEP);
    const Rk__Progress *progress = stage_expect(stage, 0, RK__ENVELOPE__BODY_PROGRESS)->progress;
    assert_int_equal(progress->word, one);
    assert_int_equal(progress->position, 1);
    heartbeat = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER);
    assert_int_equal(heartbeat->word, one);

    stage_freeze(stage, 0, two, 0);
    ack = stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK)->freeze_ack;
    assert_int_equal(ack->word, two);
    assert_int_equal(ack->deal_step, 1);
    assert_int_equal(ack->lineage, one);
    /* one has finished the step; these two do not wait for each other, so the other may not have
     * begun it */
    assert_true((ack->rank[0]->position == 1 && ack->rank[0]->has_state) ||
                (ack->rank[1]->position == 1 && ack->rank[1]->has_state));
    stage_freeze(stage, 0, one, 0); /* of an older word: nothing */
    stage_go(stage, 0, two, 2, 1, 1);
    for (int i = 0; i < 2; i++) {
        const Rk__RankExited *exited =
            stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
        assert_true(exited->left && exited->joined);
        assert_int_equal(exited->exit_code, 0);
        assert_int_equal(exited->signal, 0);
    }
    heartbeat = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_DONE);
    assert_int_equal(heartbeat->rank[0]->position, 1);
    end(stage, 0);
}

/* Nothing is left in the host's folder but the lock. */
static void a_worker_leaves_nothing_behind(void **state)
{
    struct stage *stage = *state;
    char path[256];
    struct dirent *entry;

    open_running(stage, 1, SILENCE);
    snprintf(path, sizeof path, "%s/host-0", stage->run);
    end(stage, 0);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.')
            assert_string_equal(entry->d_name, "lock");
    closedir(folder);
}

static void a_killed_rank_is_told_and_started_again(void **state)
{
    struct stage *stage = *state;

    open_running(stage, 2, SILENCE);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[1]->pid;
    kill(pid, SIGKILL);
    const Rk__RankExited *exited =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
    assert_int_equal(exited->slot, 1);
    assert_int_equal(exited->pid, pid);
    assert_int_equal(exited->signal, SIGKILL);
    assert_true(exited->joined && !exited->left && !exited->stopped);
    assert_non_null(strstr(exited->last_lines, "joined"));
    stage_start_ranks(stage, 0, 2, 0, 2); /* slot 0 runs: nothing; slot 1: started */
    const Rk__Heartbeat *heartbeat;
    do {
        heartbeat = stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT)->heartbeat;
    } while (heartbeat->rank[1]->state != RK__RANK_STATE__RANK_READY);
    assert_int_equal(heartbeat->rank[0]->state, RK__RANK_STATE__RANK_MEMBER);
    assert_int_equal(heartbeat->rank[0]->generation, 1);
    assert_int_equal(heartbeat->rank[1]->generation, 2);
    end(stage, 0);
}

/* The kernel takes long to take its memory back: the loss is told meanwhile, mostly, and another
 * one is started when that is over. */
static void a_large_rank_is_told_lost_before_it_is_gone(void **state)
{
    struct stage *stage = *state;
    const Rk__Heartbeat *heartbeat;
    const char *program[4];
    bool early = false;

    stage_rank_program("large", program);
    stage_start(stage, 0, "0", 1, program);
    stage_hello(stage, 0, SILENCE);
    stage_start_ranks(stage, 0, 1, 0, 1);
    heartbeat = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY);
    for (uint32_t generation = 2; !early && generation < 20; generation++) {
        pid_t pid = heartbeat->rank[0]->pid;

        kill(pid, SIGKILL);
        const Rk__RankExited *exited =
            stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
        assert_int_equal(exited->pid, pid);
        assert_int_equal(exited->signal, SIGKILL);
        early = kill(pid, 0) == 0;
        stage_start_ranks(stage, 0, 1, 0, generation);
        heartbeat = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY);
        assert_int_equal(heartbeat->rank[0]->generation, generation);
        assert_int_equal(kill(pid, 0), -1);
    }
    assert_true(early);
    end(stage, 0);
}

static void a_rank_lost_while_freezing_does_not_hold_the_ack(void **state)
{
    struct stage *stage = *state;

    open_running(stage, 2, SILENCE);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[0]->pid;
    kill(pid, SIGSTOP); /* it will not acknowledge */
    stage_freeze(stage, 0, rk_word_make(1, 2), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
    kill(pid, SIGKILL);
    const Rk__FreezeAck *ack = stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK)->freeze_ack;
    assert_int_equal(ack->rank[0]->state, RK__RANK_STATE__RANK_EMPTY);
    assert_int_equal(ack->rank[1]->state, RK__RANK_STATE__RANK_MEMBER);
    end(stage, 0);
}

static void a_go_without_its_freeze_is_refused(void **state)
{
    struct stage *stage = *state;

    open_ready(stage, 1, SILENCE);
    stage_go(stage, 0, rk_word_make(1, 7), 1, 0, ARENA_NO_STEP);
    stage_freeze(stage, 0, rk_word_make(1, 8), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    stage_go(stage, 0, rk_word_make(1, 7), 1, 0, ARENA_NO_STEP);
    stage_go(stage, 0, rk_word_make(1, 8), 1, 0, ARENA_NO_STEP);
    assert_int_equal(stage_expect(stage, 0, RK__ENVELOPE__BODY_PROGRESS)->progress->word,
                     rk_word_make(1, 8));
    end(stage, 0);
}

static void a_stopped_rank_is_noticed_and_killed(void **state)
{
    struct stage *stage = *state;

    open_running(stage, 1, 200 * RK_MS);
    kill(stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[0]->pid, SIGSTOP);
    const Rk__RankExited *exited =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
    assert_true(exited->stopped);
    assert_int_equal(exited->signal, SIGKILL);
    assert_true(exited->detect_ns >= 100 * RK_MS);
    end(stage, 0);
}

/* A sum that does not come is told again and again, as the fault may be anybody's; who does not
 * stand still then is ended.  Steps that are made, be they slow, are neither. */
static void a_sum_that_does_not_come_is_told(void **state)
{
    struct stage *stage = *state;
    const char *program[4];
    uint64_t begun;

    stage->stall_ns = 400 * RK_MS;
    stage_rank_program("deaf", program);
    stage_start(stage, 0, "0", 1, program);
    stage_hello(stage, 0, SILENCE);
    stage_start_ranks(stage, 0, 1, 0, 1);
    stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY);
    stage_freeze(stage, 0, rk_word_make(1, 1), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    begun = rk_clock_now();
    stage_go(stage, 0, rk_word_make(1, 1), 1, 0, ARENA_NO_STEP);
    for (int i = 0; i < 2; i++) {
        const Rk__CommFailed *failed =
            stage_expect(stage, 0, RK__ENVELOPE__BODY_COMM_FAILED)->comm_failed;
        assert_true(failed->waited_ns >= 2 * stage->stall_ns);
        assert_int_equal(failed->word, rk_word_make(1, 1));
    }
    assert_true(rk_clock_now() - begun >= 1900 * RK_MS + 4 * stage->stall_ns);
    stage_freeze(stage, 0, rk_word_make(1, 2), 0);
    const Rk__RankExited *exited =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
    assert_true(exited->stalled);
    assert_int_equal(exited->signal, SIGABRT);
    end(stage, 0);
}

static void a_snapshot_becomes_a_checkpoint_and_comes_back(void **state)
{
    struct stage *stage = *state;
    Rk__SnapshotAt at = RK__SNAPSHOT_AT__INIT;
    Rk__WriteShard write = RK__WRITE_SHARD__INIT;
    Rk__LoadState load = RK__LOAD_STATE__INIT;
    struct checkpoint_run run = {.job = "test",
                                 .step = 5,
                                 .epoch = 1,
                                 .seed = 1,
                                 .batch = 4,
                                 .shards = 8,
                                 .world = 1,
                                 .reduction = "exact"};
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    struct rk_why why = {""};

    open_running(stage, 1, SILENCE);
    at.step = 5;
    stage_say(stage, 0, RK__ENVELOPE__BODY_SNAPSHOT_AT, &at);
    const Rk__SnapshotTaken *taken =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_SNAPSHOT_TAKEN)->snapshot_taken;
    assert_int_equal(taken->step, 5);
    assert_false(taken->missed);
    assert_int_equal(checkpoint_begin(stage->checkpoints, 5, 1, 1, 0, dirname, &why), 0);
    write.attempt = 1;
    write.step = 5;
    write.dirname = dirname;
    write.writers = 1;
    stage_say(stage, 0, RK__ENVELOPE__BODY_WRITE_SHARD, &write);
    const Rk__ShardWritten *written =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_SHARD_WRITTEN)->shard_written;
    assert_string_equal(written->why, "");
    assert_int_equal(written->code, 0);
    struct checkpoint_report report = {written->report.data, written->report.len};
    assert_int_equal(checkpoint_commit(stage->checkpoints, dirname, &run, &report, 1, &why), 0);

    at.step = 2; /* the rank is past it */
    stage_say(stage, 0, RK__ENVELOPE__BODY_SNAPSHOT_AT, &at);
    assert_true(stage_expect(stage, 0, RK__ENVELOPE__BODY_SNAPSHOT_TAKEN)->snapshot_taken->missed);
    write.attempt = 2;
    write.step = 99;
    stage_say(stage, 0, RK__ENVELOPE__BODY_WRITE_SHARD, &write);
    written = stage_expect(stage, 0, RK__ENVELOPE__BODY_SHARD_WRITTEN)->shard_written;
    assert_int_equal(written->code, RK_ENOENT);

    load.word = 3;
    load.step = 5;
    load.dirname = dirname;
    stage_say(stage, 0, RK__ENVELOPE__BODY_LOAD_STATE, &load);
    const Rk__StateLoaded *loaded =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_STATE_LOADED)->state_loaded;
    assert_string_equal(loaded->why, "");
    assert_int_equal(loaded->code, 0);
    assert_int_equal(loaded->word, 3);
    load.word = 4;
    load.dirname = (char[]){"step-00000006.e0001"};
    stage_say(stage, 0, RK__ENVELOPE__BODY_LOAD_STATE, &load);
    loaded = stage_expect(stage, 0, RK__ENVELOPE__BODY_STATE_LOADED)->state_loaded;
    assert_int_equal(loaded->code, RK_ENOENT);
    end(stage, 0);
}

/* ---- several agents ---------------------------------------------------------------------------
 */

static void workers_of_a_group_share_an_arena_and_fence_each_other(void **state)
{
    struct stage *stage = *state;
    const char *program[4];

    stage_rank_program("job", program);
    uint64_t host[3];
    for (uint32_t i = 0; i < 3; i++) {
        stage_start(stage, i, i == 2 ? "1" : "0", 1, program);
        host[i] = stage_hello(stage, i, SILENCE)->host;
    }
    assert_true(host[0] != 0 && host[0] == host[1] && host[0] != host[2]);
    for (uint32_t i = 0; i < 2; i++) {
        stage_start_ranks(stage, i, 1, i, 1);
        stage_expect_ranks(stage, (int)i, RK__RANK_STATE__RANK_READY);
    }
    pid_t rank = stage_expect_ranks(stage, 1, RK__RANK_STATE__RANK_READY)->rank[0]->pid;
    kill(rank, SIGSTOP); /* even a stopped worker dies */
    kill(stage->worker[1].warden, SIGSTOP);
    stage_freeze(stage, 0, rk_word_make(1, 1), stage->worker[1].id);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    stage_wait_dead(rank);
    assert_true(WIFSIGNALED(stage_wait(stage, 1)));
    end(stage, 0);
    end(stage, 2);
}

/* What cannot be looked at is not dead: no acknowledgement until it is. */
static void a_fence_waits_where_descriptors_ran_out(void **state)
{
    struct stage *stage = *state;
    const char *program[4];
    struct rlimit before, none;
    pid_t agent = 0;

    stage_rank_program("job", program);
    for (uint32_t i = 0; i < 2; i++) {
        stage_start(stage, i, "0", 1, program);
        pid_t pid = stage_hello(stage, i, SILENCE)->pid;
        agent = i == 0 ? pid : agent;
    }
    for (uint32_t i = 0; i < 2; i++) {
        stage_start_ranks(stage, i, 1, i, 1);
        stage_expect_ranks(stage, (int)i, RK__RANK_STATE__RANK_READY);
    }
    pid_t rank = stage_expect_ranks(stage, 1, RK__RANK_STATE__RANK_READY)->rank[0]->pid;
    assert_int_equal(prlimit(agent, RLIMIT_NOFILE, NULL, &before), 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(prlimit(agent, RLIMIT_NOFILE, &none, NULL), 0);
    stage_freeze(stage, 0, rk_word_make(1, 1), stage->worker[1].id);
    for (int i = 0; i < 5;
         i++) /* an acknowledgement among them would be dropped, and missed below */
        stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
    assert_int_equal(kill(rank, 0), 0);
    assert_int_equal(prlimit(agent, RLIMIT_NOFILE, &before, NULL), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    stage_wait_dead(rank);
    stage_wait(stage, 1);
    end(stage, 0);
}

/* ---- who may talk -----------------------------------------------------------------------------
 */

/* The path of the one agent's socket. */
static void find_socket(const struct stage *stage, char *path, size_t size)
{
    char folder[128];
    struct dirent *entry;

    snprintf(folder, sizeof folder, "%s/host-0", stage->run);
    DIR *open = opendir(folder);
    assert_non_null(open);
    path[0] = '\0';
    while ((entry = readdir(open)) != NULL)
        if (strstr(entry->d_name, ".sock") != NULL)
            snprintf(path, size, "%s/%s", folder, entry->d_name);
    closedir(open);
    assert_true(path[0] != '\0');
}

static void a_stranger_is_refused(void **state)
{
    static const enum local_kind kinds[] = {LOCAL_ATTACH, LOCAL_CARRIER, LOCAL_RSH, LOCAL_ENTER,
                                            LOCAL_DECLARE};
    struct stage *stage = *state;
    struct local_message message;
    char path[512];
    int socket, fd;

    open_ready(stage, 1, SILENCE);
    find_socket(stage, path, sizeof path);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_int_equal(local_connect(path, &socket, NULL), 0);
        message = (struct local_message){.kind = (uint16_t)kinds[i], .text_size = 4};
        assert_int_equal(local_send(socket, &message, -1), 0);
        assert_int_equal(local_receive(socket, &message, &fd, 20000), 0);
        assert_int_equal(message.kind, LOCAL_REFUSED);
        assert_true(message.code == RK_EACCES || message.code == RK_EPROTO);
        assert_int_equal(fd, -1);
        close(socket);
    }
    end(stage, 0);
}

/* ---- carriers ---------------------------------------------------------------------------------
 */

static int start_daemon(struct stage *stage, uint32_t job, const char *command)
{
    Rk__RshStart rsh = RK__RSH_START__INIT;

    rsh.request = 1000 + job;
    rsh.from = 77;
    rsh.command = (char *)(uintptr_t)command;
    rsh.job = job;
    stage_say(stage, 0, RK__ENVELOPE__BODY_RSH_START, &rsh);
    const Rk__RshStarted *started =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RSH_STARTED)->rsh_started;
    assert_int_equal(started->request, 1000 + job);
    assert_int_equal(started->to, 77);
    return started->code;
}

static pid_t expect_carrier(struct stage *stage, uint32_t job, bool up)
{
    const Rk__CarrierState *carrier =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_CARRIER_STATE)->carrier_state;

    assert_int_equal(carrier->job, job);
    assert_int_equal(carrier->up, up);
    return carrier->pid;
}

static void keep_carriers(struct stage *stage, uint32_t job, uint32_t standby)
{
    Rk__KeepCarriers keep = RK__KEEP_CARRIERS__INIT;

    keep.job = job;
    keep.standby = standby;
    stage_say(stage, 0, RK__ENVELOPE__BODY_KEEP_CARRIERS, &keep);
}

static void a_carrier_comes_acknowledges_and_goes(void **state)
{
    struct stage *stage = *state;
    const char *program[4];
    char command[4200];

    open_running(stage, 1, SILENCE);
    stage_rank_program("carrier", program);
    snprintf(command, sizeof command, "%s rank carrier", program[0]);
    keep_carriers(stage, 1, 0);
    assert_int_equal(start_daemon(stage, 1, command), 0);
    pid_t first = expect_carrier(stage, 1, true);
    kill(first, SIGSTOP); /* no ack without it */
    stage_freeze(stage, 0, rk_word_make(1, 2), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
    kill(first, SIGCONT);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);

    /* the next job's takes over once the old one is dead */
    keep_carriers(stage, 2, 0);
    stage_wait_dead(first);
    assert_int_equal(start_daemon(stage, 2, command), 0);
    pid_t second = expect_carrier(stage, 2, true);
    assert_int_equal(start_daemon(stage, 1, command), RK_ESTALE);
    kill(second, SIGKILL);
    expect_carrier(stage, 2, false);

    keep_carriers(stage, 3, 0);
    assert_int_equal(start_daemon(stage, 3, command), 0);
    pid_t third = expect_carrier(stage, 3, true);
    keep_carriers(stage, 4, 0);
    stage_wait_dead(third);
    end(stage, 0);
}

static void a_carrier_stands_by_and_takes_over(void **state)
{
    struct stage *stage = *state;
    const char *program[4];
    char command[4200];

    open_running(stage, 1, SILENCE);
    stage_rank_program("carrier", program);
    snprintf(command, sizeof command, "%s rank carrier", program[0]);
    keep_carriers(stage, 1, 0);
    assert_int_equal(start_daemon(stage, 1, command), 0);
    pid_t first = expect_carrier(stage, 1, true);

    /* it is there and asks nothing of a freeze; one of no use dies */
    keep_carriers(stage, 1, 2);
    assert_int_equal(start_daemon(stage, 2, command), 0);
    pid_t useless = expect_carrier(stage, 2, true);
    keep_carriers(stage, 1, 3);
    stage_wait_dead(useless);
    assert_int_equal(start_daemon(stage, 2, command), RK_ESTALE);
    assert_int_equal(start_daemon(stage, 3, command), 0);
    pid_t second = expect_carrier(stage, 3, true);
    kill(second, SIGSTOP);
    stage_freeze(stage, 0, rk_word_make(1, 2), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);

    /* now it serves, and no freeze is acknowledged without it */
    kill(first, SIGKILL);
    expect_carrier(stage, 1, false);
    keep_carriers(stage, 3, 0);
    stage_freeze(stage, 0, rk_word_make(1, 3), 0);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
    kill(second, SIGCONT);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK);
    keep_carriers(stage, 0, 0);
    stage_wait_dead(second);
    end(stage, 0);
}

/* ---- ends -------------------------------------------------------------------------------------
 */

static void a_fenced_worker_ends_its_ranks_and_itself(void **state)
{
    struct stage *stage = *state;
    Rk__Refused refused = RK__REFUSED__INIT;

    open_running(stage, 1, SILENCE);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[0]->pid;
    refused.code = RK_ESTATE;
    stage_say(stage, 0, RK__ENVELOPE__BODY_REFUSED, &refused);
    assert_int_equal(stage_expect(stage, 0, RK__ENVELOPE__BODY_HELLO)->hello->word,
                     rk_word_make(1, 1));
    refused.code = RK_EFENCED;
    refused.final = 1;
    stage_say(stage, 0, RK__ENVELOPE__BODY_REFUSED, &refused);
    assert_int_equal(stage_wait(stage, 0), 0);
    stage_wait_dead(pid);
}

static void a_lost_coordinator_is_outlived_and_its_successor_followed(void **state)
{
    struct stage *stage = *state;

    open_running(stage, 1, SILENCE);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[0]->pid;
    stage_restart_coordinator(stage);
    const Rk__Hello *hello = stage_hello(stage, 0, SILENCE);
    assert_int_equal(hello->word, rk_word_make(1, 1));
    assert_int_equal(hello->rank[0]->state, RK__RANK_STATE__RANK_MEMBER);
    assert_int_equal(hello->rank[0]->pid, pid);
    stage_freeze(stage, 0, rk_word_make(2, 2), 0);
    assert_int_equal(stage_expect(stage, 0, RK__ENVELOPE__BODY_FREEZE_ACK)->freeze_ack->word,
                     rk_word_make(2, 2));
    stage->epoch = 1; /* the old one speaks again: nobody hears it */
    stage_freeze(stage, 0, rk_word_make(3, 3), 0);
    stage->epoch = 2;
    stage_go(stage, 0, rk_word_make(2, 2), 1, 1, ARENA_NO_STEP);
    assert_int_equal(stage_expect(stage, 0, RK__ENVELOPE__BODY_PROGRESS)->progress->position, 2);
    end(stage, 0);
}

static void an_orphan_ends(void **state)
{
    struct stage *stage = *state;
    Rk__Welcome welcome = RK__WELCOME__INIT;

    open_running(stage, 1, SILENCE);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_MEMBER)->rank[0]->pid;
    welcome.shards = 8;
    welcome.heartbeat_ns = 20 * RK_MS;
    welcome.silence_ns = SILENCE;
    welcome.orphan_ns = 100 * RK_MS;
    stage_say(stage, 0, RK__ENVELOPE__BODY_WELCOME, &welcome);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
    zmq_close(stage->router);
    stage->router = NULL;
    int status = stage_wait(stage, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 69);
    stage_wait_dead(pid);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_open, stage_close)
    const struct CMUnitTest tests[] = {
        TEST(a_job_from_hello_to_shutdown),
        TEST(a_worker_leaves_nothing_behind),
        TEST(a_killed_rank_is_told_and_started_again),
        TEST(a_large_rank_is_told_lost_before_it_is_gone),
        TEST(a_rank_lost_while_freezing_does_not_hold_the_ack),
        TEST(a_go_without_its_freeze_is_refused),
        TEST(a_stopped_rank_is_noticed_and_killed),
        TEST(a_sum_that_does_not_come_is_told),
        TEST(a_snapshot_becomes_a_checkpoint_and_comes_back),
        TEST(workers_of_a_group_share_an_arena_and_fence_each_other),
        TEST(a_fence_waits_where_descriptors_ran_out),
        TEST(a_stranger_is_refused),
        TEST(a_carrier_comes_acknowledges_and_goes),
        TEST(a_carrier_stands_by_and_takes_over),
        TEST(a_fenced_worker_ends_its_ranks_and_itself),
        TEST(a_lost_coordinator_is_outlived_and_its_successor_followed),
        TEST(an_orphan_ends),
    };
    int code;

    if (stage_play(argc, argv, &code))
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
