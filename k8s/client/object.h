/* The few fields that every object of the API has.  "" for what is not there. */
#ifndef RK_K8S_CLIENT_OBJECT_H
#define RK_K8S_CLIENT_OBJECT_H

#include <jansson.h>
#include <stdbool.h>

const char *object_kind(const json_t *object);
const char *object_name(const json_t *object);
const char *object_namespace(const json_t *object);
const char *object_uid(const json_t *object);

/* metadata.resourceVersion: opaque, to be compared for equality only. */
const char *object_version(const json_t *object);

/* Whether one of its ownerReferences has this uid. */
bool object_is_owned_by(const json_t *object, const char *uid);

#endif
