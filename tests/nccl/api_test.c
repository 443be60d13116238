/* What is said of libraries that are missing, too old, broken, and of a machine without a GPU. */
#include "collectives/nccl/comm.h"
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *folder;

static int open_pair(const char *nccl, const char *cuda, struct api *api, struct rk_why *why)
{
    char nccl_path[512];
    char cuda_path[512];

    snprintf(nccl_path, sizeof nccl_path, "%s/lib%s.so", folder, nccl);
    snprintf(cuda_path, sizeof cuda_path, "%s/lib%s.so", folder, cuda);
    return api_open(nccl_path, cuda_path, api, why);
}

static void says(const struct rk_why *why, const char *words)
{
    if (strstr(why->text, words) == NULL)
        fail_msg("'%s' does not say '%s'", why->text, words);
}

static void the_double_has_all(void **state)
{
    struct api api;
    struct rk_why why;

    (void)state;
    assert_int_equal(open_pair("nccl-double", "cudart-double", &api, &why), 0);
    assert_int_equal(api.version, 22809);
    assert_non_null(api.revoke);
    assert_non_null(api.shrink);
}

static void older_ones_lack_what_came_later(void **state)
{
    struct api api;
    struct rk_why why;

    (void)state;
    assert_int_equal(open_pair("nccl-double-no-revoke", "cudart-double", &api, &why), 0);
    assert_null(api.revoke);
    assert_non_null(api.shrink);
    assert_int_equal(open_pair("nccl-double-no-shrink", "cudart-double", &api, &why), 0);
    assert_null(api.revoke);
    assert_null(api.shrink);
}

static void what_is_missing_is_named(void **state)
{
    char path[512];
    struct api api;
    struct rk_why why;

    (void)state;
    assert_int_equal(open_pair("nccl-nowhere", "cudart-double", &api, &why), RK_EUNAVAILABLE);
    says(&why, "nccl-nowhere");
    says(&why, "LD_LIBRARY_PATH");
    assert_int_equal(open_pair("nccl-double", "cudart-nowhere", &api, &why), RK_EUNAVAILABLE);
    says(&why, "the CUDA runtime cannot be loaded");
    assert_int_equal(open_pair("nccl-double-lacking", "cudart-double", &api, &why),
                     RK_EUNAVAILABLE);
    says(&why, "ncclAllReduce");
    snprintf(path, sizeof path, "%s/libnccl-double.so", folder);
    assert_int_equal(api_open(path, "libm.so.6", &api, &why), RK_EUNAVAILABLE);
    says(&why, "the CUDA runtime that was loaded has no cudaSetDevice");
}

static void what_is_too_old_is_named(void **state)
{
    struct api api;
    struct rk_why why;

    (void)state;
    assert_int_equal(open_pair("nccl-double-too-old", "cudart-double", &api, &why), RK_EVERSION);
    says(&why, "21210");
    says(&why, "21800");
}

static void no_gpu_is_told_with_what_to_do(void **state)
{
    _Atomic uint64_t word = 1;
    struct api api;
    struct comm_options options = {
        .api = &api, .device = 0, .word = &word, .form_limit = 10 * RK_S, .call_limit = 10 * RK_S};
    struct comm *comm = NULL;
    struct rk_why why;

    (void)state;
    assert_int_equal(open_pair("nccl-double", "cudart-double", &api, &why), 0);
    setenv("CUDA_DOUBLE_FAIL", "cudaSetDevice", 1);
    assert_int_equal(comm_new(&options, &comm, &why), RK_EUNAVAILABLE);
    says(&why, "GPU 0: cudaSetDevice: no CUDA-capable device is detected (cudaErrorNoDevice)");
    says(&why, "nvidia-smi -L");
    setenv("CUDA_DOUBLE_FAIL", "cudaStreamCreateWithFlags", 1);
    assert_int_equal(comm_new(&options, &comm, &why), RK_EUNAVAILABLE);
    says(&why, "cudaStreamCreateWithFlags");
    unsetenv("CUDA_DOUBLE_FAIL");
    assert_null(comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_double_has_all),
        cmocka_unit_test(older_ones_lack_what_came_later),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_is_too_old_is_named),
        cmocka_unit_test(no_gpu_is_told_with_what_to_do),
    };

    folder = argc > 1 ? argv[1] : ".";
    return cmocka_run_group_tests_name("nccl_api", tests, NULL, NULL);
}
