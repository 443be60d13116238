/* The objects of a job: what is taken from the manifest, what is added, what is refused. */
#include "k8s/manifest/reserved.h"
#include "tests/render/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PODS                                                                               \
    "/reknit/bin/reknit pods --config /etc/mpi/mpijob.json --pod-name $(REKNIT_POD_NAME) " \
    "--pod-uid $(REKNIT_POD_UID)"
/* The agent's words, but how they end; and the same for a shell. */
#define WORKER                                                                                  \
    "worker --job pi --group $(REKNIT_POD_UID) --host-name $(REKNIT_POD_NAME) --address "       \
    "$(REKNIT_POD_IP) --ticket 1 --slots 1 --listen 7465 --secret mount:/reknit-secret/worker " \
    "--run-dir /reknit-run/agent"
#define AGENT "/reknit/bin/reknit " WORKER " --serve"
#define QUOTED                                                                              \
    "/reknit/bin/reknit worker --job pi --group '$(REKNIT_POD_UID)' --host-name "           \
    "'$(REKNIT_POD_NAME)' --address '$(REKNIT_POD_IP)' --ticket 1 --slots 1 --listen 7465 " \
    "--secret mount:/reknit-secret/worker --run-dir /reknit-run/agent --serve"
#define MAIN "spec.template.spec.containers.0"

static const struct render_options plain = {.namespace = NULL};

static json_t *render(const struct mpijob *job, const struct render_options *options)
{
    json_t *objects = NULL;
    struct rk_why why = {""};

    if (render_job(job, options, &objects, &why) != 0)
        fail_msg("not rendered: %s", why.text);
    return objects;
}

static json_t *render_one(const struct mpijob *job, uint32_t place, uint32_t ticket, uint32_t life)
{
    struct render_worker worker = {.place = place, .ticket = ticket, .life = life};
    json_t *pod = NULL;
    struct rk_why why = {""};

    if (render_worker(job, &plain, &worker, &pod, &why) != 0)
        fail_msg("not rendered: %s", why.text);
    return pod;
}

static void refuses(const struct mpijob *job, const struct render_options *options,
                    const char *part)
{
    json_t *objects = NULL;
    struct rk_why why = {""};

    assert_int_equal(render_job(job, options, &objects, &why), RK_EDATA);
    if (strstr(why.text, part) == NULL)
        fail_msg("said '%s', not '%s'", why.text, part);
    assert_null(objects);
}

static void test_objects_and_their_order(void **state)
{
    static const char *const kinds[] = {"Job", "Service", "ConfigMap", "Pod", "Pod"};
    static const char *const names[] = {"pi-launcher", "pi", "pi-config", "pi-worker-0",
                                        "pi-worker-1"};
    struct mpijob job;
    json_t *objects;

    (void)state;
    fixture_init(&job, fixture_pi);
    objects = render(&job, &plain);
    assert_int_equal(json_array_size(objects), 5);
    for (size_t i = 0; i < 5; i++) {
        const json_t *object = json_array_get(objects, i);

        assert_string_equal(text_at(object, "kind"), kinds[i]);
        assert_string_equal(text_at(object, "metadata.name"), names[i]);
        assert_string_equal(text_at(object, "metadata.namespace"), "default");
        assert_string_equal(text_at(object, "metadata.labels.[reknit.dev/job]"), "pi");
        assert_null(at(object, "metadata.ownerReferences"));
    }
    json_decref(objects);
    fixture_done(&job);
}

static void test_service(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *service;

    (void)state;
    fixture_init(&job, fixture_pi);
    objects = render(&job, &plain);
    service = json_array_get(objects, 1);
    assert_string_equal(text_at(service, "spec.clusterIP"), "None");
    assert_true(json_is_true(at(service, "spec.publishNotReadyAddresses")));
    assert_string_equal(text_at(service, "metadata.labels.app"), "pi");
    assert_int_equal(json_object_size(at(service, "spec.selector")), 2);
    json_decref(objects);
    fixture_done(&job);
}

static void test_owners(void **state)
{
    struct render_options options = {.job_uid = "u-1", .mpijob_uid = "u-2"};
    struct mpijob job;
    json_t *objects;
    const json_t *owner;

    (void)state;
    fixture_init(&job, fixture_pi);
    objects = render(&job, &options);
    owner = at(json_array_get(objects, 0), "metadata.ownerReferences.0");
    assert_string_equal(text_at(owner, "kind"), "MPIJob");
    assert_string_equal(text_at(owner, "uid"), "u-2");
    for (size_t i = 1; i < json_array_size(objects); i++) {
        owner = at(json_array_get(objects, i), "metadata.ownerReferences.0");
        assert_string_equal(text_at(owner, "kind"), "Job");
        assert_string_equal(text_at(owner, "name"), "pi-launcher");
        assert_string_equal(text_at(owner, "uid"), "u-1");
        assert_null(at(owner, "controller")); /* or the Job's controller would let go of it */
    }
    json_decref(objects);
    fixture_done(&job);
}

