/* The scripted coordinator and its processes; see agent_stage.h. */
#include "tests/unit/agent_stage.h"

#include "common/clock.h"
#include "worker/agent/agent.h"
#include "worker/agent/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

static char self[4096];

bool stage_play(int argc, char **argv, int *code)
{
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);

    self[size < 0 ? 0 : size] = '\0';
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        *code = command_worker(argc - 1, argv + 1);
    else if (argc > 2 && strcmp(argv[1], "rank") == 0)
        *code = rank_main(argv[2]);
    else
        return false;
    return true;
}

/* ---- the coordinator's socket -----------------------------------------------------------------
 */

static void open_router(struct stage *stage, const char *address)
{
    uint64_t deadline = rk_clock_now() + STAGE_WAIT_MS * RK_MS;
    int server = 1, wait_ms = 20, none = 0;

    stage->router = zmq_socket(stage->context, ZMQ_ROUTER);
    zmq_setsockopt(stage->router, ZMQ_CURVE_SERVER, &server, sizeof server);
    zmq_setsockopt(stage->router, ZMQ_CURVE_SECRETKEY, stage->secret.private_key, 41);
    zmq_setsockopt(stage->router, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    zmq_setsockopt(stage->router, ZMQ_LINGER, &none, sizeof none);
    while (zmq_bind(stage->router, address) != 0) {
        if (rk_clock_now() > deadline) /* libzmq closes a socket some time after zmq_close */
            fail_msg("cannot bind %s: %s", address, zmq_strerror(zmq_errno()));
        poll(NULL, 0, 2);
    }
}

static void open_coordinator(struct stage *stage)
{
    size_t size = sizeof stage->secret.endpoint;

    assert_int_equal(secret_make(&stage->secret, "tcp://127.0.0.1:1", NULL), 0);
    stage->context = zmq_ctx_new();
    open_router(stage, "tcp://127.0.0.1:*");
    assert_int_equal(
        zmq_getsockopt(stage->router, ZMQ_LAST_ENDPOINT, stage->secret.endpoint, &size), 0);
}

void stage_restart_coordinator(struct stage *stage)
{
    zmq_close(stage->router);
    open_router(stage, stage->secret.endpoint);
    stage->epoch++;
}

int stage_open(void **state)
{
    struct stage *stage = calloc(1, sizeof *stage);

    assert_non_null(stage);
    for (int i = 0; i < STAGE_WORKERS; i++)
        stage->worker[i].output = stage->worker[i].life = -1;
    strcpy(stage->folder, "/tmp/reknit-agent-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->run, sizeof stage->run, "%s/run", stage->folder);
    snprintf(stage->logs, sizeof stage->logs, "%s/logs", stage->folder);
    snprintf(stage->checkpoints, sizeof stage->checkpoints, "%s/checkpoints", stage->folder);
    assert_int_equal(mkdir(stage->logs, 0700), 0);
    stage->epoch = 1;
    open_coordinator(stage);
    /* what wardens leave comes to us, so that a test that fails leaves nothing either */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    *state = stage;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char below[512];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (unlink(below) != 0)
            remove_tree(below);
    }
    if (folder != NULL)
        closedir(folder);
    rmdir(path);
}

/* Kills and collects whatever is still below this process. */
static void collect_all(void)
{
    for (;;) {
        char path[64];
        int pid;

        snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *file = fopen(path, "re");
        while (file != NULL && fscanf(file, "%d", &pid) == 1)
            kill(pid, SIGKILL);
        if (file != NULL)
            fclose(file);
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            return;
    }
}

int stage_close(void **state)
{
    struct stage *stage = *state;

    for (int i = 0; i < STAGE_WORKERS; i++) {
        struct stage_worker *worker = &stage->worker[i];

        if (worker->life >= 0)
            close(worker->life);
        if (worker->warden != 0)
            kill(worker->warden, SIGKILL);
        if (worker->output >= 0)
            close(worker->output);
    }
    collect_all();
    if (stage->last != NULL)
        wire_free(stage->last);
    if (stage->router != NULL)
        zmq_close(stage->router);
    zmq_ctx_term(stage->context);
    remove_tree(stage->folder);
    free(stage);
    return 0;
}

/* ---- workers ----------------------------------------------------------------------------------
 */

void stage_rank_program(const char *mode, const char *program[4])
{
    program[0] = self;
    program[1] = "rank";
    program[2] = mode;
    program[3] = NULL;
}

void stage_start(struct stage *stage, uint32_t index, const char *group, uint32_t slots,
                 const char *const *program)
{
    char ticket[16], count[16], source[16], line[16];
    const char *argv[48] = {"reknit",
                            "worker",
                            "--job",
                            "test",
                            "--ticket",
                            ticket,
                            "--group",
                            group,
                            "--host-name",
                            "here",
                            "--address",
                            "127.0.0.1",
                            "--slots",
                            count,
                            "--run-dir",
                            stage->run,
                            "--log-dir",
                            stage->logs,
                            "--secret",
                            source,
                            "--life-fd",
                            line,
                            "--orphan-timeout",
                            "60000",
                            "--checkpoint-dir",
                            stage->checkpoints,
                            "--"};
    int words = 27, output[2], life[2], secret;

    while (*program != NULL)
        argv[words++] = *program++;
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    assert_int_equal(secret_to_fd(&stage->secret, false, &secret, NULL), 0);
    snprintf(ticket, sizeof ticket, "%u", index + 1);
    snprintf(count, sizeof count, "%u", slots);
    snprintf(source, sizeof source, "fd:%d", secret);
    snprintf(line, sizeof line, "%d", life[0]);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(output[1], 1);
        fcntl(life[0], F_SETFD, 0);
        execv(self, (char *const *)(uintptr_t)argv);
        _exit(125);
    }
    close(secret);
    close(output[1]);
    close(life[0]);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    stage->worker[index] =
        (struct stage_worker){.warden = pid, .output = output[0], .life = life[1]};
}

