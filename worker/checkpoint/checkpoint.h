/* Checkpoints: a snapshot of the training state made durable, and read back at any world size.
 *
 * Units:     bytes; times in nanoseconds of the wall clock; elements where it says so.
 * Errors:    0 or a negative rk_error code, the sentence in `why` (may be NULL).  RK_ELAYOUT: the
 *            checkpoint is sound but of another job.  RK_EDATA: what was read is damaged.
 *            RK_EIO, RK_ENOSPC, RK_EACCES, RK_ENOENT: the file system said so.
 * Ownership: what a function allocates names the function that frees it.
 * Threads:   any; but checkpoint_write_shard uses HDF5, which is not thread safe: one at a time in
 * a process, best in a child process of its own, so that a disk that hangs holds nobody.
 *
 * On disk (the lasting format; README.md of this folder has the whole of it):
 *
 *     ROOT/LATEST                          hint for people, never read by us
 *     ROOT/step-00000200.e0007[.a2]/       step, epoch of the coordinator, repeated attempt
 *         shard-00000-of-00004.h5          one per writer
 *         MANIFEST                         the commit record: without it there is no checkpoint
 *     ROOT/bad-step-.../                   quarantined
 *
 * The course of a save, and who does what:
 *
 *     coordinator  checkpoint_begin            a directory of its own for each attempt
 *     each writer  checkpoint_write_shard      its part of the state; yields a report
 *     coordinator  checkpoint_commit           all reports in: MANIFEST, durable.  Now it exists
 *     coordinator  checkpoint_retain           removes old ones
 *
 * When a writer fails or is late: checkpoint_discard, and begin again from the snapshot.  A file
 * whose fsync failed is never tried again. */
#ifndef RK_WORKER_CHECKPOINT_CHECKPOINT_H
#define RK_WORKER_CHECKPOINT_CHECKPOINT_H

#include "common/error.h"
#include "common/id.h"
#include "common/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECKPOINT_DIRNAME_SIZE 80           /* of a directory's name, with its NUL */
#define CHECKPOINT_REPORT_MAX (4u << 20)     /* bytes of one writer's report */
#define CHECKPOINT_MAX_WRITERS 65536u        /* shards of one checkpoint */
#define CHECKPOINT_BLOCK (UINT64_C(4) << 20) /* bytes under one CRC32C */
#define CHECKPOINT_DIGEST_SIZE 65            /* 64 hex digits and a NUL */

/* What a job must know to go on from a checkpoint; goes into the manifest. */
struct checkpoint_run {
    char job[RK_JOB_NAME_MAX + 1]; /* printable, no spaces; says who made it, is not identity */
    uint64_t step;                 /* finished steps */
    uint32_t epoch;                /* of the coordinator that committed */
    uint64_t seed;                 /* of the sampler; as in the layout */
    uint64_t batch;                /* samples in a global batch; as in the layout */
    uint32_t shards;               /* V, the virtual shards of a global batch */
    uint32_t world;                /* world size when it was taken; for people */
    char reduction[16];            /* "exact" or "fast" */
    uint64_t wall;                 /* nanoseconds since 1970 when it was committed */
};

/* ---- saving -----------------------------------------------------------------------------------
 */

/* Makes a new directory below `root` (made too when it is missing) and makes its name durable.
 * `attempt` is 1 for the first try; a name that is taken already counts on to the next free
 * attempt.  `need` bytes must be free on the file system (0: not asked).  Writes the directory's
 * name, without `root`, into dirname[CHECKPOINT_DIRNAME_SIZE].
 * Errors: RK_ENOSPC, RK_EACCES, RK_EIO, RK_EEXIST (99 attempts are there). */
int checkpoint_begin(const char *root, uint64_t step, uint32_t epoch, uint32_t attempt,
                     uint64_t need, char *dirname, struct rk_why *why);

/* What one writer says about its shard: opaque bytes that travel to the committer. */
struct checkpoint_report {
    void *data; /* freed by checkpoint_report_done */
    size_t size;
};
void checkpoint_report_done(struct checkpoint_report *report);

/* Writes the part of `state` (layout->state_bytes bytes, the whole snapshot) that falls to
 * `writer` of `writers` (0-based) into its shard below root/dirname, durably, and fills *report.
 * On failure the half-written shard is left to checkpoint_discard.  Fastest when `state` is
 * aligned to 4096.
 * Errors: RK_EINVAL, RK_ENOSPC, RK_EIO, RK_EACCES, RK_ENOENT (the directory was discarded),
 * RK_EEXIST (the shard is there already), RK_ENOMEM, RK_EFULL (report over its limit). */
int checkpoint_write_shard(const char *root, const char *dirname, uint32_t writer, uint32_t writers,
                           const struct rk_layout *layout, const void *state,
                           struct checkpoint_report *report, struct rk_why *why);

/* Commits: checks that the `count` reports (of all writers, in any order; not trusted) agree on
 * one layout and cover every byte of it exactly once, that the files are there, then writes
 * MANIFEST.  run->seed and run->batch must be those of the layout.  0: committed and durable.
 * After an error the checkpoint may or may not exist; discard it and try again.
 * Errors: RK_EPROTO (a report is malformed or they do not fit together), RK_EDATA (a shard is not
 * there as reported), RK_ELAYOUT (layouts differ), RK_EINVAL, RK_EEXIST (committed already),
 * RK_ENOSPC, RK_EIO, RK_EACCES, RK_ENOMEM. */
