/* From a wanted ticket to a pod that runs: names, answers of creates, adoption, restarts. */
#include "tests/reconcile/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- names -------------------------------------------------------------------------------------
 */

static void names_are_read_back(void **state)
{
    static const char *const bad[] = {"j-worker-",     "j-worker-01",    "j-worker-1-0",
                                      "j-worker-1-",   "j-worker-1-2-3", "k-worker-1",
                                      "j-worker-1-02", "j-worker-+1",    "j-worker-1234567890"};
    char name[PODS_NAME];
    uint32_t place;
    uint32_t n;

    (void)state;
    pods_name_write("j", 3, 0, name);
    assert_string_equal(name, "j-worker-3");
    assert_true(pods_name_parse("j", name, &place, &n));
    assert_int_equal(place, 3);
    assert_int_equal(n, 0);
    pods_name_write("a-worker-1", 0, 12, name);
    assert_string_equal(name, "a-worker-1-worker-0-12");
    assert_true(pods_name_parse("a-worker-1", name, &place, &n));
    assert_int_equal(place, 0);
    assert_int_equal(n, 12);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(pods_name_parse("j", bad[i], &place, &n));
}

static void impossible_configs_are_refused(void **state)
{
    struct pods_config config = stage_config(4);
    struct pods *pods = NULL;
    struct rk_why why = {""};

    (void)state;
    config.places = 0;
    assert_int_equal(pods_new(&config, &pods, &why), RK_EINVAL);
    assert_non_null(strstr(why.text, "0 places"));
    config = stage_config(4);
    config.job = "";
    assert_int_equal(pods_new(&config, &pods, &why), RK_EINVAL);
    config = stage_config(4);
    config.force = 0;
    assert_int_equal(pods_new(&config, &pods, &why), RK_EINVAL);
    config = stage_config(4);
    config.owner = "0123456789012345678901234567890123456789";
    assert_int_equal(pods_new(&config, &pods, NULL), RK_EINVAL);
    assert_null(pods);
    pods_free(NULL);
}

/* ---- creates -----------------------------------------------------------------------------------
 */

static struct stage *opened(void)
{
    static struct stage stage;
    struct pods_config config = stage_config(4);

    stage_open(&stage, &config);
    return &stage;
}

static struct stage *synced(void)
{
    struct stage *stage = opened();

    stage_list(stage, NULL, 0);
    stage_kind(stage, PODS_EV_TOLD);
    return stage;
}

static void nothing_is_created_before_the_first_list(void **state)
{
    struct stage *stage = opened();

    (void)state;
    stage_want(stage, 1, 0);
    stage_did_not(stage, PODS_DO_CREATE);
    assert_true(pods_deadline(stage->pods) == PODS_NONE);
    stage_list(stage, NULL, 0);
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0");
    stage_close(stage);
}

static void a_pod_that_runs_is_dialled_once(void **state)
{
    struct stage *stage = synced();
    struct pod_seen pod = stage_runs("j-worker-2", "u", 3, 2);

    (void)state;
    stage_up(stage, 3, 2, "j-worker-2", "u");
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->uid, "u");
    assert_int_equal(pods_ready(stage->pods), 1);
    stage_show(stage, pod);
    stage_did_not(stage, PODS_DO_DIAL);
    pod.address = "10.0.0.2";
    pod.ready = false;
    stage_show(stage, pod);
    assert_int_equal(stage_did(stage, PODS_DO_HANG_UP)->ticket, 3);
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->address, "10.0.0.2");
    assert_int_equal(pods_ready(stage->pods), 0);
    stage_close(stage);
}

static void a_name_of_another_gives_the_next_one(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;
    struct pods_event event = {.kind = PODS_EV_CREATED};

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    event.result = (struct pods_result){.request = create.request,
                                        .ticket = 1,
                                        .outcome = PODS_EXISTS,
                                        .uid = "x",
                                        .owner = "another job",
                                        .holder = 1,
                                        .message = ""};
    stage_feed(stage, event);
    create = *stage_did(stage, PODS_DO_CREATE);
    assert_string_equal(create.name, "j-worker-0-1");
    event.result.request = create.request;
    event.result.n = 1;
    event.result.owner = "owner";
    event.result.holder = 77; /* ours, of another ticket */
    stage_feed(stage, event);
    create = *stage_did(stage, PODS_DO_CREATE);
    assert_string_equal(create.name, "j-worker-0-2");
    stage_answer(stage, &create, PODS_EXISTS, "mine");
    stage_did_not(stage, PODS_DO_CREATE);
    assert_int_equal(stage_state(stage, 1), PODS_AWAITED);
    stage_close(stage);
}

