/* The agent's processes: what ranks are given, what becomes of what they print, how they end, and
 * that nothing stays alive whoever is killed. */
#include "common/clock.h"
#include "tests/unit/agent_stage.h"
#include "worker/agent/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SILENCE (10 * RK_S)

/* A worker whose one rank is `script`, run by a shell. */
static void open_script(struct stage *stage, const char *script)
{
    stage_start(stage, 0, "0", 1, (const char *[]){"/bin/sh", "-c", script, NULL});
    stage_hello(stage, 0, SILENCE);
    stage_start_ranks(stage, 0, 1, 4, 7);
}

static const Rk__RankExited *exit_of_script(struct stage *stage, const char *script)
{
    open_script(stage, script);
    return stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
}

static const char *log_text(const struct stage *stage)
{
    char path[256];

    snprintf(path, sizeof path, "%s/rank-4.gen-7.log", stage->logs);
    return stage_read(path);
}

static void a_rank_is_given_its_environment(void **state)
{
    static const char *const wanted[] = {
        "\nRANK=4\n",
        "\nLOCAL_RANK=0\n",
        "\nWORLD_SIZE=5\n",
        "\nLOCAL_WORLD_SIZE=1\n",
        "\nGROUP_RANK=0\n",
        "\nMASTER_ADDR=127.0.0.1\n",
        "\nMASTER_PORT=4711\n",
        "\nTORCHELASTIC_RUN_ID=test\n",
        "\nTORCHELASTIC_RESTART_COUNT=3\n",
        "\nTORCHELASTIC_MAX_RESTARTS=100\n",
        "\nREKNIT_JOB=test\n",
        "\nREKNIT_GENERATION=7\n",
    };
    struct stage *stage = *state;
    char line[256];

    const Rk__RankExited *exited = exit_of_script(stage, "echo; env; echo to-stderr >&2; exit 3");
    assert_int_equal(exited->exit_code, 3);
    assert_int_equal(exited->signal, 0);
    assert_false(exited->joined);
    assert_non_null(strstr(exited->last_lines, "RANK=4"));
    const char *log = log_text(stage);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (strstr(log, wanted[i]) == NULL)
            fail_msg("the rank was not given %s", wanted[i]);
    snprintf(line, sizeof line, "\nREKNIT_CHECKPOINT_DIR=%s\n", stage->checkpoints);
    assert_non_null(strstr(log, line));
    snprintf(line, sizeof line, "\nREKNIT_AGENT=%s/host-0/agent-1-", stage->run);
    assert_non_null(strstr(log, line));
    assert_non_null(strstr(log, "to-stderr\n"));
}

static void nothing_of_ours_leaks_into_a_rank(void **state)
{
    struct stage *stage = *state;

    /* 0, 1, 2 and the one that ls reads the folder with */
    exit_of_script(stage, "exec 9>&-; ls /proc/self/fd | tr '\\n' ' '; echo; "
                          "readlink /proc/self/fd/0; ps -o pgid= -o sid= -o pid= $$ | tr -s ' '");
    const char *log = log_text(stage);
    assert_non_null(strstr(log, "0 1 2 3 \n"));
    assert_null(strstr(log, " 4 "));
    assert_non_null(strstr(log, "/dev/null\n"));
}

static void how_a_rank_ends_is_told(void **state)
{
    struct stage *stage = *state;

    assert_int_equal(exit_of_script(stage, "kill -SEGV $$")->signal, SIGSEGV);
    stage_start_ranks(stage, 0, 1, 4, 8);
    assert_int_equal(stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited->signal,
                     SIGSEGV);
}

static void a_clean_end_without_joining_is_done(void **state)
{
    struct stage *stage = *state;

    assert_int_equal(exit_of_script(stage, "true")->exit_code, 0);
    stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_DONE);
}

