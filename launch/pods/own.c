/* The worker of the coordinator's own pod (runLauncherAsWorker), where agents start a program; see
 * shell.h.
 *
 * To the coordinator it is the one in the first place; pods have the places after it.  It is an
 * agent like any other, a child of this process and so in the user's container, and it calls the
 * coordinator, as those of `reknit run` do, for that one's address does not change while this pod
 * lives.  It ends with this process by its life line. */
#include "launch/pods/shell.h"

#include "common/log.h"
#include "launch/surroundings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN_PLACE 0u

static int take_program(struct shell *shell, struct rk_why *why)
{
    const json_t *program = shell->job->settings.program;
    size_t index;
    json_t *word;

    shell->own.program = calloc(json_array_size(program) + 1, sizeof *shell->own.program);
    if (shell->own.program == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the job's program");
    json_array_foreach(program, index, word) shell->own.program[index] =
        (char *)(uintptr_t)json_string_value(word);
    shell->options.program = shell->own.program;
    return 0;
}

int own_open(struct shell *shell, struct rk_why *why)
{
    const char *address = surroundings_get("REKNIT_POD_IP");
    struct place *place = &shell->own.place;

    if (mpijob_own(shell->job) == 0 || shell->job->settings.program == NULL)
        return 0;
    if (address == NULL)
        return rk_fail(why, RK_EINVAL,
                       "REKNIT_POD_IP is not set: other workers could not reach the one in this "
                       "pod");
    snprintf(place->group, sizeof place->group, "%s", shell->given.pod_uid);
    snprintf(place->host_name, sizeof place->host_name, "%s", shell->given.pod_name);
    snprintf(place->address, sizeof place->address, "%s", address);
    place->slots = shell->job->slots;
    shell->own.crew.job = shell->crew_job;
    shell->own.crew.job.pod = place;
    return take_program(shell, why);
}

void own_close(struct shell *shell)
{
    crew_done(&shell->own.crew);
    free(shell->own.program);
}

bool own_has(const struct shell *shell, uint32_t ticket)
{
    const struct mpijob_settings *settings = &shell->job->settings;
    uint32_t places = settings->max_workers + settings->spares + mpijob_own(shell->job);

    return shell->own.program != NULL && ticket > 0 && (ticket - 1) % places == OWN_PLACE;
}

static bool runs(const struct shell *shell, uint32_t ticket)
{
    const struct crew *crew = &shell->own.crew;

    for (size_t i = 0; i < crew->count; i++)
        if (crew->worker[i]->ticket == ticket && crew->worker[i]->relayed.process.pid > 0)
            return true;
    return false;
}

void own_launch(struct shell *shell, uint32_t ticket, uint32_t place)
{
    struct rk_why why = {""};

    if (crew_launch(&shell->own.crew, ticket, place, shell->now, &why) == 0) {
        rk_info("worker %u is started in this pod", ticket);
        return;
    }
    rk_warn("no worker can be started in this pod: %s", why.text);
    talk_failed(shell, ticket, false, why.text);
}

/* One that was in an earlier pod of this job went with that. */
void own_kill(struct shell *shell, uint32_t ticket)
{
    if (runs(shell, ticket))
        crew_kill(&shell->own.crew, ticket, 0);
    else
        talk_gone(shell, ticket, 0, "it is not in this pod any more");
}

size_t own_tickets(const struct shell *shell, uint32_t *ticket, size_t room)
{
    const struct crew *crew = &shell->own.crew;
    size_t count = 0;

    for (size_t i = 0; i < crew->count && count < room; i++)
        if (crew->worker[i]->relayed.process.pid > 0)
            ticket[count++] = crew->worker[i]->ticket;
    return count;
}

/* ---- what it prints -------------------------------------------------------------------------- */

static void take_out(void *who, const char *line, size_t length)
{
    (void)who;
    dprintf(STDOUT_FILENO, "%.*s\n", (int)length, line);
}

static void take_err(void *who, const char *line, size_t length)
{
    (void)who;
    dprintf(STDERR_FILENO, "%.*s\n", (int)length, line);
}

static void relay(struct lines *lines, int *fd, lines_take *take)
{
    if (*fd < 0 || lines_read(lines, *fd, take, NULL) != 0)
        return;
    close(*fd);
    *fd = -1;
}

void own_relay(struct shell *shell)
{
    struct crew *crew = &shell->own.crew;

    for (size_t i = 0; i < crew->count; i++) {
        struct relayed *relayed = &crew->worker[i]->relayed;

        relay(&relayed->out, &relayed->process.out, take_out);
        relay(&relayed->err, &relayed->process.err, take_err);
    }
    crew_forget(crew);
}

/* Those that do not fit are looked at in each turn, too. */
int own_items(const struct shell *shell, zmq_pollitem_t *items)
{
    const struct crew *crew = &shell->own.crew;
    int count = 0;

    for (size_t i = 0; i < crew->count; i++) {
        const struct process *process = &crew->worker[i]->relayed.process;

        if (process->out >= 0 && count < OWN_ITEMS)
            items[count++] = (zmq_pollitem_t){.fd = process->out, .events = ZMQ_POLLIN};
        if (process->err >= 0 && count < OWN_ITEMS)
            items[count++] = (zmq_pollitem_t){.fd = process->err, .events = ZMQ_POLLIN};
    }
    return count;
}

/* ---- its end --------------------------------------------------------------------------------- */

void own_reaped(struct shell *shell, pid_t pid, int status)
{
    const struct worker *worker = crew_ended(&shell->own.crew, pid);

    if (worker == NULL)
        return;
    if (!shell->ended && !shell->leave)
        rk_warn("worker %u in this pod has ended", worker->ticket);
    talk_gone(shell, worker->ticket, status, "its process in the coordinator's pod has ended");
}

void own_let_go(struct shell *shell)
{
    struct crew *crew = &shell->own.crew;

    for (size_t i = 0; i < crew->count; i++) {
        if (crew->worker[i]->life >= 0)
            close(crew->worker[i]->life);
        crew->worker[i]->life = -1;
    }
}

bool own_idle(const struct shell *shell)
{
    return crew_running(&shell->own.crew) == 0;
}
