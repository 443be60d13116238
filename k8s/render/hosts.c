/* The two files by which MPI and elastic programs find the workers, as mpi-operator writes them. */
#include "k8s/render/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void host_line(FILE *out, const struct mpijob *job, const char *namespace, const char *pod)
{
    char host[NAME_SIZE];

    render_host(job, namespace, pod, host);
    if (job->implementation == MPIJOB_OPENMPI)
        fprintf(out, "%s slots=%" PRIu32 "\n", host, job->slots);
    else
        fprintf(out, "%s:%" PRIu32 "\n", host, job->slots);
}

/* Ends a text that was written to memory: NULL where any of it did not fit there. */
static char *finish(FILE *out, char **text)
{
    bool failed = ferror(out) != 0;

    if (fclose(out) == 0 && !failed)
        return *text;
    free(*text);
    return NULL;
}

char *render_hostfile(const struct mpijob *job, const char *namespace, const char *const *pod,
                      size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    char name[NAME_SIZE];

    if (out == NULL)
        return NULL;
    if (job->launcher_is_worker) {
        snprintf(name, sizeof name, "%s-launcher", job->name);
        host_line(out, job, namespace, name);
    }
    for (size_t i = 0; i < count; i++) {
        if (pod == NULL)
            snprintf(name, sizeof name, "%s-worker-%zu", job->name, i);
        host_line(out, job, namespace, pod != NULL ? pod[i] : name);
    }
    return finish(out, &text);
}

char *render_discover_hosts(const struct mpijob *job, const char *namespace, const char *const *pod,
                            size_t count)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    char name[NAME_SIZE];
    char host[NAME_SIZE];

    if (out == NULL)
        return NULL;
    fputs("#!/bin/sh\n", out);
    if (job->launcher_is_worker) {
        snprintf(name, sizeof name, "%s-launcher", job->name);
        render_host(job, namespace, name, host);
        fprintf(out, "echo %s\n", host);
    }
    for (size_t i = 0; i < count; i++) {
        render_host(job, namespace, pod[i], host);
        fprintf(out, "echo %s\n", host);
    }
    return finish(out, &text);
}
