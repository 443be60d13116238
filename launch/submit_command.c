/* `reknit submit`: makes the objects of a manifest's jobs in a cluster and follows the jobs. */
#include "k8s/client/object.h"
#include "k8s/manifest/faults.h"
#include "k8s/manifest/mpijob_file.h"
#include "launch/arguments.h"
#include "launch/commands.h"
#include "launch/gang.h"
#include "launch/submit/submit.h"
#include "launch/surroundings.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EXIT_FAULTS 65
#define USER_AGENT SUBMIT_MANAGER "/0.1"
#define OPERATOR "kubeflow.org/mpi-operator" /* who manages a job where nobody is named */
#define LONGEST (RK_S * 3600 * 24 * 366)

#define AT(field) offsetof(struct submit_options, field)

static const struct argument arguments[] = {
    {"--namespace", "N", "where the manifest names none (else the context's)", argument_text,
     AT(namespace), 0, 0},
    {"-n", "N", "the same", argument_text, AT(namespace), 0, 0},
    {"--context", "C", "of the kubeconfig (its current one)", argument_text, AT(context), 0, 0},
    {"--kubeconfig", "FILE", "(KUBECONFIG, else ~/.kube/config, else a pod's own account)",
     argument_text, AT(kubeconfig), 0, 0},
    {"--image", "IMAGE", "that brings the agent (the manifest's, or that of this version)",
     argument_text, AT(image), 0, 0},
    {"--gang", "NAME", "volcano, scheduler-plugins or none, as for `reknit render`", argument_gang,
     AT(gang), 0, 0},
    {"--dry-run", NULL, "the server checks everything, and nothing is made", argument_flag,
     AT(dry_run), 0, 0},
    {"--no-follow", NULL, "ends when the job is submitted", argument_flag, AT(detach), 0, 0},
    {"--detach", NULL, "the same", argument_flag, AT(detach), 0, 0},
    {"--follow", "JOB", "follows a job that was submitted, without a FILE", argument_text,
     AT(follow), 0, 0},
    {"--timeout", "TIME", "follows no longer than this; the job goes on (no limit)",
     argument_duration, AT(timeout), RK_S, LONGEST},
    {"--json", NULL, "a JSON object a line", argument_flag, AT(json), 0, 0},
};

static const struct command submit_command = {
    .name = "reknit submit",
    .usage = "FILE | --follow JOB [options]",
    .about =
        "Makes the objects that run the MPIJobs of a manifest (see `reknit render`) in a cluster,\n"
        "and follows the jobs until they are over.  Objects of other kinds are applied, each in\n"
        "its place.  FILE may be -, standard input.  The same file may be submitted again: what\n"
        "is missing is made, and the job is followed.",
    .arguments = arguments,
    .count = sizeof arguments / sizeof arguments[0],
    .after =
        "Ctrl-C ends the following and leaves the job alone.  What deletes a job, and all that\n"
        "it owns: kubectl delete job NAME-launcher\n\n"
        "exit codes: 0 succeeded (or submitted, with --no-follow); the program's own where the\n"
        "job failed by it; 64 usage; 65 errors in the manifest, listed as by `reknit validate`;\n"
        "69 the cluster refused or failed, or --timeout passed; 130 Ctrl-C.",
};

/* ---- the cluster ---------------------------------------------------------------------------- */

static int find_cluster(const struct submit_options *given, struct api_config *config,
                        struct rk_why *why)
{
    const char *list =
        given->kubeconfig != NULL ? given->kubeconfig : surroundings_get("KUBECONFIG");
    const char *host = surroundings_get("KUBERNETES_SERVICE_HOST");
    const char *home = surroundings_home();
    char path[PATH_MAX];

    if (list == NULL && home != NULL) {
        snprintf(path, sizeof path, "%s/.kube/config", home);
        if (access(path, F_OK) == 0)
            list = path;
    }
    if (list != NULL)
        return api_config_load(list, given->context, config, why);
    if (given->context != NULL || host == NULL)
        return rk_fail(
            why, RK_ENOENT,
            "no cluster is known: KUBECONFIG is not set, there is no ~/.kube/config, and "
            "this is no pod; give --kubeconfig FILE");
    return api_config_in_cluster(host, surroundings_get("KUBERNETES_SERVICE_PORT"), NULL, config,
                                 why);
}

static int open_api(struct submit *submit, struct rk_why *why)
{
    struct api_config config = {0};
    struct api_options options = {.user_agent = USER_AGENT, .seed = surroundings_random()};
    int rc = find_cluster(&submit->given, &config, why);

    return rc == 0 ? api_new(&config, &options, &submit->api, why) : rc;
}

