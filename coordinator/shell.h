/* The inside of the shell: one struct, and the functions by which its files call each other.
 *
 *   coordinator.c  options, birth, the loop, the end
 *   input.c        messages to events of the core
 *   output.c       actions of the core to messages
 *   plan.c         the messages that speak of members
 *   launches.c     the launcher's side
 *   carriers.c     carriers, and rsh between hosts
 *   comm.c         communicators of GPUs
 *   saves.c        checkpoints, on a thread of their own
 *   clients.c      requests
 *   notes.c        the core's notes to events
 *   report.c       what the run was worth
 *   status.c       the job as JSON
 *
 * One `now` and one `wall` a turn.  Everything runs on one thread, but the jobs of saves.c. */
#ifndef RK_COORDINATOR_SHELL_H
#define RK_COORDINATOR_SHELL_H

#include "common/secret.h"
#include "coordinator/core/core.h"
#include "coordinator/events.h"
#include "coordinator/options.h"
#include "coordinator/recorder.h"
#include "coordinator/server.h"
#include "coordinator/workers.h"

#include <jansson.h>

#define RATE_POINTS 64u
#define PENDING_MAX 256u
#define MAX_FOLLOWERS 64u
#define MAX_INTERRUPTIONS 1000u
#define LAST_WORDS_MAX 2048u

struct saves;

/* A launch whose worker has not said hello yet. */
struct launch {
    uint32_t ticket, place;
    bool said; /* to the launcher that is connected */
};
struct launches {
    uint64_t launcher; /* id, 0: not connected */
    int32_t supervisor_pid;
    struct launch *launch;
    size_t count, capacity;
    bool unsaid; /* some may be */
    bool heard;  /* what it runs from earlier lives of the coordinator */
};

/* One launch of carriers: its hosts in the order of the generation that it was made for. */
struct carriers_launch {
    uint32_t job; /* 0: free */
    uint32_t hosts;
    uint64_t *host;   /* rk_host_id */
    uint64_t *worker; /* that was named for it */
    uint32_t up;      /* carriers that came */
};
struct carriers {
    struct carriers_launch launch[2]; /* as far as this coordinator started them */
    uint32_t job, standby;            /* that shall live; 0: none */
    uint32_t failed; /* of those that were to serve, in a row, some carrier never came */
};

/* Communicators of GPUs, as of the last plan. */
#define COMM_MOST_LOST 64u
struct comms {
    rk_word word;
    struct core_member *member; /* by index */
    size_t count;
    rk_word from; /* the communicator that it is shrunk from, 0: made anew */
    uint32_t lost_count;
    uint32_t lost[COMM_MOST_LOST];
    uint32_t id_size; /* 0: the first rank has not said it yet */
    uint8_t id[128];
    char why[1024]; /* the last failure of one, for people */
};

struct follower {
    uint64_t client; /* 0: free */
    uint64_t next;   /* event to send */
    bool follow;
};

struct clients {
    struct follower follower[MAX_FOLLOWERS];
    uint64_t launcher_next; /* event to send to the launcher, whoever it is */
};

struct interruption {
    double t, detect_ms, recover_ms;
    uint64_t lost_steps, losses;
    bool in_place;
};

struct report {
    struct interruption interruption[MAX_INTERRUPTIONS];
    uint64_t interruptions; /* seen; the first MAX_INTERRUPTIONS are kept */
    double lost_ms;
    uint64_t lost_steps;
    double first_generation; /* seconds since 1970, 0: none yet */
    uint64_t start_step;     /* where the run began */
    bool began;
    bool ended; /* that it has is among the events */
};

/* What the environment of ranks says of the whole. */
struct world {
    bool known; /* false: something has happened since it was read */
    uint32_t size;
    const struct worker_info *first;
};

/* Steps over the last seconds. */
struct rate {
    struct rate_point {
        uint64_t now, step;
    } point[RATE_POINTS];
    uint32_t count;
    uint64_t step; /* the most finished steps heard of */
};

struct coordinator {
    struct options options;
    struct secret secret;
    struct core_config config;
    struct record record;
    struct recorder *recorder;
    struct server *server;
    struct core *core;
    struct events *events;
    struct saves *saves; /* NULL: no checkpoints */
    struct workers workers;
    struct launches launches;
    struct carriers carriers;
    struct comms comms;
    struct clients clients;
    struct report report;
    struct rate rate;
    uint64_t now, wall, born;
    struct world world;
    rk_word port_word;
    uint32_t port; /* MASTER_PORT of the ranks started under port_word */
    struct core_event pending[PENDING_MAX];
    uint32_t pending_count;
    uint64_t committed_step;
    char committed_dirname[80];
    struct { /* of the rank that ended badly last */
        uint32_t rank;
        char host[256];
        char lines[LAST_WORDS_MAX];
    } last_words;
    bool feeding;
    bool superseded; /* another coordinator has a higher epoch */
    bool ended;
    int32_t exit_code;
    char why[4000]; /* the job's end, for people */
};

/* ---- coordinator.c --------------------------------------------------------------------------- */

/* Gives an event to the core and does what it says.  From within an action: as soon as that is
 * done.  `event` must not point to anything then. */
