/* Writes; see write.h.
 *
 * Each is one request or a few in turn: `step` is what the next answer means.  `busy` counts our
 * functions under which the owner's run, so that a write that is cancelled there is freed last. */
#include "k8s/client/write.h"

#include "k8s/client/address.h"
#include "k8s/client/loop.h"
#include "k8s/client/object.h"
#include "k8s/client/pace.h"

#include <stdlib.h>
#include <string.h>

#define MOST_CONFLICTS 20u
#define MOST_CREATES 3u

struct write;

typedef void step(struct write *write, const struct response *response);

struct write {
    struct api *api;
    struct write_spec spec; /* texts are owned */
    step *step;
    struct request *request;
    json_t *body;    /* what is sent; owned */
    char *uid;       /* of the owner, or of what is deleted; NULL: none */
    bool by_version; /* a deletion that depends on the state */
    write_change *change;
    json_t *read; /* the object that a patch is made against */
    struct timer timer;
    struct backoff backoff;
    uint32_t rounds;
    unsigned busy;
    bool cancelled;
};

static void free_write(struct write *write)
{
    const char *texts[] = {write->spec.version, write->spec.namespace,   write->spec.plural,
                           write->spec.name,    write->spec.subresource, write->spec.manager};

    timers_stop(loop_timers(write->api), &write->timer);
    request_cancel(write->request);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free((char *)(uintptr_t)texts[i]);
    json_decref(write->body);
    json_decref(write->read);
    free(write->uid);
    free(write);
}

static void enter(struct write *write)
{
    write->busy++;
}

static void leave(struct write *write)
{
    if (--write->busy == 0 && write->cancelled)
        free_write(write);
}

void write_cancel(struct write *write)
{
    if (write == NULL || write->cancelled)
        return;
    enter(write);
    write->cancelled = true;
    leave(write);
}

/* Tells the owner; leave() frees. */
static void finish(struct write *write, const struct response *response)
{
    if (write->cancelled)
        return;
    write->cancelled = true;
    write->spec.done(write->spec.who, response);
}

static void fail(struct write *write, int rc, const char *why)
{
    struct response response = {.rc = rc, .reason = "", .message = "", .why = why};

    finish(write, &response);
}

/* Says that `body` is what was wanted. */
static void succeed(struct write *write, const json_t *body)
{
    struct response response = {.code = 200, .body = body, .reason = "", .message = "", .why = ""};

    finish(write, &response);
}

static void on_response(void *who, const struct response *response)
{
    struct write *write = who;

    enter(write);
    write->request = NULL;
    write->step(write, response);
    leave(write);
}

/* Sends, with `path` taken over; a failure is told to the owner, or returned where `why` is given.
 */
static int ask(struct write *write, enum verb verb, char *path, const char *type, step *next,
               struct rk_why *why)
{
    struct rk_why detail = {""};
    struct request_spec spec = {.verb = verb,
                                .path = path,
                                .type = type,
                                .body = verb == VERB_GET ? NULL : write->body,
                                .deadline = write->spec.deadline,
                                .done = on_response,
                                .who = write};
    int rc;

    write->step = next;
    rc = api_send(write->api, &spec, &write->request, why != NULL ? why : &detail);
    if (rc != 0 && why == NULL)
        fail(write, rc, detail.text);
    return rc;
}

/* The object's path, of which the subresource may be left out; without a name, the collection's. */
static char *path_to(const struct write *write, const char *name, const char *subresource)
{
    return api_path(write->spec.version, write->spec.namespace, write->spec.plural, name,
                    subresource);
}

/* The path that is written to. */
static char *write_path(const struct write *write, const char *name)
{
    char *path = path_to(write, name, write->spec.subresource);

    if (write->spec.dry_run)
        api_query(&path, "dryRun", "All");
    if (write->spec.manager != NULL)
        api_query(&path, "fieldManager", write->spec.manager);
    return path;
}

static bool copy_text(const char **text)
{
    if (*text == NULL)
        return true;
    *text = strdup(*text);
    return *text != NULL;
}

/* Copies all that the spec has; NULL: no memory. */
static struct write *new_write(struct api *api, const struct write_spec *spec, const json_t *body,
                               const char *uid)
{
    struct write *write = calloc(1, sizeof *write);
    const char **texts[6];
    bool done = true;

    if (write == NULL)
        return NULL;
    write->api = api;
    write->spec = *spec;
    texts[0] = &write->spec.version;
    texts[1] = &write->spec.namespace;
    texts[2] = &write->spec.plural;
    texts[3] = &write->spec.name;
    texts[4] = &write->spec.subresource;
    texts[5] = &write->spec.manager;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        done = copy_text(texts[i]) && done;
    write->backoff = (struct backoff){.first = 10 * RK_MS, .most = RK_S, .healthy = RK_S};
    write->body = body != NULL ? json_deep_copy(body) : NULL;
    write->uid = uid != NULL ? strdup(uid) : NULL;
    if (done && (write->body != NULL || body == NULL) && (write->uid != NULL || uid == NULL))
        return write;
    free_write(write);
    return NULL;
}

