/* A file of manifests: MPIJobs are checked and read, objects of other kinds kept as they are, all
 * in their order.  A List stands for what is in it. */
#ifndef RK_K8S_MANIFEST_MPIJOB_FILE_H
#define RK_K8S_MANIFEST_MPIJOB_FILE_H

#include "k8s/manifest/mpijob.h"
#include "k8s/manifest/yaml.h"

struct mpijob_document {
    json_t *object;       /* borrowed */
    struct yaml_place at; /* where it starts */
    const char *kind;     /* "" where it has none; of a job MPIJOB_KIND */
    const char *name;     /* "" where it has none */
    struct mpijob *job;   /* NULL: of another kind, or with errors */
};

struct mpijob_file {
    struct yaml_tree *tree;
    struct mpijob_document *document;
    size_t count, capacity;
    size_t jobs; /* documents of kind MPIJob, with errors or without */
};

/* Reads a text.  What is wrong is added to `faults`, which is sorted; *out is there even so.
 * RK_ENOMEM. */
int mpijob_file_read(const char *text, size_t size, struct faults *faults, struct mpijob_file **out,
                     struct rk_why *why);

/* The same for a file; "-" is standard input.  RK_ENOENT, RK_EACCES, RK_EIO, RK_ENOMEM. */
int mpijob_file_open(const char *path, struct faults *faults, struct mpijob_file **out,
                     struct rk_why *why);
void mpijob_file_free(struct mpijob_file *file);

#endif
