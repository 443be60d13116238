/* From a text to a struct mpijob: fields, defaults, annotations, and what is said about wrong ones.
 */
#include "common/error.h"
#include "k8s/manifest/job_schema.h"
#include "k8s/manifest/mpijob_file.h"
#include "k8s/manifest/settings.h"
#include "k8s/manifest/syntax.h"
#include "k8s/manifest/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEMPLATE "template: {spec: {containers: [{name: c, image: i}]}}"
#define HEAD(name) "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata: {name: " name "}\n"
#define PODS                                             \
    "  mpiReplicaSpecs:\n    Launcher: {" TEMPLATE "}\n" \
    "    Worker: {replicas: 3, " TEMPLATE "}\n"

struct reading {
    struct mpijob_file *file;
    struct faults faults;
};

static void begin(struct reading *reading, const char *text)
{
    struct rk_why why;

    faults_init(&reading->faults);
    assert_int_equal(mpijob_file_read(text, strlen(text), &reading->faults, &reading->file, &why),
                     0);
}

static void end(struct reading *reading)
{
    mpijob_file_free(reading->file);
    faults_done(&reading->faults);
}

/* The only job of a text without faults. */
static const struct mpijob *begin_job(struct reading *reading, const char *text)
{
    begin(reading, text);
    if (reading->faults.count > 0)
        fail_msg("%s: %s", reading->faults.fault[0].path, reading->faults.fault[0].sentence);
    assert_int_equal(reading->file->count, 1);
    assert_non_null(reading->file->document[0].job);
    return reading->file->document[0].job;
}

static void test_defaults(void **state)
{
    struct reading reading;
    const struct mpijob *job = begin_job(&reading, HEAD("a") "spec:\n" PODS);
    const struct mpijob_settings *s = &job->settings;

    (void)state;
    assert_string_equal(job->name, "a");
    assert_null(job->namespace);
    assert_int_equal(job->implementation, MPIJOB_OPENMPI);
    assert_int_equal(job->slots, 1);
    assert_false(job->launcher_is_worker);
    assert_int_equal(job->creation, MPIJOB_AT_STARTUP);
    assert_string_equal(job->ssh_path, "/root"
                                       "/.ssh");
    assert_int_equal(job->launcher.replicas, 1);
    assert_int_equal(job->launcher.restart, MPIJOB_ON_FAILURE);
    assert_non_null(job->launcher.template);
    assert_int_equal(job->worker.replicas, 3);
    assert_int_equal(job->worker.restart, MPIJOB_NEVER);
    assert_int_equal(job->clean, MPIJOB_CLEAN_NONE);
    assert_int_equal(job->ttl_s, MPIJOB_UNSET);
    assert_int_equal(job->deadline_s, MPIJOB_UNSET);
    assert_int_equal(job->backoff_limit, MPIJOB_UNSET);
    assert_false(job->suspend);
    assert_null(job->managed_by);
    assert_false(job->scheduling.given);
    assert_int_equal(job->scheduling.min_available, 4);
    assert_int_equal(s->min_workers, 1);
    assert_int_equal(s->max_workers, 3);
    assert_null(s->program);
    assert_string_equal(s->checkpoint_interval, "auto");
    assert_int_equal(s->keep, 3);
    assert_string_equal(s->backend, "auto");
    assert_string_equal(s->reduction, "exact");
    assert_int_equal(s->shards, 0);
    assert_int_equal(s->max_restarts, 100);
    assert_int_equal(s->gather_ns, 0);
    assert_int_equal(s->port, 7465);
    assert_string_equal(s->cluster_domain, "cluster.local");
    assert_int_equal(s->worker_command, MPIJOB_WORKER_AUTO);
    end(&reading);
}

/* What the controller would have filled in stands in the object. */
static void test_defaults_in_the_object(void **state)
{
    struct reading reading;
    const struct mpijob *job =
        begin_job(&reading, HEAD("a") "spec:\n  slotsPerWorker:\n  runPolicy: {}\n" PODS);
    json_t *spec = json_object_get(job->object, "spec");
    json_t *types = json_object_get(spec, "mpiReplicaSpecs");
    char *text;

    (void)state;
    json_object_del(json_object_get(types, "Launcher"), "template");
    json_object_del(json_object_get(types, "Worker"), "template");
    text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(
        text, "{\"launcherCreationPolicy\":\"AtStartup\",\"mpiImplementation\":\"OpenMPI\","
              "\"mpiReplicaSpecs\":{\"Launcher\":{\"replicas\":1,\"restartPolicy\":\"OnFailure\"},"
              "\"Worker\":{\"replicas\":3,\"restartPolicy\":\"Never\"}},"
              "\"runLauncherAsWorker\":false,"
              "\"runPolicy\":{\"cleanPodPolicy\":\"None\",\"suspend\":false},"
              "\"slotsPerWorker\":1,\"sshAuthMountPath\":\"/root"
              "/.ssh\"}");
    free(text);
    end(&reading);
}

