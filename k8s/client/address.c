/* Addresses of the API; see address.h. */
#include "k8s/client/address.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What needs no encoding in a segment or a query (RFC 3986, 2.3). */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~", c) != NULL);
}

/* Appends `before` as it is and `text` encoded. */
static void add(char **path, const char *before, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t used;
    char *grown;

    if (*path == NULL)
        return;
    used = strlen(*path);
    grown = realloc(*path, used + strlen(before) + 3 * strlen(text) + 1);
    if (grown == NULL) {
        free(*path);
        *path = NULL;
        return;
    }
    *path = grown;
    strcpy(grown + used, before);
    grown += used + strlen(before);
    for (; *text != '\0'; text++) {
        if (is_plain(*text)) {
            *grown++ = *text;
            continue;
        }
        *grown++ = '%';
        *grown++ = hex[(unsigned char)*text >> 4];
        *grown++ = hex[(unsigned char)*text & 15];
    }
    *grown = '\0';
}

char *api_path(const char *version, const char *namespace, const char *plural, const char *name,
               const char *subresource)
{
    const char *slash = strchr(version, '/');
    char *path = strdup(slash != NULL ? "/apis" : "/api");
    char *group;

    if (slash != NULL) {
        group = strndup(version, (size_t)(slash - version));
        if (group == NULL) {
            free(path);
            return NULL;
        }
        add(&path, "/", group);
        free(group);
        version = slash + 1;
    }
    add(&path, "/", version);
    if (namespace != NULL)
        add(&path, "/namespaces/", namespace);
    add(&path, "/", plural);
    if (name != NULL)
        add(&path, "/", name);
    if (subresource != NULL)
        add(&path, "/", subresource);
    return path;
}

void api_query(char **path, const char *key, const char *value)
{
    if (*path == NULL)
        return;
    add(path, strchr(*path, '?') != NULL ? "&" : "?", key);
    add(path, "=", value);
}
