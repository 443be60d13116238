/* Leader election on an api; see elector.h. */
#include "k8s/client/elector.h"

#include "k8s/client/address.h"
#include "k8s/client/loop.h"
#include "k8s/client/request.h"

#include <stdlib.h>
#include <string.h>

#define LEASES "coordination.k8s.io/v1"

struct elector {
    struct api *api;
    struct elector_spec spec; /* texts are owned */
    struct lease lease;
    struct request *request;
    struct timer timer;
    bool told; /* what `changed` said last */
    void (*gone)(void *who);
    bool leaving;
    unsigned busy;
    bool closed;
};

static void step(struct elector *elector);

static void free_elector(struct elector *elector)
{
    timers_stop(loop_timers(elector->api), &elector->timer);
    request_cancel(elector->request);
    lease_done(&elector->lease);
    free((char *)(uintptr_t)elector->spec.namespace);
    free((char *)(uintptr_t)elector->spec.name);
    free((char *)(uintptr_t)elector->spec.identity);
    free(elector);
}

static void enter(struct elector *elector)
{
    elector->busy++;
}

static void leave(struct elector *elector)
{
    if (--elector->busy == 0 && elector->closed)
        free_elector(elector);
}

void elector_close(struct elector *elector)
{
    if (elector == NULL || elector->closed)
        return;
    enter(elector);
    elector->closed = true;
    leave(elector);
}

static void tell(struct elector *elector)
{
    bool leading = elector->lease.leading && !elector->leaving;

    if (leading == elector->told || elector->closed)
        return;
    elector->told = leading;
    elector->spec.changed(elector->spec.who, leading);
}

static void say_trouble(struct elector *elector, const char *why)
{
    if (elector->spec.trouble != NULL && !elector->closed)
        elector->spec.trouble(elector->spec.who, why);
}

static char *path_to(const struct elector *elector, const char *name)
{
    return api_path(LEASES, elector->spec.namespace, "leases", name, NULL);
}

/* Sends; the body is dropped. */
static int ask(struct elector *elector, enum verb verb, json_t *body, request_done *done)
{
    struct request_spec spec = {
        .verb = verb,
        .path = path_to(elector, verb == VERB_POST ? NULL : elector->spec.name),
        .body = body,
        .deadline = elector->lease.rules.renew / 2,
        .silence = elector->lease.rules.renew / 4,
        .urgent = true,
        .done = done,
        .who = elector,
    };
    struct rk_why why = {""};
    int rc;

    if (verb != VERB_GET && body == NULL) {
        free(spec.path);
        rc = rk_fail(&why, RK_ENOMEM, "no memory for a lease");
    } else {
        rc = api_send(elector->api, &spec, &elector->request, &why);
    }
    json_decref(body);
    if (rc != 0)
        say_trouble(elector, why.text);
    return rc;
}

static void on_read(void *who, const struct response *response)
{
    struct elector *elector = who;
    uint64_t now = loop_now(elector->api);

    enter(elector);
    elector->request = NULL;
    if (response->rc == 0 || response->rc == RK_ENOENT) {
        lease_read(&elector->lease, response->rc == 0 ? response->body : NULL, now);
    } else {
        lease_failed(&elector->lease, now);
        say_trouble(elector, response->why);
    }
    step(elector);
    leave(elector);
}

static void on_written(void *who, const struct response *response)
{
    struct elector *elector = who;
    uint64_t now = loop_now(elector->api);

    enter(elector);
    elector->request = NULL;
    if (response->rc == 0) {
        lease_written(&elector->lease, response->body, now);
    } else {
        lease_failed(&elector->lease, now);
        if (response->rc != RK_ESTATE && response->rc != RK_EEXIST)
            say_trouble(elector, response->why);
    }
    step(elector);
    leave(elector);
}

/* Does what the lease wants, tells what has changed, and sets the timer. */
static void step(struct elector *elector)
{
    struct lease *lease = &elector->lease;
    uint64_t now = loop_now(elector->api);
    enum lease_want want;
    int rc = 0;

    if (elector->closed || elector->leaving)
        return;
    want = lease_next(lease, now);
    if (want == LEASE_READ)
        rc = ask(elector, VERB_GET, NULL, on_read);
    else if (want == LEASE_CREATE)
        rc = ask(elector, VERB_POST, lease_body(lease, loop_wall(elector->api)), on_written);
    else if (want == LEASE_WRITE)
        rc = ask(elector, VERB_PUT, lease_body(lease, loop_wall(elector->api)), on_written);
    if (rc != 0)
        lease_failed(lease, now);
    timers_set(loop_timers(elector->api), &elector->timer, lease_due(lease));
    tell(elector);
}

static void on_timer(void *who)
{
    struct elector *elector = who;

    enter(elector);
    step(elector);
    leave(elector);
}

static void on_released(void *who, const struct response *response)
{
    struct elector *elector = who;

    enter(elector);
    elector->request = NULL;
    if (response->rc != 0)
        say_trouble(elector, response->why);
    if (!elector->closed)
        elector->gone(elector->spec.who);
    leave(elector);
}

void elector_step_down(struct elector *elector, void (*gone)(void *who))
{
    bool led = elector->lease.leading;

    if (elector->leaving)
        return;
    enter(elector);
    elector->leaving = true;
    elector->gone = gone;
    timers_stop(loop_timers(elector->api), &elector->timer);
    /* A renewal that is under way would come between; without it the release is refused, and the
     * lease runs out by itself. */
    request_cancel(elector->request);
    elector->request = NULL;
    tell(elector);
    if (!elector->closed &&
        (!led ||
         ask(elector, VERB_PUT, lease_release_body(&elector->lease, loop_wall(elector->api)),
             on_released) != 0))
        gone(elector->spec.who);
    leave(elector);
}

int elector_open(struct api *api, const struct elector_spec *spec, struct elector **out,
                 struct rk_why *why)
{
    struct elector *elector = calloc(1, sizeof *elector);

    if (elector == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for an election");
    elector->api = api;
    elector->spec = *spec;
    elector->spec.namespace = strdup(spec->namespace);
    elector->spec.name = strdup(spec->name);
    elector->spec.identity = strdup(spec->identity);
    elector->timer = (struct timer){.fire = on_timer, .who = elector};
    lease_init(&elector->lease, &spec->rules, draw_next(loop_draw(api)));
    if (elector->spec.namespace == NULL || elector->spec.name == NULL ||
        elector->spec.identity == NULL) {
        free_elector(elector);
        return rk_fail(why, RK_ENOMEM, "no memory for an election");
    }
    elector->lease.namespace = elector->spec.namespace;
    elector->lease.name = elector->spec.name;
    elector->lease.identity = elector->spec.identity;
    timers_set(loop_timers(api), &elector->timer, 0);
    loop_wake(api);
    *out = elector;
    return 0;
}

bool elector_leads(const struct elector *elector)
{
    return elector->lease.leading && !elector->leaving;
}

const char *elector_holder(const struct elector *elector)
{
    return lease_holder(&elector->lease);
}
