/* Is the program there; see program.h. */
#include "launch/program.h"

#include "launch/surroundings.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static int check_file(const char *path, struct rk_why *why)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return rk_fail_errno(why, errno, "the program %s cannot be run", path);
    if (S_ISDIR(status.st_mode))
        return rk_fail(why, RK_EACCES, "the program %s is a directory; name the file in it", path);
    if (access(path, X_OK) != 0)
        return rk_fail(why, RK_EACCES, "the program %s is not executable; chmod +x %s?", path,
                       path);
    return 0;
}

int program_check(const char *program, struct rk_why *why)
{
    char path[PATH_MAX];
    struct stat status;
    const char *search = surroundings_get("PATH");
    int found = RK_ENOENT;

    if (strchr(program, '/') != NULL)
        return check_file(program, why);
    if (search == NULL)
        search = DEFAULT_PATH;
    for (const char *at = search; found != 0; at++) {
        size_t length = strcspn(at, ":");

        snprintf(path, sizeof path, "%.*s/%s", length == 0 ? 1 : (int)length,
                 length == 0 ? "." : at, program);
        if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode))
            found = check_file(path, why);
        at += length;
        if (*at == '\0')
            break;
    }
    if (found != RK_ENOENT)
        return found;
    if (stat(program, &status) == 0 && !S_ISDIR(status.st_mode))
        return rk_fail(why, RK_ENOENT,
                       "the program '%s' is in no directory of PATH, but there is one here: write "
                       "./%s",
                       program, program);
    return rk_fail(why, RK_ENOENT, "the program '%s' is in no directory of PATH (%s)", program,
                   search);
}
