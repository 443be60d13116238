/* Ranks as processes; see ranks.h. */
#include "tests/nccl/ranks.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE (60 * RK_S)
#define LIMIT (40 * RK_S) /* of forming, where a test sets no other */

_Noreturn void ranks_give_up(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: process %d: not so: %s\n", file, line, (int)getpid(), condition);
    _exit(1);
}

void ranks_open(struct ranks *ranks, const char *folder, const char *nccl)
{
    char nccl_path[512];
    char cuda_path[512];

    memset(ranks, 0, sizeof *ranks);
    snprintf(nccl_path, sizeof nccl_path, "%s/lib%s.so", folder, nccl);
    snprintf(cuda_path, sizeof cuda_path, "%s/libcudart-double.so", folder);
    assert_int_equal(api_open(nccl_path, cuda_path, &ranks->api, NULL), 0);
    snprintf(ranks->folder, sizeof ranks->folder, "/tmp/nccl-double-XXXXXX");
    assert_non_null(mkdtemp(ranks->folder));
    setenv("NCCL_DOUBLE_DIR", ranks->folder, 1);
    ranks->shared = mmap(NULL, sizeof *ranks->shared, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(ranks->shared != MAP_FAILED);
    for (int i = 0; i < RANKS_IDS; i++)
        assert_int_equal(ranks->api.get_unique_id(&ranks->shared->id[i]), ncclSuccess);
    atomic_store(&ranks->shared->word, 1);
}

void ranks_start(struct ranks *ranks, int count, ranks_program *program)
{
    ranks->count = count;
    for (int r = 0; r < count; r++) {
        ranks->pid[r] = fork();
        assert_true(ranks->pid[r] >= 0);
        if (ranks->pid[r] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            program(ranks, r);
            _exit(0);
        }
    }
}

void ranks_await(struct ranks *ranks, int rank, int mark)
{
    uint64_t until = rk_clock_now() + DEADLINE;

    while (atomic_load(&ranks->shared->reached[rank]) < mark) {
        if (waitpid(ranks->pid[rank], NULL, WNOHANG) == ranks->pid[rank]) {
            ranks->pid[rank] = 0;
            fail_msg("rank %d ended before mark %d", rank, mark);
        }
        if (rk_clock_now() >= until)
            fail_msg("rank %d has not come to mark %d", rank, mark);
        usleep(200);
    }
}

void ranks_kill(struct ranks *ranks, int rank)
{
    assert_int_equal(kill(ranks->pid[rank], SIGKILL), 0);
    assert_int_equal(waitpid(ranks->pid[rank], NULL, 0), ranks->pid[rank]);
    ranks->pid[rank] = 0;
}

static void sweep(const char *folder)
{
    DIR *open = opendir(folder);
    struct dirent *entry;

    while (open != NULL && (entry = readdir(open)) != NULL)
        unlinkat(dirfd(open), entry->d_name, 0);
    if (open != NULL)
        closedir(open);
    rmdir(folder);
}

void ranks_finish(struct ranks *ranks)
{
    uint64_t until = rk_clock_now() + DEADLINE;
    int bad = 0;

    for (int r = 0; r < ranks->count; r++) {
        int status = 0;
        pid_t pid = ranks->pid[r];

        if (pid == 0)
            continue;
        while (waitpid(pid, &status, WNOHANG) == 0 && rk_clock_now() < until)
            usleep(200);
        if (rk_clock_now() >= until) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
        }
        bad += status != 0;
    }
    sweep(ranks->folder);
    munmap(ranks->shared, sizeof *ranks->shared);
    assert_int_equal(bad, 0);
}

void ranks_reach(struct ranks *ranks, int rank, int mark)
{
    atomic_store(&ranks->shared->reached[rank], mark);
}

void ranks_gate(struct ranks *ranks, int gate)
{
    uint64_t until = rk_clock_now() + DEADLINE;

    while (atomic_load(&ranks->shared->gate) < gate) {
        CHECK(rk_clock_now() < until);
        usleep(200);
    }
}

struct comm *ranks_comm(struct ranks *ranks, int device)
{
    struct comm_options options = {.api = &ranks->api,
                                   .device = device,
                                   .word = &ranks->shared->word,
                                   .form_limit = LIMIT,
                                   .call_limit = LIMIT};
    struct comm *comm = NULL;

    CHECK(comm_new(&options, &comm, NULL) == 0);
    return comm;
}

void ranks_form(struct comm *comm, rk_word word, int rank, int world, const ncclUniqueId *id,
                int lost, int expected)
{
    struct comm_membership to = {
        .word = word, .rank = rank, .world = world, .id = id, .lost = &lost, .lost_count = 1};
    struct rk_why why = {""};
    int rc = comm_form(comm, &to, &why);

    CHECK(rc == 0);
    rc = comm_formed(comm, word, &why);
    if (rc != expected)
        fprintf(stderr, "rank %d: %d, expected %d: %s\n", rank, rc, expected, why.text);
    CHECK(rc == expected);
    CHECK(rc == 0 || strlen(why.text) > 0);
}

void ranks_reduce(struct comm *comm, rk_word word, int rank, int world, size_t count)
{
    float *send = calloc(count, sizeof *send);
    float *sum = calloc(count, sizeof *sum);
    float *all = calloc(count * (size_t)world, sizeof *all);
    struct comm_op reduce = {
        .kind = COMM_ALL_REDUCE, .type = ncclFloat32, .count = count, .send = send, .recv = sum};
    struct comm_op gather = {.kind = COMM_ALL_GATHER,
                             .type = ncclUint8,
                             .count = count * sizeof *send,
                             .send = send,
                             .recv = all};
    uint64_t ticket = 0;
    float ranks_sum = 0;

    for (int r = 0; r < world; r++)
        ranks_sum += (float)(r + 1);
    CHECK(send != NULL && sum != NULL && all != NULL);
    for (size_t i = 0; i < count; i++)
        send[i] = (float)(rank + 1) * (float)(i % 100);
    CHECK(comm_post(comm, word, &reduce, &ticket, NULL) == 0);
    CHECK(comm_post(comm, word, &gather, &ticket, NULL) == 0);
    CHECK(comm_wait(comm, word, ticket, NULL) == 0);
    for (size_t i = 0; i < count; i++) {
        CHECK(sum[i] == ranks_sum * (float)(i % 100));
        for (int r = 0; r < world; r++)
            CHECK(all[(size_t)r * count + i] == (float)(r + 1) * (float)(i % 100));
    }
    free(send);
    free(sum);
    free(all);
}
