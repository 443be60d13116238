/* The client of a Kubernetes API server: one connection pool, one descriptor to wait for, one turn
 * to take.  Requests are in request.h, watches in watch.h, writes in write.h.
 *
 * The owner waits until api_fd is readable (poll, epoll, zmq_poll) and then calls api_turn, which
 * does what is due, without blocking, and calls the callbacks.  Nothing else calls them: what is
 * called between turns only notes down what is wanted and makes the descriptor readable.
 *
 * Units: times are ns; `now` is CLOCK_MONOTONIC's (rk_clock_now), `wall` since 1970.
 * Errors: codes of common/error.h, the sentence in struct rk_why.
 * Ownership: everything that is started on an api ends before api_free, or with it, silently.
 * Threads: one; libcurl looks up names in threads of its own. */
#ifndef RK_K8S_CLIENT_API_H
#define RK_K8S_CLIENT_API_H

#include "common/clock.h"
#include "k8s/client/config.h"

#include <stdint.h>

struct api;

struct api_options {
    const char *user_agent; /* product/version; also the default name of the field manager */
    uint64_t seed;          /* of jitter */
    uint32_t rate, burst;   /* requests a second, and at once; 0: 50 and 100 */
    uint32_t in_flight;     /* requests at a time, watches not counted; 0: 64 */
};

/* Takes over what `config` holds (also on failure; it is empty afterwards).  Connects to nothing.
 */
int api_new(struct api_config *config, const struct api_options *options, struct api **out,
            struct rk_why *why);

/* Not from a callback.  NULL allowed. */
void api_free(struct api *api);

/* Readable when api_turn has something to do, also when a time has come.  An epoll descriptor. */
int api_fd(const struct api *api);

void api_turn(struct api *api, uint64_t now, uint64_t wall);

/* The configuration's namespace, origin and server (a URL); valid as long as the api. */
const char *api_namespace(const struct api *api);
const char *api_server(const struct api *api);
const char *api_origin(const struct api *api);

#endif
