/* How pods end: the earliest bad news, what is said of it, what becomes of the object. */
#include "tests/reconcile/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* One pod that runs: ticket 1, place 0, uid "a". */
static struct stage *running(void)
{
    static struct stage stage;
    struct pods_config config = stage_config(40);

    stage_open(&stage, &config);
    stage_list(&stage, NULL, 0);
    stage_kind(&stage, PODS_EV_TOLD);
    stage_up(&stage, 1, 0, "j-worker-0", "a");
    return &stage;
}

/* ---- bad news ----------------------------------------------------------------------------------
 */

struct end_case {
    int32_t code;
    const char *end_reason, *reason, *message;
    int32_t exit_code, signal;
    bool oom;
    const char *text;
};

static void the_sentence_names_pod_node_and_cause(void **state)
{
    static const struct end_case cases[] = {
        {3, "Error", "", "", 3, -1, false,
         "pod j-worker-0 on node n1 ended with exit code 3 (Error)"},
        {137, "OOMKilled", "", "", -1, 9, true,
         "pod j-worker-0 on node n1 was killed by signal 9, out of memory: raise its memory limit, "
         "or use less (OOMKilled)"},
        {139, "Error", "", "", -1, 11, false,
         "pod j-worker-0 on node n1 was killed by signal 11 (Error)"},
        {137, "Error", "Evicted", "The node was low on resource: memory.", -1, 9, false,
         "pod j-worker-0 on node n1 was evicted (Evicted): The node was low on resource: memory."},
        {1, "Error", "Preempting", "made room", 1, -1, false,
         "pod j-worker-0 on node n1 failed (Preempting): made room"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage *stage = running();
        struct pod_seen pod =
            stage_failed("j-worker-0", "a", 1, 0, cases[i].code, cases[i].end_reason);
        const struct pods_action *gone;

        pod.reason = cases[i].reason;
        pod.message = cases[i].message;
        stage_show(stage, pod);
        gone = stage_did(stage, PODS_DO_GONE);
        assert_string_equal(gone->text, cases[i].text);
        assert_int_equal(gone->exit_code, cases[i].exit_code);
        assert_int_equal(gone->signal, cases[i].signal);
        assert_int_equal(gone->oom, cases[i].oom);
        assert_string_equal(stage_did(stage, PODS_DO_EVENT)->reason, "WorkerLost");
        stage_did(stage, PODS_DO_HANG_UP);
        stage_did_not(stage, PODS_DO_DELETE); /* its logs are kept */
        stage_show(stage, pod);
        stage_did_not(stage, PODS_DO_GONE); /* once */
        stage_want(stage, 41, 0);           /* at once, under a new name */
        assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0-1");
        stage_close(stage);
    }
}

static void a_container_that_was_started_again_is_another_worker(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_runs("j-worker-0", "a", 1, 0);

    (void)state;
    pod.restarted = pod.ended = true;
    pod.exit_code = 2;
    stage_show(stage, pod);
    assert_non_null(strstr(stage_did(stage, PODS_DO_GONE)->text, "was started again"));
    stage_close(stage);
}

static void a_deletion_is_notice_then_an_end(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_runs("j-worker-0", "a", 1, 0);

    (void)state;
    pod.disrupted = true;
    pod.disruption = "PreemptionByScheduler";
    pod.disruption_message = "makes room";
    stage_show(stage, pod);
    assert_true(stage_did(stage, PODS_DO_NOTICE)->deadline == stage->now + 30 * RK_S);
    assert_string_equal(
        stage_did(stage, PODS_DO_NOTICE)->text,
        "pod j-worker-0 on node n1 will end soon (PreemptionByScheduler): makes room");
    pod.deleting = true;
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_NOTICE); /* once */
    stage_did_not(stage, PODS_DO_GONE);
    stage_gone(stage, "j-worker-0", "a");
    assert_string_equal(
        stage_did(stage, PODS_DO_GONE)->text,
        "pod j-worker-0 on node n1 was deleted (PreemptionByScheduler): makes room");
    assert_int_equal(stage_state(stage, 1), PODS_FREE);
    stage_close(stage);
}

