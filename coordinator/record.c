/* The durable record; see record.h.
 *
 *     reknit-record 1
 *     job NAME
 *     run KEY
 *     epoch 3
 *     ...one "name number" for each line of `fields`, in their order
 *     restarts N N ...            the counts of the budget's buckets
 *     crc XXXXXXXX                of everything before this line */
#include "coordinator/record.h"

#include "coordinator/coordinator.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 8192
#define PATH_SIZE 4096
#define LOCK_TRIES 500 /* 10 ms each */
#define SERIAL_GAP 1000u
#define MAX_EPOCH ((UINT32_C(1) << 24) - 1)

static const struct field {
    const char *name;
    size_t offset;
    size_t size;
    uint64_t most;
} fields[] = {
#define FIELD(name, member, most)                                                       \
    {                                                                                   \
        name, offsetof(struct record, member), sizeof((struct record *)0)->member, most \
    }
    FIELD("epoch", core.epoch, MAX_EPOCH),
    FIELD("generation", core.generation, (UINT64_C(1) << 40) - 1),
    FIELD("target_workers", core.target_workers, UINT32_MAX),
    FIELD("best_step", core.best_step, UINT64_MAX),
    FIELD("committed_step", core.committed_step, UINT64_MAX),
    FIELD("program_failures", core.program_failures, UINT32_MAX),
    FIELD("restarts_total", core.restarts_total, UINT32_MAX),
    FIELD("restart_age", core.restart_age, UINT64_MAX),
    FIELD("job_started", core.started, 1),
    FIELD("stopping", core.stopping, 1),
    FIELD("joined", core.joined, 1),
    FIELD("losses", core.losses, UINT32_MAX),
    FIELD("stop_signal", core.stop_signal, 255),
    FIELD("launch_serial", core.launch_serial, UINT32_MAX),
    FIELD("carrier_job", core.carrier_job, UINT32_MAX),
    FIELD("run_started", started, UINT64_MAX),
    FIELD("events_offset", events_offset, INT64_MAX),
    FIELD("changes", changes, UINT64_MAX),
    FIELD("ended", core.over, 1),
    FIELD("exit_code", core.exit_code, 255),
    FIELD("reason", core.reason, CORE_REASON_COUNT_ - 1),
#undef FIELD
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static uint64_t field_get(const struct record *record, const struct field *field)
{
    const char *at = (const char *)record + field->offset;
    uint32_t narrow;
    uint64_t wide;
    bool flag;

    switch (field->size) {
    case sizeof flag:
        memcpy(&flag, at, sizeof flag);
        return flag;
    case sizeof narrow:
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    default:
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
}

static void field_set(struct record *record, const struct field *field, uint64_t value)
{
    char *at = (char *)record + field->offset;
    uint32_t narrow = (uint32_t)value;
    bool flag = value != 0;

    switch (field->size) {
    case sizeof flag:
        memcpy(at, &flag, sizeof flag);
        break;
    case sizeof narrow:
        memcpy(at, &narrow, sizeof narrow);
        break;
    default:
        memcpy(at, &value, sizeof value);
        break;
    }
}

/* CRC-32 (ISO 3309), bit by bit: a record is a few hundred bytes. */
static uint32_t crc32_of(const char *text, size_t size)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= (uint8_t)text[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

/* ---- text ------------------------------------------------------------------------------------ */

static size_t append(char *text, size_t used, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t append(char *text, size_t used, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(text + used, TEXT_MAX - used, format, args);
    va_end(args);
    return used + (size_t)length;
}

static size_t render(const struct record *record, char text[TEXT_MAX])
{
    const struct core_record *core = &record->core;
    size_t used = append(text, 0, "reknit-record 1\njob %s\nrun %s\n", record->job, record->run);

    for (size_t i = 0; i < FIELD_COUNT; i++)
        used =
            append(text, used, "%s %" PRIu64 "\n", fields[i].name, field_get(record, &fields[i]));
    used = append(text, used, "restarts");
    for (uint32_t i = 0; i < CORE_RESTART_BUCKETS; i++)
        used = append(text, used, " %" PRIu32, core->restarts[i]);
    used = append(text, used, "\n");
    return append(text, used, "crc %08" PRIx32 "\n", crc32_of(text, used));
}

/* A number that ends where `end` says; moves *at behind it. */
static bool take_number(const char **at, const char *ends, uint64_t most, uint64_t *value)
{
    char *end;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *value = strtoull(*at, &end, 10);
    if (errno != 0 || *value > most || *end == '\0' || strchr(ends, *end) == NULL)
        return false;
    *at = end;
    return true;
}

static bool take_text(const char **at, const char *text)
{
    size_t length = strlen(text);

    if (strncmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool take_string(const char **at, char *into, size_t size)
{
    size_t length = strcspn(*at, "\n");

    if (length == 0 || length >= size)
        return false;
    memcpy(into, *at, length);
    into[length] = '\0';
    *at += length;
    return take_text(at, "\n");
}

static bool take_restarts(const char **at, struct core_record *core)
{
    uint64_t count;

    if (!take_text(at, "restarts"))
        return false;
    for (uint32_t i = 0; i < CORE_RESTART_BUCKETS; i++) {
        if (!take_text(at, " ") || !take_number(at, " \n", UINT32_MAX, &count))
            return false;
        core->restarts[i] = (uint32_t)count;
    }
    return take_text(at, "\n");
}

static bool parse(const char *text, struct record *record)
{
    const char *at = text;
    uint64_t value;

    if (!take_text(&at, "reknit-record 1\n") || !take_text(&at, "job ") ||
        !take_string(&at, record->job, sizeof record->job) || !take_text(&at, "run ") ||
        !take_string(&at, record->run, sizeof record->run))
        return false;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!take_text(&at, fields[i].name) || !take_text(&at, " ") ||
            !take_number(&at, "\n", fields[i].most, &value) || !take_text(&at, "\n"))
            return false;
        field_set(record, &fields[i], value);
    }
    return take_restarts(&at, &record->core) && *at == '\0';
}

/* Cuts the last line off and compares it with the sum of the rest. */
static bool check_crc(char *text)
{
    char *last = strstr(text, "\ncrc ");
    char expected[16];

    if (!last)
        return false;
    last++;
    snprintf(expected, sizeof expected, "crc %08" PRIx32 "\n",
             crc32_of(text, (size_t)(last - text)));
    if (strcmp(last, expected) != 0)
        return false;
    *last = '\0';
    return true;
}

/* Changes `text`. */
static bool understand(char *text, struct record *record)
{
    memset(record, 0, sizeof *record);
    return check_crc(text) && parse(text, record);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int path_of(char path[PATH_SIZE], const char *dir, const char *name, struct rk_why *why)
{
    if (snprintf(path, PATH_SIZE, "%s/%s", dir, name) >= PATH_SIZE)
        return rk_fail(why, RK_EINVAL, "the path %.64s... is too long", dir);
    return 0;
}

static int read_all(int fd, const char *path, char text[TEXT_MAX], struct rk_why *why)
{
    size_t used = 0;

    for (;;) {
        ssize_t n = read(fd, text + used, TEXT_MAX - 1 - used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rk_fail_errno(why, errno, "cannot read %s", path);
        if (n == 0)
            break;
        used += (size_t)n;
    }
    text[used] = '\0';
    return 0;
}

int record_read(const char *state_dir, struct record *record, struct rk_why *why)
{
    char path[PATH_SIZE];
    char text[TEXT_MAX];
    int rc = path_of(path, state_dir, "record", why);
    int fd;

    if (rc)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return rk_fail_errno(why, errno, "cannot open %s", path);
    rc = read_all(fd, path, text, why);
    close(fd);
    if (rc)
        return rc;
    if (!understand(text, record))
        return rk_fail(why, RK_EDATA,
                       "%s is damaged: move it away to start the job anew from its newest "
                       "checkpoint",
                       path);
    return 0;
}

static int write_file(const char *path, const char *text, size_t size, bool durable,
                      struct rk_why *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    int rc = 0;

    if (fd < 0)
        return rk_fail_errno(why, errno, "cannot create %s", path);
    while (rc == 0 && done < size) {
        ssize_t n = write(fd, text + done, size - done);

        if (n < 0 && errno != EINTR)
            rc = rk_fail_errno(why, errno, "cannot write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    if (rc == 0 && durable && fsync(fd) != 0)
        rc = rk_fail_errno(why, errno, "cannot make %s durable", path);
    if (close(fd) != 0 && rc == 0)
        rc = rk_fail_errno(why, errno, "cannot write %s", path);
    return rc;
}

static int sync_dir(const char *dir, struct rk_why *why)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0
                 ? 0
                 : rk_fail_errno(why, errno, "cannot make the names in %s durable", dir);

    if (fd >= 0)
        close(fd);
    return rc;
}

static int replace(const char *dir, const struct record *record, bool durable, struct rk_why *why)
{
    char path[PATH_SIZE];
    char fresh[PATH_SIZE];
    char text[TEXT_MAX];
    size_t size = render(record, text);
    int rc = path_of(path, dir, "record", why);

    if (rc == 0)
        rc = path_of(fresh, dir, "record.new", why);
    if (rc == 0)
        rc = write_file(fresh, text, size, durable, why);
    if (rc == 0 && rename(fresh, path) != 0)
        rc = rk_fail_errno(why, errno, "cannot rename %s to %s", fresh, path);
    return rc || !durable ? rc : sync_dir(dir, why);
}

/* The lock is held for a few milliseconds at a time, so whoever waits tries again. */
static int lock(const char *dir, int *fd, struct rk_why *why)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    char path[PATH_SIZE];
    int rc = path_of(path, dir, "record.lock", why);

    if (rc)
        return rc;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return rk_fail_errno(why, errno, "cannot open %s", path);
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        nanosleep(&pause, NULL);
    }
    rc = errno == EWOULDBLOCK ? rk_fail(why, RK_ETIMEDOUT, "%s is held by another process", path)
                              : rk_fail_errno(why, errno, "cannot lock %s", path);
    close(*fd);
    return rc;
}

static int raise_epoch(const char *dir, uint32_t least, struct record *record, bool *again,
                       struct rk_why *why)
{
    struct record found;
    int rc = record_read(dir, &found, why);

    if (rc != 0 && rc != RK_ENOENT)
        return rc;
    *again = rc == 0 && (!found.core.over || *again) && strcmp(found.run, record->run) == 0;
    if (rc == 0 && found.core.epoch >= MAX_EPOCH)
        return rk_fail(why, RK_EFULL, "%s/record is at its last epoch, %u", dir, MAX_EPOCH);
    if (*again)
        *record = found;
    record->changes = (rc == 0 ? found.changes : 0) + 1;
    record->core.epoch = (rc == 0 ? found.core.epoch : 0) + 1;
    if (record->core.epoch < least) {
        record->core.epoch = least;
        record->core.launch_serial += SERIAL_GAP;
    }
    return replace(dir, record, true, why);
}

int record_take(const char *state_dir, const char *job, const char *run, uint64_t wall,
                uint64_t events_offset, uint32_t least, struct record *record, bool *again,
                struct rk_why *why)
{
    int fd;
    int rc;

    if (strlen(job) > RK_JOB_NAME_MAX || strlen(run) > RECORD_RUN_MAX)
        return rk_fail(why, RK_EINVAL, "the name of the job or of the run is too long");
    memset(record, 0, sizeof *record);
    strcpy(record->job, job);
    strcpy(record->run, run);
    record->started = wall;
    record->events_offset = events_offset;
    record->core.committed_step = CORE_NONE;
    rc = lock(state_dir, &fd, why);
    if (rc)
        return rc;
    rc = raise_epoch(state_dir, least, record, again, why);
    close(fd);
    return rc;
}

int record_write(const char *state_dir, const struct record *record, bool durable,
                 struct rk_why *why)
{
    struct record fresh = *record;
    struct record found = {0};
    int fd;
    int rc = lock(state_dir, &fd, why);

    if (rc)
        return rc;
    rc = record_read(state_dir, &found, why);
    fresh.changes = found.changes + 1;
    if (rc == 0 && found.core.epoch != record->core.epoch)
        rc = rk_fail(why, RK_ESTALE, "%s/record is of epoch %u, this coordinator's is %u",
                     state_dir, found.core.epoch, record->core.epoch);
    if (rc == 0 || rc == RK_ENOENT)
        rc = replace(state_dir, &fresh, durable, why);
    close(fd);
    return rc;
}

/* ---- a copy ---------------------------------------------------------------------------------- */

static bool understand_copy(const char *copy, struct record *record)
{
    char text[TEXT_MAX];

    if (strlen(copy) >= sizeof text)
        return false;
    strcpy(text, copy);
    return understand(text, record);
}

static bool is_newer(const struct record *a, const struct record *b)
{
    return a->core.epoch != b->core.epoch ? a->core.epoch > b->core.epoch : a->changes > b->changes;
}

static int forget(const char *state_dir, struct rk_why *why)
{
    char path[PATH_SIZE];
    int rc = path_of(path, state_dir, "record", why);

    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = rk_fail_errno(why, errno, "cannot remove the damaged %s", path);
    return rc;
}

int coordinator_restore(const char *state_dir, const char *copy, struct rk_why *why)
{
    struct record here, there;
    int rc = record_read(state_dir, &here, why);

    if (rc != 0 && rc != RK_EDATA && rc != RK_ENOENT)
        return rc;
    if (copy == NULL || copy[0] == '\0')
        return rc == RK_EDATA ? forget(state_dir, why) : 0;
    if (!understand_copy(copy, &there))
        return rc == 0
                   ? 0
                   : rk_fail(why, RK_EDATA,
                             "the copy of the job's record is damaged: remove it to start the job "
                             "anew from its newest checkpoint");
    if (rc == 0 && !is_newer(&there, &here))
        return 0;
    return replace(state_dir, &there, true, why);
}
