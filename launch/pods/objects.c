/* Objects of a job that are not rendered; see objects.h. */
#include "launch/pods/objects.h"
#include "k8s/render/names.h"

#include <string.h>

json_t *objects_new(const struct mpijob *job, const char *namespace, const char *owner,
                    const char *kind, const char *suffix)
{
    return json_pack("{s:s,s:s,s:{s:s+,s:s,s:{s:s,s:s},s:[{s:s,s:s,s:s+,s:s}]}}", "apiVersion",
                     "v1", "kind", kind, "metadata", "name", job->name, suffix, "namespace",
                     namespace, "labels", "app", job->name, LABEL_JOB, job->name, "ownerReferences",
                     "apiVersion", "batch/v1", "kind", "Job", "name", job->name, "-launcher", "uid",
                     owner);
}

json_t *objects_secret(const struct mpijob *job, const char *namespace, const char *owner,
                       const struct secret *secret)
{
    json_t *object = objects_new(job, namespace, owner, "Secret", "-reknit");
    char worker[SECRET_TEXT_MAX];
    char coordinator[SECRET_TEXT_MAX];

    secret_text(secret, false, worker);
    secret_text(secret, true, coordinator);
    if (json_object_set_new(object, "type", json_string("Opaque")) != 0 ||
        json_object_set_new(object, "stringData",
                            json_pack("{s:s,s:s}", OBJECTS_WORKER_KEY, worker,
                                      OBJECTS_COORDINATOR_KEY, coordinator)) != 0) {
        json_decref(object);
        object = NULL;
    }
    explicit_bzero(worker, sizeof worker);
    explicit_bzero(coordinator, sizeof coordinator);
    return object;
}
