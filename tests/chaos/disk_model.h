/* A strict disk: replays a log of fault_shim.h into the states a crash may leave behind.
 *
 * What a program did to a file since that file's last fsync, and to names since their directory's
 * last fsync, may each be there, be missing, or (data) be torn at 512 bytes: each on its own, in
 * any combination.  Real file systems are kinder (ext4 orders much of this); so what holds here
 * holds there, and a missing fsync that a real disk would hide shows. */
#ifndef RK_TESTS_CHAOS_DISK_MODEL_H
#define RK_TESTS_CHAOS_DISK_MODEL_H

#include "tests/chaos/fault_shim.h"

#include <stdbool.h>

struct disk_model;

enum disk_fate { DISK_LOST, DISK_KEPT, DISK_TORN };

/* Leaves out the effect of what it names, to see that the tests would notice. */
enum disk_ignore { DISK_IGNORE_NOTHING, DISK_IGNORE_DIRECTORY_SYNC, DISK_IGNORE_ALL_SYNC };

/* The disk as it is below `root` now, all of it durable, then the log.  Freed with disk_free. */
struct disk_model *disk_new(const char *root, const struct fault_log *log, enum disk_ignore ignore);
void disk_free(struct disk_model *disk);

/* Crash points: before the first entry of the log, after it, ..., after the last. */
size_t disk_points(const struct disk_model *disk);
/* How many marks came before a crash point. */
size_t disk_marks(const struct disk_model *disk, size_t point);

/* Goes to a crash point; returns how many changes are pending there. */
size_t disk_crash(struct disk_model *disk, size_t point);
/* Says what becomes of a pending change; `seed` chooses the torn sectors. */
void disk_decide(struct disk_model *disk, size_t pending, enum disk_fate fate, uint64_t seed);

/* Builds the state that was decided on; a number that tells two states apart. */
uint64_t disk_build(struct disk_model *disk);
/* Writes it below an empty folder. */
void disk_write_out(const struct disk_model *disk, const char *folder);

#endif
