/* The board of a benchmark; see bench_board.h. */
#include "launch/bench_board.h"

#include "common/clock.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MEET_WITHIN (60 * RK_S)
#define SPIN_TURNS 300u
#define YIELD_TURNS 50u
#define SLEEP_NS 10000000L

struct board *board_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *memory;

    if (fd < 0)
        return NULL;
    memory = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

bool board_meet(struct board *board)
{
    uint32_t turn = atomic_load(&board->turn);
    const struct timespec nap = {.tv_nsec = SLEEP_NS};
    uint64_t deadline = 0;

    if (atomic_fetch_add(&board->arrived, 1) + 1 == board->ranks) {
        atomic_store(&board->arrived, 0);
        atomic_fetch_add(&board->turn, 1);
        syscall(SYS_futex, &board->turn, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
        return true;
    }
    for (uint32_t spin = 0; atomic_load(&board->turn) == turn; spin++) {
        if (spin < SPIN_TURNS)
            continue;
        if (spin < SPIN_TURNS + YIELD_TURNS) {
            sched_yield();
            continue;
        }
        syscall(SYS_futex, &board->turn, FUTEX_WAIT, turn, &nap, NULL, 0);
        if (deadline == 0)
            deadline = rk_clock_now() + MEET_WITHIN;
        if (rk_clock_now() > deadline)
            return false;
    }
    return true;
}

void board_close(struct board *board)
{
    if (board != NULL)
        munmap(board, sizeof *board);
}
