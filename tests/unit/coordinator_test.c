/* The coordinator as a process, against scripted workers, a launcher and a client on loopback: from
 * the first hello to the outcome, over a kill -9 of the coordinator. */
#include "common/id.h"
#include "coordinator/coordinator.h"
#include "tests/unit/link_fixture.h"
#include "worker/checkpoint/checkpoint.h"

#include <ftw.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define WORKERS 2u
#define LIVES 2u /* coordinators, one after the other */
#define LAUNCHER_ID 1000u
#define CLIENT_ID 2000u

struct fake {
    struct link *link;
    uint64_t id;
    uint32_t ticket, rank;
    bool greeted, running, going, over;
    uint64_t word, position, generation, snapshot;
    rk_word freeze;
    const char *folder; /* of checkpoints */
};

struct stage {
    char folder[64];
    char checkpoints[96];
    struct secret secret;
    int listen_fd;
    pid_t life[LIVES]; /* 0: over */
    int begin[LIVES];  /* written to when it shall begin */
    uint32_t lives;    /* begun so far */
    struct link *launcher;
    bool launcher_greeted;
    struct fake fake[WORKERS];
    uint32_t launched;
    int outcome; /* -1: none yet */
    char why[512];
};

/* ---- the coordinator --------------------------------------------------------------------------
 */

static void run_child(const struct stage *stage)
{
    char secret[64];
    char fd[16];
    char *argv[] = {"coordinator",
                    "--job",
                    "test",
                    "--secret",
                    secret,
                    "--listen-fd",
                    fd,
                    "--run-dir",
                    (char *)stage->folder,
                    "--state-dir",
                    (char *)stage->folder,
                    "--workers",
                    "2",
                    "--heartbeat",
                    "50",
                    "--silence",
                    "2000",
                    "--launcher",
                    "--shards",
                    "8",
                    "--checkpoint-dir",
                    (char *)stage->checkpoints,
                    "--checkpoint-interval",
                    "1step",
                    NULL};
    int memory;

    if (secret_to_fd(&stage->secret, true, &memory, NULL) != 0)
        _exit(99);
    snprintf(secret, sizeof secret, "fd:%d", memory);
    snprintf(fd, sizeof fd, "%d", dup(stage->listen_fd));
    _exit(command_coordinator((int)(sizeof argv / sizeof argv[0]) - 1, argv));
}

/* All are forked before this process has threads: a child of one that has may find a lock of the
 * allocator taken for ever. */
static void fork_coordinator(struct stage *stage, uint32_t n)
{
    int ends[2];
    char word;

    assert_int_equal(pipe(ends), 0);
    stage->life[n] = fork();
    assert_true(stage->life[n] >= 0);
    if (stage->life[n] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[1]);
        if (read(ends[0], &word, 1) != 1)
            _exit(99);
        run_child(stage);
    }
    close(ends[0]);
    stage->begin[n] = ends[1];
}

static void start_coordinator(struct stage *stage)
{
    assert_true(stage->lives < LIVES);
    assert_int_equal(write(stage->begin[stage->lives++], "", 1), 1);
}

static void end_life(struct stage *stage, uint32_t n)
{
    if (stage->life[n] > 0) {
        kill(stage->life[n], SIGKILL);
        waitpid(stage->life[n], NULL, 0);
    }
    stage->life[n] = 0;
}

