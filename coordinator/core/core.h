/* The coordinator's mind: one pure function over time.
 *
 *     core_step(core, event) -> actions
 *
 * No I/O, no clock (`now` is in the event), no randomness, no allocation in a step.  The same
 * object file runs in production, in the simulation, under the fuzzer and in the story tests.
 *
 * Units:     times in nanoseconds of a monotonic clock of the caller's; steps count from 0.
 * Errors:    an event that the tables do not allow changes nothing and is counted (core_refused).
 * Ownership: core_new allocates everything for the capacities of its config; core_free takes NULL.
 * Threads:   none; one core, one caller.
 *
 * An action speaks to a generation or to one worker, never to a list: the shell walks the members
 * with the core_..._next functions when it must write to each. */
#ifndef RK_COORDINATOR_CORE_H
#define RK_COORDINATOR_CORE_H

#include "common/error.h"
#include "common/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_NONE UINT64_MAX /* no step, no deadline */
#define CORE_NO_RANK UINT32_MAX
#define CORE_MAX_ACTIONS 64
#define CORE_RESTART_BUCKETS 64u /* that restart_window is cut into */
#define CORE_RANKS_PER_WORKER RK_MAX_SLOTS

enum core_mode {
    CORE_AUTO,    /* join if the program does; until one rank has joined a loss starts all anew */
    CORE_PROGRAM, /* --backend none: the environment is all a rank gets; a loss starts all anew */
};

struct core_config {
    uint32_t capacity_workers; /* most workers known at one time, >= max_workers + spares */
    uint32_t min_workers;      /* hold below this */
    uint32_t target_workers;   /* launch up to this; start with it, or after `gather` with min */
    uint32_t max_workers;
    uint32_t spares;    /* workers beyond the target that wait to take a lost one's place */
    uint32_t slots;     /* ranks of a worker for planning; a hello may say another number */
    uint32_t max_slots; /* most ranks a hello may say; 0: as `slots` */
    uint32_t shards;    /* V */
    enum core_mode mode;
    bool launches;            /* a launcher places workers; else they come by themselves */
    uint64_t gather;          /* wait this long for target_workers at the start */
    uint64_t silence;         /* a worker not heard of for so long is lost */
    uint64_t launch_timeout;  /* a launched worker that says no hello in so long is given up */
    uint64_t carrier_timeout; /* carriers that are not all up in so long are launched again */
    bool standby_carriers;    /* a second launch of carriers stands by */
    uint64_t recover_timeout; /* a new coordinator waits so long for the workers it had */
    uint64_t checkpoint_interval_ns;    /* 0: by steps */
    uint64_t checkpoint_interval_steps; /* 0: by time; both 0: only the final one */
    uint64_t checkpoint_timeout;        /* of one attempt */
    bool checkpoints;                   /* there is a checkpoint directory */
    uint32_t max_restarts;              /* in `restart_window` */
    uint64_t restart_window;            /* an hour */
    uint32_t program_failures;          /* generations in a row without a step: 3 */
    bool on_gpus; /* partial sums lie with their ranks: those of who is left out are lost */
};

/* What survives a coordinator: small, written atomically by the shell at CORE_DO_RECORD. */
struct core_record {
    uint32_t epoch;
    uint64_t generation;
    uint32_t target_workers;
    uint64_t best_step;        /* the most finished steps ever heard of */
    uint64_t committed_step;   /* of the newest committed checkpoint, CORE_NONE: none */
    uint32_t program_failures; /* in a row */
    uint32_t restarts_total;   /* for people and TORCHELASTIC_RESTART_COUNT */
    uint64_t restart_age;      /* ns from the beginning of the newest bucket to the record */
    uint32_t restarts[CORE_RESTART_BUCKETS]; /* spent in each bucket, newest first */
    bool started;                            /* generation 1 was formed once */
    bool stopping;                           /* SIGTERM was heard */
    bool joined;                             /* a rank has joined: the program uses the library */
    uint32_t losses;                         /* noted, not yet in a `recovered` */
    int32_t stop_signal;                     /* that was heard */
    uint32_t launch_serial; /* of tickets: 1 + place + (max_workers + spares) * serial */
    uint32_t carrier_job;   /* the newest given */
    bool over;              /* the job's end is decided: who goes on only says so again */
    int32_t exit_code;      /* then */
    uint32_t reason;        /* then: enum core_reason */
};

