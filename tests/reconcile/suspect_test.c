/* Nodes that may be lost: pods keep off them, and no longer than need be. */
#include "tests/reconcile/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <string.h>

static struct stage *synced(void)
{
    static struct stage stage;
    struct pods_config config = stage_config(4);

    stage_open(&stage, &config);
    stage_list(&stage, NULL, 0);
    stage_kind(&stage, PODS_EV_TOLD);
    return &stage;
}

static struct pod_seen bound(const char *name, const char *uid, uint32_t ticket, uint32_t place,
                             const char *node)
{
    struct pod_seen pod = stage_pod(name, uid, ticket, place);

    pod.node = node;
    return pod;
}

/* Pod a of ticket 1 ran on n1 and is killed, and its kubelet has said nothing for long. */
static void silence(struct stage *stage)
{
    struct pods_action action;

    stage_kill(stage, 1);
    action = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &action, PODS_OK, "a");
    stage_wait(stage, 7 * RK_S);
    stage_did(stage, PODS_DO_GONE);
}

/* A pod for a ticket is asked for; what it avoids. */
static struct pods_action ask(struct stage *stage, uint32_t ticket, uint32_t place,
                              const char *avoids)
{
    struct pods_action create;

    stage_want(stage, ticket, place);
    create = *stage_did(stage, PODS_DO_CREATE);
    assert_string_equal(create.text, avoids);
    return create;
}

static void new_pods_keep_off_a_silent_node(void **state)
{
    struct stage *stage = synced();

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    ask(stage, 2, 1, "");
    silence(stage);
    ask(stage, 5, 0, "n1");
    stage_close(stage);
}

static void a_pod_that_waits_there_is_asked_for_elsewhere(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;
    const struct pods_action *action;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    create = ask(stage, 5, 1, "");
    stage_answer(stage, &create, PODS_OK, "b");
    stage_show(stage, bound("j-worker-1", "b", 5, 1, "n1"));
    create = ask(stage, 6, 2, "");
    stage_answer(stage, &create, PODS_OK, "c");
    stage_show(stage, bound("j-worker-2", "c", 6, 2, "n2"));
    silence(stage);
    assert_int_equal(stage_count(stage, PODS_DO_CREATE), 1);
    action = stage_did(stage, PODS_DO_CREATE);
    assert_int_equal(action->ticket, 5);
    assert_string_equal(action->name, "j-worker-1-1");
    assert_string_equal(action->text, "n1");
    action = stage_did(stage, PODS_DO_DELETE);
    assert_string_equal(action->uid, "b");
    assert_int_equal(action->grace_s, 0);
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->reason, "WorkerAskedAgain");
    assert_int_equal(stage_count(stage, PODS_DO_GONE), 1); /* of ticket 1 */
    stage_did_not(stage, PODS_DO_FAILED);
    assert_int_equal(stage_state(stage, 5), PODS_ASKED);
    assert_int_equal(stage_state(stage, 6), PODS_PENDING);
    stage_close(stage);
}

/* It tells of a pod that was bound to it after the other was asked to go. */
static void a_slow_kubelet_is_no_lost_node(void **state)
{
    struct stage *stage = synced();
    struct pods_action action;
    struct pod_seen pod = bound("j-worker-1", "b", 5, 1, "n1");

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    stage_kill(stage, 1);
    action = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &action, PODS_OK, "a");
    stage_wait(stage, RK_S);
    action = ask(stage, 5, 1, "");
    stage_answer(stage, &action, PODS_OK, "b");
    stage_show(stage, pod);
    pod.wait_reason = "ContainerCreating";
    stage_show(stage, pod);
    stage_wait(stage, 6 * RK_S);
    stage_did(stage, PODS_DO_GONE);
    stage_did_not(stage, PODS_DO_CREATE);
    ask(stage, 6, 2, "");
    stage_close(stage);
}

/* And one that is shown to be bound there only later. */
static void so_is_one_that_is_bound_there_afterwards(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    create = ask(stage, 5, 1, "");
    stage_answer(stage, &create, PODS_OK, "b");
    stage_show(stage, stage_pod("j-worker-1", "b", 5, 1));
    silence(stage);
    stage_did_not(stage, PODS_DO_CREATE);
    stage_show(stage, bound("j-worker-1", "b", 5, 1, "n1"));
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->text, "n1");
    stage_close(stage);
}

static void one_that_has_no_other_node_stays(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    silence(stage);
    create = ask(stage, 5, 0, "n1");
    stage_answer(stage, &create, PODS_OK, "b");
    stage_show(stage, bound("j-worker-0-1", "b", 5, 0, "n1"));
    stage_did_not(stage, PODS_DO_CREATE);
    stage_wait(stage, 200 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    assert_int_equal(stage_state(stage, 5), PODS_PENDING);
    stage_close(stage);
}

/* A pod that avoids n1 and finds no node. */
static struct pod_seen wait_for_another(struct stage *stage)
{
    struct pods_action create;
    struct pod_seen pod;

    stage_up(stage, 1, 0, "j-worker-0", "a");
    silence(stage);
    create = ask(stage, 5, 0, "n1");
    stage_answer(stage, &create, PODS_OK, "b");
    pod = stage_pod("j-worker-0-1", "b", 5, 0);
    pod.avoids = "n1";
    pod.wait_reason = "Unschedulable";
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_CREATE);
    return pod;
}

