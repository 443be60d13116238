/* What a Status object says: the server's way to tell an error. */
#ifndef RK_K8S_CLIENT_STATUS_H
#define RK_K8S_CLIENT_STATUS_H

#include "k8s/client/request.h"

/* Fills in reason, message and, where the header said nothing, retry_after from response->body. */
void status_read(struct response *response);

/* The code of common/error.h for response->code and its reason. */
int status_code(const struct response *response);

/* True when `status`, a Status object, has this among the reasons of its details.causes. */
bool status_has_cause(const json_t *status, const char *reason);

#endif
