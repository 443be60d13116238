/* What to change in an MPIJob of another version of the API; see job_schema.h. */
#include "k8s/manifest/job_schema.h"
#include "k8s/manifest/words.h"

#include <string.h>

/* Fields of spec that older versions had and v2beta1 has elsewhere or not at all. */
static const struct {
    const char *name;
    const char *what;
    const char *remedy;
} moved[] = {
    {"cleanPodPolicy", "the field has moved", "write it as spec.runPolicy.cleanPodPolicy"},
    {"backoffLimit", "the field has moved", "write it as spec.runPolicy.backoffLimit"},
    {"activeDeadlineSeconds", "the field has moved",
     "write it as spec.runPolicy.activeDeadlineSeconds"},
    {"ttlSecondsAfterFinished", "the field has moved",
     "write it as spec.runPolicy.ttlSecondsAfterFinished"},
    {"schedulingPolicy", "the field has moved", "write it as spec.runPolicy.schedulingPolicy"},
    {"mainContainer", "the field is gone",
     "make the main container the first one of its template, and take the line out"},
    {"mpiDistribution", "the field has another name",
     "write it as spec.mpiImplementation: OpenMPI, Intel (was IntelMPI) or MPICH"},
    {"launcherOnMaster", "the field is gone",
     "give spec.mpiReplicaSpecs.Launcher.template.spec a nodeSelector and a toleration"},
    {"template", "the field is gone",
     "write it twice: as spec.mpiReplicaSpecs.Launcher.template with the command, and as "
     "spec.mpiReplicaSpecs.Worker.template"},
    {"replicas", "the field has moved", "write it as spec.mpiReplicaSpecs.Worker.replicas"},
    {"gpus", "the field is gone",
     "write spec.mpiReplicaSpecs.Worker.replicas: (gpus divided by those of a worker), "
     "spec.slotsPerWorker: (those of a worker), and the limit nvidia.com/gpu of the worker's "
     "container"},
    {"gpusPerNode", "the field is gone",
     "write it as spec.slotsPerWorker, and as the limit nvidia.com/gpu of the worker's container"},
    {"processingUnits", "the field is gone",
     "write spec.mpiReplicaSpecs.Worker.replicas: (units divided by those of a worker), "
     "spec.slotsPerWorker: (those of a worker), and the limit of that resource in the worker's "
     "container"},
    {"processingUnitsPerNode", "the field is gone",
     "write it as spec.slotsPerWorker, and as a limit of the worker's container"},
    {"processingResourceType", "the field is gone",
     "name the resource (nvidia.com/gpu or cpu) in the limits of the worker's container"},
};
#define MOVED (sizeof moved / sizeof moved[0])

bool migration_knows(const char *name)
{
    for (size_t i = 0; i < MOVED; i++)
        if (strcmp(moved[i].name, name) == 0)
            return true;
    return false;
}

static void check_version(const struct checking *checking, const struct yaml_node *version,
                          const struct path *path)
{
    const char *text = json_string_value(version->value);
    struct word_shown shown;

    if (strncmp(text, "kubeflow.org/", 13) == 0)
        schema_error(checking, version, path,
                     "write apiVersion: " JOB_VERSION
                     ", and change the fields of spec that are named below, if any",
                     "MPIJob %s is not read: this version of the API was given up for v2beta1",
                     word_show(text, &shown));
    else
        schema_error(checking, version, path, "write apiVersion: " JOB_VERSION,
                     "'%s' has no MPIJob that can be read", word_show(text, &shown));
}

/* In v2beta1 a server takes such a field and forgets it: a warning, as for any unknown name. */
static void check_moved(const struct checking *checking, const struct yaml_node *spec, bool old,
                        const struct path *path)
{
    if (spec == NULL || !json_is_object(spec->value))
        return;
    for (size_t i = 0; i < MOVED; i++) {
        const struct yaml_node *field = yaml_member(spec, moved[i].name);
        struct path step = {path, moved[i].name, 0};

        if (field != NULL)
            faults_add(checking->faults, old ? FAULT_ERROR : FAULT_WARNING, field->key_at, &step,
                       moved[i].remedy, "%s since " JOB_VERSION "%s", moved[i].what,
                       old ? "" : ", and has no effect here");
    }
}

void migration_check(const struct checking *checking, const struct yaml_node *job,
                     const struct path *path)
{
    const struct yaml_node *version = yaml_member(job, "apiVersion");
    const char *text = schema_text(job, "apiVersion");
    struct path version_step = {path, "apiVersion", 0};
    struct path spec_step = {path, "spec", 0};

    if (text == NULL) {
        if (version == NULL || json_is_null(version->value))
            schema_error(checking, job, &version_step, "add apiVersion: " JOB_VERSION,
                         "the field is missing");
        return;
    }
    if (strcmp(text, JOB_VERSION) != 0)
        check_version(checking, version, &version_step);
    check_moved(checking, yaml_member(job, "spec"), strcmp(text, JOB_VERSION) != 0, &spec_step);
}