static int set_up(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);

    strcpy(stage->folder, "/tmp/rk-coordinator-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->checkpoints, sizeof stage->checkpoints, "%s/checkpoints", stage->folder);
    stage->listen_fd = fixture_listen(&stage->secret);
    stage->outcome = -1;
    for (uint32_t n = 0; n < LIVES; n++)
        fork_coordinator(stage, n);
    start_coordinator(stage);
    stage->launcher = fixture_link(&stage->secret, LAUNCHER_ID);
    *state = stage;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    struct stage *stage = *state;

    for (uint32_t n = 0; n < LIVES; n++) {
        end_life(stage, n);
        close(stage->begin[n]);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        link_close(stage->fake[i].link, 0);
    link_close(stage->launcher, 0);
    close(stage->listen_fd);
    nftw(stage->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(stage);
    return 0;
}

/* ---- a scripted worker ------------------------------------------------------------------------
 */

static void fill_rank(const struct fake *fake, Rk__RankStatus *rank)
{
    rank->slot = 0;
    rank->rank = fake->rank;
    rank->pid = 5000 + (int)fake->ticket;
    rank->position = fake->position;
    rank->generation = fake->generation;
    rank->has_state = fake->going || fake->position > 0;
    rank->state = !fake->running   ? RK__RANK_STATE__RANK_EMPTY
                  : fake->word > 0 ? RK__RANK_STATE__RANK_MEMBER
                                   : RK__RANK_STATE__RANK_READY;
}

static void say_hello(struct fake *fake)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Hello hello = RK__HELLO__INIT;
    Rk__RankStatus rank = RK__RANK_STATUS__INIT;
    Rk__RankStatus *ranks[] = {&rank};

    fill_rank(fake, &rank);
    hello.host = 77;
    hello.host_name = "here";
    hello.address = "127.0.0.1";
    hello.slots = 1;
    hello.ticket = fake->ticket;
    hello.word = fake->word;
    hello.world = hello.members = fake->word ? WORKERS : 0;
    hello.member = fake->word != 0;
    hello.frozen_word = fake->freeze;
    hello.stop_at = UINT64_MAX;
    hello.lineage = fake->word;
    hello.rank = ranks;
    hello.n_rank = 1;
    envelope.body_case = RK__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
    fake->greeted = link_send(fake->link, &envelope) == 0;
}

static void say_heartbeat(struct fake *fake)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Heartbeat heartbeat = RK__HEARTBEAT__INIT;
    Rk__RankStatus rank = RK__RANK_STATUS__INIT;
    Rk__RankStatus *ranks[] = {&rank};

    fill_rank(fake, &rank);
    heartbeat.word = fake->word;
    heartbeat.rank = ranks;
    heartbeat.n_rank = 1;
    heartbeat.snapshot_step = &fake->snapshot;
    heartbeat.n_snapshot_step = fake->snapshot > 0;
    heartbeat.layout_hash = 1;
    envelope.body_case = RK__ENVELOPE__BODY_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    link_send(fake->link, &envelope);
}

static void ack(struct fake *fake)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__FreezeAck message = RK__FREEZE_ACK__INIT;
    Rk__RankStatus rank = RK__RANK_STATUS__INIT;
    Rk__RankStatus *ranks[] = {&rank};

    fill_rank(fake, &rank);
    message.word = fake->freeze;
    message.rank = ranks;
    message.n_rank = 1;
    message.deal_step = message.complete_step = fake->position;
    message.lineage = fake->word;
    envelope.body_case = RK__ENVELOPE__BODY_FREEZE_ACK;
    envelope.freeze_ack = &message;
    link_send(fake->link, &envelope);
}

static void step_once(struct fake *fake)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Progress progress = RK__PROGRESS__INIT;

    fake->position++;
    progress.word = fake->word;
    progress.position = fake->position;
    envelope.body_case = RK__ENVELOPE__BODY_PROGRESS;
    envelope.progress = &progress;
    link_send(fake->link, &envelope);
}

/* Each step is the same few bytes of state. */
static void write_shard(struct fake *fake, const Rk__WriteShard *write)
{
    static _Alignas(4096) uint8_t state[4096];
    const uint64_t shape[] = {100};
    struct rk_layout *layout = rk_layout_new(5, 32);
    struct checkpoint_report report = {0};
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__ShardWritten written = RK__SHARD_WRITTEN__INIT;

    assert_int_equal(rk_layout_add(&layout, RK_TENSOR_STATE, "w", 1, 1, shape, NULL), 0);
    written.attempt = write->attempt;
    written.code = checkpoint_write_shard(fake->folder, write->dirname, write->writer,
                                          write->writers, layout, state, &report, NULL);
    written.report.data = report.data;
    written.report.len = report.size;
    envelope.body_case = RK__ENVELOPE__BODY_SHARD_WRITTEN;
    envelope.shard_written = &written;
    link_send(fake->link, &envelope);
    checkpoint_report_done(&report);
    rk_layout_free(layout);
}

