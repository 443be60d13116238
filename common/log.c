/* Log lines; see log.h. */
#include "common/log.h"

#include "common/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static struct {
    char who[64];
    enum rk_log_level level;
    bool json;
} logger = {.who = "reknit", .level = RK_LOG_INFO};

void rk_log_init(const char *who)
{
    const char *level = getenv("REKNIT_LOG");
    const char *format = getenv("REKNIT_LOG_FORMAT");

    snprintf(logger.who, sizeof logger.who, "%s", who);
    for (int i = RK_LOG_ERROR; level != NULL && i <= RK_LOG_DEBUG; i++)
        if (strcmp(level, level_names[i]) == 0)
            logger.level = (enum rk_log_level)i;
    logger.json = format != NULL && strcmp(format, "json") == 0;
}

void rk_log_set_level(enum rk_log_level level)
{
    logger.level = level;
}

/* Appends `text` as the inside of a JSON string. */
static size_t append_json(char *line, size_t size, size_t used, const char *text)
{
    for (; *text != '\0' && used + 8 < size; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\') {
            line[used++] = '\\';
            line[used++] = (char)c;
        } else if (c < 0x20) {
            used += (size_t)snprintf(line + used, size - used, "\\u%04x", c);
        } else {
            line[used++] = (char)c;
        }
    }
    return used;
}

void rk_log(enum rk_log_level level, const char *format, ...)
{
    char text[1024];
    char line[2300];
    uint64_t wall = rk_clock_wall();
    time_t seconds = (time_t)(wall / RK_S);
    struct tm tm;
    char stamp[32];
    size_t used;
    va_list args;

    if (level > logger.level)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    localtime_r(&seconds, &tm);
    strftime(stamp, sizeof stamp, "%H:%M:%S", &tm);
    if (logger.json) {
        used = (size_t)snprintf(line, sizeof line,
                                "{\"t\":%.6f,\"level\":\"%s\",\"who\":\"%s\",\"text\":\"",
                                (double)wall / 1e9, level_names[level], logger.who);
        used = append_json(line, sizeof line - 4, used, text);
        used += (size_t)snprintf(line + used, sizeof line - used, "\"}\n");
    } else {
        used =
            (size_t)snprintf(line, sizeof line, "%s.%03u %s %s: %s\n", stamp,
                             (unsigned)(wall / RK_MS % 1000), level_names[level], logger.who, text);
    }
    /* One write for a line, so that lines of several processes do not mix. */
    if (used >= sizeof line)
        used = sizeof line - 1;
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
