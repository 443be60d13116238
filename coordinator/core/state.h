/* The inside of the core: one struct, the files that each own a part of it, and the functions that
 * they call each other by.  Nothing outside coordinator/core includes this, except tests.
 *
 *   core.c        birth, one step, time            members.c    workers: table, silence, loss
 *   ranks.c       ranks: table, status, exits      places.c     places and launches
 *   job.c         the job: table                   form.c       freeze, acks, decision, go
 *   plan.c        members and their order          load.c       state when no rank has it
 *   checkpoint.c  checkpoints: table               carriers.c   the MPI proxies
 *   drain.c       workers that will end soon
 *   budget.c      losses, blame, recovered         recover.c    a new coordinator
 *   finish.c      the end                          record.c     what survives
 *   check.c       the invariants                   rules.c      names and the tables as text */
#ifndef RK_COORDINATOR_CORE_STATE_H
#define RK_COORDINATOR_CORE_STATE_H

#include "common/clock.h"
#include "coordinator/core/bits.h"
#include "coordinator/core/check.h"
#include "coordinator/core/core.h"

#define NONE UINT32_MAX
#define MAX_POSITION (UINT64_C(1) << 40) /* a step in a tick has 40 bits */
#define AUTO_SETTLE (2 * RK_S)           /* a rank that has not joined by then is taken not to */
#define START_PACE (10 * RK_US)          /* for each worker, between two starts of all of them */
#define LAUNCH_TRIES 8u
#define CHECKPOINT_TRIES 3u
#define CARRIER_FREE_TRIES 3u

struct link {
    uint32_t prev, next;
};
struct list {
    unsigned char *links;
    size_t stride;
    uint32_t head, tail, count;
};

/* ---- ranks ----------------------------------------------------------------------------------- */

#define RANK_STATES ((uint32_t)CORE_RANK_DONE + 1)

enum rank_event {
    RANK_EV_START, /* START_RANKS is given */
    RANK_EV_UP,    /* its process was seen */
    RANK_EV_ENTER, /* it waits for membership */
    RANK_EV_GO,    /* it is a member */
    RANK_EV_LEAVE, /* it reached the end */
    RANK_EV_GONE,  /* its process ended too early */
    RANK_EV_DONE,  /* its process ended well */
    RANK_EV_DROP,  /* its worker is out, or it is started anew */
    RANK_EV_COUNT_
};

struct rank {
    uint32_t name;      /* CORE_NO_RANK: none given */
    uint32_t last_name; /* for the note of an exit that is owed */
    uint8_t state;      /* enum core_rank_state */
    uint8_t doubt;      /* statuses in a row that saw no process */
    bool has_state;
    bool acked; /* stood still in the ack of the present word */
    bool up;    /* its process was seen */
    int32_t pid, dead_pid;
    uint64_t position;
    uint64_t round;   /* in which it was started, see budget.c */
    uint64_t started; /* when, in core time */
    uint64_t start;   /* the number of that start, which the worker's words about it repeat */
};

/* ---- workers --------------------------------------------------------------------------------- */

enum { /* what a worker is owed: said as soon as an action is free */
       OWE_JOINED = 1,
       OWE_START = 2,
       OWE_WRITE = 4,
       OWE_LOST = 8,
       OWE_KILL = 16,
       OWE_EXITS = 32,
};

struct worker {
    struct rk_worker_id id;
    enum core_member_state state;
    uint32_t host, place, ticket, slots;
    struct rank *rank; /* max_slots of them */
    uint32_t count[RANK_STATES];
    uint64_t last_heard; /* core time */
    uint64_t serial;     /* of the newest message heard */
    uint64_t round;
    uint64_t layout_hash, complete_step;
    uint64_t snapshot_step[2];
    rk_word asked, acked;    /* freeze words */
    rk_word word, frozen;    /* as its hello said; a new coordinator judges by them */
    rk_word named;           /* LOST: the freeze that named it to its host */
    uint64_t go_again;       /* not before this time */
    bool ended;              /* LOST: seen dead */
    enum core_reason reason; /* LOST */
    uint64_t detect;         /* LOST */
    bool was_spare;          /* LOST */
    uint32_t writer;         /* its part of the attempt, NONE */
    bool owed_write;
    uint64_t walk;       /* the last walk that met it */
    uint32_t owed;       /* OWE_ bits */
    uint64_t owed_start; /* slots */
    bool owed_replace;   /* how */
    uint64_t owed_exits; /* slots */
    uint32_t order;      /* where it stands in core->order */
    bool idle;           /* it stands in the list of spares */
    bool draining;       /* it will end soon */
    uint32_t successor;  /* draining: the place that it gave up, NONE: it had none */
    uint64_t leave_at;   /* draining: core time; it hands over to whoever is there then */
    struct link heard, host_link, owe, spare, drain;
    uint32_t hash_next;
};

