/* The inside of `reknit pods`: one struct, and the functions by which its files call each other.
 *
 *   command.c   options, birth, the end          loop.c      the turn: what to wait for, signals
 *   talk.c      with the coordinator             cluster.c   pods: watched, created, deleted
 *   nodes.c     what the cluster says of nodes, where we may look
 *   setup.c     what must be known of the cluster before the coordinator starts
 *   adopt.c     objects of the job that nobody owns yet
 *   own.c       the worker of this pod, where the launcher is one
 *   leave.c     when this pod is to end
 *   keeper.c    the record's copy in the cluster, and whose epoch it is
 *   resize.c    how many workers the Job wants, as that changes
 *   causes.c    why workers and the job ended, beside that record
 *   line*.c     in the coordinator's place: the user's own command line (line.h)
 *
 * One `now` a turn, one thread, no call blocks.  What is decided about pods is decided in
 * k8s/reconcile, what about workers in the coordinator; here is only what connects them. */
#ifndef RK_LAUNCH_PODS_SHELL_H
#define RK_LAUNCH_PODS_SHELL_H

#include "common/link.h"
#include "k8s/client/api.h"
#include "k8s/client/notices.h"
#include "k8s/client/request.h"
#include "k8s/client/watch.h"
#include "k8s/client/write.h"
#include "k8s/manifest/mpijob.h"
#include "k8s/reconcile/pods.h"
#include "k8s/render/render.h"
#include "launch/coordinator_process.h"
#include "launch/crew.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#define SHELL_UID 40
#define OWN_ITEMS 4

struct shell_options {
    const char *config;     /* the MPIJob as JSON */
    const char *namespace;  /* NULL: the API's own */
    const char *kubeconfig; /* NULL: as in a pod */
    const char *pod_name, *pod_uid;
    enum render_gang gang;
    const char *state_dir; /* of this pod; what must outlive it is in the cluster */
};

/* The coordinator is told to dial this. */
struct dialled {
    uint32_t ticket;
    char endpoint[80];
};

/* What stands between the birth of this process and that of the coordinator, in this order. */
enum setup_step {
    SETUP_JOB,    /* uid of the Job that owns all */
    SETUP_SECRET, /* the job's keys, made when they are missing */
    SETUP_ADOPT,  /* objects that were applied before the Job was known */
    SETUP_RECORD, /* what an earlier coordinator knew, and epochs for this one */
    SETUP_DONE,
};

struct keeper {
    json_t *map;               /* the ConfigMap as last seen; NULL: there is none */
    uint32_t epoch, epoch_end; /* the next life of the coordinator's, and the first not ours */
    char *kept;                /* the text that is in the cluster */
    uint64_t causes;           /* as often changed as what is being written */
    bool behind;               /* the cluster, as of the last look */
    struct request *request;   /* under way */
    uint64_t look_at;          /* the file */
};

#define CAUSES_KEPT 8u
#define CAUSE_SIZE 1056

/* What was lost, the newest, and how the job ended: sentences. */
struct causes {
    char loss[CAUSES_KEPT][CAUSE_SIZE]; /* a ring */
    uint32_t count;                     /* that were put into it */
    char end[CAUSE_SIZE];
    uint64_t changed, kept; /* so often; as of what is in the cluster */
    uint64_t paid;          /* up to here the rate of Events is used up */
    uint32_t untold;
};

/* How many workers; see resize.c. */
/* An object that is written anew when the size changes. */
struct follower {
    const char *behind;  /* what is to be said when it cannot be */
    struct write *write; /* under way */
};

struct resize {
    struct watch *watch;
    struct follower hosts, group; /* the hostfile; the gang scheduler's PodGroup */
    uint32_t wanted;              /* by the Job; 0: it does not say */
    uint32_t asked, size, most;
    uint32_t asking;   /* the coordinator, until it answers; 0: nothing */
    uint64_t again;    /* then it is asked once more */
    bool settled;      /* `size` is in the record that is kept */
    char refused[400]; /* why `asked` is not `size`; "" */
};