static void test_fields(void **state)
{
    struct reading reading;
    const struct mpijob *job = begin_job(
        &reading, "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata: {name: b, namespace: "
                  "lab}\nspec:\n"
                  "  slotsPerWorker: 0\n  runLauncherAsWorker: yes\n  sshAuthMountPath: /keys\n"
                  "  launcherCreationPolicy: WaitForWorkersReady\n  mpiImplementation: MPICH\n"
                  "  runPolicy:\n    cleanPodPolicy: All\n    ttlSecondsAfterFinished: 0\n"
                  "    activeDeadlineSeconds: 10000000000\n    backoffLimit: 2\n    suspend: true\n"
                  "    managedBy: kueue.x-k8s.io/multikueue\n"
                  "    schedulingPolicy: {minAvailable: 2, queue: q, priorityClass: p,\n"
                  "      scheduleTimeoutSeconds: 9, minResources: {cpu: 1}}\n"
                  "  mpiReplicaSpecs:\n    Launcher: {restartPolicy: Never, " TEMPLATE "}\n"
                  "    Worker: {replicas: 2, restartPolicy: OnFailure, " TEMPLATE "}\n");

    (void)state;
    assert_string_equal(job->namespace, "lab");
    assert_int_equal(job->slots, 1);
    assert_true(job->launcher_is_worker);
    assert_string_equal(job->ssh_path, "/keys");
    assert_int_equal(job->creation, MPIJOB_WAIT_FOR_WORKERS_READY);
    assert_int_equal(job->implementation, MPIJOB_MPICH);
    assert_int_equal(job->clean, MPIJOB_CLEAN_ALL);
    assert_int_equal(job->ttl_s, 0);
    assert_true(job->deadline_s == INT64_C(10000000000));
    assert_int_equal(job->backoff_limit, 2);
    assert_true(job->suspend);
    assert_string_equal(job->managed_by, "kueue.x-k8s.io/multikueue");
    assert_true(job->scheduling.given);
    assert_int_equal(job->scheduling.min_available, 2);
    assert_string_equal(job->scheduling.queue, "q");
    assert_string_equal(job->scheduling.priority_class, "p");
    assert_int_equal(job->scheduling.timeout_s, 9);
    assert_non_null(job->scheduling.min_resources);
    assert_int_equal(job->launcher.restart, MPIJOB_NEVER);
    assert_int_equal(job->worker.restart, MPIJOB_ON_FAILURE);
    end(&reading);
}

static void test_unknown_fields_are_kept(void **state)
{
    struct reading reading;
    const struct mpijob *job;

    (void)state;
    begin(&reading, HEAD("a") "spec:\n  newField: {x: 1}\n" PODS);
    assert_int_equal(reading.faults.errors, 0);
    assert_int_equal(reading.faults.warnings, 1);
    assert_string_equal(reading.faults.fault[0].path, "spec.newField");
    job = reading.file->document[0].job;
    assert_non_null(json_object_get(json_object_get(job->object, "spec"), "newField"));
    end(&reading);
}

static void test_seven_faults(void **state)
{
    static const char *const paths[] = {
        "spec.slotsPerWorker",
        "spec.launcherCreationPolicy",
        "spec.runPolicy.cleanPodPolicy",
        "spec.runPolicy.managedBy",
        "spec.mpiReplicaSpecs.Launcher.replicas",
        "spec.mpiReplicaSpecs.Launcher.restartPolicy",
        "spec.mpiReplicaSpecs.Extra",
    };
    struct reading reading;

    (void)state;
    begin(&reading, HEAD("a") "spec:\n  slotsPerWorker: -4\n  launcherCreationPolicy: Bogus\n"
                              "  runPolicy:\n    cleanPodPolicy: Nope\n    managedBy: x/y\n"
                              "  mpiReplicaSpecs:\n    Launcher:\n      replicas: 3\n"
                              "      restartPolicy: Sometimes\n      " TEMPLATE "\n"
                              "    Worker: {replicas: 1, " TEMPLATE "}\n    Extra: {}\n");
    assert_int_equal(reading.faults.errors, 7);
    assert_null(reading.file->document[0].job);
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(reading.faults.fault[i].path, paths[i]);
    assert_int_equal(reading.faults.fault[0].at.line, 5);
    assert_int_equal(reading.faults.fault[0].at.column, 19);
    end(&reading);
}