static int no_memory(struct rk_why *why)
{
    return rk_fail(why, RK_ENOMEM, "no memory for a write to the API server");
}

/* Hands the write to the owner, or frees it when its first request could not be sent. */
static int begin(struct write *write, int rc, struct write **out)
{
    if (rc != 0)
        free_write(write);
    else if (out != NULL)
        *out = write;
    return rc;
}

/* ---- one request ---- */

static void on_only(struct write *write, const struct response *response)
{
    finish(write, response);
}

int write_replace(struct api *api, const struct write_spec *spec, const json_t *object,
                  struct write **out, struct rk_why *why)
{
    struct write *write = new_write(api, spec, object, NULL);

    if (write == NULL)
        return no_memory(why);
    return begin(
        write, ask(write, VERB_PUT, write_path(write, write->spec.name), NULL, on_only, why), out);
}

int write_patch(struct api *api, const struct write_spec *spec, const char *type,
                const json_t *patch, struct write **out, struct rk_why *why)
{
    struct write *write = new_write(api, spec, patch, NULL);

    if (write == NULL)
        return no_memory(why);
    return begin(write,
                 ask(write, VERB_PATCH, write_path(write, write->spec.name), type, on_only, why),
                 out);
}

int write_apply(struct api *api, const struct write_spec *spec, const json_t *object, bool force,
                struct write **out, struct rk_why *why)
{
    struct write_spec named = *spec;
    struct write *write;
    char *path;

    /* Here the server makes none of the User-Agent, but wants to be told. */
    if (named.manager == NULL)
        named.manager = "reknit";
    write = new_write(api, &named, object, NULL);
    if (write == NULL)
        return no_memory(why);
    path = write_path(write, write->spec.name);
    if (force)
        api_query(&path, "force", "true");
    return begin(write, ask(write, VERB_PATCH, path, TYPE_APPLY, on_only, why), out);
}

/* ---- create ---- */

static step on_created;

/* What has the name: ours from before, or somebody else's. */
static void on_existing(struct write *write, const struct response *response)
{
    struct response refused = *response;

    if (response->rc == RK_ENOENT && ++write->rounds < MOST_CREATES) {
        ask(write, VERB_POST, write_path(write, NULL), NULL, on_created, NULL);
    } else if (response->rc != 0) {
        finish(write, response);
    } else if (object_is_owned_by(response->body, write->uid)) {
        succeed(write, response->body);
    } else {
        struct rk_why why;

        refused.rc = rk_fail(&why, RK_EEXIST, "%s %s exists already and belongs to somebody else",
                             write->spec.plural, object_name(write->body));
        refused.code = 409;
        refused.why = why.text;
        finish(write, &refused);
    }
}

static void on_created(struct write *write, const struct response *response)
{
    if (response->rc != RK_EEXIST || write->uid == NULL)
        finish(write, response);
    else
        ask(write, VERB_GET, path_to(write, object_name(write->body), NULL), NULL, on_existing,
            NULL);
}

int write_create(struct api *api, const struct write_spec *spec, const json_t *object,
                 const char *owner, struct write **out, struct rk_why *why)
{
    struct write *write;

    if (*object_name(object) == '\0')
        return rk_fail(why, RK_EINVAL, "an object of %s has no metadata.name", spec->plural);
    write = new_write(api, spec, object, owner);
    if (write == NULL)
        return no_memory(why);
    return begin(write, ask(write, VERB_POST, write_path(write, NULL), NULL, on_created, why), out);
}

/* ---- edit ---- */

json_t *write_difference(const json_t *from, const json_t *to)
{
    json_t *patch = json_object();
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)to, key, value)
    {
        json_t *before = json_object_get(from, key);

        if (json_is_object(before) && json_is_object(value)) {
            json_t *inner = write_difference(before, value);

            if (inner == NULL || json_object_size(inner) > 0)
                json_object_set_new(patch, key, inner);
            else
                json_decref(inner);
        } else if (before == NULL || !json_equal(before, value)) {
            json_object_set(patch, key, value);
        }
    }
    json_object_foreach((json_t *)(uintptr_t)from, key, value)
    {
        if (json_object_get(to, key) == NULL)
            json_object_set_new(patch, key, json_null());
    }
    return patch;
}

static void read_again(struct write *write);