struct line;

/* The worker in this pod: at most one runs, those before it may still be ending. */
struct own {
    struct place place;
    char **program; /* of the job, NULL ended; the words are the job's */
    struct crew crew;
};

struct shell {
    struct shell_options given;
    struct mpijob *job;
    const char *namespace;
    char owner[SHELL_UID]; /* uid of the Job */

    struct api *api;
    struct request *request; /* of the set-up */
    uint32_t adopting;       /* objects, and the list of them, that SETUP_ADOPT waits for */
    enum setup_step step;
    uint64_t step_since, say_at; /* the step began; that it still lasts is said then */
    struct watch *watch;
    struct notices *notices;
    bool relist;         /* the watch is to be opened again */
    struct watch *nodes; /* NULL: they are not watched */
    bool nodes_refused;
    struct pods *pods;
    struct keeper keeper;
    struct causes causes;
    struct resize resize;
    struct line *line; /* the user's own command; NULL: the job has a program */

    struct run_options options; /* of the coordinator, as `reknit run` would have them */
    char workers[32];
    struct directories directories;
    struct secret secret;
    char self[PATH_MAX];
    struct crew_job crew_job;
    struct own own;
    struct coordinator_process coordinator;
    struct link *link;
    bool link_was_up;
    struct dialled *dialled;
    size_t dialled_count;

    int signals; /* signalfd */
    uint64_t now, wall;
    uint64_t start_at; /* the coordinator, again; UINT64_MAX: it runs, or must not */
    int stop_signal;   /* SIGTERM came; 0 */
    bool suspended;    /* by whoever owns the job */
    bool ended;        /* the job has an exit code */
    int exit_code;
    char why[512];
    uint64_t outcome_deadline;
    uint64_t end_deadline; /* then this process ends whatever is left */
    bool leave;            /* end now, and leave the pods as they are */
};

/* ---- command.c ------------------------------------------------------------------------------- */

/* Of the job as it is known by now. */
void shell_fill_options(struct shell *shell);
/* The secret is known: a socket for the coordinator, and the connection to it. */
int shell_open_control(struct shell *shell, struct rk_why *why);

/* ---- loop.c ---------------------------------------------------------------------------------- */

/* Until the job is over and what is to go is gone, or until we are to leave. */
void shell_run(struct shell *shell);
/* Says that the job is over with this code, unless that is known already. */
void shell_end(struct shell *shell, int exit_code, const char *why);
/* Ends this process without ending the job: somebody else goes on with it. */
void shell_leave(struct shell *shell, const char *why);

/* ---- setup.c --------------------------------------------------------------------------------- */

/* Starts the first request; each answer starts the next; the last one starts all else. */
void setup_start(struct shell *shell);
/* The answer to a request of the set-up was not what is needed: the sentence, and the end. */
void setup_fail(struct shell *shell, int code, const char *what, const struct response *response);
void setup_next(struct shell *shell);
/* Says, ever less often, that the set-up still waits for an answer, and why. */
void setup_turn(struct shell *shell);

/* ---- adopt.c --------------------------------------------------------------------------------- */

/* SETUP_ADOPT. */
void adopt_start(struct shell *shell);
/* One that was seen later, where nobody owns it. */
void adopt_pod(struct shell *shell, const json_t *pod);

/* ---- talk.c ---------------------------------------------------------------------------------- */

int talk_open(struct shell *shell, struct rk_why *why);
void talk_hear(struct shell *shell);
void talk_close(struct shell *shell);
/* A worker is no more, `status` as waitpid has it; or it could not be started, `final`: it never
 * can. */
void talk_gone(struct shell *shell, uint32_t ticket, int status, const char *why);
void talk_failed(struct shell *shell, uint32_t ticket, bool final, const char *why);
void talk_notice(struct shell *shell, const struct pods_action *action);
void talk_dial(struct shell *shell, uint32_t ticket, const char *address);
void talk_hang_up(struct shell *shell, uint32_t ticket);
void talk_resize(struct shell *shell, uint32_t workers);