int stage_wait(struct stage *stage, uint32_t index)
{
    uint64_t deadline = rk_clock_now() + STAGE_WAIT_MS * RK_MS;
    int status = 0;

    for (;;) {
        pid_t pid = waitpid(stage->worker[index].warden, &status, WNOHANG);

        if (pid != 0)
            break;
        if (rk_clock_now() > deadline)
            fail_msg("worker %u does not end", index);
        poll(NULL, 0, 2);
    }
    stage->worker[index].warden = 0;
    return status;
}

void stage_wait_dead(pid_t pid)
{
    uint64_t deadline = rk_clock_now() + STAGE_WAIT_MS * RK_MS;
    struct process_facts facts;

    assert_true(pid > 1);
    while (process_read(pid, &facts) && facts.state != 'Z' && facts.state != 'X') {
        if (rk_clock_now() > deadline)
            fail_msg("process %d does not end", (int)pid);
        poll(NULL, 0, 2);
    }
}

/* ---- what is printed --------------------------------------------------------------------------
 */

const char *stage_wait_output(struct stage *stage, uint32_t index, const char *text)
{
    static char all[1 << 20];
    size_t used = 0;
    uint64_t deadline = rk_clock_now() + STAGE_WAIT_MS * RK_MS;

    for (;;) {
        ssize_t size = read(stage->worker[index].output, all + used, sizeof all - 1 - used);

        if (size > 0)
            used += (size_t)size;
        all[used] = '\0';
        if (strstr(all, text) != NULL)
            return all;
        if (size == 0 || rk_clock_now() > deadline)
            fail_msg("worker %u did not print \"%s\" but:\n%s", index, text, all);
        if (size < 0)
            poll(&(struct pollfd){.fd = stage->worker[index].output, .events = POLLIN}, 1, 100);
    }
}

const char *stage_read(const char *path)
{
    static char text[1 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail_msg("there is no %s", path);
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    text[size < 0 ? 0 : size] = '\0';
    return text;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

/* One message, NULL when none came for a moment. */
static Rk__Envelope *receive(struct stage *stage)
{
    uint8_t id[64];
    Rk__Envelope *envelope = NULL;
    zmq_msg_t frame;
    struct rk_why why = {""};

    if (zmq_recv(stage->router, id, sizeof id, 0) < 0)
        return NULL;
    zmq_msg_init(&frame);
    assert_true(zmq_msg_recv(&frame, stage->router, 0) >= 0);
    int rc =
        wire_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), WIRE_MAX_FRAME, &envelope, &why);
    zmq_msg_close(&frame);
    if (rc != 0)
        fail_msg("a worker's message does not decode: %s", why.text);
    assert_memory_equal(envelope->token.data, stage->secret.token, WIRE_TOKEN_BYTES);
    return envelope;
}

const Rk__Envelope *stage_expect(struct stage *stage, int index, Rk__Envelope__BodyCase kind)
{
    uint64_t deadline = rk_clock_now() + STAGE_WAIT_MS * RK_MS;

    for (;;) {
        Rk__Envelope *got = receive(stage);

        if (rk_clock_now() > deadline)
            fail_msg("no message of kind %d came from worker %d", (int)kind, index);
        if (got == NULL)
            continue;
        if (stage->last != NULL)
            wire_free(stage->last);
        stage->last = got;
        if (got->body_case == kind && (index < 0 || stage->worker[index].id == got->sender))
            return got;
    }
}