int checkpoint_commit(const char *root, const char *dirname, const struct checkpoint_run *run,
                      const struct checkpoint_report *reports, size_t count, struct rk_why *why);

/* Removes an attempt, its manifest first.  0 too when it is gone already. */
int checkpoint_discard(const char *root, const char *dirname, struct rk_why *why);

/* ---- finding ----------------------------------------------------------------------------------
 */

enum checkpoint_status {
    CHECKPOINT_COMMITTED,   /* manifest sound, all files there with their sizes */
    CHECKPOINT_INCOMPLETE,  /* no manifest: being written, or abandoned */
    CHECKPOINT_REJECTED,    /* there is a manifest but it, or a file's size, is not right */
    CHECKPOINT_QUARANTINED, /* set aside by checkpoint_quarantine */
};
const char *checkpoint_status_text(enum checkpoint_status status);

struct checkpoint_info {
    char dirname[CHECKPOINT_DIRNAME_SIZE];
    uint64_t step;
    uint32_t epoch;
    uint32_t attempt;
    enum checkpoint_status status;
    uint64_t bytes;            /* of all its files; committed ones only */
    uint32_t writers;          /* committed ones only */
    struct checkpoint_run run; /* committed ones only */
    int code;                  /* of rejected ones: RK_EDATA, RK_EVERSION, or what kept us from
                                * telling (RK_EIO, RK_EACCES, ...) */
    char reason[256];          /* why it is not committed; "" when it is */
};

struct checkpoint_list {
    struct checkpoint_info *info; /* newest first: by (epoch, step, attempt), descending */
    size_t count;
};

/* Lists what is in `root`, newest first by (epoch, step, attempt): a job that started again from an
 * older step has a higher epoch, and what it wrote since is the newer history.  Reads manifests and
 * sizes, not the data.  Freed with checkpoint_list_done (which takes a zeroed list).
 * Errors: RK_ENOENT (no such directory: for a fresh job, "none yet"), RK_EACCES, RK_EIO,
 * RK_ENOMEM. */
int checkpoint_list(const char *root, struct checkpoint_list *list, struct rk_why *why);
void checkpoint_list_done(struct checkpoint_list *list);

/* Reads the manifest of one: *run, and *layout (unless NULL; freed with rk_layout_free).
 * Errors: RK_ENOENT (no manifest), RK_EDATA, RK_EVERSION, RK_EIO, RK_EACCES, RK_ENOMEM. */
int checkpoint_manifest_read(const char *root, const char *dirname, struct checkpoint_run *run,
                             struct rk_layout **layout, struct rk_why *why);

/* ---- reading ----------------------------------------------------------------------------------
 */

/* Fills `state` (`bytes` must be the layout's state_bytes; gaps between tensors become 0) from a
 * checkpoint of any number of writers, checking the CRC32C of every block.  `expected` is what the
 * job registered, or NULL to take what is there.  On failure the contents of `state` are not
 * specified.
 * Errors: RK_ELAYOUT (another job's; nothing was read), RK_EDATA (the sentence names file, tensor
 * and offset), RK_EVERSION, RK_EIO, RK_EACCES, RK_ENOENT, RK_ENOMEM. */
int checkpoint_load(const char *root, const char *dirname, const struct rk_layout *expected,
                    void *state, uint64_t bytes, struct rk_why *why);

/* Reads all of it and checks every byte of every file, HDF5's own metadata and padding included
 * (which checkpoint_load does not need). */
int checkpoint_verify(const char *root, const char *dirname, struct rk_why *why);

/* SHA-256 of the state as 64 hex digits: for each state tensor in the order of registration its
 * name, type, shape, then its bytes.  Independent of shards and world size.  Verifies as it reads.
 * hex[CHECKPOINT_DIGEST_SIZE]. */
int checkpoint_digest(const char *root, const char *dirname, char *hex, struct rk_why *why);

/* The same number for a state in memory.  RK_ENOMEM, or RK_EUNAVAILABLE (no SHA-256). */
int checkpoint_state_digest(const struct rk_layout *layout, const void *state, char *hex,
                            struct rk_why *why);

/* ---- keeping house ----------------------------------------------------------------------------
 */

/* Sets a damaged one aside: renames it to bad-..., durably.  Nothing is deleted. */
int checkpoint_quarantine(const char *root, const char *dirname, struct rk_why *why);

struct checkpoint_retention {
    uint32_t keep;              /* sound ones that stay, the newest; at least 1 */
    uint32_t epoch;             /* incomplete attempts of lower epochs are removed too */
    bool verify;                /* only what checkpoint_verify passes now counts as sound */
    const char *const *protect; /* names that stay in any case (being restored) */
    size_t protect_count;
};

/* Removes committed checkpoints older than the `keep` newest sound ones; fewer than that many are
 * never left.  Manifest first, so that a crash leaves an incomplete one, not a damaged one.
 * Rejected and quarantined ones stay.  *removed (unless NULL) counts the removed.  The first error
 * is returned after all were tried. */
int checkpoint_retain(const char *root, const struct checkpoint_retention *retention,
                      uint32_t *removed, struct rk_why *why);

#endif
