/* fleet --secret FILE [--heartbeat MS]: plays the agents of a job's pods; see fleet.h. */
#include "tests/fleet/fleet.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#define TURN_MS 5
#define EVENTS_A_TURN 1024
#define MOST_SOCKETS 20000

/* ---- what is printed ------------------------------------------------------------------------- */

static void print(const char *what, uint32_t number)
{
    printf("%s %u %.6f\n", what, number, (double)rk_clock_wall() / 1e9);
}

void fleet_told(struct fleet *fleet)
{
    if (!fleet->mark.told)
        print("told", fleet->mark.number);
    fleet->mark.told = true;
}

void fleet_joined(struct fleet *fleet, struct agent *agent, uint32_t members)
{
    if (members != fleet->mark.members || agent->joined == fleet->mark.number)
        return;
    agent->joined = fleet->mark.number;
    if (++fleet->mark.joined == members)
        print("whole", fleet->mark.number);
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void stop(struct fleet *fleet, const char *address, bool cut)
{
    for (struct agent **at = &fleet->first; *at != NULL; at = &(*at)->next) {
        struct agent *agent = *at;

        if (strcmp(agent->address, address) != 0)
            continue;
        *at = agent->next;
        if (agent->socket != NULL)
            epoll_ctl(fleet->poll, EPOLL_CTL_DEL, agent->fd, NULL);
        if (cut)
            agent_cut(agent);
        agent_stop(agent);
        print("stopped", fleet->mark.number);
        free(agent);
        return;
    }
}

static void start(struct fleet *fleet, const char *line)
{
    struct agent *agent = calloc(1, sizeof *agent);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = agent};

    if (agent == NULL || sscanf(line, "start %47s %u %" SCNu32 " %63s %95s", agent->address,
                                &agent->port, &agent->ticket, agent->uid, agent->name) != 5) {
        fprintf(stderr, "fleet: not understood: %s\n", line);
        free(agent);
        return;
    }
    stop(fleet, agent->address, false);
    if (agent_open(fleet, agent) != 0 ||
        epoll_ctl(fleet->poll, EPOLL_CTL_ADD, agent->fd, &event) != 0)
        exit(1);
    agent_listen(agent);
    agent->next = fleet->first;
    fleet->first = agent;
}

static void obey(struct fleet *fleet, char *line)
{
    struct mark mark = {0};

    if (strncmp(line, "stop ", 5) == 0)
        stop(fleet, line + 5, false);
    else if (strncmp(line, "cut ", 4) == 0)
        stop(fleet, line + 4, true);
    else if (sscanf(line, "mark %" SCNu32 " %" SCNu32, &mark.number, &mark.members) == 2)
        fleet->mark = mark;
    else
        start(fleet, line);
}

static void take_lines(struct fleet *fleet)
{
    ssize_t size = read(STDIN_FILENO, fleet->line + fleet->line_size,
                        sizeof fleet->line - 1 - fleet->line_size);
    char *from = fleet->line;
    char *end;

    if (size <= 0) {
        fleet->ended = size == 0 || errno != EAGAIN;
        return;
    }
    fleet->line_size += (uint32_t)size;
    fleet->line[fleet->line_size] = '\0';
    while ((end = strchr(from, '\n')) != NULL) {
        *end = '\0';
        obey(fleet, from);
        from = end + 1;
    }
    fleet->line_size -= (uint32_t)(from - fleet->line);
    memmove(fleet->line, from, fleet->line_size);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* What is read comes last, since it frees agents that events may name. */
static void turn(struct fleet *fleet)
{
    struct epoll_event event[EVENTS_A_TURN];
    int count = epoll_wait(fleet->poll, event, EVENTS_A_TURN, TURN_MS);

    fleet->now = rk_clock_now();
    for (int i = 0; i < count; i++)
        if (event[i].data.ptr != NULL)
            agent_wake(fleet, event[i].data.ptr);
    for (struct agent *agent = fleet->first; agent != NULL; agent = agent->next)
        if (agent->socket != NULL && !agent->listens)
            agent_listen(agent);
        else if (agent->socket != NULL && fleet->now >= agent->say_at)
            agent_turn(fleet, agent);
    for (int i = 0; i < count; i++)
        if (event[i].data.ptr == NULL)
            take_lines(fleet);
}

static int open_all(struct fleet *fleet, const char *secret)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct rlimit files;
    struct rk_why why = {""};

    if (secret_read(&fleet->secret, secret, &why) != 0) {
        fprintf(stderr, "fleet: %s\n", why.text);
        return 1;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    fleet->poll = epoll_create1(EPOLL_CLOEXEC);
    fleet->context = zmq_ctx_new();
    if (fleet->poll < 0 || fleet->context == NULL ||
        zmq_ctx_set(fleet->context, ZMQ_MAX_SOCKETS, MOST_SOCKETS) != 0)
        return 1;
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    return epoll_ctl(fleet->poll, EPOLL_CTL_ADD, STDIN_FILENO, &event) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct fleet fleet = {0};
    const char *secret = NULL;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--secret") == 0)
            secret = argv[i + 1];
        else if (strcmp(argv[i], "--heartbeat") == 0)
            fleet.heartbeat = strtoull(argv[i + 1], NULL, 10) * RK_MS;
    }
    if (secret == NULL) {
        fprintf(stderr, "usage: fleet --secret FILE [--heartbeat MS]\n");
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (open_all(&fleet, secret) != 0)
        return 1;
    while (!fleet.ended)
        turn(&fleet);
    while (fleet.first != NULL)
        stop(&fleet, fleet.first->address, false);
    zmq_ctx_term(fleet.context);
    close(fleet.poll);
    return 0;
}
