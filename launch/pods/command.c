/* `reknit pods`: the first process of a coordinator's pod.  See shell.h. */
#include "launch/pods/line.h"

#include "common/log.h"
#include "k8s/manifest/faults.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/gang.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define USER_AGENT "reknit/0.1"
#define GATHER (60 * RK_S)
/* All workers together say that they live at most so often in a second, one of them at least every
 * tenth of it: what ends is seen by the watch and by its connection, and what hangs can wait. */
#define HEARTBEATS_A_SECOND 5000u
#define HEARTBEAT (100 * RK_MS)
#define SILENCES 10u /* heartbeats that are missing of a worker that is lost */
#define ORPHAN (600 * RK_S)
/* What becomes of a pod is seen, not guessed. */
#define LAUNCH_TIMEOUT (UINT64_C(24) * 3600 * RK_S)
#define LOOPBACK "127.0.0.1"

#define AT(name) offsetof(struct shell_options, name)
static const struct argument arguments[] = {
    {"--config", "FILE", "the MPIJob, as JSON (/etc/mpi/mpijob.json)", argument_text, AT(config), 0,
     0},
    {"--namespace", "N", "of the job; else the pod's own", argument_text, AT(namespace), 0, 0},
    {"--kubeconfig", "FILE", "how to reach the API from outside a pod", argument_text,
     AT(kubeconfig), 0, 0},
    {"--pod-name", "NAME", "of this pod", argument_text, AT(pod_name), 0, 0},
    {"--pod-uid", "UID", "of this pod", argument_text, AT(pod_uid), 0, 0},
    {"--gang", "NAME", "volcano, scheduler-plugins or none, as for `reknit render`", argument_gang,
     AT(gang), 0, 0},
    {"--state-dir", "DIR", "what lives as long as this pod (/reknit-run)", argument_text,
     AT(state_dir), 0, 0},
};

static const struct command pods_command = {
    .name = "reknit pods",
    .usage = "[options] [-- COMMAND [ARG...]]",
    .about =
        "Runs a job in the pods of a cluster: makes and watches its worker pods, and keeps the\n"
        "coordinator alive.  Started by the Job NAME-launcher.  COMMAND is the user's own, as an\n"
        "mpirun line is, where agents are not told what to run.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .stops_at_word = true,
};

static int open_signals(struct shell *shell, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rk_fail_errno(why, errno, "signals cannot be blocked");
    shell->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (shell->signals < 0)
        return rk_fail_errno(why, errno, "no descriptor for signals");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return 0;
}

/* The first error of what was wrong with the job. */
static int refuse(const struct shell *shell, const struct faults *faults, struct rk_why *why)
{
    for (size_t i = 0; i < faults->count; i++)
        if (faults->fault[i].severity == FAULT_ERROR)
            return rk_fail(why, RK_EDATA, "%s: %s: %s", shell->given.config, faults->fault[i].path,
                           faults->fault[i].sentence);
    return rk_fail(why, RK_ENOMEM, "no memory for the job's faults");
}

static int read_job(struct shell *shell, struct rk_why *why)
{
    json_error_t error;
    json_t *object = json_load_file(shell->given.config, JSON_REJECT_DUPLICATES, &error);
    struct faults faults;
    int rc;

    if (object == NULL)
        return rk_fail(why, RK_EDATA, "%s:%d:%d: %s", shell->given.config, error.line, error.column,
                       error.text);
    faults_init(&faults);
    rc = mpijob_of(object, &faults, &shell->job, why);
    if (rc == 0 && shell->job == NULL)
        rc = refuse(shell, &faults, why);
    faults_done(&faults);
    json_decref(object);
    return rc;
}

/* `words`: the user's own command, maybe none. */
static int open_job(struct shell *shell, char *const *words, struct rk_why *why)
{
    int rc = read_job(shell, why);

    if (rc != 0 || shell->job->settings.program != NULL)
        return rc;
    if (words[0] == NULL)
        return rk_fail(why, RK_EDATA,
                       "%s: the launcher has no command, and the annotation reknit.dev/program, "
                       "which says what workers run, is missing too: one of them is needed",
                       shell->given.config);
    return 0;
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

    if (rc == 0)
        rc = api_new(&config, &options, &shell->api, why);
    if (rc != 0)
        return rc;
    shell->namespace = shell->given.namespace != NULL  ? shell->given.namespace
                       : shell->job->namespace != NULL ? shell->job->namespace
                                                       : api_namespace(shell->api);
    return 0;
}

/* ---- as `reknit run` would be asked ---------------------------------------------------------- */

static uint64_t heartbeat_of(uint32_t workers)
{
    uint64_t fair = workers * (RK_S / HEARTBEATS_A_SECOND);

    return fair > HEARTBEAT ? fair / RK_MS * RK_MS : HEARTBEAT;
}