/* Which shards of a step a host's arena holds sums of, as the acks of `word` said. */
struct report {
    rk_word word;
    uint64_t step;
    uint32_t max_nodes;
    uint64_t done[SHARD_WORDS];
};

/* The part of a host in a launch of carriers. */
struct host_carrier {
    uint32_t job;    /* of the launch; 0: none */
    uint32_t place;  /* which of its carriers */
    uint32_t worker; /* entry under whose agent it runs, once it is up */
    bool up;
    bool serves; /* the host is one of those that the launch serves */
};

struct host {
    struct rk_host_id id; /* 0: a free entry */
    struct report report;
    uint32_t living;
    struct list workers; /* living and lost */
    uint32_t hash_next;
    uint64_t walk; /* the last walk that met it */
    uint32_t index, first, fill;
    struct host_carrier carrier[2]; /* by launch */
    uint64_t asked_snapshot;        /* the request that it has answered */
};

enum place_state { PLACE_EMPTY, PLACE_LAUNCHING, PLACE_COOLING, PLACE_TAKEN, PLACE_CLOSED };

struct place {
    enum place_state state;
    uint32_t ticket, worker, failures;
    uint64_t since; /* core time */
    struct link link;
};

/* ---- parts of the core ----------------------------------------------------------------------- */

struct losses {
    uint32_t count;
    uint64_t first, detect;
    bool in_place;
    uint64_t lost_steps;
    bool carriers; /* those that served are among what was lost; they are not counted */
};

/* `at` and `without`: whether it stood at the plan's step, or held no state, when the plan was
 * made: a go that is said again must say what the first one did. */
struct member {
    uint32_t worker, slot, host_index;
    bool at, without;
};

struct plan {
    rk_word word, lineage;
    uint64_t deal_step, stop_at;
    uint32_t world, members, hosts, carrier_job;
    bool carrier_part; /* only some of the carriers serve: those on its hosts */
    bool fresh, restart, program;
    uint32_t state_host; /* index of a host entry, NONE */
    uint64_t done[SHARD_WORDS];
};

/* What the acks of the word being formed said. */
struct acks {
    uint32_t missing;
    uint64_t complete; /* the highest step whose result is complete somewhere */
};

enum checkpoint_state {
    CHECKPOINT_IDLE,
    CHECKPOINT_ASKED,
    CHECKPOINT_WRITING,
    CHECKPOINT_COMMITTING,
    CHECKPOINT_COUNT_
};
enum checkpoint_event {
    CHECKPOINT_EV_DUE,
    CHECKPOINT_EV_TAKEN,
    CHECKPOINT_EV_MISSED,
    CHECKPOINT_EV_WRITTEN,
    CHECKPOINT_EV_FAILED,
    CHECKPOINT_EV_COMMITTED,
    CHECKPOINT_EV_COUNT_
};

struct checkpoint {
    enum checkpoint_state state;
    uint64_t step; /* asked for, or being written */
    uint64_t request;
    uint32_t hosts_taken;
    uint32_t attempt, writers, missing, tries;
    bool hurried;             /* one is due, whatever the interval */
    bool final;               /* it was asked for since all have left: that of the last step */
    uint64_t margin;          /* factor, doubled by a miss */
    uint64_t since, next_due; /* core time */
    uint64_t committed;       /* step, CORE_NONE */
    uint64_t rate_time, rate_step, step_ns;
    uint64_t skip_until; /* best step */
    int32_t code;        /* of the last failure */
};