static void an_end_that_nobody_confirms_is_told_in_time(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_runs("j-worker-0", "a", 1, 0);

    (void)state;
    pod.deleting = true;
    stage_show(stage, pod);
    stage_did(stage, PODS_DO_NOTICE);
    stage_wait(stage, 34 * RK_S);
    stage_did_not(stage, PODS_DO_GONE);
    stage_wait(stage, RK_S);
    assert_non_null(strstr(stage_did(stage, PODS_DO_GONE)->text, "did not confirm it"));
    stage_did_not(stage, PODS_DO_DELETE);
    stage_wait(stage, 30 * RK_S); /* no node source: the node is as good as lost */
    assert_int_equal(stage_did(stage, PODS_DO_DELETE)->grace_s, 0);
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "a");
    stage_close(stage);
}

static void a_lost_node_ends_its_pods_unless_they_are_linked(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_link(stage, 1, true);
    stage_node(stage, "n2", PODS_NODE_LOST);
    stage_node(stage, "n1", PODS_NODE_LOST);
    assert_int_equal(stage->actions.count, 0); /* its agent answers */
    stage_link(stage, 1, false);
    assert_string_equal(stage_did(stage, PODS_DO_GONE)->text,
                        "pod j-worker-0 on node n1 is lost: its node does not answer");
    delete = *stage_did(stage, PODS_DO_DELETE);
    assert_int_equal(delete.grace_s, 0);
    stage_answer(stage, &delete, PODS_OK, "a");
    stage_gone(stage, "j-worker-0", "a");
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

static void a_pod_that_is_shown_on_a_lost_node_is_lost(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_runs("j-worker-1", "b", 2, 1);

    (void)state;
    stage_node(stage, "n9", PODS_NODE_LOST);
    stage_want(stage, 2, 1);
    pod.node = "n9";
    stage_show(stage, pod);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    stage_node(stage, "n9", PODS_NODE_READY);
    pod = stage_runs("j-worker-2", "c", 3, 2);
    pod.node = "n9";
    stage_want(stage, 3, 2);
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_GONE);
    stage_close(stage);
}

/* ---- kill --------------------------------------------------------------------------------------
 */

static void a_killed_pod_is_told_of_when_it_is_dead(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_kill(stage, 1);
    delete = *stage_did(stage, PODS_DO_DELETE);
    assert_int_equal(delete.grace_s, 1);
    assert_string_equal(delete.uid, "a");
    stage_did_not(stage, PODS_DO_GONE);
    stage_answer(stage, &delete, PODS_OK, "a");
    stage_gone(stage, "j-worker-0", "a");
    assert_string_equal(stage_did(stage, PODS_DO_GONE)->text,
                        "pod j-worker-0 on node n1 was killed, as the coordinator asked");
    stage_did_not(stage, PODS_DO_EVENT);
    assert_true(pods_idle(stage->pods));
    stage_kill(stage, 1); /* not known any more */
    assert_int_equal(stage->actions.count, 0);
    stage_close(stage);
}

/* It died, its connection closed, the coordinator asked for its kill: how it died is told. */
static void an_end_before_the_kill_is_told(void **state)
{
    static const struct {
        int32_t code;
        const char *reason;
        int64_t ended_s;
        bool itself;
    } cases[] = {
        {137, "OOMKilled", 1002, true}, {137, "Error", 1000, true},    {137, "Error", 1002, false},
        {143, "Error", 1000, false},    {0, "Completed", 1000, false}, {7, "Error", 1001, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage *stage = running();
        struct pod_seen pod = stage_failed("j-worker-0", "a", 1, 0, cases[i].code, cases[i].reason);

        stage_kill(stage, 1);
        pod.deleting = true;
        pod.grace_s = 1;
        pod.deleting_s = 1002;
        pod.ended_s = cases[i].ended_s;
        pod.end_message = "[rank 0] no more\n";
        stage_show(stage, pod);
        if (cases[i].itself)
            assert_non_null(strstr(stage_did(stage, PODS_DO_EVENT)->text, "[rank 0] no more"));
        else
            stage_did_not(stage, PODS_DO_EVENT);
        stage_did(stage, PODS_DO_GONE);
        stage_close(stage);
    }
}

static void a_kill_during_a_create_waits_for_its_answer(void **state)
{
    struct stage *stage = running();
    struct pods_action create;

    (void)state;
    stage_want(stage, 2, 1);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_kill(stage, 2);
    assert_int_equal(stage->actions.count, 0);
    assert_false(pods_idle(stage->pods));
    stage_answer(stage, &create, PODS_OK, "b");
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "b");
    stage_want(stage, 3, 2);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_kill(stage, 3);
    stage_answer(stage, &create, PODS_QUOTA, "");
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 3);
    stage_close(stage);
}

