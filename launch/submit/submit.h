/* The inside of `reknit submit`: one struct, and the functions by which its files call each other.
 *
 *   ../submit_command.c  options, files, the end    call.c      one request after the other
 *   kinds.c              how kinds are addressed    rights.c    may we, and may the coordinator
 *   apply.c              a job's objects            follow.c    what becomes of it
 *   outcome.c            how it ended               say.c       lines for people, JSON for programs
 *
 * same.h and progress.h are pure.  Everything waits in submit_turn, which Ctrl-C and --timeout end:
 * then each call that is under way fails, and `interrupted` or `late` says why.
 *
 * Errors: codes of common/error.h, the sentence in struct rk_why.  Threads: one. */
#ifndef RK_LAUNCH_SUBMIT_SUBMIT_H
#define RK_LAUNCH_SUBMIT_SUBMIT_H

#include "k8s/client/api.h"
#include "k8s/client/request.h"
#include "k8s/manifest/mpijob.h"
#include "k8s/render/render.h"
#include "launch/screen.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SUBMIT_NAME 320 /* bytes of a name made from a job's */
#define SUBMIT_MANAGER "reknit"
#define SUBMIT_INTERRUPTED 130 /* exit code, as shells have it */
#define SUBMIT_FAILED 69       /* exit code: not the program's fault */

struct submit_options {
    const char *namespace, *context, *kubeconfig, *image; /* NULL: as the header of render.h says */
    const char *follow; /* a job's name; NULL: a file is submitted */
    enum render_gang gang;
    bool dry_run, detach, json;
    uint64_t timeout; /* 0: none */
};

struct submit {
    struct submit_options given;
    struct api *api;
    struct screen *screen; /* NULL with --json */
    json_t *kinds;         /* what kinds.c has asked for: {"batch/v1": {"Job": {...}}} */
    int signals;           /* signalfd */
    uint64_t now, wall;
    uint64_t deadline; /* of all; 0: none */
    bool interrupted, late;
    bool defines; /* the file brings kinds of its own, which are served a little later */
};

/* ---- call.c ---------------------------------------------------------------------------------- */

struct answer {
    int rc, code;
    json_t *body; /* owned; NULL: none */
    char reason[64];
    struct rk_why why;
};

/* Waits for at most `most` ns, and does what is due.  RK_ETIMEDOUT: it is over, see above. */
int submit_turn(struct submit *submit, uint64_t most, struct rk_why *why);
/* Waits for `time`. */
int submit_pause(struct submit *submit, uint64_t time, struct rk_why *why);

/* Asks and waits for the answer, which is to be given to answer_done whatever it is; returns its
 * rc.  `path` is taken; `type` NULL: JSON. */
int submit_call(struct submit *submit, enum verb verb, char *path, const char *type,
                const json_t *body, struct answer *answer);
/* The text that a path answers with, cut to `size`.  "" where there is none. */
void submit_call_text(struct submit *submit, char *path, char *text, size_t size);
void answer_done(struct answer *answer);

/* ---- kinds.c --------------------------------------------------------------------------------- */

struct kind {
    const char *plural; /* lives as long as the submit */
    bool namespaced;
};

/* Asks the server, once for each API version.  RK_ENOENT: it has no such kind. */
int kind_find(struct submit *submit, const char *version, const char *kind, struct kind *found,
              struct rk_why *why);

/* ---- rights.c -------------------------------------------------------------------------------- */

/* What is needed to submit (and follow) jobs in a namespace is ours to do; missing verbs are told
 * one by one.  RK_EACCES. */
int rights_check(struct submit *submit, const char *namespace, bool gang, struct rk_why *why);
/* The same for objects of other kinds, which are applied. */
int rights_check_apply(struct submit *submit, const char *version, const char *plural,
                       const char *namespace, struct rk_why *why);
/* The job's ServiceAccount is there, and the Role `reknit` has what this version's coordinator
 * needs.  RK_ENOENT with how to install it. */
int rights_check_account(struct submit *submit, const struct mpijob *job, const char *namespace,
                         bool gang, struct rk_why *why);

/* ---- apply.c --------------------------------------------------------------------------------- */

#define APPLY_OVER 1 /* the job was submitted before, and has ended */

/* Server-side apply of an object of another kind; `namespace` is for kinds that have one. */
int apply_other(struct submit *submit, const json_t *object, const char *namespace,
                struct rk_why *why);
/* Makes what is missing of a job.  0 or APPLY_OVER; RK_EEXIST: another job has the name. */
int apply_job(struct submit *submit, const struct mpijob *job, const char *namespace, bool account,
              struct rk_why *why);
/* Whether the job comes with a gang scheduler's group. */
int apply_is_gang(struct submit *submit, const struct mpijob *job, const char *namespace,
                  bool *gang, struct rk_why *why);

/* ---- follow.c, outcome.c --------------------------------------------------------------------- */

/* Until the job is over: its exit code into *exit_code.  RK_ENOENT: there is no such job. */
int follow_job(struct submit *submit, const char *namespace, const char *name, int *exit_code,
               struct rk_why *why);

#define OUTCOME_LOG 16384

/* The last coordinator of a job, as far as it was seen; zero at first.  What it said is kept as
 * soon as it has failed: a Job may delete the pod with its log. */
struct outcome {
    char pod[SUBMIT_NAME], container[128];
    bool ended, restarted; /* has ended; runs again since then */
    int64_t ended_s;
    int exit_code;
    bool kept;
    char log[OUTCOME_LOG]; /* the last lines */
};

/* A pod of the job, in any order and as often as one likes. */
void outcome_see(struct outcome *outcome, const json_t *pod);
/* Fetches the log where there is a failure whose log was not fetched yet. */
void outcome_keep(struct submit *submit, const char *namespace, struct outcome *outcome);
/* Says how the Job `job`, which is over, has ended; returns the exit code. */
int outcome_tell(struct submit *submit, const char *namespace, const char *name, const json_t *job,
                 struct outcome *outcome);

/* ---- say.c ----------------------------------------------------------------------------------- */

/* One line.  With --json it is an object: `event`, `fields` (taken, may be NULL) and the sentence
 * as `text`. */
void submit_say(struct submit *submit, enum screen_tone tone, const char *event, json_t *fields,
                const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
