/* Times of the API; see when.h. */
#include "k8s/client/when.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static size_t print(uint64_t wall, char text[WHEN_SIZE])
{
    time_t seconds = (time_t)(wall / RK_S);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    return strftime(text, WHEN_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
}

const char *when_micro(uint64_t wall, char text[WHEN_SIZE])
{
    size_t used = print(wall, text);

    snprintf(text + used, WHEN_SIZE - used, ".%06" PRIu64 "Z", wall % RK_S / RK_US);
    return text;
}

const char *when_seconds(uint64_t wall, char text[WHEN_SIZE])
{
    size_t used = print(wall, text);

    snprintf(text + used, WHEN_SIZE - used, "Z");
    return text;
}

/* The fraction at *text as ns; *text then stands behind it. */
static uint64_t take_fraction(const char **text)
{
    uint64_t unit = RK_S / 10;
    uint64_t ns = 0;

    if (**text != '.')
        return 0;
    for (++*text; **text >= '0' && **text <= '9'; ++*text, unit /= 10)
        ns += (uint64_t)(**text - '0') * unit;
    return ns;
}

/* Z, or +hh:mm, or -hh:mm, to the end of the text; seconds to take away. */
static bool take_zone(const char *text, long *seconds)
{
    int hours;
    int minutes;
    int used = 0;

    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((*text != '+' && *text != '-') ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || text[1 + used] != '\0' ||
        hours < 0 || minutes < 0)
        return false;
    *seconds = (hours * 3600L + minutes * 60L) * (*text == '-' ? -1 : 1);
    return true;
}

bool when_parse(const char *text, uint64_t *wall)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    uint64_t ns;
    long zone;
    time_t seconds;

    if (rest == NULL)
        return false;
    ns = take_fraction(&rest);
    if (!take_zone(rest, &zone))
        return false;
    seconds = timegm(&tm) - zone;
    if (seconds < 0)
        return false;
    *wall = (uint64_t)seconds * RK_S + ns;
    return true;
}
