/* One reconciler for a test: events in by short calls, the actions of the last one looked at. */
#ifndef RK_TESTS_RECONCILE_STAGE_H
#define RK_TESTS_RECONCILE_STAGE_H

#include "common/clock.h"
#include "k8s/reconcile/pods.h"

struct stage {
    struct pods *pods;
    struct pods_actions actions; /* of the last event */
    uint64_t now;
};

struct pods_config stage_config(uint32_t places);
void stage_open(struct stage *stage, const struct pods_config *config);
void stage_close(struct stage *stage);

/* Feeds it at the stage's time and checks all invariants. */
void stage_feed(struct stage *stage, struct pods_event event);
void stage_kind(struct stage *stage, enum pods_event_kind kind);
void stage_wait(struct stage *stage, uint64_t ns); /* and a TICK */
void stage_want(struct stage *stage, uint32_t ticket, uint32_t place);
void stage_kill(struct stage *stage, uint32_t ticket);
void stage_link(struct stage *stage, uint32_t ticket, bool up);
void stage_node(struct stage *stage, const char *name, enum pods_node state);
void stage_gone(struct stage *stage, const char *name, const char *uid);
void stage_list(struct stage *stage, const struct pod_seen *pods, size_t count);

/* A pod of the job "j" that is pending and bound to no node. */
struct pod_seen stage_pod(const char *name, const char *uid, uint32_t ticket, uint32_t place);
/* That runs on node n1. */
struct pod_seen stage_runs(const char *name, const char *uid, uint32_t ticket, uint32_t place);
/* That has failed there. */
struct pod_seen stage_failed(const char *name, const char *uid, uint32_t ticket, uint32_t place,
                             int32_t code, const char *reason);
void stage_show(struct stage *stage, struct pod_seen pod);

/* The first action of that kind; fails the test when there is none, or, the other way, when there
 * is one. */
const struct pods_action *stage_did(const struct stage *stage, enum pods_action_kind kind);
void stage_did_not(const struct stage *stage, enum pods_action_kind kind);
uint32_t stage_count(const struct stage *stage, enum pods_action_kind kind);
/* Answers a request; `action` may be of the last event. */
void stage_answer(struct stage *stage, const struct pods_action *action, enum pods_outcome outcome,
                  const char *uid);
/* From an empty stage to a pod that runs: asked for, created, shown. */
void stage_up(struct stage *stage, uint32_t ticket, uint32_t place, const char *name,
              const char *uid);
enum pods_state stage_state(const struct stage *stage, uint32_t ticket);

#endif
