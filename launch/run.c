/* `reknit run`: sets a job up, supervises it, clears up behind it and says how it went. */
#include "common/clock.h"
#include "launch/commands.h"
#include "launch/report.h"
#include "launch/supervisor.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOPBACK "127.0.0.1"
#define MOST_NAMES 1000u

static int open_signals(struct supervisor *s, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rk_fail_errno(why, errno, "signals cannot be blocked");
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->signals < 0)
        return rk_fail_errno(why, errno, "no descriptor for signals");
    /* Orphans of the job come to us and end with it. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return 0;
}

static int open_screen(struct supervisor *s, struct rk_why *why)
{
    struct winsize size = {.ws_col = 80};
    const char *term = surroundings_get("TERM");
    struct screen_style style = {
        .terminal = isatty(STDOUT_FILENO) && (term == NULL || strcmp(term, "dumb") != 0),
        .quiet = s->options.quiet,
    };

    style.colour = style.terminal && surroundings_get("NO_COLOR") == NULL;
    if (style.terminal && (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0))
        size.ws_col = 80;
    style.width = size.ws_col;
    s->screen = screen_new(STDOUT_FILENO, &style);
    return s->screen != NULL ? 0 : rk_fail(why, RK_ENOMEM, "no memory for the screen");
}

/* A name that was given is taken or refused; one made from the program's goes on to a free one. */
static int open_directories(struct supervisor *s, struct rk_why *why)
{
    char name[RK_JOB_NAME_MAX + 1];
    bool taken = true;
    int rc = RK_EEXIST;

    if (s->options.name != NULL)
        return directories_open(s->options.name, s->options.checkpoint_dir, &s->directories, NULL,
                                why);
    for (unsigned number = 1; rc == RK_EEXIST && taken && number <= MOST_NAMES; number++) {
        run_options_name_of(s->options.program[0], number, name, sizeof name);
        rc = directories_open(name, s->options.checkpoint_dir, &s->directories, &taken, why);
    }
    return rc;
}

/* Keys, the socket that all lives of the coordinator listen on, and the file that clients read. */
static int open_control(struct supervisor *s, struct rk_why *why)
{
    char address[HOSTS_NAME_MAX + 1] = LOOPBACK;
    char endpoint[256];
    char path[PATH_MAX + 16];
    int rc = 0;

    if (s->options.address != NULL)
        snprintf(address, sizeof address, "%s", s->options.address);
    else if (s->options.hosts.count > 0)
        rc = coordinator_address_towards(host_name(&s->options.hosts.host[0]), address,
                                         sizeof address, why);
    if (rc == 0)
        rc = coordinator_listen(address, &s->coordinator.listen_fd, endpoint, sizeof endpoint, why);
    if (rc == 0)
        rc = secret_make(&s->secret, endpoint, why);
    snprintf(path, sizeof path, "%s/job.secret", s->directories.run);
    if (rc == 0)
        rc = secret_write_file(&s->secret, path, false, why);
    if (rc == 0)
        rc = link_open(&s->secret, surroundings_random(), &s->link, why);
    if (rc == 0)
        rc = link_open(&s->secret, surroundings_random(), &s->requests, why);
    return rc;
}

static int check_events(const char *path, struct rk_why *why)
{
    FILE *file = path != NULL ? fopen(path, "ae") : NULL;

    if (path == NULL)
        return 0;
    if (file == NULL)
        return rk_fail_errno(why, errno, "--events %s cannot be written", path);
    fclose(file);
    return 0;
}

static int set_up(struct supervisor *s, struct rk_why *why)
{
    int rc = surroundings_self(s->self, sizeof s->self, why);

    if (gethostname(s->machine, sizeof s->machine - 1) != 0)
        snprintf(s->machine, sizeof s->machine, "localhost");
    if (rc == 0)
        rc = check_events(s->options.events, why);
    if (rc == 0)
        rc = open_signals(s, why);
    if (rc == 0)
        rc = open_screen(s, why);
    if (rc == 0)
        rc = open_directories(s, why);
    if (rc != 0)
        return rc;
    surroundings_set("REKNIT_JOB", s->directories.name);
    s->workers.job =
        (struct crew_job){&s->options, &s->directories, &s->secret, s->self, s->machine, NULL};
    rc = janitor_start(s->self, &s->directories, &s->janitor, why);
    return rc == 0 ? open_control(s, why) : rc;
}

static long events_size(const struct supervisor *s, char *path, size_t size)
{
    struct stat status;

    snprintf(path, size, "%s/events.jsonl", s->directories.state);
    return stat(path, &status) == 0 ? (long)status.st_size : 0;
}

static void show_report(struct supervisor *s, const char *events, long offset, double wall_s)
{
    struct history history;
    struct report report = {
        .job = s->directories.name,
        .exit_code = s->exit_code,
        .why = s->why,
        .logs = s->directories.logs,
        .checkpoint_dir = s->options.checkpoint_dir,
        .wall_s = wall_s,
        .dropped = screen_dropped(s->screen),
        .history = &history,
    };
    char *text;

    history_init(&history);
    history_read(&history, events, offset, NULL);
    if (s->report_json != NULL)
        history_speed(&history, s->report_json);
    text = report_text(&report);
    if (text != NULL)
        screen_print(s->screen, text);
    free(text);
    history_done(&history);
}

static void supervise(struct supervisor *s)
{
    char events[PATH_MAX + 16];
    char note[200];
    long offset = events_size(s, events, sizeof events);
    uint64_t start = rk_clock_now();

    snprintf(note, sizeof note, "job %s: %s workers of %u ranks, %u shards, pid %d",
             s->directories.name, s->options.workers, s->options.slots, s->options.shards,
             (int)getpid());
    screen_note(s->screen, SCREEN_PLAIN, note);
    supervisor_run(s);
    show_report(s, events, offset, (double)(rk_clock_now() - start) / 1e9);
}

static void clear_up(struct supervisor *s)
{
    conversation_end(s);
    crew_done(&s->workers);
    relayed_done(&s->coordinator.relayed);
    if (s->coordinator.listen_fd >= 0)
        close(s->coordinator.listen_fd);
    directories_close(&s->directories, true);
    janitor_stop(&s->janitor);
    screen_free(s->screen);
    free(s->report_json);
    if (s->signals >= 0)
        close(s->signals);
    run_options_done(&s->options);
}

int command_run(int argc, char **argv)
{
    struct rk_why why = {""};
    struct supervisor *s = calloc(1, sizeof *s);
    int exit_code;
    int rc;

    if (s == NULL)
        return 69;
    s->directories.run_lock = s->directories.state_lock = s->directories.alive = -1;
    s->signals = s->coordinator.listen_fd = -1;
    s->coordinator.relayed.process.out = s->coordinator.relayed.process.err = -1;
    s->coordinator.relayed.log = -1;
    rc = run_options_parse(argc, argv, &s->options, &why);
    if (rc == 0)
        rc = set_up(s, &why);
    if (rc == 0) {
        supervise(s);
        exit_code = s->exit_code;
    } else {
        exit_code = rc == ARGUMENTS_HELP ? 0 : command_fail(&run_command, rc, &why);
    }
    clear_up(s);
    free(s);
    return exit_code;
}
