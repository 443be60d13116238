/* The coordinator's process; see coordinator_process.h. */
#include "launch/coordinator_process.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define MINUTE (60 * RK_S)
#define ANY_PORT "9" /* only the route is asked for: nothing is sent */
#define MOST_WORDS 64

static int resolve(const char *host, const char *port, int type, struct addrinfo **found,
                   struct rk_why *why)
{
    struct addrinfo hints = {.ai_socktype = type};
    int rc = getaddrinfo(host, port, &hints, found);

    if (rc != 0)
        return rk_fail(why, RK_EUNAVAILABLE, "the host '%s' cannot be resolved: %s", host,
                       gai_strerror(rc));
    return 0;
}

int coordinator_address_towards(const char *host, char *address, size_t size, struct rk_why *why)
{
    struct sockaddr_storage mine;
    socklen_t length = sizeof mine;
    struct addrinfo *found;
    int rc = resolve(host, ANY_PORT, SOCK_DGRAM, &found, why);
    int fd;

    if (rc != 0)
        return rc;
    fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
        getsockname(fd, (struct sockaddr *)&mine, &length) != 0 ||
        getnameinfo((struct sockaddr *)&mine, length, address, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0)
        rc = rk_fail(why, RK_EUNAVAILABLE,
                     "there is no way to the host '%s'; say by --address how it reaches this "
                     "machine",
                     host);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return rc;
}

int coordinator_listen(const char *address, int *fd, char *endpoint, size_t size,
                       struct rk_why *why)
{
    struct sockaddr_storage mine;
    socklen_t length = sizeof mine;
    char port[16];
    struct addrinfo *found;
    int rc = resolve(address, "0", SOCK_STREAM, &found, why);
    int file;

    if (rc != 0)
        return rc;
    file = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0 || bind(file, found->ai_addr, found->ai_addrlen) != 0 ||
        listen(file, BACKLOG) != 0 || getsockname(file, (struct sockaddr *)&mine, &length) != 0 ||
        getnameinfo((struct sockaddr *)&mine, length, NULL, 0, port, sizeof port, NI_NUMERICSERV) !=
            0) {
        rc = rk_fail_errno(why, errno, "the coordinator cannot listen on %s", address);
        if (file >= 0)
            close(file);
        file = -1;
    }
    freeaddrinfo(found);
    if (rc != 0)
        return rc;
    snprintf(endpoint, size, strchr(address, ':') != NULL ? "tcp://[%s]:%s" : "tcp://%s:%s",
             address, port);
    *fd = file;
    return 0;
}

/* The coordinator's command line; values are printed into one buffer. */
struct coordinator_words {
    char *word[MOST_WORDS];
    size_t count;
    char text[1024];
    size_t used;
};

static void add_word(struct coordinator_words *words, const char *word)
{
    words->word[words->count++] = (char *)(uintptr_t)word;
    words->word[words->count] = NULL;
}

static void add_text(struct coordinator_words *words, const char *name, const char *value)
{
    add_word(words, name);
    add_word(words, value);
}

static void add_number(struct coordinator_words *words, const char *name, const char *prefix,
                       uint64_t number)
{
    char *at = words->text + words->used;

    words->used +=
        (size_t)snprintf(at, sizeof words->text - words->used, "%s%" PRIu64, prefix, number) + 1;
    add_text(words, name, at);
}

static void build_words(const struct crew_job *job, int secret, int listen_fd, bool again,
                        struct coordinator_words *words)
{
    const struct run_options *options = job->options;

    words->count = words->used = 0;
    add_text(words, "reknit", "coordinator");
    add_text(words, "--job", job->directories->name);
    add_number(words, "--secret", "fd:", (uint64_t)secret);
    add_number(words, "--listen-fd", "", (uint64_t)listen_fd);
    add_text(words, "--run-dir", job->directories->run);
    add_text(words, "--state-dir", job->directories->state);
    if (options->checkpoint_dir != NULL)
        add_text(words, "--checkpoint-dir", options->checkpoint_dir);
    if (options->events != NULL)
        add_text(words, "--events", options->events);
    add_text(words, "--workers", options->workers);
    if (options->spares != 0)
        add_number(words, "--spares", "", options->spares);
    add_number(words, "--slots", "", options->slots);
    add_number(words, "--shards", "", options->shards);
    add_text(words, "--backend", options->backend);
    add_number(words, "--gather", "", options->gather / RK_MS);
    add_number(words, "--heartbeat", "", options->heartbeat / RK_MS);
    add_number(words, "--silence", "", options->silence / RK_MS);
    add_number(words, "--orphan-timeout", "", options->orphan / RK_MS);
    if (options->stall != 0)
        add_number(words, "--stall-timeout", "", options->stall / RK_MS);
    add_number(words, "--max-restarts", "", options->max_restarts);
    add_text(words, "--checkpoint-interval", options->checkpoint_interval);
    add_number(words, "--keep", "", options->keep);
    add_text(words, "--reduction", options->reduction);
    add_text(words, "--wire", options->wire);
    add_text(words, "--standby-carriers", options->standby_carriers);
    if (options->most_workers != 0)
        add_number(words, "--max-workers", "", options->most_workers);
    if (options->least_epoch != 0)
        add_number(words, "--least-epoch", "", options->least_epoch);
    if (options->launch_timeout != 0)
        add_number(words, "--launch-timeout", "", options->launch_timeout / RK_MS);
    add_word(words, "--launcher");
    if (again)
        add_word(words, "--restarted");
    if (options->copied)
        add_word(words, "--copied");
}

int coordinator_process_start(struct coordinator_process *process, const struct crew_job *job,
                              uint64_t now, struct rk_why *why)
{
    uint64_t *slot = &process->started[process->starts % COORDINATOR_STARTS];
    struct coordinator_words words;
    struct process started;
    int secret;
    int rc;

    if (process->starts >= COORDINATOR_STARTS && now < *slot + MINUTE)
        return rk_fail(why, RK_EBUDGET,
                       "the coordinator died %u times within a minute; see coordinator.log in %s",
                       COORDINATOR_STARTS, job->directories->logs);
    rc = secret_to_fd(job->secret, true, &secret, why);
    if (rc != 0)
        return rc;
    fcntl(secret, F_SETFD, FD_CLOEXEC);
    build_words(job, secret, process->listen_fd, process->starts > 0, &words);
    rc = process_start(
        &(struct process_start){.path = job->self,
                                .argv = words.word,
                                .in = -1,
                                .keep = {secret, process->listen_fd, job->directories->alive, -1},
                                .death_signal = SIGKILL},
        &started, why);
    close(secret);
    if (rc != 0)
        return rc;
    relayed_done(&process->relayed);
    relayed_init(&process->relayed, job->directories->logs, "coordinator.log");
    process->relayed.process = started;
    *slot = now;
    process->starts++;
    return 0;
}
