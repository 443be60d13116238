/* MPIJobs made by hand; see fixture.h. */
#include "tests/render/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char fixture_pi[] =
    "{'apiVersion': 'kubeflow.org/v2beta1', 'kind': 'MPIJob', 'metadata': {'name': 'pi'}, 'spec': {"
    "'mpiReplicaSpecs': {"
    "'Launcher': {'replicas': 1, 'template': {'spec': {'containers': [{'name': 'mpi-launcher', "
    "'image': 'mpi-pi', 'command': ['mpirun'], 'args': ['-n', '2', '/opt/pi'], "
    "'resources': {'limits': {'cpu': 1, 'memory': '1Gi'}}}]}}}, "
    "'Worker': {'replicas': 2, 'template': {'spec': {'containers': [{'name': 'mpi-worker', "
    "'image': 'mpi-pi', 'command': ['/usr/sbin/sshd'], 'args': ['-De', '-f', "
    "'/etc/ssh/pi_config'], 'resources': {'limits': {'cpu': 1, 'memory': '1Gi'}}}]}}}}}}";

static json_t *parse(const char *object)
{
    char *text = strdup(object);
    json_error_t error;
    json_t *value;

    assert_non_null(text);
    for (char *quote = text; (quote = strchr(quote, '\'')) != NULL;)
        *quote = '"';
    value = json_loads(text, 0, &error);
    if (value == NULL)
        fail_msg("fixture: %s in %s", error.text, text);
    free(text);
    return value;
}

static void set_replicas(struct mpijob_replicas *replicas, const json_t *object, const char *name)
{
    const json_t *one = at(object, "spec.mpiReplicaSpecs");

    one = json_object_get(one, name);
    *replicas = (struct mpijob_replicas){
        .replicas = (uint32_t)json_integer_value(json_object_get(one, "replicas")),
        .restart = strcmp(name, "Worker") == 0 ? MPIJOB_NEVER : MPIJOB_ON_FAILURE,
        .template = json_object_get(one, "template"),
    };
}

void fixture_init(struct mpijob *job, const char *object)
{
    *job = (struct mpijob){
        .object = parse(object),
        .slots = 1,
        .ssh_path = "/etc/ssh-keys",
        .ttl_s = MPIJOB_UNSET,
        .deadline_s = MPIJOB_UNSET,
        .backoff_limit = MPIJOB_UNSET,
        .scheduling = {.queue = "", .priority_class = ""},
        .settings = {.min_workers = 1,
                     .checkpoint_interval = "auto",
                     .backend = "auto",
                     .reduction = "exact",
                     .keep = 3,
                     .port = 7465,
                     .cluster_domain = "cluster.local"},
    };
    job->name = text_at(job->object, "metadata.name");
    set_replicas(&job->launcher, job->object, "Launcher");
    set_replicas(&job->worker, job->object, "Worker");
}

void fixture_done(struct mpijob *job)
{
    json_decref(job->object);
}

const json_t *at(const json_t *value, const char *path)
{
    while (*path != '\0' && value != NULL) {
        char step[128];
        size_t length = *path == '[' ? strcspn(path, "]") + 1 : strcspn(path, ".");

        snprintf(step, sizeof step, "%.*s", (int)(*path == '[' ? length - 2 : length),
                 path + (*path == '[' ? 1 : 0));
        value = json_is_array(value) ? json_array_get(value, (size_t)strtoul(step, NULL, 10))
                                     : json_object_get(value, step);
        path += length + (path[length] == '.' ? 1 : 0);
    }
    return value;
}

const char *text_at(const json_t *value, const char *path)
{
    const json_t *found = at(value, path);

    if (!json_is_string(found))
        fail_msg("there is no text at %s", path);
    return json_string_value(found);
}

const json_t *named(const json_t *array, const char *name)
{
    size_t index;
    json_t *item;

    json_array_foreach(array, index, item)
    {
        if (strcmp(text_at(item, "name"), name) == 0)
            return item;
    }
    return NULL;
}

const char *env_of(const json_t *container, const char *name)
{
    return json_string_value(json_object_get(named(at(container, "env"), name), "value"));
}

const char *words_of(const json_t *array)
{
    static char text[4096];
    size_t index;
    json_t *word;

    text[0] = '\0';
    json_array_foreach(array, index, word)
    {
        size_t length = strlen(text);

        snprintf(text + length, sizeof text - length, "%s%s", index > 0 ? " " : "",
                 json_string_value(word));
    }
    return text;
}
