/* Where the cluster is: pods and kubeconfigs, and what is said about wrong ones. */
#include "k8s/client/config.h"
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

static void pod_is(const char *host, const char *port, const char *server)
{
    struct api_config config;
    struct rk_why why = {""};

    if (api_config_in_cluster(host, port, folder_path("."), &config, &why) != 0)
        fail_msg("%s", why.text);
    assert_string_equal(config.server, server);
    assert_string_equal(config.namespace, "team-a");
    assert_non_null(strstr(config.token_file, "/token"));
    assert_non_null(strstr(config.ca.path, "/ca.crt"));
    api_config_done(&config);
}

static void pod_refuses(const char *host, const char *port, int code, const char *part)
{
    struct api_config config;
    struct rk_why why = {""};
    int rc = api_config_in_cluster(host, port, folder_path("."), &config, &why);

    if (rc != code || strstr(why.text, part) == NULL)
        fail_msg("%d, '%s' instead of %d, '%s'", rc, why.text, code, part);
}

static void test_pod(void **state)
{
    (void)state;
    folder_write("namespace", "team-a\n");
    pod_is("10.96.0.1", "443", "https://10.96.0.1:443");
    pod_is("fd00::1", "6443", "https://[fd00::1]:6443");
    pod_refuses(NULL, "443", RK_ENOENT, "this is no pod");
    pod_refuses("10.96.0.1", NULL, RK_ENOENT, "this is no pod");
    pod_refuses("10.96.0.1", "tcp://10", RK_EINVAL, "'tcp://10'; it must be a port");
    folder_write("namespace", " \n");
    pod_refuses("10.96.0.1", "443", RK_EDATA, "namespace is empty");
    folder_remove("namespace");
    pod_refuses("10.96.0.1", "443", RK_ENOENT, "namespace cannot be read");
}

static const char good[] = "apiVersion: v1\n"
                           "kind: Config\n"
                           "current-context: dev\n"
                           "clusters:\n"
                           "- name: one\n"
                           "  cluster:\n"
                           "    server: https://10.0.0.1:6443/prefix/\n"
                           "    certificate-authority: pki/ca.pem\n"
                           "    tls-server-name: kubernetes\n"
                           "    proxy-url: socks5://127.0.0.1:1080\n"
                           "users:\n"
                           "- name: me\n"
                           "  user:\n"
                           "    client-certificate-data: Y2VydA==\n"
                           "    client-key: /abs/key.pem\n"
                           "    token: \"123\"\n"
                           "- name: other\n"
                           "  user: {username: u, password: 'p:w', tokenFile: tok}\n"
                           "contexts:\n"
                           "- name: dev\n"
                           "  context: {cluster: one, user: me, namespace: team-b}\n"
                           "- name: plain\n"
                           "  context: {cluster: one, user: other}\n"
                           "- name: nobody\n"
                           "  context: {cluster: one}\n";

static void test_kubeconfig(void **state)
{
    struct api_config config;
    struct rk_why why = {""};

    (void)state;
    folder_write("config", good);
    if (api_config_load(folder_path("config"), NULL, &config, &why) != 0)
        fail_msg("%s", why.text);
    assert_string_equal(config.server, "https://10.0.0.1:6443/prefix");
    assert_string_equal(config.namespace, "team-b");
    assert_non_null(strstr(config.ca.path, "/pki/ca.pem"));
    assert_int_equal(config.ca.path[0], '/');
    assert_string_equal(config.cert.data, "cert");
    assert_int_equal(config.cert.size, 4);
    assert_string_equal(config.key.path, "/abs/key.pem");
    assert_string_equal(config.token, "123");
    assert_string_equal(config.tls_name, "kubernetes");
    assert_string_equal(config.proxy, "socks5://127.0.0.1:1080");
    assert_non_null(strstr(config.origin, "context dev"));
    assert_false(config.insecure);
    api_config_done(&config);
    assert_int_equal(api_config_load(folder_path("config"), "plain", &config, &why), 0);
    assert_string_equal(config.namespace, "default");
    assert_string_equal(config.user, "u");
    assert_string_equal(config.password, "p:w");
    assert_non_null(strstr(config.token_file, "/tok"));
    api_config_done(&config);
    assert_int_equal(api_config_load(folder_path("config"), "nobody", &config, &why), 0);
    assert_null(config.token);
    api_config_done(&config);
}

