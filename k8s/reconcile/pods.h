/* The pods of a job: what the coordinator wants and what the API server shows in, calls out.
 *
 *     pods_step(pods, event) -> actions
 *
 * No I/O, no clock (`now` is in the event), no randomness (the seed of the jitter is given), no
 * allocation in a step.  The same object file runs in the coordinator's pod and in the simulation.
 *
 * Units:     times in nanoseconds of a monotonic clock of the caller's; `_s` in seconds.
 * Errors:    an event that the table does not allow changes nothing and is counted (pods_refused).
 * Ownership: pods_new takes all memory for the capacities of its config; pods_free takes NULL.
 *            Strings of an event are borrowed for the call; those of an action are its own.
 * Threads:   none; one struct pods, one caller.
 *
 * What the caller promises: each CREATE and DELETE is answered by exactly one result, in this life
 * of the process; events of one pod come in the order of the API server; a list between LIST_BEGIN
 * and LIST_END is consistent (not from a cache) and was asked for after LIST_BEGIN was fed. */
#ifndef RK_K8S_RECONCILE_PODS_H
#define RK_K8S_RECONCILE_PODS_H

#include "common/error.h"
#include "k8s/reconcile/seen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PODS_NONE UINT64_MAX /* no deadline */
#define PODS_MAX_ACTIONS 64u
#define PODS_NAME 96
#define PODS_UID 40
#define PODS_ADDRESS 48
#define PODS_TEXT 960 /* fits an Event */
#define PODS_AVOIDED 4u

struct pods_config {
    const char *job, *namespace;
    const char *owner;          /* uid of the owner of our pods; others are not touched; "" any */
    uint32_t places;            /* most places a job can have */
    uint32_t keep;              /* ended pods kept for their logs, the newest */
    uint32_t in_flight;         /* creates, and deletes, asked at one time */
    uint32_t per_second, burst; /* creates, and deletes, begun */
    uint64_t patience;          /* a pod that pends so long is reported; then ever less often */
    uint64_t hopeless;          /* one whose container cannot be made so long is given up */
    uint64_t confirm;           /* a kubelet's time to confirm an end after the pod's grace */
    uint64_t force;             /* an object that stays so long after that is removed by force */
    uint64_t suspicion;         /* a node whose kubelet did not confirm an end is avoided so long */
    uint64_t back_off, back_off_most;
    uint64_t seed; /* of the jitter */
};

/* The defaults; the caller sets job, namespace, owner and seed. */
struct pods_config pods_config_default(void);

/* ---- events ---------------------------------------------------------------------------------- */

enum pods_event_kind {
    PODS_EV_TICK,
    PODS_EV_COORDINATOR, /* it (re)started: it tells its tickets again */
    PODS_EV_WANT,        /* ticket, place: there shall be a pod */
    PODS_EV_KILL,        /* ticket: there shall be none, and its end is wanted to be known */
    PODS_EV_TOLD,        /* all it wants was told since COORDINATOR; the rest is killed */
    PODS_EV_LINK,        /* ticket, up: the coordinator has, or lost, that ticket's agent */
    PODS_EV_LIST_BEGIN,
    PODS_EV_POD,      /* seen: added or changed, in a list or in a watch */
    PODS_EV_POD_GONE, /* name, uid: its object is no more */
    PODS_EV_LIST_END, /* pods that were not seen since LIST_BEGIN are gone */
    PODS_EV_CREATED,  /* result of a CREATE */
    PODS_EV_DELETED,  /* result of a DELETE */
    PODS_EV_NODE,     /* name, node: an optional source */
    PODS_EV_STOP,     /* policy: the job is over; nothing is created any more */
    PODS_EV_SUSPEND,  /* live pods are deleted, tickets wait */
    PODS_EV_RESUME,
    PODS_EV_COUNT_
};

enum pods_outcome {
    PODS_OK,        /* created: uid; deleted: accepted */
    PODS_EXISTS,    /* create, 409: uid, owner and ticket of what has the name */
    PODS_ABSENT,    /* delete: no object of that uid (404, or 409 of the precondition) */
    PODS_FORBIDDEN, /* 403 of RBAC */
    PODS_QUOTA,     /* 403 of a quota, 429 of a create that surely was not done */
    PODS_INVALID,   /* 400, 422: the object can never be created */
    PODS_UNSURE,    /* 5xx, a time-out, a broken connection: it may be done, or not */
};

enum pods_node { PODS_NODE_READY, PODS_NODE_LOST, PODS_NODE_GONE };
enum pods_policy { PODS_CLEAN_NONE, PODS_CLEAN_RUNNING, PODS_CLEAN_ALL };

struct pods_result {
    uint64_t request; /* as in the action; so are ticket, place and n */
    uint32_t ticket, place, n;
    enum pods_outcome outcome;
    const char *uid;      /* CREATE: OK, EXISTS; DELETE: as in the action */
    const char *owner;    /* EXISTS: uid of its owner */
    uint32_t holder;      /* EXISTS: its ticket */
    uint64_t retry_after; /* 0: not said */
    const char *message;  /* of the server, or of the connection */
};

