/* The reconciler's memory, for the files of this folder only. */
#ifndef RK_K8S_RECONCILE_STATE_H
#define RK_K8S_RECONCILE_STATE_H

#include "k8s/reconcile/pods.h"
#include "k8s/reconcile/sentence.h"

#define NONE UINT32_MAX
#define LANDED (UINT64_C(60) * 1000000000) /* after which the API server has given up a request */
#define NODE_NAME 254                      /* the longest name of an object, and its end */
#define SUSPECTS 8u                        /* nodes that may be lost, the newest */

/* ---- tools.c: maps, chains and times over the indices of a fixed array ------------------------
 */

/* Keys, never 0, to indices: open addressing at most half full. */
struct map {
    uint64_t *key;
    uint32_t *value;
    uint32_t mask;
};
bool map_init(struct map *map, uint32_t capacity);
void map_done(struct map *map);
uint32_t map_find(const struct map *map, uint64_t key); /* NONE */
void map_put(struct map *map, uint64_t key, uint32_t value);
void map_remove(struct map *map, uint64_t key);

/* Doubly linked, by index; an index that is out points to itself. */
struct ring {
    uint32_t prev, next;
};
enum chain_kind { CHAIN_QUEUE, CHAIN_OWED, CHAIN_PENDING, CHAIN_NODE, CHAINS };
struct chain {
    enum chain_kind kind;
    uint32_t head, tail, count;
};

/* ---- flow.c: how fast the API server is asked --------------------------------------------------
 */

struct flow {
    struct chain queue; /* lives that want to ask */
    uint32_t in_flight, window, most;
    uint32_t failures; /* in a row, one for each hold */
    uint64_t hold;     /* nothing is asked before */
    uint64_t paid;     /* up to here the rate is used up */
    uint64_t interval, credit;
};

/* ---- lives -------------------------------------------------------------------------------------
 */

enum life_event {
    LIFE_WANT,
    LIFE_KILL,       /* cause is set before */
    LIFE_KILL_MAYBE, /* and whether its object is there is not known */
    LIFE_SURPLUS,    /* another pod serves its ticket, or none is wanted */
    LIFE_ASK,        /* the create goes out */
    LIFE_CREATED,
    LIFE_UNSURE,
    LIFE_REFUSED,
    LIFE_TAKEN,
    LIFE_IMPOSSIBLE,
    LIFE_PENDS,
    LIFE_RUNS,
    LIFE_LEAVES,
    LIFE_DIED,
    LIFE_DIED_KEEP, /* and its logs are worth keeping */
    LIFE_HOPELESS,
    LIFE_GONE,       /* the object */
    LIFE_GONE_MAYBE, /* and a create that was lost may make it anew */
    LIFE_MISSING,    /* it was never there */
    LIFE_LOST,       /* its node, and its link */
    LIFE_AGAIN,      /* time to ask again */
    LIFE_SILENCE,    /* time in which its end had to be confirmed is over */
    LIFE_CLEAN,      /* its object is not kept any longer */
    LIFE_EVENTS
};

enum word { WORD_NONE, WORD_GONE, WORD_FAILED, WORD_FINAL };

enum owed { OWED_HANG_UP = 1, OWED_DIAL = 2, OWED_NOTICE = 4, OWED_WORD = 8 };

struct life {
    struct ring ring[CHAINS];
    uint64_t due;          /* PODS_NONE */
    uint32_t due_at;       /* in the heap, NONE */
    uint64_t since;        /* it pends */
    uint64_t condemned_at; /* its object was asked to go */
    uint64_t landing;      /* until then a create of it whose answer was lost may still be done */
    uint64_t asked_at;     /* its create went out; 0: by another process */
    uint64_t deadline;     /* of its notice */
    uint64_t asking;       /* the create in flight, 0: none */
    uint64_t deleting;     /* the delete in flight, 0: none */
    int64_t ended_s;
    uint32_t ticket, place, n;
    uint32_t node;
    uint32_t list;    /* number of the list that saw it last */
    uint32_t claimed; /* life of the coordinator that wanted it */
    uint32_t grace_s; /* of the pod */
    uint32_t tries;
    int32_t asked_s; /* grace of the delete in flight, -1: the pod's own */
    uint8_t state, owed, word;
    bool surplus;   /* serves no ticket */
    bool named;     /* place and n are in the map of names */
    bool has_n;     /* n was chosen */
    bool object;    /* uid is known */
    bool seen;      /* by a list or a watch */
    bool maybe;     /* a create may be done, or be done yet */
    bool over;      /* its container was seen to have ended */
    bool condemned; /* its object has been asked to go */
    bool forced;    /* it is to be removed by force */
    bool dialled, linked, ready;
    bool avoids; /* its pod names nodes that it must not be bound to; */
    bool stale;  /* one of them is well */
    struct end end;
    char uid[PODS_UID], address[PODS_ADDRESS];
};

