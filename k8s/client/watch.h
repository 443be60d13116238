/* A watch: what the server has of one kind, listed once and then followed, in a store.
 *
 * LIST in pages, in one piece when the server forgot them before the last, WATCH from the list's
 * version, again from the last version seen when a stream ends, and LIST again when the server no
 * longer knows that version.  It never gives up: what goes wrong is told by `trouble` and tried
 * again after 0.8 to 30 s.
 *
 * Units: ns.  Errors: see `trouble`.
 * Ownership: objects that callbacks get are borrowed (json_incref to keep one; nobody changes one).
 * A watch may be closed from any callback.
 * Threads: one. */
#ifndef RK_K8S_CLIENT_WATCH_H
#define RK_K8S_CLIENT_WATCH_H

#include "k8s/client/api.h"
#include "k8s/client/store.h"

#include <stdbool.h>
#include <stdint.h>

/* Called in the order of the server's changes.  Any may be NULL.
 * begin_relist: a list has begun (again, when one was not finished); upsert for each object that is
 * new or has changed, delete for each that is gone, then end_relist: the store equals the list.
 * upsert: `old` is what was there under that name, NULL for a new one.  A name that was used again
 * by another object is delete, then upsert with NULL.
 * trouble: it goes on by itself; `code` is HTTP's, 0 for none; `why` the sentence. */
struct watch_events {
    void (*begin_relist)(void *who);
    void (*upsert)(void *who, const json_t *object, const json_t *old);
    void (*delete)(void *who, const json_t *old);
    void (*end_relist)(void *who);
    void (*trouble)(void *who, int code, const char *why);
};

struct watch_spec {
    char *path;               /* of address.h, without a query; taken over, also on failure */
    const char *labels;       /* selector; NULL: all */
    const char *fields;       /* selector; NULL: all */
    uint32_t page;            /* objects of a page; 0: 500 */
    uint32_t least_s, most_s; /* how long the server keeps a stream open; 0: 300 and 600 */
    uint64_t slack;           /* a stream that is silent for so much longer is dead; 0: 30 s */
    size_t longest;           /* bytes of an event; 0: 8 MiB */
    size_t page_most;         /* bytes of a page; 0: 64 MiB.  A larger one is asked for in halves */
    /* Takes out of an object what nobody will look at, before it is stored; NULL: all is kept.
     * Name, namespace, uid and resourceVersion must stay. */
    void (*trim)(json_t *object);
    struct watch_events events;
    void *who;
};

struct watch;

int watch_open(struct api *api, const struct watch_spec *spec, struct watch **out,
               struct rk_why *why);
void watch_close(struct watch *watch);

const struct store *watch_store(const struct watch *watch);

/* Whether a list was finished at least once. */
bool watch_is_synced(const struct watch *watch);

/* The version that it will go on from; "" before the first list. */
const char *watch_version(const struct watch *watch);

#endif