static void test_spares(void **state)
{
    struct reading reading;
    const struct mpijob *job = begin_job(
        &reading,
        "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata:\n  name: a\n  annotations:\n"
        "    reknit.dev/spares: '2'\nspec:\n" PODS);

    (void)state;
    assert_int_equal(job->settings.spares, 2);
    end(&reading);
    begin(&reading,
          "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata:\n  name: a\n  annotations:\n"
          "    reknit.dev/spares: '2'\n    reknit.dev/program: train\nspec:\n" PODS);
    assert_int_equal(reading.faults.errors, 0);
    end(&reading);
}

static void test_annotations(void **state)
{
    struct reading reading;
    const struct mpijob *job = begin_job(
        &reading,
        "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata:\n  name: a\n  annotations:\n"
        "    other: x\n"
        "    reknit.dev/min-workers: '2'\n    reknit.dev/max-workers: '8'\n"
        "    reknit.dev/program: train --text 'two words' \"a b\" c\\ d ''\n"
        "    reknit.dev/checkpoint-dir: /ck\n    reknit.dev/checkpoint-claim: my.claim\n"
        "    reknit.dev/checkpoint-interval: 50steps\n    reknit.dev/keep: '7'\n"
        "    reknit.dev/backend: none\n    reknit.dev/reduction: fast\n"
        "    reknit.dev/shards: '64'\n    reknit.dev/max-restarts: '0'\n"
        "    reknit.dev/gather: 1.5s\n    reknit.dev/image: r/i:1\n"
        "    reknit.dev/port: '99'\n    reknit.dev/cluster-domain: my.net\n"
        "    reknit.dev/worker-command: wrap\nspec:\n" PODS);
    const struct mpijob_settings *s = &job->settings;
    char *program = json_dumps(s->program, JSON_COMPACT);

    (void)state;
    assert_int_equal(s->min_workers, 2);
    assert_int_equal(s->max_workers, 8);
    assert_string_equal(program, "[\"train\",\"--text\",\"two words\",\"a b\",\"c d\",\"\"]");
    assert_string_equal(s->checkpoint_dir, "/ck");
    assert_string_equal(s->checkpoint_claim, "my.claim");
    assert_string_equal(s->checkpoint_interval, "50steps");
    assert_int_equal(s->keep, 7);
    assert_string_equal(s->backend, "none");
    assert_string_equal(s->reduction, "fast");
    assert_int_equal(s->shards, 64);
    assert_int_equal(s->max_restarts, 0);
    assert_int_equal(s->spares, 0);
    assert_true(s->gather_ns == UINT64_C(1500000000));
    assert_string_equal(s->image, "r/i:1");
    assert_int_equal(s->port, 99);
    assert_string_equal(s->cluster_domain, "my.net");
    assert_int_equal(s->worker_command, MPIJOB_WORKER_WRAP);
    free(program);
    end(&reading);
}