static void a_lost_answer_asks_for_the_same_name(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_UNSURE, "");
    stage_did_not(stage, PODS_DO_CREATE);
    stage_wait(stage, 30 * RK_S);
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0");
    stage_close(stage);
}

/* Its first create may still be done when the pod of the second has gone. */
static void what_a_lost_create_makes_late_is_deleted(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_UNSURE, "");
    stage_wait(stage, RK_S);
    create = *stage_did(stage, PODS_DO_CREATE);
    assert_string_equal(create.name, "j-worker-0");
    stage_answer(stage, &create, PODS_OK, "a");
    stage_show(stage, stage_runs("j-worker-0", "a", 1, 0));
    stage_gone(stage, "j-worker-0", "a");
    stage_did(stage, PODS_DO_GONE);
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_STOP, .policy = PODS_CLEAN_ALL});
    assert_false(pods_idle(stage->pods));
    stage_show(stage, stage_pod("j-worker-0", "b", 1, 0));
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "b");
    stage_answer(stage, stage_did(stage, PODS_DO_DELETE), PODS_OK, "b");
    stage_gone(stage, "j-worker-0", "b");
    stage_wait(stage, 60 * RK_S);
    stage_did_not(stage, PODS_DO_GONE);
    assert_true(pods_idle(stage->pods));
    stage_close(stage);
}

static void a_created_pod_that_is_not_shown_is_asked_for_again(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_OK, "u");
    stage_wait(stage, 29 * RK_S);
    stage_did_not(stage, PODS_DO_CREATE);
    stage_wait(stage, RK_S);
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0");
    stage_close(stage);
}

static void a_refusal_for_good_names_the_verb(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_FORBIDDEN, "");
    assert_true(stage_did(stage, PODS_DO_FAILED)->final);
    assert_non_null(strstr(stage_did(stage, PODS_DO_FAILED)->text, "verb create on pods"));
    assert_non_null(strstr(stage_did(stage, PODS_DO_FAILED)->text, "namespace ns"));
    assert_int_equal(stage_state(stage, 1), PODS_FREE);
    stage_want(stage, 5, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_INVALID, "");
    assert_true(stage_did(stage, PODS_DO_FAILED)->final);
    assert_non_null(strstr(stage_did(stage, PODS_DO_FAILED)->text, "in the server's words"));
    stage_close(stage);
}

static void a_quota_costs_one_request_for_each_wait(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;
    uint32_t requests = 0;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_QUOTA, "");
    assert_string_equal(stage_did(stage, PODS_DO_EVENT)->reason, "WorkerNotCreated");
    stage_want(stage, 2, 1);
    stage_want(stage, 3, 2);
    for (uint32_t second = 0; second < 600; second++) {
        stage_wait(stage, RK_S);
        if (stage_count(stage, PODS_DO_CREATE) == 0)
            continue;
        assert_int_equal(stage_count(stage, PODS_DO_CREATE), 1);
        create = *stage_did(stage, PODS_DO_CREATE);
        stage_answer(stage, &create, PODS_QUOTA, "");
        requests++;
    }
    assert_in_range(requests, 18, 48);
    stage_wait(stage, 30 * RK_S);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_answer(stage, &create, PODS_OK, "u");
    assert_int_equal(stage_count(stage, PODS_DO_CREATE), 2);
    stage_close(stage);
}

static void refusals_of_one_moment_count_as_one(void **state)
{
    struct stage *stage = synced();
    struct pods_action create[4];

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        stage_want(stage, 1 + i, i);
        create[i] = *stage_did(stage, PODS_DO_CREATE);
    }
    for (uint32_t i = 0; i < 4; i++)
        stage_answer(stage, &create[i], PODS_QUOTA, "");
    assert_true(pods_deadline(stage->pods) <= stage->now + RK_S / 2);
    assert_true(pods_deadline(stage->pods) >= stage->now + RK_S / 4);
    stage_close(stage);
}