static void test_files_are_merged(void **state)
{
    struct api_config config;
    struct rk_why why = {""};
    char list[4096];

    (void)state;
    folder_write("a", "{\"current-context\": \"\", \"users\": [{\"name\": \"me\", \"user\": "
                      "{\"token\": \"first\"}}]}");
    folder_write("b", good);
    snprintf(list, sizeof list, ":%s:%s:%s:", folder_path("missing"), folder_path("a"),
             folder_path("b"));
    if (api_config_load(list, NULL, &config, &why) != 0)
        fail_msg("%s", why.text);
    assert_string_equal(config.token, "first");
    assert_null(config.cert.data);
    assert_string_equal(config.server, "https://10.0.0.1:6443/prefix");
    api_config_done(&config);
}

/* Loads `good` with one piece of its text replaced. */
static void refuses(const char *from, const char *to, int code, const char *part)
{
    char text[4096];
    const char *at = strstr(good, from);
    struct api_config config;
    struct rk_why why = {""};
    int rc;

    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    folder_write("config", text);
    rc = api_config_load(folder_path("config"), NULL, &config, &why);
    if (rc == 0)
        api_config_done(&config);
    if (rc != code || strstr(why.text, part) == NULL ||
        strstr(why.text, folder_path("config")) == NULL)
        fail_msg("'%s': %d, '%s' instead of %d, '%s'", to, rc, why.text, code, part);
}

static void test_faults_name_file_and_key(void **state)
{
    (void)state;
    refuses("current-context: dev", "current-context: prod", RK_ENOENT,
            "contexts has no entry named 'prod'; there are: dev, plain, nobody");
    refuses("current-context: dev\n", "", RK_ENOENT, "current-context is not set");
    refuses("current-context: dev", "current-context: 7", RK_EDATA,
            "current-context must be text; put it in quotes");
    refuses("cluster: one, user: me", "cluster: two, user: me", RK_ENOENT,
            "clusters has no entry named 'two'; there are: one");
    refuses("user: me", "user: you", RK_ENOENT, "users has no entry named 'you'");
    refuses("cluster: one, user: me", "user: me", RK_EDATA,
            "contexts[dev].context.cluster is missing");
    refuses("https://10.0.0.1:6443/prefix/", "10.0.0.1", RK_EDATA,
            "clusters[one].cluster.server must begin with https://");
    refuses("https://10.0.0.1:6443/prefix/", "https://h/?a", RK_EDATA, "an address and a path");
    refuses("    server: https://10.0.0.1:6443/prefix/\n", "", RK_EDATA, "server is missing");
    refuses("\"123\"", "123", RK_EDATA, "users[me].user.token must be text; put it in quotes");
    refuses("Y2VydA==", "Y2VydA=", RK_EDATA, "client-certificate-data is not base64");
    refuses("    client-key: /abs/key.pem\n", "", RK_EDATA,
            "users[me].user.client-certificate and client-key must be given both, or neither");
    refuses("proxy-url:", "insecure-skip-tls-verify: maybe\n    proxy-url:", RK_EDATA,
            "insecure-skip-tls-verify must be true or false");
    refuses("    token: \"123\"", "    auth-provider: {}", RK_EUNAVAILABLE,
            "users[me].user.auth-provider is not supported");
    refuses("    token: \"123\"", "    as: root", RK_EUNAVAILABLE, "users[me].user.as is not");
    refuses("    token: \"123\"", "    exec: {command: x, apiVersion: v1}", RK_EDATA,
            "users[me].user.exec.apiVersion must be client.authentication.k8s.io/v1");
    refuses("    token: \"123\"", "    exec: {apiVersion: client.authentication.k8s.io/v1}",
            RK_EDATA, "users[me].user.exec.command is missing");
    refuses("clusters:\n", "clusters: [\n", RK_EDATA, "/config:");
    refuses(good, "- a list\n", RK_EDATA, "should be an object");
}

static void test_no_file(void **state)
{
    struct api_config config;
    struct rk_why why = {""};

    (void)state;
    assert_int_equal(api_config_load(folder_path("none"), NULL, &config, &why), RK_ENOENT);
    assert_non_null(strstr(why.text, "/none"));
    assert_int_equal(api_config_load("", NULL, &config, &why), RK_ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pod, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kubeconfig, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults_name_file_and_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_file, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
