/* Objects of a job that are not rendered, since they are random or written by the coordinator's
 * pod.  Results are the caller's; NULL: no memory. */
#ifndef RK_LAUNCH_PODS_OBJECTS_H
#define RK_LAUNCH_PODS_OBJECTS_H

#include "common/secret.h"
#include "k8s/manifest/mpijob.h"

#include <jansson.h>

/* Keys of the Secret NAME-reknit: what workers mount, and, with the private key, what only the
 * coordinator may read. */
#define OBJECTS_WORKER_KEY "worker"
#define OBJECTS_COORDINATOR_KEY "coordinator"

/* An object NAME<suffix> with our labels, owned by the Job NAME-launcher of that uid. */
json_t *objects_new(const struct mpijob *job, const char *namespace, const char *owner,
                    const char *kind, const char *suffix);

json_t *objects_secret(const struct mpijob *job, const char *namespace, const char *owner,
                       const struct secret *secret);

#endif
