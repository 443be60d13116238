/* One object that the Job of a job owns: made, or found where an earlier submit has left it.
 *
 * Errors and ownership as in submit.h.  For apply.c only. */
#ifndef RK_LAUNCH_SUBMIT_OWNED_H
#define RK_LAUNCH_SUBMIT_OWNED_H

#include "launch/submit/submit.h"

#define OWNED_AGAIN 1 /* a positive outcome: what stood in the way may be gone now */

/* One job on its way. */
struct applying {
    struct submit *submit;
    const struct mpijob *job;
    const char *namespace;
    bool account;      /* the coordinator's account is to be checked */
    char owner[40];    /* uid of the Job; "": not known yet */
    json_t *objects;   /* as rendered, owned */
    size_t made, kept; /* objects */
    bool resized;      /* the job was there, with another number of workers */
    uint64_t patience; /* until when we wait for old objects to go; 0: nothing waited for yet */
};

/* Makes it.  What has its name already stays when it is ours, is waited for when it is going, is
 * adopted when it was applied by hand, and is else in the way: RK_EEXIST. */
int owned_make(struct applying *applying, const json_t *object, const char *plural,
               struct rk_why *why);

/* GET of what has the name of `object`; the answer as from submit_call. */
int owned_get(struct submit *submit, const json_t *object, const char *plural,
              const char *namespace, struct answer *answer);
/* Something of an earlier job is going: waits a little; RK_EEXIST when that takes too long. */
int owned_wait(struct applying *applying, const json_t *object, struct rk_why *why);
/* A merge patch of what has the name of `object`. */
int owned_patch(struct applying *applying, const json_t *object, const char *plural,
                const json_t *patch, struct rk_why *why);
/* Server-side apply. */
int owned_apply(struct submit *submit, const json_t *object, const char *plural,
                const char *namespace, struct rk_why *why);

/* The path of a collection (name NULL) or of one object, as a write asks for it. */
char *owned_path(const struct submit *submit, const json_t *object, const char *plural,
                 const char *namespace, const char *name);
/* "Secret pi-reknit WHAT". */
void owned_say(struct submit *submit, enum screen_tone tone, const char *event,
               const json_t *object, const char *what);
/* "would be " in a dry run. */
const char *owned_would(const struct submit *submit);

bool owned_is_leaving(const json_t *object);
/* The name of the owner of a kind, "" when none is one. */
const char *owned_by_kind(const json_t *object, const char *kind);
/* Its labels say that it is of this job. */
bool owned_is_of_job(const json_t *object, const struct mpijob *job);

#endif
