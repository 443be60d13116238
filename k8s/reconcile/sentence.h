/* What is said to people about a pod.  Text of others in it is cleaned of control characters; all
 * is cut to its buffer between characters of UTF-8, and then ends with "...". */
#ifndef RK_K8S_RECONCILE_SENTENCE_H
#define RK_K8S_RECONCILE_SENTENCE_H

#include "k8s/reconcile/seen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define END_REASON 32
#define END_MESSAGE 128
#define END_LOG 512

enum end_cause {
    END_NONE,
    END_EXIT,      /* its container ended: exit code, signal, memory */
    END_RESTARTED, /* it did, and the kubelet started it again */
    END_EVICTED,   /* the pod failed without its container's doing: Evicted, Preempting, ... */
    END_DELETED,   /* its object went */
    END_LOST,      /* its node */
    END_SILENT,    /* its kubelet did not confirm the end in time */
    END_ASKED,     /* killed as the coordinator asked */
    END_UNWANTED,  /* killed since the coordinator does not know it */
    END_SUSPENDED,
    END_STOPPED,
    END_HOPELESS,  /* it can never run as it is */
    END_INVALID,   /* it cannot be created: the API server does not take the object */
    END_FORBIDDEN, /* it may not be created */
    END_NO_ROOM,   /* too many pods are ending */
    END_COUNT_
};

/* How a pod's life ended; while it pends, reason and message say what it waits for. */
struct end {
    enum end_cause cause;
    int32_t exit_code, signal; /* -1: not known */
    bool oom;
    char reason[END_REASON], message[END_MESSAGE];
    char log[END_LOG]; /* the last lines of its container; "": not known */
};

/* Copies `from` cleaned and cut; returns the length. */
size_t sentence_clean(char *out, size_t size, const char *from);
/* The last lines of `from` with " | " between them, as many whole ones as there is room for. */
size_t sentence_tail(char *out, size_t size, const char *from);
/* How the container of a pod ended: exit code, signal, memory, its reason and last lines. */
void sentence_exit(struct end *end, const struct pod_seen *seen);

/* "worker 3 (ranks 6 to 7): ", by the ranks that its place had at first: a job that shrinks numbers
 * them anew. */
void sentence_worker(char *out, size_t size, uint32_t place, uint32_t slots);
/* What became of pod `name`, on `node` where that isn't "". */
void sentence_end(char *out, size_t size, const char *name, const char *node, const char *namespace,
                  const struct end *end);
/* That it will end. */
void sentence_notice(char *out, size_t size, const char *name, const char *node,
                     const struct end *end);
/* That `count` pods pend, the first for `seconds`. */
void sentence_pending(char *out, size_t size, const char *name, const struct end *end,
                      uint32_t count, uint64_t seconds);
/* That `count` pods wait since the API server refuses to create one, in its words. */
void sentence_refusal(char *out, size_t size, uint32_t count, const char *message);
/* That pods may not be deleted. */
void sentence_undeletable(char *out, size_t size, const char *namespace, const char *message);
/* That `count` pods that waited were asked for again. */
void sentence_moves(char *out, size_t size, uint32_t count);
/* That `count` more were lost than were told of one by one. */
void sentence_losses(char *out, size_t size, uint32_t count);

#endif
