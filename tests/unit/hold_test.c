/* A command under its holder: how it ends is known at once, and nothing of it outlives the holder.
 */
#include "worker/serve/hold.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WITHIN_MS 20000

struct scene {
    struct held held;
    int out; /* the command's output */
};

static void start(struct scene *scene, const char *script)
{
    char *const argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(hold_start(&(struct hold){argv, null, ends[1], ends[1]}, &scene->held, NULL),
                     0);
    close(null);
    close(ends[1]);
    scene->out = ends[0];
}

static void wait_readable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&item, 1, WITHIN_MS), 1);
}

static int status_of(struct scene *scene)
{
    int status = -1;

    wait_readable(scene->held.status);
    assert_true(hold_ended(&scene->held, &status));
    assert_false(hold_ended(&scene->held, &status));
    return status;
}

/* All that the command and what is below it print, up to the end of the last of them. */
static size_t read_all(struct scene *scene, char *text, size_t size)
{
    size_t used = 0;
    ssize_t got;

    do {
        wait_readable(scene->out);
        got = read(scene->out, text + used, size - 1 - used);
        used += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    text[used] = '\0';
    return used;
}

static void finish(struct scene *scene)
{
    assert_int_equal(waitpid(scene->held.pid, NULL, 0), scene->held.pid);
    hold_done(&scene->held);
    close(scene->out);
}

static void test_exit(void **state)
{
    struct scene scene;
    char text[64];

    (void)state;
    start(&scene, "echo done; exit 5");
    assert_int_equal(WEXITSTATUS(status_of(&scene)), 5);
    read_all(&scene, text, sizeof text);
    assert_string_equal(text, "done\n");
    finish(&scene);
}

static void test_signal(void **state)
{
    struct scene scene;

    (void)state;
    start(&scene, "kill -SEGV $$");
    assert_int_equal(WTERMSIG(status_of(&scene)), SIGSEGV);
    finish(&scene);
}

static void test_no_such_program(void **state)
{
    char *const argv[] = {(char *)"/no/such/program", NULL};
    struct scene scene = {.out = -1};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_int_equal(hold_start(&(struct hold){argv, null, null, null}, &scene.held, NULL), 0);
    close(null);
    assert_int_equal(WEXITSTATUS(status_of(&scene)), 127);
    finish(&scene);
}

/* It goes on when the command has ended, and is killed with the rest: the pipe ends then. */
static void test_daemon(void **state)
{
    struct scene scene;
    char text[64];

    (void)state;
    start(&scene, "(setsid sh -c 'trap \"\" TERM HUP; echo daemon; sleep 1000' &) & exit 0");
    assert_int_equal(status_of(&scene), 0);
    wait_readable(scene.out);
    assert_int_equal(kill(scene.held.pid, 0), 0);
    hold_kill(&scene.held);
    read_all(&scene, text, sizeof text);
    assert_string_equal(text, "daemon\n");
    finish(&scene);
}

/* The process that started it is killed. */
static void test_the_starter_dies(void **state)
{
    struct scene scene = {.held.status = -1};
    char text[64];
    int ends[2];
    pid_t starter;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    starter = fork();
    if (starter == 0) {
        char *const argv[] = {(char *)"/bin/sh", (char *)"-c",
                              (char *)"setsid sleep 1000 & echo up; wait", NULL};

        hold_start(&(struct hold){argv, ends[1], ends[1], ends[1]}, &scene.held, NULL);
        pause();
        _exit(1);
    }
    close(ends[1]);
    scene.out = ends[0];
    wait_readable(scene.out);
    kill(starter, SIGKILL);
    waitpid(starter, NULL, 0);
    read_all(&scene, text, sizeof text);
    assert_string_equal(text, "up\n");
    close(scene.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_daemon),
        cmocka_unit_test(test_the_starter_dies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