/* ---- events ---------------------------------------------------------------------------------- */

enum core_rank_state { /* numbers of RankState in wire.proto */
                       CORE_RANK_EMPTY,
                       CORE_RANK_STARTING,
                       CORE_RANK_READY,
                       CORE_RANK_MEMBER,
                       CORE_RANK_LEFT,
                       CORE_RANK_DONE,
};

struct core_rank_status {
    uint32_t rank; /* its name, or CORE_NO_RANK */
    enum core_rank_state state;
    bool has_state;
    uint64_t position; /* finished steps */
    int32_t pid;       /* of its process; of the one that ended, where EMPTY; 0: not known */
    uint64_t start;    /* number of the START_RANKS that it was last started by; 0: not known */
};

/* What a worker says of one launch of carriers.  All 0: nothing. */
struct core_carrier {
    uint32_t job;
    uint32_t place, hosts; /* its carrier there is number `place` of `hosts`; hosts 0: none there */
    bool runs;             /* mpirun runs there */
    bool standby;          /* the launch stands by */
};

struct core_worker_status {
    uint32_t slots;
    struct core_rank_status rank[CORE_RANKS_PER_WORKER];
    uint64_t layout_hash;      /* 0: none yet */
    uint64_t snapshot_step[2]; /* CORE_NONE: no valid snapshot */
};

enum core_event_kind {
    CORE_EV_TICK, /* time passed; at least every heartbeat; `late`: by how much the loop was late */
    CORE_EV_HELLO,         /* a worker says who and where it is (also: again) */
    CORE_EV_HEARTBEAT,     /* alive; status of its ranks (level: heals lost messages) */
    CORE_EV_CLOSED,        /* its connection closed, or the launcher saw it end */
    CORE_EV_RANK_EXITED,   /* a rank's process ended */
    CORE_EV_FREEZE_ACK,    /* all its ranks stand still under `word` */
    CORE_EV_PROGRESS,      /* a rank finished its first step under `word` */
    CORE_EV_SNAPSHOT,      /* snapshot of `step` is in its arena, or was missed */
    CORE_EV_SHARD_WRITTEN, /* its part of checkpoint `attempt` is on storage, or failed */
    CORE_EV_COMMITTED,     /* the shell wrote the manifest of `attempt`, or failed */
    CORE_EV_LOADED,        /* the checkpoint asked for is in its arena, or was refused (code) */
    CORE_EV_CHECKPOINTS,   /* the shell's answer to CORE_DO_FIND: newest usable one */
    CORE_EV_CARRIER_UP,
    CORE_EV_CARRIER_LOST,
    CORE_EV_COMM_FAILED,   /* a rank's communicator of `word` failed, and nobody is lost; or,
                              with `waited`, no sum comes */
    CORE_EV_LAUNCH_FAILED, /* a ticket came to nothing; final: do not try again */
    CORE_EV_LAUNCHED,      /* to a core that has a record, once: tickets of earlier lives that are
                              still to come; nothing is launched before it */
    CORE_EV_DRAIN,         /* `worker` will end soon: it hands over to a successor, and leaves */
    CORE_EV_SCALE,         /* set the target */
    CORE_EV_STOP,          /* finish the step, checkpoint, leave (SIGTERM, `reknit stop`) */
    CORE_EV_KILL,          /* end at once (second Ctrl-C, `reknit kill`) */
    CORE_EV_COUNT_
};

