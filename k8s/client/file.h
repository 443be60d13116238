/* Small files that others write: tokens, certificates, kubeconfigs. */
#ifndef RK_K8S_CLIENT_FILE_H
#define RK_K8S_CLIENT_FILE_H

#include "common/error.h"

#include <stddef.h>

#define FILE_MOST (4u << 20) /* bytes of the largest one that is read */

/* The whole file, a zero after its bytes that does not count; the caller frees.  It is opened by
 * its path each time: projected volumes are swapped by a symlink.  RK_EDATA: larger than FILE_MOST.
 */
int file_read(const char *path, char **text, size_t *size, struct rk_why *why);

/* `path` as seen from `folder` unless it is absolute; the caller frees.  NULL: no memory. */
char *file_path(const char *folder, const char *path);

#endif
