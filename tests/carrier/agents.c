/* Played agents; see agents.h. */
#include "tests/carrier/agents.h"

#include "collectives/carrier_launch.h"
#include "common/clock.h"
#include "worker/local.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE (60 * RK_S)
#define ANSWER_MS 5000

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "agents: %s\n", what);
    abort();
}

uint64_t agents_deadline(void)
{
    return rk_clock_now() + DEADLINE;
}

void agents_turn_before(struct agents *agents, uint64_t deadline, const char *what)
{
    agents_turn(agents);
    if (rk_clock_now() < deadline)
        return;
    for (uint32_t h = 0; h < agents->hosts; h++)
        fprintf(stderr, "host %u: complete %llu carrier %d acked %llx\n", h,
                (unsigned long long)atomic_load(&agents->host[h].field.arena.header->complete_step),
                agents->host[h].carrier, (unsigned long long)agents->host[h].acked);
    must(false, what);
}

/* ---- processes ------------------------------------------------------------------------------- */

static pid_t spawn(const struct carrier_command *command)
{
    pid_t pid = fork();

    must(pid >= 0, "cannot fork");
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    dup2(open("/dev/null", O_RDONLY), 0);
    execvpe(command->argv[0], command->argv, command->envp);
    _exit(127);
}

static struct carrier_launch launch_of(const struct agents *agents, const struct played_host *host)
{
    return (struct carrier_launch){.job = agents->job,
                                   .hosts = agents->hosts,
                                   .programs = agents->programs,
                                   .interface = "lo",
                                   .agent = host->path,
                                   .directory = host->directory,
                                   .env = (const char *const *)environ};
}

void agents_launch(struct agents *agents)
{
    struct carrier_launch launch;
    struct carrier_command command;

    agents->job++;
    agents->daemons = 0;
    launch = launch_of(agents, &agents->host[0]);
    must(carrier_launch_command(&launch, &command, NULL) == 0, "no command for the carriers");
    agents->mpirun = spawn(&command);
    carrier_command_done(&command);
}

void agents_kill(struct agents *agents)
{
    if (agents->mpirun > 0)
        kill(agents->mpirun, SIGKILL);
    for (uint32_t h = 0; h < agents->hosts; h++) {
        struct played_host *host = &agents->host[h];
        struct arena_carrier *carrier = &host->field.arena.header->carrier;

        if (host->daemon > 0)
            kill(host->daemon, SIGKILL);
        if (host->carrier >= 0 && atomic_load(&carrier->pid) > 0)
            kill(atomic_load(&carrier->pid), SIGKILL);
    }
    AGENTS_UNTIL(agents, agents->mpirun == 0, "mpirun does not die");
    for (uint32_t h = 0; h < agents->hosts; h++)
        AGENTS_UNTIL(agents, agents->host[h].carrier < 0 && agents->host[h].daemon == 0,
                     "a carrier does not die");
}

static void reap(struct agents *agents)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == agents->mpirun) {
            agents->mpirun = 0;
            agents->mpirun_status = status;
        }
        for (uint32_t h = 0; h < agents->hosts; h++)
            if (agents->host[h].daemon == pid)
                agents->host[h].daemon = 0;
    }
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* mpirun wants its daemon on a host. */
static void serve_rsh(struct agents *agents, int socket, struct local_message *message)
{
    const char *name = message->text;
    const char *text = name + strlen(name) + 1;
    struct carrier_command command;
    struct carrier_launch launch;
    uint32_t job;
    uint32_t index;

    must(carrier_host_parse(name, &job, &index) == 0, "rsh for an unknown host");
    must(job == agents->job && message->a == job && index < agents->hosts, "rsh for another job");
    launch = launch_of(agents, &agents->host[index]);
    must(carrier_launch_daemon(&launch, text, &command, NULL) == 0, "no command for a daemon");
    agents->host[index].daemon = spawn(&command);
    carrier_command_done(&command);
    agents->daemons++;
    message->kind = LOCAL_STARTED;
    message->text_size = 0;
    must(local_send(socket, message, -1) == 0, "cannot answer rsh");
}

static void serve_new(struct agents *agents, struct played_host *host)
{
    static struct local_message message;
    int socket = accept4(host->listener, NULL, NULL, SOCK_CLOEXEC);
    int fd = -1;

    must(socket >= 0, "cannot accept");
    if (local_receive(socket, &message, &fd, ANSWER_MS) != 0) {
        close(socket);
        return;
    }
    if (message.kind == LOCAL_RSH) {
        serve_rsh(agents, socket, &message);
        close(socket);
        return;
    }
    must(message.kind == LOCAL_CARRIER && host->carrier < 0, "a stranger at the agent's socket");
    host->carrier = socket;
    host->carrier_job = (uint32_t)message.a;
    host->acked = 0;
    message = (struct local_message){.magic = LOCAL_MAGIC,
                                     .version = LOCAL_VERSION,
                                     .kind = LOCAL_WELCOME,
                                     .agent_block = host->field.block};
    int rc = local_send(socket, &message, host->field.arena.fd);
    message.kind = LOCAL_STARTED;
    if (rc != 0 || local_send(socket, &message, -1) != 0) {
        close(socket);
        host->carrier = -1;
    }
}

