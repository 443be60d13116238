/* The job's secret as a small text, from and to files and descriptors; see secret.h.
 *
 *     reknit-secret 1
 *     endpoint tcp://10.0.0.1:4242
 *     public Z85 OF 40 CHARACTERS
 *     private Z85 OF 40 CHARACTERS        only where the coordinator reads it
 *     token 64 HEX DIGITS
 *     end
 *
 * The last line lets a reader of a pipe that stays open (standard input of a worker that was
 * started through ssh, whose end says that `reknit run` is gone) know that it has all. */
#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define FD "fd:"
#define MOUNT "mount:"
#define KEY_LENGTH 40
#define READ_TIMEOUT_MS 10000

static int fill_random(void *data, size_t size, struct rk_why *why)
{
    uint8_t *bytes = data;
    size_t got = 0;

    while (got < size) {
        ssize_t n = getrandom(bytes + got, size - got, 0);

        if (n < 0 && errno != EINTR)
            return rk_fail_errno(why, errno, "no random bytes from the kernel");
        got += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int secret_random_id(uint64_t *id, struct rk_why *why)
{
    int rc;

    do {
        rc = fill_random(id, sizeof *id, why);
    } while (rc == 0 && *id == 0);
    return rc;
}

int secret_make(struct secret *secret, const char *endpoint, struct rk_why *why)
{
    memset(secret, 0, sizeof *secret);
    if (strlen(endpoint) >= sizeof secret->endpoint)
        return rk_fail(why, RK_EINVAL, "endpoint of %zu characters is too long", strlen(endpoint));
    strcpy(secret->endpoint, endpoint);
    if (zmq_curve_keypair(secret->public_key, secret->private_key) != 0)
        return rk_fail(why, RK_EUNAVAILABLE, "libzmq here was built without CURVE: %s",
                       zmq_strerror(zmq_errno()));
    return fill_random(secret->token, sizeof secret->token, why);
}

/* ---- text ------------------------------------------------------------------------------------ */

size_t secret_text(const struct secret *secret, bool with_private, char text[SECRET_TEXT_MAX])
{
    char token[2 * WIRE_TOKEN_BYTES + 1];
    bool private = with_private && secret->private_key[0] != '\0';
    int length;

    for (size_t i = 0; i < WIRE_TOKEN_BYTES; i++)
        snprintf(token + 2 * i, 3, "%02x", secret->token[i]);
    length = snprintf(text, SECRET_TEXT_MAX,
                      "reknit-secret 1\nendpoint %s\npublic %s\n%s%s%stoken %s\nend\n",
                      secret->endpoint, secret->public_key, private ? "private " : "",
                      private ? secret->private_key : "", private ? "\n" : "", token);
    explicit_bzero(token, sizeof token);
    return (size_t)length;
}

static int parse_key(const char *value, char key[KEY_LENGTH + 1])
{
    uint8_t raw[32];

    if (strlen(value) != KEY_LENGTH || zmq_z85_decode(raw, value) == NULL)
        return RK_EDATA;
    explicit_bzero(raw, sizeof raw);
    memcpy(key, value, KEY_LENGTH + 1);
    return 0;
}

static int parse_token(const char *value, uint8_t token[WIRE_TOKEN_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(value) != 2 * (size_t)WIRE_TOKEN_BYTES)
        return RK_EDATA;
    for (size_t i = 0; i < WIRE_TOKEN_BYTES; i++) {
        const char *high = strchr(digits, value[2 * i]);
        const char *low = strchr(digits, value[2 * i + 1]);

        if (!high || !low)
            return RK_EDATA;
        token[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return 0;
}

static int parse_endpoint(const char *value, char endpoint[256])
{
    if (strncmp(value, "tcp://", 6) != 0 || strlen(value) >= 256 || !strrchr(value + 6, ':'))
        return RK_EDATA;
    strcpy(endpoint, value);
    return 0;
}

static int parse_line(struct secret *secret, const char *line)
{
    if (strncmp(line, "endpoint ", 9) == 0)
        return parse_endpoint(line + 9, secret->endpoint);
    if (strncmp(line, "public ", 7) == 0)
        return parse_key(line + 7, secret->public_key);
    if (strncmp(line, "private ", 8) == 0)
        return parse_key(line + 8, secret->private_key);
    if (strncmp(line, "token ", 6) == 0)
        return parse_token(line + 6, secret->token);
    return RK_EDATA;
}

int secret_parse(struct secret *secret, char *text, const char *source, struct rk_why *why)
{
    char *rest = NULL;
    char *line = strtok_r(text, "\n", &rest);
    bool token = false;
    bool end = false;

    memset(secret, 0, sizeof *secret);
    if (!line || strcmp(line, "reknit-secret 1") != 0)
        return rk_fail(why, RK_EDATA, "%s: line 1 is not \"reknit-secret 1\"", source);
    for (int number = 2; !end && (line = strtok_r(NULL, "\n", &rest)) != NULL; number++) {
        end = strcmp(line, "end") == 0;
        if (!end && parse_line(secret, line) != 0)
            return rk_fail(why, RK_EDATA, "%s: line %d is not one of a secret", source, number);
        token = token || line[0] == 't';
    }
    if (!secret->endpoint[0] || !secret->public_key[0] || !token || !end)
        return rk_fail(why, RK_EDATA, "%s: no %s in it", source,
                       !secret->endpoint[0]     ? "endpoint"
                       : !secret->public_key[0] ? "public key"
                       : !token                 ? "token"
                                                : "last line (it is cut short)");
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One piece at `offset`, or of a pipe; several processes may share a memfd's file offset, so it is
 * never moved. */
static ssize_t read_piece(int fd, bool seekable, char *into, size_t room, size_t offset)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    if (seekable)
        return pread(fd, into, room, (off_t)offset);
    if (poll(&ready, 1, READ_TIMEOUT_MS) == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    return read(fd, into, room);
}

static int read_text(int fd, const char *source, char text[SECRET_TEXT_MAX], struct rk_why *why)
{
    bool seekable = lseek(fd, 0, SEEK_CUR) >= 0;
    size_t used = 0;

    for (;;) {
        ssize_t n = read_piece(fd, seekable, text + used, SECRET_TEXT_MAX - used, used);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return rk_fail_errno(why, errno, "cannot read the job's secret from %s", source);
        used += (size_t)n;
        if (used >= SECRET_TEXT_MAX)
            return rk_fail(why, RK_EDATA, "%s is too long for a job's secret", source);
        text[used] = '\0';
        if (n == 0 || (used >= 5 && strcmp(text + used - 5, "\nend\n") == 0))
            break;
    }
    if (strlen(text) != used)
        return rk_fail(why, RK_EDATA, "%s is not text", source);
    return 0;
}

/* `mounted`: whose it is and who may read it is decided by whoever mounted it. */
static int open_file(const char *path, bool mounted, struct rk_why *why)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc;

    if (fd < 0)
        return rk_fail_errno(why, errno, "cannot open the job's secret %s", path);
    if (fstat(fd, &info) != 0)
        rc = rk_fail_errno(why, errno, "cannot look at %s", path);
    else if (!S_ISREG(info.st_mode))
        rc = rk_fail(why, RK_EDATA, "%s is not a file", path);
    else if (mounted)
        return fd;
    else if (info.st_uid != geteuid())
        rc = rk_fail(why, RK_EACCES, "%s belongs to user %u, not to you: it is not trusted", path,
                     (unsigned)info.st_uid);
    else if (info.st_mode & 07177)
        rc = rk_fail(why, RK_EACCES, "%s has mode %04o, others could read it: chmod 600 it", path,
                     (unsigned)info.st_mode & 07777);
    else
        return fd;
    close(fd);
    return rc;
}

static int open_descriptor(const char *source, struct rk_why *why)
{
    char *end;
    const char *digits = source + strlen(FD);
    long number = strtol(digits, &end, 10);

    if (end == digits || *end != '\0' || number < 0 || number > 1 << 20 ||
        fcntl((int)number, F_GETFD) < 0)
        return rk_fail(why, RK_EINVAL, "%s is not an open descriptor", source);
    return (int)number;
}

static int open_source(const char *source, struct rk_why *why)
{
    if (strncmp(source, FD, strlen(FD)) == 0)
        return open_descriptor(source, why);
    if (strncmp(source, MOUNT, strlen(MOUNT)) == 0)
        return open_file(source + strlen(MOUNT), true, why);
    return open_file(source, false, why);
}

int secret_read(struct secret *secret, const char *source, struct rk_why *why)
{
    char text[SECRET_TEXT_MAX];
    int fd = open_source(source, why);
    int rc;

    memset(secret, 0, sizeof *secret);
    if (fd < 0)
        return fd;
    rc = read_text(fd, source, text, why);
    if (fd > STDERR_FILENO)
        close(fd);
    if (rc == 0)
        rc = secret_parse(secret, text, source, why);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* ---- writing --------------------------------------------------------------------------------- */

int secret_write_fd(const struct secret *secret, int fd, bool with_private, struct rk_why *why)
{
    char text[SECRET_TEXT_MAX];
    size_t size = secret_text(secret, with_private, text);
    size_t done = 0;
    int rc = 0;

    while (rc == 0 && done < size) {
        ssize_t n = write(fd, text + done, size - done);

        if (n < 0 && errno != EINTR)
            rc = rk_fail_errno(why, errno, "cannot write the job's secret");
        done += n > 0 ? (size_t)n : 0;
    }
    explicit_bzero(text, sizeof text);
    return rc;
}

int secret_write_file(const struct secret *secret, const char *path, bool with_private,
                      struct rk_why *why)
{
    char fresh[4096];
    int fd;
    int rc;

    if (snprintf(fresh, sizeof fresh, "%s.%ld", path, (long)getpid()) >= (int)sizeof fresh)
        return rk_fail(why, RK_EINVAL, "the path %.64s... is too long", path);
    unlink(fresh);
    fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return rk_fail_errno(why, errno, "cannot create %s", fresh);
    rc = fchmod(fd, 0600) == 0 ? secret_write_fd(secret, fd, with_private, why)
                               : rk_fail_errno(why, errno, "cannot set the mode of %s", fresh);
    if (close(fd) != 0 && rc == 0)
        rc = rk_fail_errno(why, errno, "cannot write %s", fresh);
    if (rc == 0 && rename(fresh, path) != 0)
        rc = rk_fail_errno(why, errno, "cannot rename %s to %s", fresh, path);
    if (rc)
        unlink(fresh);
    return rc;
}

int secret_to_fd(const struct secret *secret, bool with_private, int *fd, struct rk_why *why)
{
    int memory = memfd_create("reknit-secret", 0);
    int rc;

    if (memory < 0)
        return rk_fail_errno(why, errno, "cannot make a memory file for the job's secret");
    rc = secret_write_fd(secret, memory, with_private, why);
    if (rc == 0 && lseek(memory, 0, SEEK_SET) != 0)
        rc = rk_fail_errno(why, errno, "cannot rewind the job's secret");
    if (rc) {
        close(memory);
        return rc;
    }
    *fd = memory;
    return 0;
}

bool secret_token_matches(const struct secret *secret, const uint8_t *token, size_t size)
{
    uint8_t difference = 0;

    if (size != sizeof secret->token)
        return false;
    for (size_t i = 0; i < size; i++)
        difference = (uint8_t)(difference | (token[i] ^ secret->token[i]));
    return difference == 0;
}
