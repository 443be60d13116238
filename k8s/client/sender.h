/* What request.c shows to the loop. */
#ifndef RK_K8S_CLIENT_SENDER_H
#define RK_K8S_CLIENT_SENDER_H

#include "k8s/client/api.h"

struct sender;

int sender_new(struct api *api, const struct api_options *options, struct sender **out,
               struct rk_why *why);
void sender_free(struct sender *sender);

/* Starts what waits and may go now. */
void sender_pump(struct sender *sender);

/* Ends the transfers that libcurl has finished, and frees what was cancelled. */
void sender_reap(struct sender *sender);

#endif