void shell_fill_options(struct shell *shell)
{
    const struct mpijob_settings *settings = &shell->job->settings;
    uint32_t own = mpijob_own(shell->job);

    snprintf(shell->workers, sizeof shell->workers, "%u:%u", settings->min_workers,
             shell->job->worker.replicas + own);
    shell->options = (struct run_options){
        .workers = shell->workers,
        .most_workers = settings->max_workers + own,
        .spares = settings->spares,
        .slots = shell->job->slots,
        .shards = settings->shards != 0
                      ? settings->shards
                      : run_options_shards((settings->max_workers + own) * shell->job->slots),
        .backend = settings->backend,
        .checkpoint_dir = render_checkpoint_dir(shell->job),
        .checkpoint_interval = settings->checkpoint_interval,
        .keep = settings->keep,
        .max_restarts = settings->max_restarts,
        .reduction = settings->reduction,
        .wire = "f32",
        .standby_carriers = "yes",
        .gather = settings->gather_ns != 0 ? settings->gather_ns : GATHER,
        .heartbeat = heartbeat_of(settings->max_workers),
        .silence = SILENCES * heartbeat_of(settings->max_workers),
        .orphan = ORPHAN,
        .stall = settings->stall_ns,
        .copied = true,
        .launch_timeout = LAUNCH_TIMEOUT,
        .program = shell->own.program, /* NULL: no worker is in this pod */
    };
}

static int make_folder(char *path, size_t size, const char *base, const char *name,
                       struct rk_why *why)
{
    if ((size_t)snprintf(path, size, "%s/%s", base, name) >= size)
        return rk_fail(why, RK_EFULL, "--state-dir %s is too long a path", base);
    return directories_make(path, 0700, why);
}

static int open_directories(struct shell *shell, struct rk_why *why)
{
    struct directories *directories = &shell->directories;
    const char *base = shell->given.state_dir;
    int rc;

    snprintf(directories->name, sizeof directories->name, "%s", shell->job->name);
    rc = make_folder(directories->run, sizeof directories->run, base, "run", why);
    if (rc == 0)
        rc = make_folder(directories->state, sizeof directories->state, base, "state", why);
    if (rc == 0)
        rc = make_folder(directories->logs, sizeof directories->logs, base, "logs", why);
    return rc;
}

static int set_up(struct shell *shell, char **words, struct rk_why *why)
{
    int rc = surroundings_self(shell->self, sizeof shell->self, why);

    if (rc == 0)
        rc = open_signals(shell, why);
    if (rc == 0)
        rc = open_job(shell, words, why);
    if (rc == 0)
        rc = open_api(shell, why);
    if (rc == 0)
        rc = open_directories(shell, why);
    if (rc == 0 && shell->job->settings.program == NULL)
        rc = line_open(shell, words, why);
    if (rc != 0)
        return rc;
    shell_fill_options(shell);
    surroundings_set("REKNIT_JOB", shell->job->name);
    shell->crew_job = (struct crew_job){&shell->options, &shell->directories,   &shell->secret,
                                        shell->self,     shell->given.pod_name, NULL};
    return own_open(shell, why);
}

/* The secret is known now: keys of the job, and where this coordinator listens, for us and for
 * `reknit status` in this pod. */
int shell_open_control(struct shell *shell, struct rk_why *why)
{
    char path[PATH_MAX + 16];
    int rc = coordinator_listen(LOOPBACK, &shell->coordinator.listen_fd, shell->secret.endpoint,
                                sizeof shell->secret.endpoint, why);

    snprintf(path, sizeof path, "%s/job.secret", shell->directories.run);
    if (rc == 0)
        rc = secret_write_file(&shell->secret, path, false, why);
    return rc == 0 ? talk_open(shell, why) : rc;
}

static void clear_up(struct shell *shell)
{
    line_close(shell);
    talk_close(shell);
    resize_close(shell);
    own_close(shell);
    cluster_close(shell);
    keeper_close(shell);
    api_free(shell->api);
    mpijob_free(shell->job);
    relayed_done(&shell->coordinator.relayed);
    if (shell->coordinator.listen_fd >= 0)
        close(shell->coordinator.listen_fd);
    if (shell->signals >= 0)
        close(shell->signals);
    explicit_bzero(&shell->secret, sizeof shell->secret);
    free(shell->dialled);
    free(shell);
}

static int check(const struct shell_options *given, struct rk_why *why)
{
    if (given->pod_name == NULL || given->pod_uid == NULL)
        return rk_fail(why, RK_EINVAL, "--pod-name and --pod-uid are needed: who this pod is");
    return 0;
}

int command_pods(int argc, char **argv)
{
    struct rk_why why = {""};
    struct shell *shell = calloc(1, sizeof *shell);
    int exit_code = 0;
    int words = 0;
    int rc;

    if (shell == NULL)
        return 69;
    rk_log_init("pods");
    shell->signals = shell->coordinator.listen_fd = shell->directories.alive = -1;
    shell->coordinator.relayed.process.out = shell->coordinator.relayed.process.err = -1;
    shell->coordinator.relayed.log = -1;
    shell->given.config = "/etc/mpi/mpijob.json";
    shell->given.state_dir = "/reknit-run";
    if (arguments_take(&pods_command, argc, argv, &shell->given, &words, &exit_code) != 0) {
        free(shell);
        return exit_code;
    }
    argv[words + 1] = NULL;
    rc = check(&shell->given, &why);
    if (rc == 0)
        rc = set_up(shell, argv + 1, &why);
    if (rc == 0) {
        shell_run(shell);
        exit_code = shell->exit_code;
    } else {
        exit_code = command_fail(&pods_command, rc, &why);
    }
    clear_up(shell);
    return exit_code;
}