static void serve_carrier(struct played_host *host)
{
    static struct local_message message;
    int fd = -1;
    int rc = local_receive(host->carrier, &message, &fd, 0);

    if (rc == 0 && message.kind == LOCAL_ACK)
        host->acked = message.a;
    if (rc != RK_EAGENT)
        return;
    close(host->carrier);
    host->carrier = -1;
    host->acked = 0;
}

void agents_turn(struct agents *agents)
{
    struct pollfd poll_fd[2 * AGENTS_HOSTS];

    for (uint32_t h = 0; h < agents->hosts; h++) {
        poll_fd[2 * h] = (struct pollfd){.fd = agents->host[h].listener, .events = POLLIN};
        poll_fd[2 * h + 1] = (struct pollfd){.fd = agents->host[h].carrier, .events = POLLIN};
    }
    poll(poll_fd, 2 * agents->hosts, 1);
    for (uint32_t h = 0; h < agents->hosts; h++) {
        if (poll_fd[2 * h + 1].revents != 0)
            serve_carrier(&agents->host[h]);
        if (poll_fd[2 * h].revents != 0)
            serve_new(agents, &agents->host[h]);
    }
    reap(agents);
}

uint32_t agents_carriers(const struct agents *agents)
{
    uint32_t count = 0;

    for (uint32_t h = 0; h < agents->hosts; h++)
        count += agents->host[h].carrier >= 0 && agents->host[h].carrier_job == agents->job;
    return count;
}

/* ---- words ----------------------------------------------------------------------------------- */

void agents_freeze(struct agents *agents, rk_word word, bool wait)
{
    for (uint32_t h = 0; h < agents->hosts; h++) {
        struct arena *arena = &agents->host[h].field.arena;

        atomic_store(&arena->header->agent[agents->host[h].field.block].freeze_word, word);
        arena_ring(arena);
    }
    for (uint32_t h = 0; wait && h < agents->hosts; h++)
        AGENTS_UNTIL(agents, agents->host[h].acked == word, "a carrier does not acknowledge");
}

void agents_go(struct agents *agents, rk_word word, rk_word lineage, uint64_t deal_step)
{
    for (uint32_t h = 0; h < agents->hosts; h++) {
        struct played_host *host = &agents->host[h];

        host->plan.word = word;
        host->plan.lineage = lineage;
        host->plan.deal_step = deal_step;
        host->plan.carrier_job = agents->job;
        arena_go(&host->field.arena, host->field.block, &host->plan);
    }
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void host_init(struct agents *agents, uint32_t h, uint32_t shards, uint64_t elements,
                      uint64_t state_bytes)
{
    struct played_host *host = &agents->host[h];

    host->carrier = -1;
    snprintf(host->path, sizeof host->path, "%s/agent-%u.sock", agents->directory, h);
    snprintf(host->directory, sizeof host->directory, "%s/mpi-%u", agents->directory, h);
    must(mkdir(host->directory, 0700) == 0, "cannot make a directory");
    must(local_listen(host->path, &host->listener, NULL) == 0, "cannot listen");
    field_init(&host->field, h, shards, elements, state_bytes);
    host->plan = (struct arena_plan){.hosts = agents->hosts,
                                     .host_index = agents->hosts - 1 - h,
                                     .world = agents->hosts * 2,
                                     .shards = shards,
                                     .local_count = 2};
    for (uint32_t r = 0; r < AGENTS_RANKS; r++) {
        host->plan.local[r].seat = field_seat(&host->field, r);
        host->plan.local[r].index = h * 2 + r; /* while all hosts have two */
    }
}

void agents_init(struct agents *agents, const char *programs, uint32_t hosts, uint32_t shards,
                 uint64_t elements, uint64_t state_bytes)
{
    *agents = (struct agents){.hosts = hosts};
    snprintf(agents->programs, sizeof agents->programs, "%s", programs);
    snprintf(agents->directory, sizeof agents->directory, "/tmp/reknit-carrier-XXXXXX");
    must(mkdtemp(agents->directory) != NULL, "cannot make a directory");
    for (uint32_t h = 0; h < hosts; h++)
        host_init(agents, h, shards, elements, state_bytes);
}

static void remove_tree(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

void agents_done(struct agents *agents)
{
    agents_kill(agents);
    for (uint32_t h = 0; h < agents->hosts; h++) {
        close(agents->host[h].listener);
        field_done(&agents->host[h].field);
    }
    remove_tree(agents->directory);
}