/* ---- cluster.c ------------------------------------------------------------------------------- */

int cluster_open(struct shell *shell, struct rk_why *why);
void cluster_close(struct shell *shell);
/* Feeds the event, with `now` filled in, and does what follows from it. */
void cluster_step(struct shell *shell, struct pods_event *event);
/* An Event of the job, and a line of the log. */
void cluster_tell(struct shell *shell, const struct pods_action *action);
/* What time alone has made due. */
void cluster_tick(struct shell *shell);
/* The job is over: pods go as its cleanPodPolicy says, or all of them. */
void cluster_stop(struct shell *shell, bool all);

/* ---- nodes.c --------------------------------------------------------------------------------- */

void nodes_open(struct shell *shell);
void nodes_turn(struct shell *shell);
void nodes_close(struct shell *shell);

/* ---- own.c ----------------------------------------------------------------------------------- */

/* What it needs, where the launcher is a worker of a program; else nothing.  RK_EINVAL. */
int own_open(struct shell *shell, struct rk_why *why);
void own_close(struct shell *shell);
/* Whether that ticket of the coordinator's is for the place in this pod. */
bool own_has(const struct shell *shell, uint32_t ticket);
void own_launch(struct shell *shell, uint32_t ticket, uint32_t place);
/* Its end is told when it is reaped; at once when it does not run. */
void own_kill(struct shell *shell, uint32_t ticket);
/* Tickets that run, at most `room`; how many. */
size_t own_tickets(const struct shell *shell, uint32_t *ticket, size_t room);
/* What to wait for, at most OWN_ITEMS; how many. */
int own_items(const struct shell *shell, zmq_pollitem_t *items);
/* Passes on what it prints. */
void own_relay(struct shell *shell);
/* A child of this process is no more. */
void own_reaped(struct shell *shell, pid_t pid, int status);
/* Without a coordinator nobody tells it that the job is over: its life line does. */
void own_let_go(struct shell *shell);
bool own_idle(const struct shell *shell);

/* ---- leave.c --------------------------------------------------------------------------------- */

/* A signal has asked this process to end. */
void leave_start(struct shell *shell);

/* ---- keeper.c -------------------------------------------------------------------------------- */

/* SETUP_RECORD: reads the record of earlier coordinators and takes epochs. */
void keeper_start(struct shell *shell);
/* The least epoch that the coordinator's next life may take; false: none is left, more are being
 * asked for and the coordinator is started when they are there. */
bool keeper_epoch(struct shell *shell, uint32_t *epoch);
/* Looks, now and then, whether the file has changed, and copies it. */
void keeper_turn(struct shell *shell);
/* The file may have changed: looks in the next turn. */
void keeper_look(struct shell *shell);
/* True when the cluster has what the file has. */
bool keeper_idle(const struct shell *shell);
void keeper_close(struct shell *shell);

/* ---- resize.c -------------------------------------------------------------------------------- */

/* The Job as it is now. */
void resize_said(struct shell *shell, const json_t *job);
/* Data of the record in the cluster: what an earlier coordinator made of it; then back into it. */
void resize_load(struct shell *shell, const json_t *data);
void resize_fill(struct shell *shell, json_t *data, const char *record);
int resize_open(struct shell *shell, struct rk_why *why);
void resize_turn(struct shell *shell);
/* The coordinator's answer to talk_resize. */
void resize_answer(struct shell *shell, const Rk__Resize *answer);
void resize_close(struct shell *shell);

/* ---- causes.c -------------------------------------------------------------------------------- */

/* What the reconciler has to say to people. */
void causes_told(struct shell *shell, const struct pods_action *action);
/* An event of the coordinator's: that a rank has failed is told. */
void causes_event(struct shell *shell, const json_t *event);
void causes_end(struct shell *shell, int exit_code, const char *why);
/* `losses` and `end` of the record in the cluster: from there, and into the data of its object. */
void causes_load(struct shell *shell, const char *losses);
void causes_fill(const struct shell *shell, json_t *data);

#endif
