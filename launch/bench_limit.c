/* What memory allows: c = a + b over the whole vector, stored past the caches, by as many threads
 * as there are ranks, each on a core of its own.  usage: reknit-bench-limit BOARD */
#include "collectives/sum.h"
#include "common/clock.h"
#include "launch/bench_board.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 4096u

static struct board *board;
static float *vector[3];

static void pin(uint32_t thread)
{
    cpu_set_t all;
    cpu_set_t one;
    int skip;

    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) == 0)
        return;
    skip = (int)thread % CPU_COUNT(&all);
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && skip-- == 0)
            CPU_SET(cpu, &one);
    (void)sched_setaffinity(0, sizeof one, &one); /* else the kernel chooses */
}

static void *run(void *number)
{
    uint32_t thread = (uint32_t)(uintptr_t)number;
    uint64_t count = board->bytes / sizeof(float);
    uint64_t from = count * thread / board->ranks / 16 * 16;
    uint64_t to =
        thread + 1 == board->ranks ? count : count * (thread + 1) / board->ranks / 16 * 16;

    pin(thread);
    for (uint32_t round = 0; round < board->rounds; round++) {
        uint64_t start;

        if (!board_meet(board))
            return NULL;
        start = rk_clock_now();
        sum_best()->add(vector[0] + from, vector[1] + from, to - from, true, vector[2] + from);
        sum_fence();
        board->times[thread][round].sync = (double)(rk_clock_now() - start) / 1e3;
    }
    return number;
}

int main(int argc, char **argv)
{
    pthread_t thread[BOARD_RANKS];

    board = argc == 2 ? board_open(argv[1]) : NULL;
    if (board == NULL || board->ranks == 0 || board->ranks > BOARD_RANKS) {
        fprintf(stderr, "usage: reknit-bench-limit BOARD\n");
        return 64;
    }
    for (int v = 0; v < 3; v++) {
        vector[v] = aligned_alloc(ALIGN, (board->bytes + ALIGN) / ALIGN * ALIGN);
        if (vector[v] == NULL)
            return 69;
        memset(vector[v], 0, board->bytes);
    }
    for (uint32_t t = 0; t < board->ranks; t++)
        if (pthread_create(&thread[t], NULL, run, (void *)(uintptr_t)t) != 0)
            return 69;
    for (uint32_t t = 0; t < board->ranks; t++)
        pthread_join(thread[t], NULL);
    for (int v = 0; v < 3; v++)
        free(vector[v]);
    return 0;
}
