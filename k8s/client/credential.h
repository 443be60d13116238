/* What shows the server who we are, and us who it is: tokens and certificates, read again before
 * they grow old and when the server refuses them.
 *
 * Units: ns.  Errors: the sentence names the file or the plugin.  Ownership: it borrows the config
 * and owns all else; texts are valid until the next credential_prepare.  Threads: none. */
#ifndef RK_K8S_CLIENT_CREDENTIAL_H
#define RK_K8S_CLIENT_CREDENTIAL_H

#include "common/clock.h"
#include "k8s/client/config.h"
#include "k8s/client/pace.h"
#include "k8s/client/plugin.h"

/* Files are read at most this often, but for a refusal: a minute, less ten seconds of leeway. */
#define CREDENTIAL_PERIOD (50 * RK_S)
#define CREDENTIAL_WAIT 1

struct credential {
    const struct api_config *config;
    struct api *api; /* whose loop runs plugins */
    struct draw *draw;
    void (*ready)(void *who); /* a plugin has ended: ask again */
    void *who;
    char *token;                       /* NULL: none */
    struct api_material ca, cert, key; /* `data` is what counts */
    uint64_t read_at;                  /* 0: never */
    uint64_t version;                  /* grows when any of these changes */
    struct plugin *plugin;             /* running */
    struct plugin_answer answer;
    bool answered;
    uint64_t answered_at;
    struct backoff plugin_wait;
    uint64_t plugin_again; /* after a failure, not before */
    int plugin_rc;
    struct rk_why plugin_why;
};

void credential_init(struct credential *credential, const struct api_config *config,
                     struct api *api, struct draw *draw, void (*ready)(void *who), void *who);
void credential_done(struct credential *credential);

/* 0: what the fields hold may be used now.  CREDENTIAL_WAIT: a plugin runs, `ready` will be called.
 * A negative code: there are none, and asking again later may help. */
int credential_prepare(struct credential *credential, uint64_t now, uint64_t wall,
                       struct rk_why *why);

/* The server refused (401) what had this version.  True: there is something to read again, and the
 * next credential_prepare does. */
bool credential_refused(struct credential *credential, uint64_t version);

/* The TLS handshake failed: files are read again by the next credential_prepare. */
void credential_distrust(struct credential *credential);

#endif