static void asked_again_for_any_node(const struct stage *stage)
{
    const struct pods_action *create = stage_did(stage, PODS_DO_CREATE);

    assert_int_equal(create->ticket, 5);
    assert_string_equal(create->text, "");
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "b");
    assert_int_equal(stage_did(stage, PODS_DO_DELETE)->grace_s, -1);
}

static void a_sign_of_life_ends_it(void **state)
{
    struct stage *stage = synced();

    (void)state;
    wait_for_another(stage);
    stage_show(stage, stage_failed("j-worker-0", "a", 1, 0, 137, "Error"));
    asked_again_for_any_node(stage);
    stage_close(stage);
}

static void age_ends_it(void **state)
{
    struct stage *stage = synced();

    (void)state;
    wait_for_another(stage);
    stage_wait(stage, 80 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    assert_in_range(pods_deadline(stage->pods), stage->now, stage->now + 10 * RK_S);
    stage_wait(stage, 10 * RK_S);
    asked_again_for_any_node(stage);
    stage_close(stage);
}

static void a_pod_that_found_a_node_is_left_there(void **state)
{
    struct stage *stage = synced();
    struct pod_seen pod;

    (void)state;
    pod = wait_for_another(stage);
    pod.node = "n2";
    pod.wait_reason = "ContainerCreating";
    stage_show(stage, pod);
    stage_wait(stage, 100 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    stage_close(stage);
}

static void a_source_of_nodes_is_believed(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;
    struct pod_seen pod = stage_pod("j-worker-0", "b", 5, 0);

    (void)state;
    stage_node(stage, "n1", PODS_NODE_LOST);
    stage_node(stage, "n2", PODS_NODE_GONE);
    create = ask(stage, 5, 0, "n2 n1");
    stage_answer(stage, &create, PODS_OK, "b");
    pod.avoids = "n2 n1";
    stage_show(stage, pod);
    stage_wait(stage, 200 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    stage_node(stage, "n2", PODS_NODE_READY);
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->text, "n1");
    stage_close(stage);
}

/* No more names than a pod may have, the newest. */
static void names_are_bounded(void **state)
{
    struct stage *stage = synced();
    char name[] = "n0";

    (void)state;
    for (name[1] = '0'; name[1] <= '9'; name[1]++)
        stage_node(stage, name, PODS_NODE_LOST);
    ask(stage, 5, 0, "n9 n8 n7 n6");
    stage_close(stage);
}

static void a_new_process_knows_from_the_pods(void **state)
{
    struct pods_config config = stage_config(4);
    struct pod_seen pod = stage_pod("j-worker-0-1", "b", 5, 0);
    struct stage stage;

    (void)state;
    pod.avoids = "n1 n2";
    stage_open(&stage, &config);
    stage_want(&stage, 5, 0);
    stage_list(&stage, &pod, 1);
    stage_kind(&stage, PODS_EV_TOLD);
    stage_did_not(&stage, PODS_DO_CREATE);
    ask(&stage, 6, 1, "n2 n1");
    stage_wait(&stage, 95 * RK_S);
    asked_again_for_any_node(&stage);
    stage_close(&stage);
}

static void nothing_moves_while_the_job_is_suspended(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    create = ask(stage, 5, 1, "");
    stage_answer(stage, &create, PODS_OK, "b");
    stage_show(stage, stage_pod("j-worker-1", "b", 5, 1));
    silence(stage);
    stage_kind(stage, PODS_EV_SUSPEND);
    stage_show(stage, bound("j-worker-1", "b", 5, 1, "n1"));
    assert_int_equal(stage_state(stage, 5), PODS_KILLED);
    stage_close(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_pods_keep_off_a_silent_node),
        cmocka_unit_test(a_pod_that_waits_there_is_asked_for_elsewhere),
        cmocka_unit_test(a_slow_kubelet_is_no_lost_node),
        cmocka_unit_test(so_is_one_that_is_bound_there_afterwards),
        cmocka_unit_test(one_that_has_no_other_node_stays),
        cmocka_unit_test(a_sign_of_life_ends_it),
        cmocka_unit_test(age_ends_it),
        cmocka_unit_test(a_pod_that_found_a_node_is_left_there),
        cmocka_unit_test(a_source_of_nodes_is_believed),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(a_new_process_knows_from_the_pods),
        cmocka_unit_test(nothing_moves_while_the_job_is_suspended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