static void a_thousand_pods_are_no_storm(void **state)
{
    static struct stage stage;
    struct pods_config config = stage_config(1000);

    (void)state;
    stage_open(&stage, &config);
    for (uint32_t i = 0; i < 1000; i++)
        stage_want(&stage, 1 + i, i);
    stage_list(&stage, NULL, 0);
    assert_int_equal(stage_count(&stage, PODS_DO_CREATE), 32);
    stage_wait(&stage, RK_S);
    stage_did_not(&stage, PODS_DO_CREATE);
    assert_true(pods_deadline(stage.pods) == PODS_NONE);
    stage_close(&stage);
}

/* ---- restarts ----------------------------------------------------------------------------------
 */

static void a_new_process_adopts_what_is_there(void **state)
{
    struct stage *stage = opened();
    struct pod_seen pods[] = {stage_runs("j-worker-0-4", "a", 9, 0),
                              stage_pod("j-worker-1", "b", 2, 1),
                              stage_runs("j-worker-2", "c", 3, 2)};

    (void)state;
    stage_want(stage, 9, 0);
    stage_list(stage, pods, 3);
    stage_did_not(stage, PODS_DO_CREATE);
    assert_int_equal(stage_state(stage, 9), PODS_RUNNING);
    stage_want(stage, 2, 1);
    stage_kind(stage, PODS_EV_TOLD); /* 3 is not wanted */
    assert_int_equal(stage_count(stage, PODS_DO_DELETE), 1);
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "c");
    assert_int_equal(stage_did(stage, PODS_DO_DELETE)->grace_s, -1);
    stage_want(stage, 13, 0); /* a name above all that was seen */
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0-5");
    stage_close(stage);
}

static void a_new_coordinator_is_told_again(void **state)
{
    struct stage *stage = synced();

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    stage_up(stage, 2, 1, "j-worker-1", "b");
    stage_link(stage, 1, true);
    stage_kind(stage, PODS_EV_COORDINATOR);
    assert_int_equal(stage_count(stage, PODS_DO_DIAL), 2);
    stage_link(stage, 1, true); /* as good as wanted */
    stage_kind(stage, PODS_EV_TOLD);
    assert_int_equal(stage_count(stage, PODS_DO_DELETE), 1);
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "b");
    stage_close(stage);
}

static void an_end_is_told_to_the_coordinator_that_asks(void **state)
{
    struct stage *stage = opened();
    struct pod_seen pod = stage_failed("j-worker-0", "a", 1, 0, 3, "Error");

    (void)state;
    stage_list(stage, &pod, 1);
    stage_did_not(stage, PODS_DO_GONE); /* it may be of long ago */
    stage_want(stage, 1, 0);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->exit_code, 3);
    stage_kind(stage, PODS_EV_TOLD);
    stage_did_not(stage, PODS_DO_GONE);
    stage_close(stage);
}

static void of_two_pods_for_a_ticket_the_furthest_stays(void **state)
{
    struct stage *stage = opened();
    struct pod_seen pods[] = {stage_pod("j-worker-0", "a", 1, 0),
                              stage_runs("j-worker-0-1", "b", 1, 0),
                              stage_runs("j-worker-0-2", "c", 1, 0)};
    struct pods_view view;

    (void)state;
    stage_want(stage, 1, 0);
    stage_kind(stage, PODS_EV_LIST_BEGIN);
    stage_show(stage, pods[0]);
    stage_show(stage, pods[1]);
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "a");
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->uid, "b");
    stage_show(stage, pods[2]);
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "c");
    stage_kind(stage, PODS_EV_LIST_END);
    assert_true(pods_find(stage->pods, 1, &view));
    assert_string_equal(view.uid, "b");
    stage_close(stage);
}