static void test_run_policy(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *spec;

    (void)state;
    fixture_init(&job, fixture_pi);
    objects = render(&job, &plain);
    spec = at(json_array_get(objects, 0), "spec");
    assert_int_equal(json_object_size(spec), 1);
    assert_null(json_object_get(spec, "podReplacementPolicy"));
    assert_string_equal(text_at(spec, "template.spec.restartPolicy"), "OnFailure");
    json_decref(objects);
    job.backoff_limit = 0;
    job.ttl_s = 60;
    job.deadline_s = 3600;
    job.launcher.restart = MPIJOB_NEVER;
    job.suspend = true;
    objects = render(&job, &plain);
    assert_int_equal(json_array_size(objects), 3); /* no workers */
    spec = at(json_array_get(objects, 0), "spec");
    assert_int_equal(json_integer_value(at(spec, "backoffLimit")), 0);
    assert_true(json_is_integer(at(spec, "backoffLimit")));
    assert_int_equal(json_integer_value(at(spec, "ttlSecondsAfterFinished")), 60);
    assert_int_equal(json_integer_value(at(spec, "activeDeadlineSeconds")), 3600);
    assert_true(json_is_true(at(spec, "suspend")));
    assert_string_equal(text_at(spec, "template.spec.restartPolicy"), "Never");
    json_decref(objects);
    fixture_done(&job);
}

static void test_coordinator_pod(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *pod;
    const json_t *main;

    (void)state;
    fixture_init(&job, fixture_pi);
    objects = render(&job, &plain);
    pod = at(json_array_get(objects, 0), "spec.template");
    main = at(pod, "spec.containers.0");
    assert_string_equal(words_of(at(main, "command")), PODS " -- "
                                                            "mpirun -n 2 /opt/pi");
    assert_null(at(main, "args"));
    assert_string_equal(text_at(pod, "metadata.labels.[training.kubeflow.org/job-role]"),
                        "launcher");
    assert_null(at(pod, "metadata.labels.[training.kubeflow.org/replica-index]"));
    assert_string_equal(text_at(pod, "spec.hostname"), "pi-launcher");
    assert_string_equal(text_at(pod, "spec.serviceAccountName"), "reknit");
    assert_true(json_is_true(at(pod, "spec.automountServiceAccountToken")));
    assert_int_equal(json_integer_value(at(pod, "spec.terminationGracePeriodSeconds")), 60);
    assert_true(
        json_is_true(at(named(at(pod, "spec.volumes"), "reknit-secret"), "secret.optional")));
    assert_string_equal(env_of(main, "OMPI_MCA_plm_rsh_agent"), "/reknit/bin/reknit-rsh");
    assert_string_equal(env_of(main, "PRTE_MCA_plm_ssh_agent"), "/reknit/bin/reknit-rsh");
    assert_string_equal(env_of(main, "K_MPI_JOB_ROLE"), "launcher");
    assert_string_equal(env_of(main, "NVIDIA_VISIBLE_DEVICES"), "");
    assert_null(at(main, "ports"));
    json_decref(objects);
    fixture_done(&job);
}

static void test_program(void **state)
{
    struct mpijob job;
    json_t *objects;
    json_t *program = json_pack("[s,s]", "./train", "--lr=1");

    (void)state;
    fixture_init(&job, fixture_pi);
    job.settings.program = program;
    objects = render(&job, &plain);
    assert_string_equal(words_of(at(json_array_get(objects, 0), MAIN ".command")), PODS);
    assert_string_equal(words_of(at(json_array_get(objects, 3), "spec.containers.0.command")),
                        "/reknit/bin/reknit " WORKER " -- ./train --lr=1");
    json_decref(objects);
    json_decref(program);
    fixture_done(&job);
}

static void test_launcher_as_worker(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *template;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.launcher_is_worker = true;
    job.settings.max_workers = 2;
    job.slots = 4;
    objects = render(&job, &plain);
    template = at(json_array_get(objects, 0), "spec.template");
    assert_string_equal(text_at(template, "metadata.labels.[training.kubeflow.org/replica-index]"),
                        "0");
    assert_null(env_of(at(template, "spec.containers.0"), "NVIDIA_VISIBLE_DEVICES"));
    assert_int_equal(json_integer_value(at(template, "spec.containers.0.ports.0.containerPort")),
                     7465);
    assert_string_equal(text_at(json_array_get(objects, 3),
                                "metadata.labels.[training.kubeflow.org/replica-index]"),
                        "1");
    assert_string_equal(
        text_at(json_array_get(objects, 3), "metadata.annotations.[reknit.dev/place]"), "0");
    /* the coordinator has places 0, the launcher, to 2: its second ticket is for place 1 */
    assert_string_equal(
        text_at(json_array_get(objects, 3), "metadata.annotations.[reknit.dev/ticket]"), "5");
    assert_string_equal(text_at(json_array_get(objects, 2), "data.[discover_hosts.sh]"),
                        "#!/bin/sh\necho pi-launcher.pi.default.svc\n");
    assert_string_equal(text_at(json_array_get(objects, 2), "data.hostfile"),
                        "pi-launcher.pi.default.svc slots=4\n"
                        "pi-worker-0.pi.default.svc slots=4\n"
                        "pi-worker-1.pi.default.svc slots=4\n");
    json_decref(objects);
    fixture_done(&job);
}

