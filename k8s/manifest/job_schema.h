/* The tables of an MPIJob itself: kubeflow.org/v2beta1, field by field. */
#ifndef RK_K8S_MANIFEST_JOB_SCHEMA_H
#define RK_K8S_MANIFEST_JOB_SCHEMA_H

#include "k8s/manifest/mpijob.h"
#include "k8s/manifest/schema.h"

#define JOB_VERSION "kubeflow.org/v2beta1"

extern const struct schema job_schema;

/* The words of enums, in the order of those in mpijob.h. */
extern const char *const job_implementations[];
extern const char *const job_cleans[];
extern const char *const job_creations[];
extern const char *const job_restarts[];

/* The fields of `spec` in Markdown. */
void job_schema_print(FILE *out);

/* ---- what concerns more than one field (job_checks.c) ------------------------------------------
 */

/* `settings` are those of the annotations; afterwards max_workers is set. */
void job_check(const struct checking *checking, const struct yaml_node *job,
               const struct path *path, struct mpijob_settings *settings);

/* ---- older versions of the API (migration.c) ---------------------------------------------------
 */

/* Says what to change where the document is an MPIJob of another version, and which fields of its
 * spec have moved.  Called for spec of any version. */
void migration_check(const struct checking *checking, const struct yaml_node *job,
                     const struct path *path);
/* True for a field of spec that had a meaning before v2beta1, about which migration_check speaks.
 */
bool migration_knows(const char *name);

#endif