static void take_snapshot(struct fake *fake, uint64_t step)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__SnapshotTaken taken = RK__SNAPSHOT_TAKEN__INIT;

    fake->snapshot = step;
    taken.step = step;
    envelope.body_case = RK__ENVELOPE__BODY_SNAPSHOT_TAKEN;
    envelope.snapshot_taken = &taken;
    link_send(fake->link, &envelope);
}

static void obey(struct fake *fake, const Rk__Envelope *envelope)
{
    switch (envelope->body_case) {
    case RK__ENVELOPE__BODY_REFUSED:
        assert_int_equal(envelope->refused->code, RK_ESTATE);
        fake->greeted = false;
        break;
    case RK__ENVELOPE__BODY_START_RANKS:
        assert_int_equal(envelope->start_ranks->n_slot, 1);
        assert_int_equal(envelope->start_ranks->world_size, WORKERS);
        fake->rank = envelope->start_ranks->rank[0];
        fake->generation = envelope->start_ranks->generation;
        fake->running = true;
        break;
    case RK__ENVELOPE__BODY_FREEZE:
        fake->freeze = envelope->freeze->word;
        ack(fake);
        break;
    case RK__ENVELOPE__BODY_GO:
        assert_int_equal(envelope->go->world, WORKERS);
        assert_int_equal(envelope->go->n_local, WORKERS);
        assert_int_equal(envelope->go->done.len, 1);
        if (fake->word != envelope->go->word) {
            fake->word = envelope->go->word;
            fake->going = true;
            step_once(fake);
        }
        break;
    case RK__ENVELOPE__BODY_SNAPSHOT_AT:
        take_snapshot(fake, envelope->snapshot_at->step);
        break;
    case RK__ENVELOPE__BODY_WRITE_SHARD:
        write_shard(fake, envelope->write_shard);
        break;
    case RK__ENVELOPE__BODY_SHUTDOWN:
        fake->over = true;
        break;
    default:
        break;
    }
}

static void turn_worker(struct fake *fake)
{
    Rk__Envelope *envelope;

    if (fake->over) {
        link_close(fake->link, 0);
        fake->link = NULL;
    }
    if (!fake->link)
        return;
    if (!link_up(fake->link)) {
        fake->greeted = false;
        return;
    }
    if (!fake->greeted)
        say_hello(fake);
    while (link_receive(fake->link, &envelope) == 0) {
        obey(fake, envelope);
        wire_free(envelope);
    }
    if (fake->going)
        fake->position++;
    say_heartbeat(fake);
}

/* ---- the launcher, and the whole --------------------------------------------------------------
 */

static void greet(struct stage *stage)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__LauncherHello hello = RK__LAUNCHER_HELLO__INIT;
    uint32_t ticket[WORKERS];

    for (uint32_t i = 0; i < stage->launched; i++)
        ticket[hello.n_ticket++] = stage->fake[i].ticket;
    hello.ticket = ticket;
    hello.pid = (int32_t)getpid();
    envelope.body_case = RK__ENVELOPE__BODY_LAUNCHER_HELLO;
    envelope.launcher_hello = &hello;
    stage->launcher_greeted = link_send(stage->launcher, &envelope) == 0;
}

static void launch(struct stage *stage, uint32_t ticket)
{
    struct fake *fake = &stage->fake[stage->launched];

    for (uint32_t i = 0; i < stage->launched; i++)
        if (stage->fake[i].ticket == ticket)
            return;
    assert_true(stage->launched < WORKERS);
    fake->id = 100 + ticket;
    fake->folder = stage->checkpoints;
    fake->ticket = ticket;
    fake->link = fixture_link(&stage->secret, fake->id);
    stage->launched++;
}

