/* The inside of line.h.
 *
 *   line.c          one run after the other      line_posts.c   the workers
 *   line_calls.c    reknit-rsh and what it runs  line_relay.c   its streams
 *   line_files.c    hostfiles, what must outlive this process
 *   line_echo.c     what it prints              line_volume.c  the hostfile in a volume
 *   line_environment.c   what the command is told */
#ifndef RK_LAUNCH_PODS_LINE_STATE_H
#define RK_LAUNCH_PODS_LINE_STATE_H

#include "common/flow.h"
#include "coordinator/server.h"
#include "k8s/client/write.h"
#include "launch/pods/line.h"
#include "launch/rsh_frames.h"
#include "worker/serve/hold.h"

#define LINE_PING RK_S
/* Longer than a worker waits for us: it has killed what we asked for when we give it up. */
#define LINE_SILENCE (8 * RK_S)

/* A place of the job and the worker there. */
struct post {
    uint32_t place;
    uint32_t ticket; /* 0: none is wanted yet */
    uint32_t over;   /* a ticket that is to be killed; 0: none */
    uint64_t want_at;
    char name[PODS_NAME], uid[PODS_UID], address[PODS_ADDRESS];
    char endpoint[80]; /* "": it is not dialled */
    uint64_t id;       /* of the process there; 0: it has not said hello */
    bool connected;
    bool used;         /* the line depends on it */
    uint32_t ready;    /* for this line */
    uint64_t answered; /* the highest ask */
    uint64_t heard;
};

/* A command that reknit-rsh asked for. */
struct call {
    struct call *next;
    uint64_t request;
    int fd;            /* of reknit-rsh; -1: it is gone, and the command is to be killed */
    uint32_t events;   /* that are waited for */
    bool begun;        /* it has said where, and what */
    struct post *post; /* where; NULL: nowhere */
    char *command;
    bool started; /* the worker was told */
    bool killed;  /* so was that */
    bool ended;
    bool finished; /* and reknit-rsh is told, as soon as it takes it */
    int32_t exit_code;
    char why[256];
    struct flow_out input;
    struct flow_in output[2];
    char *in; /* one frame, or a part of it */
    size_t in_used, in_room;
    char *out; /* one frame; NULL: none */
    size_t out_used, out_sent;
};

struct echo {
    int from[2];     /* where standard output and error of the command are read; -1: ended */
    bool blocked[2]; /* as of the last look, ours take nothing */
    char tail[2048];
    size_t used;
};

enum line_state {
    LINE_WAITS,   /* for the list of pods */
    LINE_GATHERS, /* waits for workers */
    LINE_SETTLES, /* has them, and waits for the volume of the hostfile */
    LINE_RUNS,
    LINE_JUDGED, /* its command failed: was a worker lost? */
    LINE_ENDS,   /* is killed, to run again */
    LINE_OVER,
};

struct line {
    struct shell *shell;
    char **words;
    enum line_state state;
    uint32_t number;
    char reason[256]; /* why it starts */
    struct held held; /* its command */
    struct echo echo;
    char asked[PODS_NAME]; /* a worker that the command named, and that is not there; "" */
    int exit_code;         /* JUDGED */
    uint64_t judge_ask;
    uint64_t gather_until, report_at;
    uint32_t restarts, tickets; /* tickets: the next one */

    struct server *server;
    uint64_t ask, ping_at;
    struct post *post;
    uint32_t posts, needed, least;
    bool resizing; /* what is run again now was not lost */

    int listener, epoll;
    struct call *call;
    uint64_t requests;
    char socket_path[108];

    struct write *write; /* of the hosts' ConfigMap, under way */
    char *hostfile;      /* of this line */
    char *discover;
    char *writing[2], *written[2]; /* hostfile, discover: being written, known to be there */
    uint64_t write_at;
    struct write *touch; /* of this pod, under way */
    uint64_t settle_until;
};

/* ---- line.c ---------------------------------------------------------------------------------- */

/* The line cannot go on as it is: it is run again. */
void line_restart(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- line_posts.c ---------------------------------------------------------------------------- */

int posts_open(struct line *line, struct rk_why *why);
void posts_close(struct line *line);
/* Finds out who is there, and tells the reconciler whom we want. */
void posts_tell(struct line *line);
bool posts_act(struct line *line, const struct pods_action *action);
void posts_turn(struct line *line);
void posts_ping(struct line *line);
/* There are so many from now on, no more than there is room for. */
void posts_resize(struct line *line, uint32_t posts);
bool posts_is_ready(const struct line *line, const struct post *post);
/* By the name of its pod, a name under which that place was known, or its address. */
struct post *posts_find_host(struct line *line, const char *host);
bool posts_say(struct line *line, const struct post *post, Rk__Envelope__BodyCase kind, void *body);

/* ---- line_calls.c ---------------------------------------------------------------------------- */

int calls_open(struct line *line, struct rk_why *why);
void calls_close(struct line *line);
void calls_turn(struct line *line);
/* All are over: of the line nothing is left. */
void calls_drop(struct line *line);
/* The worker's connection is new: what may be lost is said again. */
void calls_again(struct line *line, const struct post *post);
void calls_take(struct line *line, const struct post *post, const Rk__Envelope *envelope);
/* reknit-rsh is gone. */
void call_lose(struct line *line, struct call *call);
/* By this pod's name, or that of the Job's pods. */
bool call_is_here(const struct line *line, const char *host);
/* Where to, what: reknit-rsh's first frame.  False: the call is over. */
void call_begin(struct line *line, struct call *call, const char *data, size_t size);

/* ---- line_relay.c ---------------------------------------------------------------------------- */

/* What reknit-rsh has sent, as far as there is room. */
void relay_read(struct line *line, struct call *call);
/* To reknit-rsh, as much as it takes; true when all was said, its exit too. */
bool relay_write(struct line *line, struct call *call);
/* To the worker. */
void relay_say(struct line *line, struct call *call);
/* Notes one frame for reknit-rsh; false: one waits already, or there is no memory. */
bool relay_frame(struct call *call, enum rsh_kind kind, const void *data, size_t size);

/* ---- line_volume.c --------------------------------------------------------------------------- */

/* From now on the volume is waited for, but not for ever. */
void volume_await(struct line *line);
/* True when it has the hosts of the line that is to start, or was waited for in vain. */
bool volume_settled(struct line *line);
/* The ConfigMap was written: changes this pod, so that the kubelet looks. */
void volume_touch(struct line *line);
void volume_close(struct line *line);
/* ---- line_echo.c --------------------------------------------------------------------------- */

void echo_init(struct line *line);
/* For the next run: into[0] and into[1] are to be its streams, and to be closed by the caller, also
 * after a failure, where they may be -1. */
int echo_open(struct line *line, int into[2], struct rk_why *why);
void echo_turn(struct line *line);
int echo_items(const struct line *line, zmq_pollitem_t *items);
void echo_close(struct line *line);

/* ---- line_environment.c ---------------------------------------------------------------------- */

/* For the command, by which an MPI finds its launch agent and its hosts: the names of the hostfiles
 * as Open MPI and as Hydra read them, in the run directory. */
void environment_set(const struct line *line, const char *hostfile, const char *hydra_hostfile);

/* ---- line_files.c ---------------------------------------------------------------------------- */

int files_open(struct line *line, struct rk_why *why);
void files_close(struct line *line);
/* Hosts of the line that starts now. */
int files_write(struct line *line, struct rk_why *why);
/* The ConfigMap follows. */
void files_turn(struct line *line);
void files_load(struct line *line);
void files_save(const struct line *line);

#endif