static int open_signals(struct submit *submit, struct rk_why *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGWINCH);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return rk_fail_errno(why, errno, "signals cannot be blocked");
    submit->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return submit->signals >= 0 ? 0 : rk_fail_errno(why, errno, "no descriptor for signals");
}

static int open_screen(struct submit *submit, struct rk_why *why)
{
    struct winsize size = {.ws_col = 80};
    const char *term = surroundings_get("TERM");
    struct screen_style style = {.terminal = isatty(STDOUT_FILENO) &&
                                             (term == NULL || strcmp(term, "dumb") != 0)};

    if (submit->given.json)
        return 0;
    style.colour = style.terminal && surroundings_get("NO_COLOR") == NULL;
    if (style.terminal && (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0))
        size.ws_col = 80;
    style.width = size.ws_col;
    submit->screen = screen_new(STDOUT_FILENO, &style);
    return submit->screen != NULL ? 0 : rk_fail(why, RK_ENOMEM, "no memory for the screen");
}

static int set_up(struct submit *submit, struct rk_why *why)
{
    struct kind kind;
    int rc = open_signals(submit, why);

    submit->now = rk_clock_now();
    submit->wall = rk_clock_wall();
    submit->deadline = submit->given.timeout != 0 ? submit->now + submit->given.timeout : 0;
    submit->kinds = json_object();
    if (rc == 0)
        rc = open_screen(submit, why);
    if (rc == 0)
        rc = open_api(submit, why);
    return rc == 0 ? kind_find(submit, "batch/v1", "Job", &kind, why) : rc;
}

static void clear_up(struct submit *submit)
{
    api_free(submit->api);
    json_decref(submit->kinds);
    screen_free(submit->screen);
    if (submit->signals >= 0)
        close(submit->signals);
}

/* ---- the file ------------------------------------------------------------------------------- */

static const char *default_namespace(const struct submit *submit)
{
    return submit->given.namespace != NULL ? submit->given.namespace : api_namespace(submit->api);
}

static const char *namespace_of(const struct submit *submit, const struct mpijob_document *document)
{
    const char *own =
        document->job != NULL ? document->job->namespace : object_namespace(document->object);

    return own != NULL && *own != '\0' ? own : default_namespace(submit);
}

static bool has_account(const struct mpijob_file *file)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->document[i].kind, "ServiceAccount") == 0)
            return true;
    return false;
}

/* What cannot be submitted though it is a valid manifest. */
static int check_job(const struct submit *submit, const struct mpijob *job, struct rk_why *why)
{
    const char *wanted = submit->given.namespace;

    if (wanted != NULL && job->namespace != NULL && strcmp(wanted, job->namespace) != 0)
        return rk_fail(why, RK_EDATA,
                       "metadata.namespace: the manifest says '%s', but '%s' is wanted; leave one "
                       "out",
                       job->namespace, wanted);
    if (job->managed_by != NULL && strcmp(job->managed_by, OPERATOR) != 0)
        return rk_fail(why, RK_EDATA,
                       "spec.runPolicy.managedBy: job %s is %s's to run; apply it by kubectl, or "
                       "leave the field out",
                       job->name, job->managed_by);
    return 0;
}

static int check_other(struct submit *submit, const struct mpijob_document *document,
                       struct rk_why *why)
{
    const char *version = json_string_value(json_object_get(document->object, "apiVersion"));
    struct kind kind;
    int rc;

    if (strcmp(document->kind, "CustomResourceDefinition") == 0)
        submit->defines = true;
    if (version == NULL)
        return 0; /* told when it is applied */
    rc = kind_find(submit, version, document->kind, &kind, why);
    if (rc == RK_ENOENT)
        return submit->defines ? 0 : rc;
    return rc == 0
               ? rights_check_apply(submit, version, kind.plural,
                                    kind.namespaced ? namespace_of(submit, document) : NULL, why)
               : rc;
}

/* All that is known beforehand to go wrong. */
static int check(struct submit *submit, const struct mpijob_file *file, struct rk_why *why)
{
    int rc = 0;

    for (size_t i = 0; i < file->count && rc == 0; i++) {
        const struct mpijob_document *document = &file->document[i];
        bool gang = false;

        if (document->job == NULL) {
            rc = check_other(submit, document, why);
            continue;
        }
        rc = check_job(submit, document->job, why);
        if (rc == 0)
            rc = apply_is_gang(submit, document->job, namespace_of(submit, document), &gang, why);
        if (rc == 0)
            rc = rights_check(submit, namespace_of(submit, document), gang, why);
    }
    return rc;
}

