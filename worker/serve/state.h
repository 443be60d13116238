/* The inside of `reknit worker --serve`.
 *
 *   serve.c      the loop, the connection         commands.c   starting, killing, forgetting
 *   streams.c      the streams of commands          words.c      a command without a shell */
#ifndef RK_WORKER_SERVE_STATE_H
#define RK_WORKER_SERVE_STATE_H

#include "common/flow.h"
#include "common/link.h"
#include "worker/serve/hold.h"
#include "worker/serve/serve.h"

#include <stdbool.h>
#include <stdint.h>

#define SERVE_COMMANDS 64u /* at one time; an MPI starts one daemon in a pod */

struct command {
    uint64_t request; /* of its asker's; 0: this entry is free */
    uint64_t line;    /* for which it runs */
    struct held held;
    int in, out[2]; /* our ends; -1: closed */
    struct flow_in input;
    struct flow_out output[2]; /* standard output and error */
    bool ended;                /* the command itself; daemons of its may go on */
    int status;                /* as of waitpid */
    char why[256];             /* it could not be started; "" */
    bool told;                 /* that it ended */
    bool forgotten;            /* the asker knows all it wants to */
};

struct serve {
    const struct agent_options *options;
    struct link *link;
    uint64_t id;
    bool up;
    bool greeted;   /* this connection was answered */
    uint64_t hello; /* when to say hello again */
    int signals;    /* signalfd */
    bool leave;     /* a signal came */
    uint64_t now;
    uint64_t heard; /* when somebody spoke last */
    uint64_t line;  /* the one that is begun, under its epoch; 0: none */
    uint32_t number;
    uint64_t ask; /* to be answered when nothing of other lines is left; 0: answered */
    bool broken;  /* what ran for this line was killed here */
    struct command command[SERVE_COMMANDS];
};

/* ---- serve.c --------------------------------------------------------------------------------- */

/* False: it did not go out, and is to be said again. */
bool serve_say(struct serve *serve, Rk__Envelope__BodyCase kind, void *body);

/* ---- commands.c ------------------------------------------------------------------------------ */

struct command *commands_find(struct serve *serve, uint64_t request);
void commands_start(struct serve *serve, const Rk__ExecStart *start);
void commands_finish(struct serve *serve, const Rk__ExecDone *done);
/* Kills those of other lines than `line`; 0: all. */
void commands_kill(struct serve *serve, uint64_t line);
/* True while something of another line than `line` is left. */
bool commands_remain(const struct serve *serve, uint64_t line);
/* Takes in what has ended, and frees what is over. */
void commands_tidy(struct serve *serve);
void commands_close(struct serve *serve);

/* ---- streams.c ---------------------------------------------------------------------------------
 */

/* Between the pipes of commands and their flows. */
void streams_turn(struct serve *serve);
/* Says what is due. */
void streams_say(struct serve *serve);
/* After a new connection: what may be lost is said again. */
void streams_again(struct serve *serve);
void streams_take(struct serve *serve, const Rk__ExecData *data);
void streams_taken(struct serve *serve, const Rk__ExecTaken *taken);

/* ---- words.c --------------------------------------------------------------------------------- */

/* Splits a command as a shell would that knows blanks, quotes and backslashes only; the words point
 * into `text`, which is changed.  False: there are more than `most`, or a quote stays open. */
bool words_split(char *text, char **word, unsigned most);

#endif