static void a_delete_that_fails_is_tried_again(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_kill(stage, 1);
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_FORBIDDEN, "a");
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->reason, "WorkerNotDeleted");
    assert_non_null(strstr(stage_did(stage, PODS_DO_EVENT)->text, "verb delete on pods"));
    stage_did_not(stage, PODS_DO_DELETE);
    stage_wait(stage, RK_S);
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_ABSENT, "a");
    stage_wait(stage, 6 * RK_S); /* the watch is late */
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 1);
    stage_close(stage);
}

static void a_back_off_is_not_cut_short_by_the_watch(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_kill(stage, 1);
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_UNSURE, "a");
    stage_show(stage, stage_runs("j-worker-0", "a", 1, 0));
    stage->now += RK_S; /* its own back-off is over, and no TICK has come */
    stage_show(stage, stage_runs("j-worker-0", "a", 1, 0));
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_UNSURE, "a");
    stage->now += RK_S / 4;
    stage_show(stage, stage_runs("j-worker-0", "a", 1, 0));
    stage_did_not(stage, PODS_DO_DELETE);
    assert_int_equal(stage_count(stage, PODS_DO_EVENT), 0);
    stage_close(stage);
}

static void what_has_ended_and_was_deleted_holds_nobody_up(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_STOP, .policy = PODS_CLEAN_ALL});
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_OK, "a");
    assert_false(pods_idle(stage->pods)); /* it may live on */
    stage_show(stage, stage_failed("j-worker-0", "a", 1, 0, 143, "Error"));
    assert_true(pods_idle(stage->pods)); /* its kubelet lives, and puts it away */
    stage_close(stage);
}

static void what_has_ended_is_deleted_before_the_end(void **state)
{
    struct stage *stage = running();
    struct pods_action delete;

    (void)state;
    stage_show(stage, stage_failed("j-worker-0", "a", 1, 0, 1, "Error"));
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_STOP, .policy = PODS_CLEAN_ALL});
    assert_false(pods_idle(stage->pods));
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_UNSURE, "a");
    assert_false(pods_idle(stage->pods));
    stage_wait(stage, RK_S);
    delete = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &delete, PODS_OK, "a");
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