const Rk__Heartbeat *stage_expect_ranks(struct stage *stage, int index, Rk__RankState state)
{
    for (;;) {
        const Rk__Heartbeat *heartbeat =
            stage_expect(stage, index, RK__ENVELOPE__BODY_HEARTBEAT)->heartbeat;
        bool all = true;

        for (size_t i = 0; i < heartbeat->n_rank; i++)
            all = all && heartbeat->rank[i]->state == state;
        if (all)
            return heartbeat;
    }
}

void stage_say(struct stage *stage, uint32_t index, Rk__Envelope__BodyCase kind, void *body)
{
    Rk__Envelope envelope = RK__ENVELOPE__INIT;
    uint8_t id[WIRE_ROUTING_ID_BYTES];
    uint8_t *data;
    size_t size;

    envelope.wire_version = WIRE_VERSION;
    envelope.token = (ProtobufCBinaryData){WIRE_TOKEN_BYTES, stage->secret.token};
    envelope.epoch = stage->epoch;
    envelope.sender = 1;
    envelope.body_case = kind;
    envelope.hello = body;
    assert_int_equal(wire_encode(&envelope, &data, &size), 0);
    wire_routing_id(stage->worker[index].id, id);
    assert_int_equal(zmq_send(stage->router, id, sizeof id, ZMQ_SNDMORE), sizeof id);
    assert_int_equal(zmq_send(stage->router, data, size, 0), size);
    free(data);
}

const Rk__Hello *stage_hello(struct stage *stage, uint32_t index, uint64_t silence_ns)
{
    Rk__Welcome welcome = RK__WELCOME__INIT;
    const Rk__Envelope *got;

    do {
        got = stage_expect(stage, -1, RK__ENVELOPE__BODY_HELLO);
    } while (got->hello->ticket != index + 1);
    stage->worker[index].id = got->sender;
    welcome.shards = 8;
    welcome.heartbeat_ns = 20 * RK_MS;
    welcome.silence_ns = silence_ns;
    welcome.orphan_ns = 60 * RK_S;
    welcome.stall_ns = stage->stall_ns;
    stage_say(stage, index, RK__ENVELOPE__BODY_WELCOME, &welcome);
    return got->hello;
}

void stage_start_ranks(struct stage *stage, uint32_t index, uint32_t slots, uint32_t first_rank,
                       uint32_t generation)
{
    Rk__StartRanks start = RK__START_RANKS__INIT;
    uint32_t slot[64], rank[64];

    for (uint32_t i = 0; i < slots; i++) {
        slot[i] = i;
        rank[i] = first_rank + i;
    }
    start.n_slot = start.n_rank = slots;
    start.slot = slot;
    start.rank = rank;
    start.world_size = 5;
    start.group_rank = index;
    start.local_world_size = slots;
    start.master_addr = (char[]){"127.0.0.1"};
    start.master_port = 4711;
    start.restart_count = 3;
    start.max_restarts = 100;
    start.generation = generation;
    stage_say(stage, index, RK__ENVELOPE__BODY_START_RANKS, &start);
}

void stage_freeze(struct stage *stage, uint32_t index, uint64_t word, uint64_t fence)
{
    Rk__Freeze freeze = RK__FREEZE__INIT;

    freeze.word = word;
    freeze.fence = &fence;
    freeze.n_fence = fence == 0 ? 0 : 1;
    stage_say(stage, index, RK__ENVELOPE__BODY_FREEZE, &freeze);
}

void stage_go(struct stage *stage, uint32_t index, uint64_t word, uint32_t slots,
              uint64_t deal_step, uint64_t stop_at)
{
    Rk__Go go = RK__GO__INIT;
    Rk__LocalMember member[8];
    Rk__LocalMember *members[8];
    uint8_t done = 0;

    for (uint32_t i = 0; i < slots; i++) {
        member[i] = (Rk__LocalMember)RK__LOCAL_MEMBER__INIT;
        member[i].worker = stage->worker[index].id;
        member[i].slot = i;
        member[i].rank = member[i].index = i;
        members[i] = &member[i];
    }
    go.word = go.lineage = word;
    go.deal_step = deal_step;
    go.stop_at = stop_at;
    go.world = slots;
    go.members = go.hosts = 1;
    go.fresh = go.restart = deal_step == 0;
    go.done = (ProtobufCBinaryData){1, &done};
    go.n_local = slots;
    go.local = members;
    stage_say(stage, index, RK__ENVELOPE__BODY_GO, &go);
}