struct pods_event {
    enum pods_event_kind kind;
    uint64_t now;
    uint32_t ticket, place; /* WANT, KILL, LINK */
    bool up;                /* LINK */
    enum pods_policy policy;
    enum pods_node node;
    const char *name, *uid; /* POD_GONE, NODE */
    const struct pod_seen *seen;
    struct pods_result result;
};

/* ---- actions --------------------------------------------------------------------------------- */

enum pods_action_kind {
    PODS_DO_CREATE,  /* ticket, place, n, name; text: names of nodes that it must not be bound to,
                        a space between two, at most PODS_AVOIDED */
    PODS_DO_DELETE,  /* place, n, name, uid (the precondition), grace_s: -1 its own, 0 force */
    PODS_DO_DIAL,    /* ticket, address, uid */
    PODS_DO_HANG_UP, /* ticket */
    PODS_DO_NOTICE,  /* ticket, text, deadline: it will end soon, and may hand over */
    PODS_DO_GONE,    /* ticket, exit_code, signal, text: the last word of a ticket */
    PODS_DO_FAILED,  /* ticket, final, text: so is this; it could not be started */
    PODS_DO_EVENT,   /* for people: warning, reason, text, name and uid of the pod ("" none) */
    PODS_DO_RELIST,  /* there was no room for all pods, now there is: list again */
    PODS_DO_COUNT_
};

struct pods_action {
    enum pods_action_kind kind;
    uint64_t request; /* CREATE, DELETE: its result names it */
    uint32_t ticket, place, n;
    int32_t grace_s;
    int32_t exit_code, signal; /* -1: none is known */
    bool oom, final, warning;
    uint64_t deadline;
    const char *reason; /* a literal */
    char name[PODS_NAME], uid[PODS_UID], address[PODS_ADDRESS];
    char text[PODS_TEXT];
};

struct pods_actions {
    uint32_t count;
    struct pods_action action[PODS_MAX_ACTIONS];
};

/* ---- the reconciler -------------------------------------------------------------------------- */

struct pods;

/* RK_EINVAL names the impossible value in *why; RK_ENOMEM. */
int pods_new(const struct pods_config *config, struct pods **out, struct rk_why *why);
void pods_free(struct pods *pods);

/* Takes one event in; *actions is overwritten with what must be done, in order. */
void pods_step(struct pods *pods, const struct pods_event *event, struct pods_actions *actions);

/* The next time at which a TICK has something to do, at once when not all actions had room. */
uint64_t pods_deadline(const struct pods *pods);

/* A list was seen, and nothing is asked for, owed, or about to be deleted but what has ended and
 * was promised to go: after STOP the caller may end. */
bool pods_idle(const struct pods *pods);

uint64_t pods_refused(const struct pods *pods); /* events that the table did not allow */

/* ---- names ----------------------------------------------------------------------------------- */

/* JOB-worker-PLACE, or JOB-worker-PLACE-N for n > 0. */
void pods_name_write(const char *job, uint32_t place, uint32_t n, char out[PODS_NAME]);
bool pods_name_parse(const char *job, const char *name, uint32_t *place, uint32_t *n);

/* ---- looking at it --------------------------------------------------------------------------- */

enum pods_state {
    PODS_FREE,    /* an entry that is not in use */
    PODS_WAITING, /* wanted; its pod is still to be asked for */
    PODS_ASKED,   /* a create is in flight */
    PODS_AWAITED, /* the create is answered, or lost; the watch has not shown the pod */
    PODS_PENDING, /* its pod is there and does not run */
    PODS_RUNNING, /* it runs and has an address: the coordinator dials it */
    PODS_LEAVING, /* it will end soon: notice was given */
    PODS_KILLED,  /* not wanted; not known to have ended */
    PODS_KEPT,    /* ended; its object is kept for its logs */
    PODS_DYING,   /* not counted with; its object is to go */
    PODS_ENDED,   /* nothing is left of it but the word that is owed */
    PODS_STATES
};
const char *pods_state_name(enum pods_state state);
const char *pods_action_name(enum pods_action_kind kind);
const char *pods_event_name(enum pods_event_kind kind);

struct pods_view {
    enum pods_state state;
    uint32_t ticket; /* 0: a pod that serves no ticket */
    uint32_t place, n;
    bool ready, linked;
    const char *uid, *address, *node; /* valid until the next step */
};

/* Entries in use one by one: *cursor starts as 0; false when there is no further one. */
bool pods_next(const struct pods *pods, uint32_t *cursor, struct pods_view *view);
bool pods_find(const struct pods *pods, uint32_t ticket, struct pods_view *view);
/* How many are in a state; O(1). */
uint32_t pods_count(const struct pods *pods, enum pods_state state);
uint32_t pods_ready(const struct pods *pods); /* RUNNING with condition Ready */

/* The table as text. */
size_t pods_rules_print(char *text, size_t size);

#endif
