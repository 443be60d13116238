/* That a process begins to end is told by the kernel, whatever way it ends; and when such a process
 * can touch nothing any more. */
#include "collectives/life.h"
#include "common/clock.h"
#include "worker/agent/process.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT (60 * RK_S)

/* In memory that a child shares. */
struct shared {
    _Atomic uint32_t word;
    _Atomic uint32_t ready;
};

static struct shared *shared_new(void)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(shared != MAP_FAILED);
    return shared;
}

static void *idle(void *argument)
{
    for (;;)
        pause();
    return argument;
}

enum way { STAYS, EXITS, EXECUTES };

/* A child that holds the word, once this returns, and its pidfd. */
static pid_t child_of(struct shared *shared, enum way way, int *pidfd)
{
    uint64_t until = rk_clock_now() + WAIT;
    struct life *life;
    pthread_t other;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (life_begin(&shared->word, &life) != 0 || pthread_create(&other, NULL, idle, NULL) != 0)
            _exit(99);
        if (atomic_load(&shared->word) == 0)
            _exit(98);
        atomic_store(&shared->ready, 1);
        if (way == EXITS)
            _exit(3);
        if (way == EXECUTES)
            execlp("sleep", "sleep", "600", (char *)NULL);
        idle(NULL);
    }
    while (atomic_load(&shared->ready) == 0 && rk_clock_now() < until)
        usleep(1000);
    assert_int_equal(atomic_load(&shared->ready), 1);
    *pidfd = process_open(pid, 0);
    assert_true(*pidfd >= 0);
    return pid;
}

/* Sleeps on the word alone, so it is the kernel that wakes. */
static void expect_over(struct shared *shared)
{
    const struct timespec most = {.tv_sec = WAIT / RK_S};
    uint32_t value = atomic_load(&shared->word);

    while (!life_is_over(value)) {
        long rc = syscall(SYS_futex, &shared->word, FUTEX_WAIT, value, &most, NULL, 0);

        value = atomic_load(&shared->word);
        assert_true(rc == 0 || life_is_over(value));
    }
}

/* Once its pidfd tells, that is what counts. */
static void expect_spent_or_gone(pid_t pid, int pidfd)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    int status = 0;

    while (poll(&end, 1, 0) == 0)
        if (process_is_spent(pid, pidfd, &status)) {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            return;
        }
}

static void a_killed_process_is_over(void **state)
{
    struct shared *shared = shared_new();
    int pidfd;
    pid_t pid = child_of(shared, STAYS, &pidfd);
    int status = 0;

    (void)state;
    assert_false(life_is_over(atomic_load(&shared->word)));
    assert_false(process_is_spent(pid, pidfd, &status));
    kill(pid, SIGKILL);
    expect_over(shared);
    expect_spent_or_gone(pid, pidfd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_false(process_is_spent(pid, pidfd, &status)); /* there is no such process */
    close(pidfd);
    munmap(shared, sizeof *shared);
}

/* How it ended is for waitpid to say. */
static void a_process_that_exits_is_over(void **state)
{
    struct shared *shared = shared_new();
    int pidfd;
    pid_t pid = child_of(shared, EXITS, &pidfd);
    siginfo_t info;
    int status;

    (void)state;
    expect_over(shared);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(process_is_spent(pid, pidfd, &status));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 3);
    close(pidfd);
    munmap(shared, sizeof *shared);
}

/* It has another program's memory. */
static void a_process_that_executes_is_over_and_not_spent(void **state)
{
    struct shared *shared = shared_new();
    int pidfd;
    pid_t pid = child_of(shared, EXECUTES, &pidfd);
    int status;

    (void)state;
    expect_over(shared);
    assert_false(process_is_spent(pid, pidfd, &status));
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pidfd);
    munmap(shared, sizeof *shared);
}

static void who_lets_go_is_nobody(void **state)
{
    struct shared *shared = shared_new();
    struct life *life = NULL;
    int status;

    (void)state;
    assert_int_equal(life_begin(&shared->word, &life), 0);
    pid_t pid = fork();
    if (pid == 0) { /* which has no such thread to wait for */
        life_end(life);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    life_end(life);
    assert_int_equal(atomic_load(&shared->word), 0);
    life_end(NULL);
    munmap(shared, sizeof *shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_is_over),
        cmocka_unit_test(a_process_that_exits_is_over),
        cmocka_unit_test(a_process_that_executes_is_over_and_not_spent),
        cmocka_unit_test(who_lets_go_is_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
