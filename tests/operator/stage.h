/* Objects as a test needs them, and one plan to be looked at. */
#ifndef RK_TESTS_OPERATOR_STAGE_H
#define RK_TESTS_OPERATOR_STAGE_H

#include "common/clock.h"
#include "k8s/operator/plan.h"

#define STAGE_WALL (UINT64_C(1800000000) * RK_S)

struct stage {
    struct plan_options options;
    struct plan_seen seen; /* objects are owned by the stage */
    struct plan plan;      /* of the last stage_look */
};

void stage_open(struct stage *stage, uint32_t workers);
void stage_close(struct stage *stage);

/* Makes the plan. */
void stage_look(struct stage *stage);
/* Does what the plan says: creates, patches and the status are seen the next time; pods and what is
 * deleted go.  Then makes the next plan. */
void stage_do(struct stage *stage);
/* Until a plan has no calls. */
void stage_settle(struct stage *stage);

/* The first call of that kind on that plural, NULL: none. */
const struct plan_call *stage_call(const struct stage *stage, enum plan_kind kind,
                                   const char *plural);
size_t stage_count(const struct stage *stage, enum plan_kind kind, const char *plural);

/* A pod of the job that is seen; `place` negative: of the coordinator. */
json_t *stage_pod(struct stage *stage, const char *name, int place, const char *phase);
/* The status of a condition as it is seen, "" without. */
const char *stage_condition(const struct stage *stage, const char *type, const char *key);
/* Sets what is at a path of keys with dots between, e.g. "spec.suspend"; `value` is taken. */
void stage_set(const json_t *object, const char *path, json_t *value);
const json_t *stage_get(const json_t *object, const char *path);

/* The JSON merge patch, for servers of tests. */
void stage_merge(json_t *object, const json_t *patch);
json_t *stage_mpijob(const char *name, uint32_t workers);

#endif