static void test_split(void **state)
{
    static const struct {
        const char *line, *json; /* NULL: refused */
    } rows[] = {
        {"", "[]"},
        {"  a\tb  \n c ", "[\"a\",\"b\",\"c\"]"},
        {"a'b'\"c\"d", "[\"abcd\"]"},
        {"'a \" $x'", "[\"a \\\" $x\"]"},
        {"\"a ' \\\" \\$ \\n\"", "[\"a ' \\\" $ \\\\n\"]"},
        {"\\$a \\\\ \\ ", "[\"$a\",\"\\\\\",\" \"]"},
        {"--x=y:z,1 {a} ^b !c", "[\"--x=y:z,1\",\"{a}\",\"^b\",\"!c\"]"},
        {"a > b", NULL},
        {"$HOME", NULL},
        {"a;b", NULL},
        {"*.txt", NULL},
        {"\"$x\"", NULL},
        {"'a", NULL},
        {"\"a", NULL},
        {"a\\", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rk_why why = {""};
        json_t *words = NULL;
        int rc = word_split(rows[i].line, &words, &why);
        char *text = rc == 0 ? json_dumps(words, JSON_COMPACT) : NULL;

        if ((rows[i].json == NULL) != (rc != 0) || (rc == 0 && strcmp(text, rows[i].json) != 0))
            fail_msg("'%s' is %s (%s)", rows[i].line, text != NULL ? text : "refused", why.text);
        free(text);
        if (rc == 0)
            json_decref(words);
    }
}

/* NAME-worker-<i>-<n>, n of five digits, has 63 characters at most. */
static void test_length_of_names(void **state)
{
    static const struct {
        unsigned length, workers;
        const char *part; /* NULL: fits */
    } rows[] = {
        {48, 10, NULL}, {49, 10, "1 characters too long"}, {48, 11, "1 characters too long"},
        {47, 11, NULL}, {63, 1, "15 characters too long"}, {70, 1000, "24 characters too long"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[80];
        char text[1024];
        struct reading reading;

        memset(name, 'a', sizeof name);
        name[rows[i].length] = '\0';
        snprintf(text, sizeof text,
                 "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata: {name: %s}\nspec:\n"
                 "  mpiReplicaSpecs:\n    Launcher: {" TEMPLATE "}\n"
                 "    Worker: {replicas: %u, " TEMPLATE "}\n",
                 name, rows[i].workers);
        begin(&reading, text);
        if (rows[i].part == NULL
                ? reading.faults.errors != 0
                : reading.faults.errors != 1 ||
                      strstr(reading.faults.fault[0].sentence, rows[i].part) == NULL)
            fail_msg("%u characters, %u workers: %s", rows[i].length, rows[i].workers,
                     reading.faults.count > 0 ? reading.faults.fault[0].sentence : "no fault");
        end(&reading);
    }
}

/* An object of the API server stays as it is, and its faults have no places. */
static void test_object_of_a_server(void **state)
{
    json_t *object = json_loads(
        "{\"apiVersion\":\"kubeflow.org/v2beta1\",\"kind\":\"MPIJob\",\"metadata\":{\"name\":\"a\","
        "\"uid\":\"u\",\"generation\":1},\"spec\":{\"runLauncherAsWorker\":true,"
        "\"mpiReplicaSpecs\":{\"Launcher\":{\"template\":{\"spec\":{\"containers\":[{\"name\":"
        "\"c\",\"image\":\"i\"}]}}}}},\"status\":{\"conditions\":[]}}",
        0, NULL);
    char *before = json_dumps(object, 0);
    struct faults faults;
    struct mpijob *job;
    char *after;

    (void)state;
    faults_init(&faults);
    assert_int_equal(mpijob_of(object, &faults, &job, NULL), 0);
    assert_int_equal(faults.count, 0);
    assert_string_equal(job->name, "a");
    assert_int_equal(job->worker.replicas, 0);
    assert_int_equal(job->settings.max_workers, 0);
    after = json_dumps(object, 0);
    assert_string_equal(before, after);
    mpijob_free(job);
    json_object_set_new(json_object_get(object, "spec"), "slotsPerWorker", json_string("x"));
    assert_int_equal(mpijob_of(object, &faults, &job, NULL), 0);
    assert_null(job);
    assert_int_equal(faults.errors, 1);
    assert_int_equal(faults.fault[0].at.line, 0);
    faults_done(&faults);
    free(before);
    free(after);
    json_decref(object);
}

static void test_other_documents(void **state)
{
    struct reading reading;

    (void)state;
    begin(&reading,
          "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab}\n---\n" HEAD(
              "a") "spec:\n" PODS
                   "---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service}\n");
    assert_int_equal(reading.faults.count, 0);
    assert_int_equal(reading.file->count, 3);
    assert_int_equal(reading.file->jobs, 1);
    assert_string_equal(reading.file->document[0].kind, "Namespace");
    assert_string_equal(reading.file->document[0].name, "lab");
    assert_null(reading.file->document[0].job);
    assert_non_null(reading.file->document[1].job);
    assert_int_equal(reading.file->document[1].at.line, 5);
    assert_string_equal(reading.file->document[2].kind, "Service");
    assert_string_equal(reading.file->document[2].name, "");
    end(&reading);
}

static void test_faults_are_bounded(void **state)
{
    static char text[200000];
    struct reading reading;
    size_t used = (size_t)snprintf(text, sizeof text, HEAD("a") "spec:\n" PODS);

    (void)state;
    for (unsigned i = 0; i < 3 * FAULTS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "  wrong%u: 1\n", i);
    begin(&reading, text);
    assert_int_equal(reading.faults.count, FAULTS_MAX);
    assert_int_equal(reading.faults.warnings, 3 * FAULTS_MAX);
    end(&reading);
}

/* Parts that are missing or not what they should be must not be looked into. */
static void test_broken_objects(void **state)
{
    static const char *const texts[] = {
        "metadata: {annotations: {reknit.dev/program: x, reknit.dev/max-workers: '9000'}}",
        "metadata: {name: a, annotations: [x]}\nspec: []",
        "metadata: x\nspec: {runPolicy: x, mpiReplicaSpecs: x}",
        "metadata: {name: 1}\nspec: {mpiReplicaSpecs: {Launcher: x, Worker: [x]}}",
        "metadata: {name: a}\nspec: {mpiReplicaSpecs: {Worker: {template: {spec: {containers: "
        "x}}}}}",
        "spec: {mpiReplicaSpecs: {Worker: {replicas: 1, template: {spec: {containers: [x, [y]],"
        " volumes: {a: b}, initContainers: {name: {name: a}}}}}}}",
        "spec: {mpiReplicaSpecs: {Launcher: {template: {spec: {containers: [{ports: {a: {name: b}},"
        " env: [{valueFrom: x}], volumeMounts: x}]}}}}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char text[1024];
        struct reading reading;

        snprintf(text, sizeof text, "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\n%s\n",
                 texts[i]);
        begin(&reading, text);
        assert_true(reading.faults.errors > 0);
        assert_null(reading.file->document[0].job);
        end(&reading);
    }
}

static void test_syntax(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } quantities[] = {
        {"1", true},    {"1.5", true},  {".5", true},  {"5.", true},  {"500m", true}, {"1Gi", true},
        {"1e3", true},  {"1E-3", true}, {"2E", true},  {"+1", true},  {"", false},    {".", false},
        {"1 G", false}, {"1gi", false}, {"1K", false}, {"e3", false}, {"1e", false},  {"m", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof quantities / sizeof quantities[0]; i++) {
        json_t *value = json_string(quantities[i].text);

        if (syntax_quantity(value) != quantities[i].good)
            fail_msg("'%s'", quantities[i].text);
        json_decref(value);
    }
    assert_true(syntax_label_key("a.b/c_D"));
    assert_false(syntax_label_key("/c"));
    assert_false(syntax_label_key("a/b/c"));
    assert_false(syntax_label_key("-a"));
    assert_true(syntax_dns_name("a.b-c.9"));
    assert_false(syntax_dns_name("a..b"));
    assert_false(syntax_service_start("9a"));
    assert_true(syntax_dns_label("9a"));
}

static char *table_of(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    print(out);
    fclose(out);
    return text;
}

static void stands_in(const char *root, const char *name, void (*print)(FILE *out))
{
    static char page[65536];
    char path[4096];
    char *table = table_of(print);
    size_t size;
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", root, name);
    file = fopen(path, "re");
    assert_non_null(file);
    size = fread(page, 1, sizeof page - 1, file);
    page[size] = '\0';
    fclose(file);
    if (strstr(page, table) == NULL)
        fail_msg("%s does not have this table; put it there:\n%s", path, table);
    free(table);
}

/* The pages say what the tables in the code say. */
static void test_pages(void **state)
{
    const char *root = *state;

    stands_in(root, "k8s/README.md", settings_print);
    stands_in(root, "k8s/manifest/README.md", job_schema_print);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_defaults_in_the_object),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_unknown_fields_are_kept),
        cmocka_unit_test(test_seven_faults),
        cmocka_unit_test(test_spares),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_length_of_names),
        cmocka_unit_test(test_object_of_a_server),
        cmocka_unit_test(test_other_documents),
        cmocka_unit_test(test_faults_are_bounded),
        cmocka_unit_test(test_broken_objects),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test_prestate(test_pages, argc > 1 ? argv[1] : "."),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
