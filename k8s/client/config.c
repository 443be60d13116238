/* The cluster as a pod sees it, and what all configurations have in common; see config.h. */
#include "k8s/client/config.h"

#include "common/number.h"
#include "k8s/client/file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void material_done(struct api_material *material)
{
    free(material->path);
    if (material->data != NULL)
        explicit_bzero(material->data, material->size);
    free(material->data);
}

void api_config_done(struct api_config *config)
{
    material_done(&config->ca);
    material_done(&config->cert);
    material_done(&config->key);
    free(config->origin);
    free(config->server);
    free(config->namespace);
    free(config->token);
    free(config->token_file);
    free(config->user);
    free(config->password);
    free(config->tls_name);
    free(config->proxy);
    free(config->exec_folder);
    json_decref(config->exec);
    json_decref(config->exec_cluster);
    memset(config, 0, sizeof *config);
}

/* The namespace file's text without blanks at its end. */
static int read_namespace(const char *folder, char **namespace, struct rk_why *why)
{
    char *path = file_path(folder, "namespace");
    size_t size;
    int rc;

    if (path == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory to read the namespace of this pod");
    rc = file_read(path, namespace, &size, why);
    free(path);
    if (rc != 0)
        return rc;
    while (size > 0 && strchr(" \r\n\t", (*namespace)[size - 1]) != NULL)
        (*namespace)[--size] = '\0';
    if (size == 0)
        return rk_fail(why, RK_EDATA, "%s/namespace is empty; it must name this pod's namespace",
                       folder);
    return 0;
}

static int fill_in_cluster(const char *host, uint64_t port, const char *folder,
                           struct api_config *config, struct rk_why *why)
{
    bool is_v6 = strchr(host, ':') != NULL;

    if (asprintf(&config->server, "https://%s%s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                 (unsigned)port) < 0)
        config->server = NULL;
    config->origin = strdup(folder);
    config->token_file = file_path(folder, "token");
    config->ca.path = file_path(folder, "ca.crt");
    if (config->server == NULL || config->origin == NULL || config->token_file == NULL ||
        config->ca.path == NULL)
        return rk_fail(why, RK_ENOMEM, "no memory for the cluster's address");
    return read_namespace(folder, &config->namespace, why);
}

int api_config_in_cluster(const char *host, const char *port, const char *folder,
                          struct api_config *config, struct rk_why *why)
{
    uint64_t number;
    int rc;

    memset(config, 0, sizeof *config);
    if (host == NULL || *host == '\0' || port == NULL || *port == '\0')
        return rk_fail(
            why, RK_ENOENT,
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is "
            "no pod; give a kubeconfig file");
    if (!rk_number_parse(port, 1, UINT16_MAX, &number))
        return rk_fail(why, RK_EINVAL,
                       "KUBERNETES_SERVICE_PORT is '%.40s'; it must be a port, 1 to 65535", port);
    rc = fill_in_cluster(host, number, folder != NULL ? folder : API_POD_FOLDER, config, why);
    if (rc != 0)
        api_config_done(config);
    return rc;
}
