/* `reknit operator`: a coordinator for each MPIJob of a cluster.  See shell.h. */
#include "launch/operator/shell.h"

#include "common/clock.h"
#include "common/log.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/gang.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define USER_AGENT "reknit-operator/0.1"
#define CONTROLLER "reknit.dev/operator"
#define LEAVE_WITHIN (5 * RK_S)
#define ALL "all"

static int take_yes(const struct argument *argument, const char *value, void *target,
                    struct rk_why *why)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return rk_fail(why, RK_EINVAL, "'%.40s' is neither yes nor no", value);
    return argument_text(argument, value, target, why);
}

#define AT(field) offsetof(struct operator_options, field)
static const struct argument arguments[] = {
    {"--namespace", "N", "whose MPIJobs are looked after (all)", argument_text, AT(namespace), 0,
     0},
    {"--kubeconfig", "FILE", "how to reach the API from outside a pod", argument_text,
     AT(kubeconfig), 0, 0},
    {"--image", "IMAGE", "that brings the agent into pods (the job's, or that of\nthis version)",
     argument_text, AT(plan.image), 0, 0},
    {"--gang", "NAME",
     "volcano, scheduler-plugins or none: who keeps a job from\n"
     "starting with half of its pods (volcano, where a\n"
     "template's schedulerName is that; else none)",
     argument_gang, AT(plan.gang), 0, 0},
    {"--beside-mpi-operator", NULL,
     "takes only jobs whose managedBy is reknit.dev/operator,\n"
     "and leaves the others to mpi-operator",
     argument_flag, AT(plan.only_ours), 0, 0},
    {"--coordinator-role", "NAME",
     "a ClusterRole that is bound to the account `reknit` of\n"
     "each namespace with a job; none: an admin sees to that\n"
     "(reknit-coordinator)",
     argument_text, AT(plan.coordinator_role), 0, 0},
    {"--leader-elect", "yes|no", "act only while holding the Lease `reknit-operator` (yes)",
     take_yes, AT(leader_elect), 0, 0},
    {"--lock-namespace", "N", "of that Lease (the operator's own)", argument_text,
     AT(lock_namespace), 0, 0},
    {"--metrics", "ADDRESS:PORT", "serve /metrics and /healthz there (nowhere)", argument_text,
     AT(metrics), 0, 0},
};

static const struct command operator_command = {
    .name = "reknit operator",
    .usage = "[options]",
    .about = "Looks after the MPIJobs of a cluster: makes a coordinator for each, which makes and\n"
             "replaces its worker pods, suspends and resumes it, tells its status, and clears up.\n"
             "May be ended and started again at any time; running jobs go on without it.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
};

/* ---- birth ----------------------------------------------------------------------------------- */

static int open_signals(struct shell *shell, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rk_fail_errno(why, errno, "signals cannot be blocked");
    shell->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return shell->signals >= 0 ? 0 : rk_fail_errno(why, errno, "no descriptor for signals");
}

static int open_api(struct shell *shell, struct rk_why *why)
{
    struct api_config config = {0};
    struct api_options options = {.user_agent = USER_AGENT, .seed = surroundings_random()};
    int rc = shell->given.kubeconfig != NULL
                 ? api_config_load(shell->given.kubeconfig, NULL, &config, why)
                 : api_config_in_cluster(surroundings_get("KUBERNETES_SERVICE_HOST"),
                                         surroundings_get("KUBERNETES_SERVICE_PORT"), NULL, &config,
                                         why);

    return rc == 0 ? api_new(&config, &options, &shell->api, why) : rc;
}

static void on_event_trouble(void *who, const char *why)
{
    (void)who;
    rk_warn("an Event could not be written: %s", why);
}

static int open_notices(struct shell *shell, struct rk_why *why)
{
    struct notices_spec spec = {.controller = CONTROLLER,
                                .instance = shell->identity,
                                .trouble = on_event_trouble,
                                .who = shell};

    return notices_open(shell->api, &spec, &shell->notices, why);
}