/* Upstream's line for each implementation, and the domain only where it is not the usual one. */
static void test_hosts(void **state)
{
    static const char *const pods[] = {"pi-worker-0-3", "pi-worker-7"};
    struct mpijob job;
    char *text;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.implementation = MPIJOB_MPICH;
    job.slots = 2;
    text = render_hostfile(&job, "ml", pods, 2);
    assert_string_equal(text, "pi-worker-0-3.pi.ml.svc:2\npi-worker-7.pi.ml.svc:2\n");
    free(text);
    job.settings.cluster_domain = "corp.example";
    text = render_discover_hosts(&job, "ml", pods, 2);
    assert_string_equal(text, "#!/bin/sh\necho pi-worker-0-3.pi.ml.svc.corp.example\n"
                              "echo pi-worker-7.pi.ml.svc.corp.example\n");
    free(text);
    text = render_discover_hosts(&job, "ml", NULL, 0);
    assert_string_equal(text, "#!/bin/sh\n");
    free(text);
    fixture_done(&job);
}

static void test_implementations(void **state)
{
    static const struct {
        enum mpijob_implementation of;
        const char *agent, *hostfile, *slots;
    } rows[] = {
        {MPIJOB_OPENMPI, "OMPI_MCA_plm_rsh_agent", "OMPI_MCA_orte_default_hostfile",
         "OMPI_MCA_orte_set_default_slots"},
        {MPIJOB_OPENMPI, "PRTE_MCA_plm_ssh_agent", "PRTE_MCA_prte_default_hostfile",
         "PRTE_MCA_prte_set_default_slots"},
        {MPIJOB_INTEL, "I_MPI_HYDRA_BOOTSTRAP_EXEC", "I_MPI_HYDRA_HOST_FILE", "I_MPI_PERHOST"},
        {MPIJOB_MPICH, "HYDRA_LAUNCHER_EXEC", "HYDRA_HOST_FILE", NULL},
    };
    struct mpijob job;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.slots = 3;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *objects;
        const json_t *main;

        job.implementation = rows[i].of;
        objects = render(&job, &plain);
        main = at(json_array_get(objects, 0), MAIN);
        assert_string_equal(env_of(main, rows[i].agent), "/reknit/bin/reknit-rsh");
        assert_string_equal(env_of(main, rows[i].hostfile), "/etc/mpi/hostfile");
        if (rows[i].slots != NULL)
            assert_string_equal(env_of(main, rows[i].slots), "3");
        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
            if (rows[j].of != rows[i].of)
                assert_null(env_of(main, rows[j].agent));
        json_decref(objects);
    }
    fixture_done(&job);
}

static void test_worker_pod(void **state)
{
    struct mpijob job;
    json_t *pod;
    json_t *first;
    json_t *objects;

    (void)state;
    fixture_init(&job, fixture_pi);
    pod = render_one(&job, 1, 17, 4);
    assert_string_equal(text_at(pod, "metadata.name"), "pi-worker-1-4");
    assert_string_equal(text_at(pod, "spec.hostname"), "pi-worker-1-4");
    assert_string_equal(text_at(pod, "spec.subdomain"), "pi");
    assert_string_equal(text_at(pod, "metadata.annotations.[reknit.dev/ticket]"), "17");
    assert_string_equal(text_at(pod, "metadata.annotations.[reknit.dev/place]"), "1");
    assert_string_equal(text_at(pod, "spec.dnsConfig.searches.0"), "pi.default.svc.cluster.local");
    assert_string_equal(text_at(pod, "spec.restartPolicy"), "Never");
    assert_true(json_is_false(at(pod, "spec.automountServiceAccountToken")));
    assert_null(at(named(at(pod, "spec.volumes"), "reknit-secret"), "secret.optional"));
    assert_string_equal(
        text_at(named(at(pod, "spec.volumes"), "reknit-secret"), "secret.items.0.key"), "worker");
    assert_string_equal(env_of(at(pod, "spec.containers.0"), "K_MPI_JOB_ROLE"), "worker");
    json_decref(pod);
    /* the first life is the one that render_job has */
    first = render_one(&job, 1, render_ticket(&job, 1), 0);
    objects = render(&job, &plain);
    assert_true(json_equal(first, json_array_get(objects, 4)));
    json_decref(objects);
    json_decref(first);
    fixture_done(&job);
}

/* A host's name has 63 letters at most; the pod's own may be longer. */
static void test_long_names(void **state)
{
    struct mpijob job;
    json_t *pod;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.name = "a23456789012345678901234567890123456789012345678901234"; /* 54 and "-worker-0" */
    pod = render_one(&job, 0, 1, 0);
    assert_int_equal(strlen(text_at(pod, "spec.hostname")), 63);
    json_decref(pod);
    pod = render_one(&job, 0, 1, 1);
    assert_null(at(pod, "spec.hostname"));
    json_decref(pod);
    fixture_done(&job);
}

