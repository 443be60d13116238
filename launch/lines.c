/* Pipes into lines; see lines.h. */
#include "launch/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hand_out(struct lines *lines, lines_take *take, void *who)
{
    char *start = lines->buffer;
    char *end = lines->buffer + lines->used;
    char *newline;

    while ((newline = memchr(start, '\n', (size_t)(end - start))) != NULL) {
        take(who, start, (size_t)(newline - start));
        start = newline + 1;
    }
    lines->used = (size_t)(end - start);
    memmove(lines->buffer, start, lines->used);
    if (lines->used == LINES_LONGEST) {
        take(who, lines->buffer, lines->used);
        lines->used = 0;
    }
}

int lines_read(struct lines *lines, int fd, lines_take *take, void *who)
{
    ssize_t got;

    if (lines->buffer == NULL)
        lines->buffer = malloc(LINES_LONGEST);
    if (lines->buffer == NULL)
        return 0;
    got = read(fd, lines->buffer + lines->used, LINES_LONGEST - lines->used);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 1;
    if (got <= 0) {
        if (lines->used > 0)
            take(who, lines->buffer, lines->used);
        lines->used = 0;
        return 0;
    }
    lines->used += (size_t)got;
    hand_out(lines, take, who);
    return 1;
}

void lines_done(struct lines *lines)
{
    free(lines->buffer);
    lines->buffer = NULL;
    lines->used = 0;
}