static void an_object_that_no_watch_shows_is_asked_after(void **state)
{
    struct stage *stage = running();
    struct pods_action request;

    (void)state;
    stage_node(stage, "n1", PODS_NODE_READY); /* nothing is forced where nodes are well */
    stage_want(stage, 2, 1);
    request = *stage_did(stage, PODS_DO_CREATE);
    stage_kill(stage, 2);
    stage_answer(stage, &request, PODS_OK, "b");
    request = *stage_did(stage, PODS_DO_DELETE);
    stage_answer(stage, &request, PODS_OK, "b"); /* it went between two lists */
    stage_wait(stage, 6 * RK_S);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    stage_wait(stage, 60 * RK_S);
    request = *stage_did(stage, PODS_DO_DELETE);
    assert_int_equal(request.grace_s, -1);
    stage_answer(stage, &request, PODS_ABSENT, "b");
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

static void a_request_that_may_have_been_done_is_waited_for(void **state)
{
    struct stage *stage = running();
    struct pods_action create;
    struct pods_action delete;

    (void)state;
    stage_want(stage, 2, 1);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_UNSURE, "");
    stage_wait(stage, RK_S);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_kill(stage, 2);
    stage_answer(stage, &create, PODS_QUOTA, ""); /* the first may still land */
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    assert_false(pods_idle(stage->pods));
    stage_show(stage, stage_pod("j-worker-1", "b", 2, 1));
    delete = *stage_did(stage, PODS_DO_DELETE);
    assert_string_equal(delete.uid, "b");
    stage_answer(stage, &delete, PODS_OK, "b");
    stage_want(stage, 3, 2);
    stage_wait(stage, 30 * RK_S);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_kill(stage, 3);
    stage_answer(stage, &create, PODS_UNSURE, "");
    stage_gone(stage, "j-worker-1", "b");
    stage_wait(stage, 59 * RK_S);
    assert_false(pods_idle(stage->pods));
    stage_wait(stage, RK_S);
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

static void a_duplicate_that_may_come_yet_is_waited_for(void **state)
{
    struct stage *stage = running();
    struct pods_action create;

    (void)state;
    stage_want(stage, 2, 1);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_show(stage, stage_runs("j-worker-1-1", "b", 2, 1)); /* of the process before */
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->uid, "b");
    stage_wait(stage, 61 * RK_S);
    stage_answer(stage, &create, PODS_UNSURE, "");
    assert_false(pods_idle(stage->pods));
    stage_wait(stage, 61 * RK_S);
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

/* ---- pending -----------------------------------------------------------------------------------
 */

static void pending_pods_are_reported_ever_less_often(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_pod("j-worker-1", "b", 2, 1);
    uint32_t reports = 0;

    (void)state;
    pod.wait_reason = "Unschedulable";
    pod.wait_message = "0/3 nodes are available";
    stage_want(stage, 2, 1);
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_EVENT);
    stage_wait(stage, 30 * RK_S);
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->reason, "WorkerPending");
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->text,
                        "pod j-worker-1 has been pending for 30 s (Unschedulable): 0/3 nodes are "
                        "available; the job goes on without");
    for (uint32_t second = 0; second < 3600; second++) {
        stage_wait(stage, RK_S);
        reports += stage_count(stage, PODS_DO_EVENT);
        stage_did_not(stage, PODS_DO_FAILED);
    }
    assert_in_range(reports, 6, 9);
    assert_int_equal(stage_state(stage, 2), PODS_PENDING);
    stage_close(stage);
}

static void what_can_never_run_is_given_up(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_pod("j-worker-1", "b", 2, 1);

    (void)state;
    pod.wait_reason = "InvalidImageName";
    stage_want(stage, 2, 1);
    stage_show(stage, pod);
    assert_false(stage_did(stage, PODS_DO_FAILED)->final);
    assert_string_equal(stage_did(stage, PODS_DO_FAILED)->text,
                        "pod j-worker-1 can never run as it is (InvalidImageName)");
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "b");
    pod = stage_pod("j-worker-2", "c", 3, 2);
    pod.wait_reason = "CreateContainerConfigError";
    pod.wait_message = "secret \"s\" not found";
    stage_want(stage, 3, 2);
    stage_show(stage, pod);
    stage_wait(stage, 20 * RK_S);
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_FAILED);
    stage_wait(stage, 10 * RK_S);
    assert_non_null(strstr(stage_did(stage, PODS_DO_FAILED)->text, "secret \"s\" not found"));
    stage_close(stage);
}

static void a_pod_that_is_deleted_before_it_ran_is_gone_at_once(void **state)
{
    struct stage *stage = running();
    struct pod_seen pod = stage_pod("j-worker-1", "b", 2, 1);

    (void)state;
    stage_want(stage, 2, 1);
    stage_show(stage, pod);
    pod.deleting = true;
    stage_show(stage, pod);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    stage_did_not(stage, PODS_DO_DELETE);
    stage_close(stage);
}