enum launch_state { /* of carriers, see carriers.c */
                    LAUNCH_NONE,
                    LAUNCH_STARTING,
                    LAUNCH_UP,
                    LAUNCH_HOLED,
                    LAUNCH_BROKEN,
                    LAUNCH_COUNT_,
};
enum launch_event {
    LAUNCH_EV_GIVEN,  /* a number, and mpirun is asked for */
    LAUNCH_EV_ALL_UP, /* the last of its carriers came */
    LAUNCH_EV_LOST,   /* it is of no use any more */
    LAUNCH_EV_LATE,   /* carriers did not come, or a hole did not close, in time */
    LAUNCH_EV_HOLE,   /* one of its carriers is gone */
    LAUNCH_EV_CALLED, /* from standing by to serve */
    LAUNCH_EV_DROPPED,
    LAUNCH_EV_COUNT_,
};

struct launch {
    enum launch_state state;
    uint32_t job;    /* its number */
    uint32_t hosts;  /* carriers that were launched */
    uint32_t alive;  /* of them */
    uint32_t served; /* hosts of the plan that it serves; 0: none, it stands by */
    uint32_t runner; /* entry whose agent runs mpirun */
    uint64_t since;  /* when it was given */
    uint64_t holed;  /* when its first carrier went, while it stood by */
};

enum load_state { LOAD_NONE, LOAD_FINDING, LOAD_LOADING };

struct load {
    enum load_state state;
    uint64_t step;
    uint32_t worker; /* entry that loads */
    uint32_t host;   /* entry whose arena has it */
    uint32_t errors;
    bool in_host; /* `step` lies in the arena of `host` */
    bool waits;   /* held: a host that is to come has a newer snapshot */
};

enum job_event {
    JOB_EV_FAILED, /* for good */
    JOB_EV_CAME,   /* the workers of the last life are back, or will not be */
    JOB_EV_GATHERED,
    JOB_EV_UP,     /* a program without the library runs */
    JOB_EV_READY,  /* ranks wait to be taken in */
    JOB_EV_BROKEN, /* the generation cannot go on as it is */
    JOB_EV_ACKED,
    JOB_EV_LOADED, /* the state is chosen */
    JOB_EV_LATE,   /* whoever has a newer snapshot is not waited for any more */
    JOB_EV_LEFT,   /* a rank reached the end */
    JOB_EV_STOP,
    JOB_EV_OVER, /* all have reached it, and the final checkpoint is as good as it gets */
    JOB_EV_COUNT_
};

struct core {
    struct core_config config;
    uint32_t epoch;
    uint64_t born; /* when */
    uint64_t now;  /* of the event */
    uint64_t late; /* all lateness of the loop so far */
    uint64_t time; /* now - late: what deadlines are told by */
    uint64_t refused;
    struct core_actions *out;

    /* job.c */
    enum core_job_state state;
    rk_word word; /* being formed or in force */
    uint64_t generation, noted_generation;
    bool started, joined, broken, adopting;
    bool came_late; /* without the library: somebody came when the others had been told to start */
    bool stopping, ending, finish_said;
    int32_t stop_signal, left_code;
    int32_t exit_code;
    enum core_reason fatal; /* CORE_REASON_NONE: not failed */
    uint32_t fatal_rank;
    uint64_t best_step, end_step, grace;
    uint64_t ready_since;
    uint64_t started_since; /* all ranks were started */
    bool leave_later;       /* members that shall leave are ahead of all who stay */
    bool step_seen;         /* a step was finished under the present word */
    bool final_failed;
    uint32_t absent; /* workers of the last life whose loss is still to be told */
    uint32_t target;
    bool record_later, record_soon, noted_start;
    uint64_t formed_since;

    /* members.c */
    struct worker *worker;
    struct rank *rank_pool;
    uint32_t *worker_hash;
    uint32_t hash_mask;
    uint32_t free_worker;  /* chain by hash_next */
    uint32_t used_workers; /* entries from here on were never touched */
    struct list heard, owing, lost;
    uint32_t living, members;
    struct host *host;
    uint32_t *host_hash;
    uint32_t free_host, used_hosts;
    uint32_t *order, *order_hosts;
    uint32_t order_count;
    uint64_t layout_hash;

    /* ranks.c */
    struct bits names; /* free ones */
    uint32_t name_top; /* all names given are below */
    uint32_t *name_owner;
    uint32_t count[RANK_STATES];
    uint32_t starts;  /* numbers given to starts */
    uint32_t waiting; /* READY and not acked under the present word */
    uint32_t unseen;  /* STARTING and not up */

