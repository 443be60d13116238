/* MPIJobs as the manifest reader would hand them over, made from JSON by hand. */
#ifndef RK_TESTS_RENDER_FIXTURE_H
#define RK_TESTS_RENDER_FIXTURE_H

#include "k8s/manifest/mpijob.h"
#include "k8s/render/render.h"

/* A job `pi` of two workers from `object`, a JSON text of an MPIJob in which ' stands for ".  What
 * the manifest reader derives has its default and is the test's to change. */
void fixture_init(struct mpijob *job, const char *object);
void fixture_done(struct mpijob *job);

/* mpi-operator's `pi`, as an object for fixture_init. */
extern const char fixture_pi[];

/* The value at a path as "spec.template.spec.containers.0.command.1"; a step that has dots in it
 * stands in brackets, "metadata.labels.[reknit.dev/job]".  NULL: there is none. */
const json_t *at(const json_t *value, const char *path);
/* The text there; fails the test where there is none. */
const char *text_at(const json_t *value, const char *path);
/* The value of a variable of a container; NULL: it has none of this name. */
const char *env_of(const json_t *container, const char *name);
/* Words of an array with blanks between them. */
const char *words_of(const json_t *array);
/* The element of an array whose `name` is this; NULL: none. */
const json_t *named(const json_t *array, const char *name);

#endif
