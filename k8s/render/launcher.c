/* The coordinator's pod and the batch/v1 Job that keeps it.
 *
 * PID 1 there is `reknit pods`: it makes the worker pods and watches them, and runs the user's own
 * command (an mpirun line, whose launch agent is ours) unless the job has a program that agents
 * start.  All else about the job it reads from mpijob.json: what the manifest says is said once. */
#include "k8s/render/parts.h"

#include <inttypes.h>
#include <stdio.h>

/* Variables of each MPI implementation: upstream's, and our launch agent.  "%slots" stands for
 * slotsPerWorker.  The PRTE_ ones are Open MPI 5's. */
static const struct variable {
    enum mpijob_implementation of;
    const char *name, *value;
} variables[] = {
    {MPIJOB_OPENMPI, "OMPI_MCA_orte_keep_fqdn_hostnames", "true"},
    {MPIJOB_OPENMPI, "OMPI_MCA_orte_default_hostfile", PATH_HOSTFILE},
    {MPIJOB_OPENMPI, "OMPI_MCA_plm_rsh_args", "-o ConnectionAttempts=10"},
    {MPIJOB_OPENMPI, "OMPI_MCA_orte_set_default_slots", "%slots"},
    {MPIJOB_OPENMPI, "OMPI_MCA_plm_rsh_agent", PATH_RSH},
    {MPIJOB_OPENMPI, "PRTE_MCA_prte_keep_fqdn_hostnames", "true"},
    {MPIJOB_OPENMPI, "PRTE_MCA_prte_default_hostfile", PATH_HOSTFILE},
    {MPIJOB_OPENMPI, "PRTE_MCA_prte_set_default_slots", "%slots"},
    {MPIJOB_OPENMPI, "PRTE_MCA_plm_ssh_agent", PATH_RSH},
    {MPIJOB_INTEL, "I_MPI_HYDRA_HOST_FILE", PATH_HOSTFILE},
    {MPIJOB_INTEL, "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS", "-o ConnectionAttempts=10"},
    {MPIJOB_INTEL, "I_MPI_PERHOST", "%slots"},
    {MPIJOB_INTEL, "I_MPI_HYDRA_BOOTSTRAP_EXEC", PATH_RSH},
    {MPIJOB_MPICH, "HYDRA_HOST_FILE", PATH_HOSTFILE},
    {MPIJOB_MPICH, "HYDRA_LAUNCH_EXTRA_ARGS", "-o ConnectionAttempts=10"},
    {MPIJOB_MPICH, "HYDRA_LAUNCHER_EXEC", PATH_RSH},
};

static void set_environment(struct pod *pod)
{
    const struct mpijob *job = pod->render->job;
    char slots[16];

    snprintf(slots, sizeof slots, "%" PRIu32, job->slots);
    pod_env(pod, "K_MPI_JOB_ROLE", "launcher");
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        if (variables[i].of == job->implementation)
            pod_env(pod, variables[i].name,
                    variables[i].value[0] == '%' ? slots : variables[i].value);
    /* The coordinator's pod computes nothing, and should not see the GPUs of a node it shares. */
    if (!job->launcher_is_worker) {
        pod_env(pod, "NVIDIA_VISIBLE_DEVICES", "");
        pod_env(pod, "NVIDIA_DRIVER_CAPABILITIES", "");
    }
    pod_env_identity(pod);
    pod_env_field(pod, "REKNIT_POD_NAMESPACE", "metadata.namespace");
}

static void set_command(struct pod *pod)
{
    struct build *build = &pod->render->build;
    const struct mpijob *job = pod->render->job;
    enum render_gang gang = pod->render->options->gang;
    json_t *words = command_words(build, pod->main);
    json_t *command = build_made(
        build, json_pack("[s,s,s,s,s,s,s,s]", PATH_REKNIT, "pods", "--config", PATH_MPIJOB,
                         "--pod-name", "$(REKNIT_POD_NAME)", "--pod-uid", "$(REKNIT_POD_UID)"));

    if (gang != RENDER_GANG_AUTO) {
        build_word(build, command, "--gang");
        build_word(build, command, gang_name(gang));
    }
    if (job->settings.program == NULL && json_array_size(words) > 0) {
        build_word(build, command, "--");
        if (json_array_extend(command, words) != 0)
            build_made(build, NULL);
    }
    json_decref(words);
    build_set(build, pod->main, "command", command);
    json_object_del(pod->main, "args");
}

