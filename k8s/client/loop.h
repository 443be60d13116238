/* The inside of an api, for the files of this folder: its descriptors, its timers and its curl.
 *
 * A file descriptor has a `struct source`; whoever owns one takes it off before closing.  One event
 * is taken from the kernel at a time, so a source may go while others wait. */
#ifndef RK_K8S_CLIENT_LOOP_H
#define RK_K8S_CLIENT_LOOP_H

#include "k8s/client/api.h"
#include "k8s/client/draw.h"
#include "k8s/client/timers.h"

#include <curl/curl.h>
#include <stdbool.h>

struct source {
    int fd;
    void (*ready)(void *who, uint32_t events); /* EPOLL... */
    void *who;
};

/* Of the turn that is taken, or, between turns, of the last one: what the owner calls then leaves
 * times to be filled in by the next turn. */
uint64_t loop_now(const struct api *api);
uint64_t loop_wall(const struct api *api);
struct timers *loop_timers(struct api *api);
struct draw *loop_draw(struct api *api);

int loop_add(struct api *api, struct source *source, uint32_t events, struct rk_why *why);
void loop_change(struct api *api, struct source *source, uint32_t events);
void loop_remove(struct api *api, struct source *source);

/* Makes the descriptor readable, so that a turn comes. */
void loop_wake(struct api *api);

/* Those of request.c: what waits to be sent, the transfers. */
struct sender;
struct sender *loop_sender(struct api *api);
CURLM *loop_multi(struct api *api);
const struct api_config *loop_config(const struct api *api);

/* Breaks each connection from which nothing has come since `since`: HTTP/2 has many requests on
 * one, and one that nobody answers any more would be given to the next request too. */
void loop_break_silent(struct api *api, uint64_t since);

#endif
