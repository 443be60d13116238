/* How Kubernetes wants names, labels, quantities and the like to be written. */
#ifndef RK_K8S_MANIFEST_SYNTAX_H
#define RK_K8S_MANIFEST_SYNTAX_H

#include <jansson.h>
#include <stdbool.h>

#define DNS_LABEL_MAX 63u
#define DNS_NAME_MAX 253u

/* Small letters, digits and '-' inside, at most 63: the name of a container, of a namespace. */
bool syntax_dns_label(const char *text);
/* The same, of any length and starting with a letter: what the name of a Service can begin with
 * (DNS-1035). */
bool syntax_service_start(const char *text);
/* Labels joined by dots, at most 253 characters: most other names. */
bool syntax_dns_name(const char *text);
/* "app", "example.com/app" */
bool syntax_label_key(const char *text);
bool syntax_label_value(const char *text);
/* What every server takes; newer ones take any printable text without '='. */
bool syntax_env_name(const char *text);
bool syntax_env_name_new(const char *text);
/* A port's: at most 15 small letters, digits and single '-' inside, a letter among them. */
bool syntax_port_name(const char *text);
/* "500m", "1Gi", "1e3", 2: a number with a unit, as a text or a number. */
bool syntax_quantity(const json_t *value);
bool syntax_quantity_is_negative(const json_t *value);

#endif
