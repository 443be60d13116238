/* What is wrong with a manifest: a bounded list of sentences, each with the place in the file, the
 * field's path and what to do about it.
 *
 * Memory: adding never fails visibly; when memory runs out the list remembers it, and `faults_rc`
 * says so at the end. */
#ifndef RK_K8S_MANIFEST_FAULTS_H
#define RK_K8S_MANIFEST_FAULTS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FAULTS_MAX 1000u      /* more are counted, not kept */
#define FAULT_PATH_SIZE 1024u /* steps that do not fit are left out */

/* Lines and columns (in characters) start at 1; 0: the fault has no place in a text. */
struct yaml_place {
    uint32_t line, column;
};

/* A field's path, from the innermost step outwards: each check makes a step on its stack. */
struct path {
    const struct path *up; /* NULL: the first step */
    const char *key;       /* NULL: an element of an array */
    size_t index;
};

enum fault_severity { FAULT_ERROR, FAULT_WARNING };

struct fault {
    enum fault_severity severity;
    struct yaml_place at;
    size_t order;         /* in which it was found: decides between faults of one place */
    const char *path;     /* "" where the file itself is meant */
    const char *sentence; /* what is wrong */
    const char *remedy;   /* what to do; "" where the sentence says it */
};

struct faults {
    struct fault *fault;
    size_t count;
    size_t errors, warnings; /* with those that were not kept */
    int rc;
};

void faults_init(struct faults *faults);
void faults_done(struct faults *faults);

/* Adds one; `path` may be NULL (the file itself), and `remedy` too. */
void faults_add(struct faults *faults, enum fault_severity severity, struct yaml_place at,
                const struct path *path, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* By place, and within a place in the order of finding. */
void faults_sort(struct faults *faults);

/* RK_ENOMEM when one could not be kept for want of memory, else 0. */
int faults_rc(const struct faults *faults, struct rk_why *why);

/* "spec.mpiReplicaSpecs.Worker.template.spec.containers[0].image"; keys with other characters than
 * a field's name has stand in brackets.  Returns `out`, of FAULT_PATH_SIZE bytes. */
const char *path_print(const struct path *path, char *out);

/* What colours a terminal, or "". */
struct fault_colours {
    const char *bold, *error, *warning, *plain;
};
extern const struct fault_colours faults_plain; /* none */

/* A line "FILE:LINE:COLUMN: error: PATH: sentence; remedy" for each, and how many are not shown. */
void faults_print(const struct faults *faults, const char *file,
                  const struct fault_colours *colours, FILE *out);

#endif