struct core_event {
    enum core_event_kind kind;
    uint64_t now;
    struct rk_worker_id worker; /* who says it, where somebody does */
    uint64_t serial; /* rises with what `worker` says: a late status is refused; 0: none */
    rk_word word; /* HELLO, HEARTBEAT: of the plan in force there; FREEZE_ACK, PROGRESS, LOADED */
    union {
        struct {
            uint64_t late;
        } tick;
        struct {
            struct rk_host_id host;
            uint32_t ticket;  /* 0: came by itself */
            uint32_t members; /* workers of the generation in force there */
            bool member;      /* this worker began it with a rank in it */
            rk_word frozen_word;
            rk_word lineage;
            uint64_t deal_step;
            uint64_t stop_at;
            struct core_carrier carrier[2];
            const struct core_worker_status *status;
        } hello;
        struct {
            const struct core_worker_status *status;
        } heartbeat;
        struct {
            uint64_t detect; /* ns from the death to the message, as far as known */
            bool ended;      /* the launcher saw all its processes end: it is fenced */
        } closed;
        struct {
            uint32_t slot;
            int32_t exit_code, signal;
            bool stopped;       /* the agent killed it because it stood still */
            bool stalled;       /* ... because it hung: its program, or what we do for it */
            bool out_of_memory; /* the kernel killed it for that */
            bool joined, left;
            uint64_t position; /* left: its finished steps, as no heartbeat may have said yet */
            uint64_t detect;
            int32_t pid;    /* of the process that ended; one ended by `replace` is not reported */
            uint64_t start; /* number of the START_RANKS that it was started by; 0: not known */
        } rank_exited;
        struct {
            const struct core_worker_status *status;
            uint64_t complete_step;
            uint64_t deal_step; /* the step `done` is about */
            rk_word lineage;
            uint32_t max_nodes;   /* see arena_report */
            const uint64_t *done; /* V bits in V / 64 words, rounded up */
        } freeze_ack;
        struct {
            uint64_t position;
        } progress;
        struct {
            uint64_t step;
            bool missed;
            uint64_t took;
        } snapshot;
        struct {
            uint32_t attempt;
            int32_t code; /* 0 or rk_error */
            uint64_t took;
        } shard_written, committed;
        struct {
            uint64_t step;
            int32_t code;
        } loaded;
        struct {
            uint64_t step; /* CORE_NONE: there is none */
            bool damaged;  /* there are others that cannot be used */
        } checkpoints;
        struct {
            uint32_t job;
            uint32_t place, hosts; /* UP: as in core_carrier */
        } carrier;
        struct {
            uint64_t waited; /* for longer than any program keeps control, ns; 0: it failed */
        } comm_failed;
        struct {
            uint32_t ticket;
            bool final;
        } launch_failed;
        struct {
            const uint32_t *ticket;
            uint32_t count;
        } launched;
        struct {
            uint64_t within; /* ns to its end; 0: not known */
        } drain;
        struct {
            uint32_t workers;
        } scale;
        struct {
            int32_t signal; /* 0: asked by a client */
        } stop;
    };
};

/* ---- actions --------------------------------------------------------------------------------- */

enum core_action_kind {
    CORE_DO_RECORD,      /* make core_record durable before any later action of this step; or,
                            `later`, soon: nothing waits for it */
    CORE_DO_WELCOME,     /* to `worker` */
    CORE_DO_REFUSE,      /* to `worker`: code (RK_EFENCED: out for good; RK_ESTATE: say hello) */
    CORE_DO_LAUNCH,      /* ticket, place: start a worker there */
    CORE_DO_KILL_WORKER, /* to the launcher (ticket) and, where it listens, to `worker`: end it */
    CORE_DO_START_RANKS, /* to `worker`: start ranks in `slots` where no process runs; `replace`:
                            kill what runs in these slots first */
    CORE_DO_FREEZE, /* word; to all workers (core_worker_next), or, named, to `worker` (again) */
    CORE_DO_GO,     /* to the same: core_plan_read() holds for all; or, named, to `worker` again */
    CORE_DO_SNAPSHOT, /* to all members: leave a snapshot at `step` */
    CORE_DO_FIND,     /* look for the newest usable committed checkpoint: CORE_EV_CHECKPOINTS */
    CORE_DO_LOAD,     /* to `worker`: bring checkpoint `step` into its host's arena */
    CORE_DO_REJECT,   /* quarantine checkpoint `step`: it was refused on load */
    CORE_DO_BEGIN,    /* make the directory of checkpoint `attempt` at `step` */
    CORE_DO_WRITE,    /* to `worker`: write part `writer` of `writers` of `attempt` */
    CORE_DO_COMMIT,   /* all parts are there: write the manifest: CORE_EV_COMMITTED */
    CORE_DO_ABANDON,  /* `attempt` came to nothing */
    CORE_DO_CARRIERS, /* carriers `job` serve and carriers `standby` stand by (0: none), all others
                         must be dead; `worker`, if any, starts mpirun of the newer of them */
    CORE_DO_EVENT,    /* a line for the events stream: `note` */
    CORE_DO_SHUTDOWN, /* end all workers */
    CORE_DO_FINISH,   /* the job is over with `exit_code`; nothing follows */
    CORE_DO_COUNT_
};

