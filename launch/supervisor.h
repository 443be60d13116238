/* The heart of `reknit run`: one loop that keeps a coordinator alive, starts and kills workers as
 * it says, relays what they print, and ends with the job.
 *
 * Nothing of this decides about membership: killed at any point and told anew by the coordinator
 * what to start, it goes on. */
#ifndef RK_LAUNCH_SUPERVISOR_H
#define RK_LAUNCH_SUPERVISOR_H

#include "common/link.h"
#include "launch/coordinator_process.h"
#include "launch/crew.h"
#include "launch/janitor.h"
#include "launch/screen.h"

#include <stdbool.h>
#include <stdint.h>

struct supervisor {
    struct run_options options;
    struct directories directories;
    struct secret secret;
    struct janitor janitor;
    char self[PATH_MAX];
    char machine[HOSTS_NAME_MAX + 1];
    int signals; /* signalfd */
    struct screen *screen;
    struct screen_status status;
    struct link *link;     /* as the launcher; both NULL when all is said */
    struct link *requests; /* as a client: status, stop */
    bool link_was_up;
    struct coordinator_process coordinator;
    struct crew workers;
    uint64_t now;
    uint64_t next_status;
    int stop_signal;        /* the first SIGINT, SIGTERM or SIGHUP; 0: none */
    int stops_wanted;       /* requests to stop that the coordinator should have heard */
    int stops_said;         /* and those that went out */
    uint64_t stop_deadline; /* of the second one; 0: none */
    bool ended;             /* exit_code holds; what is left is to clear up */
    int exit_code;
    char why[512];
    char *report_json;         /* of the Outcome; freed by whoever ran the supervisor */
    uint64_t end_deadline;     /* then the processes that are left are killed */
    uint64_t outcome_deadline; /* the coordinator has exited, its Outcome may be on its way */
    char last_error[256];      /* of the coordinator's log */
};

/* Runs the job that is set up in *s until all its processes are gone. */
void supervisor_run(struct supervisor *s);

/* Says that the job is over with this code, unless that is known already. */
void supervisor_end(struct supervisor *s, int exit_code, const char *why);

/* ---- conversation.c: the launcher's and the client's talk with the coordinator ----------------
 */

/* Takes what has arrived, and says what has to be said (hello, stop, status). */
void conversation_turn(struct supervisor *s);
/* Hangs up: the coordinator waits, at its end, until nobody is left. */
void conversation_end(struct supervisor *s);
/* A worker's process is gone; `status` as of waitpid. */
void conversation_worker_gone(struct supervisor *s, const struct worker *worker, int status);

#endif