    /* places.c */
    struct place *place;
    struct bits open; /* EMPTY places below the target */
    struct list launching, cooling, spare;
    uint32_t places;                       /* max_workers, and those of spare workers */
    uint32_t closed, taken, launch_serial; /* the first two: below the target */
    bool launches_known;                   /* what is still to come of earlier lives' launches */

    /* drain.c */
    struct list draining;
    bool drain_later;    /* nobody who stays has the state: the succeeded leave after a step */
    uint64_t drain_next; /* the earliest leave_at; CORE_NONE: none */

    /* form.c, plan.c, load.c */
    struct plan plan;
    struct acks acks;
    struct member *member;
    uint32_t *plan_hosts; /* host entries by index, as the walk for the next plan found them */
    uint32_t member_count, host_count;
    uint64_t walk, next_position;
    uint32_t next_workers;
    struct load load;
    uint64_t load_until; /* a newer snapshot is waited for until then; CORE_NONE: not asked yet */

    /* recover.c */
    struct {
        rk_word word, frozen, lineage;
        uint64_t deal_step, stop_at;
        uint32_t members, came, absent;
        uint32_t carrier_hosts[2]; /* by launch: of the newest heard of */
        uint32_t torn; /* launch that served and lost a carrier since the workers came */
        struct recover_runner {
            uint32_t job, index;
        } runner[2]; /* who said that mpirun runs there */
    } recover;

    /* carriers.c */
    struct launch launch[2];
    uint32_t serves;                    /* which of them; the other stands by */
    uint32_t carrier_job;               /* the newest number given */
    uint32_t carrier_tries;             /* launches that were to serve since the last step */
    uint32_t comm_failures;             /* of communicators since the last step */
    uint64_t settled;                   /* since then all of the plan is there that a sum needs */
    uint64_t carrier_again;             /* no generation for the sake of new carriers before */
    uint32_t standby_tries;             /* launches in a row that did not stand by for long */
    uint64_t standby_again;             /* none before */
    enum core_carriers_way carrier_way; /* by which the last ones came, not yet in a `recovered` */

    /* budget.c */
    uint64_t round;
    uint64_t furthest; /* the most finished steps ever; best_step goes back when steps are lost */
    bool stepped;
    uint32_t program_failures, restarts_total;
    uint32_t restart[CORE_RESTART_BUCKETS]; /* spent in each bucket, newest first */
    uint32_t restart_count;                 /* their sum */
    uint64_t restart_since;                 /* when the newest bucket began */
    struct losses pending, healing;

    struct checkpoint checkpoint;
    uint32_t check_next;
};

/* ---- core.c ---------------------------------------------------------------------------------- */

struct core_action *core_emit(struct core *core, enum core_action_kind kind);
struct core_action *core_note_emit(struct core *core, enum core_note note);
bool core_room(const struct core *core); /* for one more action of those that can wait */
void core_refuse_event(struct core *core);

/* An intrusive list of entries of one array: `first` is the link of entry 0, `stride` bytes apart.
 */
void list_init(struct list *list, struct link *first, size_t stride);
void list_append(struct list *list, uint32_t index);
void list_remove(struct list *list, uint32_t index);
uint32_t list_next(const struct list *list, uint32_t index);

/* ---- members.c ------------------------------------------------------------------------------- */

bool members_init(struct core *core);
void members_done(struct core *core);
void members_event(struct core *core, const struct core_event *event);
uint32_t worker_find(const struct core *core, struct rk_worker_id id);
bool worker_living(const struct worker *worker);
/* Every assignment of a worker's state. */
void worker_set(struct core *core, struct worker *worker, enum core_member_state state);
void worker_rank_changed(struct core *core, struct worker *worker);
void worker_lost(struct core *core, uint32_t index, enum core_reason reason, uint64_t detect);
void worker_owe(struct core *core, uint32_t index, uint32_t what);
/* All its processes are dead: a lost worker's entry is free. */
void worker_fenced(struct core *core, uint32_t index);
void workers_silent(struct core *core);
void workers_pay(struct core *core);
void order_build(struct core *core);
void order_append(struct core *core, uint32_t index);
bool worker_event_allowed(enum core_member_state state, enum core_event_kind kind);
const char *worker_rule_name(enum core_member_state state, enum core_event_kind kind);

/* ---- ranks.c --------------------------------------------------------------------------------- */