#define REQUIRED "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"

static json_t *render_avoiding(json_t *affinity, const char *node_name)
{
    struct render_worker worker = {.ticket = 7, .life = 1, .avoids = "n1 far.example"};
    struct mpijob job;
    json_t *pod = NULL;
    json_t *spec;
    struct rk_why why = {""};

    fixture_init(&job, fixture_pi);
    spec = json_object_get(job.worker.template, "spec");
    json_object_set_new(spec, "affinity", affinity);
    if (node_name != NULL)
        json_object_set_new(spec, "nodeName", json_string(node_name));
    if (render_worker(&job, &plain, &worker, &pod, &why) != 0)
        fail_msg("not rendered: %s", why.text);
    fixture_done(&job);
    return pod;
}

static void holds(const json_t *pod, const char *path, const char *wanted)
{
    char *text = json_dumps(at(pod, path), JSON_COMPACT);

    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
}

#define OFF                                                                                    \
    "\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"NotIn\",\"values\":[\"n1\"]}," \
    "{\"key\":\"metadata.name\",\"operator\":\"NotIn\",\"values\":[\"far.example\"]}]"

static void test_nodes_that_a_pod_keeps_off(void **state)
{
    json_t *pod = render_avoiding(json_null(), NULL);

    (void)state;
    holds(pod, REQUIRED, "{\"nodeSelectorTerms\":[{" OFF "}]}");
    assert_string_equal(text_at(pod, "metadata.annotations.[reknit.dev/avoids]"), "n1 far.example");
    json_decref(pod);
    /* each of the user's terms has the condition; one that takes no node still does */
    pod =
        render_avoiding(json_pack("{s:{s:[], s:{s:[{s:[{s:s, s:s}]}, {s:[]}]}}, s:{}}",
                                  "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution",
                                  "requiredDuringSchedulingIgnoredDuringExecution",
                                  "nodeSelectorTerms", "matchExpressions", "key", "gpu", "operator",
                                  "Exists", "matchExpressions", "podAffinity"),
                        NULL);
    holds(pod, REQUIRED ".nodeSelectorTerms",
          "[{\"matchExpressions\":[{\"key\":\"gpu\",\"operator\":\"Exists\"}]," OFF "},"
          "{\"matchExpressions\":[]}]");
    holds(pod, "spec.affinity.podAffinity", "{}");
    json_decref(pod);
    /* one that the user has bound himself is left alone */
    pod = render_avoiding(json_null(), "n1");
    assert_null(at(pod, "spec.affinity"));
    assert_null(at(pod, "metadata.annotations.[reknit.dev/avoids]"));
    json_decref(pod);
}

static void test_spares(void **state)
{
    struct mpijob job;
    json_t *objects;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.settings.spares = 1;
    assert_int_equal(render_worker_count(&job), 3);
    objects = render(&job, &plain);
    assert_int_equal(json_array_size(objects), 6);
    assert_string_equal(text_at(json_array_get(objects, 2), "data.hostfile"),
                        "pi-worker-0.pi.default.svc slots=1\npi-worker-1.pi.default.svc slots=1\n");
    json_decref(objects);
    fixture_done(&job);
}

static void test_init_container(void **state)
{
    struct mpijob job;
    json_t *pod;
    const json_t *init;

    (void)state;
    fixture_init(&job, fixture_pi);
    pod = render_one(&job, 0, 1, 0);
    init = at(pod, "spec.initContainers.0");
    assert_string_equal(text_at(init, "image"), render_default_image());
    assert_true(json_equal(at(init, "resources"), at(pod, "spec.containers.0.resources")));
    assert_null(at(init, "securityContext.runAsUser"));
    json_decref(pod);
    fixture_done(&job);
    /* root by the pod, devices, and an init container of the user's own */
    fixture_init(&job,
                 "{'metadata': {'name': 'pi'}, 'spec': {'mpiReplicaSpecs': {'Worker': {'replicas': "
                 "1, 'template': {'spec': {'securityContext': {'runAsUser': 0}, 'initContainers': "
                 "[{'name': 'mine'}], 'containers': [{'name': 'w', 'resources': {'limits': "
                 "{'nvidia.com/gpu': 2}}}]}}}}}}");
    job.settings.image = "registry/reknit:9";
    pod = render_one(&job, 0, 1, 0);
    init = at(pod, "spec.initContainers.0");
    assert_string_equal(text_at(init, "name"), "reknit");
    assert_string_equal(text_at(init, "image"), "registry/reknit:9");
    assert_int_equal(json_integer_value(at(init, "securityContext.runAsUser")), 65532);
    assert_null(at(init, "resources"));
    assert_string_equal(text_at(pod, "spec.initContainers.1.name"), "mine");
    json_decref(pod);
    fixture_done(&job);
}

