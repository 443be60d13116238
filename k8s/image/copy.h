/* A copy of a tree: files with their modes, folders and symbolic links, into a folder that is
 * there.
 *
 * Each file is written under another name (".NAME.part") and then renamed, so that what stands
 * under its own name is whole, whenever the copier was killed, and a copy may be made again over an
 * older one, even while programs of that one run.  What only the target has is left alone.  Nothing
 * is synced: a node that loses power starts the pod's init containers again. */
#ifndef RK_K8S_IMAGE_COPY_H
#define RK_K8S_IMAGE_COPY_H

#include "common/error.h"

#include <stdint.h>

/* How much room a tree takes on a disk with blocks of 4 kB. */
struct copy_size {
    uint64_t files;
    uint64_t bytes;
};

/* Both are paths of folders; neither may be inside the other (RK_EINVAL).  RK_ENOENT, RK_EACCES,
 * RK_EIO, RK_ENOMEM, RK_EDATA for a thing that is no file, folder or link, RK_ENOSPC with the bytes
 * that are needed and those that are free.  On failure what was copied stays, to be copied over. */
int copy_tree(const char *source, const char *target, struct rk_why *why);

int copy_measure(const char *source, struct copy_size *size, struct rk_why *why);

#endif
