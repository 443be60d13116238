/* Names for people, and the table of lives as text: the page that cannot drift from the code. */
#include "k8s/reconcile/state.h"

#include <stdio.h>

const char *pods_state_name(enum pods_state state)
{
    static const char *const names[PODS_STATES] = {"free",    "waiting", "asked",   "awaited",
                                                   "pending", "running", "leaving", "killed",
                                                   "kept",    "dying",   "ended"};

    return state < PODS_STATES ? names[state] : "unknown";
}

const char *pods_action_name(enum pods_action_kind kind)
{
    static const char *const names[PODS_DO_COUNT_] = {
        "create", "delete", "dial", "hang up", "notice", "gone", "failed", "event", "relist"};

    return kind < PODS_DO_COUNT_ ? names[kind] : "unknown";
}

const char *pods_event_name(enum pods_event_kind kind)
{
    static const char *const names[PODS_EV_COUNT_] = {
        "tick",     "coordinator", "want",    "kill",    "told", "link", "list begin", "pod",
        "pod gone", "list end",    "created", "deleted", "node", "stop", "suspend",    "resume"};

    return kind < PODS_EV_COUNT_ ? names[kind] : "unknown";
}

size_t pods_rules_print(char *text, size_t size)
{
    size_t used = 0;

    if (size > 0)
        text[0] = '\0';
    for (uint32_t s = 0; s < PODS_STATES; s++)
        for (uint32_t e = 0; e < LIFE_EVENTS; e++) {
            enum pods_state next;
            size_t room = used < size ? size - used : 0;
            int length;

            if (!life_rule((enum pods_state)s, (enum life_event)e, &next))
                continue;
            length = snprintf(room ? text + used : NULL, room, "  %-8s %-11s -> %s\n",
                              pods_state_name((enum pods_state)s),
                              life_event_name((enum life_event)e), pods_state_name(next));
            used += length > 0 ? (size_t)length : 0;
        }
    return used;
}
