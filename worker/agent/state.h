/* What an agent knows, and who of its files does what.  One thread: the main loop (agent.c) takes
 * one `now` a turn, and each function here runs inside a turn and never blocks. */
#ifndef RK_WORKER_AGENT_STATE_H
#define RK_WORKER_AGENT_STATE_H

#include "collectives/arena.h"
#include "common/error.h"
#include "common/link.h"
#include "worker/agent/options.h"
#include "worker/local.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENT_NO_RANK UINT32_MAX
#define AGENT_TAIL 4096u /* bytes of a rank's last output that are kept */
#define AGENT_PEERS 256u /* connections to the agent's socket */
#define AGENT_CHILDREN 64u
#define AGENT_FENCES (ARENA_SEATS + 2 * ARENA_AGENTS)
#define AGENT_PATH 4096u

struct agent;
struct peer;

/* A descriptor in the agent's epoll set; embedded in the object it belongs to. */
struct watch {
    int fd; /* -1: none */
    void (*ready)(struct agent *agent, struct watch *watch, uint32_t events);
};

#define watch_owner(watch, type, member) ((type *)((char *)(watch)-offsetof(type, member)))

/* ---- ranks ----------------------------------------------------------------------------------- */

/* One of the two pipes of a rank's output. */
struct output {
    struct watch watch;
    struct rank *rank;
    char line[1024]; /* the unfinished line */
    uint32_t used;
};

/* What StartRanks asked for, kept until the slot is empty. */
struct rank_order {
    bool wanted;
    bool replace;
    uint32_t rank, world_size, group_rank, local_world_size, master_port;
    uint32_t restart_count, max_restarts;
    uint64_t generation;
    uint64_t start; /* its number */
    char master_addr[256];
};

struct rank {
    uint32_t slot;
    uint32_t name; /* AGENT_NO_RANK: none assigned */
    struct rank_order order;

    /* the process started for it */
    pid_t pid; /* 0: none */
    struct watch child;
    int status;      /* of waitpid, once `child` has fired */
    bool child_gone; /* dead and collected */
    uint64_t generation;
    uint64_t start; /* number of the order that it was started by */
    struct output out, err;
    int log;
    char tail[AGENT_TAIL]; /* a ring of its last output */
    uint64_t tail_end;     /* bytes ever put into it */

    /* the process that called rk_join: the child itself, or one below it */
    pid_t attached_pid; /* 0: none */
    pid_t ended_pid;    /* of the process that ran here before; 0: none did */
    struct watch attached;
    bool attached_gone;
    pid_t remains; /* one that ran here and is still being taken down; 0: none */
    struct peer *peer;

    int32_t seat; /* -1: none */
    bool joined, entered, member, left, done;
    bool wait_said;      /* that there is no seat for it now */
    bool killed_stopped; /* we killed it because it stood still */
    bool killed_stalled; /* ... because it hung */
    bool out_of_memory;  /* the kernel killed it for that */
    uint64_t position;   /* when it left */
    uint64_t stopped_at; /* when we first saw it stopped, 0: it is not */
    uint32_t waits;      /* of its seat, when we last looked */
    uint64_t lasts_ns;   /* what that says has lasted, while we were awake */
    uint64_t fading_at;  /* when its process was seen to begin to end, 0: it has not */
    uint64_t dying_at;   /* first sign of its death, 0: it lives */
    uint64_t kill_at;    /* then what is left of it is killed, 0: no such time */
    char log_path[AGENT_PATH];
};

/* ---- connections ------------------------------------------------------------------------------
 */

enum peer_kind { PEER_NEW, PEER_RANK, PEER_CARRIER, PEER_CARRIER_WAITING, PEER_RSH };

struct peer {
    struct watch watch;
    pid_t pid;
    enum peer_kind kind;
    bool used;
    bool declaring;
    struct rank *rank;   /* PEER_RANK */
    uint64_t request;    /* PEER_RSH */
    uint32_t job;        /* PEER_CARRIER, PEER_CARRIER_WAITING */
    uint32_t place, of;  /* it is number `place` of `of` carriers */
    struct watch alive;  /* PEER_CARRIER: pidfd */
    uint64_t stopped_at; /* PEER_CARRIER*: when we first saw it stopped, 0: it is not */
};

/* ---- children that are not ranks ---------------------------------------------------------------
 */

enum child_kind {
    CHILD_NONE,
    CHILD_MPIRUN,
    CHILD_ORTED,
    CHILD_WRITER,
    CHILD_LOADER,
    CHILD_REMAINS
};

struct child {
    enum child_kind kind;
    struct agent *agent;
    pid_t pid;
    struct watch alive;
    uint32_t job;  /* mpirun, orted */
    uint32_t slot; /* remains: where the rank ran */
    char folder[AGENT_PATH];
    bool ended;          /* mpirun, orted: not collected yet, see children.c */
    uint64_t stopped_at; /* writer, loader: when we first saw it stopped, 0: it is not */
    uint64_t tidy_at;