static void test_secret_mode(void **state)
{
    struct mpijob job;
    json_t *pod;

    (void)state;
    fixture_init(&job, fixture_pi);
    pod = render_one(&job, 0, 1, 0);
    assert_int_equal(json_integer_value(
                         at(named(at(pod, "spec.volumes"), "reknit-secret"), "secret.defaultMode")),
                     0444);
    json_decref(pod);
    json_object_set_new((json_t *)at(job.worker.template, "spec"), "securityContext",
                        json_pack("{s:i}", "fsGroup", 1000));
    pod = render_one(&job, 0, 1, 0);
    assert_int_equal(json_integer_value(
                         at(named(at(pod, "spec.volumes"), "reknit-secret"), "secret.defaultMode")),
                     0440);
    json_decref(pod);
    fixture_done(&job);
}

static const char *temporary(const struct mpijob *job)
{
    static char found[64];
    json_t *pod = render_one(job, 0, 1, 0);
    const char *value = env_of(at(pod, "spec.containers.0"), "TMPDIR");

    snprintf(found, sizeof found, "%s", value != NULL ? value : "");
    json_decref(pod);
    return found;
}

static void test_place_for_temporary_files(void **state)
{
    struct mpijob job;
    json_t *worker;

    (void)state;
    fixture_init(&job, fixture_pi);
    worker = (json_t *)at(job.worker.template, "spec.containers.0");
    assert_string_equal(temporary(&job), "");
    json_object_set_new(worker, "securityContext", json_pack("{s:b}", "readOnlyRootFilesystem", 1));
    assert_string_equal(temporary(&job), "/reknit-run");
    json_object_set_new(worker, "env", json_pack("[{s:s, s:s}]", "name", "TMPDIR", "value", "/x"));
    assert_string_equal(temporary(&job), "/x");
    json_object_del(worker, "env");
    json_object_set_new(worker, "volumeMounts",
                        json_pack("[{s:s, s:s}]", "name", "x", "mountPath", "/tmp"));
    assert_string_equal(temporary(&job), "");
    fixture_done(&job);
}

static void test_checkpoints(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *volume;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.settings.checkpoint_dir = "/ckpt";
    objects = render(&job, &plain);
    assert_null(named(at(json_array_get(objects, 3), "spec.volumes"), "reknit-checkpoints"));
    assert_non_null(strstr(words_of(at(json_array_get(objects, 3), "spec.containers.0.command")),
                           "--checkpoint-dir /ckpt"));
    json_decref(objects);
    job.settings.checkpoint_claim = "shared";
    objects = render(&job, &plain);
    volume = named(at(json_array_get(objects, 3), "spec.volumes"), "reknit-checkpoints");
    assert_string_equal(text_at(volume, "persistentVolumeClaim.claimName"), "shared");
    volume = named(at(json_array_get(objects, 0), MAIN ".volumeMounts"), "reknit-checkpoints");
    assert_string_equal(text_at(volume, "mountPath"), "/ckpt");
    json_decref(objects);
    json_object_set_new((json_t *)at(job.worker.template, "spec.containers.0"), "volumeMounts",
                        json_pack("[{s:s, s:s}]", "name", "x", "mountPath", "/ckpt/"));
    refuses(&job, &plain, "volumeMounts[0].mountPath");
    fixture_done(&job);
}

/* What the user set stays; what is ours and the user's too is ours, once. */
static void test_template_is_kept(void **state)
{
    struct mpijob job;
    json_t *pod;

    (void)state;
    fixture_init(
        &job, "{'metadata': {'name': 'pi'}, 'spec': {'mpiReplicaSpecs': {'Worker': {'replicas': 1, "
              "'template': {'metadata': {'name': 'x', 'labels': {'a': 'b', "
              "'training.kubeflow.org/job-name': 'other'}, 'annotations': {'c': 'd'}}, 'spec': "
              "{'hostNetwork': true, 'automountServiceAccountToken': true, "
              "'terminationGracePeriodSeconds': 5, 'dnsConfig': {'searches': ['mine', "
              "'pi.default.svc.cluster.local']}, 'unknown': {'kept': null, 'x': 1}, 'containers': "
              "[{'name': 'w', 'env': [{'name': 'K_MPI_JOB_ROLE', 'value': 'x'}, {'name': 'MINE', "
              "'value': 'y'}], 'command': null, 'args': null}, {'name': 'side'}]}}}}}}");
    pod = render_one(&job, 0, 1, 0);
    assert_string_equal(text_at(pod, "metadata.labels.a"), "b");
    assert_string_equal(text_at(pod, "metadata.labels.[training.kubeflow.org/job-name]"), "pi");
    assert_string_equal(text_at(pod, "metadata.annotations.c"), "d");
    assert_string_equal(text_at(pod, "spec.dnsPolicy"), "ClusterFirstWithHostNet");
    assert_true(json_is_true(at(pod, "spec.automountServiceAccountToken")));
    assert_int_equal(json_integer_value(at(pod, "spec.terminationGracePeriodSeconds")), 5);
    assert_int_equal(json_array_size(at(pod, "spec.dnsConfig.searches")), 2);
    assert_int_equal(json_object_size(at(pod, "spec.unknown")), 1);
    assert_string_equal(text_at(pod, "spec.containers.0.env.0.value"), "worker");
    assert_string_equal(env_of(at(pod, "spec.containers.0"), "MINE"), "y");
    assert_int_equal(json_object_size(at(pod, "spec.containers.1")), 1);
    assert_string_equal(text_at(pod, "spec.containers.0.command.0"), "/reknit/bin/reknit");
    json_decref(pod);
    fixture_done(&job);
}

