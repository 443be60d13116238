/* A YAML or JSON file as one JSON value. */
#ifndef RK_K8S_CLIENT_DOCUMENT_H
#define RK_K8S_CLIENT_DOCUMENT_H

#include "common/error.h"

#include <jansson.h>

/* The first document of the file, an object; the caller drops it.  RK_ENOENT: the file is not
 * there; RK_EDATA with its name, line and column. */
int document_read(const char *path, json_t **root, struct rk_why *why);

#endif