static void mount_config(struct pod *pod)
{
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s-config", pod->render->job->name);
    pod_volume(pod, VOLUME_CONFIG, "configMap",
               json_pack("{s:s, s:[{s:s, s:s, s:i}, {s:s, s:s, s:i}, {s:s, s:s, s:i}]}", "name",
                         name, "items", "key", "hostfile", "path", "hostfile", "mode", 0444, "key",
                         "discover_hosts.sh", "path", "discover_hosts.sh", "mode", 0555, "key",
                         "mpijob.json", "path", "mpijob.json", "mode", 0444));
    pod_mount(pod, VOLUME_CONFIG, PATH_CONFIG, NULL, true);
}

static json_t *template(struct render *render)
{
    const struct mpijob *job = render->job;
    struct build *build = &render->build;
    char name[NAME_SIZE];
    struct pod pod;
    json_t *whole;

    pod_begin(&pod, render, &job->launcher, "Launcher", "launcher");
    if (build->rc == 0) {
        snprintf(name, sizeof name, "%s-launcher", job->name);
        pod_name_host(&pod, name);
        set_environment(&pod);
        mount_config(&pod);
        pod_secret(&pod, true); /* where it is missing, the coordinator makes it */
        pod_checkpoints(&pod);
        if (job->launcher_is_worker) {
            build_text(build, pod.labels, LABEL_INDEX, "0");
            pod_port(&pod);
        }
        set_command(&pod);
        build_text(build, pod.spec, "restartPolicy",
                   job->launcher.restart == MPIJOB_NEVER ? "Never" : "OnFailure");
        pod_default(&pod, "serviceAccountName", json_string(SERVICE_ACCOUNT));
        pod_default(&pod, "automountServiceAccountToken", json_true());
    }
    build_drop_empty(json_object_get(pod.whole, "metadata"), "annotations");
    whole = json_incref(pod.whole);
    pod_done(&pod);
    return whole;
}

static void set_limit(struct render *render, json_t *spec, const char *key, int64_t value)
{
    if (value != MPIJOB_UNSET)
        build_set(&render->build, spec, key, json_integer(value));
}

/* The size is the Job's own, so that a coordinator that runs sees it change. */
static void say_size(struct render *render, json_t *object)
{
    struct build *build = &render->build;
    json_t *metadata = build_child(build, object, "metadata", "Job");
    char number[16];

    if (render->job->worker.template == NULL)
        return;
    snprintf(number, sizeof number, "%" PRIu32, render->job->worker.replicas);
    build_text(build, build_child(build, metadata, "annotations", "Job"), ANNOTATION_WORKERS,
               number);
}

json_t *launcher_job(struct render *render)
{
    struct build *build = &render->build;
    const struct mpijob *job = render->job;
    json_t *object = render_object(render, "batch/v1", "Job", "-launcher");
    json_t *spec = build_child(build, object, "spec", "Job");

    set_limit(render, spec, "backoffLimit", job->backoff_limit);
    set_limit(render, spec, "ttlSecondsAfterFinished", job->ttl_s);
    set_limit(render, spec, "activeDeadlineSeconds", job->deadline_s);
    if (job->suspend)
        build_set(build, spec, "suspend", json_true());
    /* A coordinator that is on its way out must be gone before the next one begins. */
    /* No podReplacementPolicy: another coordinator may start while the last pod still ends, or on a
     * lost node never does; whose epoch it is, is decided by the record.  And old kubectls know no
     * such field. */
    build_set(build, spec, "template", template(render));
    say_size(render, object);
    return object;
}
