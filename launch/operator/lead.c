/* Which of several operators acts: the one that holds the Lease; see controller.h. */
#include "launch/operator/controller.h"

#include "common/log.h"

#include <string.h>

#define LEASE "reknit-operator"

static void on_changed(void *who, bool leading)
{
    struct controller *controller = who;

    controller->leads = leading;
    rk_info("%s %s", controller->identity, leading ? "leads" : "leads no more");
    if (!leading)
        desk_halt(controller);
    else if (controller->synced)
        desk_touch_all(controller);
}

static void on_trouble(void *who, const char *why)
{
    (void)who;
    rk_warn("the lease %s: %s", LEASE, why);
}

int lead_open(struct controller *controller, struct rk_why *why)
{
    struct elector_spec spec = {
        .namespace = controller->given.lock_namespace,
        .name = LEASE,
        .identity = controller->identity,
        .changed = on_changed,
        .trouble = on_trouble,
        .who = controller,
    };

    if (spec.namespace == NULL)
        spec.namespace = api_namespace(controller->api);
    if (strcmp(controller->given.leader_elect, "yes") == 0)
        return elector_open(controller->api, &spec, &controller->elector, why);
    on_changed(controller, true);
    return 0;
}

static void on_gone(void *who)
{
    ((struct controller *)who)->gone = true;
}

void lead_leave(struct controller *controller)
{
    controller->leads = false;
    desk_halt(controller);
    if (controller->elector != NULL)
        elector_step_down(controller->elector, on_gone);
    else
        controller->gone = true;
}

void lead_close(struct controller *controller)
{
    elector_close(controller->elector);
}
