/* The workers that `reknit run` started: one process each, the warden, here or behind ssh. */
#ifndef RK_LAUNCH_CREW_H
#define RK_LAUNCH_CREW_H

#include "common/secret.h"
#include "launch/directories.h"
#include "launch/lines.h"
#include "launch/places.h"
#include "launch/processes.h"

#include <stdbool.h>
#include <stdint.h>

/* One process whose two streams we relay. */
struct relayed {
    struct process process; /* pid 0: it has ended; out, err -1: at their end */
    struct lines out, err;
    int log;     /* file of its standard error, -1: none */
    bool hidden; /* the last line of its log was not worth showing, nor are lines that belong to it
                  */
};

struct worker {
    uint32_t ticket;
    struct place place;
    uint64_t id; /* rk_worker_id, when the coordinator has named it; else 0 */
    int life;    /* our end of its life line */
    uint64_t started;
    struct relayed relayed;
};

/* What the workers are made from; all borrowed. */
struct crew_job {
    const struct run_options *options;
    const struct directories *directories;
    const struct secret *secret;
    const char *self;        /* path of reknit */
    const char *machine;     /* name of this machine */
    const struct place *pod; /* all are in this pod, whose log has what their ranks print; NULL:
                                where the options say */
};

struct crew {
    struct crew_job job;
    struct worker **worker; /* each freed with its last stream; array freed by crew_done */
    size_t count;
};

/* Starts a worker for `ticket` at `place`; nothing when that ticket is running.  *now for its age.
 */
int crew_launch(struct crew *workers, uint32_t ticket, uint32_t place, uint64_t now,
                struct rk_why *why);
/* Kills the one of this ticket and all below it; for one on another host, its connection. */
void crew_kill(struct crew *workers, uint32_t ticket, uint64_t id);
/* The worker whose process was `pid`, which has been reaped: it no longer runs.  NULL: none. */
struct worker *crew_ended(struct crew *workers, pid_t pid);
/* How many still run. */
size_t crew_running(const struct crew *workers);
/* Frees those that have ended and whose streams are at their end. */
void crew_forget(struct crew *workers);
void crew_done(struct crew *workers);

/* A process whose standard error goes to LOGS/NAME too. */
void relayed_init(struct relayed *relayed, const char *logs, const char *name);
void relayed_done(struct relayed *relayed);

/* `text` as one word for a POSIX shell, appended to `out`.  RK_EFULL. */
int crew_quote(const char *text, char *out, size_t size);

#endif
