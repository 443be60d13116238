/* `reknit operator`: a coordinator for each MPIJob of a cluster.  See controller.h. */
#include "launch/operator/controller.h"

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
    {"--image", "IMAGE",
     "that brings the agent into pods (the job's, else that of\n"
     "this pod, which $REKNIT_POD_NAME names, or of this\nversion)",
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
    {"--metrics", "ADDRESS:PORT", "serve /metrics, /healthz and /readyz there (nowhere)",
     argument_text, AT(metrics), 0, 0},
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

static int open_signals(struct controller *controller, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rk_fail_errno(why, errno, "signals cannot be blocked");
    controller->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return controller->signals >= 0 ? 0 : rk_fail_errno(why, errno, "no descriptor for signals");
}

static int open_api(struct controller *controller, struct rk_why *why)
{
    struct api_config config = {0};
    struct api_options options = {.user_agent = USER_AGENT, .seed = surroundings_random()};
    int rc = controller->given.kubeconfig != NULL
                 ? api_config_load(controller->given.kubeconfig, NULL, &config, why)
                 : api_config_in_cluster(surroundings_get("KUBERNETES_SERVICE_HOST"),
                                         surroundings_get("KUBERNETES_SERVICE_PORT"), NULL, &config,
                                         why);

    return rc == 0 ? api_new(&config, &options, &controller->api, why) : rc;
}

static void on_event_trouble(void *who, const char *why)
{
    (void)who;
    rk_warn("an Event could not be written: %s", why);
}

static int open_notices(struct controller *controller, struct rk_why *why)
{
    struct notices_spec spec = {.controller = CONTROLLER,
                                .instance = controller->identity,
                                .trouble = on_event_trouble,
                                .who = controller};

    return notices_open(controller->api, &spec, &controller->notices, why);
}

/* A name that is not used again, even by the same pod. */
static void name_self(struct controller *controller)
{
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    snprintf(controller->identity, sizeof controller->identity, "%.60s_%016" PRIx64,
             host[0] != '\0' ? host : "operator", surroundings_random());
}

static int set_up(struct controller *controller, struct rk_why *why)
{
    int rc = open_signals(controller, why);

    controller->now = rk_clock_now();
    controller->wall = rk_clock_wall();
    name_self(controller);
    controller->draw.state = surroundings_random();
    if (controller->given.namespace != NULL && strcmp(controller->given.namespace, ALL) != 0)
        controller->namespace = controller->given.namespace;
    if (rc == 0)
        rc = open_api(controller, why);
    if (rc == 0)
        rc = gauge_open(controller, why);
    if (rc == 0)
        rc = open_notices(controller, why);
    if (rc == 0)
        rc = image_open(controller, why);
    if (rc == 0)
        rc = stock_open(controller, why);
    return rc == 0 ? lead_open(controller, why) : rc;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int wait_ms(const struct controller *controller)
{
    uint64_t due = timers_due(&controller->timers);

    if (controller->stopping && controller->stop_at < due)
        due = controller->stop_at;
    if (due == TIMERS_NEVER)
        return -1;
    if (due <= controller->now)
        return 0;
    due = (due - controller->now + RK_MS - 1) / RK_MS;
    return due < 1000000 ? (int)due : 1000000;
}

static void take_signals(struct controller *controller)
{
    struct signalfd_siginfo info;

    while (read(controller->signals, &info, sizeof info) == sizeof info) {
        if (controller->stopping)
            controller->gone = true; /* asked twice */
        else
            lead_leave(controller);
        controller->stopping = true;
        controller->stop_at = controller->now + LEAVE_WITHIN;
    }
}

static void turn(struct controller *controller)
{
    struct pollfd fds[] = {{.fd = controller->signals, .events = POLLIN},
                           {.fd = api_fd(controller->api), .events = POLLIN},
                           {.fd = gauge_fd(controller), .events = POLLIN}};

    poll(fds, sizeof fds / sizeof fds[0], wait_ms(controller));
    controller->now = rk_clock_now();
    controller->wall = rk_clock_wall();
    take_signals(controller);
    api_turn(controller->api, controller->now, controller->wall);
    while (timers_fire(&controller->timers, controller->now))
        ;
    gauge_turn(controller);
}

static bool is_done(const struct controller *controller)
{
    return controller->stopping && ((controller->gone && notices_are_sent(controller->notices)) ||
                                    controller->now >= controller->stop_at);
}

static void clear_up(struct controller *controller)
{
    desk_close(controller);
    lead_close(controller);
    image_close(controller);
    if (controller->notices != NULL)
        notices_close(controller->notices);
    stock_close(controller);
    api_free(controller->api);
    gauge_close(controller);
    if (controller->signals >= 0)
        close(controller->signals);
    free(controller);
}

int command_operator(int argc, char **argv)
{
    struct rk_why why = {"this command takes options only"};
    struct controller *controller = calloc(1, sizeof *controller);
    int exit_code = 0;
    int words = 0;
    int rc;

    if (controller == NULL)
        return 69;
    rk_log_init("operator");
    controller->signals = -1;
    controller->given.leader_elect = "yes";
    controller->given.plan.coordinator_role = "reknit-coordinator";
    if (arguments_take(&operator_command, argc, argv, &controller->given, &words, &exit_code) !=
        0) {
        free(controller);
        return exit_code;
    }
    if (controller->given.plan.coordinator_role != NULL &&
        strcmp(controller->given.plan.coordinator_role, "none") == 0)
        controller->given.plan.coordinator_role = NULL;
    rc = words == 0 ? set_up(controller, &why) : RK_EINVAL;
    while (rc == 0 && !is_done(controller))
        turn(controller);
    if (rc != 0)
        exit_code = command_fail(&operator_command, rc, &why);
    clear_up(controller);
    return exit_code;
}