static int apply(struct submit *submit, const struct mpijob_file *file, struct rk_why *why)
{
    int rc = 0;

    /* An account that the file brings is there when its job is made, but not in a dry run. */
    bool account = !(submit->given.dry_run && has_account(file));

    for (size_t i = 0; i < file->count && rc >= 0; i++) {
        const struct mpijob_document *document = &file->document[i];

        if (document->job != NULL)
            rc = apply_job(submit, document->job, namespace_of(submit, document), account, why);
        else
            rc = apply_other(submit, document->object, namespace_of(submit, document), why);
    }
    return rc < 0 ? rc : 0;
}

static void say_left(struct submit *submit, const char *namespace, const char *name)
{
    submit_say(submit, SCREEN_PLAIN, "unfollowed",
               json_pack("{s:s,s:s}", "job", name, "namespace", namespace),
               "job %s goes on; to follow it again: reknit submit --follow %s -n %s", name, name,
               namespace);
}

static int follow(struct submit *submit, const char *namespace, const char *name, int *exit_code,
                  struct rk_why *why)
{
    int code = 0;
    int rc = follow_job(submit, namespace, name, &code, why);

    if (rc != 0 && (submit->interrupted || submit->late))
        say_left(submit, namespace, name);
    if (*exit_code == 0)
        *exit_code = code;
    return rc;
}

static int submit_file(struct submit *submit, const struct mpijob_file *file, int *exit_code,
                       struct rk_why *why)
{
    int rc = check(submit, file, why);

    if (rc == 0)
        rc = apply(submit, file, why);
    if (rc != 0 && submit->interrupted)
        submit_say(submit, SCREEN_PLAIN, "unfinished", NULL,
                   "interrupted; to make what is missing, submit the same file again");
    if (submit->given.dry_run || submit->given.detach)
        return rc;
    for (size_t i = 0; i < file->count && rc == 0; i++)
        if (file->document[i].job != NULL)
            rc = follow(submit, namespace_of(submit, &file->document[i]),
                        file->document[i].job->name, exit_code, why);
    return rc;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int fail(struct submit *submit, int rc, const struct rk_why *why)
{
    int exit_code;

    if (submit->interrupted)
        return SUBMIT_INTERRUPTED;
    /* What a server finds invalid is in the file, not on the command line. */
    exit_code = rk_error_exit_code(rc == RK_EINVAL ? RK_EDATA : rc);
    if (submit->screen != NULL)
        screen_clear(submit->screen);
    if (submit->given.json)
        submit_say(submit, SCREEN_BAD, "error", json_pack("{s:i}", "exit_code", exit_code), "%s",
                   why->text);
    return command_fail(&submit_command, rc == RK_EINVAL ? RK_EDATA : rc, why);
}

static int run(struct submit *submit, const struct mpijob_file *file)
{
    struct rk_why why = {""};
    int exit_code = 0;
    int rc = set_up(submit, &why);

    if (rc == 0 && file != NULL)
        rc = submit_file(submit, file, &exit_code, &why);
    else if (rc == 0) {
        rc = rights_check(submit, default_namespace(submit), false, &why);
        if (rc == 0)
            rc = follow(submit, default_namespace(submit), submit->given.follow, &exit_code, &why);
    }
    if (rc != 0)
        exit_code = fail(submit, rc, &why);
    clear_up(submit);
    return exit_code;
}

static int run_file(struct submit *submit, const char *path)
{
    const char *name = strcmp(path, "-") == 0 ? "stdin" : path;
    struct mpijob_file *file;
    struct faults faults;
    struct rk_why why = {""};
    int exit_code = EXIT_FAULTS;
    int rc;

    faults_init(&faults);
    rc = mpijob_file_open(path, &faults, &file, &why);
    if (rc == 0) {
        faults_print(&faults, name, &faults_plain, stderr);
        if (faults.errors == 0 && file->jobs == 0)
            fprintf(stderr, "%s: there is no MPIJob in it; kubectl applies other objects\n", name);
        else if (faults.errors == 0)
            exit_code = run(submit, file);
        mpijob_file_free(file);
    } else {
        exit_code = command_fail(&submit_command, rc, &why);
    }
    faults_done(&faults);
    return exit_code;
}

int command_submit(int argc, char **argv)
{
    struct submit submit = {.signals = -1};
    struct rk_why why = {"name one file with a manifest, or - for standard input, or --follow JOB"};
    int words;
    int exit_code = 0;

    if (arguments_take(&submit_command, argc, argv, &submit.given, &words, &exit_code) != 0)
        return exit_code;
    if (words != (submit.given.follow != NULL ? 0 : 1))
        return command_fail(&submit_command, RK_EINVAL, &why);
    return words == 1 ? run_file(&submit, argv[1]) : run(&submit, NULL);
}