static void turn_launcher(struct stage *stage)
{
    Rk__Envelope *envelope;

    if (stage->outcome >= 0) {
        link_close(stage->launcher, 0);
        stage->launcher = NULL;
    }
    if (!stage->launcher)
        return;
    if (!link_up(stage->launcher))
        stage->launcher_greeted = false;
    else if (!stage->launcher_greeted)
        greet(stage);
    while (link_receive(stage->launcher, &envelope) == 0) {
        if (envelope->body_case == RK__ENVELOPE__BODY_LAUNCH)
            for (size_t i = 0; i < envelope->launch->n_ticket; i++)
                launch(stage, envelope->launch->ticket[i]);
        if (envelope->body_case == RK__ENVELOPE__BODY_OUTCOME) {
            stage->outcome = envelope->outcome->exit_code;
            snprintf(stage->why, sizeof stage->why, "%s", envelope->outcome->why);
        }
        wire_free(envelope);
    }
}

/* Always true: the condition beside it is what counts. */
static bool turn(struct stage *stage)
{
    turn_launcher(stage);
    for (uint32_t i = 0; i < WORKERS; i++)
        turn_worker(&stage->fake[i]);
    return true;
}

static bool all_at(const struct stage *stage, uint64_t position)
{
    return stage->fake[0].position >= position && stage->fake[1].position >= position;
}

static json_t *ask(struct stage *stage, Rk__Verb verb)
{
    struct link *client = fixture_link(&stage->secret, CLIENT_ID);
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    Rk__Request request = RK__REQUEST__INIT;
    Rk__Envelope *answer = NULL;
    json_t *value;

    request.verb = verb;
    envelope.body_case = RK__ENVELOPE__BODY_REQUEST;
    envelope.request = &request;
    wait_until(turn(stage) && link_up(client));
    assert_int_equal(link_send(client, &envelope), 0);
    wait_until(turn(stage) && link_receive(client, &answer) == 0);
    assert_int_equal(answer->body_case, RK__ENVELOPE__BODY_REPLY);
    value = json_loads(answer->reply->text, 0, NULL);
    wire_free(answer);
    link_close(client, 0);
    assert_non_null(value);
    return value;
}

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static bool is_running(struct stage *stage)
{
    json_t *status = ask(stage, RK__VERB__VERB_STATUS);
    bool running = strcmp(json_string_value(json_object_get(status, "state")), "running") == 0;

    json_decref(status);
    return running;
}

static bool has_committed(struct stage *stage)
{
    json_t *status = ask(stage, RK__VERB__VERB_STATUS);
    json_t *step = json_object_get(json_object_get(status, "checkpoint"), "committed_step");
    bool committed = json_integer_value(step) > 0;

    json_decref(status);
    return committed;
}

static bool coordinator_ended(struct stage *stage, int *status)
{
    pid_t *last = &stage->life[LIVES - 1];

    if (waitpid(*last, status, WNOHANG) != *last)
        return false;
    *last = 0;
    return true;
}

static void test_whole_life(void **state)
{
    struct stage *stage = *state;
    json_t *status;
    int ended = 0;

    wait_until(turn(stage) && stage->launched == WORKERS);
    wait_until(turn(stage) && all_at(stage, 1));
    status = ask(stage, RK__VERB__VERB_STATUS);
    assert_int_equal(number_of(status, "epoch"), 1);
    assert_int_equal(number_of(status, "generation"), 1);
    assert_int_equal(number_of(status, "world_size"), WORKERS);
    assert_int_equal(number_of(status, "supervisor_pid"), getpid());
    assert_int_equal(json_array_size(json_object_get(status, "workers")), WORKERS);
    json_decref(status);

    /* Killed, and started again on the same socket: it goes on in the same generation. */
    end_life(stage, 0);
    start_coordinator(stage);
    wait_until(turn(stage) && is_running(stage));
    status = ask(stage, RK__VERB__VERB_STATUS);
    assert_int_equal(number_of(status, "epoch"), 2);
    assert_int_equal(number_of(status, "generation"), 1);
    json_decref(status);

    wait_until(turn(stage) && has_committed(stage));
    json_decref(ask(stage, RK__VERB__VERB_KILL));
    wait_until(turn(stage) && stage->outcome >= 0);
    assert_int_equal(stage->outcome, 137);
    assert_true(stage->why[0] != '\0');
    wait_until(turn(stage) && !stage->fake[0].link && !stage->fake[1].link);
    wait_until(turn(stage) && coordinator_ended(stage, &ended));
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 137);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole_life, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