enum core_note { /* names of the events stream, DESIGN section 5 */
                 CORE_NOTE_JOB_STARTED,
                 CORE_NOTE_WORKER_JOINED,
                 CORE_NOTE_WORKER_LOST,
                 CORE_NOTE_RANK_EXITED,
                 CORE_NOTE_GENERATION_STARTED,
                 CORE_NOTE_CHECKPOINT_COMMITTED,
                 CORE_NOTE_CHECKPOINT_REJECTED,
                 CORE_NOTE_RECOVERED,
                 CORE_NOTE_SCALED,
                 CORE_NOTE_DRAINED, /* `worker` has handed over, and is out */
                 CORE_NOTE_JOB_FINISHED,
                 CORE_NOTE_CARRIERS_DELAYED, /* they did not come up `tries` times: `wait` */
};

enum core_reason {
    CORE_REASON_NONE,
    CORE_REASON_CLOSED,  /* its connection closed */
    CORE_REASON_SILENT,  /* no heartbeat for `silence` */
    CORE_REASON_EXIT,    /* exit code */
    CORE_REASON_SIGNAL,  /* killed by a signal */
    CORE_REASON_STOPPED, /* stood still (SIGSTOP) and was killed */
    CORE_REASON_SCALED,  /* asked to leave */
    CORE_REASON_DRAINED, /* it was to end soon, and has handed over */
    CORE_REASON_LAUNCH,  /* never came up */
    CORE_REASON_LAYOUT,  /* registered something else than the others */
    CORE_REASON_PROGRAM, /* the program failed for good */
    CORE_REASON_BUDGET,  /* the restart budget is spent */
    CORE_REASON_STOP,    /* SIGTERM, SIGINT, `reknit stop` */
    CORE_REASON_KILL,
    CORE_REASON_CHECKPOINT, /* nothing could be loaded */
    CORE_REASON_SAVE,       /* the final checkpoint could not be written */
    CORE_REASON_COMM,       /* communicators failed again and again */
    CORE_REASON_MEMORY,     /* killed by the kernel, for want of memory */
    CORE_REASON_STALLED,    /* it hung for too long, and was killed */
    CORE_REASON_COUNT_
};

/* How the carriers of a generation came when those before them were lost. */
enum core_carriers_way {
    CORE_CARRIERS_SAME, /* none were lost */
    CORE_CARRIERS_STANDBY,
    CORE_CARRIERS_RELAUNCH,
};

struct core_action {
    enum core_action_kind kind;
    struct rk_worker_id worker;
    rk_word word;
    uint64_t step;
    uint32_t ticket, place;
    uint32_t attempt, writer, writers;
    uint32_t job, standby;
    uint32_t tries; /* CARRIERS_DELAYED */
    uint64_t wait;
    enum core_carriers_way carriers; /* RECOVERED */
    int32_t code, exit_code, signal;
    uint32_t rank;  /* CORE_NO_RANK: none */
    uint64_t slots; /* START_RANKS: bit s: slot s; names in core_worker_find */
    bool replace;
    bool later; /* RECORD */
    bool in_place;
    enum core_note note;
    enum core_reason reason;
    bool spare;              /* WORKER_LOST: it had no part in the job yet */
    uint32_t workers, world; /* GENERATION_STARTED, SCALED */
    uint64_t detect, recover, lost_steps;
    uint32_t losses;
};

struct core_actions {
    uint32_t count;
    struct core_action action[CORE_MAX_ACTIONS];
};

/* ---- the core -------------------------------------------------------------------------------- */

struct core;

/* A core for a job that starts (record NULL) or goes on (the record of the last life; the new
 * epoch must be greater than record->epoch).  RK_EINVAL names the impossible number in *why. */
int core_new(const struct core_config *config, const struct core_record *record, uint32_t epoch,
             uint64_t now, struct core **out, struct rk_why *why);
void core_free(struct core *core);

/* Takes one event in; *actions is overwritten with what must be done, in order. */
void core_step(struct core *core, const struct core_event *event, struct core_actions *actions);

/* The next time at which a CORE_EV_TICK has something to do, or CORE_NONE. */
uint64_t core_deadline(const struct core *core);