static void pods_of_others_are_left_alone(void **state)
{
    struct stage *stage = synced();
    struct pod_seen pod = stage_runs("j-worker-0-6", "x", 1, 0);

    (void)state;
    pod.owner = "another job";
    stage_show(stage, pod);
    assert_int_equal(stage->actions.count, 0);
    pod.owner = "owner";
    pod.ticket = 0;
    stage_show(stage, pod);
    assert_int_equal(stage->actions.count, 0);
    pod.ticket = 1;
    pod.place = 3;
    stage_show(stage, pod);
    assert_int_equal(stage->actions.count, 0);
    pod.name = "j-launcher";
    stage_show(stage, pod);
    assert_int_equal(stage->actions.count, 0);
    stage_want(stage, 1, 0);
    assert_string_equal(stage_did(stage, PODS_DO_CREATE)->name, "j-worker-0-7");
    stage_close(stage);
}

static void a_name_that_was_freed_meanwhile_is_ours(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;
    struct pods_view view;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_show(stage, stage_runs("j-worker-0", "old", 9, 0)); /* nobody wants 9 */
    assert_string_equal(stage_did(stage, PODS_DO_DELETE)->uid, "old");
    stage_answer(stage, &create, PODS_OK, "new"); /* so it is gone; the watch is late */
    assert_true(pods_find(stage->pods, 1, &view));
    assert_int_equal(view.state, PODS_AWAITED);
    assert_int_equal(view.n, 0);
    stage_gone(stage, "j-worker-0", "old");
    stage_show(stage, stage_runs("j-worker-0", "new", 1, 0));
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->uid, "new");
    stage_close(stage);
}

static void a_pod_that_was_shown_before_its_answer_is_one(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_want(stage, 1, 0);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_show(stage, stage_runs("j-worker-0", "old", 9, 0));
    stage_gone(stage, "j-worker-0", "old");
    stage_show(stage, stage_runs("j-worker-0", "new", 1, 0));
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->uid, "new");
    stage_answer(stage, &create, PODS_OK, "new");
    assert_int_equal(stage_state(stage, 1), PODS_RUNNING);
    assert_int_equal(pods_count(stage->pods, PODS_RUNNING), 1);
    stage_did_not(stage, PODS_DO_DELETE);
    stage_did_not(stage, PODS_DO_GONE);
    stage_want(stage, 2, 1);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_show(stage, stage_runs("j-worker-1", "older", 10, 1));
    stage_gone(stage, "j-worker-1", "older");
    stage_show(stage, stage_failed("j-worker-1", "short", 2, 1, 1, "Error"));
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    stage_answer(stage, &create, PODS_OK, "short");
    assert_int_equal(stage_state(stage, 2), PODS_KEPT);
    stage_close(stage);
}

static void a_list_takes_away_what_it_does_not_show(void **state)
{
    struct stage *stage = synced();
    struct pods_action create;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    stage_want(stage, 2, 1);
    create = *stage_did(stage, PODS_DO_CREATE);
    stage_kind(stage, PODS_EV_LIST_BEGIN);
    stage_answer(stage, &create, PODS_OK, "b"); /* too late to be in the list */
    stage_kind(stage, PODS_EV_LIST_END);
    assert_int_equal(stage_count(stage, PODS_DO_GONE), 1);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 1);
    assert_non_null(strstr(stage_did(stage, PODS_DO_GONE)->text, "on node n1 was deleted"));
    assert_int_equal(stage_state(stage, 2), PODS_AWAITED);
    stage_list(stage, NULL, 0);
    assert_int_equal(stage_did(stage, PODS_DO_GONE)->ticket, 2);
    stage_close(stage);
}

static void wants_beyond_the_room_are_answered(void **state)
{
    static struct stage stage;
    struct pods_config config = stage_config(1);
    uint32_t failed = 0;

    (void)state;
    stage_open(&stage, &config);
    for (uint32_t ticket = 1; ticket <= 300; ticket++) {
        stage_want(&stage, ticket, 0);
        if (stage.actions.count == 0)
            continue;
        assert_false(stage_did(&stage, PODS_DO_FAILED)->final);
        assert_int_equal(stage_did(&stage, PODS_DO_FAILED)->ticket, ticket);
        failed++;
    }
    assert_int_equal(failed + pods_count(stage.pods, PODS_WAITING), 300);
    assert_true(failed > 0);
    stage_want(&stage, 1000, 1); /* no such place */
    assert_int_equal(pods_refused(stage.pods), 1);
    stage_close(&stage);
}