static void a_program_that_cannot_run_says_so(void **state)
{
    struct stage *stage = *state;

    stage_start(stage, 0, "0", 1, (const char *[]){"/nowhere/train", NULL});
    stage_hello(stage, 0, SILENCE);
    stage_start_ranks(stage, 0, 1, 4, 7);
    const Rk__RankExited *exited =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
    assert_int_equal(exited->exit_code, 127);
    assert_non_null(strstr(exited->last_lines, "cannot execute /nowhere/train"));
    stage_start(stage, 1, "0", 1, (const char *[]){"/etc/passwd", NULL});
    stage_hello(stage, 1, SILENCE);
    stage_start_ranks(stage, 1, 1, 4, 8);
    assert_int_equal(stage_expect(stage, 1, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited->exit_code,
                     126);
}

static void a_wrapper_is_seen_through(void **state)
{
    struct stage *stage = *state;
    const char *program[4];
    char script[4200];

    stage_rank_program("job", program);
    snprintf(script, sizeof script, "%s rank job; exit $?", program[0]);
    open_script(stage, script);
    pid_t pid = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY)->rank[0]->pid;
    kill(pid, SIGKILL);
    const Rk__RankExited *exited =
        stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED)->rank_exited;
    assert_int_equal(exited->signal, SIGKILL);
    assert_true(exited->joined);
}

/* ---- output -----------------------------------------------------------------------------------
 */

static void lines_carry_their_rank(void **state)
{
    struct stage *stage = *state;

    open_script(stage, "echo one; printf 'two\\n\\nthr'; printf 'ee'; exit 1");
    assert_non_null(strstr(stage_wait_output(stage, 0, "three"),
                           "[rank 4] one\n[rank 4] two\n[rank 4] \n[rank 4] three"));
    stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED);
    assert_string_equal(log_text(stage), "one\ntwo\n\nthree");
}

static void long_lines_are_cut_and_bytes_are_kept(void **state)
{
    struct stage *stage = *state;

    const Rk__RankExited *exited = exit_of_script(
        stage, "head -c 3000 /dev/zero | tr '\\0' x; echo; printf '\\001\\377\\303\\244 end\\n'");
    assert_non_null(strstr(exited->last_lines, "x\n??\303\244 end\n"));
    const char *all = stage_wait_output(stage, 0, " end\n");
    int pieces = 0;
    size_t xs = 0;
    for (const char *at = all; *at != '\0'; at++) {
        pieces += strncmp(at, "[rank 4] x", 10) == 0;
        xs += *at == 'x';
    }
    assert_int_equal(xs, 3000);
    assert_int_equal(pieces, 3);
    assert_non_null(strstr(all, "[rank 4] \001\377\303\244 end\n"));
    const char *log = log_text(stage);
    assert_int_equal(strcspn(log, "\n"), 3000);
}

/* A reader that does not read holds nobody up; what it missed is counted. */
static void a_flood_is_left_out_and_counted(void **state)
{
    struct stage *stage = *state;

    exit_of_script(stage, "i=0; while [ $i -lt 40 ]; do seq 100000 102500; i=$((i+1)); done");
    stage_wait_output(stage, 0, "[rank 4] 100100\n");
    stage_start_ranks(stage, 0, 1, 4, 8);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_RANK_EXITED);
    const char *all = stage_wait_output(stage, 0, "lines left out here");
    assert_non_null(all);
    const char *log = log_text(stage);
    size_t lines = 0;
    for (const char *at = log; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 40 * 2501);
}

/* ---- nothing stays alive -----------------------------------------------------------------------
 */

struct family {
    pid_t agent, rank, child, daemon;
};

static struct family open_family(struct stage *stage)
{
    struct family family;
    const char *program[4];

    stage_rank_program("parent", program);
    stage_start(stage, 0, "0", 1, program);
    family.agent = stage_hello(stage, 0, SILENCE)->pid;
    stage_start_ranks(stage, 0, 1, 0, 1);
    family.rank = stage_expect_ranks(stage, 0, RK__RANK_STATE__RANK_READY)->rank[0]->pid;
    char path[256];
    snprintf(path, sizeof path, "%s/rank-0.gen-1.log", stage->logs);
    const char *child, *daemon;
    do {
        stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT);
        const char *log = stage_read(path);
        child = strstr(log, "child ");
        daemon = strstr(log, "daemon ");
    } while (child == NULL || daemon == NULL);
    family.child = (pid_t)strtol(child + 6, NULL, 10);
    family.daemon = (pid_t)strtol(daemon + 7, NULL, 10);
    return family;
}