    struct watch report; /* writer, loader: a pipe */
    bool gone;
    uint8_t *data; /* what came through it */
    size_t size, capacity;
    uint32_t attempt;
    uint32_t snapshot;
    uint64_t step;
    rk_word word;
    uint64_t began;
};

/* ---- freeze -----------------------------------------------------------------------------------
 */

struct fence_target {
    struct watch watch; /* pidfd; fd -1: it could not be opened yet */
    pid_t pid;          /* 0: free */
    uint64_t start;     /* of /proc/PID/stat */
    uint64_t kill_at;   /* a warden gets a moment to take everything below it along; 0: killed */
};

struct freeze {
    rk_word word;           /* newest seen */
    bool stored;            /* what is out is dead, ranks have been told */
    bool acked;             /* the coordinator has been told */
    uint64_t carrier_until; /* by then the carrier stands still or is killed */
    uint64_t fenced[ARENA_AGENTS];
    uint32_t fenced_count;
    struct fence_target target[AGENT_FENCES];
    uint32_t waiting; /* targets that are not dead yet */
};

/* ---- output to our own standard output --------------------------------------------------------
 */

struct relay {
    struct watch watch;
    bool pollable, closed;
    char *data; /* whole lines, waiting */
    size_t used, capacity;
    uint64_t dropped;
};

/* ---- the agent --------------------------------------------------------------------------------
 */

enum agent_end { AGENT_RUNS, AGENT_ENDING };

struct agent {
    const struct agent_options *options;
    uint64_t now;
    struct rk_worker_id worker;
    pid_t pid, warden_pid;

    int epoll;
    struct watch signals, life, listener, declared;
    struct watch looks;   /* a timer */
    uint64_t looks_since; /* 0: there is nothing to look at */
    struct link *link;
    bool up, welcomed;
    uint64_t hello_at; /* not before; 0: at once when due */
    bool hello_due;
    uint64_t heartbeat_at; /* next */
    uint64_t down_since;   /* when the link was last up, or the start */
    uint64_t heartbeat_ns, silence_ns, orphan_ns;
    uint64_t stall_ns;  /* 0: a rank's program may keep control for ever */
    uint64_t looked_at; /* at the ranks */
    uint32_t shards;
    uint32_t wire; /* enum arena_wire, as the coordinator says */

    char host_dir[AGENT_PATH], socket_path[AGENT_PATH];
    struct arena arena;
    int block;
    uint64_t layout_hash;
    struct arena_plan plan; /* the last one put in force; word 0: none */
    uint32_t plan_members;  /* workers of the plan */
    bool plan_member;       /* this one began it with a rank in it */
    struct freeze freeze;
    uint64_t snapshot_wanted; /* ARENA_NO_STEP: none */

    struct lives *lives; /* NULL: there is no thread that watches over ranks */
    bool fading;         /* a rank is, and is looked at each turn */
    struct rank rank[RK_MAX_SLOTS];
    uint64_t start_at; /* by then ranks that were ordered are started, 0: none were */
    struct peer peer[AGENT_PEERS];
    struct peer *carrier;              /* that touches the arena */
    uint32_t carrier_job, standby_job; /* that are to serve, and to stand by; 0: none */
    uint32_t newest_job;               /* the newest of those ever named to be kept */
    struct child child[AGENT_CHILDREN];
    struct relay relay;

    enum agent_end end;
    int exit_code;
    bool leaving;        /* it will be ended soon, and hands over until then */
    bool goodbye;        /* say it when ranks are dead */
    uint64_t kill_at;    /* ending: SIGKILL then */
    uint64_t give_up_at; /* ending: leave what does not die to the warden */
    char end_why[256];
    int memory_fd;         /* what counts them: */
    uint64_t memory_kills; /* of our cgroup, those that ends of ranks were laid to included */
    uint64_t refused;      /* messages that came too late or made no sense */
};

/* agent.c */
/* Takes `fd` over; on failure it is closed and *watch is none. */
int watch_add(struct agent *agent, struct watch *watch, int fd, uint32_t events,
              void (*ready)(struct agent *, struct watch *, uint32_t));
void watch_change(struct agent *agent, struct watch *watch, uint32_t events);
/* Closes it; harmless on one that has none. */
void watch_drop(struct agent *agent, struct watch *watch);
/* Begins to end: SIGTERM to the ranks, SIGKILL after `grace`, then the process exits with `code`.
 * The first call counts; a later one can only make it sooner. */
void agent_end(struct agent *agent, int code, uint64_t grace, const char *why);
int agent_main(const struct agent_options *options, pid_t warden);

