/* See stage.h. */
#include "tests/reconcile/stage.h"

#include "k8s/reconcile/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct pods_config stage_config(uint32_t places)
{
    struct pods_config config = pods_config_default();

    config.job = "j";
    config.namespace = "ns";
    config.owner = "owner";
    config.places = places;
    config.seed = 7;
    return config;
}

void stage_open(struct stage *stage, const struct pods_config *config)
{
    struct rk_why why = {""};

    *stage = (struct stage){.now = 1000 * RK_S};
    assert_int_equal(pods_new(config, &stage->pods, &why), 0);
    stage_kind(stage, PODS_EV_COORDINATOR);
}

void stage_close(struct stage *stage)
{
    pods_free(stage->pods);
}

void stage_feed(struct stage *stage, struct pods_event event)
{
    const char *broken;

    event.now = stage->now;
    pods_step(stage->pods, &event, &stage->actions);
    broken = pods_check(stage->pods, UINT32_MAX);
    if (broken != NULL)
        fail_msg("%s", broken);
}

void stage_kind(struct stage *stage, enum pods_event_kind kind)
{
    stage_feed(stage, (struct pods_event){.kind = kind});
}

void stage_wait(struct stage *stage, uint64_t ns)
{
    stage->now += ns;
    stage_kind(stage, PODS_EV_TICK);
}

void stage_want(struct stage *stage, uint32_t ticket, uint32_t place)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_WANT, .ticket = ticket, .place = place});
}

void stage_kill(struct stage *stage, uint32_t ticket)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_KILL, .ticket = ticket});
}

void stage_link(struct stage *stage, uint32_t ticket, bool up)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_LINK, .ticket = ticket, .up = up});
}

void stage_node(struct stage *stage, const char *name, enum pods_node state)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_NODE, .name = name, .node = state});
}

void stage_gone(struct stage *stage, const char *name, const char *uid)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_POD_GONE, .name = name, .uid = uid});
}

void stage_list(struct stage *stage, const struct pod_seen *pods, size_t count)
{
    stage_kind(stage, PODS_EV_LIST_BEGIN);
    for (size_t i = 0; i < count; i++)
        stage_show(stage, pods[i]);
    stage_kind(stage, PODS_EV_LIST_END);
}

struct pod_seen stage_pod(const char *name, const char *uid, uint32_t ticket, uint32_t place)
{
    return (struct pod_seen){.name = name,
                             .uid = uid,
                             .owner = "owner",
                             .node = "",
                             .address = "",
                             .avoids = "",
                             .ticket = ticket,
                             .place = place,
                             .phase = SEEN_PENDING,
                             .reason = "",
                             .message = "",
                             .grace_s = 30,
                             .disruption = "",
                             .disruption_message = "",
                             .end_reason = "",
                             .end_message = "",
                             .wait_reason = "",
                             .wait_message = "",
                             .ended_s = 1};
}

struct pod_seen stage_runs(const char *name, const char *uid, uint32_t ticket, uint32_t place)
{
    struct pod_seen pod = stage_pod(name, uid, ticket, place);

    pod.phase = SEEN_RUNNING;
    pod.node = "n1";
    pod.address = "10.0.0.1";
    pod.running = pod.ready = true;
    return pod;
}

struct pod_seen stage_failed(const char *name, const char *uid, uint32_t ticket, uint32_t place,
                             int32_t code, const char *reason)
{
    struct pod_seen pod = stage_pod(name, uid, ticket, place);

    pod.phase = SEEN_FAILED;
    pod.node = "n1";
    pod.ended = true;
    pod.exit_code = code;
    pod.end_reason = reason;
    return pod;
}

void stage_show(struct stage *stage, struct pod_seen pod)
{
    stage_feed(stage, (struct pods_event){.kind = PODS_EV_POD, .seen = &pod});
}

const struct pods_action *stage_did(const struct stage *stage, enum pods_action_kind kind)
{
    for (uint32_t i = 0; i < stage->actions.count; i++)
        if (stage->actions.action[i].kind == kind)
            return &stage->actions.action[i];
    fail_msg("no action \"%s\"", pods_action_name(kind));
    return NULL;
}

uint32_t stage_count(const struct stage *stage, enum pods_action_kind kind)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < stage->actions.count; i++)
        count += stage->actions.action[i].kind == kind;
    return count;
}

void stage_did_not(const struct stage *stage, enum pods_action_kind kind)
{
    if (stage_count(stage, kind) > 0)
        fail_msg("an action \"%s\" that must not be", pods_action_name(kind));
}

void stage_answer(struct stage *stage, const struct pods_action *action, enum pods_outcome outcome,
                  const char *uid)
{
    struct pods_event event = {.kind = action->kind == PODS_DO_CREATE ? PODS_EV_CREATED
                                                                      : PODS_EV_DELETED,
                               .result = {.request = action->request,
                                          .ticket = action->ticket,
                                          .place = action->place,
                                          .n = action->n,
                                          .outcome = outcome,
                                          .uid = uid,
                                          .owner = "owner",
                                          .holder = action->ticket,
                                          .message = "in the server's words"}};

    stage_feed(stage, event);
}

void stage_up(struct stage *stage, uint32_t ticket, uint32_t place, const char *name,
              const char *uid)
{
    struct pods_action create;

    stage_want(stage, ticket, place);
    create = *stage_did(stage, PODS_DO_CREATE);
    assert_string_equal(create.name, name);
    stage_answer(stage, &create, PODS_OK, uid);
    stage_show(stage, stage_runs(name, uid, ticket, place));
    assert_string_equal(stage_did(stage, PODS_DO_DIAL)->address, "10.0.0.1");
}

enum pods_state stage_state(const struct stage *stage, uint32_t ticket)
{
    struct pods_view view;

    return pods_find(stage->pods, ticket, &view) ? view.state : PODS_FREE;
}