static void more_pods_than_room_are_listed_again(void **state)
{
    static struct stage stage;
    static char names[400][PODS_NAME];
    struct pods_config config = stage_config(1);

    (void)state;
    stage_open(&stage, &config);
    stage_kind(&stage, PODS_EV_LIST_BEGIN);
    for (uint32_t i = 0; i < 400; i++) {
        pods_name_write("j", 0, i, names[i]);
        stage_show(&stage, stage_runs(names[i], names[i], 1 + i, 0));
        stage_did_not(&stage, PODS_DO_RELIST);
    }
    stage_kind(&stage, PODS_EV_LIST_END);
    stage_did_not(&stage, PODS_DO_RELIST);
    stage_list(&stage, NULL, 0); /* and all are gone */
    assert_int_equal(stage_count(&stage, PODS_DO_RELIST), 1);
    stage_close(&stage);
}

static void the_table_is_a_page(void **state)
{
    static char page[16384];
    size_t size = pods_rules_print(page, sizeof page);

    (void)state;
    assert_in_range(size, 100, sizeof page - 1);
    assert_int_equal(strlen(page), size);
    assert_non_null(strstr(page, "  waiting  ask         -> asked\n"));
    assert_int_equal(pods_rules_print(NULL, 0), size);
    for (int s = 0; s < PODS_STATES; s++)
        assert_string_not_equal(pods_state_name((enum pods_state)s), "unknown");
    for (int k = 0; k < PODS_DO_COUNT_; k++)
        assert_string_not_equal(pods_action_name((enum pods_action_kind)k), "unknown");
    for (int k = 0; k < PODS_EV_COUNT_; k++)
        assert_string_not_equal(pods_event_name((enum pods_event_kind)k), "unknown");
}

static void all_entries_can_be_walked(void **state)
{
    struct stage *stage = synced();
    struct pods_view view;
    uint32_t cursor = 0;
    uint32_t count = 0;

    (void)state;
    stage_up(stage, 1, 0, "j-worker-0", "a");
    stage_want(stage, 2, 1);
    while (pods_next(stage->pods, &cursor, &view))
        count += view.ticket;
    assert_int_equal(count, 3);
    assert_int_equal(pods_count(stage->pods, PODS_RUNNING), 1);
    assert_false(pods_find(stage->pods, 3, &view));
    stage_close(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test(impossible_configs_are_refused),
        cmocka_unit_test(nothing_is_created_before_the_first_list),
        cmocka_unit_test(a_pod_that_runs_is_dialled_once),
        cmocka_unit_test(a_name_of_another_gives_the_next_one),
        cmocka_unit_test(a_lost_answer_asks_for_the_same_name),
        cmocka_unit_test(what_a_lost_create_makes_late_is_deleted),
        cmocka_unit_test(a_created_pod_that_is_not_shown_is_asked_for_again),
        cmocka_unit_test(a_refusal_for_good_names_the_verb),
        cmocka_unit_test(a_quota_costs_one_request_for_each_wait),
        cmocka_unit_test(refusals_of_one_moment_count_as_one),
        cmocka_unit_test(a_thousand_pods_are_no_storm),
        cmocka_unit_test(a_new_process_adopts_what_is_there),
        cmocka_unit_test(a_new_coordinator_is_told_again),
        cmocka_unit_test(an_end_is_told_to_the_coordinator_that_asks),
        cmocka_unit_test(of_two_pods_for_a_ticket_the_furthest_stays),
        cmocka_unit_test(pods_of_others_are_left_alone),
        cmocka_unit_test(a_name_that_was_freed_meanwhile_is_ours),
        cmocka_unit_test(a_pod_that_was_shown_before_its_answer_is_one),
        cmocka_unit_test(a_list_takes_away_what_it_does_not_show),
        cmocka_unit_test(wants_beyond_the_room_are_answered),
        cmocka_unit_test(more_pods_than_room_are_listed_again),
        cmocka_unit_test(the_table_is_a_page),
        cmocka_unit_test(all_entries_can_be_walked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