/* host.c: finds or makes the arena and the socket */
int host_open(struct agent *agent, struct rk_why *why);
/* The job's shards are known: RK_EPROTO when the arena was made for another number. */
int host_set_job(struct agent *agent, uint32_t shards, bool fast, bool on_gpus, struct rk_why *why);
void host_close(struct agent *agent);

/* declare.c: arena_declare in a thread of its own, since it waits for a lock and for memory */
int declare_open(struct agent *agent, struct rk_why *why);
void declare_close(struct agent *agent);
/* Begins for `peer`, taking `fd` over; peer->declaring until the answer is sent. */
void declare_begin(struct agent *agent, struct peer *peer, int fd);
/* `peer` is gone: its answer is not wanted any more. */
void declare_forget(struct peer *peer);

/* ranks.c */
void ranks_init(struct agent *agent);
void rank_order_start(struct agent *agent, struct rank *rank, const struct rank_order *order);
/* At a heartbeat: ranks that stand still, and deadlines; starts what is to be started. */
void ranks_look(struct agent *agent);
/* A freeze or a go: what ranks wait for begins now. */
void ranks_wait_anew(struct agent *agent);
/* Starts ranks that were ordered, unless a generation is being formed and goes first. */
void ranks_start_due(struct agent *agent);
void rank_attached(struct agent *agent, struct rank *rank, struct peer *peer, int pidfd);
/* The connection of its library is closed. */
void rank_detached(struct agent *agent, struct rank *rank);
void rank_left(struct agent *agent, struct rank *rank, uint64_t position);
bool rank_alive(const struct rank *rank);
bool ranks_alive(const struct agent *agent);
void rank_kill(struct agent *agent, struct rank *rank);
void ranks_signal(struct agent *agent, int number);
struct arena_seat *rank_seat(const struct agent *agent, const struct rank *rank);
void ranks_close(struct agent *agent);
/* Its process begins to end.  False: it may still touch the arena, and is to be looked at again
 * soon. */
bool rank_fades(struct agent *agent, struct rank *rank);
/* What was left of a rank's process has ended. */
void rank_collect(struct agent *agent, struct child *remains);

/* lives.c */
/* A process that begins to end and has its memory after this time has executed another program. */
#define LIVES_FADING RK_S
/* Without a thread for it, ranks are lost when they are gone. */
void lives_open(struct agent *agent);
void lives_close(struct agent *agent);
/* From when its library has its life in its seat, until its seat is given up. */
void lives_watch(struct agent *agent, const struct rank *rank);
void lives_forget(struct agent *agent, const struct rank *rank);
/* Each turn while agent->fading. */
void lives_look(struct agent *agent);

/* output.c */
int relay_open(struct agent *agent, struct rk_why *why);
/* Writes what waits for at most `timeout_ms`, then frees. */
void relay_close(struct agent *agent, int timeout_ms);
int output_open(struct agent *agent, struct rank *rank, int *out, int *err, struct rk_why *why);
/* Reads what is left, ends a last unfinished line, closes pipes and log. */
void output_close(struct agent *agent, struct rank *rank);
/* The last lines of a rank, printable, into text[AGENT_TAIL + 1]. */
void output_tail(const struct rank *rank, char *text);

/* local_server.c */
int local_server_open(struct agent *agent, struct rk_why *why);
void local_server_close(struct agent *agent);
void peer_refuse(struct agent *agent, struct peer *peer, int code, const char *text);
void peer_close(struct agent *agent, struct peer *peer);
/* Sends WELCOME with the arena. */
int peer_welcome(struct agent *agent, struct peer *peer);
int peer_say(struct agent *agent, struct peer *peer, enum local_kind kind);
struct peer *peer_of_request(struct agent *agent, uint64_t request);

/* control.c: what the coordinator says */
void control_receive(struct agent *agent);

/* say.c: what we say to the coordinator.  Losing one is harmless: state is said again. */
void say_hello(struct agent *agent);
void say_heartbeat(struct agent *agent);
void say_heartbeat_soon(struct agent *agent);
void say_rank_exited(struct agent *agent, const struct rank *rank, uint64_t detect);
void say_freeze_ack(struct agent *agent);
void say_progress(struct agent *agent, uint64_t position);
void say_snapshot(struct agent *agent, uint64_t step, bool missed, uint64_t took);
void say_shard_written(struct agent *agent, const struct child *child, int code, const char *why,
                       const void *report, size_t size);
void say_state_loaded(struct agent *agent, rk_word word, uint64_t step, int code, const char *why);
void say_carrier_up(struct agent *agent, const struct peer *carrier);
void say_carrier_lost(struct agent *agent, uint32_t job, pid_t pid, const char *why);
int say_rsh_request(struct agent *agent, uint64_t request, const char *host, const char *command,
                    uint32_t job);
