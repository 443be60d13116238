/* The annotations reknit.dev/... of an MPIJob: one table, from which come their reading, their
 * defaults, the guess at a wrong name and the page in k8s/README.md. */
#ifndef RK_K8S_MANIFEST_SETTINGS_H
#define RK_K8S_MANIFEST_SETTINGS_H

#include "k8s/manifest/mpijob.h"
#include "k8s/manifest/schema.h"

#define SETTINGS_PREFIX "reknit.dev/"
#define SETTINGS_MAX_WORKERS 100000u
#define SETTINGS_PORT 7465u

/* Sets the defaults and then what metadata.annotations (may be NULL) says; faults go to the list.
 * Texts in *settings are borrowed from `annotations`; `program` is a new reference.  max_workers is
 * 0 where nothing was said. */
void settings_read(const struct checking *checking, const struct yaml_node *annotations,
                   const struct path *path, struct mpijob_settings *settings);

/* The table in Markdown. */
void settings_print(FILE *out);

#endif