/* A worker whose container has these fields; NULL: no command at all. */
static json_t *worker_with(struct mpijob *job, const char *fields)
{
    char object[1024];

    snprintf(object, sizeof object,
             "{'metadata': {'name': 'pi'}, 'spec': {'mpiReplicaSpecs': {'Worker': {'replicas': 1, "
             "'template': {'spec': {'containers': [{'name': 'w'%s}]}}}}}}",
             fields);
    fixture_init(job, object);
    return render_one(job, 0, 1, 0);
}

static void runs(const char *fields, const char *command)
{
    struct mpijob job;
    json_t *pod = worker_with(&job, fields);

    if (strcmp(words_of(at(pod, "spec.containers.0.command")), command) != 0)
        fail_msg("%s: runs '%s'", fields, words_of(at(pod, "spec.containers.0.command")));
    assert_null(at(pod, "spec.containers.0.args"));
    assert_null(env_of(at(pod, "spec.containers.0"), "REKNIT_WORKER"));
    json_decref(pod);
    fixture_done(&job);
}

static void wraps(const char *fields)
{
    struct mpijob job;
    json_t *pod = worker_with(&job, fields);
    const json_t *main = at(pod, "spec.containers.0");
    const json_t *before = at(job.worker.template, "spec.containers.0");
    json_error_t error;
    json_t *arguments;

    assert_true(json_equal(at(main, "command"), at(before, "command")));
    assert_true(json_equal(at(main, "args"), at(before, "args")) || at(before, "args") == NULL);
    arguments = json_loads(env_of(main, "REKNIT_WORKER"), 0, &error);
    assert_string_equal(words_of(arguments), WORKER " --serve");
    json_decref(arguments);
    assert_string_equal(text_at(main, "volumeMounts.3.mountPath"), "/usr/sbin/sshd");
    assert_string_equal(text_at(main, "volumeMounts.3.subPath"), "bin/reknit-sshd");
    json_decref(pod);
    fixture_done(&job);
}

static void test_worker_commands(void **state)
{
    (void)state;
    runs("", AGENT);
    runs(", 'command': [], 'args': []", AGENT);
    runs(", 'command': ['/usr/sbin/sshd', '-De']", AGENT);
    runs(", 'args': ['/usr/sbin/sshd', '-De', '-f', '/etc/ssh/pi_config']", AGENT);
    runs(", 'command': ['sh', '-c', '/usr/sbin/sshd -D']", "sh -c exec " QUOTED);
    runs(", 'command': ['/bin/bash'], 'args': ['-e', '-c', 'pip install x && exec sshd -De']",
         "/bin/bash -e -c pip install x && exec " QUOTED);
    wraps(", 'command': ['sleep', 'infinity']");
    wraps(", 'command': ['sh', '-c', '/usr/sbin/sshd; sleep infinity']");
    wraps(", 'command': ['/start.sh'], 'args': ['x']");
}

static void test_worker_command_wishes(void **state)
{
    struct mpijob job;
    json_t *pod;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.settings.worker_command = MPIJOB_WORKER_WRAP;
    pod = render_one(&job, 0, 1, 0);
    assert_string_equal(text_at(pod, "spec.containers.0.command.0"), "/usr/sbin/sshd");
    json_decref(pod);
    fixture_done(&job);
    pod = worker_with(&job, ", 'command': ['/start.sh']");
    json_decref(pod);
    job.settings.worker_command = MPIJOB_WORKER_AGENT;
    pod = render_one(&job, 0, 1, 0);
    assert_string_equal(words_of(at(pod, "spec.containers.0.command")), AGENT);
    json_decref(pod);
    fixture_done(&job);
}

/* A probe of sshd would fail for ever, and end pods, where no sshd is. */
static void test_probes(void **state)
{
    struct mpijob job;
    json_t *pod = worker_with(
        &job, ", 'readinessProbe': {'tcpSocket': {'port': 2222}, 'initialDelaySeconds': 2}, "
              "'livenessProbe': {'exec': {'command': ['pgrep', 'sshd']}}, "
              "'startupProbe': {'exec': {'command': ['true']}}");
    const json_t *main = at(pod, "spec.containers.0");

    (void)state;
    assert_int_equal(json_integer_value(at(main, "readinessProbe.tcpSocket.port")), 7465);
    assert_int_equal(json_integer_value(at(main, "readinessProbe.initialDelaySeconds")), 2);
    assert_int_equal(json_integer_value(at(main, "livenessProbe.tcpSocket.port")), 7465);
    assert_null(at(main, "livenessProbe.exec"));
    assert_string_equal(text_at(main, "startupProbe.exec.command.0"), "true");
    json_decref(pod);
    fixture_done(&job);
}

