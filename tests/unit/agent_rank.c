/* A rank on worker/local.h alone: it computes nothing, but freezes, goes, leaves snapshots and
 * leaves as one that does.  Modes: "job"; "parent" makes a child and a daemon first; "large" has
 * memory that the kernel takes a while to take back; "carrier" is a carrier that only acknowledges.
 */
#include "collectives/arena.h"
#include "collectives/life.h"
#include "common/layout.h"
#include "tests/unit/agent_stage.h"
#include "worker/local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char **environ;

#define LARGE ((size_t)512 << 20)

struct player {
    int socket;
    struct life *life;
    struct arena arena;
    struct arena_agent *block;
    struct arena_seat *seat;
    uint64_t position;
};

static const char *variable(const char *name)
{
    size_t length = strlen(name);

    for (char **at = environ; *at != NULL; at++)
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=')
            return *at + length + 1;
    return "";
}

static void need(int ok, const char *what)
{
    if (ok)
        return;
    printf("rank failed: %s\n", what);
    fflush(stdout);
    _exit(9);
}

static void say(struct player *player, enum local_kind kind, uint64_t a, int fd)
{
    struct local_message message = {.kind = (uint16_t)kind, .a = a};

    need(local_send(player->socket, &message, fd) == 0, "send");
}

static void hear(struct player *player, struct local_message *message, int *fd, int kind)
{
    need(local_receive(player->socket, message, fd, 20000) == 0, "receive");
    if (message->kind != kind) {
        printf("refused: %d %.*s\n", message->code, (int)message->text_size, message->text);
        need(0, "another message");
    }
}

static void join(struct player *player)
{
    static struct local_message message;
    struct rk_layout *layout = rk_layout_new(1, 4);
    int memory = memfd_create("layout", MFD_CLOEXEC), fd;

    need(local_connect(variable(LOCAL_ENV_AGENT), &player->socket, NULL) == 0, "connect");
    say(player, LOCAL_ATTACH, 0, -1);
    hear(player, &message, &fd, LOCAL_WELCOME);
    need(arena_open(&player->arena, fd, NULL) == 0, "arena");
    uint32_t seat = message.seat, block = message.agent_block;
    rk_layout_add(&layout, RK_TENSOR_STATE, "w", 1, 1, (uint64_t[]){1000}, NULL);
    rk_layout_add(&layout, RK_TENSOR_GRADIENT, "w", 1, 1, (uint64_t[]){1000}, NULL);
    need(write(memory, layout, layout->bytes) == (ssize_t)layout->bytes, "layout");
    say(player, LOCAL_DECLARE, 0, memory);
    hear(player, &message, &fd, LOCAL_DECLARED);
    need(arena_refresh(&player->arena, NULL) == 0, "refresh");
    need(arena_seat_allocate(&player->arena, seat, NULL) == 0, "allocate");
    player->seat = &player->arena.header->seat[seat];
    player->block = &player->arena.header->agent[block];
    need(life_begin(&player->seat->life, &player->life) == 0, "life");
    rk_layout_free(layout);
    close(memory);
    memcpy(player->seat->report[0].name, "loss", 5);
    atomic_store(&player->seat->report[0].value, 0.5);
    atomic_store(&player->seat->report_count, 1);
}

static void leave_snapshot(struct player *player)
{
    if (arena_snapshot_find(&player->arena, player->position) < 0) {
        int k = arena_snapshot_pick(&player->arena);

        need(k >= 0, "a snapshot");
        arena_snapshot_begin(&player->arena, (uint32_t)k);
        float *state = arena_snapshot_data(&player->arena, (uint32_t)k);
        for (int i = 0; i < 1000; i++)
            state[i] = (float)player->position;
        arena_snapshot_commit(&player->arena, (uint32_t)k, player->position);
    }
    say(player, LOCAL_SNAPSHOT, player->position, -1);
}

static void stand_still(struct player *player, rk_word word)
{
    atomic_store(&player->seat->position, player->position);
    atomic_store(&player->seat->ack_word, word);
    say(player, LOCAL_ACK, word, -1);
}

