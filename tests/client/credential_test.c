/* Tokens and certificates that change on disk, and what exec plugins print. */
#include "k8s/client/credential.h"
#include "tests/client/config_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_up(void **state)
{
    *state = (void *)(uintptr_t)folder_init();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_done();
    return 0;
}

struct scene {
    struct api_config config;
    struct draw draw;
    struct credential credential;
};

static void scene_init(struct scene *scene)
{
    memset(scene, 0, sizeof *scene);
    scene->config.origin = strdup("here");
    scene->config.token_file = strdup(folder_path("token"));
    scene->config.ca.path = strdup(folder_path("ca"));
    folder_write("token", "one\n");
    folder_write("ca", "ca one");
    credential_init(&scene->credential, &scene->config, NULL, &scene->draw, NULL, NULL);
}

static void scene_done(struct scene *scene)
{
    credential_done(&scene->credential);
    api_config_done(&scene->config);
}

static void prepare(struct scene *scene, uint64_t now, const char *token, const char *ca)
{
    struct rk_why why = {""};

    if (credential_prepare(&scene->credential, now, 0, &why) != 0)
        fail_msg("%s", why.text);
    assert_string_equal(scene->credential.token, token);
    assert_string_equal(scene->credential.ca.data, ca);
}

static void test_files_are_read_once_a_minute(void **state)
{
    struct scene scene;
    uint64_t version;

    (void)state;
    scene_init(&scene);
    prepare(&scene, RK_S, "one", "ca one");
    version = scene.credential.version;
    folder_write("token", "two");
    folder_write("ca", "ca two");
    prepare(&scene, 50 * RK_S, "one", "ca one");
    assert_int_equal(scene.credential.version, version);
    prepare(&scene, 51 * RK_S, "two", "ca two");
    assert_int_not_equal(scene.credential.version, version);
    version = scene.credential.version;
    prepare(&scene, 200 * RK_S, "two", "ca two");
    assert_int_equal(scene.credential.version, version);
    scene_done(&scene);
}

static void test_refused_tokens_are_read_at_once(void **state)
{
    struct scene scene;
    uint64_t version;

    (void)state;
    scene_init(&scene);
    prepare(&scene, RK_S, "one", "ca one");
    version = scene.credential.version;
    folder_write("token", "two");
    assert_true(credential_refused(&scene.credential, version));
    prepare(&scene, RK_S, "two", "ca one");
    /* Another request was sent with the old one: nothing needs to be read. */
    folder_write("token", "three");
    assert_true(credential_refused(&scene.credential, version));
    prepare(&scene, RK_S, "two", "ca one");
    scene_done(&scene);
}

static void test_distrust_reads_the_authority(void **state)
{
    struct scene scene;

    (void)state;
    scene_init(&scene);
    prepare(&scene, RK_S, "one", "ca one");
    folder_write("ca", "ca two");
    credential_distrust(&scene.credential);
    prepare(&scene, RK_S, "one", "ca two");
    scene_done(&scene);
}

static void test_what_is_held_outlives_a_file(void **state)
{
    struct scene scene;
    struct rk_why why = {""};

    (void)state;
    scene_init(&scene);
    prepare(&scene, RK_S, "one", "ca one");
    folder_remove("token");
    prepare(&scene, 60 * RK_S, "one", "ca one");
    folder_write("token", "two");
    prepare(&scene, 69 * RK_S, "one", "ca one");
    prepare(&scene, 70 * RK_S, "two", "ca one");
    scene_done(&scene);
    scene_init(&scene);
    folder_remove("token");
    assert_int_equal(credential_prepare(&scene.credential, RK_S, 0, &why), RK_ENOENT);
    assert_non_null(strstr(why.text, "/token cannot be read"));
    folder_write("token", " \n");
    assert_int_equal(credential_prepare(&scene.credential, RK_S, 0, &why), RK_EDATA);
    folder_write("token", "a\r\nEvil: header");
    assert_int_equal(credential_prepare(&scene.credential, RK_S, 0, &why), RK_EDATA);
    scene_done(&scene);
}

static void test_fixed_tokens_stay(void **state)
{
    struct scene scene;
    uint64_t version;

    (void)state;
    scene_init(&scene);
    free(scene.config.token_file);
    scene.config.token_file = NULL;
    scene.config.token = strdup("fixed");
    prepare(&scene, RK_S, "fixed", "ca one");
    version = scene.credential.version;
    assert_false(credential_refused(&scene.credential, version));
    scene_done(&scene);
}

static void plugin_refuses(const char *text, const char *part)
{
    struct plugin_answer answer;
    struct rk_why why = {""};

    if (plugin_parse(text, strlen(text), "client.authentication.k8s.io/v1", &answer, &why) !=
            RK_EDATA ||
        strstr(why.text, part) == NULL)
        fail_msg("'%s' instead of '%s'", why.text, part);
}

#define HEAD "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\""

static void test_plugin_answers(void **state)
{
    static const char text[] = HEAD ",\"status\":{\"token\":\"t\",\"expirationTimestamp\":"
                                    "\"2026-01-01T00:00:00Z\"}}";
    struct plugin_answer answer;

    (void)state;
    assert_int_equal(
        plugin_parse(text, sizeof text - 1, "client.authentication.k8s.io/v1", &answer, NULL), 0);
    assert_string_equal(answer.token, "t");
    assert_true(answer.expires == UINT64_C(1767225600) * RK_S);
    plugin_answer_done(&answer);
    plugin_refuses("", "did not print an ExecCredential");
    plugin_refuses("{}", "did not print an ExecCredential");
    plugin_refuses("{\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"kind\":"
                   "\"ExecCredential\"}",
                   "apiVersion 'client.authentication.k8s.io/v1beta1', wanted");
    plugin_refuses(HEAD "}", "neither token nor");
    plugin_refuses(HEAD ",\"status\":{\"clientKeyData\":\"k\"}}", "neither token nor");
    plugin_refuses(HEAD ",\"status\":{\"clientCertificateData\":\"c\"}}", "or neither");
    plugin_refuses(HEAD ",\"status\":{\"token\":\"a b\"}}", "characters that no token has");
    plugin_refuses(HEAD ",\"status\":{\"token\":\"a\",\"expirationTimestamp\":\"soon\"}}",
                   "'soon' is no time");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_are_read_once_a_minute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_tokens_are_read_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_distrust_reads_the_authority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_held_outlives_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fixed_tokens_stay, set_up, tear_down),
        cmocka_unit_test(test_plugin_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
