/* A folder, a job with awkward tensors, and a whole save in one call: for the tests of checkpoints
 * in unit/ and chaos/.  What fails here ends the program: it is the test's own ground. */
#ifndef RK_TESTS_UNIT_CHECKPOINT_FIXTURE_H
#define RK_TESTS_UNIT_CHECKPOINT_FIXTURE_H

#include "worker/checkpoint/checkpoint.h"

#define FIXTURE_PATH_SIZE 512

/* A new folder in memory when there is such a place, else below TMPDIR. */
void fixture_folder(char path[FIXTURE_PATH_SIZE]);
/* A new folder in the working directory, which is on a real disk more often than not. */
void fixture_folder_here(char path[FIXTURE_PATH_SIZE]);
void fixture_remove(const char *path);
void fixture_copy(const char *from, const char *to);

/* Scalars, empty tensors, odd shapes, all types, a tensor of several blocks when `large`. */
struct rk_layout *fixture_layout(uint64_t seed, bool large);
/* Three tensors, two writers' worth of blocks; every bit of it is flipped somewhere. */
struct rk_layout *fixture_small_layout(void);

/* Aligned; every byte depends on `salt`; gaps are 0.  Freed with free. */
char *fixture_state(const struct rk_layout *layout, uint64_t salt);

struct checkpoint_run fixture_run(const struct rk_layout *layout, uint64_t step, uint32_t epoch);

/* begin, all writers, commit: the code of the first that fails. */
int fixture_save(const char *root, const struct rk_layout *layout, const void *state, uint64_t step,
                 uint32_t epoch, uint32_t writers, char *dirname, struct rk_why *why);

/* The newest one that loads, as a coordinator would find it: its step, or -1. */
int64_t fixture_load_newest(const char *root, const struct rk_layout *layout, void *state);

#endif