/* ---- what is kept ------------------------------------------------------------------------------
 */

static void the_newest_ten_are_kept_in_any_order(void **state)
{
    static struct stage stage;
    struct pods_config config = stage_config(40);
    static char names[20][PODS_NAME];
    uint32_t deleted = 0;

    (void)state;
    stage_open(&stage, &config);
    stage_kind(&stage, PODS_EV_LIST_BEGIN);
    for (uint32_t i = 0; i < 20; i++) {
        uint32_t place = i * 7 % 20;
        struct pod_seen pod;

        pods_name_write("j", place, 0, names[place]);
        pod = stage_failed(names[place], names[place], 1 + place, place, 1, "Error");
        pod.ended_s = 100 + place;
        if (place == 19) {
            pod.phase = SEEN_SUCCEEDED; /* as planned: goes first */
            pod.exit_code = 0;
        }
        stage_show(&stage, pod);
        deleted += stage_count(&stage, PODS_DO_DELETE);
        if (stage_count(&stage, PODS_DO_DELETE))
            assert_true(stage_did(&stage, PODS_DO_DELETE)->place < 9 ||
                        stage_did(&stage, PODS_DO_DELETE)->place == 19);
    }
    assert_int_equal(deleted, 10);
    assert_int_equal(pods_count(stage.pods, PODS_KEPT), 10);
    stage_close(&stage);
}

static void many_losses_are_a_few_events_and_a_number(void **state)
{
    struct stage *stage = running();
    uint32_t events = 0;
    char name[PODS_NAME];

    (void)state;
    for (uint32_t place = 1; place < 40; place++) {
        pods_name_write("j", place, 0, name);
        stage_want(stage, 1 + place, place);
        stage_show(stage, stage_failed(name, name, 1 + place, place, 1, "Error"));
        stage_did(stage, PODS_DO_GONE);
        events += stage_count(stage, PODS_DO_EVENT);
    }
    assert_int_equal(events, 10);
    stage_wait(stage, 60 * RK_S);
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->text, "29 more worker pods were lost");
    stage_close(stage);
}

/* ---- the end, and pauses -----------------------------------------------------------------------
 */

static void stop_cleans_as_the_policy_says(void **state)
{
    static const uint32_t deletes[] = {
        [PODS_CLEAN_NONE] = 0, [PODS_CLEAN_RUNNING] = 1, [PODS_CLEAN_ALL] = 2};

    (void)state;
    for (int policy = PODS_CLEAN_NONE; policy <= PODS_CLEAN_ALL; policy++) {
        struct stage *stage = running();

        stage_want(stage, 2, 1);
        stage_show(stage, stage_failed("j-worker-1", "b", 2, 1, 1, "Error"));
        stage_want(stage, 3, 2);
        stage_answer(stage, stage_did(stage, PODS_DO_CREATE), PODS_QUOTA, "");
        stage_feed(stage,
                   (struct pods_event){.kind = PODS_EV_STOP, .policy = (enum pods_policy)policy});
        assert_int_equal(stage_count(stage, PODS_DO_DELETE), deletes[policy]);
        assert_int_equal(stage_state(stage, 3), PODS_FREE);
        stage_wait(stage, 60 * RK_S);
        stage_did_not(stage, PODS_DO_CREATE);
        stage_show(stage, stage_runs("j-worker-3", "late", 4, 3)); /* of a process before */
        assert_int_equal(stage_count(stage, PODS_DO_DELETE), 1);
        stage_close(stage);
    }
}

static void a_new_process_is_not_idle_before_it_has_looked(void **state)
{
    static struct stage stage;
    struct pods_config config = stage_config(4);
    struct pod_seen pod = stage_runs("j-worker-0", "a", 1, 0);

    (void)state;
    stage_open(&stage, &config);
    stage_feed(&stage, (struct pods_event){.kind = PODS_EV_STOP, .policy = PODS_CLEAN_RUNNING});
    assert_false(pods_idle(stage.pods));
    stage_list(&stage, &pod, 1);
    assert_false(pods_idle(stage.pods));
    stage_gone(&stage, "j-worker-0", "a");
    stage_answer(&stage, &(struct pods_action){.kind = PODS_DO_DELETE}, PODS_OK, "a");
    assert_true(pods_idle(stage.pods));
    stage_close(&stage);
}

