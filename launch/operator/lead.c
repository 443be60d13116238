/* Which of several operators acts: the one that holds the Lease; see shell.h. */
#include "launch/operator/shell.h"

#include "common/log.h"

#include <string.h>

#define LEASE "reknit-operator"

static void on_changed(void *who, bool leading)
{
    struct shell *shell = who;

    shell->leads = leading;
    rk_info("%s %s", shell->identity, leading ? "leads" : "leads no more");
    if (!leading)
        desk_halt(shell);
    else if (shell->synced)
        desk_touch_all(shell);
}

static void on_trouble(void *who, const char *why)
{
    (void)who;
    rk_warn("the lease %s: %s", LEASE, why);
}

int lead_open(struct shell *shell, struct rk_why *why)
{
    struct elector_spec spec = {
        .namespace = shell->given.lock_namespace,
        .name = LEASE,
        .identity = shell->identity,
        .changed = on_changed,
        .trouble = on_trouble,
        .who = shell,
    };

    if (spec.namespace == NULL)
        spec.namespace = api_namespace(shell->api);
    if (strcmp(shell->given.leader_elect, "yes") == 0)
        return elector_open(shell->api, &spec, &shell->elector, why);
    on_changed(shell, true);
    return 0;
}

static void on_gone(void *who)
{
    ((struct shell *)who)->gone = true;
}

void lead_leave(struct shell *shell)
{
    shell->leads = false;
    desk_halt(shell);
    if (shell->elector != NULL)
        elector_step_down(shell->elector, on_gone);
    else
        shell->gone = true;
}

void lead_close(struct shell *shell)
{
    elector_close(shell->elector);
}
