/* Streams into lines; see splitter.h. */
#include "k8s/client/splitter.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 4096u
#define KEPT_ROOM (256u << 10) /* room above this goes back when its line is done */

static int keep(struct splitter *splitter, const char *bytes, size_t count, struct rk_why *why)
{
    size_t room = splitter->room > 0 ? splitter->room : FIRST_ROOM;
    char *grown;

    if (count > splitter->most - splitter->used)
        return rk_fail(why, RK_EFULL, "a line of the stream is longer than %zu bytes",
                       splitter->most);
    while (room < splitter->used + count)
        room *= 2;
    if (room > splitter->room) {
        grown = realloc(splitter->kept, room);
        if (grown == NULL)
            return rk_fail(why, RK_ENOMEM, "no memory for a line of %zu bytes", room);
        splitter->kept = grown;
        splitter->room = room;
    }
    memcpy(splitter->kept + splitter->used, bytes, count);
    splitter->used += count;
    return 0;
}

/* The line whose first part may be kept and whose last part is `bytes`. */
static int finish_line(struct splitter *splitter, const char *bytes, size_t count,
                       splitter_take *take, void *who, struct rk_why *why)
{
    bool more;
    int rc;

    if (splitter->used == 0 && count > splitter->most)
        return keep(splitter, bytes, count, why);
    if (splitter->used > 0) {
        rc = keep(splitter, bytes, count, why);
        if (rc != 0)
            return rc;
        bytes = splitter->kept;
        count = splitter->used;
        splitter->used = 0;
    }
    more = count == 0 || take(who, bytes, count);
    if (splitter->used == 0 && splitter->room > KEPT_ROOM)
        splitter_done(splitter);
    return more ? 0 : 1;
}

int splitter_feed(struct splitter *splitter, const char *bytes, size_t count, splitter_take *take,
                  void *who, struct rk_why *why)
{
    const char *end = bytes + count;
    const char *newline;

    while (bytes < end && (newline = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        int rc = finish_line(splitter, bytes, (size_t)(newline - bytes), take, who, why);

        if (rc != 0)
            return rc;
        bytes = newline + 1;
    }
    return bytes < end ? keep(splitter, bytes, (size_t)(end - bytes), why) : 0;
}

void splitter_reset(struct splitter *splitter)
{
    splitter->used = 0;
}

void splitter_done(struct splitter *splitter)
{
    free(splitter->kept);
    splitter->kept = NULL;
    splitter->used = splitter->room = 0;
}
