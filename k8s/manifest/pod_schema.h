/* The pod templates of a job: their well-known fields as tables, and what the API server, or we,
 * would refuse in them. */
#ifndef RK_K8S_MANIFEST_POD_SCHEMA_H
#define RK_K8S_MANIFEST_POD_SCHEMA_H

#include "k8s/manifest/schema.h"

extern const struct schema pod_template_schema;

/* Of labels and annotations, wherever they stand. */
field_check check_labels;
field_check check_annotations;
field_check check_annotation_names;
/* A name that must be a DNS label, or DNS labels joined by dots. */
field_check check_label_name;
field_check check_dns_name;
field_check check_not_empty;

/* ---- further checks (pod_checks.c) -------------------------------------------------------------
 */

field_check check_container;
field_check check_env;
field_check check_env_name;
field_check check_port;
field_check check_port_name;
field_check check_mount_path;
field_check check_volume;
field_check check_volume_name;
field_check check_container_name;
field_check check_pod_spec;

#endif
