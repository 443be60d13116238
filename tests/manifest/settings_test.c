/* The annotations' words for times and intervals are those of reknit's command line. */
#include "common/error.h"
#include "k8s/manifest/mpijob_file.h"
#include "launch/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool run_takes(const char *option, const char *value)
{
    char word[128];
    char name[] = "run";
    char program[] = "true";
    char *argv[] = {name, word, program, NULL};
    struct run_options options;
    int rc;

    snprintf(word, sizeof word, "--%s=%s", option, value);
    rc = run_options_parse(3, argv, &options, NULL);
    run_options_done(&options);
    return rc == 0;
}

static bool annotation_takes(const char *name, const char *value)
{
    static const char *const pod = "template: {spec: {containers: [{name: c, image: i}]}}";
    char text[1024];
    struct mpijob_file *file;
    struct faults faults;
    bool good;

    snprintf(text, sizeof text,
             "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata:\n  name: a\n"
             "  annotations: {reknit.dev/%s: '%s'}\nspec:\n  mpiReplicaSpecs:\n"
             "    Launcher: {%s}\n    Worker: {replicas: 1, %s}\n",
             name, value, pod, pod);
    faults_init(&faults);
    assert_int_equal(mpijob_file_read(text, strlen(text), &faults, &file, NULL), 0);
    good = faults.errors == 0;
    mpijob_file_free(file);
    faults_done(&faults);
    return good;
}

static void test_same_words(void **state)
{
    static const struct {
        const char *name;
        const char *values[24];
    } rows[] = {
        {"checkpoint-interval",
         {"auto",
          "off",
          "30s",
          "1.5min",
          "2h",
          "10ms",
          "9ms",
          "100steps",
          "1step",
          "0steps",
          "steps",
          "100 steps",
          "4294967295steps",
          "4294967296steps",
          "often",
          "30",
          "-1s",
          ".5s",
          "5.s",
          ".s",
          "9000h",
          "1d"}},
        {"gather", {"0s", "30s", "24h", "25h", "5", "1.5.5s", "5sec", "5m", "5us", "5ns", "x"}},
        {"stall-timeout", {"1s", "0s", "999ms", "1.5s", "24h", "25h", "5", "never"}},
        {"keep", {"1", "0", "1000", "1001", "+1", "1.0", "x", "01"}},
        {"backend", {"auto", "mpi", "nccl", "none", "gloo", "MPI"}},
        {"reduction", {"exact", "fast", "Exact"}},
        {"max-restarts", {"0", "1000000", "1000001", "-1"}},
        {"shards", {"8", "16", "12", "1024", "2048"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (const char *const *value = rows[i].values; *value != NULL; value++)
            if (run_takes(rows[i].name, *value) != annotation_takes(rows[i].name, *value))
                fail_msg("%s '%s': the command line and the annotation disagree", rows[i].name,
                         *value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