static void test_options_and_config(void **state)
{
    struct render_options options = {
        .namespace = "ml", .image = "mine:1", .gang = RENDER_GANG_NONE};
    struct mpijob job;
    json_t *objects;
    json_t *config;
    json_error_t error;

    (void)state;
    fixture_init(&job, fixture_pi);
    json_object_set_new(job.object, "status", json_object());
    json_object_set_new(json_object_get(job.object, "metadata"), "resourceVersion",
                        json_string("7"));
    json_object_set_new(json_object_get(job.object, "metadata"), "annotations",
                        json_pack("{s:s, s:s}", "kubectl.kubernetes.io/last-applied-configuration",
                                  "x", "reknit.dev/keep", "2"));
    objects = render(&job, &options);
    config = json_loads(text_at(json_array_get(objects, 2), "data.[mpijob.json]"), 0, &error);
    assert_non_null(config);
    assert_int_equal(json_object_size(config), 4);
    assert_true(json_equal(json_object_get(config, "spec"), json_object_get(job.object, "spec")));
    assert_string_equal(text_at(config, "metadata.namespace"), "ml");
    assert_int_equal(json_object_size(at(config, "metadata")), 3);
    assert_int_equal(json_object_size(at(config, "metadata.annotations")), 2);
    assert_string_equal(text_at(config, "metadata.annotations.[reknit.dev/image]"), "mine:1");
    assert_string_equal(text_at(json_array_get(objects, 0), "metadata.namespace"), "ml");
    assert_string_equal(
        text_at(json_array_get(objects, 0), "spec.template.spec.initContainers.0.image"), "mine:1");
    assert_non_null(
        strstr(words_of(at(json_array_get(objects, 0), MAIN ".command")), "--gang none -- mpirun"));
    json_decref(config);
    json_decref(objects);
    job.namespace = "other";
    refuses(&job, &options, "metadata.namespace");
    fixture_done(&job);
}

static void test_gang_volcano(void **state)
{
    struct mpijob job;
    json_t *objects;
    const json_t *group;

    (void)state;
    fixture_init(&job, fixture_pi);
    json_object_set_new((json_t *)at(job.worker.template, "spec"), "schedulerName",
                        json_string("volcano"));
    json_object_set_new((json_t *)at(job.worker.template, "spec"), "priorityClassName",
                        json_string("high"));
    objects = render(&job, &plain);
    group = json_array_get(objects, 3);
    assert_string_equal(text_at(group, "kind"), "PodGroup");
    assert_string_equal(text_at(group, "apiVersion"), "scheduling.volcano.sh/v1beta1");
    assert_int_equal(json_integer_value(at(group, "spec.minMember")), 3);
    assert_string_equal(text_at(group, "spec.priorityClassName"), "high");
    assert_string_equal(text_at(group, "spec.minResources.cpu"), "3");
    assert_string_equal(text_at(group, "spec.minResources.memory"), "3Gi");
    assert_null(at(group, "spec.queue"));
    group = at(json_array_get(objects, 0), "spec.template");
    assert_string_equal(text_at(group, "metadata.annotations.[scheduling.k8s.io/group-name]"),
                        "pi");
    assert_string_equal(text_at(group, "spec.schedulerName"), "volcano");
    assert_string_equal(
        text_at(json_array_get(objects, 4), "metadata.annotations.[scheduling.k8s.io/group-name]"),
        "pi");
    json_decref(objects);
    job.scheduling = (struct mpijob_scheduling){
        .given = true, .min_available = 2, .queue = "q", .priority_class = "low"};
    objects = render(&job, &plain);
    group = json_array_get(objects, 3);
    assert_int_equal(json_integer_value(at(group, "spec.minMember")), 2);
    assert_string_equal(text_at(group, "spec.queue"), "q");
    assert_string_equal(text_at(group, "spec.priorityClassName"), "low");
    assert_string_equal(text_at(group, "spec.minResources.cpu"), "2"); /* one worker less */
    json_decref(objects);
    job.suspend = true;
    objects = render(&job, &plain);
    assert_int_equal(json_array_size(objects), 3);
    json_decref(objects);
    fixture_done(&job);
}

