/* Leading by a Lease; see lease.h. */
#include "k8s/client/lease.h"

#include "common/clock.h"
#include "k8s/client/object.h"
#include "k8s/client/when.h"

#include <string.h>

#define LONGEST_S 3600

void lease_init(struct lease *lease, const struct lease_rules *rules, uint64_t seed)
{
    memset(lease, 0, sizeof *lease);
    lease->rules = *rules;
    lease->draw.state = seed;
    if (lease->rules.duration == 0)
        lease->rules.duration = 15 * RK_S;
    if (lease->rules.renew == 0)
        lease->rules.renew = 10 * RK_S;
    if (lease->rules.retry == 0)
        lease->rules.retry = 2 * RK_S;
}

void lease_done(struct lease *lease)
{
    json_decref(lease->object);
    lease->object = NULL;
}

static json_t *spec_of(const struct lease *lease)
{
    return json_object_get(lease->object, "spec");
}

const char *lease_holder(const struct lease *lease)
{
    const char *holder = json_string_value(json_object_get(spec_of(lease), "holderIdentity"));

    return holder != NULL ? holder : "";
}

static bool is_mine(const struct lease *lease)
{
    return strcmp(lease_holder(lease), lease->identity) == 0;
}

/* How long its holder asked to be left alone. */
static uint64_t held_for(const struct lease *lease)
{
    json_int_t seconds =
        json_integer_value(json_object_get(spec_of(lease), "leaseDurationSeconds"));

    return seconds > 0 && seconds <= LONGEST_S ? (uint64_t)seconds * RK_S : lease->rules.duration;
}

static bool may_take(const struct lease *lease, uint64_t now)
{
    return is_mine(lease) || *lease_holder(lease) == '\0' ||
           now - lease->changed_at >= held_for(lease);
}

static void rest(struct lease *lease, uint64_t now)
{
    lease->fresh = lease->leading && lease->fresh;
    lease->due = now + draw_between(&lease->draw, lease->rules.retry, lease->rules.retry * 6 / 5);
}

uint64_t lease_due(const struct lease *lease)
{
    uint64_t end = lease->renewed_at + lease->rules.renew;
    uint64_t due = lease->asking ? UINT64_MAX : lease->due;

    return lease->leading && end < due ? end : due;
}

static enum lease_want ask(struct lease *lease, enum lease_want want, uint64_t now)
{
    lease->asking = true;
    lease->asked_at = now;
    return want;
}

enum lease_want lease_next(struct lease *lease, uint64_t now)
{
    if (lease->leading && now - lease->renewed_at >= lease->rules.renew)
        lease->leading = lease->fresh = false;
    if (lease->asking || now < lease->due)
        return LEASE_REST;
    if (!lease->fresh)
        return ask(lease, LEASE_READ, now);
    if (lease->object == NULL)
        return ask(lease, LEASE_CREATE, now);
    if (may_take(lease, now))
        return ask(lease, LEASE_WRITE, now);
    rest(lease, now);
    return LEASE_REST;
}

/* Keeps what was seen.  Only another version restarts the holder's time. */
static void see(struct lease *lease, const json_t *object, uint64_t now)
{
    if (object == NULL || lease->object == NULL ||
        strcmp(object_version(lease->object), object_version(object)) != 0)
        lease->changed_at = now;
    json_decref(lease->object);
    lease->object = json_incref((json_t *)(uintptr_t)object);
    lease->fresh = true;
    lease->asking = false;
}

void lease_read(struct lease *lease, const json_t *object, uint64_t now)
{
    see(lease, object, now);
    if (object == NULL || !is_mine(lease))
        lease->leading = false;
    lease->due = now;
}

void lease_written(struct lease *lease, const json_t *object, uint64_t now)
{
    see(lease, object, now);
    lease->leading = is_mine(lease) && now - lease->asked_at < lease->rules.renew;
    lease->renewed_at = lease->asked_at;
    rest(lease, now);
}

void lease_failed(struct lease *lease, uint64_t now)
{
    lease->asking = false;
    lease->fresh = false;
    rest(lease, now);
}

/* The object as it is to be: that which was seen, so that what others wrote in it stays. */
static json_t *copy_of(const struct lease *lease)
{
    json_t *body;

    if (lease->object == NULL)
        return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{}}", "apiVersion", "coordination.k8s.io/v1",
                         "kind", "Lease", "metadata", "name", lease->name, "namespace",
                         lease->namespace, "spec");
    body = json_deep_copy(lease->object);
    if (body != NULL && !json_is_object(json_object_get(body, "spec")))
        json_object_set_new(body, "spec", json_object());
    return body;
}

json_t *lease_body(const struct lease *lease, uint64_t wall)
{
    json_t *body = copy_of(lease);
    json_t *spec = json_object_get(body, "spec");
    json_int_t transitions =
        json_integer_value(json_object_get(spec_of(lease), "leaseTransitions"));
    char text[WHEN_SIZE];

    when_micro(wall, text);
    if (!is_mine(lease)) {
        json_object_set_new(spec, "acquireTime", json_string(text));
        json_object_set_new(spec, "leaseTransitions",
                            json_integer(lease->object != NULL ? transitions + 1 : 0));
    }
    json_object_set_new(spec, "holderIdentity", json_string(lease->identity));
    json_object_set_new(spec, "leaseDurationSeconds",
                        json_integer((json_int_t)(lease->rules.duration / RK_S)));
    if (json_object_set_new(spec, "renewTime", json_string(text)) == 0)
        return body;
    json_decref(body);
    return NULL;
}

json_t *lease_release_body(const struct lease *lease, uint64_t wall)
{
    json_t *body = lease_body(lease, wall);
    json_t *spec = json_object_get(body, "spec");

    if (body == NULL)
        return NULL;
    json_object_set_new(spec, "holderIdentity", json_string(""));
    json_object_set_new(spec, "leaseDurationSeconds", json_integer(1));
    return body;
}
