/* Reading small files; see file.h. */
#include "k8s/client/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE 4096u

/* Reads to the end of `fd`; errno says what went wrong on NULL, EFBIG for too much. */
static char *read_all(int fd, size_t *size)
{
    char *text = NULL;
    size_t used = 0;
    ssize_t got;

    do {
        char *grown = used + PIECE > FILE_MOST ? NULL : realloc(text, used + PIECE + 1);

        got = -1;
        if (grown == NULL) {
            errno = used + PIECE > FILE_MOST ? EFBIG : ENOMEM;
            break;
        }
        text = grown;
        do
            got = read(fd, text + used, PIECE);
        while (got < 0 && errno == EINTR);
        if (got > 0)
            used += (size_t)got;
    } while (got > 0);
    if (got < 0) {
        free(text);
        return NULL;
    }
    text[used] = '\0';
    *size = used;
    return text;
}

int file_read(const char *path, char **text, size_t *size, struct rk_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error;

    if (fd < 0)
        return rk_fail_errno(why, errno, "%s cannot be read", path);
    *text = read_all(fd, size);
    error = errno;
    close(fd);
    if (*text != NULL)
        return 0;
    if (error == EFBIG)
        return rk_fail(why, RK_EDATA, "%s is larger than %u bytes; it cannot be what was meant",
                       path, FILE_MOST);
    return rk_fail_errno(why, error, "%s cannot be read", path);
}

char *file_path(const char *folder, const char *path)
{
    char *whole;

    if (*path == '/' || folder == NULL)
        return strdup(path);
    return asprintf(&whole, "%s/%s", folder, path) < 0 ? NULL : whole;
}