/* The record as of `now`. */
void core_record_read(const struct core *core, uint64_t now, struct core_record *record);

/* ---- looking at it --------------------------------------------------------------------------- */

enum core_job_state {
    CORE_JOB_GATHERING,  /* waiting for workers */
    CORE_JOB_RECOVERING, /* a new coordinator waits for the workers of the old one */
    CORE_JOB_STARTING,   /* ranks start, none is a member yet */
    CORE_JOB_FORMING,    /* freeze is out, acks are coming */
    CORE_JOB_LOADING,    /* a checkpoint is brought into an arena */
    CORE_JOB_RUNNING,
    CORE_JOB_HELD,      /* fewer than min_workers; ranks wait */
    CORE_JOB_FINISHING, /* ranks have left; the final checkpoint is being written */
    CORE_JOB_ENDED,
    CORE_JOB_COUNT_
};
enum core_job_state core_state(const struct core *core);
const char *core_state_name(enum core_job_state state);
const char *core_rank_state_name(enum core_rank_state state);
const char *core_event_name(enum core_event_kind kind);
const char *core_action_name(enum core_action_kind kind);
const char *core_note_name(enum core_note note);
const char *core_reason_name(enum core_reason reason);

enum core_member_state {
    CORE_WORKER_ABSENT,  /* a free entry */
    CORE_WORKER_PRESENT, /* said hello; its ranks are empty, starting or ready */
    CORE_WORKER_MEMBER,  /* at least one rank is in the generation (being formed or in force) */
    CORE_WORKER_LEAVING, /* asked to leave (scale, drain): no longer planned with */
    CORE_WORKER_LOST,    /* out; kept until it is fenced */
    CORE_WORKER_COUNT_
};

struct core_worker_view {
    struct rk_worker_id worker;
    struct rk_host_id host;
    enum core_member_state state;
    bool draining, spare; /* it will end soon; it waits to take a place */
    uint32_t place, ticket;
    uint64_t last_heard;
    struct core_worker_status status;
};

/* Workers one by one, in the order of their lowest rank's name within a host, hosts in the order
 * of their lowest rank: *cursor starts as 0; false when there is no further one.  O(1) a call. */
bool core_worker_next(const struct core *core, uint32_t *cursor, struct core_worker_view *view);
bool core_worker_find(const struct core *core, struct rk_worker_id worker,
                      struct core_worker_view *view);

/* What the generation in force, or being formed, means; the shell fills Go and StartCarriers. */
struct core_plan {
    rk_word word;
    rk_word lineage;
    uint64_t deal_step;
    uint64_t stop_at; /* CORE_NONE: none */
    uint32_t world, members, hosts;
    uint32_t carrier_job;
    bool carrier_part; /* only the carriers on its hosts take part: core_carrier_place */
    bool program; /* ranks run without the library: no step, no freeze, `word` for people only */
    bool fresh;
    bool restart;                 /* no rank held state (fresh, from a snapshot or a checkpoint) */
    struct rk_host_id state_host; /* that gives the state to those without, value 0: nobody */
    const uint64_t *done;         /* V bits */
    uint32_t restarts;
};
void core_plan_read(const struct core *core, struct core_plan *out);
/* Which of the carriers that serve runs on `host`, one of the plan's. */
uint32_t core_carrier_place(const struct core *core, struct rk_host_id host);

/* Members (ranks) of that generation one by one, by rising index: hosts in the order of their
 * lowest rank name, ranks within a host by name. */
struct core_member {
    struct rk_worker_id worker;
    struct rk_host_id host;
    uint32_t slot, rank, index, host_index;
    bool has_state; /* it stands at deal_step, so it can give that state */
    bool stateless; /* it has none, so it must be given one; neither: it is a step behind, and goes
                       on by itself once it has that step's sum */
};
bool core_member_next(const struct core *core, uint32_t *cursor, struct core_member *member);

/* Workers that are out but may still run on `host`, to be killed before its freeze is acked. */
bool core_fence_next(const struct core *core, struct rk_host_id host, uint32_t *cursor,
                     struct rk_worker_id *worker);

uint64_t core_refused(const struct core *core); /* events that the tables did not allow */

/* Writes the state tables as text (`reknit coordinator --print-rules`, and the doc page). */
size_t core_rules_print(char *text, size_t size);

#endif
