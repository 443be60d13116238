/* The few things a checkpoint does with the file system, with EINTR and short counts seen to. */
#ifndef RK_WORKER_CHECKPOINT_DISK_H
#define RK_WORKER_CHECKPOINT_DISK_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

#define DISK_PATH_SIZE 4096

/* Joins up to three parts with '/', the last two may be NULL.  RK_EINVAL when it is too long. */
int disk_path(char path[DISK_PATH_SIZE], const char *root, const char *dirname, const char *name,
              struct rk_why *why);

/* Writes all of it at `offset`, or returns -1 with errno set. */
int disk_write(int fd, const void *data, size_t size, uint64_t offset);

/* Reads up to `size` bytes at `offset`, fewer only at the end of the file; -1 with errno set. */
int64_t disk_read(int fd, void *data, size_t size, uint64_t offset);

/* Makes the names in a directory durable. */
int disk_sync_directory(const char *path, struct rk_why *why);

/* Reads a whole file of at most `limit` bytes into fresh memory with a NUL behind it; *data is
 * freed by the caller.  RK_EDATA when it is larger. */
int disk_read_file(const char *path, size_t limit, char **data, size_t *size, struct rk_why *why);

/* Makes `path` and its parents, their names durable.  0 too when it is there already. */
int disk_make_directories(const char *path, struct rk_why *why);

#endif
