/* Where a cluster is and who we are to it: from inside a pod, or from kubeconfig files.
 *
 * Units: none.
 * Errors: every fault names the file and the key in it; RK_ENOENT: a file, context or entry that
 * was named is not there; RK_EDATA: a file does not say what it must.
 * Ownership: an api_config owns all it points to; api_config_done frees it, half-built ones too.
 * Threads: none; nothing is shared. */
#ifndef RK_K8S_CLIENT_CONFIG_H
#define RK_K8S_CLIENT_CONFIG_H

#include "common/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define API_POD_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

/* Bytes that are in a file, or stand in the kubeconfig itself; neither: there are none. */
struct api_material {
    char *path; /* read each time they are needed */
    char *data;
    size_t size;
};

struct api_config {
    char *origin; /* for messages: "/a/config, context dev" */
    char *server; /* https://host:port or http://, no slash at the end */
    char *namespace;
    struct api_material ca; /* none: the system's */
    struct api_material cert, key;
    char *token;      /* fixed */
    char *token_file; /* read again and again; goes before `token` */
    char *user, *password;
    char *tls_name; /* in place of the server's host, for its certificate */
    char *proxy;    /* NULL: none; the environment is not asked */
    bool insecure;  /* believe any server */
    json_t *exec;   /* user.exec of a kubeconfig, checked; NULL: none */
    char *exec_folder;
    json_t *exec_cluster; /* spec.cluster of what the plugin is told */
};

/* From inside a pod: `host` and `port` are KUBERNETES_SERVICE_HOST and _PORT (NULL allowed: the
 * sentence says that this is no pod), `folder` has token, ca.crt and namespace (NULL:
 * API_POD_FOLDER). */
int api_config_in_cluster(const char *host, const char *port, const char *folder,
                          struct api_config *config, struct rk_why *why);

/* From kubeconfig files: `list` is KUBECONFIG, paths with colons between them, of which those that
 * are not there are passed over.  `context` NULL: the current one.  For each name the first file
 * that has it counts; relative paths are seen from the file they stand in. */
int api_config_load(const char *list, const char *context, struct api_config *config,
                    struct rk_why *why);

void api_config_done(struct api_config *config);

#endif
