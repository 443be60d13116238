/* A Pod object of the API into the few fields that the reconciler looks at.  Pure. */
#ifndef RK_K8S_RECONCILE_POD_JSON_H
#define RK_K8S_RECONCILE_POD_JSON_H

#include "k8s/reconcile/seen.h"

#include <jansson.h>

#define POD_TICKET "reknit.dev/ticket"
#define POD_PLACE "reknit.dev/place"
#define POD_AVOIDS "reknit.dev/avoids"

/* Fills *seen from `pod`, whose strings it borrows: `pod` must live as long.  Whatever is absent or
 * of another type reads as empty.  False when there is no name or no uid: that is no pod. */
bool pod_json_read(const json_t *pod, struct pod_seen *seen);

/* Takes out of `pod` what pod_json_read does not look at, and a store does not need. */
void pod_json_trim(json_t *pod);

/* "2026-01-31T12:00:00Z" (a fraction is skipped) as seconds since 1970; 0 where it is no time. */
int64_t pod_json_time(const char *text);

#endif