struct rank_exit {
    enum core_reason reason;
    int32_t exit_code, signal;
    uint64_t detect;
    bool by_program;
    bool quiet; /* noted later, with the others of one status */
};

bool rank_move(struct core *core, struct worker *worker, uint32_t slot, enum rank_event event);
/* Where the table leads, or RANK_STATES: refused. */
uint32_t rank_rule(enum core_rank_state state, enum rank_event event);
void rank_set_acked(struct core *core, struct rank *rank, bool acked);
bool rank_name(struct core *core, struct worker *worker, uint32_t slot, uint32_t name);
void ranks_name(struct core *core, struct worker *worker);
void ranks_forget(struct core *core, struct worker *worker);
void ranks_start(struct core *core, struct worker *worker, bool replace);
/* Whether there are ranks of two starts, which were told of different worlds. */
bool ranks_differ(const struct core *core);
void ranks_start_all(struct core *core, bool replace);
/* What a worker says about its ranks; `sure`: nothing older can come after it. */
void ranks_status(struct core *core, struct worker *worker, const struct core_worker_status *status,
                  bool sure);
void rank_exited(struct core *core, struct worker *worker, const struct core_event *event);
void rank_gone(struct core *core, struct worker *worker, uint32_t slot,
               const struct rank_exit *exit);
void rank_reached(struct core *core, const struct rank *rank);
bool program_mode(const struct core *core); /* ranks only have their environment, so far */

/* ---- places.c -------------------------------------------------------------------------------- */

bool places_init(struct core *core);
void places_done(struct core *core);
/* Finds a place for a worker that said hello, with ranks from an earlier coordinator's life or
 * without; false: its ticket was given up. */
bool place_take(struct core *core, uint32_t index, uint32_t ticket, bool history);
void place_leave(struct core *core, struct worker *worker);
void places_launched(struct core *core, const uint32_t *ticket, uint32_t count);
void place_launch_failed(struct core *core, uint32_t ticket, bool final);
void places_target(struct core *core, uint32_t target);
void places_tick(struct core *core);
bool places_wait(const struct core *core); /* an empty place is to be launched into */
void places_launch(struct core *core);
bool places_hopeless(const struct core *core);

/* ---- drain.c --------------------------------------------------------------------------------- */

void drain_init(struct core *core);
void drain_start(struct core *core, uint32_t index, uint64_t within);
void drain_worker_lost(struct core *core, struct worker *worker);
/* Whoever has a successor in the generation that is being formed is left out of it. */
void drains_form(struct core *core);
/* A program without the library: a successor came into place `p`. */
void drains_replaced(struct core *core, uint32_t p);
void drains_drop(struct core *core);
void drains_tick(struct core *core);
uint64_t drains_deadline(const struct core *core); /* of the next tick with something to do */

/* ---- job.c ----------------------------------------------------------------------------------- */

void job_set(struct core *core, enum core_job_state state);
void job_consider(struct core *core);
/* When what is broken may be started again: now, or a little later. */
uint64_t job_again(const struct core *core);
void job_fail(struct core *core, int32_t exit_code, enum core_reason reason, uint32_t rank);
const char *job_rule_name(enum core_job_state state, enum job_event event);
const char *job_event_name(enum job_event event);

/* ---- form.c ---------------------------------------------------------------------------------- */

void form_start(struct core *core);
void form_ask(struct core *core, uint32_t index); /* a worker that came while forming */
void form_ack(struct core *core, uint32_t index, const struct core_event *event);
void form_worker_lost(struct core *core, struct worker *worker);
void form_tick(struct core *core);
enum core_job_state form_decide(struct core *core);
enum core_job_state form_go(struct core *core);
void form_loaded(struct core *core);
void form_note(struct core *core);
uint64_t form_settle(const struct core *core);

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* Fills core->member with the ranks that `wanted` names; returns how many workers they are of. */
uint32_t plan_walk(struct core *core,
                   bool (*wanted)(const struct core *, const struct worker *, const struct rank *));
/* Keeps for each member how it stands to `plan`, which is being made. */
void plan_note_members(struct core *core, const struct plan *plan);
bool plan_rank_has(const struct core *core, const struct worker *worker, const struct rank *rank,
                   uint64_t step);
rk_word plan_lineage(const struct core *core, uint64_t step);

