/* Hostfiles and host lists; see hosts.h. */
#include "launch/hosts.h"

#include "common/id.h"
#include "launch/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_MAX_BYTES 1024
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

/* Where a piece of text stands, for messages. */
struct spot {
    const char *file; /* "--hosts" for a list */
    unsigned line;
    const char *start; /* of the line */
};

static int fail_at(const struct spot *spot, const char *at, struct rk_why *why, const char *what)
{
    return rk_fail(why, RK_EINVAL, "%s:%u:%u: %s", spot->file, spot->line,
                   (unsigned)(at - spot->start) + 1, what);
}

static int add_host(struct hosts *hosts, const char *target, size_t length, uint32_t slots,
                    struct rk_why *why)
{
    struct host *grown;

    if (hosts->count == HOSTS_MAX)
        return rk_fail(why, RK_EFULL, "more than %u hosts", HOSTS_MAX);
    grown = realloc(hosts->host, (hosts->count + 1) * sizeof *grown);
    if (grown == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the list of hosts");
    hosts->host = grown;
    snprintf(grown[hosts->count].target, sizeof grown->target, "%.*s", (int)length, target);
    grown[hosts->count++].slots = slots;
    return 0;
}

static int read_slots(const struct spot *spot, const char *at, size_t length, uint32_t *slots,
                      struct rk_why *why)
{
    char digits[32];
    char what[640];
    struct rk_why detail;
    uint64_t value;

    snprintf(digits, sizeof digits, "%.*s", (int)length, at);
    if (text_count(digits, 1, RK_MAX_SLOTS, &value, &detail) != 0) {
        snprintf(what, sizeof what, "slots: %s", detail.text);
        return fail_at(spot, at, why, what);
    }
    *slots = (uint32_t)value;
    return 0;
}

/* [USER@]NAME, checked; returns its length, 0 when it is not one. */
static size_t target_length(const char *at)
{
    size_t user = strspn(at, NAME_CHARACTERS);
    size_t length = user;

    if (user > 0 && at[user] == '@')
        length = user + 1 + strspn(at + user + 1, NAME_CHARACTERS);
    if (at[0] == '-' || length > HOSTS_NAME_MAX || (length > user && length == user + 1))
        return 0;
    return length;
}

/* NAME[:SLOTS] [slots=SLOTS], up to `end`. */
static int read_entry(const struct spot *spot, const char *at, const char *end, uint32_t slots,
                      struct hosts *hosts, struct rk_why *why)
{
    const char *name = at;
    size_t length = target_length(at);
    int rc;

    if (length == 0 || name + length > end)
        return fail_at(spot, at, why,
                       "a host's name was expected, as node1, user@node1 or 10.0.0.1");
    at += length;
    if (at < end && *at == ':') {
        size_t digits = strcspn(++at, " \t");

        digits = digits < (size_t)(end - at) ? digits : (size_t)(end - at);
        rc = read_slots(spot, at, digits, &slots, why);
        if (rc != 0)
            return rc;
        at += digits;
    }
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (end - at > 6 && strncmp(at, "slots=", 6) == 0) {
        size_t digits = strcspn(at + 6, " \t");

        digits = digits < (size_t)(end - at - 6) ? digits : (size_t)(end - at - 6);
        rc = read_slots(spot, at + 6, digits, &slots, why);
        if (rc != 0)
            return rc;
        at += 6 + digits;
    }
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at < end)
        return fail_at(spot, at, why,
                       "not understood; an entry is HOST, HOST:SLOTS or HOST slots=N");
    return add_host(hosts, name, length, slots, why);
}

static int read_list(const char *text, uint32_t slots, struct hosts *hosts, struct rk_why *why)
{
    struct spot spot = {"--hosts", 1, text};

    for (const char *at = text;; at++) {
        const char *end = at + strcspn(at, ",");
        int rc = read_entry(&spot, at, end, slots, hosts, why);

        if (rc != 0 || *end == '\0')
            return rc;
        at = end;
    }
}

static int read_line(const struct spot *spot, char *line, uint32_t slots, struct hosts *hosts,
                     struct rk_why *why)
{
    char *at = line + strspn(line, " \t");
    char *end = line + strcspn(line, "#\r\n");

    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return end <= at ? 0 : read_entry(spot, at, end, slots, hosts, why);
}

static int read_file(const char *path, uint32_t slots, struct hosts *hosts, struct rk_why *why)
{
    char line[LINE_MAX_BYTES];
    struct spot spot = {path, 0, line};
    FILE *file = fopen(path, "re");
    int rc = 0;

    if (file == NULL)
        return rk_fail_errno(why, errno, "the hostfile %s cannot be read", path);
    while (rc == 0 && fgets(line, sizeof line, file) != NULL) {
        spot.line++;
        if (strlen(line) == sizeof line - 1)
            rc = fail_at(&spot, line + sizeof line - 1, why, "the line is too long for a hostfile");
        else
            rc = read_line(&spot, line, slots, hosts, why);
    }
    if (rc == 0 && ferror(file))
        rc = rk_fail(why, RK_EIO, "the hostfile %s cannot be read to its end", path);
    fclose(file);
    if (rc == 0 && hosts->count == 0)
        rc = rk_fail(why, RK_EINVAL, "%s:%u:1: the hostfile names no host", path, spot.line + 1);
    return rc;
}

int hosts_read(const char *text, uint32_t slots, struct hosts *hosts, struct rk_why *why)
{
    struct stat status;
    bool is_file =
        strchr(text, ',') == NULL && (strchr(text, '/') != NULL || stat(text, &status) == 0);
    int rc;

    memset(hosts, 0, sizeof *hosts);
    rc = is_file ? read_file(text, slots, hosts, why) : read_list(text, slots, hosts, why);
    if (rc != 0)
        hosts_done(hosts);
    return rc;
}

void hosts_done(struct hosts *hosts)
{
    free(hosts->host);
    memset(hosts, 0, sizeof *hosts);
}

const char *host_name(const struct host *host)
{
    const char *at = strchr(host->target, '@');

    return at != NULL ? at + 1 : host->target;
}