static void on_edited(struct write *write, const struct response *response)
{
    if (response->rc != RK_ESTATE || ++write->rounds >= MOST_CONFLICTS) {
        finish(write, response);
        return;
    }
    timers_set(loop_timers(write->api), &write->timer,
               loop_now(write->api) +
                   backoff_fail(&write->backoff, loop_now(write->api), loop_draw(write->api)));
}

/* Sends what `edited` has that the object as it was read has not. */
static void send_difference(struct write *write, const json_t *edited)
{
    json_t *metadata;

    json_decref(write->body);
    write->body = write_difference(write->read, edited);
    if (write->body != NULL && json_object_size(write->body) == 0) {
        succeed(write, write->read);
        return;
    }
    if (json_object_get(write->body, "metadata") == NULL)
        json_object_set_new(write->body, "metadata", json_object());
    metadata = json_object_get(write->body, "metadata");
    if (json_object_set_new(metadata, "resourceVersion",
                            json_string(object_version(write->read))) != 0) {
        fail(write, RK_ENOMEM, "no memory for a patch");
        return;
    }
    ask(write, VERB_PATCH, write_path(write, write->spec.name), TYPE_MERGE_PATCH, on_edited, NULL);
}

static void on_read(struct write *write, const struct response *response)
{
    json_t *edited;
    int rc;

    if (response->rc != 0) {
        finish(write, response);
        return;
    }
    json_decref(write->read);
    write->read = json_incref((json_t *)(uintptr_t)response->body);
    edited = json_deep_copy(response->body);
    rc = edited != NULL ? write->change(write->spec.who, edited) : RK_ENOMEM;
    if (!write->cancelled) {
        if (rc == WRITE_NOTHING)
            succeed(write, write->read);
        else if (rc != 0)
            fail(write, rc, rk_error_text(rc));
        else
            send_difference(write, edited);
    }
    json_decref(edited);
}

static void read_again(struct write *write)
{
    ask(write, VERB_GET, path_to(write, write->spec.name, NULL), NULL, on_read, NULL);
}

static void on_timer(void *who)
{
    struct write *write = who;

    enter(write);
    read_again(write);
    leave(write);
}

int write_edit(struct api *api, const struct write_spec *spec, write_change *change,
               struct write **out, struct rk_why *why)
{
    struct write *write = new_write(api, spec, NULL, NULL);

    if (write == NULL)
        return no_memory(why);
    write->change = change;
    write->timer = (struct timer){.fire = on_timer, .who = write};
    return begin(write,
                 ask(write, VERB_GET, path_to(write, write->spec.name, NULL), NULL, on_read, why),
                 out);
}

/* ---- delete ---- */

/* A deletion was refused: does the object that was meant still exist? */
static void on_left(struct write *write, const struct response *response)
{
    struct response refused = *response;

    if (response->rc == RK_ENOENT ||
        (response->rc == 0 && strcmp(object_uid(response->body), write->uid) != 0)) {
        succeed(write, NULL);
        return;
    }
    if (response->rc == 0) {
        refused.rc = RK_ESTATE;
        refused.code = 409;
        refused.why = "the object changed while it was being deleted; try again";
    }
    finish(write, &refused);
}

static void on_deleted(struct write *write, const struct response *response)
{
    if (response->rc == RK_ENOENT)
        succeed(write, NULL);
    else if (response->rc == RK_ESTATE && write->uid != NULL && !write->by_version)
        ask(write, VERB_GET, path_to(write, write->spec.name, NULL), NULL, on_left, NULL);
    else
        finish(write, response);
}

static json_t *delete_options(const struct write_delete *how)
{
    json_t *options = json_pack("{s:s, s:s}", "apiVersion", "v1", "kind", "DeleteOptions");
    json_t *preconditions = json_object();

    if (how->uid != NULL)
        json_object_set_new(preconditions, "uid", json_string(how->uid));
    if (how->version != NULL)
        json_object_set_new(preconditions, "resourceVersion", json_string(how->version));
    if (json_object_size(preconditions) > 0)
        json_object_set(options, "preconditions", preconditions);
    json_decref(preconditions);
    if (how->grace_s >= 0)
        json_object_set_new(options, "gracePeriodSeconds", json_integer(how->grace_s));
    if (how->propagation != NULL)
        json_object_set_new(options, "propagationPolicy", json_string(how->propagation));
    return options;
}

int write_delete(struct api *api, const struct write_spec *spec, const struct write_delete *how,
                 struct write **out, struct rk_why *why)
{
    struct write_spec plain = *spec;
    json_t *options = delete_options(how);
    struct write *write;

    plain.manager = NULL;
    write = options != NULL ? new_write(api, &plain, options, how->uid) : NULL;
    json_decref(options);
    if (write == NULL)
        return no_memory(why);
    write->by_version = how->version != NULL;
    return begin(
        write, ask(write, VERB_DELETE, write_path(write, write->spec.name), NULL, on_deleted, why),
        out);
}