static void suspend_ends_what_lives_and_resume_starts_what_waits(void **state)
{
    struct stage *stage = running();

    (void)state;
    stage_kind(stage, PODS_EV_SUSPEND);
    assert_int_equal(stage_did(stage, PODS_DO_DELETE)->grace_s, -1);
    stage_gone(stage, "j-worker-0", "a");
    assert_non_null(strstr(stage_did(stage, PODS_DO_GONE)->text, "suspended"));
    stage_want(stage, 41, 0);
    stage_wait(stage, 60 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    stage_show(stage, stage_runs("j-worker-0-1", "late", 41, 0)); /* of a request long ago */
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "late");
    stage_want(stage, 42, 1);
    stage_kind(stage, PODS_EV_RESUME);
    assert_int_equal(stage_did(stage, PODS_DO_CREATE)->ticket, 42);
    stage_close(stage);
}

static void actions_beyond_the_room_follow_at_once(void **state)
{
    static struct stage stage;
    struct pods_config config = stage_config(200);
    char name[PODS_NAME];
    uint32_t dials = 0;

    (void)state;
    stage_open(&stage, &config);
    for (uint32_t place = 0; place < 200; place++) {
        pods_name_write("j", place, 0, name);
        stage_show(&stage, stage_runs(name, name, 1 + place, place));
    }
    stage_kind(&stage, PODS_EV_COORDINATOR);
    dials += stage_count(&stage, PODS_DO_DIAL);
    assert_in_range(dials, 30, 64);
    while (pods_deadline(stage.pods) <= stage.now) {
        stage_wait(&stage, 0);
        dials += stage_count(&stage, PODS_DO_DIAL);
    }
    assert_int_equal(dials, 200);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sentence_names_pod_node_and_cause),
        cmocka_unit_test(a_container_that_was_started_again_is_another_worker),
        cmocka_unit_test(a_deletion_is_notice_then_an_end),
        cmocka_unit_test(an_end_that_nobody_confirms_is_told_in_time),
        cmocka_unit_test(a_lost_node_ends_its_pods_unless_they_are_linked),
        cmocka_unit_test(a_pod_that_is_shown_on_a_lost_node_is_lost),
        cmocka_unit_test(a_killed_pod_is_told_of_when_it_is_dead),
        cmocka_unit_test(an_end_before_the_kill_is_told),
        cmocka_unit_test(a_kill_during_a_create_waits_for_its_answer),
        cmocka_unit_test(a_delete_that_fails_is_tried_again),
        cmocka_unit_test(a_back_off_is_not_cut_short_by_the_watch),
        cmocka_unit_test(what_has_ended_and_was_deleted_holds_nobody_up),
        cmocka_unit_test(what_has_ended_is_deleted_before_the_end),
        cmocka_unit_test(an_object_that_no_watch_shows_is_asked_after),
        cmocka_unit_test(a_request_that_may_have_been_done_is_waited_for),
        cmocka_unit_test(a_duplicate_that_may_come_yet_is_waited_for),
        cmocka_unit_test(pending_pods_are_reported_ever_less_often),
        cmocka_unit_test(what_can_never_run_is_given_up),
        cmocka_unit_test(a_pod_that_is_deleted_before_it_ran_is_gone_at_once),
        cmocka_unit_test(the_newest_ten_are_kept_in_any_order),
        cmocka_unit_test(many_losses_are_a_few_events_and_a_number),
        cmocka_unit_test(stop_cleans_as_the_policy_says),
        cmocka_unit_test(a_new_process_is_not_idle_before_it_has_looked),
        cmocka_unit_test(suspend_ends_what_lives_and_resume_starts_what_waits),
        cmocka_unit_test(actions_beyond_the_room_follow_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
