/* Events of the API (events.k8s.io/v1): what a person sees under `kubectl describe`.
 *
 * The same thing said again within six minutes is one Event whose series counts, told to the server
 * at most every ten seconds.  Five a second, fifty at once; what is more waits, and of what waits
 * the oldest is given up, so that no storm of events becomes a storm of requests.
 *
 * Units: ns.  Errors: an Event that the server refuses is told by `trouble` and given up.
 * Ownership: texts and objects are copied.  Threads: one. */
#ifndef RK_K8S_CLIENT_NOTICES_H
#define RK_K8S_CLIENT_NOTICES_H

#include "k8s/client/api.h"

#include <jansson.h>
#include <stdbool.h>

#define NOTICE_NOTE_MOST 1024u /* bytes; the server refuses more */

struct notices;

struct notices_spec {
    const char *controller;                      /* reportingController: "reknit.dev/coordinator" */
    const char *instance;                        /* reportingInstance: the pod's name */
    void (*trouble)(void *who, const char *why); /* may be NULL */
    void *who;
};

struct notice {
    const json_t *regarding; /* an object, with kind, apiVersion and metadata */
    const json_t *related;   /* another one; NULL: none */
    bool warning;            /* else normal */
    const char *reason;      /* CamelCase, at most 128 bytes */
    const char *action;      /* CamelCase, at most 128 bytes */
    const char *note;        /* for people; cut at NOTICE_NOTE_MOST between two characters */
};

int notices_open(struct api *api, const struct notices_spec *spec, struct notices **out,
                 struct rk_why *why);

/* What was not sent yet is given up. */
void notices_close(struct notices *notices);

/* Notes it down; RK_ENOMEM. */
int notices_say(struct notices *notices, const struct notice *notice, struct rk_why *why);

/* How many were given up because too many waited. */
uint64_t notices_dropped(const struct notices *notices);

/* Whether all that was said has been sent. */
bool notices_are_sent(const struct notices *notices);

/* The length of `text` cut to `most` bytes without cutting a UTF-8 character in two. */
size_t notice_cut(const char *text, size_t most);

#endif