struct site {
    uint32_t next; /* in its bucket, or among the free ones */
    struct chain lives;
    uint64_t spoke_at; /* its kubelet, the last time that we saw it; 0: never */
    enum pods_node state;
    char name[NODE_NAME];
};

/* A node that may be lost. */
struct suspect {
    uint64_t since, until;
    bool fresh; /* pods that wait there are to be looked for */
    char name[NODE_NAME];
};

/* A thing that is reported at once or after a while, then ever less often. */
struct report {
    uint64_t next, interval;
};

struct pods {
    struct pods_config config;
    char job[PODS_NAME], namespace[PODS_NAME], owner[PODS_UID];
    uint64_t now, random;
    struct life *life;
    uint32_t capacity, touched; /* entries from `touched` on were never in use */
    uint32_t free_head, in_use;
    uint32_t *heap, heap_count;
    struct map by_ticket, by_name;
    uint32_t *next_n; /* of each place */
    struct site *site;
    uint32_t *bucket, sites, sites_touched, buckets, free_site;
    bool node_source; /* a node was heard of */
    struct suspect suspect[SUSPECTS];
    uint32_t suspects;
    bool relax; /* there are stale lives */
    uint32_t moves_untold;
    struct flow creates, deletes;
    struct chain owed, pending;
    uint32_t *kept, kept_count;
    uint32_t count[PODS_STATES], ready;
    uint32_t coordinator; /* its life, counted */
    uint32_t list;
    bool told, listing, synced, suspended, stopped, overflow;
    enum pods_policy policy;
    struct report pending_report, refusal_report, forbidden_report;
    bool refused_creates; /* since the last that was done */
    char refusal[END_MESSAGE], forbidden[END_MESSAGE];
    uint32_t losses_untold; /* more than one by one */
    uint64_t losses_paid;
    uint64_t refused;
    uint64_t requests; /* given so far */
    uint32_t check_next;
    const struct pods_event *event; /* the one in work */
    struct pods_actions *actions;
};

static inline uint32_t life_index(const struct pods *pods, const struct life *life)
{
    return (uint32_t)(life - pods->life);
}

static inline uint64_t name_key(uint32_t place, uint32_t n)
{
    return ((uint64_t)place << 32 | n) + 1;
}

void chain_init(struct chain *chain, enum chain_kind kind);
bool chain_has(const struct pods *pods, const struct chain *chain, uint32_t index);
void chain_append(struct pods *pods, struct chain *chain, uint32_t index);
void chain_remove(struct pods *pods, struct chain *chain, uint32_t index);

void due_set(struct pods *pods, struct life *life, uint64_t due); /* PODS_NONE: never */
struct life *due_first(const struct pods *pods);

/* SplitMix64 over the seed of the config. */
uint64_t pods_draw(struct pods *pods);

/* ---- flow.c ------------------------------------------------------------------------------------
 */

void flow_init(struct flow *flow, const struct pods_config *config);
/* When the next may be asked: PODS_NONE when nothing can be before a result comes. */
uint64_t flow_next(const struct flow *flow);
void flow_began(struct flow *flow, uint64_t now);
/* A result: `good` when the API server did what it was asked. */
void flow_ended(struct pods *pods, struct flow *flow, bool good, uint64_t retry_after);
/* How long to wait before try number `tries` (1 and up), jittered. */
uint64_t flow_back_off(struct pods *pods, uint32_t tries);

/* ---- life.c: the table and what it does --------------------------------------------------------
 */