static void test_gang_scheduler_plugins(void **state)
{
    struct render_options options = {.gang = RENDER_GANG_SCHEDULER_PLUGINS};
    struct mpijob job;
    json_t *objects;
    const json_t *group;

    (void)state;
    fixture_init(&job, fixture_pi);
    json_object_set_new((json_t *)at(job.worker.template, "spec.containers.0.resources"),
                        "requests", json_pack("{s:s}", "cpu", "500m"));
    job.scheduling = (struct mpijob_scheduling){
        .given = true, .min_available = 3, .queue = "", .priority_class = "", .timeout_s = 30};
    objects = render(&job, &options);
    group = json_array_get(objects, 3);
    assert_string_equal(text_at(group, "apiVersion"), "scheduling.x-k8s.io/v1alpha1");
    assert_int_equal(json_integer_value(at(group, "spec.scheduleTimeoutSeconds")), 30);
    assert_string_equal(text_at(group, "spec.minResources.cpu"), "2"); /* 1 and twice 500m */
    assert_string_equal(
        text_at(json_array_get(objects, 4), "metadata.labels.[scheduling.x-k8s.io/pod-group]"),
        "pi");
    assert_string_equal(text_at(json_array_get(objects, 4), "spec.schedulerName"),
                        "scheduler-plugins-scheduler");
    assert_non_null(strstr(words_of(at(json_array_get(objects, 0), MAIN ".command")),
                           "--gang scheduler-plugins"));
    json_decref(objects);
    fixture_done(&job);
}

static void test_rbac(void **state)
{
    json_t *objects = NULL;
    size_t index;
    json_t *rule;
    bool gang = false;

    (void)state;
    assert_int_equal(render_rbac("ml", RENDER_GANG_VOLCANO, &objects, NULL), 0);
    assert_int_equal(json_array_size(objects), 3);
    assert_string_equal(text_at(json_array_get(objects, 0), "kind"), "ServiceAccount");
    assert_string_equal(text_at(json_array_get(objects, 2), "subjects.0.namespace"), "ml");
    json_array_foreach(at(json_array_get(objects, 1), "rules"), index, rule)
    {
        const char *verbs = words_of(at(rule, "verbs"));

        assert_null(strchr(verbs, '*'));
        gang = gang || strcmp(text_at(rule, "apiGroups.0"), "scheduling.volcano.sh") == 0;
        if (strcmp(text_at(rule, "resources.0"), "secrets") == 0)
            assert_string_equal(verbs, "get create");
    }
    assert_true(gang);
    json_decref(objects);
}

/* Validation refuses in a template what this folder puts there: the two must name the same. */
static void test_names_are_reserved(void **state)
{
    static const char *const volumes[] = RESERVED_VOLUMES;
    struct mpijob job;
    json_t *objects;
    size_t index;
    json_t *volume;

    (void)state;
    fixture_init(&job, fixture_pi);
    job.settings.checkpoint_claim = "shared";
    objects = render(&job, &plain);
    json_array_foreach(at(json_array_get(objects, 0), "spec.template.spec.volumes"), index, volume)
    {
        bool known = false;

        for (size_t i = 0; i < sizeof volumes / sizeof volumes[0]; i++)
            known = known || strcmp(volumes[i], text_at(volume, "name")) == 0;
        assert_true(known);
    }
    json_array_foreach(at(json_array_get(objects, 0), MAIN ".volumeMounts"), index, volume)
    {
        static const char *const paths[] = RESERVED_PATHS;
        bool known = strcmp(text_at(volume, "name"), "reknit-checkpoints") == 0;

        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
            known = known || strcmp(paths[i], text_at(volume, "mountPath")) == 0;
        assert_true(known);
    }
    json_decref(objects);
    fixture_done(&job);
}

/* ---- memory: each allocation fails once --------------------------------------------------------
 */

static long allocations_left;

static void *some_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void test_out_of_memory(void **state)
{
    struct mpijob job;
    struct render_options options = {.job_uid = "u", .gang = RENDER_GANG_VOLCANO};
    long allowed = 0;
    int rc;

    (void)state;
    fixture_init(&job, fixture_pi);
    do {
        json_t *objects = NULL;

        allocations_left = allowed;
        json_set_alloc_funcs(some_malloc, free);
        rc = render_job(&job, &options, &objects, NULL);
        json_set_alloc_funcs(malloc, free);
        assert_true(rc == 0 || rc == RK_ENOMEM);
        assert_true((objects != NULL) == (rc == 0));
        json_decref(objects);
        allowed += allowed < 2000 ? 1 : 97;
    } while (rc != 0);
    assert_true(allowed > 1000);
    fixture_done(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_and_their_order),
        cmocka_unit_test(test_service),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_run_policy),
        cmocka_unit_test(test_coordinator_pod),
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_launcher_as_worker),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_implementations),
        cmocka_unit_test(test_worker_pod),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_nodes_that_a_pod_keeps_off),
        cmocka_unit_test(test_spares),
        cmocka_unit_test(test_init_container),
        cmocka_unit_test(test_secret_mode),
        cmocka_unit_test(test_place_for_temporary_files),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_template_is_kept),
        cmocka_unit_test(test_worker_commands),
        cmocka_unit_test(test_worker_command_wishes),
        cmocka_unit_test(test_probes),
        cmocka_unit_test(test_options_and_config),
        cmocka_unit_test(test_gang_volcano),
        cmocka_unit_test(test_gang_scheduler_plugins),
        cmocka_unit_test(test_rbac),
        cmocka_unit_test(test_names_are_reserved),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
