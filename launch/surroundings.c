/* Environment and random source; see surroundings.h. */
#include "launch/surroundings.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

const char *surroundings_get(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

void surroundings_set(const char *name, const char *value)
{
    setenv(name, value, 1);
}

uint64_t surroundings_random(void)
{
    uint64_t value = 0;

    while (value == 0)
        if (getrandom(&value, sizeof value, 0) != sizeof value)
            value = 0;
    return value;
}

int surroundings_self(char *path, size_t size, struct rk_why *why)
{
    ssize_t length = readlink("/proc/self/exe", path, size);

    if (length < 0)
        return rk_fail_errno(why, errno, "/proc/self/exe cannot be read; is /proc mounted?");
    if ((size_t)length >= size)
        return rk_fail(why, RK_EIO, "the path of reknit is longer than %zu bytes", size);
    path[length] = '\0';
    return 0;
}

const char *surroundings_home(void)
{
    const char *home = surroundings_get("HOME");
    const struct passwd *user = home == NULL ? getpwuid(getuid()) : NULL;

    return user != NULL ? user->pw_dir : home;
}