/* A free entry for `ticket` at `place`, not in any map yet; NULL: there is none. */
struct life *life_new(struct pods *pods, uint32_t ticket, uint32_t place);
struct life *life_of_ticket(const struct pods *pods, uint32_t ticket);
struct life *life_of_name(const struct pods *pods, uint32_t place, uint32_t n);
void life_serve(struct pods *pods, struct life *life); /* its ticket, from now on */
void life_said(struct pods *pods, struct life *life);  /* its word; or nobody asks for it */
void life_feed(struct pods *pods, struct life *life, enum life_event event);
void life_due(struct pods *pods, struct life *life);
void life_gone(struct pods *pods, struct life *life); /* its object */
void life_name(struct pods *pods, struct life *life, uint32_t n);
void life_unname(struct pods *pods, struct life *life);
void life_owe(struct pods *pods, struct life *life, enum owed what);
/* Still counted with: WAITING to LEAVING. */
bool life_counts(const struct life *life);
void life_kill(struct pods *pods, struct life *life, enum end_cause cause);
/* Another pod for its ticket, instead of one that waits; false: there is no room for it. */
bool life_replace(struct pods *pods, struct life *life);
void life_name_text(const struct pods *pods, const struct life *life, char out[PODS_NAME]);
const char *life_event_name(enum life_event event);
bool life_rule(enum pods_state state, enum life_event event, enum pods_state *next);

/* ---- object.c: the objects of lives: made, kept, deleted ---------------------------------------
 */

void object_delete(struct pods *pods, struct life *life);
/* Its object has been asked to go, by us or by others. */
void object_condemned(struct pods *pods, struct life *life);
void object_keep(struct pods *pods, struct life *life);
void object_unkeep(struct pods *pods, struct life *life);
/* A number for a request that is made for a life: never 0, never given twice. */
uint64_t object_request(struct pods *pods, const struct life *life);
void object_created(struct pods *pods, const struct pods_result *result);
void object_deleted(struct pods *pods, const struct pods_result *result);

/* ---- observe.c: what the API server shows ------------------------------------------------------
 */

void observe_pod(struct pods *pods, const struct pod_seen *seen);
void observe_gone(struct pods *pods, const char *name, const char *uid);
void observe_list_begin(struct pods *pods);
void observe_list_end(struct pods *pods);
void observe_node(struct pods *pods, const char *name, enum pods_node state);

/* ---- site.c: nodes -----------------------------------------------------------------------------
 */

bool site_init(struct pods *pods);
void site_done(struct pods *pods);
uint32_t site_find(const struct pods *pods, const char *name);
uint32_t site_take(struct pods *pods, const char *name); /* NONE: no room */
void site_settle(struct pods *pods, struct life *life, const char *name);
void site_leave(struct pods *pods, struct life *life);
bool site_lost(const struct pods *pods, const struct life *life);
const char *site_name(const struct pods *pods, const struct life *life);

/* ---- suspect.c: nodes that may be lost ---------------------------------------------------------
 */

/* Somebody says so; PODS_NONE: until it is said to be well. */
void suspect_node(struct pods *pods, const char *name, uint64_t until);
/* The end of a pod that was asked to go is not confirmed in its time. */
void suspect_silence(struct pods *pods, const struct life *life);
/* It is well after all. */
void suspect_clear(struct pods *pods, const char *name);
/* The pod of a life is shown: `spoke` when its kubelet did just now. */
void suspect_shown(struct pods *pods, struct life *life, const struct pod_seen *seen, bool spoke);
/* The newest names, as a CREATE has them. */
void suspect_names(const struct pods *pods, char *out, size_t size);
/* Pods that wait on a suspect are asked for again, elsewhere; and those that still avoid a node
 * that is well, anywhere. */
void suspect_turn(struct pods *pods);
uint64_t suspect_deadline(const struct pods *pods);

/* ---- say.c: from what is owed to actions -------------------------------------------------------
 */

void say_all(struct pods *pods);
bool say_room(const struct pods *pods, uint32_t count);
struct pods_action *say(struct pods *pods, enum pods_action_kind kind);
uint64_t say_deadline(const struct pods *pods);

/* ---- report.c: events for people ---------------------------------------------------------------
 */

void report_init(struct pods *pods);
void report_all(struct pods *pods);
uint64_t report_deadline(const struct pods *pods);
void report_loss(struct pods *pods, const struct life *life, const char *text);

#endif
