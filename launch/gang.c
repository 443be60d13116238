/* The option --gang; see gang.h. */
#include "launch/gang.h"

#include "k8s/render/render.h"

#include <string.h>

int argument_gang(const struct argument *argument, const char *value, void *target,
                  struct rk_why *why)
{
    static const char *const names[] = {[RENDER_GANG_NONE] = "none",
                                        [RENDER_GANG_VOLCANO] = "volcano",
                                        [RENDER_GANG_SCHEDULER_PLUGINS] = "scheduler-plugins"};
    enum render_gang *gang = (enum render_gang *)((char *)target + argument->offset);

    for (size_t i = RENDER_GANG_NONE; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value, names[i]) != 0)
            continue;
        *gang = (enum render_gang)i;
        return 0;
    }
    return rk_fail(why, RK_EINVAL,
                   "'%.40s' is no gang scheduler; give volcano, scheduler-plugins or none", value);
}
