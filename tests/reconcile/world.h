/* A job's pods in one process: the reconciler, and models of the API server with its watch, of
 * kubelets, nodes and the coordinator, driven by a seeded queue.  All is a function of the options.
 */
#ifndef RK_TESTS_RECONCILE_WORLD_H
#define RK_TESTS_RECONCILE_WORLD_H

#include "common/clock.h"
#include "k8s/reconcile/pods.h"

#include <stdbool.h>
#include <stdint.h>

#define NONE UINT32_MAX
#define MOST_NODES 64u

struct options {
    uint32_t pods, nodes;
    uint64_t steps; /* faults and other changes, before it must settle */
    uint64_t seed;
    double faults; /* a second; 0: only delays, orders and answers that are lost */
    bool restarts; /* the only faults: of both processes, of the watch, of answers */
    uint32_t verbose;
};

enum kind {
    EV_FAULT,
    EV_TICK,
    EV_CREATE, /* a request arrives at the API server */
    EV_DELETE,
    EV_ANSWER,   /* the answer arrives */
    EV_WATCH,    /* a change arrives */
    EV_LIST,     /* the server takes the list */
    EV_LISTED,   /* it arrives */
    EV_NODE,     /* the state of a node arrives */
    EV_SCHEDULE, /* a pod is bound */
    EV_START,    /* its container runs */
    EV_ENDED,    /* it has ended */
    EV_REMOVE,   /* the object goes */
    EV_PROCESS,  /* PID 1 is started */
    EV_BOSS,     /* its child, the coordinator, is started */
    EV_TO_BOSS,  /* a message arrives there */
    EV_FROM_BOSS,
    EV_DIAL,   /* the coordinator tries to reach an agent */
    EV_CLOSED, /* it sees a link end */
    EV_TICKET, /* it fills a place */
};

enum stage { STAGE_PENDING, STAGE_RUNNING, STAGE_ENDED };

struct object {
    uint32_t id; /* uid */
    uint32_t place, n, ticket, node, grace_s;
    bool exists, foreign, deleting, disrupted;
    enum stage stage;
    const char *wait, *status, *end;
    const char *never; /* why its container can never be made; NULL: it can */
    int32_t exit_code;
    int64_t ended_s;
    bool linked;
    uint64_t avoids; /* nodes, a bit each */
    uint64_t shown;  /* when its last change arrives at the watch */
};

struct item {
    uint64_t time, order;
    enum kind kind;
    uint32_t who; /* object, place, node */
    uint64_t tag; /* life of the process, of the coordinator, or of the watch */
    struct pods_action action;
    struct pods_event event;
    struct object shot;
    struct object *list;
    uint32_t count;
    char name[PODS_NAME], uid[PODS_UID];
};

struct seat {
    uint32_t ticket;  /* 0: none */
    uint32_t serial;  /* of its tickets */
    uint32_t dialled; /* object */
    bool linked;
    bool heard; /* and the reconciler was told so */
};

struct world {
    struct options o;
    uint64_t random, now, order, digest, calm_at;
    struct item **heap;
    uint32_t heap_count, heap_room;
    struct object *object; /* by id; 0 is none */
    uint32_t objects, object_room;
    bool node_down[MOST_NODES], node_silent[MOST_NODES], node_source;
    bool quota, brown; /* the API server refuses creates; it answers late, or not at all */
    struct pods *pods;
    uint64_t process, watch, boss, tick_at;
    uint64_t born; /* of the process */
    bool watching, boss_up, suspended, stopped;
    enum pods_policy policy;
    uint64_t listed_at, to_boss_at, from_boss_at;
    uint32_t in_flight;
    uint64_t paid; /* up to here the rate of creates is used up */
    struct seat *seat;
    uint32_t target;
    uint8_t *words; /* of each ticket since it was wanted */
    uint32_t words_room;
    uint64_t steps, actions, starts, gone, failed, creates, deletes, restarts, boss_restarts;
    uint64_t faults_left;
    const char *failure;
};

/* ---- world.c: time, chance, the queue ----------------------------------------------------------
 */

uint64_t world_random(struct world *w);
uint64_t world_below(struct world *w, uint64_t bound);
bool world_chance(struct world *w, double probability);
struct item *world_push(struct world *w, enum kind kind, uint64_t delay);
void world_fail(struct world *w, const char *what);
void world_digest(struct world *w, uint64_t value);
void world_say(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool world_calm(const struct world *w);

/* ---- server.c: the API server, nodes and kubelets ----------------------------------------------
 */

void server_create(struct world *w, struct item *item);
void server_delete(struct world *w, struct item *item);
void server_foreign(struct world *w, uint32_t place, uint32_t n);
void server_changed(struct world *w, uint32_t id);
void server_list(struct world *w, struct item *item);
void kubelet_schedule(struct world *w, const struct item *item);
void kubelet_start(struct world *w, const struct item *item);
void kubelet_ended(struct world *w, const struct item *item);
void kubelet_remove(struct world *w, const struct item *item);
void pod_end(struct world *w, uint32_t id, const char *status, const char *end, int32_t code);
void pod_delete(struct world *w, uint32_t id, uint32_t grace_s);
void node_fault(struct world *w, uint32_t node);
void node_return(struct world *w, uint32_t node);
bool pod_lives(const struct world *w, uint32_t id);
uint32_t pod_some(struct world *w); /* one that exists and has not ended; NONE */

/* ---- shell.c: PID 1 around the reconciler, and its child ---------------------------------------
 */

void process_start(struct world *w);
void process_die(struct world *w);
void process_end(struct world *w); /* for good */
void process_feed(struct world *w, struct pods_event event);
void process_relist(struct world *w);
void process_answer(struct world *w, struct item *item);
void process_watch(struct world *w, const struct item *item);
void process_listed(struct world *w, struct item *item);
void boss_start(struct world *w);
void boss_die(struct world *w);
void boss_take(struct world *w, const struct item *item);
void boss_dial(struct world *w, const struct item *item);
void boss_closed(struct world *w, const struct item *item);
void boss_ticket(struct world *w, const struct item *item);
void boss_says(struct world *w, struct pods_event event);
void boss_scale(struct world *w, uint32_t target);

/* ---- judge.c: what must be true at the end -----------------------------------------------------
 */

void judge_settled(struct world *w);
void judge_stopped(struct world *w);

#endif