/* One generation: a step at its start, then on to where a snapshot is wanted. */
static void go_on(struct player *player, rk_word word)
{
    const struct arena_plan *plan = &player->block->plan;

    player->position = plan->deal_step;
    atomic_store(&player->seat->has_state, 1);
    if (plan->stop_at <= player->position) {
        leave_snapshot(player);
        atomic_store(&player->seat->position, player->position);
        atomic_store(&player->seat->left, 1);
        say(player, LOCAL_LEFT, player->position, -1);
        printf("rank leaves\n");
        fflush(stdout);
        _exit(0);
    }
    atomic_store(&player->seat->position, ++player->position);
    say(player, LOCAL_PROGRESS, player->position, -1);
    while (atomic_load(&player->block->freeze_word) == word) {
        uint32_t turn = 1000, bell = arena_bell(&player->arena);
        uint64_t at = atomic_load(&player->block->snapshot_at);

        if (at != ARENA_NO_STEP && at > player->position) {
            player->position = at;
            atomic_store(&player->seat->position, at);
            leave_snapshot(player);
        }
        arena_pause(&player->arena, bell, &turn);
    }
}

static void play(struct player *player)
{
    rk_word acked = 0, gone = 0;

    say(player, LOCAL_ENTER, 0, -1);
    for (;;) {
        uint32_t turn = 1000, bell = arena_bell(&player->arena);
        rk_word word = atomic_load(&player->block->freeze_word);

        if (word != acked) {
            stand_still(player, word);
            acked = word;
        }
        if (word != 0 && word != gone && atomic_load(&player->block->go_word) == word) {
            gone = word;
            go_on(player, word);
            continue;
        }
        static struct local_message message;
        int fd;
        need(local_receive(player->socket, &message, &fd, 0) == RK_ETIMEDOUT, "the agent");
        arena_pause(&player->arena, bell, &turn);
    }
}

/* Waits for its sum, one step after the other for as long as `steps` says, and hears nothing. */
static void wait_deaf(struct player *player, uint32_t steps)
{
    rk_word word;

    say(player, LOCAL_ENTER, 0, -1);
    while ((word = atomic_load(&player->block->freeze_word)) == 0)
        usleep(1000);
    stand_still(player, word);
    while (atomic_load(&player->block->go_word) != word)
        usleep(1000);
    atomic_store(&player->seat->has_state, 1);
    for (uint32_t step = 0; step < steps; step++) {
        atomic_store(&player->seat->waits, 2 * step * ARENA_WAITS + ARENA_WAIT_NONE);
        usleep(100000);
        atomic_store(&player->seat->waits, (2 * step + 1) * ARENA_WAITS + ARENA_WAIT_SUM);
        usleep(100000);
    }
    for (;;)
        pause();
}

/* Attaches as a carrier and acknowledges each freeze until its agent is gone. */
static void carry(struct player *player)
{
    static struct local_message message;
    int fd;
    rk_word acked = 0;
    uint64_t job = strtoul(variable("REKNIT_CARRIER_JOB"), NULL, 10);

    need(local_connect(variable(LOCAL_ENV_AGENT), &player->socket, NULL) == 0, "connect");
    say(player, LOCAL_CARRIER, job, -1);
    hear(player, &message, &fd, LOCAL_WELCOME);
    need(arena_open(&player->arena, fd, NULL) == 0, "arena");
    player->block = &player->arena.header->agent[message.agent_block];
    need(local_receive(player->socket, &message, &fd, -1) == 0 && message.kind == LOCAL_STARTED,
         "start");
    atomic_store(&player->arena.header->carrier.pid, (int32_t)getpid());
    for (;;) {
        uint32_t turn = 1000, bell = arena_bell(&player->arena);
        rk_word word = atomic_load(&player->block->freeze_word);

        if (word != acked) {
            atomic_store(&player->arena.header->carrier.ack_word, word);
            say(player, LOCAL_ACK, word, -1);
            acked = word;
        }
        if (local_receive(player->socket, &message, &fd, 0) != RK_ETIMEDOUT)
            _exit(0);
        arena_pause(&player->arena, bell, &turn);
    }
}

static void multiply(void)
{
    if (fork() == 0) {
        printf("child %d\n", (int)getpid());
        fflush(stdout);
        for (;;)
            pause();
    }
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            printf("daemon %d\n", (int)getpid());
            fflush(stdout);
            for (;;)
                pause();
        }
        _exit(0);
    }
}

int rank_main(const char *mode)
{
    struct player player = {0};

    if (strcmp(mode, "parent") == 0)
        multiply();
    if (strcmp(mode, "large") == 0)
        need(mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                  -1, 0) != MAP_FAILED,
             "memory");
    if (strcmp(mode, "carrier") == 0)
        carry(&player);
    join(&player);
    printf("rank %d joined\n", (int)getpid());
    fflush(stdout);
    if (strcmp(mode, "deaf") == 0)
        wait_deaf(&player, 10);
    play(&player);
    return 0;
}
