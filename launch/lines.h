/* Cuts what comes through a pipe into lines, in bounded memory. */
#ifndef RK_LAUNCH_LINES_H
#define RK_LAUNCH_LINES_H

#include <stddef.h>

#define LINES_LONGEST 16384u /* a longer line is cut into pieces of this size */

struct lines {
    char *buffer; /* LINES_LONGEST bytes, made at the first read; freed by lines_done */
    size_t used;
};

/* Gets a line without its newline. */
typedef void lines_take(void *who, const char *line, size_t length);

/* Reads what is there now (fd should not block) and hands out whole lines.  1: more may come;
 * 0: the end, and the last piece was handed out too. */
int lines_read(struct lines *lines, int fd, lines_take *take, void *who);
void lines_done(struct lines *lines);

#endif
