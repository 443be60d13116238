/* A pod as the API server last showed it, as far as the reconciler looks: flat, borrowed, pure.
 *
 * Ownership: strings belong to whoever filled it (pod_json.h: the JSON object) and are never NULL;
 *            "" where the object does not say. */
#ifndef RK_K8S_RECONCILE_SEEN_H
#define RK_K8S_RECONCILE_SEEN_H

#include <stdbool.h>
#include <stdint.h>

#define SEEN_NO_PLACE UINT32_MAX

enum seen_phase { SEEN_PENDING, SEEN_RUNNING, SEEN_SUCCEEDED, SEEN_FAILED, SEEN_UNKNOWN };

struct pod_seen {
    const char *name, *uid;
    const char *owner;      /* uid of its controller, else of its first owner: a Job
                               is not its workers' controller, or would take them for its own */
    const char *node;       /* it is bound to */
    const char *address;    /* status.podIP */
    const char *avoids;     /* annotation: nodes that it must not be bound to, spaces between */
    uint32_t ticket, place; /* annotations; 0 and SEEN_NO_PLACE where they are not numbers */
    enum seen_phase phase;
    const char *reason, *message; /* of the status: Evicted, Preempting, NodeLost, ... */
    bool deleting;                /* it has a deletionTimestamp */
    int64_t deleting_s;           /* that: when its grace is over; seconds since 1970 */
    uint32_t grace_s;             /* that it has, or would have, to end */
    bool disrupted;               /* condition DisruptionTarget */
    const char *disruption, *disruption_message;
    bool ready;                /* condition Ready */
    bool running;              /* the main container runs */
    bool ended;                /* it has run and ended, in this life or in one before a restart */
    bool restarted;            /* the kubelet started it again */
    int32_t exit_code, signal; /* of that end */
    const char *end_reason, *end_message;   /* OOMKilled, Error, ContainerCannotRun, ... */
    const char *wait_reason, *wait_message; /* Unschedulable, ImagePullBackOff, ... */
    int64_t ended_s; /* when it ended, else when it was created; seconds since 1970 */
};

#endif