/* ---- load.c ---------------------------------------------------------------------------------- */

enum core_job_state load_start(struct core *core);
/* A host out of the next plan has a newer snapshot than those in it, and ranks that will come. */
bool load_waits(const struct core *core);
void load_found(struct core *core, const struct core_event *event);
void load_done(struct core *core, uint32_t index, const struct core_event *event);
bool load_ready(const struct core *core);

/* ---- checkpoint.c ---------------------------------------------------------------------------- */

void checkpoint_init(struct core *core);
void checkpoint_tick(struct core *core);
void checkpoint_hurry(struct core *core); /* one is due now */
void checkpoint_go(struct core *core);
void checkpoint_snapshot(struct core *core, uint32_t index, uint64_t step, bool missed);
void checkpoint_status(struct core *core, uint32_t index);
void checkpoint_written(struct core *core, uint32_t index, const struct core_event *event);
void checkpoint_committed(struct core *core, const struct core_event *event);
void checkpoint_worker_lost(struct core *core, struct worker *worker);
void checkpoint_progress(struct core *core);
uint64_t checkpoint_deadline(const struct core *core);
/* Drives the final one; true when it is committed, or cannot be. */
bool checkpoint_final(struct core *core);
void checkpoint_write_emit(struct core *core, uint32_t index);
const char *checkpoint_rule_name(enum checkpoint_state state, enum checkpoint_event event);
const char *checkpoint_state_name(enum checkpoint_state state);
const char *checkpoint_event_name(enum checkpoint_event event);

/* ---- carriers.c ------------------------------------------------------------------------------ */

/* Finds the carriers of a plan that is being made.  A new number is to be durable before it is
 * said: what has changed is said by carriers_say. */
enum carriers_change { CARRIERS_KEPT, CARRIERS_CHANGED, CARRIERS_LAUNCHED };
enum carriers_change carriers_prepare(struct core *core, struct plan *plan);
void carriers_say(struct core *core, enum carriers_change way);
void carriers_worker_lost(struct core *core, uint32_t index);
void carriers_event(struct core *core, uint32_t index, const struct core_event *event);
void carriers_tick(struct core *core);
/* No sum comes over those that serve: they count as lost.  False: none serve. */
bool carriers_stuck(struct core *core);
/* Launches some that stand by, once it is time. */
void carriers_consider(struct core *core);
uint64_t carriers_deadline(const struct core *core);
void carriers_heard(struct core *core, uint32_t index, const struct core_event *event);
/* Takes over what the hellos told of; true: the plan in force has its carriers. */
bool carriers_adopt(struct core *core, bool whole);
const char *carriers_check(const struct core *core);
const char *launch_rule_name(enum launch_state state, enum launch_event event);

/* ---- budget.c -------------------------------------------------------------------------------- */

void losses_add(struct core *core, uint64_t detect);
void losses_carriers(struct core *core);
void budget_comm_failed(struct core *core);
void losses_go(struct core *core, bool in_place, uint64_t lost_steps);
void losses_end(struct core *core);
void budget_blame(struct core *core, uint64_t round, bool program, int32_t exit_code,
                  uint32_t rank);
void budget_spend(struct core *core);
void budget_apply(struct core *core, const struct core_record *record);
void budget_heard(struct core *core, uint64_t position);
void budget_stepped(struct core *core); /* a step was finished under the present word */
void budget_recovered(struct core *core);

/* ---- recover.c ------------------------------------------------------------------------------- */

bool recover_hello(struct core *core, uint32_t index, const struct core_event *event);
bool recover_came(const struct core *core);
uint64_t recover_until(const struct core *core);
enum core_job_state recover_done(struct core *core);

/* ---- finish.c -------------------------------------------------------------------------------- */

enum core_job_state finish_start(struct core *core);
enum core_job_state finish_broken(struct core *core);
enum core_job_state finish_end(struct core *core);
enum core_job_state finish_failed(struct core *core);
void finish_hurry(struct core *core);
bool finish_over(struct core *core);

/* ---- record.c -------------------------------------------------------------------------------- */

void record_now(struct core *core);   /* before the later actions of this step */
void record_later(struct core *core); /* at its end */
/* Some time after it: counts, of which a coordinator that dies may lose the last. */
void record_soon(struct core *core);
void record_apply(struct core *core, const struct core_record *record);

#endif
