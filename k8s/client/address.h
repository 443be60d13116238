/* Addresses of the API: every part percent-encoded, of any length.
 *
 * Ownership: a path is the caller's, to be freed.  Errors: a path that could not have memory is
 * NULL, adding to it does nothing, and api_send refuses it; so it is looked at once. */
#ifndef RK_K8S_CLIENT_ADDRESS_H
#define RK_K8S_CLIENT_ADDRESS_H

/* /api/v1/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE, and /apis/GROUP/VERSION/... where `version`
 * is "GROUP/VERSION".  NULL for what is not wanted: no namespace is the whole cluster. */
char *api_path(const char *version, const char *namespace, const char *plural, const char *name,
               const char *subresource);

/* Adds ?key=value, or &key=value. */
void api_query(char **path, const char *key, const char *value);

#endif