void coordinator_feed(struct coordinator *c, struct core_event *event);
/* Ends the job from here: workers are told, the outcome is `exit_code` with that sentence. */
void coordinator_fail(struct coordinator *c, int32_t exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- input.c --------------------------------------------------------------------------------- */

void input_take(struct coordinator *c, const struct server_input *input);

/* ---- output.c -------------------------------------------------------------------------------- */

void output_do(struct coordinator *c, const struct core_action *action);
void output_refuse(struct coordinator *c, uint64_t worker, int code, const char *why);
void output_shutdown(struct coordinator *c, const char *why);
void output_shutdown_one(struct coordinator *c, uint64_t worker, const char *why);

/* ---- plan.c ---------------------------------------------------------------------------------- */

/* Whether a worker in that state hears what is said to all. */
bool plan_hears(enum core_member_state state);
void plan_welcome(struct coordinator *c, uint64_t worker);
void plan_start_ranks(struct coordinator *c, const struct core_action *action);
void plan_freeze(struct coordinator *c, const struct core_action *action);
void plan_go(struct coordinator *c, const struct core_action *action);

/* ---- launches.c ------------------------------------------------------------------------------ */

void launches_done(struct launches *launches);
void launches_start(struct coordinator *c, uint32_t ticket, uint32_t place);
/* Tells the launcher of those that it was not told of, in one message. */
void launches_say(struct coordinator *c);
void launches_hello(struct coordinator *c, uint64_t launcher, const Rk__LauncherHello *hello);
void launches_came(struct coordinator *c, uint32_t ticket);
/* The worker takes part. */
void launches_welcomed(struct coordinator *c, uint64_t worker);
void launches_notice(struct coordinator *c, const Rk__Notice *notice);
void launches_gone(struct coordinator *c, const Rk__WorkerGone *gone);
void launches_failed(struct coordinator *c, const Rk__LaunchFailed *failed);
void launches_dial(struct coordinator *c, const char *endpoint, bool hang_up);
void launches_kill(struct coordinator *c, const struct core_action *action);
void launches_outcome(struct coordinator *c, const char *report);

/* ---- carriers.c ------------------------------------------------------------------------------ */

void carriers_done(struct carriers *carriers);
void carriers_do(struct coordinator *c, const struct core_action *action);
void carriers_state(struct coordinator *c, uint64_t worker, const Rk__CarrierState *state);
void carriers_rsh(struct coordinator *c, uint64_t worker, const Rk__RshRequest *request);
void carriers_rsh_started(struct coordinator *c, uint64_t worker, const Rk__RshStarted *started);

/* ---- comm.c ---------------------------------------------------------------------------------- */

void comms_done(struct comms *comms);
/* A plan of these members goes out. */
void comms_plan(struct coordinator *c, rk_word word, const struct core_member *member,
                size_t count);
void comms_fill(const struct coordinator *c, Rk__Go *go);
void comms_id(struct coordinator *c, uint64_t worker, const Rk__CommId *id);
void comms_failed(struct coordinator *c, uint64_t worker, const Rk__CommFailed *failed);

/* ---- saves.c --------------------------------------------------------------------------------- */

int saves_open(const struct options *options, uint32_t epoch, struct saves **saves,
               struct rk_why *why);
void saves_close(struct saves *saves);   /* waits a moment for what is under way; takes NULL */
int saves_fd(const struct saves *saves); /* readable when there is an answer */
void saves_answers(struct coordinator *c);
void saves_do(struct coordinator *c, const struct core_action *action);
void saves_written(struct coordinator *c, uint64_t worker, const Rk__ShardWritten *written);
/* Whether nothing is under way. */
bool saves_idle(const struct saves *saves);
const char *saves_dirname(const struct saves *saves, uint64_t step);
const char *saves_trouble(const struct saves *saves); /* why the newest was not written, or "" */

/* ---- clients.c ------------------------------------------------------------------------------- */

void clients_request(struct coordinator *c, uint64_t client, const Rk__Request *request);
/* The launcher's wish, and the answer. */
void clients_resize(struct coordinator *c, uint64_t launcher, const Rk__Resize *resize);
void clients_closed(struct coordinator *c, uint64_t client);
/* Sends events to those that wait for them.  True: there is more for some that were full. */
bool clients_events(struct coordinator *c);

/* ---- notes.c --------------------------------------------------------------------------------- */

void notes_add(struct coordinator *c, const struct core_action *action);
/* {"t":..., "event": name}, a new reference. */
json_t *notes_new(const struct coordinator *c, const char *name);

/* ---- report.c -------------------------------------------------------------------------------- */

/* Takes an event into the account. */
void report_see(void *coordinator, const json_t *event);
void rate_take(struct coordinator *c, uint64_t step);
/* All ranks go back to `step`. */
void rate_restart(struct coordinator *c, uint64_t step);
double rate_steps_per_s(const struct coordinator *c);
uint64_t report_batch(const struct coordinator *c);
double report_goodput(const struct coordinator *c);
/* The whole, a new reference. */
json_t *report_json(const struct coordinator *c);
/* Writes STATE_DIR/report.json and gives the text, freed by the caller; NULL: no memory. */
char *report_write(const struct coordinator *c);

/* ---- status.c -------------------------------------------------------------------------------- */

json_t *status_json(const struct coordinator *c);

#endif
