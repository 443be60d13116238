/* Every allocation fails once: each time the reader says that memory was short, and nothing leaks
 * (the sanitized build watches) or is taken for read. */
#include "common/error.h"
#include "k8s/manifest/mpijob_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* The linker puts these in the place of the C library's in our own code; JSON gets them by its
 * hooks. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static uint64_t until_failure = UINT64_MAX; /* allocations that succeed before one fails */
static bool failed;

static bool fails(void)
{
    if (until_failure == 0)
        failed = true;
    return until_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

static void walk(const char *text, size_t errors, size_t warnings)
{
    for (uint64_t n = 0;; n++) {
        struct mpijob_file *file = NULL;
        struct faults faults;
        struct rk_why why = {""};
        int rc;

        faults_init(&faults);
        failed = false;
        until_failure = n;
        rc = mpijob_file_read(text, strlen(text), &faults, &file, &why);
        until_failure = UINT64_MAX;
        /* JSON's own parser, which reads reknit.dev/program, cannot always tell. */
        if (failed && rc == 0 && faults.errors == errors)
            fail_msg("allocation %llu failed unseen", (unsigned long long)n);
        if (rc != 0) {
            assert_int_equal(rc, RK_ENOMEM);
            assert_non_null(strstr(why.text, "memory"));
        } else if (!failed) {
            assert_int_equal(faults.errors, errors);
            assert_int_equal(faults.warnings, warnings);
        }
        if (rc == 0)
            mpijob_file_free(file);
        faults_done(&faults);
        if (!failed)
            return;
    }
}

static void test_right_job(void **state)
{
    (void)state;
    walk("apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\n"
         "metadata: {name: a, annotations: {reknit.dev/program: '[\"a\"]'}}\nspec:\n"
         "  mpiReplicaSpecs:\n    Launcher: &x {template: {spec: {containers: [{name: c,\n"
         "      image: i, ports: [{name: p, containerPort: 1}]}], volumes: [{name: v}]}}}\n"
         "    Worker: {<<: *x, replicas: 2}\n",
         0, 0);
}

static void test_wrong_job(void **state)
{
    (void)state;
    walk("apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\n"
         "metadata: {name: a, annotations: {reknit.dev/program: a b, reknit.dev/x: ''}}\nspec:\n"
         "  slots: 1\n  slots: 2\n  mpiReplicaSpecs:\n    Launcher: {}\n---\n[\n",
         5, 1);
}

static void test_json(void **state)
{
    (void)state;
    walk(
        "{\"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"\\ud83d\\ude00\"}]}",
        0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_job),
        cmocka_unit_test(test_wrong_job),
        cmocka_unit_test(test_json),
    };

    json_set_alloc_funcs(__wrap_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
