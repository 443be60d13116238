/* Clients of a running job: found by name in the runtime folder, spoken to over its link. */
#ifndef RK_LAUNCH_CLIENT_H
#define RK_LAUNCH_CLIENT_H

#include "common/link.h"

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_WAIT_MS 5000
#define CLIENT_FOR_EVER (-1)

struct client {
    char job[64];
    struct link *link;
};

/* The job `wanted`, or with NULL the only one that runs.  RK_ENOENT lists those that run. */
int client_open(const char *wanted, struct client *client, struct rk_why *why);
void client_close(struct client *client);

/* Gets each line that comes before the end; false: that was enough. */
typedef bool client_take(void *who, const char *json);

struct client_request {
    Rk__Verb verb;
    uint64_t number;
    const char *host; /* NULL: none */
    uint64_t within_ns;
    bool follow;
    int wait_ms;       /* between two answers, CLIENT_FOR_EVER while following */
    client_take *take; /* of events; may be NULL */
    void *who;
};

/* Asks and waits for the last reply, whose text goes into *text (malloc'd, NULL allowed).
 * RK_ETIMEDOUT; RK_ESTATE: the coordinator was restarted in the middle; a negative code of its own
 * with its sentence. */
int client_ask(struct client *client, const struct client_request *request, char **text,
               struct rk_why *why);

#endif
