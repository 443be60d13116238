/* Exec plugins: a command of the user's that prints credentials (client.authentication.k8s.io/v1
 * and v1beta1).  It runs as a child beside the loop and has a deadline.
 *
 * Units: ns; `expires` since 1970.  Errors: the sentence says what the command printed, and the
 * kubeconfig's installHint when it is not there.  Ownership: an answer is freed by its holder.
 * Threads: none; the child is waited for by its pid, so the process may not reap all children. */
#ifndef RK_K8S_CLIENT_PLUGIN_H
#define RK_K8S_CLIENT_PLUGIN_H

#include "k8s/client/config.h"
#include "k8s/client/loop.h"

#define PLUGIN_DEADLINE (60 * RK_S)

struct plugin_answer {
    char *token;      /* NULL: none */
    char *cert, *key; /* PEM; NULL: none */
    uint64_t expires; /* 0: never */
};

void plugin_answer_done(struct plugin_answer *answer);

/* What the command printed, as an answer. */
int plugin_parse(const char *text, size_t size, const char *api_version,
                 struct plugin_answer *answer, struct rk_why *why);

/* KUBERNETES_EXEC_INFO; the caller frees, NULL: no memory. */
char *plugin_info(const struct api_config *config);

struct plugin;

/* Called once; the answer is borrowed, and NULL with the sentence when there is none. */
typedef void plugin_done(void *who, struct plugin_answer *answer, const struct rk_why *why);

/* Starts the command of config->exec.  The plugin is gone when `done` returns. */
int plugin_start(struct api *api, const struct api_config *config, plugin_done *done, void *who,
                 struct plugin **out, struct rk_why *why);

/* Kills the command; `done` is not called.  NULL allowed. */
void plugin_free(struct plugin *plugin);

#endif
