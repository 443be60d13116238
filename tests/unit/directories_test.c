/* Folders, locks and the janitor of a job, and the ends of whole families, with real processes.
 *
 * The janitor is this program again: called with "janitor" it is that role. */
#include "launch/directories.h"
#include "launch/janitor.h"
#include "launch/lock.h"
#include "launch/processes.h"
#include "launch/surroundings.h"
#include "launch/sweep.h"

#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE (30 * RK_S)

static char root[] = "/tmp/reknit-dirs-XXXXXX";
static char self[PATH_MAX];

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void wait_until_gone(const char *path)
{
    uint64_t deadline = rk_clock_now() + DEADLINE;

    while (exists(path)) {
        if (rk_clock_now() > deadline)
            fail_msg("%s is still there", path);
        poll(NULL, 0, 2);
    }
}

static void touch(const char *folder, const char *name)
{
    char path[2 * PATH_MAX];
    int fd;

    assert_in_range(snprintf(path, sizeof path, "%s/%s", folder, name), 1, sizeof path - 1);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_open_and_close(void **state)
{
    struct directories d;
    struct stat status;
    char run[PATH_MAX];

    (void)state;
    assert_int_equal(directories_open("alpha", NULL, &d, NULL, NULL), 0);
    assert_int_equal(stat(d.run, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_true(exists(d.logs));
    touch(d.run, "job.secret");
    snprintf(run, sizeof run, "%s", d.run);
    directories_close(&d, true);
    assert_false(exists(run));
    assert_true(exists(d.state));
}

static void test_same_name(void **state)
{
    struct directories first;
    struct directories second;
    struct rk_why why = {""};
    char pid[32];
    bool taken = false;

    (void)state;
    assert_int_equal(directories_open("beta", NULL, &first, NULL, NULL), 0);
    assert_int_equal(directories_open("beta", NULL, &second, &taken, &why), RK_EEXIST);
    assert_true(taken);
    snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
    assert_non_null(strstr(why.text, "a job named 'beta' is running"));
    assert_non_null(strstr(why.text, pid));
    assert_true(exists(first.run));
    directories_close(&first, true);
    assert_int_equal(directories_open("beta", NULL, &second, NULL, NULL), 0);
    directories_close(&second, true);
}

static void test_same_checkpoint_dir(void **state)
{
    struct directories first;
    struct directories second;
    struct rk_why why = {""};
    char folder[PATH_MAX];
    char found[PATH_MAX];
    char run[PATH_MAX];
    bool taken = true;

    (void)state;
    snprintf(folder, sizeof folder, "%s/deep/checkpoints", root);
    assert_int_equal(directories_open("gamma", folder, &first, NULL, NULL), 0);
    assert_int_equal(directories_open("delta", folder, &second, &taken, &why), RK_EEXIST);
    assert_false(taken);
    assert_non_null(strstr(why.text, "is in use by the job 'gamma'"));
    snprintf(run, sizeof run, "%s/run/delta", root);
    assert_false(exists(run));
    assert_int_equal(directories_find_state("gamma", found, sizeof found, NULL), 0);
    assert_string_equal(found, first.state);
    directories_close(&first, true);
    assert_int_equal(directories_find_state("never-seen", found, sizeof found, NULL), RK_ENOENT);
}

/* What a job without checkpoints leaves is gone with the next of its name; with one it stays. */
static void test_old_state(void **state)
{
    struct directories d;
    char folder[PATH_MAX];
    char path[2 * PATH_MAX];

    (void)state;
    assert_int_equal(directories_open("epsilon", NULL, &d, NULL, NULL), 0);
    touch(d.state, "record");
    touch(d.run, "rest");
    directories_close(&d, false); /* as when killed */
    assert_int_equal(directories_open("epsilon", NULL, &d, NULL, NULL), 0);
    snprintf(path, sizeof path, "%s/record", d.state);
    assert_false(exists(path));
    snprintf(path, sizeof path, "%s/rest", d.run);
    assert_false(exists(path));
    directories_close(&d, true);
    snprintf(folder, sizeof folder, "%s/keeps", root);
    assert_int_equal(directories_open("zeta", folder, &d, NULL, NULL), 0);
    touch(d.state, "record");
    directories_close(&d, true);
    assert_int_equal(directories_open("zeta", folder, &d, NULL, NULL), 0);
    snprintf(path, sizeof path, "%s/record", d.state);
    assert_true(exists(path));
    directories_close(&d, true);
}

static void test_bad_folders(void **state)
{
    struct directories d;
    struct rk_why why = {""};
    char folder[PATH_MAX];
    char long_name[200];

    (void)state;
    snprintf(folder, sizeof folder, "%s/file", root);
    touch(root, "file");
    assert_int_equal(directories_open("eta", folder, &d, NULL, &why), RK_EACCES);
    assert_non_null(strstr(why.text, "is not a folder"));
    snprintf(folder, sizeof folder, "%s/file/below", root);
    assert_int_equal(directories_open("eta", folder, &d, NULL, &why), RK_ENOENT);
    memset(long_name, 'x', 63);
    long_name[63] = '\0';
    assert_int_equal(directories_open(long_name, NULL, &d, NULL, &why), RK_EFULL);
    assert_non_null(strstr(why.text, "REKNIT_RUNTIME_DIR"));
    snprintf(folder, sizeof folder, "%s/open", root);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(chmod(folder, 0777), 0);
    surroundings_set("REKNIT_RUNTIME_DIR", folder);
    assert_int_equal(directories_open("eta", NULL, &d, NULL, &why), RK_EACCES);
    assert_non_null(strstr(why.text, "mode 0700"));
    snprintf(folder, sizeof folder, "%s/run", root);
    surroundings_set("REKNIT_RUNTIME_DIR", folder);
}

static void test_sweep_follows_no_link(void **state)
{
    char folder[PATH_MAX];
    char inside[2 * PATH_MAX];
    char outside[PATH_MAX];
    char kept[2 * PATH_MAX];

    (void)state;
    snprintf(folder, sizeof folder, "%s/swept", root);
    snprintf(outside, sizeof outside, "%s/outside", root);
    snprintf(inside, sizeof inside, "%s/a/b", folder);
    assert_int_equal(directories_make(inside, 0700, NULL), 0);
    assert_int_equal(directories_make(outside, 0700, NULL), 0);
    touch(inside, "file");
    touch(outside, "precious");
    snprintf(inside, sizeof inside, "%s/link", folder);
    assert_int_equal(symlink(outside, inside), 0);
    assert_int_equal(sweep_contents(inside, NULL), -1);
    touch(folder, "lock");
    assert_int_equal(sweep_contents(folder, "lock"), 0);
    snprintf(kept, sizeof kept, "%s/lock", folder);
    assert_true(exists(kept));
    sweep_job(folder, NULL);
    assert_false(exists(folder));
    snprintf(kept, sizeof kept, "%s/precious", outside);
    assert_true(exists(kept));
}

/* ---- the janitor ------------------------------------------------------------------------------
 */

static void say(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static void hear(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte;

    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_int_equal(read(fd, &byte, 1), 1);
}

/* A process that holds the folders as `reknit run` does, with a janitor, until it is killed. */
static pid_t start_holder(const char *name, bool with_survivor, int ready, pid_t *survivor)
{
    int pids[2];
    pid_t holder;

    assert_int_equal(pipe2(pids, O_CLOEXEC), 0);
    holder = fork();
    assert_true(holder >= 0);
    if (holder == 0) {
        struct directories d;
        struct janitor janitor;
        pid_t child = 0;

        if (directories_open(name, NULL, &d, NULL, NULL) != 0 ||
            janitor_start(self, &d, &janitor, NULL) != 0)
            _exit(1);
        touch(d.run, "job.secret");
        if (with_survivor && (child = fork()) == 0) {
            /* Only `alive` is inherited, as over an exec. */
            close(d.run_lock);
            close(d.state_lock);
            close(janitor.pipe);
            pause();
            _exit(0);
        }
        if (write(pids[1], &child, sizeof child) != sizeof child)
            _exit(1);
        say(ready);
        pause();
        _exit(0);
    }
    close(pids[1]);
    assert_int_equal(read(pids[0], survivor, sizeof *survivor), sizeof *survivor);
    close(pids[0]);
    return holder;
}

static void test_janitor_after_kill(void **state)
{
    char run[PATH_MAX];
    int ready[2];
    pid_t survivor;
    pid_t holder;

    (void)state;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    snprintf(run, sizeof run, "%s/run/theta", root);
    holder = start_holder("theta", true, ready[1], &survivor);
    hear(ready[0]);
    assert_true(exists(run));
    kill(holder, SIGKILL);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    /* A process of the job still lives: the folder stays, and a new run waits for it. */
    assert_true(exists(run));
    kill(survivor, SIGKILL);
    wait_until_gone(run);
    close(ready[0]);
    close(ready[1]);
}

static void test_run_after_kill(void **state)
{
    struct directories d;
    int ready[2];
    pid_t survivor;
    pid_t holder;

    (void)state;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    holder = start_holder("iota", false, ready[1], &survivor);
    hear(ready[0]);
    kill(holder, SIGKILL);
    assert_int_equal(waitpid(holder, NULL, 0), holder);
    /* Against the janitor, whoever is first: the new run gets its folders, and keeps them. */
    assert_int_equal(directories_open("iota", NULL, &d, NULL, NULL), 0);
    assert_true(exists(d.run));
    touch(d.run, "job.secret");
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    assert_true(exists(d.run));
    directories_close(&d, true);
    assert_false(exists(d.run));
    close(ready[0]);
    close(ready[1]);
}

static void test_janitor_in_good_order(void **state)
{
    struct directories d;
    struct janitor janitor;

    (void)state;
    assert_int_equal(directories_open("kappa", NULL, &d, NULL, NULL), 0);
    assert_int_equal(janitor_start(self, &d, &janitor, NULL), 0);
    assert_true(janitor.pid > 0);
    directories_close(&d, true);
    janitor_stop(&janitor);
    assert_int_equal(janitor.pid, 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* ---- families ---------------------------------------------------------------------------------
 */

/* A shell with a child and a grandchild that ignore SIGTERM; "up" when all stand. */
static void start_family(struct process *process)
{
    char *argv[] = {"sh", "-c",
                    "trap '' TERM; (trap '' TERM; (trap '' TERM; echo up; exec sleep 600) & wait) "
                    "& wait",
                    NULL};
    struct pollfd ready;
    char text[4];

    assert_int_equal(
        process_start(
            &(struct process_start){.path = "sh", .argv = argv, .in = -1, .keep = {-1, -1, -1, -1}},
            process, NULL),
        0);
    ready = (struct pollfd){.fd = process->out, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 30000), 1);
    assert_int_equal(read(process->out, text, 3), 3);
}

/* The pipe's end comes when the last of the family is gone. */
static void wait_for_family(struct process *process)
{
    struct pollfd ended = {.fd = process->out, .events = POLLIN};
    char byte;

    assert_int_equal(poll(&ended, 1, 30000), 1);
    assert_int_equal(read(process->out, &byte, 1), 0);
    close(process->out);
    close(process->err);
}

static void test_kill_tree(void **state)
{
    struct process process;

    (void)state;
    start_family(&process);
    processes_kill_tree(process.pid);
    wait_for_family(&process);
    assert_int_equal(waitpid(process.pid, NULL, 0), process.pid);
}

static void test_kill_all_but_one(void **state)
{
    struct process process;
    pid_t spared = fork();
    int status;

    (void)state;
    assert_true(spared >= 0);
    if (spared == 0) {
        pause();
        _exit(0);
    }
    start_family(&process);
    kill(process.pid, SIGKILL); /* its children come to us, the subreaper */
    processes_kill_all(spared, 30000);
    wait_for_family(&process);
    assert_int_equal(waitpid(spared, &status, WNOHANG), 0);
    kill(spared, SIGKILL);
    assert_int_equal(waitpid(spared, NULL, 0), spared);
}

static void test_exec_failure(void **state)
{
    char *argv[] = {"no-such-program", NULL};
    struct process process;
    int status;

    (void)state;
    assert_int_equal(process_start(&(struct process_start){.path = "/no/such/program",
                                                           .argv = argv,
                                                           .in = -1,
                                                           .keep = {-1, -1, -1, -1}},
                                   &process, NULL),
                     0);
    assert_int_equal(waitpid(process.pid, &status, 0), process.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    close(process.out);
    close(process.err);
}

static int set_up(void **state)
{
    char folder[PATH_MAX];

    (void)state;
    if (mkdtemp(root) == NULL || surroundings_self(self, sizeof self, NULL) != 0)
        return -1;
    snprintf(folder, sizeof folder, "%s/run", root);
    surroundings_set("REKNIT_RUNTIME_DIR", folder);
    snprintf(folder, sizeof folder, "%s/state", root);
    surroundings_set("XDG_STATE_HOME", folder);
    signal(SIGPIPE, SIG_IGN);
    return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static int tear_down(void **state)
{
    (void)state;
    sweep_contents(root, NULL);
    return rmdir(root);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_and_close),        cmocka_unit_test(test_same_name),
        cmocka_unit_test(test_same_checkpoint_dir),   cmocka_unit_test(test_old_state),
        cmocka_unit_test(test_bad_folders),           cmocka_unit_test(test_sweep_follows_no_link),
        cmocka_unit_test(test_janitor_in_good_order), cmocka_unit_test(test_kill_tree),
        cmocka_unit_test(test_kill_all_but_one),      cmocka_unit_test(test_exec_failure),
        cmocka_unit_test(test_janitor_after_kill),    cmocka_unit_test(test_run_after_kill),
    };

    if (argc > 1 && strcmp(argv[1], "janitor") == 0)
        return command_janitor(argc - 1, argv + 1);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