/* A name that is not used again, even by the same pod. */
static void name_self(struct shell *shell)
{
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(shell->identity, sizeof shell->identity, "%.60s_%016" PRIx64,
             host[0] != '\0' ? host : "operator", surroundings_random());
}

static int set_up(struct shell *shell, struct rk_why *why)
{
    int rc = open_signals(shell, why);

    shell->now = rk_clock_now();
    shell->wall = rk_clock_wall();
    name_self(shell);
    shell->draw.state = surroundings_random();
    if (shell->given.namespace != NULL && strcmp(shell->given.namespace, ALL) != 0)
        shell->namespace = shell->given.namespace;
    if (rc == 0)
        rc = open_api(shell, why);
    if (rc == 0)
        rc = gauge_open(shell, why);
    if (rc == 0)
        rc = open_notices(shell, why);
    if (rc == 0)
        rc = stock_open(shell, why);
    return rc == 0 ? lead_open(shell, why) : rc;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int wait_ms(const struct shell *shell)
{
    uint64_t due = timers_due(&shell->timers);

    if (shell->stopping && shell->stop_at < due)
        due = shell->stop_at;
    if (due == TIMERS_NEVER)
        return -1;
    if (due <= shell->now)
        return 0;
    due = (due - shell->now + RK_MS - 1) / RK_MS;
    return due < 1000000 ? (int)due : 1000000;
}

static void take_signals(struct shell *shell)
{
    struct signalfd_siginfo info;

    while (read(shell->signals, &info, sizeof info) == sizeof info) {
        if (shell->stopping)
            shell->gone = true; /* asked twice */
        else
            lead_leave(shell);
        shell->stopping = true;
        shell->stop_at = shell->now + LEAVE_WITHIN;
    }
}

static void turn(struct shell *shell)
{
    struct pollfd fds[] = {{.fd = shell->signals, .events = POLLIN},
                           {.fd = api_fd(shell->api), .events = POLLIN},
                           {.fd = gauge_fd(shell), .events = POLLIN}};

    poll(fds, sizeof fds / sizeof fds[0], wait_ms(shell));
    shell->now = rk_clock_now();
    shell->wall = rk_clock_wall();
    take_signals(shell);
    api_turn(shell->api, shell->now, shell->wall);
    while (timers_fire(&shell->timers, shell->now))
        ;
    gauge_turn(shell);
}

static bool is_done(const struct shell *shell)
{
    return shell->stopping &&
           ((shell->gone && notices_are_sent(shell->notices)) || shell->now >= shell->stop_at);
}

static void clear_up(struct shell *shell)
{
    desk_close(shell);
    lead_close(shell);
    if (shell->notices != NULL)
        notices_close(shell->notices);
    stock_close(shell);
    api_free(shell->api);
    gauge_close(shell);
    if (shell->signals >= 0)
        close(shell->signals);
    free(shell);
}

int command_operator(int argc, char **argv)
{
    struct rk_why why = {"this command takes options only"};
    struct shell *shell = calloc(1, sizeof *shell);
    int exit_code = 0;
    int words = 0;
    int rc;

    if (shell == NULL)
        return 69;
    rk_log_init("operator");
    shell->signals = -1;
    shell->given.leader_elect = "yes";
    shell->given.plan.coordinator_role = "reknit-coordinator";
    if (arguments_take(&operator_command, argc, argv, &shell->given, &words, &exit_code) != 0) {
        free(shell);
        return exit_code;
    }
    if (shell->given.plan.coordinator_role != NULL &&
        strcmp(shell->given.plan.coordinator_role, "none") == 0)
        shell->given.plan.coordinator_role = NULL;
    rc = words == 0 ? set_up(shell, &why) : RK_EINVAL;
    while (rc == 0 && !is_done(shell))
        turn(shell);
    if (rc != 0)
        exit_code = command_fail(&operator_command, rc, &why);
    clear_up(shell);
    return exit_code;
}
