/* Writes to the API server, each of which can be repeated safely.
 *
 * Units: ns; seconds where the name says so.
 * Errors: as in request.h; the sentence is the response's `why`.
 * Ownership: specs, objects and patches are borrowed during the call and copied.  A write is gone
 * when its `done` returns, or when it is cancelled.
 * Threads: one. */
#ifndef RK_K8S_CLIENT_WRITE_H
#define RK_K8S_CLIENT_WRITE_H

#include "k8s/client/api.h"
#include "k8s/client/request.h"

#include <stdbool.h>

struct write;

struct write_spec {
    const char *version;   /* "v1", "batch/v1" */
    const char *namespace; /* NULL: a kind that has none */
    const char *plural;
    const char *name;        /* not for write_create: the object says it */
    const char *subresource; /* NULL; "status" */
    const char *manager;     /* of fields; NULL: the user agent's product, "reknit" to apply */
    bool dry_run;            /* the server checks and does nothing */
    uint64_t deadline;       /* of each request; 0: a minute */
    request_done *done;
    void *who;
};

/* POST.  With `owner` (a uid) an object of that name which it owns already is success, and is the
 * response's body; NULL: RK_EEXIST.  The name must be given: with generateName a repeated request
 * would make two. */
int write_create(struct api *api, const struct write_spec *spec, const json_t *object,
                 const char *owner, struct write **out, struct rk_why *why);

/* PUT of a whole object; with its resourceVersion, RK_ESTATE when another was faster. */
int write_replace(struct api *api, const struct write_spec *spec, const json_t *object,
                  struct write **out, struct rk_why *why);

/* PATCH of TYPE_MERGE_PATCH or TYPE_JSON_PATCH. */
int write_patch(struct api *api, const struct write_spec *spec, const char *type,
                const json_t *patch, struct write **out, struct rk_why *why);

/* Server-side apply; `force` takes fields that others manage, else RK_ESTATE names them. */
int write_apply(struct api *api, const struct write_spec *spec, const json_t *object, bool force,
                struct write **out, struct rk_why *why);

#define WRITE_NOTHING 1

/* Changes an object that was just read.  0: what differs is to be written; WRITE_NOTHING: it is as
 * it should be; negative: it ends with this code.  May be called several times, each time with the
 * object as it is then, and also when its last change was made but the answer lost: it must say
 * what is to be there, not count up.  `who` is the spec's. */
typedef int write_change(void *who, json_t *object);

/* GET, `change`, a merge patch of what differs under the resourceVersion that was read; all again
 * when another was faster, up to 20 times. */
int write_edit(struct api *api, const struct write_spec *spec, write_change *change,
               struct write **out, struct rk_why *why);

struct write_delete {
    const char *uid;         /* delete only this one; NULL: whatever has the name */
    const char *version;     /* and only in this state; NULL: any */
    int64_t grace_s;         /* negative: as the object says */
    const char *propagation; /* "Background", "Foreground", "Orphan"; NULL: the server's default */
};

/* DELETE.  One that is gone, or whose name belongs to another uid now, is success. */
int write_delete(struct api *api, const struct write_spec *spec, const struct write_delete *how,
                 struct write **out, struct rk_why *why);

/* `done` is not called any more; from any callback.  NULL allowed.  The server may have done it. */
void write_cancel(struct write *write);

/* The JSON merge patch (RFC 7386) that makes `to` of `from`; NULL: no memory.  The caller drops it;
 * empty when nothing differs. */
json_t *write_difference(const json_t *from, const json_t *to);

#endif