static void a_killed_agent_leaves_nothing(void **state)
{
    struct stage *stage = *state;
    struct family family = open_family(stage);

    kill(family.agent, SIGKILL);
    int status = stage_wait(stage, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL);
    /* the warden ends only after all of them */
    struct process_facts facts;
    pid_t pids[] = {family.rank, family.child, family.daemon};
    for (int i = 0; i < 3; i++)
        assert_false(process_read(pids[i], &facts));
}

static void a_killed_warden_takes_agent_and_ranks_along(void **state)
{
    struct stage *stage = *state;
    struct family family = open_family(stage);

    kill(stage->worker[0].warden, SIGKILL);
    stage_wait(stage, 0);
    stage_wait_dead(family.agent);
    stage_wait_dead(family.rank);
}

static void a_worker_asked_to_leave_hands_over_and_asked_twice_ends(void **state)
{
    struct stage *stage = *state;
    struct family family = open_family(stage);
    struct process_facts facts;

    kill(stage->worker[0].warden, SIGTERM);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_LEAVING);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_HEARTBEAT); /* it works on */
    assert_true(process_read(family.rank, &facts));
    kill(stage->worker[0].warden, SIGTERM);
    stage_expect(stage, 0, RK__ENVELOPE__BODY_GOODBYE);
    assert_int_equal(stage_wait(stage, 0), 0);
    assert_false(process_read(family.rank, &facts));
    assert_false(process_read(family.daemon, &facts));
}

static void a_worker_ends_with_its_supervisor(void **state)
{
    struct stage *stage = *state;
    struct family family = open_family(stage);
    struct process_facts facts;

    close(stage->worker[0].life);
    stage->worker[0].life = -1;
    assert_int_equal(stage_wait(stage, 0), 0);
    assert_false(process_read(family.rank, &facts));
    assert_false(process_read(family.daemon, &facts));
}

static void a_child_may_be_given_fewer_files(void **state)
{
    char *const argv[] = {"sh", "-c", "test $(ulimit -Sn) = 64", NULL};
    char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
    const struct spawn spawn = {
        .argv = argv, .envp = envp, .out = -1, .err = -1, .keep = {-1, -1}, .files = 64};
    struct rk_why why = {""};
    int status = 0;
    int pidfd;
    pid_t pid = process_spawn(&spawn, &pidfd, &why);

    (void)state;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pidfd);
    assert_int_equal(status, 0);
}

static void bad_options_are_usage_errors(void **state)
{
    (void)state;
    const char *bad[][4] = {{"worker", "--nonsense", "1", NULL},
                            {"worker", "--slots", "0", NULL},
                            {"worker", "--slots", "2x", NULL},
                            {"worker", "--job", "a/b", NULL}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            close(2);
            execv("/proc/self/exe",
                  (char *const[]){"x", (char *)(uintptr_t)bad[i][0], (char *)(uintptr_t)bad[i][1],
                                  (char *)(uintptr_t)bad[i][2], NULL});
            _exit(1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 64);
    }
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, stage_open, stage_close)
    const struct CMUnitTest tests[] = {
        TEST(a_rank_is_given_its_environment),
        TEST(nothing_of_ours_leaks_into_a_rank),
        TEST(how_a_rank_ends_is_told),
        TEST(a_clean_end_without_joining_is_done),
        TEST(a_program_that_cannot_run_says_so),
        TEST(a_wrapper_is_seen_through),
        TEST(lines_carry_their_rank),
        TEST(long_lines_are_cut_and_bytes_are_kept),
        TEST(a_flood_is_left_out_and_counted),
        TEST(a_killed_agent_leaves_nothing),
        TEST(a_killed_warden_takes_agent_and_ranks_along),
        TEST(a_worker_asked_to_leave_hands_over_and_asked_twice_ends),
        TEST(a_worker_ends_with_its_supervisor),
        cmocka_unit_test(a_child_may_be_given_fewer_files),
        cmocka_unit_test(bad_options_are_usage_errors),
    };
    int code;

    if (stage_play(argc, argv, &code))
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
