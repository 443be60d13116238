/* One HTTP exchange by libcurl: what is set, what came back.  Only request.c uses it.
 *
 * Units: bytes; ns.  Ownership: a transfer owns its handle and its answer; target and credential
 * are borrowed while it runs.  Threads: one. */
#ifndef RK_K8S_CLIENT_TRANSFER_H
#define RK_K8S_CLIENT_TRANSFER_H

#include "k8s/client/credential.h"
#include "k8s/client/request.h"

#include <curl/curl.h>

/* Where all requests of an api go. */
struct target {
    const struct api_config *config;
    char *base;                    /* what stands before a path */
    char *host;                    /* header; NULL: as libcurl makes it */
    struct curl_slist *connect_to; /* NULL: where `base` says */
    char *user_agent;
};

int target_init(struct target *target, const struct api_config *config, const char *user_agent,
                struct rk_why *why);
void target_done(struct target *target);

struct transfer {
    CURL *easy; /* NULL: none */
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    char *answer; /* not of a stream, but for its errors */
    size_t used, room, most;
    bool too_much, no_memory;
    const struct api *api; /* for the time */
    uint64_t heard_at;     /* when something came */
    bool answered;         /* a whole header came */
    uint64_t retry_after;  /* 0: not said */
    bool enough;           /* `bytes` said so */
    request_bytes *bytes;
    void *who;
};

struct transfer_order {
    enum verb verb;
    const char *path, *type;
    const char *body; /* NULL: none; lives as long as the transfer */
    size_t size;
};

/* Makes the handle.  transfer->api, heard_at, most, bytes and who are filled in, all
 * else is zero. */
int transfer_open(struct transfer *transfer, const struct target *target,
                  const struct credential *credential, const struct transfer_order *order,
                  struct rk_why *why);

/* Frees the handle, which is in no multi handle any more, and the answer. */
void transfer_close(struct transfer *transfer);

/* The HTTP code, 0 for none. */
int transfer_code(const struct transfer *transfer);

#endif