void say_rsh_started(struct agent *agent, uint64_t request, uint64_t to, int code, const char *why);
void say_comm_id(struct agent *agent, rk_word word, const char *id, size_t size);
void say_comm_failed(struct agent *agent, rk_word word, uint32_t rank, uint64_t waited,
                     const char *why);
void say_leaving(struct agent *agent);
void say_goodbye(struct agent *agent, const char *why);

/* freeze.c */
void freeze_begin(struct agent *agent, rk_word word, const uint64_t *fence, size_t count);
/* Goes on when what it waits for has come about; cheap, called each turn. */
void freeze_check(struct agent *agent);
/* Whether a freeze has come whose go has not. */
bool freeze_is_open(const struct agent *agent);
/* Whether the coordinator may count on a rank that has entered: it will follow the next go. */
bool freeze_knows(const struct agent *agent, const struct rank *rank);
/* Puts a plan in force.  RK_ESTALE: it is not of the freeze that we acknowledged; RK_ENOENT: a
 * member that it names has no seat here (a newer freeze is on its way). */
int freeze_go(struct agent *agent, const struct arena_plan *plan, const uint64_t *workers,
              const uint32_t *slots, uint32_t members, struct rk_why *why);
void freeze_snapshot_at(struct agent *agent, uint64_t step);
/* What the ranks of a generation meet by in NCCL is there for ours. */
void freeze_comm_id(struct agent *agent, const Rk__CommId *id);
void freeze_snapshot_look(struct agent *agent, uint64_t took);

/* fence.c */
/* Begins to kill every process of worker `id` on this host. */
void fence_begin(struct agent *agent, uint64_t id);
/* All are dead: turns its seats into ghosts and frees its block. */
void fence_finish(struct agent *agent, uint64_t id);
/* fence_finish for each worker of this host that is dead as a whole, whether anybody named it or
 * not: the coordinator need not name one that it knows to be dead. */
void fence_sweep(struct agent *agent);
void fence_look(struct agent *agent);

/* carriers.c */
void agent_carriers_start(struct agent *agent, uint32_t job, char **hosts, size_t count);
/* Carriers `job` serve and carriers `standby` stand by (0: none); all others die. */
void carriers_keep(struct agent *agent, uint32_t job, uint32_t standby);
/* Those that a plan names serve, whether the coordinator was heard to say so or not. */
void carriers_serve(struct agent *agent, uint32_t job);
/* Whether carriers of that number may live. */
bool carriers_wanted(const struct agent *agent, uint32_t job);
#define CARRIER_WORDS 480u
/* Why mpirun or a daemon of it has ended, as far as their log tells; for people. */
void carriers_last_words(const struct agent *agent, const struct child *child,
                         char words[CARRIER_WORDS]);
void agent_carriers_rsh(struct agent *agent, uint64_t request, uint64_t from, const char *command,
                        uint32_t job);
void carriers_rsh_done(struct agent *agent, uint64_t request, int code, const char *why);
/* `place`: which of its carriers it is in the low half, how many there are in the high one. */
void carrier_attach(struct agent *agent, struct peer *peer, uint32_t job, uint64_t place);
void carrier_lost(struct agent *agent, struct peer *peer);
bool carrier_acked(const struct agent *agent, rk_word word);
/* From now on the carrier has half a silence to acknowledge a freeze. */
void carrier_expect(struct agent *agent);
/* It has not: one in a loop inside MPI hears nothing.  Kills it; others take over. */
void carrier_give_up(struct agent *agent);
/* At a heartbeat: carriers that are stopped, those that stand by too. */
void carriers_look(struct agent *agent);
/* Whether `pid` runs below an mpirun or orted of ours. */
bool carriers_own(const struct agent *agent, pid_t pid);

/* children.c */
struct child *child_new(struct agent *agent, enum child_kind kind);
/* Kills it and its process group; what else is in its session goes when it has ended. */
void child_kill(struct child *child);
bool children_alive(const struct agent *agent);
void children_kill(struct agent *agent);
/* Does what was put off when children ended. */
void children_tidy(struct agent *agent);
/* At a heartbeat: writers and loaders that are stopped. */
void children_look(struct agent *agent);
/* Starts watching a child that was spawned. */
int child_watch(struct child *child, pid_t pid, int pidfd);
void child_free(struct child *child);
/* Removes a folder of ours with all that is in it. */
void folder_remove(const char *path);

/* storage.c */
void storage_write(struct agent *agent, uint32_t attempt, uint64_t step, const char *dirname,
                   uint32_t writer, uint32_t writers);
void storage_load(struct agent *agent, rk_word word, uint64_t step, const char *dirname);
void storage_report(struct agent *agent, struct child *child);
/* A writer or loader ended and its pipe is at its end. */
void storage_done(struct agent *agent, struct child *child);
/* The child process itself; returns its exit code. */
int storage_child(int argc, char **argv);

#endif
